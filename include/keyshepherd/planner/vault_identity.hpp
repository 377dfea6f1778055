// Whether the Vault that answers at a connection's address is the one that the connection was made with.
// Pure.
#pragma once

#include <keyshepherd/resources/resource.hpp>

#include <string>
#include <string_view>

namespace keyshepherd::planner {

// Facts of a VaultConnection's status: the cluster_id of sys/health, and the Vault (reconcile::vault_name())
// at which it was read. Where spec.address leads elsewhere since, another cluster is what the user asked for.
inline constexpr const char* cluster_id_fact = "vaultClusterID";
inline constexpr const char* cluster_of_fact = "vaultClusterOf";

// Why nothing may be written to the Vault at `vault` whose sys/health gives `cluster_id`: it is not the one
// of the status, and no annotation acknowledges it. "" when it may be used; also of a server that gives no
// ID.
std::string replaced_vault(const resources::Resource& connection, const resources::Json& status,
                           std::string_view vault, std::string_view cluster_id);

}  // namespace keyshepherd::planner
