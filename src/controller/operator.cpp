#include "seal.hpp"
#include "store.hpp"
#include "vault_session.hpp"

#include <keyshepherd/controller/operator.hpp>
#include <keyshepherd/core/build.hpp>
#include <keyshepherd/fsm/work_queue.hpp>
#include <keyshepherd/kube/client.hpp>
#include <keyshepherd/kube/event.hpp>
#include <keyshepherd/kube/finalizer.hpp>
#include <keyshepherd/kube/lease.hpp>
#include <keyshepherd/kube/reflector.hpp>
#include <keyshepherd/net/server.hpp>
#include <keyshepherd/net/signal.hpp>
#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/planner/status.hpp>
#include <keyshepherd/reconcile/vault_object.hpp>
#include <keyshepherd/telemetry/operator_metrics.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/signal_set.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <malloc.h>
#include <openssl/rand.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <limits>
#include <list>
#include <map>
#include <set>
#include <sstream>

namespace keyshepherd::controller {

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using net::Deadline;
using net::SteadyClock;
using net::Task;
using planner::Finding;
using planner::Truth;
using planner::Verdict;
using Signals = asio::basic_signal_set<net::Executor>;

double random_unit() {
    std::uint32_t bits = 0;
    if (RAND_bytes(reinterpret_cast<unsigned char*>(&bits), sizeof(bits)) != 1) return 0.5;
    return static_cast<double>(bits) / 4294967296.0;
}

std::string now_text() {
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
}

// Seconds since 1970 of what Kubernetes writes; 0 for anything else.
std::time_t time_of(const std::string& text) {
    std::tm time{};
    return strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &time) == nullptr ? 0 : timegm(&time);
}

kube::Resource resource_of(const resources::Kind& kind) {
    return {std::string(resources::group), std::string(resources::version), std::string(kind.plural), true};
}

kube::ObjectRef ref_of(const Key& key, std::string subresource = {}) {
    return {resource_of(*key.kind), key.ns, key.name, std::move(subresource)};
}

constexpr std::size_t most_events = 1000;  // that wait to be sent

const resources::Kind* const connection_kind = resources::find_kind("VaultConnection");

class Operator {
public:
    Operator(Options options, telemetry::Log log)
        : options_(std::move(options)),
          log_(std::move(log)),
          kube_(context_, options_.kubernetes, fmt::format("keyshepherd/{}", version())),
          sessions_(context_, kube_,
                    {.addresses = options_.vault_addresses,
                     .audience = options_.audience,
                     .requests_per_second = options_.requests_per_second,
                     .call = options_.call},
                    metrics_),
          metrics_server_(context_, [this](const net::Request& request) { return serve(request); },
                          {.limits = port_limits(), .log = &log_}) {
        for (const resources::Kind& kind : resources::kinds()) sinks_.emplace_back(*this, kind);
    }

    result<int> run() {
        KEYSHEPHERD_TRY(const auto address, metrics_server_.listen(options_.metrics_listen));
        std::ostringstream listening;
        listening << address;
        log_.info("starting", {{"metricsAddress", listening.str()},
                               {"version", version()},
                               {"commit", commit()},
                               {"apiServer", options_.kubernetes.origin.text()},
                               {"identity", options_.identity}});
        for (KindSink& sink : sinks_)
            spawn(kube::reflect(kube_, resource_of(sink.kind), options_.watch_namespace, sink,
                                {.early = true}));
        spawn(stand());
        spawn(tell());
        asio::co_spawn(context_, live(), [](const std::exception_ptr& e) {
            if (e) std::rethrow_exception(e);
        });
        context_.run();
        return exit_code_;
    }

private:
    // ---- what the API server tells

    struct KindSink final : kube::Sink {
        KindSink(Operator& owner_, const resources::Kind& kind_) : owner(owner_), kind(kind_) {}
        void replaced(std::vector<Json> objects, const std::vector<std::string>& gone) override {
            for (const std::string& key : gone) owner.gone(kind, key);
            for (const Json& object : objects) owner.seen(object);
            synced = true;
            if (!owner.synced()) return;
            malloc_trim(0);
            owner.changed_.notify_all();
        }
        // A list is right also when its versions are lesser: etcd may have come back from a backup.
        void listed(Json object) override { owner.seen(object); }
        void applied(Json object) override {
            if (!owner.store_.is_old_news(key_of_object(kind, object), object)) owner.seen(object);
        }
        void removed(const std::string& key, Json) override { owner.gone(kind, key); }
        void failed(const Error& error, std::chrono::milliseconds wait) override {
            owner.metrics_.watch_failed();
            owner.log_.warn("cannot watch",
                            {{"kind", kind.name}, {"error", error.message}, {"waitMs", wait.count()}});
        }
        Operator& owner;
        const resources::Kind& kind;
        bool synced = false;
    };

    static Key key_of_object(const resources::Kind& kind, const Json& object) {
        const kube::Metadata metadata = kube::metadata(object);
        return {&kind, metadata.ns, metadata.name};
    }

    bool synced() const {
        return std::ranges::all_of(sinks_, [](const KindSink& sink) { return sink.synced; });
    }

    void seen(const Json& object) {
        EntryPtr entry = make_entry(object);
        if (entry->resource.kind == nullptr) return;
        const Key key = key_of(*entry);
        if (!store_.put(entry)) return;
        wake(key);
        if (key.kind != connection_kind) return;
        sessions_.forget(key, entry->resource);
        for (const Key& dependent : store_.dependents(key)) wake(dependent);
    }

    void gone(const resources::Kind& kind, const std::string& name) {
        const auto [ns, own] = kube::split_key(name);
        const Key key{&kind, ns, own};
        const EntryPtr entry = store_.find(key);
        store_.erase(key);
        later_.erase(key);
        queue_.forget(key);
        wake(key);
        if (entry == nullptr) return;
        if (key.kind == connection_kind) {
            for (const Key& dependent : store_.dependents(key)) wake(dependent);
            return;
        }
        if (entry->faults.empty())
            for (const Key& other : store_.claimants(planner::claim(entry->resource))) wake(other);
        wake(connection_of(entry->resource));
    }

    void wake(const Key& key, std::chrono::milliseconds in = 0ms) {
        if (key.kind == nullptr) return;
        if (const auto at = later_.find(key); at != later_.end()) at->second.woken = true;
        queue_.add(key, SteadyClock::now() + in);
        changed_.notify_one();
    }

    // ---- the work of a leader

    Task<void> stand() {
        co_await asio::this_coro::throw_if_cancelled(false);
        kube::LeaseHooks hooks;
        hooks.changed = [this](bool leading) {
            metrics_.leading(leading);
            log_.info(leading ? "leading" : "no longer leading", {{"lease", options_.lease_name}});
        };
        hooks.failed = [this](const Error& error) {
            log_.warn("cannot reach the Lease", {{"error", error.message}});
        };
        while (!ending_) {
            auto ended = co_await kube::lead(
                kube_, {options_.own_namespace, options_.lease_name}, options_.identity, options_.lease,
                [this] { return work(); }, hooks);
            if (ended || ended.error().code == Errc::cancelled) break;
            if (ended.error().code == Errc::invalid || ended.error().code == Errc::internal) {
                log_.error("cannot lead", {{"error", ended.error().message}});
                exit_code_ = 1;
                end();
                break;
            }
            log_.warn("the Lease is lost", {{"error", ended.error().message}});
        }
    }

    // Returns once every worker has ended; they end when this is cancelled.
    Task<void> work() {
        co_await asio::this_coro::throw_if_cancelled(false);
        while (!synced() && !co_await net::is_cancelled()) co_await changed_.wait(SteadyClock::now() + 1s);
        if (const auto opened = co_await seal_.open(kube_, options_.own_namespace, soon());
            !opened && opened.error().code != Errc::cancelled)
            log_.warn("no key for marks: each new resource takes one more write",
                      {{"error", opened.error().message}});
        queue_.clear();
        later_.clear();
        later_order_.clear();
        for (const Key& key : store_.keys()) wake(key);  // whoever led before may have missed something
        std::list<asio::cancellation_signal> stops;
        std::size_t running = 0;
        net::Signal joined(context_.get_executor());
        for (std::size_t i = 0; i < options_.workers && !co_await net::is_cancelled(); ++i) {
            ++running;
            asio::co_spawn(
                context_, worker(),
                asio::bind_cancellation_slot(stops.emplace_back().slot(), [&](const std::exception_ptr& e) {
                    --running;
                    joined.notify_all();
                    if (e) std::rethrow_exception(e);
                }));
        }
        net::Signal never(context_.get_executor());
        while (!co_await net::is_cancelled()) co_await never.wait(SteadyClock::now() + 1h);
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        for (auto& stop : stops) stop.emit(asio::cancellation_type::terminal);
        while (running > 0) co_await joined.wait(SteadyClock::now() + 1h);
    }

    Task<void> worker() {
        co_await asio::this_coro::throw_if_cancelled(false);
        while (!co_await net::is_cancelled()) {
            const auto now = SteadyClock::now();
            metrics_.waiting(queue_.waiting());
            tell_late(now, false);
            auto key = queue_.pop(now, options_.workers);
            if (!key && tell_late(now, true)) key = queue_.pop(now, options_.workers);
            if (!key) {
                const auto next = queue_.next_wakeup(options_.workers);
                co_await changed_.wait(
                    next ? std::min<Deadline>(std::chrono::time_point_cast<SteadyClock::duration>(*next),
                                              now + 1h)
                         : now + 1h);
                continue;
            }
            std::optional<std::chrono::milliseconds> again;
            try {
                again = co_await reconcile(*key);
            } catch (const std::exception& malfunction) {  // ours: it must not hold up everybody else
                metrics_.reconciled(key->kind->name, "error", 0);
                log_.error("malfunction", {{"kind", key->kind->name},
                                           {"namespace", key->ns},
                                           {"name", key->name},
                                           {"error", malfunction.what()}});
                again = 60s;
            }
            queue_.done(*key);
            if (again) wake(*key, *again);
            if (queue_.next_wakeup(options_.workers) || !later_order_.empty()) changed_.notify_one();
        }
        // Whoever is told to stop passes on what may have been meant for it.
        changed_.notify_one();
    }

    // Queues the resource whose state waits the longest to be told, when it is `idle` or has waited long
    // enough.
    bool tell_late(Deadline now, bool idle) {
        while (!later_order_.empty() && (idle || later_order_.front().first <= now)) {
            const Key key = std::move(later_order_.front().second);
            later_order_.pop_front();
            if (!later_.contains(key)) continue;
            queue_.add(key, now);
            return true;
        }
        return false;
    }

    Deadline soon() const { return SteadyClock::now() + options_.call; }

    // How long to wait after a failure: doubles, and within a minute of Vault's return everything is looked
    // at.
    std::chrono::milliseconds retry_in(const Key& key) {
        const double unit = random_unit();
        const unsigned attempt = std::min(queue_.failures(key), 5U);
        queue_.retry(key, SteadyClock::now() + 24h, unit);  // counts; the wait is ours
        return std::chrono::milliseconds(static_cast<long>((1000 << attempt) * (0.5 + unit / 2)));
    }

    // Whether resources are due that nobody looks at yet.
    bool behind() const {
        const auto next = queue_.next_wakeup(std::numeric_limits<std::size_t>::max());
        return next && *next <= SteadyClock::now();
    }

    static std::chrono::milliseconds resync_in(const resources::Resource& resource) {
        const auto period =
            resources::seconds_of(resource.spec.value("resyncPeriod", Json("5m"))).value_or(300);
        return std::chrono::milliseconds(static_cast<long>(
            static_cast<double>(std::max<std::int64_t>(period, 1)) * 1000.0 * (0.8 + 0.2 * random_unit())));
    }

    // When to look again; nullopt: not before something changes.
    Task<std::optional<std::chrono::milliseconds>> reconcile(Key key) {
        const auto began = SteadyClock::now();
        const EntryPtr entry = store_.find(key);
        if (entry == nullptr) {
            if (key.kind == connection_kind) sessions_.close(key);
            co_return std::nullopt;
        }
        const char* outcome = "success";
        auto again = key.kind == connection_kind ? co_await connection(key, entry, outcome)
                                                 : co_await object(key, entry, outcome);
        metrics_.reconciled(key.kind->name, outcome,
                            std::chrono::duration<double>(SteadyClock::now() - began).count());
        co_return again;
    }

    // ---- a VaultConnection

    Task<std::optional<std::chrono::milliseconds>> connection(Key key, EntryPtr entry, const char*& outcome) {
        const resources::Resource& resource = entry->resource;
        if (!resource.deletion_time.empty()) {
            if (!resource.finalized) co_return std::nullopt;
            if (const auto users = in_use(key); !users.empty()) {
                co_await report(
                    key, entry,
                    {.ready = Truth::no,
                     .reason = "InUse",
                     .message = fmt::format("goes when what uses it has left Vault in order, as {} {}/{}",
                                            users.front().kind->name, users.front().ns, users.front().name)});
                co_return std::nullopt;
            }
            const auto gone = co_await remove_finalizer(key, entry);
            if (!gone) co_return retry_in(key);
            co_return std::nullopt;
        }
        if (!entry->faults.empty()) co_return co_await invalid(key, entry, outcome);
        Finding finding;
        std::chrono::milliseconds again = 60s;
        auto session = co_await sessions_.open(key, resource, soon());
        auto health = session ? co_await (*session)->vault.health(soon())
                              : result<vault::Health>(std::unexpected(session.error()));
        result<void> usable;
        if (!health)
            usable = std::unexpected(health.error());
        else if (!health->usable())
            usable = fail(Errc::unavailable, health->sealed ? "Vault is sealed" : "Vault is not initialized");
        else if (auto reserved = co_await (*session)->reserved_policies(soon()); !reserved)
            usable = std::unexpected(reserved.error());
        if (!usable && usable.error().code == Errc::cancelled) co_return std::nullopt;
        if (usable) {
            queue_.forget(key);
            finding = {.ready = Truth::yes, .reason = "Connected", .message = "logged in"};
            finding.facts = {{"vaultVersion", health->version}, {"vaultClusterID", health->cluster_id}};
        } else {
            outcome = "error";
            finding = planner::finding_of(usable.error());
            again = std::min<std::chrono::milliseconds>(retry_in(key), 5s);
            if (usable.error().code == Errc::unauthorized || usable.error().code == Errc::forbidden) {
                finding.reason = "AuthFailed";
                sessions_.close(key);
            }
        }
        const bool recovered = usable && planner::ready_reason(entry->status) != "Connected";
        co_await report(key, entry, finding);
        if (recovered)
            for (const Key& dependent : store_.dependents(key))
                wake(dependent, std::chrono::milliseconds(static_cast<long>(2000 * random_unit())));
        co_return again;
    }

    // Resources that still need the connection to leave Vault in order.
    std::vector<Key> in_use(const Key& connection) const {
        std::vector<Key> users;
        const EntryPtr held = store_.find(connection);
        const std::string vault = held == nullptr || !held->faults.empty() ? "" : vault_of(held->resource);
        for (const Key& key : store_.dependents(connection))
            if (const EntryPtr entry = store_.find(key);
                entry != nullptr && entry->resource.finalized &&
                (!entry->resource.claim.empty() ||
                 owns(entry->resource, vault + " " + planner::claim(entry->resource))))
                users.push_back(key);
        return users;
    }

    // ---- what lies in Vault

    Task<std::optional<std::chrono::milliseconds>> object(Key key, EntryPtr entry, const char*& outcome) {
        const resources::Resource& resource = entry->resource;
        const auto later = later_.extract(key);
        const bool deleting = !resource.deletion_time.empty();
        if (deleting && !resource.finalized) co_return std::nullopt;
        if (resource.paused && !deleting) {
            co_await report(
                key, entry,
                {.ready = Truth::unknown, .reason = "Paused", .message = "keyshepherd.dev/paused is true"});
            co_return std::nullopt;
        }
        if (!entry->faults.empty() && !deleting) co_return co_await invalid(key, entry, outcome);
        if (later && !deleting && later.mapped().generation == resource.generation) {
            co_await report(key, entry, later.mapped().finding);
            co_return later.mapped().woken ? 0ms : resync_in(resource);
        }

        const Key connection_key = connection_of(resource);
        const EntryPtr connection = store_.find(connection_key);
        if (connection == nullptr || !connection->faults.empty()) {
            outcome = "refused";
            const std::string which =
                fmt::format("VaultConnection {}/{}", connection_key.ns, connection_key.name);
            if (deleting) co_return co_await wait_or_orphan(key, entry, nullptr, which + " is not there");
            co_await report(
                key, entry,
                {.ready = Truth::no,
                 .reason = "ConnectionNotFound",
                 .message = which + (connection == nullptr ? " is not there" : " has faults of its own")});
            co_return std::nullopt;  // its arrival wakes us
        }
        auto session = co_await sessions_.open(connection_key, connection->resource, soon());
        auto reserved = session ? co_await (*session)->reserved_policies(soon())
                                : result<std::set<std::string>>(std::unexpected(session.error()));
        if (!reserved) co_return co_await failed(key, entry, connection, reserved.error(), deleting, outcome);

        // Before anything else leaves for Vault.
        const planner::Judgement judgement =
            deleting ? planner::Judgement() : planner::judge(resource, connection->resource, *reserved);
        if (!judgement.faults.empty()) {
            outcome = "refused";
            co_await report(
                key, entry,
                {.ready = Truth::no, .reason = "NotGranted", .message = joined(judgement.faults)});
            co_return std::nullopt;
        }
        const std::string vault = vault_of(connection->resource);
        const std::string claim = vault + " " + planner::claim(resource);
        const EntryPtr owner = deleting ? nullptr : co_await owner_of(key, entry, vault);
        if (owner != nullptr) {
            outcome = "refused";
            co_await report(
                key, entry,
                {.ready = Truth::no,
                 .reason = "Conflict",
                 .message = fmt::format("{} belongs to {}", planner::claim(resource), owner->resource.text()),
                 .synced = false});
            co_return std::nullopt;  // woken when that one goes
        }
        const planner::Standing standing{
            .owner = owns(resource, claim), .may_adopt = judgement.rights.adopt, .role_id = resource.role_id};
        auto observed = co_await reconcile::observe((*session)->vault, resource, standing, soon());
        if (!observed) co_return co_await failed(key, entry, connection, observed.error(), deleting, outcome);
        if (deleting)
            co_return co_await remove(key, entry, connection, (*session)->vault, *observed, standing,
                                      outcome);
        co_return co_await converge(key, entry, connection, (*session)->vault, *observed, standing, claim,
                                    outcome);
    }

    Task<std::optional<std::chrono::milliseconds>> converge(Key key, EntryPtr entry, EntryPtr connection,
                                                            vault::Client& vault,
                                                            const planner::Observation& observed,
                                                            const planner::Standing& standing,
                                                            std::string claim, const char*& outcome) {
        const resources::Resource& resource = entry->resource;
        const planner::Plan plan = planner::plan(resource, observed, standing);
        if (plan.verdict == Verdict::refused) {
            outcome = "refused";
            co_await report(
                key, entry,
                {.ready = Truth::no, .reason = plan.reason, .message = plan.message, .synced = false});
            co_return resync_in(resource);
        }
        const bool same_generation =
            entry->status.value("observedGeneration", std::int64_t{0}) == resource.generation;
        const bool drift = standing.owner && same_generation && plan.verdict != Verdict::in_sync;
        if (drift && resource.spec.value("driftPolicy", "") == "Report") {
            if (planner::ready_reason(entry->status) != "DriftDetected")
                metrics_.drift(key.kind->name, false);
            co_await report(key, entry,
                            {.ready = Truth::yes,
                             .reason = "DriftDetected",
                             .message = difference(plan),
                             .synced = false,
                             .drifted = true});
            co_return resync_in(resource);
        }
        if (!standing.owner || !resource.finalized) {
            // What we are about to make or to take over is written down first: after a crash it is still
            // ours.
            if (!co_await own(key, entry, connection, claim)) {
                outcome = "error";
                co_return retry_in(key);
            }
            entry = store_.find(key);
            if (entry == nullptr || !entry->resource.deletion_time.empty()) co_return 0ms;
        }
        if (!plan.requests.empty()) {
            auto done = co_await reconcile::act(vault, plan, soon());
            if (!done) co_return co_await failed(key, entry, connection, done.error(), false, outcome);
            outcome = "changed";
            if (drift) metrics_.drift(key.kind->name, true);
            const char* reason = drift                             ? "DriftRepaired"
                                 : plan.verdict == Verdict::create ? "Created"
                                                                   : "Updated";
            std::string note = fmt::format("{}: {}", planner::claim(resource), difference(plan));
            for (const std::string& warning : *done) note += "; Vault warns: " + warning;
            log_.info("changed in Vault", {{"kind", key.kind->name},
                                           {"namespace", key.ns},
                                           {"name", key.name},
                                           {"reason", reason},
                                           {"vaultPath", planner::claim(resource)},
                                           {"difference", difference(plan)}});
            event(entry->metadata, drift ? kube::Event::Type::warning : kube::Event::Type::normal, reason,
                  "Write", note);
        }
        queue_.forget(key);
        std::string role_id = plan.role_id;
        if (key.kind->name == "VaultAppRole" && role_id.empty() &&
            (resource.role_id.empty() || plan.verdict == Verdict::create)) {
            const auto answer = co_await vault.read(planner::claim(resource) + "/role-id", soon());
            if (answer && *answer) role_id = (*answer)->value("role_id", "");
        }
        Finding finding{.ready = Truth::yes,
                        .reason = "Reconciled",
                        .message = "Vault is equal",
                        .synced = true,
                        .drifted = false};
        finding.changed = !plan.requests.empty();
        finding.facts = {{"claim", claim}, {"roleID", role_id}};
        if (finding.changed && behind()) {
            // Applications wait for what is in Vault: all of that comes first, and is told afterwards.
            later_.insert_or_assign(key, Later{std::move(finding), resource.generation});
            later_order_.emplace_back(SteadyClock::now() + longest_later, key);
            co_return std::nullopt;
        }
        co_await report(key, entry, finding);
        co_return resync_in(resource);
    }

    Task<std::optional<std::chrono::milliseconds>> remove(Key key, EntryPtr entry, EntryPtr connection,
                                                          vault::Client& vault,
                                                          const planner::Observation& observed,
                                                          const planner::Standing& standing,
                                                          const char*& outcome) {
        const planner::Plan plan = planner::plan_removal(entry->resource, observed, standing);
        if (auto done = co_await reconcile::act(vault, plan, soon()); !done)
            co_return co_await failed(key, entry, connection, done.error(), true, outcome);
        if (!standing.owner && !entry->resource.claim.empty()) {
            // It was made in another Vault, or under another address of this one.
            metrics_.orphaned(key.kind->name);
            log_.error("left in Vault", {{"kind", key.kind->name},
                                         {"namespace", key.ns},
                                         {"name", key.name},
                                         {"claim", entry->resource.claim}});
            event(entry->metadata, kube::Event::Type::warning, "Orphaned", "Delete",
                  fmt::format("{} stays: the connection leads elsewhere now", entry->resource.claim));
        }
        if (!plan.requests.empty()) {
            outcome = "changed";
            log_.info("removed from Vault", {{"kind", key.kind->name},
                                             {"namespace", key.ns},
                                             {"name", key.name},
                                             {"vaultPath", planner::claim(entry->resource)}});
        }
        const auto gone = co_await remove_finalizer(key, entry);
        if (!gone) co_return retry_in(key);
        wake(connection_of(entry->resource));
        co_return std::nullopt;
    }

    // Vault, or the way to it, is in trouble.
    Task<std::optional<std::chrono::milliseconds>> failed(Key key, EntryPtr entry, EntryPtr connection,
                                                          Error error, bool deleting, const char*& outcome) {
        if (error.code == Errc::cancelled) co_return std::nullopt;
        outcome = "error";
        Finding finding = planner::finding_of(error);
        const bool away = finding.ready == Truth::unknown || finding.reason == "AuthFailed";
        if (finding.reason == "AuthFailed") sessions_.close(connection_of(entry->resource));
        if (away) wake(connection_of(entry->resource));
        if (deleting && (away || finding.reason == "PermissionDenied"))
            co_return co_await wait_or_orphan(key, entry, connection, error.message);
        if (deleting && finding.reason == "MountNotFound") {  // with the mount went what was in it
            const auto gone = co_await remove_finalizer(key, entry);
            if (!gone) co_return retry_in(key);
            wake(connection_of(entry->resource));
            co_return std::nullopt;
        }
        if (!away) finding.synced = false;
        co_await report(key, entry, finding);
        const auto wait = retry_in(key);
        // What only a person can mend is not asked for again and again.
        co_return away ? wait : std::max<std::chrono::milliseconds>(wait, 2s);
    }

    // A deletion that cannot be done: after the connection's deletionTimeout the resource goes, and the
    // object stays in Vault.
    Task<std::optional<std::chrono::milliseconds>> wait_or_orphan(Key key, EntryPtr entry,
                                                                  EntryPtr connection, std::string why) {
        const auto timeout =
            connection == nullptr
                ? 300
                : resources::seconds_of(connection->resource.spec.value("deletionTimeout", Json("5m")))
                      .value_or(300);
        const auto left = time_of(entry->resource.deletion_time) + timeout - std::time(nullptr);
        if (left > 0) {
            co_await report(key, entry, {.ready = Truth::no, .reason = "DeletionBlocked", .message = why});
            co_return std::min<std::chrono::milliseconds>(retry_in(key), std::chrono::seconds(left));
        }
        const std::string note =
            fmt::format("{} {}/{} went; {} stays in Vault, which could not be asked: {}", key.kind->name,
                        key.ns, key.name, planner::claim(entry->resource), why);
        const auto gone = co_await remove_finalizer(key, entry);
        if (!gone) co_return retry_in(key);
        metrics_.orphaned(key.kind->name);
        log_.error("left in Vault", {{"kind", key.kind->name},
                                     {"namespace", key.ns},
                                     {"name", key.name},
                                     {"vaultPath", planner::claim(entry->resource)},
                                     {"error", why}});
        // In a namespace that is going no event can be made: it is about the namespace.
        const Json ns = {{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", key.ns}}}};
        event(ns, kube::Event::Type::warning, "Orphaned", "Delete", note);
        wake(connection_of(entry->resource));
        co_return std::nullopt;
    }

    Task<std::optional<std::chrono::milliseconds>> invalid(Key key, EntryPtr entry, const char*& outcome) {
        outcome = "refused";
        co_await report(key, entry,
                        {.ready = Truth::no, .reason = "InvalidSpec", .message = joined(entry->faults)});
        co_return std::nullopt;
    }

    static std::string joined(const std::vector<resources::Fault>& faults) {
        std::string text;
        for (const resources::Fault& fault : faults)
            text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", fault.field, fault.message);
        return text;
    }

    static std::string difference(const planner::Plan& plan) {
        return plan.verdict == Verdict::create ? "made" : planner::summary(plan.changes);
    }

    static std::string vault_of(const resources::Resource& connection) {
        return reconcile::vault_name(connection.spec.value("address", ""),
                                     connection.spec.value("vaultNamespace", ""));
    }

    bool owns(const resources::Resource& resource, const std::string& claim) const {
        return resource.claim == claim || seal_.made(resource.mark, resource.uid, claim);
    }

    // Who the object belongs to, when that is not `key`: whoever has made or adopted it; before anybody has,
    // the oldest of those who may.
    Task<EntryPtr> owner_of(Key key, EntryPtr own, std::string vault) {
        const std::string path = planner::claim(own->resource);
        const std::string claim = vault + " " + path;
        if (owns(own->resource, claim)) co_return nullptr;
        std::vector<EntryPtr> older;
        bool before = true;
        for (const Key& claimant : store_.claimants(path)) {
            if (claimant == key) {
                before = false;
                continue;
            }
            const EntryPtr other = store_.find(claimant);
            if (owns(other->resource, claim)) co_return other;
            const EntryPtr connection = store_.find(connection_of(other->resource));
            if (before && other->resource.deletion_time.empty() && connection != nullptr &&
                connection->faults.empty() && vault_of(connection->resource) == vault)
                older.push_back(other);
        }
        for (const EntryPtr& other : older) {
            const Key through = connection_of(other->resource);
            const EntryPtr connection = store_.find(through);
            if (connection == nullptr) continue;
            auto session = co_await sessions_.open(through, connection->resource, soon());
            if (!session) continue;  // who cannot reach Vault holds up nobody
            auto reserved = co_await (*session)->reserved_policies(soon());
            if (reserved && planner::judge(other->resource, connection->resource, *reserved).faults.empty())
                co_return other;
        }
        co_return nullptr;
    }

    // ---- what is told to the API server

    // The finalizer of the connection; then, in one write, the resource's own and a mark of whose the object
    // is. The status says so too, once it is written. Without a key for marks the status says so at once.
    Task<bool> own(Key key, EntryPtr entry, EntryPtr connection, std::string claim) {
        if (!connection->resource.finalized && !co_await hold(key_of(*connection))) co_return false;
        if (const std::string mark = seal_.mark(entry->resource.uid, claim); !mark.empty()) {
            // What is patched must be what was looked at: else annotations that came meanwhile would be lost.
            Json patch = Json::array({{{"op", "test"},
                                       {"path", "/metadata/resourceVersion"},
                                       {"value", entry->metadata["metadata"].value("resourceVersion", "")}}});
            if (const auto finalizer = kube::add_finalizer(entry->metadata, resources::finalizer))
                patch.insert(patch.end(), finalizer->begin(), finalizer->end());
            if (entry->resource.annotated)
                patch.push_back({{"op", "add"},
                                 {"path", "/metadata/annotations/keyshepherd.dev~1claim"},
                                 {"value", mark}});
            else
                patch.push_back({{"op", "add"},
                                 {"path", "/metadata/annotations"},
                                 {"value", {{std::string(resources::claim_annotation), mark}}}});
            auto patched = co_await kube_.patch(
                ref_of(key), {.kind = kube::Patch::Kind::json_patch, .body = std::move(patch)}, soon());
            co_return taken(key, patched);
        }
        if (!co_await add_finalizer(key, entry)) co_return false;
        const Json body = {{"status", {{"claim", claim}}}};
        auto patched = co_await kube_.patch(ref_of(key, "status"),
                                            {.kind = kube::Patch::Kind::merge, .body = body}, soon());
        co_return taken(key, patched);
    }

    // The finalizer of a connection, which many resources want at once.
    Task<bool> hold(Key connection) {
        for (;;) {
            const EntryPtr latest = store_.find(connection);
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

    Task<bool> add_finalizer(Key key, EntryPtr entry) {
        const auto patch = kube::add_finalizer(entry->metadata, resources::finalizer);
        if (!patch) co_return true;
        auto patched = co_await kube_.patch(ref_of(key),
                                            {.kind = kube::Patch::Kind::json_patch, .body = *patch}, soon());
        co_return taken(key, patched);
    }

    Task<bool> remove_finalizer(Key key, EntryPtr entry) {
        const auto patch = kube::remove_finalizer(entry->metadata, resources::finalizer);
        if (!patch) co_return true;
        auto patched = co_await kube_.patch(ref_of(key),
                                            {.kind = kube::Patch::Kind::json_patch, .body = *patch}, soon());
        if (!patched && patched.error().code == Errc::not_found) co_return true;
        co_return taken(key, patched);
    }

    // What a patch gave back is newer than what the watch has told so far.
    bool taken(const Key& key, const result<Json>& patched) {
        if (!patched) {
            if (patched.error().code != Errc::cancelled)
                log_.warn("cannot write to the API server", {{"kind", key.kind->name},
                                                             {"namespace", key.ns},
                                                             {"name", key.name},
                                                             {"error", patched.error().message}});
            return false;
        }
        if (store_.contains(key) && !store_.is_old_news(key, *patched)) store_.put(make_entry(*patched));
        return true;
    }

    // Writes the status when it says something new, and an event when the reason is another.
    Task<void> report(Key key, EntryPtr entry, Finding finding) {
        const EntryPtr latest = store_.find(key);
        if (latest == nullptr) co_return;
        const Json after =
            planner::status_after(latest->status, finding, entry->resource.generation, now_text());
        if (after == latest->status) co_return;
        const std::string before = planner::ready_reason(latest->status);
        auto patched = co_await kube_.patch(
            ref_of(key, "status"), {.kind = kube::Patch::Kind::merge, .body = {{"status", after}}}, soon());
        if (!patched && patched.error().code == Errc::not_found) co_return;
        if (!taken(key, patched)) co_return;
        if (before == finding.reason || (finding.ready == Truth::yes && !finding.drifted.value_or(false)))
            co_return;
        log_.warn("not as it should be", {{"kind", key.kind->name},
                                          {"namespace", key.ns},
                                          {"name", key.name},
                                          {"reason", finding.reason},
                                          {"message", finding.message}});
        event(latest->metadata, kube::Event::Type::warning, finding.reason, "Reconcile", finding.message);
    }

    // Events are sent in the background: nothing depends on them, and the log has it all.
    void event(Json regarding, kube::Event::Type type, std::string reason, std::string action,
               std::string note) {
        if (events_.size() >= most_events) {
            log_.debug("event not made", {{"error", "too many wait"}, {"reason", reason}});
            return;
        }
        kube::Event made;
        made.type = type;
        made.reason = std::move(reason);
        made.action = std::move(action);
        made.note = std::move(note);
        events_.emplace_back(std::move(regarding), std::move(made));
        told_.notify_one();
    }

    Task<void> tell() {
        co_await asio::this_coro::throw_if_cancelled(false);
        const kube::Reporter reporter{"keyshepherd.dev/operator", options_.identity};
        while (!co_await net::is_cancelled()) {
            if (events_.empty()) {
                co_await told_.wait(SteadyClock::now() + 1h);
                continue;
            }
            for (const Deadline until = SteadyClock::now() + longest_later;
                 behind() && SteadyClock::now() < until;)
                if (!co_await net::sleep_until(SteadyClock::now() + 100ms)) break;
            if (co_await net::is_cancelled()) break;
            auto [regarding, made] = std::move(events_.front());
            events_.pop_front();
            const auto sent =
                co_await kube::report(kube_, std::move(regarding), std::move(made), reporter, soon());
            if (!sent && sent.error().code != Errc::cancelled)
                log_.debug("event not made", {{"error", sent.error().message}});
        }
    }

    // ---- the process

    static net::Limits port_limits() {
        net::Limits limits;
        limits.sessions = 64;
        limits.body_bytes = 16 * 1024;
        return limits;
    }

    net::Response serve(const net::Request& request) {
        const std::string_view path = request.target.substr(0, request.target.find('?'));
        net::Response response;
        if (path == "/healthz") {
            response.body = "ok\n";
        } else if (path == "/readyz") {
            const bool ready = synced() && !ending_;
            response.status = ready ? 200 : 503;
            response.body = ready ? "ok\n" : ending_ ? "ending\n" : "the resources were not read yet\n";
        } else if (path == "/metrics") {
            response.body = metrics_.text();
            response.content_type = "text/plain; version=0.0.4; charset=utf-8";
        } else {
            response.status = 404;
            response.body = "there are /metrics, /healthz and /readyz\n";
        }
        return response;
    }

    void spawn(Task<void> task) {
        ++spawned_;
        asio::co_spawn(
            context_, std::move(task),
            asio::bind_cancellation_slot(stops_.emplace_back().slot(), [this](const std::exception_ptr& e) {
                --spawned_;
                ended_.notify_all();
                if (e) std::rethrow_exception(e);
            }));
    }

    void end() {
        ending_ = true;
        signals_.cancel();
    }

    Task<void> live() {
        auto [ec, signal] = co_await signals_.async_wait(net::no_throw);
        ending_ = true;
        signals_.async_wait([](const boost::system::error_code& cut, int second) {
            if (!cut) std::_Exit(128 + second);
        });
        log_.info("stopping", {{"signal", ec ? 0 : signal}});
        for (auto& stop : stops_) stop.emit(asio::cancellation_type::terminal);
        const Deadline until = SteadyClock::now() + 8s;
        while (spawned_ > 0 && co_await ended_.wait(until) == net::Wake::notified) {
        }
        co_await sessions_.sign_off(SteadyClock::now() + 700ms);
        metrics_server_.stop();
        metrics_server_.close_all();
        signals_.cancel();
        log_.info("stopped", {{"left", spawned_}});
        // Threads that wait for a name server may be left: they are not waited for.
        std::fflush(nullptr);
        std::_Exit(exit_code_);
    }

    Options options_;
    telemetry::Log log_;
    telemetry::OperatorMetrics metrics_;
    asio::io_context context_{1};
    // From the first: a signal before the loop is not lost.
    Signals signals_{context_, SIGTERM, SIGINT};
    kube::Client kube_;
    Sessions sessions_;
    net::Server metrics_server_;
    std::list<KindSink> sinks_;
    Store store_;
    Seal seal_;
    fsm::WorkQueue<Key> queue_;
    net::Signal changed_{context_.get_executor()};
    // What a resource came to, to be told when less is to do.
    struct Later {
        Finding finding;
        std::int64_t generation;
        bool woken = false;  // something has happened since
    };
    static constexpr std::chrono::seconds longest_later{5};
    std::map<Key, Later> later_;
    std::deque<std::pair<Deadline, Key>> later_order_;
    std::set<Key> holding_;  // connections whose finalizer is being written
    net::Signal held_{context_.get_executor()};
    std::deque<std::pair<Json, kube::Event>> events_;
    net::Signal told_{context_.get_executor()};
    net::Signal ended_{context_.get_executor()};
    std::list<asio::cancellation_signal> stops_;
    std::size_t spawned_ = 0;
    bool ending_ = false;
    int exit_code_ = 0;
};

void prepare_process() {
    std::signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_DUMPABLE, 0);  // tokens are in this memory
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
}

}  // namespace

result<int> run(Options options) {
    telemetry::Log log(options.log_level, options.log_format);
    prepare_process();
    KEYSHEPHERD_TRY_CHECK(options.lease.check());
    Operator made(std::move(options), std::move(log));
    return made.run();
}

}  // namespace keyshepherd::controller
