// What the operator knows of a provider beside its status, for as long as it leads.
#pragma once

#include "rollout_schedule.hpp"

#include <keyshepherd/planner/key_probe.hpp>
#include <keyshepherd/planner/rotation.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace keyshepherd::controller {

struct ProviderMemory {
    // What became of the keys that were tried, and when each is tried again.
    planner::KeyTrials trials;
    std::map<std::string, std::chrono::steady_clock::time_point> next_trial;
    RolloutSchedule schedule;
    // By workload, the record of the last rollout, or of the key that its template began with. A workload
    // whose annotation is removed again has begun anew by that, with the key of the time: it is not rolled
    // twice for one version.
    std::map<std::string, std::string> rolled;
    // By workload, the record of the rollout that the API server refused: it is reported once.
    std::map<std::string, std::string> refused;
    // By namespace, the Secret there as it was left, right.
    struct Published {
        std::string resource_version;
        planner::KeyVersion key;  // `created`: from when on whoever began has it
        std::string source;
        std::map<std::string, std::string> variables;
        std::string warning = {};  // planner::key_warning()
    };
    std::map<std::string, Published> published;
};

}  // namespace keyshepherd::controller
