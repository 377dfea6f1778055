// The state and services that all reconciles share: the store, the queue, and the clients of Vault and the
// API server.
#pragma once

#include "claim_signer.hpp"
#include "destroyed_secret_ids.hpp"
#include "event_recorder.hpp"
#include "leftovers.hpp"
#include "namespace_watch.hpp"
#include "orphan_scans.hpp"
#include "provider_memory.hpp"
#include "recent_writes.hpp"
#include "reserved_names.hpp"
#include "secret_watch.hpp"
#include "store.hpp"
#include "vault_session.hpp"
#include "workload_watch.hpp"

#include <keyshepherd/controller/operator.hpp>
#include <keyshepherd/fsm/work_queue.hpp>
#include <keyshepherd/kube/client.hpp>
#include <keyshepherd/net/signal.hpp>
#include <keyshepherd/planner/status.hpp>
#include <keyshepherd/telemetry/operator_metrics.hpp>

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace keyshepherd::controller {

using net::SteadyClock;
using planner::StatusUpdate;
using std::chrono::milliseconds;

kube::Resource resource_of(const resources::Kind& kind);
kube::ObjectRef ref_of(const Key& key, std::string subresource = {});
// The name of the connection's Vault in claims.
std::string vault_of(const resources::Resource& connection);

// When to reconcile a resource again; nullopt: only after a change. Callers must pass it on, or the retry of
// a failed status write is lost.
struct [[nodiscard]] Again : std::optional<milliseconds> {
    using std::optional<milliseconds>::optional;
};
// The earlier of the two.
Again sooner(Again one, Again other);

// The result of a status write. If it failed, it must be retried after `retry`: no other event may ever lead
// to the next write.
struct [[nodiscard]] StatusWrite {
    bool written = true;
    Again retry = std::nullopt;
};

// Not thread-safe: used only on the thread of `context`. Outlives every coroutine that gets a reference.
class Runtime {
public:
    Runtime(boost::asio::io_context& context, const Options& options, telemetry::Log& log);

    // ---- the queue

    // Queues a reconcile because something changed. It reads the object in Vault and uses no snapshot.
    void wake(const Key& key, milliseconds in = milliseconds(0));
    // Queues a reconcile after this time because of the resync period only.
    void rest(const Key& key, milliseconds in);
    // Whether wake() asked for the reconcile that begins.
    bool take_woken(const Key& key) { return woken_.erase(key) > 0; }
    // The delay after a failure. It doubles with each failure, up to a limit that lets every resource be
    // reconciled within a minute after Vault's return.
    milliseconds retry_in(const Key& key);
    // Whether Vault has work to do: resources are due, or are being created in Vault for the first time.
    bool behind() const;
    // Scope guard: while it exists, a resource is being created in Vault for the first time.
    class CreationGuard {
    public:
        explicit CreationGuard(Runtime& runtime) : runtime_(runtime) { ++runtime_.creating_; }
        CreationGuard(const CreationGuard&) = delete;
        CreationGuard& operator=(const CreationGuard&) = delete;
        ~CreationGuard() { --runtime_.creating_; }

    private:
        Runtime& runtime_;
    };
    Deadline soon() const { return SteadyClock::now() + options.call; }
    // The time of the API server's clock, from its latest answer, in seconds since 1970. The time of the
    // local clock if its answers have no date.
    std::int64_t server_time() const;
    // Seconds by which the local clock is ahead of it; nullopt if the API server's time is not known.
    std::optional<std::int64_t> clock_lead() const;
    // Sets the metric of the clock skew.
    void report_clocks();

    // Defers a status write while behind() is true, because applications wait for objects in Vault and not
    // for statuses. Returns false if it did not defer it: the caller then writes the status now.
    bool tell_later(const Key& key, StatusUpdate update, std::int64_t generation);
    struct Later {
        StatusUpdate update;
        std::int64_t generation;
        bool woken = false;  // wake() was called in the meantime
    };
    std::optional<Later> pop_deferred_status(const Key& key);
    // Queues the resource with the oldest deferred status if behind() is false or the status has waited for
    // longest_later.
    bool queue_later(Deadline now);
    bool has_later() const { return !later_order_.empty(); }
    // Queues all resources when this process becomes the leader.
    void start_over();
    void forget(const Key& key);
    // Queues the providers of that name because the workloads that use them changed.
    void users_changed(const std::string& ns, const std::string& provider);
    // Queues providers because labels of a namespace changed, which overrides select by.
    void labels_changed();

    // Checks that the Vault with this health answer is the one that the connection was made with. If not,
    // returns Errc::unavailable and adds the connection to `replaced`.
    result<void> check_identity(const Key& connection, const vault::Health& health);

    // Whether `what` was not reported for `key` in the last minutes. Limits events for recurring conditions.
    bool first_in_a_while(const Key& key, const std::string& what);

    // Whether the operator may use Secrets of a namespace (--secret-namespaces), and the message if not.
    bool may_use_secrets(const std::string& ns) const;
    static std::string no_secrets(const std::string& ns);

    // ---- ownership of objects in Vault

    // The resource, with only the facts in its status that have a valid seal. Code that acts uses this and
    // never `store`. Null if the resource does not exist.
    EntryPtr find(const Key& key) const;

    // `resource` must come from find().
    bool owns(const resources::Resource& resource, const std::string& claim) const;
    // Adds the finalizer of the connection, and then, in one write, the finalizer of the resource and the
    // mark that proves its claim. The next status write contains the claim too.
    Task<bool> own(Key key, EntryPtr entry, EntryPtr connection, std::string claim);

    // The names that no resource may use in the Vault of `connection`, collected from all connections to it.
    // Reads the names of connections that were not read yet. A connection that cannot log in is left out. An
    // error is that of `session`, the session of `connection`.
    Task<result<reconcile::OwnNames>> reserved(Key through, EntryPtr connection, SessionPtr session);
    // Reads the names of the connection again. If they changed, queues all resources of that Vault.
    Task<result<void>> refresh_reserved(Key key, EntryPtr connection, SessionPtr session);
    // Removes the names of a deleted connection.
    void release_reserved(const Key& connection);

    // ---- writes to the API server; false if a write failed

    // Adds the finalizer of a connection. Resources that ask at the same time share one write.
    Task<bool> hold(Key connection);
    Task<bool> add_finalizer(Key key, EntryPtr entry);
    Task<bool> remove_finalizer(Key key, EntryPtr entry);
    // Stores the object that a patch returned, which is newer than the state from the watch.
    bool taken(const Key& key, const result<Json>& patched);
    // Writes the status if it changed, and records an event if the reason changed. Also succeeds if nothing
    // changed or the resource is gone. The delay of a retry doubles with each failure, up to 30 s. If a write
    // fails, the next status still reports that Vault was changed.
    Task<StatusWrite> report(Key key, EntryPtr entry, StatusUpdate update);
    // Adds facts to the status and changes nothing else in it.
    Task<bool> record(Key key, std::map<std::string, std::string> facts);

    static constexpr std::chrono::seconds longest_later{10};

    boost::asio::io_context& context;
    const Options& options;
    telemetry::Log& log;
    telemetry::OperatorMetrics metrics;
    kube::Client kube;
    Sessions sessions;
    EventRecorder events;
    Store store;
    ClaimSigner signer;
    SecretWatch secrets;
    OrphanScans orphan_scans;
    WorkloadWatch workloads;
    NamespaceWatch namespaces;
    RecentWrites recent_writes;
    Leftovers leftovers;
    std::map<Key, ProviderMemory> providers;  // since this process leads
    std::map<Key, Deadline> issued;           // when the latest secret-id of a VaultSecretID was issued
    std::map<Key, std::int64_t>
        clock_leads;  // seconds by which the local clock is ahead of a connection's Vault
    DestroyedSecretIds destroyed;
    std::map<Key, std::string> replaced;  // connections whose Vault was replaced: the message
    std::set<Key> lost_tokens;            // connections whose Vault may have been restored
    std::set<Key> ungranted;              // connections with objects that may be in Vault without a grant
    fsm::WorkQueue<Key, NamespaceOf> queue;
    ReservedNames reserved_names;
    net::Signal changed;  // a resource may be due

private:
    void wake_users_of(const std::string& vault);
    Task<result<Json>> write_status(Key key, Json after);

    std::size_t creating_ = 0;
    std::set<Key> woken_;  // queued resources for which wake() was called
    struct Unwritten {
        unsigned attempts = 0;
        bool changed = false;  // a update that was not written reported a change in Vault
    };
    std::map<Key, Unwritten> unwritten_;  // statuses whose last write failed
    std::map<Key, Later> later_;
    std::deque<std::pair<Deadline, Key>> later_order_;
    std::map<Key, std::map<std::string, Deadline>> told_;
    std::set<Key> holding_;  // connections whose finalizer is being written
    net::Signal held_;
};

}  // namespace keyshepherd::controller
