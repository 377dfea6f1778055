// Schedules the restarts of many workloads. Spreads them evenly, so that they do not restart at the same
// time.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace keyshepherd::controller {

// Uses no clock. Not thread-safe.
class RolloutSchedule {
public:
    using Time = std::chrono::steady_clock::time_point;

    // Sets the workloads to restart. Each new id gets a time between `now`, which the first one gets, and
    // `within` later. Known ids keep their times, and ids that are not in `ids` are removed. `unit` returns
    // numbers from 0 to 1.
    void want(const std::set<std::string>& ids, Time now, std::chrono::milliseconds within,
              const std::function<double()>& unit);
    // Sets a later time for a workload that could not be restarted.
    void put_off(const std::string& id, Time until) { turns_.insert_or_assign(id, until); }
    // The ids whose time has come, the earliest first.
    std::vector<std::string> due(Time now) const;
    // The earliest time; nullopt if no restart is scheduled.
    std::optional<Time> next() const;

private:
    std::map<std::string, Time> turns_;
};

}  // namespace keyshepherd::controller
