// The operator as a process: watches the custom resources, and while it holds the Lease makes Vault equal to
// them.
#pragma once

#include <keyshepherd/core/result.hpp>
#include <keyshepherd/fsm/lease.hpp>
#include <keyshepherd/kube/config.hpp>
#include <keyshepherd/provider/provider.hpp>
#include <keyshepherd/telemetry/log.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace keyshepherd::controller {

struct Options {
    kube::Config kubernetes;
    std::string watch_namespace;  // "": every one
    std::string own_namespace;    // of the Lease
    // Namespaces whose Secrets the operator may use; none: those of every namespace that it watches.
    std::vector<std::string> secret_namespaces;
    std::string lease_name = "keyshepherd-operator";
    std::string identity;  // this process' alone
    fsm::LeaseTimes lease;
    std::vector<std::string>
        vault_addresses;             // patterns that a VaultConnection may name (core/server_address.hpp)
    provider::Rules providers;       // what the installation allows to AIProviders
    std::string audience = "vault";  // of ServiceAccount tokens that log in to Vault
    std::size_t workers = 8;
    double requests_per_second = 1000;       // to one Vault
    std::chrono::milliseconds call{10'000};  // deadline of one request to Vault or the API server
    // Seconds that the registration of a secret-id may be under way, whatever became of its sender.
    std::int64_t orphan_grace = 30;
    std::int64_t issue_interval = 10;            // seconds between two secret-ids of one resource, at least
    std::string default_provider = "holysheep";  // what `inject: "true"` means, as the webhook has it
    std::chrono::milliseconds rollout_spread{30'000};  // all workloads of a provider are rolled within it
    // How long a published Secret outlives the last workload that reads it: pods of the old template may
    // still restart a container.
    std::chrono::seconds secret_grace{600};
    // HOST[:PORT] of providers' APIs that keys may be tried at; none: nowhere.
    std::vector<std::string> probe_hosts;
    std::string metrics_listen = "0.0.0.0:9403";
    telemetry::Level log_level = telemetry::Level::info;
    telemetry::Format log_format = telemetry::Format::json;
};

// Works until SIGTERM or SIGINT, then ends what is under way, gives the Lease back and gives the exit code. A
// second signal ends the process at once. An error means that it never worked.
result<int> run(Options options);

}  // namespace keyshepherd::controller
