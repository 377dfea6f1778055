// A flag that is also read from the environment, as KEYSHEPHERD_<NAME>.
#pragma once

#include <CLI/CLI.hpp>

#include <cctype>
#include <string>
#include <string_view>

namespace keyshepherd::app {

// Of flags that the webhook, inject and the operator have in common.
inline constexpr const char* allowed_address_doc =
    "Address where workloads may log in beside --vault-address, by annotation or provider; a * stands for a "
    "part "
    "of one label of the host, as in https://*.vault.example:8200; may be repeated";
inline constexpr const char* allowed_audience_doc =
    "Audience that the token of a workload may be for; never one of the API server's; may be repeated";
inline constexpr const char* shadowing_doc =
    "An AIProvider takes the place of the ClusterAIProvider or built-in provider of its name in its "
    "namespace; "
    "otherwise it is not used";

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
