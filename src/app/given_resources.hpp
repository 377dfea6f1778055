// What `plan` and `apply` work on: custom resources of files, or those that the API server holds.
#pragma once

#include "resource_files.hpp"

#include <keyshepherd/core/result.hpp>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace keyshepherd::app {

struct Source {
    std::vector<std::string> files;
    bool recursive = false;     // below directories too
    bool from_cluster = false;  // instead of files
    std::string kubeconfig;     // "": $KUBECONFIG, ~/.kube/config, or the pod's ServiceAccount
    std::string default_namespace = "default";
    Providers providers = Providers::left_out;
};

using ConnectionName = std::pair<std::string, std::string>;  // namespace and name

struct GivenResources {
    std::map<ConnectionName, resources::Resource> connections;
    std::vector<FileResource> resources;         // in the order in which they have to be made in Vault
    std::vector<resources::Resource> leaving;    // of a cluster: being deleted, and the operator's alone
    std::vector<resources::Resource> providers;  // those that the operator looks after
};

// The VaultConnection that a resource refers to, which every one of GivenResources does; not of a
// VaultSecretID, which has that of its role.
ConnectionName connection_of(const resources::Resource& resource);
bool is_secret_id(const resources::Resource& resource);
// The VaultAppRole of a VaultSecretID; null: it is not among what was given.
const resources::Resource* role_of(const resources::Resource& secret_id, const GivenResources& given);

// An Error when a file has a fault, or when there is nothing of ours. One resource of the cluster with faults
// hides no other: it is warned of on standard error, and left out. `timeout_seconds` is of one request to the
// API server.
result<GivenResources> read_given(const Source& source, double timeout_seconds);

}  // namespace keyshepherd::app
