#include "runtime.hpp"

#include <keyshepherd/core/build.hpp>
#include <keyshepherd/core/time.hpp>
#include <keyshepherd/kube/finalizer.hpp>
#include <keyshepherd/kube/random.hpp>
#include <keyshepherd/planner/plan.hpp>
#include <keyshepherd/planner/vault_identity.hpp>
#include <keyshepherd/reconcile/vault_object.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <limits>

namespace keyshepherd::controller {

using planner::Truth;
using namespace std::chrono_literals;

kube::Resource resource_of(const resources::Kind& kind) {
    return {std::string(resources::group), std::string(resources::version), std::string(kind.plural),
            kind.namespaced};
}

kube::ObjectRef ref_of(const Key& key, std::string subresource) {
    return {resource_of(*key.kind), key.ns, key.name, std::move(subresource)};
}

std::string vault_of(const resources::Resource& connection) {
    return reconcile::vault_name(connection.spec.value("address", ""),
                                 connection.spec.value("vaultNamespace", ""));
}

Runtime::Runtime(boost::asio::io_context& context_, const Options& options_, telemetry::Log& log_)
    : context(context_),
      options(options_),
      log(log_),
      kube(context, options.kubernetes, fmt::format("keyshepherd/{}", version())),
      sessions(context, kube,
               {.addresses = options.vault_addresses,
                .audience = options.audience,
                .requests_per_second = options.requests_per_second,
                .call = options.call,
                .may_log_in = [this](const Key& key,
                                     const vault::Health& health) { return check_identity(key, health); },
                .token_lost =
                    [this](const Key& key) {
                        lost_tokens.insert(key);
                        wake(key);
                    }},
               metrics),
      events(context, kube, log, options.identity, options.call),
      secrets([this](const Key& key) { wake(key); }),
      workloads(
          options.default_provider,
          [this](const std::string& ns, const std::string& provider) { users_changed(ns, provider); },
          metrics, log),
      namespaces(
          [this] {
              labels_changed();
              changed.notify_all();
          },
          [this](const std::string& ns, const std::string& deletion_time) {
              // The namespace controller first looks after 5 s, and again only 5 s later when
              // something is left then.
              for (const Key& key : store.namespace_leaves(ns, deletion_time)) {
                  wake(key);
                  for (const Key& dependent : store.dependents(key)) wake(dependent);
              }
          },
          metrics, log),
      changed(context.get_executor()),
      held_(context.get_executor()) {}

std::int64_t Runtime::server_time() const {
    const std::int64_t told = kube.server_time();
    return told > 0 ? told : std::time(nullptr);
}

std::optional<std::int64_t> Runtime::clock_lead() const {
    const std::int64_t told = kube.server_time();
    if (told == 0) return std::nullopt;
    return std::time(nullptr) - told;
}

void Runtime::report_clocks() {
    if (const auto lead = clock_lead()) metrics.clock_lead("kubernetes", *lead);
    if (clock_leads.empty()) return;
    const auto furthest =
        std::ranges::max_element(clock_leads, {}, [](const auto& each) { return std::abs(each.second); });
    metrics.clock_lead("vault", furthest->second);
}

void Runtime::wake(const Key& key, milliseconds in) {
    if (key.kind == nullptr) return;
    if (const auto at = later_.find(key); at != later_.end()) at->second.woken = true;
    if (store.contains(key)) woken_.insert(key);
    queue.add(key, SteadyClock::now() + in);
    changed.notify_one();
}

void Runtime::rest(const Key& key, milliseconds in) {
    queue.add(key, SteadyClock::now() + in);
    changed.notify_one();
}

namespace {

// Doubles from a second to half a minute, less a random part of up to a half.
milliseconds backoff(unsigned attempt, double unit) {
    return milliseconds(static_cast<long>((1000 << std::min(attempt, 5U)) * (0.5 + unit / 2)));
}

}  // namespace

Again sooner(Again one, Again other) {
    if (!one || !other) return one ? one : other;
    return std::min(*one, *other);
}

milliseconds Runtime::retry_in(const Key& key) {
    const double unit = kube::random_unit();
    const unsigned attempt = queue.failures(key);
    queue.retry(key, SteadyClock::now() + 24h, unit);  // counts; the wait is ours
    return backoff(attempt, unit);
}

bool Runtime::behind() const {
    if (creating_ > 0) return true;
    const auto next = queue.next_wakeup(std::numeric_limits<std::size_t>::max());
    return next && *next <= SteadyClock::now();
}

bool Runtime::tell_later(const Key& key, StatusUpdate update, std::int64_t generation) {
    if (!behind()) return false;
    later_.insert_or_assign(key, Later{std::move(update), generation});
    later_order_.emplace_back(SteadyClock::now() + longest_later, key);
    return true;
}

std::optional<Runtime::Later> Runtime::pop_deferred_status(const Key& key) {
    auto taken = later_.extract(key);
    return taken ? std::optional(std::move(taken.mapped())) : std::nullopt;
}

bool Runtime::queue_later(Deadline now) {
    while (!later_order_.empty() && (later_order_.front().first <= now || !behind())) {
        const Key key = std::move(later_order_.front().second);
        later_order_.pop_front();
        if (!later_.contains(key)) continue;
        queue.add(key, now);
        return true;
    }
    return false;
}

void Runtime::start_over() {
    queue.clear();
    later_.clear();
    later_order_.clear();
    unwritten_.clear();
    orphan_scans.start_over(SteadyClock::now(), std::chrono::seconds(options.orphan_grace));
    providers.clear();
    recent_writes.clear();
    for (const Key& key : store.keys()) wake(key);
}

void Runtime::forget(const Key& key) {
    store.erase(key);
    later_.erase(key);
    woken_.erase(key);
    unwritten_.erase(key);
    queue.forget(key);
    secrets.forget(key);
    orphan_scans.forget(key);
    told_.erase(key);
    providers.erase(key);
    issued.erase(key);
    clock_leads.erase(key);
    replaced.erase(key);
    lost_tokens.erase(key);
    ungranted.erase(key);
}

void Runtime::users_changed(const std::string& ns, const std::string& provider) {
    // Many workloads that are made at once are one look.
    for (const Key& key : {Key{&resources::kind_of(resources::KindId::ai_provider), ns, provider},
                           Key{&resources::kind_of(resources::KindId::cluster_ai_provider), "", provider}})
        if (store.contains(key)) wake(key, 500ms);
}

void Runtime::labels_changed() {
    for (const Key& key : store.keys())
        if (!key.kind->namespaced) wake(key, 500ms);
}

result<void> Runtime::check_identity(const Key& connection, const vault::Health& health) {
    const EntryPtr entry = find(connection);
    std::string why = entry == nullptr || !entry->faults.empty()
                          ? std::string()
                          : planner::replaced_vault(entry->resource, entry->status, vault_of(entry->resource),
                                                    health.cluster_id);
    if (why.empty()) {
        replaced.erase(connection);
        return {};
    }
    if (!replaced.contains(connection)) wake(connection);
    replaced.insert_or_assign(connection, why);
    return fail(Errc::unavailable, std::move(why));
}

bool Runtime::first_in_a_while(const Key& key, const std::string& what) {
    const auto now = SteadyClock::now();
    std::map<std::string, Deadline>& told = told_[key];
    std::erase_if(told, [now](const auto& each) { return now >= each.second + 5min; });
    return told.try_emplace(what, now).second;
}

Task<result<reconcile::OwnNames>> Runtime::reserved(Key through, EntryPtr connection, SessionPtr session) {
    const std::string vault = vault_of(connection->resource);
    if (!reserved_names.has(through, vault))
        KEYSHEPHERD_CO_CHECK(co_await refresh_reserved(through, connection, session));
    for (const Key& key : store.keys(through.kind)) {
        const EntryPtr other = store.find(key);
        if (other == nullptr || !other->faults.empty() || vault_of(other->resource) != vault ||
            reserved_names.has(key, vault))
            continue;
        const auto opened = co_await sessions.open(key, other->resource, soon());
        const auto read = opened ? co_await refresh_reserved(key, other, *opened)
                                 : result<void>(std::unexpected(opened.error()));
        if (!read && read.error().code == Errc::cancelled) co_return std::unexpected(read.error());
        if (!read) reserved_names.put(key, vault, {});
    }
    co_return reserved_names.of(vault);
}

Task<result<void>> Runtime::refresh_reserved(Key key, EntryPtr connection, SessionPtr session) {
    KEYSHEPHERD_CO_TRY(reconcile::OwnNames names,
                       co_await reconcile::own_names(session->vault, soon(), &session->may_read_role));
    const std::string vault = vault_of(connection->resource);
    if (store.contains(key) && reserved_names.put(key, vault, std::move(names))) wake_users_of(vault);
    co_return result<void>();
}

void Runtime::release_reserved(const Key& connection) {
    const std::string vault = reserved_names.vault(connection);
    if (reserved_names.erase(connection)) wake_users_of(vault);
}

void Runtime::wake_users_of(const std::string& vault) {
    for (const Key& connection : reserved_names.connections(vault))
        for (const Key& user : store.dependents(connection))
            wake(user, milliseconds(static_cast<long>(2000 * kube::random_unit())));
}

bool Runtime::may_use_secrets(const std::string& ns) const {
    return options.secret_namespaces.empty() ||
           std::ranges::find(options.secret_namespaces, ns) != options.secret_namespaces.end();
}

std::string Runtime::no_secrets(const std::string& ns) {
    return fmt::format(
        "the operator may not use Secrets in namespace {0}; add {0} to --secret-namespaces of the operator "
        "and to --namespaces of `keyshepherd generate rbac`",
        ns);
}

bool Runtime::owns(const resources::Resource& resource, const std::string& claim) const {
    return resource.claim == claim || signer.is_mark(resource.mark, resource.uid, claim);
}

EntryPtr Runtime::find(const Key& key) const {
    EntryPtr entry = store.find(key);
    if (entry == nullptr) return entry;
    const Json facts = planner::sealed_facts(*key.kind, entry->status);
    if (facts.empty() || signer.is_seal(entry->status.value(std::string(resources::seal_field), ""),
                                        entry->resource.uid, facts))
        return entry;
    auto trusted = std::make_shared<Entry>(*entry);
    trusted->untrusted = true;
    trusted->status = planner::without_facts(*key.kind, std::move(trusted->status));
    trusted->resource.claim.clear();
    trusted->resource.role_id.clear();
    trusted->resource.connection.clear();
    return trusted;
}

Task<bool> Runtime::own(Key key, EntryPtr entry, EntryPtr connection, std::string claim) {
    if (!connection->resource.finalized && !co_await hold(key_of(*connection))) co_return false;
    const std::string mark = signer.mark(entry->resource.uid, claim);
    if (mark.empty()) co_return false;
    // What is patched must be what was looked at: else annotations that came meanwhile would be lost.
    Json patch = Json::array({{{"op", "test"},
                               {"path", "/metadata/resourceVersion"},
                               {"value", entry->metadata["metadata"].value("resourceVersion", "")}}});
    if (const auto finalizer = kube::add_finalizer(entry->metadata, resources::finalizer))
        patch.insert(patch.end(), finalizer->begin(), finalizer->end());
    if (entry->resource.annotated)
        patch.push_back(
            {{"op", "add"}, {"path", "/metadata/annotations/keyshepherd.dev~1claim"}, {"value", mark}});
    else
        patch.push_back({{"op", "add"},
                         {"path", "/metadata/annotations"},
                         {"value", {{std::string(resources::claim_annotation), mark}}}});
    auto patched = co_await kube.patch(
        ref_of(key), {.kind = kube::Patch::Kind::json_patch, .body = std::move(patch)}, soon());
    co_return taken(key, patched);
}

Task<bool> Runtime::hold(Key connection) {
    for (;;) {
        const EntryPtr latest = store.find(connection);
        if (latest == nullptr) co_return false;
        if (latest->resource.finalized) co_return true;
        if (!holding_.contains(connection)) {
            holding_.insert(connection);
            const bool held = co_await add_finalizer(connection, latest);
            holding_.erase(connection);
            held_.notify_all();
            co_return held;
        }
        if (co_await held_.wait(soon()) != net::Wake::notified) co_return false;
    }
}

Task<bool> Runtime::add_finalizer(Key key, EntryPtr entry) {
    const auto patch = kube::add_finalizer(entry->metadata, resources::finalizer);
    if (!patch) co_return true;
    auto patched =
        co_await kube.patch(ref_of(key), {.kind = kube::Patch::Kind::json_patch, .body = *patch}, soon());
    co_return taken(key, patched);
}

Task<bool> Runtime::remove_finalizer(Key key, EntryPtr entry) {
    const auto patch = kube::remove_finalizer(entry->metadata, resources::finalizer);
    if (!patch) co_return true;
    auto patched =
        co_await kube.patch(ref_of(key), {.kind = kube::Patch::Kind::json_patch, .body = *patch}, soon());
    if (!patched && patched.error().code == Errc::not_found) co_return true;
    // The last finalizer's removal deletes, and then the answer has the version of before. It counts all the
    // same: a reconcile that is due already must not do everything again.
    const EntryPtr latest = store.find(key);
    if (patched && latest != nullptr && latest->resource.uid == entry->resource.uid) {
        // Somebody's change may be in it that the watch has not told of, and will not: it is old news then.
        if (store.put(make_entry(*patched))) wake(key);
        // One that stays until its namespace goes is in nobody's way any more.
        if (kube::metadata(*patched).deletion_timestamp.empty()) wake(connection_of(entry->resource));
        co_return true;
    }
    co_return taken(key, patched);
}

bool Runtime::taken(const Key& key, const result<Json>& patched) {
    if (!patched) {
        if (patched.error().code != Errc::cancelled)
            log.warn("cannot write to the API server", {{"kind", key.kind->name},
                                                        {"namespace", key.ns},
                                                        {"name", key.name},
                                                        {"error", patched.error().message}});
        return false;
    }
    // Somebody's change may be in it that the watch has not told of, and will not: it is old news then.
    if (store.contains(key) && !store.is_old_news(key, *patched) && store.put(make_entry(*patched)))
        wake(key);
    return true;
}

// Seals the facts of `after` and writes what differs from the status that was read. Null: nothing differs.
Task<result<Json>> Runtime::write_status(Key key, Json after) {
    const EntryPtr held = store.find(key);
    if (held == nullptr) co_return fail(Errc::not_found, "the resource does not exist");
    const std::string seal_name(resources::seal_field);
    after.erase(seal_name);
    if (const Json facts = planner::sealed_facts(*key.kind, after); !facts.empty())
        after[seal_name] = signer.seal(held->resource.uid, facts);
    if (after == held->status) co_return Json();
    Json body = std::move(after);  // a merge takes away only what it names
    for (const auto& [name, value] : held->status.items())
        if (!body.contains(name)) body[name] = nullptr;
    co_return co_await kube.patch(ref_of(key, "status"),
                                  {.kind = kube::Patch::Kind::merge, .body = {{"status", std::move(body)}}},
                                  soon());
}

Task<bool> Runtime::record(Key key, std::map<std::string, std::string> facts) {
    const EntryPtr latest = find(key);
    if (latest == nullptr) co_return false;
    Json after = latest->status;
    for (const auto& [name, value] : facts) after[name] = value;
    const auto patched = co_await write_status(key, std::move(after));
    co_return patched && patched->is_null() ? true : taken(key, patched);
}

Task<StatusWrite> Runtime::report(Key key, EntryPtr entry, StatusUpdate update) {
    const EntryPtr latest = find(key);
    if (latest == nullptr) co_return StatusWrite();
    if (latest->untrusted && !update.gone.contains(std::string(planner::status_trusted)))
        update.others.push_back(planner::status_not_trusted(*key.kind, store.find(key)->status));
    if (const auto before = unwritten_.find(key); before != unwritten_.end())
        update.changed = update.changed || before->second.changed;
    Json after =
        planner::status_after(latest->status, update, entry->resource.generation, rfc3339(server_time()));
    const std::string before = planner::ready_reason(latest->status);
    auto patched = co_await write_status(key, std::move(after));
    if ((patched && patched->is_null()) || (!patched && patched.error().code == Errc::not_found)) {
        unwritten_.erase(key);
        co_return StatusWrite();
    }
    if (!taken(key, patched)) {
        Unwritten& unwritten = unwritten_[key];
        unwritten.changed = update.changed;
        co_return StatusWrite{.written = false, .retry = backoff(unwritten.attempts++, kube::random_unit())};
    }
    unwritten_.erase(key);
    if (latest->untrusted) {
        log.warn("ignoring a status that the operator did not write",
                 {{"kind", key.kind->name}, {"namespace", key.ns}, {"name", key.name}});
        events.record(latest->metadata, kube::Event::Type::warning, "StatusNotTrusted", "Reconcile",
                      "ignoring status fields that this operator did not write for this resource; see the "
                      "condition StatusTrusted");
    }
    if (before == update.reason || (update.ready == Truth::yes && !update.drifted.value_or(false)))
        co_return StatusWrite();
    log.warn("resource is not ready", {{"kind", key.kind->name},
                                       {"namespace", key.ns},
                                       {"name", key.name},
                                       {"reason", update.reason},
                                       {"message", update.message}});
    events.record(latest->metadata, kube::Event::Type::warning, update.reason, "Reconcile", update.message);
    co_return StatusWrite();
}

}  // namespace keyshepherd::controller
