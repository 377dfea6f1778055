#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/planner/vault_identity.hpp>

#include <fmt/format.h>

namespace keyshepherd::planner {

std::string replaced_vault(const resources::Resource& connection, const resources::Json& status,
                           std::string_view vault, std::string_view cluster_id) {
    const std::string known = text_at(status, cluster_id_fact);
    const std::string at = text_at(status, cluster_of_fact);
    if (known.empty() || cluster_id.empty() || known == cluster_id || (!at.empty() && at != vault) ||
        connection.acknowledged_cluster == cluster_id)
        return {};
    return fmt::format(
        "the Vault at {0} has cluster_id {1}, but this connection was set up with cluster_id {2}: Vault was "
        "replaced, or restored from another Vault. The operator does not write to it. To let the operator "
        "recreate everything in this Vault, run: kubectl annotate vaultconnection {3} -n {4} --overwrite "
        "{5}={1}",
        vault, cluster_id, known, connection.name, connection.ns, resources::acknowledge_annotation);
}

}  // namespace keyshepherd::planner
