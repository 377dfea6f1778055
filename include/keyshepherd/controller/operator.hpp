// The operator process. It watches the custom resources, and while it holds the Lease, it keeps Vault in line
// with them.
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
    std::string watch_namespace;  // "": all namespaces
    std::string own_namespace;    // namespace of the Lease
    // Namespaces whose Secrets the operator may use; empty: all namespaces that it watches.
    std::vector<std::string> secret_namespaces;
    std::string lease_name = "keyshepherd-operator";
    std::string identity;  // unique to this process
    fsm::LeaseTimes lease;
    std::vector<std::string> vault_addresses;  // patterns of the addresses that a VaultConnection may use
                                               // (core/server_address.hpp)
    provider::Rules providers;                 // what the installation allows for AIProviders
    std::string audience = "vault";            // audience of the ServiceAccount tokens that log in to Vault
    std::size_t workers = 8;
    double requests_per_second = 1000;       // limit for each Vault
    std::chrono::milliseconds call{10'000};  // deadline of one request to Vault or the API server
    // Seconds for which the registration of a secret-id may still arrive in Vault after its sender stopped.
    std::int64_t orphan_grace = 30;
    std::int64_t issue_interval = 10;            // minimum seconds between two secret-ids of one resource
    std::string default_provider = "holysheep";  // what `inject: "true"` means; same as in the webhook
    std::chrono::milliseconds rollout_spread{
        30'000};  // the restarts of a provider's workloads are spread over it
    // How long a published Secret exists after the last workload that reads it is gone, because pods of the
    // old template may still restart a container.
    std::chrono::seconds secret_grace{600};
    // HOST[:PORT] of provider APIs at which keys may be tested; empty: no key is tested.
    std::vector<std::string> probe_hosts;
    std::string metrics_listen = "0.0.0.0:9403";
    telemetry::Level log_level = telemetry::Level::info;
    telemetry::Format log_format = telemetry::Format::json;
};

// Runs until SIGTERM or SIGINT, then completes pending work, releases the Lease and returns the exit code. A
// second signal ends the process at once. An error means that the operator could not start.
result<int> run(Options options);

}  // namespace keyshepherd::controller
