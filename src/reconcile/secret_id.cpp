#include "for_each.hpp"

#include <keyshepherd/core/time.hpp>
#include <keyshepherd/reconcile/secret_id.hpp>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

namespace keyshepherd::reconcile {

using planner::Json;
using planner::SecretIdFacts;

result<std::string> draw(std::size_t count) {
    std::vector<unsigned char> bytes(count);
    if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1)
        return fail(Errc::internal, "cannot generate random bytes");
    std::string value;
    value.reserve(2 * bytes.size());
    for (const unsigned char byte : bytes) value += fmt::format("{:02x}", byte);
    OPENSSL_cleanse(bytes.data(), bytes.size());
    return value;
}

Task<result<std::optional<SecretIdFacts>>> find_secret_id(vault::Client& vault, std::string role,
                                                          std::string value, Deadline deadline) {
    Json body = {{"secret_id", value}};
    net::wipe(value);
    auto answer = co_await vault.write(role + "/secret-id/lookup", std::move(body), deadline);
    if (!answer) co_return std::unexpected(answer.error());
    if (!answer->data.is_object()) co_return std::nullopt;
    KEYSHEPHERD_CO_TRY(auto facts, planner::secret_id_facts(answer->data));
    co_return facts;
}

Task<result<SecretIdFacts>> enroll_secret_id(vault::Client& vault, std::string role, Json request,
                                             std::string value, Deadline deadline) {
    request["secret_id"] = value;
    const std::string metadata = request.value("metadata", "");
    auto answer = co_await vault.write(role + "/custom-secret-id", std::move(request), deadline);
    if (!answer) {
        if (answer.error().code == Errc::conflict) {
            auto found = co_await find_secret_id(vault, role, std::move(value), deadline);
            if (found && *found) co_return **found;
        }
        net::wipe(value);
        co_return std::unexpected(answer.error());
    }
    net::wipe(value);
    SecretIdFacts facts;
    facts.accessor = answer->data.value("secret_id_accessor", "");
    const std::int64_t now = vault.server_time();
    facts.created = rfc3339(now);
    if (const auto ttl = answer->data.find("secret_id_ttl"); ttl != answer->data.end() && ttl->is_number())
        if (const auto seconds = ttl->get<std::int64_t>(); seconds > 0) facts.expires = now + seconds;
    const Json stamped = Json::parse(metadata, nullptr, false);
    facts.owner = stamped.value("owner", "");
    facts.terms = stamped.value("terms", "");
    facts.issue = stamped.value("issue", "");
    net::wipe(answer->data);
    if (facts.accessor.empty()) co_return fail(Errc::protocol, "Vault's response has no secret_id_accessor");
    co_return facts;
}

Task<result<std::vector<std::string>>> list_accessors(vault::Client& vault, std::string role,
                                                      Deadline deadline) {
    std::vector<std::string> all;
    KEYSHEPHERD_CO_TRY(const auto listed, co_await vault.list(role + "/secret-id", deadline));
    if (listed)
        for (const Json& accessor : listed->value("keys", Json::array()))
            if (accessor.is_string()) all.push_back(accessor.get<std::string>());
    co_return all;
}

Task<result<std::optional<SecretIdFacts>>> find_accessor(vault::Client& vault, std::string role,
                                                         std::string accessor, Deadline deadline) {
    Json body = {{"secret_id_accessor", accessor}};
    auto answer = co_await vault.write(role + "/secret-id-accessor/lookup", std::move(body), deadline);
    if (!answer && answer.error().code == Errc::not_found) co_return std::nullopt;
    if (!answer) co_return std::unexpected(answer.error());
    KEYSHEPHERD_CO_TRY(auto facts, planner::secret_id_facts(answer->data));
    co_return facts;
}

Task<result<void>> destroy_secret_id(vault::Client& vault, std::string role, std::string accessor,
                                     Deadline deadline) {
    Json body = {{"secret_id_accessor", accessor}};
    auto answer = co_await vault.write(role + "/secret-id-accessor/destroy", std::move(body), deadline);
    if (!answer && answer.error().code != Errc::not_found) co_return std::unexpected(answer.error());
    co_return result<void>();
}

Task<result<std::vector<SecretIdFacts>>> SecretIdIndex::of(vault::Client& vault, std::string role,
                                                           std::string owner, Deadline not_before,
                                                           Deadline deadline) {
    // Stays where it is as long as somebody refers to it.
    struct Use {
        SecretIdIndex& index;
        const std::string& role;
        Role& known;
        Use(SecretIdIndex& index_, const std::string& role_)
            : index(index_), role(role_), known(index.roles_[role]) {
            ++known.callers;
        }
        Use(const Use&) = delete;
        Use& operator=(const Use&) = delete;
        ~Use() {
            if (--known.callers == 0 && known.ours.empty() && known.others.empty()) index.roles_.erase(role);
        }
    };
    const Use use(*this, role);
    Role& known = use.known;
    while (known.listed < not_before) {
        if (!known.listing) {
            known.listing = true;
            const auto began = net::SteadyClock::now();
            const auto listed = co_await refresh(vault, role, deadline);
            known.listing = false;
            if (listed) known.listed = began;
            ended_.notify_all();
            if (!listed) co_return std::unexpected(listed.error());
            continue;
        }
        if (co_await ended_.wait(deadline) == net::Wake::cancelled)
            co_return fail(Errc::cancelled, "stopped");
        if (net::SteadyClock::now() >= deadline)
            co_return fail(Errc::timeout, "timed out waiting for the list of secret-ids");
    }
    std::vector<SecretIdFacts> found;
    for (const auto& [accessor, facts] : known.ours)
        if (facts.owner == owner) found.push_back(facts);
    co_return found;
}

void SecretIdIndex::forget(const std::string& role, const std::string& accessor) {
    if (const auto at = roles_.find(role); at != roles_.end()) at->second.ours.erase(accessor);
}

Task<result<void>> SecretIdIndex::refresh(vault::Client& vault, std::string role, Deadline deadline) {
    KEYSHEPHERD_CO_TRY(auto listed, co_await list_accessors(vault, role, deadline));
    Role& known = roles_[role];
    decltype(known.ours) ours;
    decltype(known.others) others;
    std::vector<std::string> fresh;
    for (std::string& accessor : listed) {
        const std::uint64_t digest = std::hash<std::string>()(accessor);
        if (const auto at = known.ours.find(accessor); at != known.ours.end())
            ours.insert(known.ours.extract(at));
        else if (known.others.contains(digest))
            others.insert(digest);
        else
            fresh.push_back(std::move(accessor));
    }
    known.ours = std::move(ours);
    known.others = std::move(others);
    co_return co_await for_each(std::move(fresh),
                                [&vault, &known, role, deadline](std::string accessor) -> Task<result<void>> {
                                    auto facts = co_await find_accessor(vault, role, accessor, deadline);
                                    if (!facts) co_return std::unexpected(facts.error());
                                    if (!*facts) co_return result<void>();  // gone meanwhile
                                    if ((*facts)->owner.empty())
                                        known.others.insert(std::hash<std::string>()(accessor));
                                    else
                                        known.ours.insert_or_assign(accessor, **std::move(facts));
                                    co_return result<void>();
                                });
}

}  // namespace keyshepherd::reconcile
