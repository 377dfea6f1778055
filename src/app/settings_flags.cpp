#include "settings_flags.hpp"

#include "environment_flag.hpp"

#include <keyshepherd/core/server_address.hpp>
#include <keyshepherd/yaml/yaml.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

namespace keyshepherd::app {

namespace {

result<std::string> read_file(const std::string& path, std::string_view flag) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    if (!in || !(text << in.rdbuf()))
        return fail(Errc::not_found, fmt::format("{}: cannot read {}", flag, path));
    return std::move(text).str();
}

result<void> add_providers(const SettingsFlags& flags, inject::Catalog& catalog) {
    const std::string& file = flags.providers_file;
    const provider::Rules rules = provider_rules(flags);
    KEYSHEPHERD_TRY(const std::string text, read_file(file, "--providers"));
    const auto read = yaml::read(text);
    if (!read) return fail(read.error().code, fmt::format("--providers: {} {}", file, read.error().message));
    const std::vector<yaml::Document>& documents = *read;
    for (const yaml::Document& document : documents) {
        if (document.json.is_null()) continue;
        // Only text passes between the two JSON libraries.
        auto declared =
            provider::read(resources::Json::parse(boost::json::serialize(document.json), nullptr, false),
                           catalog.installation(), rules);
        const auto added = declared ? catalog.add(*std::move(declared)) : std::unexpected(declared.error());
        if (!added)
            return fail(added.error().code, fmt::format("--providers: {}, line {}: {}", file, document.line,
                                                        added.error().message));
    }
    return {};
}

}  // namespace

void add_settings_flags(CLI::App& command, SettingsFlags& f) {
    auto add = [&](const std::string& flag, auto& into, const std::string& doc) {
        return add_environment_flag(command, flag, into, doc)->group("Injection");
    };
    add("kubernetes-version", f.kubernetes_version,
        "Kubernetes version of the API server, such as 1.35; by default, the webhook reads it from the API "
        "server");
    add("min-kubelet-version", f.min_kubelet_version,
        "Version of the oldest kubelet in the cluster, such as 1.35");
    add("providers", f.providers_file, "File with AIProviders and ClusterAIProviders");
    add("default-provider", f.settings.default_provider, "Provider that `inject: \"true\"` selects");
    add("vault-address", f.vault_address,
        "Address at which pods reach the Vault or OpenBao server of the built-in provider");
    add("vault-ca-file", f.vault_ca_file,
        "PEM file with the CA of the --vault-address server, if it is a private CA");
    add("allowed-vault-address", f.settings.allowed_vault_addresses, allowed_address_doc);
    add("allowed-token-audience", f.settings.allowed_token_audiences, allowed_audience_doc);
    command.add_flag("--allow-provider-shadowing", f.provider_shadowing, shadowing_doc)
        ->envname(environment_name("allow-provider-shadowing"))
        ->group("Injection");
    add("own-namespace", f.settings.own_namespaces, "Namespace to exclude from injection (repeatable)");
    add("image", f.settings.image,
        "Image that contains /keyshepherd-exec, with a tag or a digest; required for every wiring except "
        "secret");
    add("agent-flavor", f.settings.agent_flavor, "Agent to run: bao or vault")
        ->check(CLI::IsMember({"bao", "vault"}));
    add("bao-image", f.settings.bao_image, "OpenBao Agent image, with a tag or a digest");
    add("vault-image", f.settings.vault_image, "Vault Agent image, with a tag or a digest");
    add("agent-cpu-request", f.settings.agent.cpu_request, "CPU request of the agent, or \"none\"");
    add("agent-cpu-limit", f.settings.agent.cpu_limit, "CPU limit of the agent, or \"none\"");
    add("agent-memory-request", f.settings.agent.memory_request, "Memory request of the agent, or \"none\"");
    add("agent-memory-limit", f.settings.agent.memory_limit, "Memory limit of the agent, or \"none\"");
    add("agent-run-as-user", f.settings.agent_user, "User ID that the agent runs as");
    add("agent-run-as-group", f.settings.agent_group, "Group ID that the agent runs as");
    add("agent-log-level", f.settings.agent_log_level, "Log level of the agent")
        ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error"}));
}

result<inject::Settings> settings_from(const SettingsFlags& flags, int oldest_skew) {
    inject::Settings settings = flags.settings;
    std::vector<std::string> faults;
    auto read = [&](const std::string& text, std::string_view flag, KubernetesVersion& into) {
        const auto version = parse_kubernetes_version(text);
        if (version)
            into = *version;
        else
            faults.push_back(fmt::format("{}: {}", flag, version.error().message));
    };
    if (!flags.kubernetes_version.empty())
        read(flags.kubernetes_version, "--kubernetes-version", settings.kubernetes);
    settings.lowest_kubelet = settings.kubernetes;
    settings.lowest_kubelet.minor = std::max(0, settings.kubernetes.minor - oldest_skew);
    settings.kubelet_is_assumed = flags.min_kubelet_version.empty();
    if (!settings.kubelet_is_assumed)
        read(flags.min_kubelet_version, "--min-kubelet-version", settings.lowest_kubelet);
    // A version that could not be read is not held against the other one.
    if (!faults.empty()) settings.lowest_kubelet = settings.kubernetes;
    if (const auto address = parse_server_address(flags.vault_address); !address)
        faults.push_back(fmt::format("--vault-address: {}, such as https://vault.vault.svc:8200",
                                     address.error().message));
    std::ranges::move(inject::faults_of(settings), std::back_inserter(faults));
    if (!faults.empty()) return fail(Errc::invalid, fmt::format("{}", fmt::join(faults, "; ")));
    return settings;
}

provider::Rules provider_rules(const SettingsFlags& flags) {
    provider::Rules rules{.vault_addresses = flags.settings.allowed_vault_addresses,
                          .token_audiences = flags.settings.allowed_token_audiences,
                          .may_shadow = flags.provider_shadowing};
    rules.vault_addresses.push_back(flags.vault_address);
    return rules;
}

result<void> check_audiences(std::string_view flag, const std::vector<std::string>& audiences,
                             const std::vector<std::string>& of_api_server) {
    for (const std::string& audience : audiences)
        if (std::ranges::find(of_api_server, audience) != of_api_server.end())
            return fail(Errc::invalid,
                        fmt::format("{}: {} is an audience of the API server (kube-apiserver "
                                    "--api-audiences), so Vault could use the token at the API server; use "
                                    "an audience that only Vault accepts, such as vault",
                                    flag, audience));
    return {};
}

result<inject::Catalog> built_in_from(const SettingsFlags& flags) {
    std::string ca;
    if (!flags.vault_ca_file.empty()) {
        KEYSHEPHERD_TRY(ca, read_file(flags.vault_ca_file, "--vault-ca-file"));
        if (!inject::is_certificates(ca))
            return fail(Errc::invalid, fmt::format("--vault-ca-file: {} must contain only PEM certificates, "
                                                   "because every workload gets a copy",
                                                   flags.vault_ca_file));
    }
    return inject::Catalog::built_in(flags.vault_address, std::move(ca),
                                     flags.settings.allowed_token_audiences.front(),
                                     flags.provider_shadowing);
}

result<inject::Catalog> catalog_from(const SettingsFlags& flags) {
    KEYSHEPHERD_TRY(inject::Catalog catalog, built_in_from(flags));
    if (!flags.providers_file.empty()) {
        KEYSHEPHERD_TRY_CHECK(add_providers(flags, catalog));
    }
    if (!catalog.has(flags.settings.default_provider))
        return fail(Errc::invalid,
                    fmt::format("--default-provider: provider not found; available providers: {}",
                                fmt::join(catalog.names(""), ", ")));
    return catalog;
}

std::string joined_faults(std::initializer_list<const Error*> errors) {
    std::string all;
    for (const Error* error : errors)
        if (error != nullptr) all += (all.empty() ? "" : "; ") + error->message;
    return all;
}

}  // namespace keyshepherd::app
