// --probe-host, for the operator and for the policy that plan prints for it.
#pragma once

#include "environment_flag.hpp"

#include <keyshepherd/core/text.hpp>
#include <keyshepherd/planner/key_probe.hpp>

#include <fmt/format.h>

#include <string>
#include <vector>

namespace keyshepherd::app {

// `into` outlives the parse.
inline CLI::Option* add_probe_host_flag(CLI::App& command, std::vector<std::string>& into,
                                        const std::string& doc) {
    return add_environment_flag(command, "probe-host", into, doc)
        ->check(CLI::Validator(
            [](const std::string& host) {
                return planner::is_probe_host(host)
                           ? std::string()
                           : fmt::format("{} must be HOST[:PORT], such as api.holysheep.ai",
                                         one_line(host, 253));
            },
            "HOST[:PORT]"));
}

}  // namespace keyshepherd::app
