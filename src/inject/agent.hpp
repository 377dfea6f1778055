// What a plan adds to a pod besides the wiring of its containers: the agent with its configuration, the
// launcher, the guard, and their volumes. Every field that the API server would fill in by default is written
// out, so that the stored object equals what was sent.
#pragma once

#include "plan.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::inject {

// One element of a list, as JSON text.
struct Part {
    std::string_view name;  // of layout.hpp
    std::string json;
};

struct PodParts {
    std::vector<Part> init_containers;  // in order, before the user's
    std::vector<Part> containers;       // behind the user's: a plain sidecar below Kubernetes 1.29
    std::vector<Part> volumes;
    std::string agent_config;  // JSON, for the annotation agent-config
    std::string vault_ca;      // PEM, for the annotation vault-ca; empty: none
};

PodParts parts_of(const Plan& plan, const Settings& settings);

// The entry that carries `variable` into a container by the plan's wiring, as JSON text.
std::string env_entry(const Plan& plan, const std::string& variable);

// A read-only volumeMount, as JSON text. `folder` of the volume is all that the container sees; "": the
// whole volume. It has to be a folder: the agent replaces files by renaming others over them, which a mount
// of one file would not follow.
std::string mount(std::string_view volume, std::string_view path, std::string_view folder = "");

}  // namespace keyshepherd::inject
