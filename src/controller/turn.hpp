// One look at one resource. A turn is kept by whoever waits for its reconcile(), and used once.
#pragma once

#include "runtime.hpp"

#include <keyshepherd/planner/plan.hpp>

#include <expected>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace keyshepherd::controller {

// When to look again; nullopt: not before something changes.
using Again = std::optional<milliseconds>;

// What all kinds do alike.
class Turn {
public:
    Turn(Runtime& runtime, Key key, EntryPtr entry);

    const char* outcome = "success";  // for the metric: success, changed, refused, error

protected:
    // How Vault is reached for this resource.
    struct Way {
        EntryPtr connection;
        SessionPtr session;
        std::set<std::string> reserved;  // policies that nobody may touch
    };
    // Vault is not reached, which is reported: what the turn comes to.
    struct NoWay {
        Again again;
    };
    Task<std::expected<Way, NoWay>> way();

    bool deleting() const { return !entry_->resource.deletion_time.empty(); }
    const resources::Resource& resource() const { return entry_->resource; }
    milliseconds resync() const;
    Task<void> report(Finding finding);
    Task<void> refuse(std::string reason, std::string message, std::optional<bool> synced = std::nullopt);
    void event(kube::Event::Type type, std::string reason, std::string action, std::string note);
    // Spec or annotations have faults of their own.
    Task<Again> invalid();
    // Vault, or the way to it, is in trouble. `connection` may be null.
    Task<Again> failed(EntryPtr connection, Error error);
    // A deletion that cannot be done: after the connection's deletionTimeout the resource goes, and the
    // object stays in Vault.
    Task<Again> wait_or_orphan(EntryPtr connection, std::string why);
    // Nothing holds the resource any more.
    Task<Again> let_go();

    static std::string joined(const std::vector<resources::Fault>& faults);

    Runtime& runtime_;
    const Key key_;
    const EntryPtr entry_;  // as it was when the turn began
};

class ConnectionTurn : public Turn {
public:
    using Turn::Turn;
    Task<Again> reconcile();

private:
    std::vector<Key> in_use() const;
};

// Mounts, policies and roles.
class VaultObjectTurn : public Turn {
public:
    using Turn::Turn;
    Task<Again> reconcile();

private:
    Task<EntryPtr> owner(std::string vault);
    Task<Again> converge(const Way& way, const planner::Observation& observed,
                         const planner::Standing& standing, std::string claim);
    Task<Again> remove(const Way& way, const planner::Observation& observed,
                       const planner::Standing& standing);
};

}  // namespace keyshepherd::controller
