#include <keyshepherd/reconcile/token_index.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <memory>
#include <optional>

namespace keyshepherd::reconcile {

namespace {

using nlohmann::json;

constexpr std::size_t most_at_once = 8;

std::string text_at(const json& object, const char* name) {
    const auto at = object.is_object() ? object.find(name) : object.end();
    return object.is_object() && at != object.end() && at->is_string() ? at->get<std::string>()
                                                                       : std::string();
}

std::uint64_t digest(std::string_view text) {
    return std::hash<std::string_view>()(text);
}

// What a lookup or a revocation says of a token that is no more.
bool is_gone(const Error& error) {
    return error.code == Errc::not_found || error.code == Errc::invalid ||
           error.message.contains("invalid accessor");
}

// `call` for each of `items`, a few at a time; the first error ends it.
struct Batch {
    std::vector<std::string> items;
    std::size_t next = 0;
    std::size_t running = 0;
    std::optional<Error> error;
};

template <class Call>
Task<void> work_off(std::shared_ptr<Batch> batch, Call call) {
    while (batch->next < batch->items.size() && !batch->error) {
        const std::string item = batch->items[batch->next++];
        if (result<void> done = co_await call(item); !done && !batch->error) batch->error = done.error();
    }
}

template <class Call>
Task<result<void>> for_each_alone(std::vector<std::string> items, Call call) {
    const auto executor = co_await boost::asio::this_coro::executor;
    const auto batch = std::make_shared<Batch>();
    batch->items = std::move(items);
    const auto joined = std::make_shared<net::Signal>(executor);
    const std::size_t count = std::min(most_at_once, batch->items.size());
    for (std::size_t i = 0; i < count; ++i) {
        ++batch->running;
        boost::asio::co_spawn(executor, work_off(batch, call), [batch, joined](const std::exception_ptr& e) {
            --batch->running;
            if (e && !batch->error) batch->error = Error(Errc::internal, "a malfunction among tokens");
            joined->notify_all();
        });
    }
    // Each call has its deadline, so this ends also when we are cancelled; the calls refer to our caller.
    co_await boost::asio::this_coro::reset_cancellation_state(boost::asio::disable_cancellation());
    while (batch->running > 0) co_await joined->wait(net::SteadyClock::now() + std::chrono::hours(1));
    if (batch->error) co_return std::unexpected(*batch->error);
    co_return result<void>();
}

template <class Call>
Task<result<void>> for_each(std::vector<std::string> items, Call call) {
    // A coroutine of its own: that it goes on after a cancellation must not be true of its caller.
    const auto executor = co_await boost::asio::this_coro::executor;
    co_return co_await boost::asio::co_spawn(executor, for_each_alone(std::move(items), std::move(call)),
                                             boost::asio::use_awaitable_t<net::Executor>{});
}

}  // namespace

TokenOrigin token_origin(const json& data) {
    const std::string path = text_at(data, "path");
    const auto meta = data.find("meta");
    if (!path.starts_with("auth/") || !path.ends_with("/login") || meta == data.end()) return {};
    const std::string name = text_at(*meta, "role_name");
    if (name.empty()) return {};
    TokenOrigin origin{.role = path.substr(0, path.size() - 5) + "role/" + name, .owner = {}, .issue = {}};
    std::ranges::transform(origin.role, origin.role.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (text_at(*meta, "managed-by") == "keyshepherd") {
        origin.owner = text_at(*meta, "owner");
        origin.issue = text_at(*meta, "issue");
    }
    return origin;
}

Task<result<void>> TokenIndex::refresh(vault::Client& vault, Deadline deadline) {
    KEYSHEPHERD_CO_TRY(auto listed, co_await vault.list("auth/token/accessors", deadline));
    std::unordered_set<std::uint64_t> there;
    std::map<std::string, TokenOrigin> still;
    std::vector<std::string> fresh;
    if (listed)
        for (const json& key : listed->value("keys", json::array())) {
            if (!key.is_string()) continue;
            const auto& accessor = key.get_ref<const std::string&>();
            if (const auto at = ours_.find(accessor); at != ours_.end())
                still.insert(ours_.extract(at));
            else if (others_.contains(digest(accessor)))
                there.insert(digest(accessor));
            else
                fresh.push_back(accessor);
        }
    others_ = std::move(there);
    ours_ = std::move(still);
    auto looked = co_await for_each(
        std::move(fresh), [this, &vault, deadline](std::string accessor) -> Task<result<void>> {
            json body = {{"accessor", accessor}};
            auto answer = co_await vault.write("auth/token/lookup-accessor", std::move(body), deadline);
            if (!answer && !is_gone(answer.error())) co_return std::unexpected(answer.error());
            if (!answer) co_return result<void>();
            TokenOrigin origin = token_origin(answer->data);
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

Task<result<std::size_t>> TokenIndex::revoke_known(vault::Client& vault, std::string role, std::string owner,
                                                   std::string issue, Deadline deadline) {
    std::vector<std::string> tokens = of(role, owner, issue);
    const std::size_t count = tokens.size();
    KEYSHEPHERD_CO_CHECK(co_await for_each(
        std::move(tokens), [this, &vault, deadline](std::string accessor) -> Task<result<void>> {
            json body = {{"accessor", accessor}};
            auto answer = co_await vault.write("auth/token/revoke-accessor", std::move(body), deadline);
            if (!answer && !is_gone(answer.error())) co_return std::unexpected(answer.error());
            ours_.erase(accessor);
            co_return result<void>();
        }));
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
