// What the operator knows about a provider in addition to its status. Kept while the process leads.
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
    // The results of key tests, and when each key is tested again.
    planner::KeyTrials trials;
    std::map<std::string, std::chrono::steady_clock::time_point> next_trial;
    RolloutSchedule schedule;
    // By workload: the record of the last rollout, or of the key that its template started with. If somebody
    // removes the annotation, the workload restarts by that and gets the current key, so it is not restarted
    // again for the same version.
    std::map<std::string, std::string> rolled;
    // By workload: the record of a rollout that the API server refused, so that it is reported only once.
    std::map<std::string, std::string> refused;
    // By namespace: the Secret as the operator last found or wrote it, with the correct content.
    struct Published {
        std::string resource_version;
        planner::KeyVersion key;  // `created`: workloads that started later have it
        std::string source;
        std::map<std::string, std::string> variables;
        std::string warning = {};  // planner::key_warning()
    };
    std::map<std::string, Published> published;
};

}  // namespace keyshepherd::controller
