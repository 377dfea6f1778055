// A flag that is also read from the environment, as KEYSHEPHERD_<NAME>.
#pragma once

#include <CLI/CLI.hpp>

#include <cctype>
#include <string>
#include <string_view>

namespace keyshepherd::app {

// Of flags that the webhook, inject and the operator have in common.
inline constexpr const char* allowed_address_doc =
    "Address that annotations and providers may set in addition to --vault-address; a * matches part of one "
    "label of the host, as in https://*.vault.example:8200 (repeatable)";
inline constexpr const char* allowed_audience_doc =
    "Audience that annotations and providers may set for a workload's token; must not be an audience of the "
    "API server (repeatable)";
inline constexpr const char* shadowing_doc =
    "Allow an AIProvider to override the ClusterAIProvider or built-in provider of the same name in its "
    "namespace; by default, such an AIProvider is ignored";

// "vault-address" → "KEYSHEPHERD_VAULT_ADDRESS".
inline std::string environment_name(std::string_view flag) {
    std::string name = "KEYSHEPHERD_";
    for (const char c : flag)
        name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return name;
}

// Adds --<flag>, whose default is what `into` holds. `into` outlives the parse.
template <class T>
CLI::Option* add_environment_flag(CLI::App& command, const std::string& flag, T& into,
                                  const std::string& doc) {
    return command.add_option("--" + flag, into, doc)->envname(environment_name(flag))->capture_default_str();
}

}  // namespace keyshepherd::app
