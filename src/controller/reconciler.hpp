// One reconcile of one resource: what all kinds share. The caller owns the reconciler until reconcile()
// returns, and uses it once.
#pragma once

#include "runtime.hpp"

#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/planner/status.hpp>

#include <expected>
#include <optional>
#include <string>
#include <vector>

namespace keyshepherd::controller {

class Reconciler {
public:
    Reconciler(Runtime& runtime, Key key, EntryPtr entry);

    const char* outcome = "success";  // for the metric: success, changed, refused, error

protected:
    // The connection and session that reach Vault for this resource.
    struct Way {
        EntryPtr connection;
        SessionPtr session;
        reconcile::OwnNames reserved;  // names that no resource may use
    };
    // Vault cannot be reached. The status already reports it; `again` is the result of the reconcile.
    struct NoWay {
        Again again;
    };
    Task<std::expected<Way, NoWay>> way(Key through);
    // Another connection to the same Vault that grants a deletion, for a resource whose own connection cannot
    // log in any more, for example because its ServiceAccount was deleted with the namespace. nullopt if no
    // such connection can log in.
    Task<std::optional<Way>> way_by_another(Key through);
    // The mounts in Vault if the grants of the resource depend on them, otherwise none.
    Task<planner::Mounts> mounts_for(const resources::Resource& of, SessionPtr session);

    bool deleting() const { return !entry_->resource.deletion_time.empty(); }
    const resources::Resource& resource() const { return entry_->resource; }
    milliseconds period() const;  // resyncPeriod
    milliseconds resync() const;
    // Writes the status. Returns `next`. If the write failed, returns the time of the retry if that is
    // sooner.
    Task<Again> report(StatusUpdate update, Again next);
    // Reports Ready=False with this reason.
    Task<Again> refuse(std::string reason, std::string message, Again next = std::nullopt,
                       std::optional<bool> synced = std::nullopt);
    // Reports that the connection does not grant the resource, before any request to Vault. `left` describes
    // what the resource still has in Vault.
    Task<Again> refuse_ungranted(std::string message, std::optional<planner::Condition> left,
                                 Again next = std::nullopt);
    // Queues the connection, whose status names resources that are in Vault without a grant.
    void tell_connection();
    void event(kube::Event::Type type, std::string reason, std::string action, std::string note);
    // Reports that spec or annotations are invalid.
    Task<Again> invalid();
    // Reports an error of Vault or of the connection. `connection` may be null.
    Task<Again> failed(EntryPtr connection, Error error);
    // Handles a deletion that is not possible now. After the connection's deletionTimeout, removes the
    // finalizer and records what the resource left in Vault.
    Task<Again> wait_or_orphan(EntryPtr connection, std::string why);
    // Records what the resource leaves in Vault. Errc::invalid if there is nothing to record. `connection`
    // may be null.
    Task<result<void>> record_leftover(EntryPtr connection);
    // Removes the finalizer.
    Task<Again> let_go();

    static std::string joined(const std::vector<resources::Fault>& faults);

    std::string vault_path_;  // path of the object in Vault, for messages
    Runtime& runtime_;
    const Key key_;
    const EntryPtr entry_;  // the resource when the reconcile began
    const bool asked_;      // a change asked for this reconcile, not only the resync period
};

}  // namespace keyshepherd::controller
