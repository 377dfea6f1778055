// Records for which resources the secret-ids in Vault were listed, to find orphans. Kept while the process
// leads; the next leader lists them again.
#pragma once

#include "store.hpp"

#include <keyshepherd/net/task.hpp>

#include <chrono>
#include <map>
#include <set>

namespace keyshepherd::controller {

using net::Deadline;

// Not thread-safe.
class OrphanScans {
public:
    // Called when this process becomes the leader. A registration of the former leader may still arrive in
    // Vault within `grace`.
    void start_over(Deadline now, std::chrono::seconds grace);
    void forget(const Key& owner);

    // Whether a list was read after this process became the leader and after the last pending registration.
    bool done(const Key& owner) const { return done_.contains(owner); }
    void finish(const Key& owner);
    // An orphan may exist.
    void suspect(const Key& owner);
    // An abandoned registration may arrive in Vault until then.
    void unsure(const Key& owner, Deadline until);
    // The time after which a list is complete. Spread, so that a new leader does not list all at once.
    Deadline unsure_until(const Key& owner) const;
    // The earliest time at which a list must have been requested to be complete.
    Deadline fresh_from(const Key& owner, Deadline now) const;

private:
    std::set<Key> done_;
    std::map<Key, Deadline> unsure_;
    std::map<Key, Deadline> suspected_;
    Deadline started_over_{};
    Deadline sure_from_{};
    std::chrono::seconds spread_{0};
};

}  // namespace keyshepherd::controller
