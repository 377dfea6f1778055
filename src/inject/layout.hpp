// Names and places inside an injected pod. keyshepherd-exec knows `env_folder` and the agent's log too.
#pragma once

#include <string_view>

namespace keyshepherd::inject {

inline constexpr std::string_view name_prefix = "keyshepherd-";
inline constexpr std::string_view root_folder = "/keyshepherd";

inline constexpr std::string_view install_container = "keyshepherd-install";  // copies the launcher
inline constexpr std::string_view agent_container = "keyshepherd-agent";
inline constexpr std::string_view first_render_container =
    "keyshepherd-agent-init";                                             // before a plain sidecar
inline constexpr std::string_view check_container = "keyshepherd-check";  // the guard of wiring envfile

inline constexpr std::string_view bin_volume = "keyshepherd-bin";
inline constexpr std::string_view bin_folder = "/keyshepherd/bin";
inline constexpr std::string_view launcher = "/keyshepherd/bin/keyshepherd-exec";
inline constexpr std::string_view launcher_in_image = "/keyshepherd-exec";

// The agent mounts the whole volume, a container of the application one folder in it (plan.hpp).
inline constexpr std::string_view env_volume = "keyshepherd-env";  // env files: variables
inline constexpr std::string_view env_folder = "/keyshepherd/env";

// The same, for rendered files that applications read.
inline constexpr std::string_view files_volume = "keyshepherd-files";
inline constexpr std::string_view files_folder = "/keyshepherd/files";

inline constexpr std::string_view home_volume = "keyshepherd-home";  // the agent's own
inline constexpr std::string_view home_folder = "/keyshepherd/home";
inline constexpr std::string_view agent_log = "/keyshepherd/home/agent.log";

inline constexpr std::string_view config_volume = "keyshepherd-config";
inline constexpr std::string_view config_folder = "/keyshepherd/config";
inline constexpr std::string_view config_file = "/keyshepherd/config/agent.json";
inline constexpr std::string_view ca_file = "/keyshepherd/config/ca.crt";
inline constexpr std::string_view token_file = "/keyshepherd/config/token";
inline constexpr std::string_view role_id_file = "/keyshepherd/config/role_id";
inline constexpr std::string_view secret_id_file = "/keyshepherd/config/secret_id";

// Every name above; a pod's own containers and volumes never have one (plan.cpp refuses them).
inline bool is_own_name(std::string_view name) {
    for (const std::string_view own :
         {install_container, agent_container, first_render_container, check_container, bin_volume, env_volume,
          files_volume, home_volume, config_volume})
        if (name == own) return true;
    return false;
}

// Values out of references (annotations env-<VAR> and vault:… entries) that no provider's file holds.
inline constexpr std::string_view references_file = "references.env";

}  // namespace keyshepherd::inject
