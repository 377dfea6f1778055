// Generates the smallest Vault policy that the operator needs for a set of resources. It uses the requests of
// the planner, so it always matches the planner. Pure.
#pragma once

#include <keyshepherd/resources/resource.hpp>

#include <span>
#include <string>
#include <vector>

namespace keyshepherd::planner {

using resources::Resource;

// The policy for a login that manages `resources`, in the form of policy_text(). It contains every path that
// is read, written or, if deletionPolicy is Delete, deleted for a resource, and the paths for the login's own
// token. Each path occurs once, in alphabetical order. A VaultSecretID needs its VaultAppRole among
// `resources`. For a provider, the policy contains the paths of its key. Connections and their grants are not
// considered. `probe_hosts`: the operator's --probe-host. The policy allows reading a key for a test only if
// these allow its host.
std::string operator_policy(std::span<const Resource> resources,
                            const std::vector<std::string>& probe_hosts = {});

}  // namespace keyshepherd::planner
