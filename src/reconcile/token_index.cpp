#include "for_each.hpp"

#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/planner/vault_names.hpp>
#include <keyshepherd/reconcile/token_index.hpp>

#include <fmt/format.h>

#include <string_view>

namespace keyshepherd::reconcile {

namespace {

using nlohmann::json;

std::uint64_t digest(std::string_view text) {
    return std::hash<std::string_view>()(text);
}

}  // namespace

TokenOrigin token_origin(const json& data) {
    const std::string path = text_at(data, "path");
    const auto meta = data.find("meta");
    constexpr std::size_t shortest = std::string_view("auth/m/login").size();
    if (path.size() < shortest || !path.starts_with("auth/") || !path.ends_with("/login") ||
        meta == data.end())
        return {};
    const std::string name = text_at(*meta, "role_name");
    if (name.empty()) return {};
    const std::string_view mount = std::string_view(path).substr(5, path.size() - 11);
    TokenOrigin origin{.role = planner::role_path(mount, name), .owner = {}, .issue = {}};
    if (text_at(*meta, "managed-by") == "keyshepherd") {
        origin.owner = text_at(*meta, "owner");
        origin.issue = text_at(*meta, "issue");
    }
    return origin;
}

result<std::vector<std::string>> listed_accessors(const std::optional<json>& data) {
    const auto incomplete = [](std::string_view why) {
        return fail(Errc::protocol, fmt::format("LIST auth/token/accessors: {}; tokens may be missing", why));
    };
    if (!data) return std::vector<std::string>();
    const auto keys = data->is_object() ? data->find("keys") : data->end();
    if (!data->is_object() || keys == data->end() || !keys->is_array())
        return incomplete("the response has no keys");
    std::vector<std::string> accessors;
    accessors.reserve(keys->size());
    for (const json& key : *keys) {
        if (!key.is_string()) return incomplete("a key in the response is not a string");
        accessors.push_back(key.get<std::string>());
    }
    return accessors;
}

Task<result<void>> TokenIndex::refresh(vault::Client& vault, Deadline deadline) {
    const std::uint64_t number = ++lists_;
    KEYSHEPHERD_CO_TRY(const auto listed, co_await vault.list("auth/token/accessors", deadline));
    KEYSHEPHERD_CO_TRY(std::vector<std::string> accessors, listed_accessors(listed));
    std::unordered_set<std::uint64_t> there;
    std::map<std::string, TokenOrigin> still;
    std::vector<std::string> fresh;
    for (std::string& accessor : accessors) {
        if (const auto at = ours_.find(accessor); at != ours_.end())
            still.insert(ours_.extract(at));
        else if (others_.contains(digest(accessor)))
            there.insert(digest(accessor));
        else
            fresh.push_back(std::move(accessor));
    }
    others_ = std::move(there);
    // What another call has looked up meanwhile may be younger than this list.
    std::erase_if(ours_, [number](const auto& each) { return each.second.seen < number; });
    ours_.merge(still);
    auto looked = co_await for_each(
        std::move(fresh), [this, &vault, deadline](std::string accessor) -> Task<result<void>> {
            json body = {{"accessor", accessor}};
            auto answer = co_await vault.write("auth/token/lookup-accessor", std::move(body), deadline);
            if (!answer && answer.error().code == Errc::not_found)
                co_return result<void>();  // gone meanwhile
            if (!answer) co_return std::unexpected(answer.error());
            TokenOrigin origin = token_origin(answer->data);
            origin.seen = lists_;
            if (origin.role.empty())
                others_.insert(digest(accessor));
            else
                ours_.insert_or_assign(accessor, std::move(origin));
            co_return result<void>();
        });
    if (looked) refreshed_at_ = std::chrono::steady_clock::now();
    co_return looked;
}

std::vector<std::string> TokenIndex::of(std::string_view role, std::string_view owner,
                                        std::string_view issue) const {
    std::vector<std::string> found;
    for (const auto& [accessor, origin] : ours_)
        if (origin.role == role && (owner.empty() || origin.owner == owner) &&
            (issue.empty() || origin.issue == issue))
            found.push_back(accessor);
    return found;
}

Task<result<void>> TokenIndex::revoke_these(vault::Client& vault, std::vector<std::string> tokens,
                                            Deadline deadline) {
    co_return co_await for_each(
        std::move(tokens), [this, &vault, deadline](std::string accessor) -> Task<result<void>> {
            json body = {{"accessor", accessor}};
            auto answer = co_await vault.write("auth/token/revoke-accessor", std::move(body), deadline);
            if (!answer && answer.error().code != Errc::not_found) co_return std::unexpected(answer.error());
            ours_.erase(accessor);
            co_return result<void>();
        });
}

Task<result<std::size_t>> TokenIndex::revoke_known(vault::Client& vault, std::string role, std::string owner,
                                                   std::string issue, Deadline deadline) {
    std::vector<std::string> tokens = of(role, owner, issue);
    const std::size_t count = tokens.size();
    KEYSHEPHERD_CO_CHECK(co_await revoke_these(vault, std::move(tokens), deadline));
    co_return count;
}

Task<result<std::size_t>> TokenIndex::revoke_all_but(vault::Client& vault, std::string role,
                                                     std::string owner, std::set<std::string> living,
                                                     Deadline deadline) {
    KEYSHEPHERD_CO_CHECK(co_await refresh(vault, deadline));
    std::vector<std::string> tokens;
    for (const auto& [accessor, origin] : ours_)
        if (origin.role == role && origin.owner == owner && !living.contains(origin.issue))
            tokens.push_back(accessor);
    const std::size_t count = tokens.size();
    KEYSHEPHERD_CO_CHECK(co_await revoke_these(vault, std::move(tokens), deadline));
    co_return count;
}

Task<result<std::size_t>> TokenIndex::revoke(vault::Client& vault, std::string role, std::string owner,
                                             std::string issue, Deadline deadline) {
    std::size_t all = 0;
    KEYSHEPHERD_CO_TRY(all, co_await revoke_known(vault, role, owner, issue, deadline));
    for (;;) {
        KEYSHEPHERD_CO_CHECK(co_await refresh(vault, deadline));
        KEYSHEPHERD_CO_TRY(const std::size_t more,
                           co_await revoke_known(vault, role, owner, issue, deadline));
        if (more == 0) co_return all;
        all += more;
    }
}

}  // namespace keyshepherd::reconcile
