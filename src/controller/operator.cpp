#include "connection_reconciler.hpp"
#include "provider_reconciler.hpp"
#include "runtime.hpp"
#include "secret_id_reconciler.hpp"
#include "vault_object_reconciler.hpp"

#include <keyshepherd/controller/operator.hpp>
#include <keyshepherd/core/build.hpp>
#include <keyshepherd/core/server_address.hpp>
#include <keyshepherd/kube/lease.hpp>
#include <keyshepherd/kube/reflector.hpp>
#include <keyshepherd/kube/secret.hpp>
#include <keyshepherd/net/server.hpp>
#include <keyshepherd/net/wiped.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/signal_set.hpp>
#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <list>
#include <sstream>

namespace keyshepherd::controller {

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using Signals = asio::basic_signal_set<net::Executor>;

const resources::Kind* const secret_id_kind = &resources::kind_of(resources::KindId::vault_secret_id);
const resources::Kind* const connection_kind = &resources::kind_of(resources::KindId::vault_connection);
const resources::Kind* const provider_kind = &resources::kind_of(resources::KindId::ai_provider);
const resources::Kind* const cluster_provider_kind =
    &resources::kind_of(resources::KindId::cluster_ai_provider);

class Operator {
public:
    Operator(Options options, telemetry::Log log)
        : options_(std::move(options)),
          log_(std::move(log)),
          runtime_(context_, options_, log_),
          metrics_server_(context_, [this](const net::Request& request) { return serve(request); },
                          {.limits = port_limits(), .log = &log_}) {
        if (options_.secret_namespaces.empty()) secret_sinks_.emplace_back(*this, options_.watch_namespace);
        for (const std::string& ns : options_.secret_namespaces) secret_sinks_.emplace_back(*this, ns);
        for (const resources::Kind& kind : resources::kinds())
            if (kind.namespaced || options_.watch_namespace.empty()) sinks_.emplace_back(*this, kind);
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
        for (const std::string& pattern : options_.providers.vault_addresses)
            if (const std::string reach = tenant_reach(pattern); !reach.empty())
                log_.warn("a tenant may control an allowed Vault address",
                          {{"address", pattern}, {"reason", reach}});
        for (KindSink& sink : sinks_) watch(resource_of(sink.kind), options_.watch_namespace, sink);
        // The right to Secrets of a namespace that is named may be missing: it may be gone.
        for (SecretSink& sink : secret_sinks_)
            watch(kube::secrets, sink.ns, sink, SecretWatch::selector, !options_.secret_namespaces.empty());
        for (WorkloadWatch::Collection& each : runtime_.workloads.collections())
            watch(each.resource, options_.watch_namespace, each);
        if (options_.watch_namespace.empty()) watch(NamespaceWatch::resource(), "", runtime_.namespaces);
        spawn(run_leader_election());
        spawn(runtime_.events.run([this] { return runtime_.behind(); }, Runtime::longest_later));
        asio::co_spawn(context_, run_until_signal(), [](const std::exception_ptr& e) {
            if (e) std::rethrow_exception(e);
        });
        context_.run();
        return exit_code_;
    }

private:
    // ---- what the API server tells

    // Passes on what a watch tells, and knows whether the watch fails. A failure ends with the next watch
    // that the API server opens.
    struct WatchHealth final : kube::Sink {
        WatchHealth(Sink& to_, std::string resource_, bool may_be_forbidden_)
            : to(to_), resource(std::move(resource_)), may_be_forbidden(may_be_forbidden_) {}
        void replaced(std::vector<Json> objects, const std::vector<std::string>& gone) override {
            to.replaced(std::move(objects), gone);
        }
        void listed(Json object) override { to.listed(std::move(object)); }
        void applied(Json object) override { to.applied(std::move(object)); }
        void removed(const std::string& key, Json last_state) override {
            to.removed(key, std::move(last_state));
        }
        void failed(const Error& error, std::chrono::milliseconds wait) override {
            if (!may_be_forbidden || error.code != Errc::forbidden) failure = error.message;
            to.failed(error, wait);
        }
        void recovered() override {
            failure.clear();
            to.recovered();
        }
        Sink& to;
        const std::string resource;
        const bool may_be_forbidden;
        std::string failure;
    };

    void watch(kube::Resource resource, const std::string& ns, kube::Sink& sink,
               std::string label_selector = {}, bool may_be_forbidden = false) {
        WatchHealth& health = watches_.emplace_back(sink, resource.plural, may_be_forbidden);
        spawn(kube::reflect(runtime_.kube, std::move(resource), ns, health,
                            {.label_selector = std::move(label_selector), .early = true}));
    }

    // Why what is known of the cluster may be out of date; "": it is current.
    std::string watch_failure() const {
        for (const WatchHealth& each : watches_)
            if (!each.failure.empty()) return fmt::format("{}: {}", each.resource, each.failure);
        return "";
    }

    struct KindSink final : kube::Sink {
        KindSink(Operator& owner_, const resources::Kind& kind_) : owner(owner_), kind(kind_) {}
        void replaced(std::vector<Json> objects, const std::vector<std::string>& gone) override {
            for (const std::string& key : gone) owner.gone(kind, key);
            for (const Json& object : objects) owner.seen(object);
            synced = true;
            if (!owner.synced()) return;
            malloc_trim(0);
            owner.runtime_.changed.notify_all();
        }
        // A list is right also when its versions are lesser: etcd may have come back from a backup.
        void listed(Json object) override { owner.seen(object); }
        void applied(Json object) override {
            if (!owner.runtime_.store.is_old_news(key_of_object(kind, object), object)) owner.seen(object);
        }
        void removed(const std::string& key, Json) override { owner.gone(kind, key); }
        void failed(const Error& error, std::chrono::milliseconds wait) override {
            owner.runtime_.metrics.watch_failed();
            owner.log_.warn("cannot watch",
                            {{"kind", kind.name}, {"error", error.message}, {"waitMs", wait.count()}});
        }
        Operator& owner;
        const resources::Kind& kind;
        bool synced = false;
    };

    // The Secrets of one namespace, or of all (`ns` is ""). A named namespace that the operator has no right
    // to counts as read: it may be gone, and must not hold up the others.
    struct SecretSink final : kube::Sink {
        SecretSink(Operator& owner_, std::string ns_) : owner(owner_), ns(std::move(ns_)) {}
        void replaced(std::vector<Json> objects, const std::vector<std::string>& gone) override {
            owner.runtime_.secrets.replaced(std::move(objects), gone);
            be_synced();
        }
        void applied(Json object) override { owner.runtime_.secrets.applied(std::move(object)); }
        void removed(const std::string& key, Json last_state) override {
            owner.runtime_.secrets.removed(key, std::move(last_state));
        }
        void failed(const Error& error, std::chrono::milliseconds wait) override {
            owner.runtime_.metrics.watch_failed();
            owner.log_.warn(
                "cannot watch",
                {{"kind", "Secret"}, {"namespace", ns}, {"error", error.message}, {"waitMs", wait.count()}});
            if (!owner.options_.secret_namespaces.empty() && error.code == Errc::forbidden) be_synced();
        }
        void be_synced() {
            synced = true;
            if (owner.synced()) owner.runtime_.changed.notify_all();
        }
        Operator& owner;
        const std::string ns;
        bool synced = false;
    };

    static Key key_of_object(const resources::Kind& kind, const Json& object) {
        const kube::Metadata metadata = kube::metadata(object);
        return {&kind, metadata.ns, metadata.name};
    }

    bool synced() const {
        return std::ranges::all_of(secret_sinks_, &SecretSink::synced) &&
               (!options_.watch_namespace.empty() || runtime_.namespaces.synced()) &&
               std::ranges::all_of(sinks_, [](const KindSink& sink) { return sink.synced; });
    }

    void seen(const Json& object) {
        EntryPtr entry = make_entry(object);
        if (entry->resource.kind == nullptr) return;
        const Key key = key_of(*entry);
        if (key.kind == secret_id_kind && entry->faults.empty())
            runtime_.secrets.claim(key.ns, entry->resource.spec.value("secretName", ""), key);
        if (!runtime_.store.put(entry)) return;
        runtime_.wake(key);
        if (key.kind == connection_kind) runtime_.sessions.forget(key, entry->resource);
        for (const Key& dependent : runtime_.store.dependents(key)) runtime_.wake(dependent);
        provider_changed(key);
    }

    // A ClusterAIProvider and the AIProviders of its name depend on each other: who of them is used.
    void provider_changed(const Key& key) {
        if (key.kind == provider_kind) runtime_.users_changed("", key.name);
        if (key.kind == cluster_provider_kind)
            for (const Key& own : runtime_.store.named(*provider_kind, key.name)) runtime_.wake(own);
    }

    void gone(const resources::Kind& kind, const std::string& name) {
        const auto [ns, own] = kube::split_key(name);
        const Key key{&kind, ns, own};
        const EntryPtr entry = runtime_.store.find(key);
        runtime_.forget(key);
        if (key.kind == connection_kind) runtime_.release_reserved(key);
        runtime_.wake(key);
        provider_changed(key);
        if (entry == nullptr) return;
        for (const Key& dependent : runtime_.store.dependents(key)) runtime_.wake(dependent);
        if (key.kind == connection_kind) return;
        if (entry->faults.empty())
            for (const Key& other : runtime_.store.claimants(planner::claim(entry->resource)))
                runtime_.wake(other);
        runtime_.wake(connection_of(entry->resource));
    }

    // ---- the work of a leader

    Task<void> run_leader_election() {
        co_await asio::this_coro::throw_if_cancelled(false);
        kube::LeaseHooks hooks;
        hooks.changed = [this](bool leading) {
            runtime_.metrics.leading(leading);
            log_.info(leading ? "leading" : "no longer leading", {{"lease", options_.lease_name}});
        };
        hooks.failed = [this](const Error& error) {
            log_.warn("cannot acquire or renew the Lease", {{"error", error.message}});
        };
        while (!ending_) {
            auto ended = co_await kube::lead(
                runtime_.kube, {options_.own_namespace, options_.lease_name}, options_.identity,
                options_.lease, [this] { return work(); }, hooks);
            if (ended || ended.error().code == Errc::cancelled) break;
            if (ended.error().code == Errc::invalid || ended.error().code == Errc::internal) {
                log_.error("leader election failed", {{"error", ended.error().message}});
                exit_code_ = 1;
                end();
                break;
            }
            log_.warn("lost the Lease", {{"error", ended.error().message}});
        }
    }

    // Returns once every worker has ended; they end when this is cancelled.
    Task<void> work() {
        co_await asio::this_coro::throw_if_cancelled(false);
        while (!synced() && !co_await net::is_cancelled())
            co_await runtime_.changed.wait(SteadyClock::now() + 1s);
        // Without the key nothing could be claimed, and no claim could be told from a forged one.
        while (!co_await net::is_cancelled()) {
            const auto opened =
                co_await runtime_.signer.open(runtime_.kube, options_.own_namespace, runtime_.soon());
            unproven_ = opened ? std::string() : opened.error().message;
            if (opened || opened.error().code == Errc::cancelled) break;
            log_.error("cannot read the operator's HMAC key",
                       {{"namespace", options_.own_namespace}, {"error", unproven_}});
            co_await runtime_.changed.wait(SteadyClock::now() + 5s);
        }
        unproven_.clear();
        const auto read = co_await runtime_.leftovers.open(runtime_.kube, options_.own_namespace,
                                                           runtime_.signer, runtime_.soon());
        if (!read && read.error().code != Errc::cancelled)
            log_.warn("cannot read the record of objects that deleted resources left in Vault",
                      {{"namespace", options_.own_namespace}, {"error", read.error().message}});
        runtime_.metrics.left_in_vault(runtime_.leftovers.size());
        runtime_.start_over();
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
            runtime_.metrics.waiting(runtime_.queue.waiting());
            runtime_.queue_later(now);
            auto key = runtime_.queue.pop(now, options_.workers);
            if (!key) {
                const auto next = runtime_.queue.next_wakeup(options_.workers);
                co_await runtime_.changed.wait(
                    next ? std::min<Deadline>(std::chrono::time_point_cast<SteadyClock::duration>(*next),
                                              now + 1h)
                         : now + 1h);
                continue;
            }
            Again again;
            try {
                again = co_await reconcile(*key);
            } catch (const std::exception& malfunction) {  // ours: it must not hold up everybody else
                runtime_.metrics.reconciled(key->kind->name, "error", 0);
                log_.error("internal error", {{"kind", key->kind->name},
                                              {"namespace", key->ns},
                                              {"name", key->name},
                                              {"error", malfunction.what()}});
                again = 60s;
            }
            runtime_.queue.done(*key);
            if (again) runtime_.wake(*key, *again);
            if (runtime_.queue.next_wakeup(options_.workers) || runtime_.has_later())
                runtime_.changed.notify_one();
        }
        // Whoever is told to stop passes on what may have been meant for it.
        runtime_.changed.notify_one();
    }

    static bool is_provider(const Key& key) {
        return key.kind == provider_kind || key.kind == cluster_provider_kind;
    }

    Task<Again> reconcile(Key key) {
        const EntryPtr entry = runtime_.find(key);
        if (entry == nullptr) {
            // A look that was under way when the resource went may have left something.
            runtime_.forget(key);
            if (key.kind == connection_kind) runtime_.sessions.close(key);
            if (is_provider(key)) {
                runtime_.providers.erase(key);
                runtime_.metrics.forget_key(key.name, key.ns);
            }
            co_return std::nullopt;
        }
        if (key.kind == connection_kind) co_return co_await reconcile_as<ConnectionReconciler>(key, entry);
        if (key.kind == secret_id_kind) co_return co_await reconcile_as<SecretIdReconciler>(key, entry);
        if (is_provider(key)) co_return co_await reconcile_as<ProviderReconciler>(key, entry);
        co_return co_await reconcile_as<VaultObjectReconciler>(key, entry);
    }

    template <class Kind>
    Task<Again> reconcile_as(Key key, EntryPtr entry) {
        const auto began = SteadyClock::now();
        Kind reconciler(runtime_, key, std::move(entry));
        const Again again = co_await reconciler.reconcile();
        runtime_.metrics.reconciled(key.kind->name, reconciler.outcome,
                                    std::chrono::duration<double>(SteadyClock::now() - began).count());
        co_return again;
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
            const std::string failure = watch_failure();
            const bool ready = synced() && !ending_ && unproven_.empty() && failure.empty();
            response.status = ready ? 200 : 503;
            response.body = ready       ? "ok\n"
                            : ending_   ? "shutting down\n"
                            : !synced() ? "the resources have not been read yet\n"
                            : !failure.empty()
                                ? fmt::format("cannot watch the API server: {}\n", failure)
                                : fmt::format("cannot read the operator's HMAC key: {}\n", unproven_);
        } else if (path == "/metrics") {
            response.body = runtime_.metrics.text();
            response.content_type = "text/plain; version=0.0.4; charset=utf-8";
        } else {
            response.status = 404;
            response.body = "not found; the paths are /metrics, /healthz and /readyz\n";
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

    Task<void> run_until_signal() {
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
        co_await runtime_.sessions.sign_off(SteadyClock::now() + 700ms);
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
    asio::io_context context_{1};
    // From the first: a signal before the loop is not lost.
    Signals signals_{context_, SIGTERM, SIGINT};
    Runtime runtime_;
    net::Server metrics_server_;
    std::list<KindSink> sinks_;
    std::list<SecretSink> secret_sinks_;
    std::list<WatchHealth> watches_;
    net::Signal ended_{context_.get_executor()};
    std::list<asio::cancellation_signal> stops_;
    std::size_t spawned_ = 0;
    std::string unproven_;  // why a leader has no key yet
    bool ending_ = false;
    int exit_code_ = 0;
};

void prepare_process() {
    std::signal(SIGPIPE, SIG_IGN);
    net::forbid_core_files();  // tokens are in this memory
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
