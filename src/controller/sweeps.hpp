// Which resources' secret-ids in Vault were all looked at, so that none is left that nothing refers to. Kept
// while we lead: whoever leads next looks again.
#pragma once

#include "store.hpp"

#include <keyshepherd/net/task.hpp>

#include <chrono>
#include <map>
#include <set>

namespace keyshepherd::controller {

using net::Deadline;

// For one thread.
class Sweeps {
public:
    // The leader before may have left a registration on its way for `grace` more.
    void start_over(Deadline now, std::chrono::seconds grace);
    void forget(const Key& owner);

    // Whether all were looked at since we lead, and since nothing was on its way.
    bool done(const Key& owner) const { return done_.contains(owner); }
    void finish(const Key& owner);
    // There may be one that nothing refers to.
    void suspect(const Key& owner);
    // A registration that was given up may arrive in Vault until then.
    void unsure(const Key& owner, Deadline until);
    // When a list shows all; spread, so that after a start not all are asked for at once.
    Deadline unsure_until(const Key& owner) const;
    // When a list has to have been asked for, at the earliest, to show all.
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
