// One resource against one Vault: what is there, and making it so. `plan`, `apply` and the operator call
// these.
#pragma once

#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/planner/plan.hpp>
#include <keyshepherd/vault/client.hpp>

#include <string>
#include <vector>

namespace keyshepherd::reconcile {

using net::Deadline;
using net::Task;

// Reads what the planner looks at. A role whose mount does not exist is Errc::not_found. The role-id of a
// VaultAppRole is read only when `standing` does not know it, or the resource gives one.
Task<result<planner::Observation>> observe(vault::Client& vault, const planner::Resource& resource,
                                           const planner::Standing& standing, Deadline deadline);

// Sends the plan's requests in order, and stops at the first that fails. Gives Vault's warnings.
Task<result<std::vector<std::string>>> act(vault::Client& vault, const planner::Plan& plan,
                                           Deadline deadline);

// Policies of the client's own token, in lower case and without `default`: resources may not touch them.
Task<result<std::vector<std::string>>> own_policies(vault::Client& vault, Deadline deadline);

// The secrets engines that are mounted, for planner::judge(). That the list cannot be read is no error: it
// says why then.
Task<planner::Mounts> secret_mounts(vault::Client& vault, Deadline deadline);

// The name of a Vault in claims: its address and namespace, the same for every spelling of the address.
std::string vault_name(const std::string& address, const std::string& vault_namespace);

}  // namespace keyshepherd::reconcile
