// The CustomResourceDefinitions and the reference page, made from the tables of kinds.
#pragma once

#include <string>
#include <vector>

namespace keyshepherd::resources {

// Every definition as a document of one YAML stream, the same bytes in every process.
std::string definitions();
// A Markdown page: every kind with its fields.
std::string reference();
struct OperatorRbac {
    // Names of the ServiceAccounts that VaultConnections log in as; at least one.
    std::vector<std::string> service_accounts = {"keyshepherd-vault"};
    // Namespaces whose Secrets the operator may use, each with a Role and a RoleBinding; none: the Secrets of
    // every namespace. The operator's --secret-namespaces has to name the same.
    std::vector<std::string> secret_namespaces = {};
};

// RBAC of the operator, and the ClusterRole of its tenants, as a YAML stream.
std::string operator_roles(const OperatorRbac& options = {});
// RBAC of the webhook, the same way.
std::string webhook_roles();

}  // namespace keyshepherd::resources
