// Checks that the Vault at a connection's address is the one that the connection was made with. Pure.
#pragma once

#include <keyshepherd/resources/resource.hpp>

#include <string>
#include <string_view>

namespace keyshepherd::planner {

// Facts of a VaultConnection's status: the cluster_id of sys/health, and the Vault (reconcile::vault_name())
// from which it was read. If spec.address has changed since then, another cluster is expected.
inline constexpr const char* cluster_id_fact = "vaultClusterID";
inline constexpr const char* cluster_of_fact = "vaultClusterOf";

// Why the operator must not use the Vault at `vault` with this `cluster_id` (sys/health): the status has
// another one, and no annotation acknowledges the new one. "" if the operator may use it, or if the server
// returns no cluster_id.
std::string replaced_vault(const resources::Resource& connection, const resources::Json& status,
                           std::string_view vault, std::string_view cluster_id);

}  // namespace keyshepherd::planner
