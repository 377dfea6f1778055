// What the installation decides, as opposed to the workload (annotations) and the provider.
#pragma once

#include <keyshepherd/core/kubernetes_version.hpp>

#include <string>
#include <vector>

namespace keyshepherd::inject {

struct Resources {
    std::string cpu_request = "25m";
    std::string cpu_limit = "500m";
    std::string memory_request = "64Mi";
    std::string memory_limit = "128Mi";
};

struct Settings {
    KubernetesVersion kubernetes{1, 35};  // of the API server
    KubernetesVersion lowest_kubelet{1, 35};
    bool kubelet_is_assumed = false;  // nobody said it: it is what the API server's version allows
    // The image that holds /keyshepherd-exec. "": none is known, and only workloads without an agent are
    // injected.
    std::string image = {};
    std::string vault_image = "hashicorp/vault:1.21.4";
    std::string bao_image = "openbao/openbao:2.7.2";
    std::string agent_flavor = "bao";  // "bao" or "vault"
    Resources agent;
    long agent_user = 100;
    long agent_group = 1000;
    std::string agent_log_level = "info";
    std::string default_provider = "holysheep";
    // Where an annotation may send a workload to log in, beside its providers' own address: patterns of
    // core/server_address.hpp.
    std::vector<std::string> allowed_vault_addresses;
    // That a workload's token may be for. Never one of the API server's: its holder could use it there.
    std::vector<std::string> allowed_token_audiences = {"vault"};
    std::vector<std::string> own_namespaces = {"kube-system", "keyshepherd"};  // never injected
};

// Checks all of it: one line a fault, which begins with the flag that sets it and says what would be right.
std::vector<std::string> faults_of(const Settings& settings);

}  // namespace keyshepherd::inject
