// Reads the object of one resource in one Vault, and executes a plan. Used by `plan`, `apply` and the
// operator.
#pragma once

#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/planner/plan.hpp>
#include <keyshepherd/vault/client.hpp>

#include <set>
#include <string>
#include <vector>

namespace keyshepherd::reconcile {

using net::Deadline;
using net::Task;

// Reads all paths of planner::reads(), also those whose content a status records, because only Vault has the
// current state. Errc::not_found if the mount of a role does not exist.
Task<result<planner::Observation>> observe(vault::Client& vault, const planner::Resource& resource,
                                           Deadline deadline);

// Sends the plan's requests in order and stops at the first failure. Returns Vault's warnings.
Task<result<std::vector<std::string>>> act(vault::Client& vault, const planner::Plan& plan,
                                           Deadline deadline);

// The names that give the client's login its rights. Resources must not use them.
struct OwnNames {
    std::set<std::string> policies;  // as returned by planner::stored_name(), without `default`
    std::set<std::string> roles;     // planner::role_path() of its login; empty for a login with a token
    bool operator==(const OwnNames&) const = default;
};
// The policies of the token and its identity, and the role, from the data of auth/token/lookup-self. Pure.
OwnNames own_names_of(const nlohmann::json& token);
// Reads these names, including the policies that the role assigns at the next login. If the client may not
// read the role, these policies are missing until that login, and `may_read_role` (if not null) becomes
// false. If it is false, the role is not read.
Task<result<OwnNames>> own_names(vault::Client& vault, Deadline deadline, bool* may_read_role = nullptr);
// The policies of own_names().
Task<result<std::vector<std::string>>> own_policies(vault::Client& vault, Deadline deadline);

// The mounted secrets engines, for planner::judge(). If the list cannot be read, Mounts::unknown says why.
Task<planner::Mounts> secret_mounts(vault::Client& vault, Deadline deadline);

// The name of a Vault in claims: its address and namespace, the same for every spelling of the address.
std::string vault_name(const std::string& address, const std::string& vault_namespace);

}  // namespace keyshepherd::reconcile
