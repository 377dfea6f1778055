// When each of many workloads is rolled: spread evenly, so that not all of them start anew at once.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace keyshepherd::controller {

// Knows no clock. For one thread.
class RolloutSchedule {
public:
    using Time = std::chrono::steady_clock::time_point;

    // `ids` are all that have to be rolled. Those that are new get a turn each between `now`, when the first
    // of them has it, and `within` later; the others keep theirs, and whoever is not among them loses it.
    // `unit` gives numbers from 0 to 1.
    void want(const std::set<std::string>& ids, Time now, std::chrono::milliseconds within,
              const std::function<double()>& unit);
    // A later turn for one that could not be rolled.
    void put_off(const std::string& id, Time until) { turns_.insert_or_assign(id, until); }
    // Whose turn it is, the longest waiting first.
    std::vector<std::string> due(Time now) const;
    // The next turn; nothing: nobody waits.
    std::optional<Time> next() const;

private:
    std::map<std::string, Time> turns_;
};

}  // namespace keyshepherd::controller
