// What the operator knows of a provider beside its status, for as long as it leads.
#pragma once

#include "rollout_schedule.hpp"

#include <keyshepherd/planner/rotation.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace keyshepherd::controller {

struct ProviderMemory {
    // When the key is tried again; the first time at once.
    std::chrono::steady_clock::time_point next_probe{};
    RolloutSchedule schedule;
    // By workload, the version that we have rolled it for. Whoever takes the annotation away again has begun
    // anew by that, with the key of the time: a version is not rolled twice for it.
    std::map<std::string, std::int64_t> rolled;
    // By workload, the version that it could not be rolled for: it is told once.
    std::map<std::string, std::int64_t> refused;
    // By namespace, the Secret there as it was left, right.
    struct Published {
        std::string resource_version;
        planner::KeyVersion key;  // `created`: from when on whoever began has it
        std::string source;
        std::map<std::string, std::string> variables;
    };
    std::map<std::string, Published> published;
};

}  // namespace keyshepherd::controller
