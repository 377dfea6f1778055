// keyshepherd operator: flags of the process, and what is generated from the tables of kinds.
#include "commands.hpp"
#include "environment_flag.hpp"
#include "probe_host_flag.hpp"
#include "settings_flags.hpp"

#include <keyshepherd/controller/operator.hpp>
#include <keyshepherd/core/server_address.hpp>
#include <keyshepherd/kube/token.hpp>
#include <keyshepherd/resources/crd.hpp>

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <regex>

namespace keyshepherd::app {

namespace {

// Where manifests/rbac.yaml lets the operator use its Lease and its key.
constexpr std::string_view default_namespace = "keyshepherd";

struct OperatorFlags {
    controller::Options options;
    std::string kubeconfig;
    std::string log_level = "info";
    std::string log_format = "json";
    double call_seconds = 10;
    double spread_seconds = 30;
    std::int64_t secret_grace_seconds = controller::Options{}.secret_grace.count();
    int lease_seconds = 15;
    int renew_seconds = 10;
    int retry_seconds = 2;
};

// The pod's name, which is its host name, and something that no earlier container of the pod had.
std::string identity() {
    std::array<char, 256> name{};
    if (gethostname(name.data(), name.size() - 1) != 0) name[0] = '\0';
    std::string uuid;
    std::getline(std::ifstream("/proc/sys/kernel/random/uuid"), uuid);
    return fmt::format("{}_{}", name.data(), uuid);
}

// As Kubernetes checks namespaces (RFC 1123 labels) and ServiceAccounts (RFC 1123 subdomains)
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/).
CLI::Validator name_check(bool dots, std::size_t most, std::string what) {
    const std::string pattern = dots ? "[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
                                     : "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
    return CLI::Validator(
        [dots, most, what, expression = std::regex(pattern)](std::string& name) -> std::string {
            if (name.size() <= most && std::regex_match(name, expression)) return {};
            return fmt::format(
                "the name of a {} must consist of lower-case letters, digits, '-'{}, and have at most {} "
                "characters",
                what, dots ? " and '.'" : "", most);
        },
        what);
}

result<int> work(const OperatorFlags& flags) {
    controller::Options options = flags.options;
    if (options.vault_addresses.empty())
        return fail(Errc::invalid,
                    "--vault-address is required: it lists the addresses that a VaultConnection may use. "
                    "Example: --vault-address https://vault.vault.svc:8200. A * matches part of one label");
    for (const auto& [flag, patterns] :
         {std::pair{"--vault-address", &options.vault_addresses},
          std::pair{"--allowed-vault-address", &options.providers.vault_addresses}})
        for (const std::string& pattern : *patterns)
            if (const auto checked = check_address_pattern(pattern); !checked)
                return fail(Errc::invalid, fmt::format("{}: {}", flag, checked.error().message));
    if (options.audience.empty())
        return fail(
            Errc::invalid,
            "--token-audience must not be empty; set an audience that only Vault accepts, such as vault");
    KEYSHEPHERD_TRY(options.kubernetes, kube::load(flags.kubeconfig));
    const auto of_api_server = kube::api_server_audiences(options.kubernetes);
    KEYSHEPHERD_TRY_CHECK(check_audiences("--token-audience", {options.audience}, of_api_server));
    KEYSHEPHERD_TRY_CHECK(
        check_audiences("--allowed-token-audience", options.providers.token_audiences, of_api_server));
    // A workload may log in wherever the operator may.
    std::ranges::copy(options.vault_addresses, std::back_inserter(options.providers.vault_addresses));
    // One Lease for every operator of a cluster: the namespace that a person works in with kubectl does not
    // decide where it is.
    if (options.own_namespace.empty())
        options.own_namespace = options.kubernetes.pod_namespace.empty() ? std::string(default_namespace)
                                                                         : options.kubernetes.pod_namespace;
    KEYSHEPHERD_TRY(options.log_level, telemetry::parse_level(flags.log_level));
    KEYSHEPHERD_TRY(options.log_format, telemetry::parse_format(flags.log_format));
    options.call = std::chrono::milliseconds(static_cast<long>(flags.call_seconds * 1000));
    options.secret_grace = std::chrono::seconds(flags.secret_grace_seconds);
    options.rollout_spread = std::chrono::milliseconds(static_cast<long>(flags.spread_seconds * 1000));
    options.lease.duration = std::chrono::seconds(flags.lease_seconds);
    options.lease.renew = std::chrono::seconds(flags.renew_seconds);
    options.lease.retry = std::chrono::seconds(flags.retry_seconds);
    options.identity = identity();
    return controller::run(std::move(options));
}

}  // namespace

void add_operator_command(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<OperatorFlags>();
    CLI::App* command =
        app.add_subcommand("operator", "Reconcile Vault with the custom resources until SIGTERM");
    auto add = [command](const std::string& flag, auto& into, const std::string& doc) {
        return add_environment_flag(*command, flag, into, doc);
    };
    add("kubeconfig", flags->kubeconfig,
        "Kubeconfig file. Default: $KUBECONFIG, ~/.kube/config, or the pod's ServiceAccount");
    add("namespace", flags->options.own_namespace,
        fmt::format("Namespace of the Lease and of the operator's Secrets. Default: the namespace of the "
                    "pod, or {} outside a pod",
                    default_namespace));
    add("watch-namespace", flags->options.watch_namespace, "Namespace to watch. Default: all namespaces");
    add("secret-namespaces", flags->options.secret_namespaces,
        "Namespaces whose Secrets the operator may use, comma-separated. Set the same namespaces in "
        "`generate rbac --namespaces`. Default: all namespaces")
        ->delimiter(',')
        ->check(name_check(false, 63, "namespace"));
    add("vault-address", flags->options.vault_addresses,
        "Vault address allowed for VaultConnections and for workloads (repeatable). A * matches part of one "
        "label of the host, as in https://*.vault.example:8200");
    add("allowed-vault-address", flags->options.providers.vault_addresses, allowed_address_doc);
    add("allowed-token-audience", flags->options.providers.token_audiences, allowed_audience_doc);
    command->add_flag("--allow-provider-shadowing", flags->options.providers.may_shadow, shadowing_doc)
        ->envname(environment_name("allow-provider-shadowing"));
    add("token-audience", flags->options.audience,
        "Audience of the ServiceAccount tokens with which the operator logs in to Vault");
    add("workers", flags->options.workers, "Maximum number of concurrent reconciliations")
        ->check(CLI::Range(1, 256));
    add("requests-per-second", flags->options.requests_per_second,
        "Maximum requests per second to each Vault")
        ->check(CLI::Range(1.0, 100'000.0));
    add("call-seconds", flags->call_seconds, "Timeout of each request to Vault or the API server, in seconds")
        ->check(CLI::Range(0.1, 600.0));
    add("orphan-grace-seconds", flags->options.orphan_grace,
        "Age in seconds at which the operator destroys an orphaned secret-id. Must exceed the longest "
        "duration of a request")
        ->check(CLI::Range(1, 86'400));
    add("issue-interval-seconds", flags->options.issue_interval,
        "Minimum time in seconds between two secret-ids of one VaultSecretID. If half the rotation period is "
        "shorter, the operator uses that instead")
        ->check(CLI::Range(0, 3'600));
    add("default-provider", flags->options.default_provider,
        "Provider for `inject: \"true\"`. Set the same value for the webhook");
    add("rollout-spread-seconds", flags->spread_seconds,
        "Time in seconds over which the operator spreads the restarts of a provider's workloads after a key "
        "rotation")
        ->check(CLI::Range(0.0, 86'400.0));
    add("secret-grace-seconds", flags->secret_grace_seconds,
        "Time in seconds for which the operator keeps the Secret of a ClusterAIProvider after the last "
        "workload stopped using the Secret")
        ->check(CLI::Range(0, 86'400));
    add_probe_host_flag(*command, flags->options.probe_hosts,
                        "Host of a provider's API to which the operator may send keys over HTTPS to test "
                        "them (repeatable). Default: no host, which disables key probes");
    add("lease-name", flags->options.lease_name, "Name of the Lease");
    add("lease-seconds", flags->lease_seconds,
        "Lease duration: time in seconds after the last renewal before another replica may become leader");
    add("renew-seconds", flags->renew_seconds,
        "Renew deadline: time in seconds without a renewal after which the leader stops");
    add("retry-seconds", flags->retry_seconds,
        "Retry period: time in seconds between attempts to acquire or renew the Lease");
    add("metrics-listen", flags->options.metrics_listen,
        "HOST:PORT that serves /metrics, /healthz and /readyz over HTTP");
    add("log-level", flags->log_level, "Log level: trace, debug, info, warn or error")
        ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error"}));
    add("log-format", flags->log_format, "Log format: json or text")->check(CLI::IsMember({"json", "text"}));
    command->callback([flags, &exit_code] {
        const auto ended = work(*flags);
        if (!ended) {
            telemetry::Log log(telemetry::Level::error,
                               telemetry::parse_format(flags->log_format).value_or(telemetry::Format::json));
            log.error("the operator failed", {{"error", ended.error().message}});
        }
        exit_code = ended ? *ended : 1;
    });
}

void add_generate_command(CLI::App& app, int& exit_code) {
    struct Flags {
        std::string what;
        resources::OperatorRbac rbac;
    };
    auto flags = std::make_shared<Flags>();
    CLI::App* command = app.add_subcommand("generate",
                                           "Print the CustomResourceDefinitions, the RBAC of the operator or "
                                           "the webhook, or the reference page");
    command->add_option("what", flags->what, "What to print")
        ->required()
        ->check(CLI::IsMember({"crds", "rbac", "webhook-rbac", "reference"}));
    command
        ->add_option(
            "--service-account", flags->rbac.service_accounts,
            "rbac: names of ServiceAccounts with which VaultConnections log in, comma-separated (repeatable)")
        ->delimiter(',')
        ->check(name_check(true, 253, "ServiceAccount"))
        ->capture_default_str();
    command
        ->add_option("--namespaces", flags->rbac.secret_namespaces,
                     "rbac: namespaces whose Secrets the operator may use, comma-separated. Set the same "
                     "namespaces in `operator --secret-namespaces`. Default: all namespaces")
        ->delimiter(',')
        ->check(name_check(false, 63, "namespace"));
    command->callback([flags, &exit_code] {
        const std::string& what = flags->what;
        std::cout << (what == "crds"           ? resources::definitions()
                      : what == "rbac"         ? resources::operator_roles(flags->rbac)
                      : what == "webhook-rbac" ? resources::webhook_roles()
                                               : resources::reference())
                  << std::flush;
        exit_code = std::cout ? 0 : 1;
    });
}

}  // namespace keyshepherd::app
