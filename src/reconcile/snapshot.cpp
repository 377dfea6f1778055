#include <keyshepherd/reconcile/snapshot.hpp>

#include <openssl/evp.h>

#include <algorithm>

namespace keyshepherd::reconcile {

using namespace std::chrono_literals;
using net::SteadyClock;
using nlohmann::json;

namespace {

constexpr std::string_view policy_root = "sys/policies/acl/";
// For fewer the list and the permission to see it are not worth asking for.
constexpr std::size_t fewest_policies = 8;

// How long not to ask again. What the moment is to blame for passes; that the server has no such list, or
// that our policies do not let us see it, does so only when somebody changes it.
fsm::Duration pause_after(Errc code) {
    switch (code) {
        case Errc::unavailable:
        case Errc::timeout:
        case Errc::throttled:
        case Errc::cancelled:
        case Errc::unauthorized:
            return 1min;
        default:
            return 1h;
    }
}

}  // namespace

PolicySnapshot::Digest PolicySnapshot::digest(std::string_view path, std::string_view text) {
    // Not a quick hash: who may write policies in Vault must not be able to make one that passes for another.
    std::string both(path);
    both += '\0';
    both += text;
    Digest made{};
    EVP_Digest(both.data(), both.size(), made.data(), nullptr, EVP_sha256(), nullptr);
    return made;
}

void PolicySnapshot::add(std::string_view path, std::string_view text) {
    digests_.push_back(digest(path, text));
}

void PolicySnapshot::seal() {
    digests_.shrink_to_fit();
    std::ranges::sort(digests_);
}

bool PolicySnapshot::holds(std::string_view path, std::string_view text) const {
    return std::ranges::binary_search(digests_, digest(path, text));
}

Snapshots::Snapshots(const net::Executor& executor, vault::Client& vault)
    : vault_(vault),
      policies_(executor, "sys/policies/detailed/acl", fewest_policies),
      // A look at one mount reads them all anyway.
      mounts_(executor, "sys/mounts", 1),
      auth_(executor, "sys/auth", 1) {}

Task<std::optional<Snapshots::Seen>> Snapshots::observe(const planner::Resource& resource,
                                                        fsm::Duration oldest, Deadline deadline) {
    Sort* sort = sort_of(resource);
    if (sort == nullptr) co_return std::nullopt;
    fsm::Look look = sort->bulk.look(SteadyClock::now(), oldest);
    if (look == fsm::Look::wait) {
        if (co_await sort->changed.wait(deadline) != net::Wake::notified) co_return std::nullopt;
        look = sort->bulk.look(SteadyClock::now(), oldest);
    } else if (look == fsm::Look::ask) {
        co_await ask(*sort, deadline);
        look = sort->bulk.look(SteadyClock::now(), oldest);
    }
    if (look != fsm::Look::kept) co_return std::nullopt;
    auto observed = shown(*sort, resource);
    const auto age = sort->bulk.age(SteadyClock::now());
    if (!observed || !age) co_return std::nullopt;
    co_return Seen{*std::move(observed), *age};
}

void Snapshots::expect(const planner::Resource& resource, Deadline at) {
    if (Sort* sort = sort_of(resource)) sort->bulk.expect(at);
}

Snapshots::Sort* Snapshots::sort_of(const planner::Resource& resource) {
    const auto paths = planner::reads(resource);
    if (paths.size() != 1) return nullptr;
    if (paths.front() == mounts_.path) return &mounts_;
    if (paths.front() == auth_.path) return &auth_;
    return paths.front().starts_with(policy_root) ? &policies_ : nullptr;
}

std::optional<planner::Observation> Snapshots::shown(const Sort& sort,
                                                     const planner::Resource& resource) const {
    const std::string claim = planner::claim(resource);
    if (&sort == &policies_) {
        std::string wanted = planner::policy_text(resource.spec);
        if (!sort.policies.holds(claim, wanted)) return std::nullopt;
        return planner::Observation{{claim, json{{"policy", std::move(wanted)}}}};
    }
    const std::string name = claim.substr(sort.path.size() + 1) + "/";
    const auto at = sort.mounts.find(name);
    if (at == sort.mounts.end()) return std::nullopt;
    return planner::Observation{{sort.path, json{{name, json::parse(at->second)}}}};
}

Task<void> Snapshots::ask(Sort& sort, Deadline deadline) {
    // Also of a coroutine that ends in the middle.
    struct Asking {
        Sort& sort;
        explicit Asking(Sort& sort_) : sort(sort_) { sort.bulk.asked(SteadyClock::now()); }
        Asking(const Asking&) = delete;
        Asking& operator=(const Asking&) = delete;
        ~Asking() {
            if (sort.bulk.asking()) sort.bulk.failed(SteadyClock::now(), 0s);
            sort.changed.notify_all();
        }
    };
    const Asking asking(sort);
    const auto objects =
        &sort == &policies_ ? co_await ask_policies(sort, deadline) : co_await ask_mounts(sort, deadline);
    if (objects)
        sort.bulk.answered(SteadyClock::now(), *objects);
    else
        sort.bulk.failed(SteadyClock::now(), pause_after(objects.error().code));
}

Task<result<std::size_t>> Snapshots::ask_policies(Sort& sort, Deadline deadline) {
    PolicySnapshot found;
    // {"data": {"key_info": {"name": {"name": …, "policy": …, …}, …}, "keys": ["name", …]}, …}: megabytes,
    // of which each policy is taken as it comes and none is kept.
    const json::parser_callback_t take = [&found](int depth, json::parse_event_t event, json& part) {
        if (depth != 3 || event == json::parse_event_t::object_start || event == json::parse_event_t::key)
            return true;
        if (event == json::parse_event_t::object_end) {
            const auto name = part.find("name");
            const auto text = part.find("policy");
            // One with more than its text is read singly.
            static const resources::Kind& kind = resources::kind_of(resources::KindId::vault_policy);
            if (name != part.end() && name->is_string() && text != part.end() && text->is_string() &&
                planner::has_unset_parameters(kind, part))
                found.add(std::string(policy_root) + name->get_ref<const std::string&>(),
                          text->get_ref<const std::string&>());
        }
        return false;
    };
    auto answer = co_await vault_.list(sort.path, deadline, take);
    if (!answer) co_return std::unexpected(std::move(answer).error());
    // It always holds `root` and `default`: with none it is something else.
    if (!*answer || found.size() == 0) co_return fail(Errc::protocol, "the list of policies is empty");
    found.seal();
    const std::size_t objects = found.size();
    sort.policies = std::move(found);
    co_return objects;
}

Task<result<std::size_t>> Snapshots::ask_mounts(Sort& sort, Deadline deadline) {
    auto answer = co_await vault_.read(sort.path, deadline);
    if (!answer) co_return std::unexpected(std::move(answer).error());
    const std::optional<json>& data = *answer;
    sort.mounts.clear();
    if (data && data->is_object())
        for (const auto& [name, mount] : data->items()) sort.mounts.emplace(name, mount.dump());
    co_return sort.mounts.size();
}

}  // namespace keyshepherd::reconcile
