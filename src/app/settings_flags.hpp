// The flags that `webhook` and `inject` share, and what the operator has in common with them: what the
// installation decides, and the providers.
#pragma once

#include <keyshepherd/core/result.hpp>
#include <keyshepherd/inject/provider.hpp>
#include <keyshepherd/inject/settings.hpp>
#include <keyshepherd/provider/provider.hpp>

#include <CLI/CLI.hpp>

#include <initializer_list>
#include <string>
#include <vector>

namespace keyshepherd::app {

struct SettingsFlags {
    inject::Settings settings;
    std::string kubernetes_version;
    std::string min_kubelet_version;
    std::string providers_file;
    std::string vault_address = "https://vault.vault.svc:8200";
    std::string vault_ca_file;
    bool provider_shadowing = false;
};

// Adds the flags to `command`; each is also read from KEYSHEPHERD_<NAME>. `flags` outlives the parse.
void add_settings_flags(CLI::App& command, SettingsFlags& flags);

// Checks what was given, after the parse. `oldest_skew`: without --min-kubelet-version, how many minors a
// kubelet may be older than the API server (https://kubernetes.io/releases/version-skew-policy/); 0 where
// there is no cluster.
result<inject::Settings> settings_from(const SettingsFlags& flags, int oldest_skew);

// What providers may say, by the flags.
provider::Rules provider_rules(const SettingsFlags& flags);

// Errc::invalid when one of `audiences`, which `flag` gave, is an audience of the API server.
result<void> check_audiences(std::string_view flag, const std::vector<std::string>& audiences,
                             const std::vector<std::string>& of_api_server);

// The built-in provider alone. Reads the CA's file.
result<inject::Catalog> built_in_from(const SettingsFlags& flags);

// The built-in provider and, over it, every document of --providers. Reads files.
// --default-provider is one of them.
result<inject::Catalog> catalog_from(const SettingsFlags& flags);

// What is wrong, all at once; nullptr stands for what is well.
std::string joined_faults(std::initializer_list<const Error*> errors);

}  // namespace keyshepherd::app
