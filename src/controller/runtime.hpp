// What every reconcile works with: what is known, the queue, the ways to Vault and to the API server.
#pragma once

#include "destroyed_secret_ids.hpp"
#include "event_recorder.hpp"
#include "leftovers.hpp"
#include "namespace_watch.hpp"
#include "provider_memory.hpp"
#include "recent_writes.hpp"
#include "reserved_names.hpp"
#include "seal.hpp"
#include "secret_watch.hpp"
#include "store.hpp"
#include "sweeps.hpp"
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
using planner::Finding;
using std::chrono::milliseconds;

kube::Resource resource_of(const resources::Kind& kind);
kube::ObjectRef ref_of(const Key& key, std::string subresource = {});
// The Vault that a connection leads to, as claims name it.
std::string vault_of(const resources::Resource& connection);

// When to look at a resource again; nullopt: not before something changes. It must be handed on: what a
// status write or a failure asks for would be lost otherwise.
struct [[nodiscard]] Again : std::optional<milliseconds> {
    using std::optional<milliseconds>::optional;
};
// The one that comes first.
Again sooner(Again one, Again other);

// What became of a status write. One that failed has to be tried again, `retry` says when: nothing else may
// ever happen to the resource that would have its status written.
struct [[nodiscard]] StatusWrite {
    bool written = true;
    Again retry = std::nullopt;
};

// For one thread, that of `context`; outlives every coroutine that it is given to.
class Runtime {
public:
    Runtime(boost::asio::io_context& context, const Options& options, telemetry::Log& log);

    // ---- the queue

    // Something asks for a look: Vault itself is asked then.
    void wake(const Key& key, milliseconds in = milliseconds(0));
    // Looks again after so long because time goes by, and not for any other reason.
    void rest(const Key& key, milliseconds in);
    // Whether the look that begins was asked for.
    bool take_woken(const Key& key) { return woken_.erase(key) > 0; }
    // How long to wait after a failure: doubles, and within a minute of Vault's return everything is looked
    // at.
    milliseconds retry_in(const Key& key);
    // Whether there is something for Vault: resources are due that nobody looks at yet, or are being taken.
    bool behind() const;
    // While it lives, a resource is on its way to Vault for the first time.
    class Taking {
    public:
        explicit Taking(Runtime& runtime) : runtime_(runtime) { ++runtime_.taking_; }
        Taking(const Taking&) = delete;
        Taking& operator=(const Taking&) = delete;
        ~Taking() { --runtime_.taking_; }

    private:
        Runtime& runtime_;
    };
    Deadline soon() const { return SteadyClock::now() + options.call; }
    // The API server's clock, by which it dates what is created: as of its latest answer, in seconds since
    // 1970. This machine's clock where it tells no time.
    std::int64_t server_time() const;
    // How many seconds this machine's clock is ahead of it; nullopt: the API server has told no time.
    std::optional<std::int64_t> clock_lead() const;
    // Sets the metric from what is known of the servers' clocks.
    void report_clocks();

    // Applications wait for what is in Vault: while we are behind, all of that comes first, and what a
    // resource came to is told afterwards. False when we are not: then tell it now.
    bool tell_later(const Key& key, Finding finding, std::int64_t generation);
    struct Later {
        Finding finding;
        std::int64_t generation;
        bool woken = false;  // something has happened since
    };
    std::optional<Later> take_later(const Key& key);
    // Queues the resource whose state waits the longest to be told, when we are not behind or it has waited
    // long enough.
    bool queue_later(Deadline now);
    bool has_later() const { return !later_order_.empty(); }
    // Whoever led before may have missed something: everything is due.
    void start_over();
    void forget(const Key& key);
    // Another set of workloads uses the provider of that name in that namespace.
    void users_changed(const std::string& ns, const std::string& provider);
    // Overrides of providers may select other namespaces.
    void labels_changed();

    // Whether the connection may use the Vault that says this of itself: Errc::unavailable when it is another
    // one than before. What comes of it is kept in `replaced`.
    result<void> check_identity(const Key& connection, const vault::Health& health);

    // Whether `what` was not told of `key` within the last minutes: of what is met at every look.
    bool first_in_a_while(const Key& key, const std::string& what);

    // Whether the operator has the right to Secrets of a namespace; what it says where it has not.
    bool may_use_secrets(const std::string& ns) const;
    static std::string no_secrets(const std::string& ns);

    // ---- whose an object in Vault is

    // What is known of a resource, its status only as far as the operator itself wrote it: what is acted on
    // comes from here, never from `store`. Null: there is none.
    EntryPtr find(const Key& key) const;

    // `resource` is of find().
    bool owns(const resources::Resource& resource, const std::string& claim) const;
    // The finalizer of the connection; then, in one write, the resource's own and a mark of whose the object
    // is. The status says so too, once it is written.
    Task<bool> own(Key key, EntryPtr entry, EntryPtr connection, std::string claim);

    // The names that no resource may touch in the Vault of `connection`: those of every connection to it. Of
    // a connection that was never asked they are asked for now; one that cannot log in holds up nobody. An
    // error is that of `session`, the connection's own.
    Task<result<reconcile::OwnNames>> reserved(Key through, EntryPtr connection, SessionPtr session);
    // Asks for the names of the connection again. Where they have changed, all resources of that Vault are
    // looked at again.
    Task<result<void>> refresh_reserved(Key key, EntryPtr connection, SessionPtr session);
    // The connection is gone.
    void release_reserved(const Key& connection);

    // ---- what is told to the API server; false when it could not be

    // The finalizer of a connection, which many resources want at once.
    Task<bool> hold(Key connection);
    Task<bool> add_finalizer(Key key, EntryPtr entry);
    Task<bool> remove_finalizer(Key key, EntryPtr entry);
    // What a patch gave back is newer than what the watch has told so far.
    bool taken(const Key& key, const result<Json>& patched);
    // Writes the status when it says something new, and an event when the reason is another. Succeeds also
    // when there is nothing new, and when the resource is gone. The wait for a retry doubles with each
    // failure in a row, up to half a minute; that Vault was changed is remembered for the status that is
    // written then.
    Task<StatusWrite> report(Key key, EntryPtr entry, Finding finding);
    // Adds facts to the status; nothing else there changes.
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
    Seal seal;
    SecretWatch secrets;
    Sweeps sweeps;
    WorkloadWatch workloads;
    NamespaceWatch namespaces;
    RecentWrites recent_writes;
    Leftovers leftovers;
    std::map<Key, ProviderMemory> providers;  // since we lead
    std::map<Key, Deadline> issued;           // when the latest secret-id of a VaultSecretID was
    std::map<Key, std::int64_t> clock_leads;  // seconds that our clock is ahead of a connection's Vault
    DestroyedSecretIds destroyed;
    std::map<Key, std::string>
        replaced;               // connections whose Vault is another one than before: why, in a sentence
    std::set<Key> lost_tokens;  // connections whose Vault may have been restored
    std::set<Key> ungranted;    // connections under which something may be in Vault that is not granted
    fsm::WorkQueue<Key, NamespaceOf> queue;
    ReservedNames reserved_names;
    net::Signal changed;  // something may be due

private:
    void wake_users_of(const std::string& vault);
    Task<result<Json>> write_status(Key key, Json after);

    std::size_t taking_ = 0;
    std::set<Key> woken_;  // of those that wait; at rest it is empty
    struct Unwritten {
        unsigned attempts = 0;
        bool changed = false;  // a finding among those that could not be written said so
    };
    std::map<Key, Unwritten> unwritten_;  // statuses whose last write failed
    std::map<Key, Later> later_;
    std::deque<std::pair<Deadline, Key>> later_order_;
    std::map<Key, std::map<std::string, Deadline>> told_;
    std::set<Key> holding_;  // connections whose finalizer is being written
    net::Signal held_;
};

}  // namespace keyshepherd::controller
