// What `plan` and `apply` work on: custom resources of files, or those that the API server holds.
#pragma once

#include "resource_files.hpp"

#include <keyshepherd/core/result.hpp>
#include <keyshepherd/planner/grants.hpp>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace keyshepherd::app {

struct Source {
    std::vector<std::string> files;
    std::vector<std::string> connection_files;  // the only files whose VaultConnections count
    bool without_grants = false;                // no VaultConnection is looked at
    bool recursive = false;                     // below directories too
    bool skip_unreadable = false;               // of `files`; those of connections have to be readable
    bool from_cluster = false;                  // instead of files
    std::string kubeconfig;  // "": $KUBECONFIG, ~/.kube/config, or the pod's ServiceAccount
    std::string default_namespace = "default";
    bool one_namespace = false;  // files may hold resources of default_namespace alone
    Providers providers = Providers::checked;
};

using ConnectionName = std::pair<std::string, std::string>;  // namespace and name

struct GivenResources {
    std::vector<std::string> errors =
        {};  // what is wrong with the files, one line each; then there is no more
    std::map<ConnectionName, resources::Resource> connections;
    bool without_grants = false;                 // only what is reserved is refused
    std::vector<FileResource> resources;         // in the order in which they have to be made in Vault
    std::vector<resources::Resource> leaving;    // of a cluster: being deleted, and the operator's alone
    std::vector<resources::Resource> providers;  // those that the operator looks after
    std::size_t checked_providers = 0;           // of files, which have no more to them than that
};

// The VaultConnection that a resource refers to, which every one of GivenResources does; not of a
// VaultSecretID, which has that of its role.
ConnectionName connection_of(const resources::Resource& resource);
bool is_secret_id(const resources::Resource& resource);
// The VaultAppRole of a VaultSecretID; null: it is not among what was given.
const resources::Resource* role_of(const resources::Resource& secret_id, const GivenResources& given);

// What is refused of a resource before anything is asked of Vault for it.
struct Permission {
    std::vector<resources::Fault> faults;  // empty: nothing is refused
    bool may_adopt = true;
};
// What is reserved is refused always, and what its connection does not grant unless without_grants. A
// resource of the cluster may refer to a connection that does not exist: that is a fault then. `reserved` and
// `mounts` as of planner::judge().
Permission permission(const resources::Resource& resource, const GivenResources& given,
                      const std::set<std::string>& reserved, const planner::Mounts& mounts);

// An Error when a file has a fault, when there is nothing of ours, or when a resource of the files refers to
// a VaultConnection that connection_files do not hold, unless without_grants. A VaultConnection among `files`
// is an Error too, so that no file can bring grants for what it asks for itself; one that connection_files
// hold with the same spec is passed over. One resource of the cluster with faults hides no other: it is
// warned of on standard error, and left out. `timeout_seconds` is of one request to the API server.
result<GivenResources> read_given(const Source& source, double timeout_seconds);

}  // namespace keyshepherd::app
