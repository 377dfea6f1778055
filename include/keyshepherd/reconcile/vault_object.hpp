// One resource against one Vault: what is there, and making it so. `plan`, `apply` and the operator call
// these.
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

// Reads what the planner looks at, and leaves nothing out that a status has recorded: only Vault knows what
// holds now. A role whose mount does not exist is Errc::not_found.
Task<result<planner::Observation>> observe(vault::Client& vault, const planner::Resource& resource,
                                           Deadline deadline);

// Sends the plan's requests in order, and stops at the first that fails. Gives Vault's warnings.
Task<result<std::vector<std::string>>> act(vault::Client& vault, const planner::Plan& plan,
                                           Deadline deadline);

// What carries the power of the client's login: resources may not touch it.
struct OwnNames {
    std::set<std::string> policies;  // as planner::stored_name() spells them, without `default`
    std::set<std::string> roles;  // that it logged in by, as planner::role_path() gives them; none of a token
    bool operator==(const OwnNames&) const = default;
};
// Pure: of the data of auth/token/lookup-self. The policies of the token and of its identity, and the role.
OwnNames own_names_of(const nlohmann::json& token);
// Likewise, with the policies that the role gives at the next login. The client may lack the permission to
// read the role: then these are missing until that login, and `may_read_role`, unless null, becomes false.
// The role is not read when it is false.
Task<result<OwnNames>> own_names(vault::Client& vault, Deadline deadline, bool* may_read_role = nullptr);
// The policies of own_names().
Task<result<std::vector<std::string>>> own_policies(vault::Client& vault, Deadline deadline);

// The secrets engines that are mounted, for planner::judge(). That the list cannot be read is no error: it
// says why then.
Task<planner::Mounts> secret_mounts(vault::Client& vault, Deadline deadline);

// The name of a Vault in claims: its address and namespace, the same for every spelling of the address.
std::string vault_name(const std::string& address, const std::string& vault_namespace);

}  // namespace keyshepherd::reconcile
