#include <keyshepherd/resources/crd.hpp>
#include <keyshepherd/resources/kind.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::resources {

namespace {

constexpr std::string_view secret_rules = R"(rules:
  # Secrets with secret-ids, Secrets with provider keys, and the login Secrets of VaultConnections. RBAC cannot select
  # Secrets by label: the operator itself logs in only with Secrets that have the label keyshepherd.dev/vault-login, and
  # changes only Secrets that it created.
  - apiGroups: [""]
    resources: [secrets]
    verbs: [get, list, watch, create, patch, delete]
)";

std::string plurals_of(auto&& wanted, std::string_view suffix = {}) {
    std::string text;
    for (const Kind& kind : kinds())
        if (wanted(kind)) text += fmt::format("{}{}{}", text.empty() ? "" : ", ", kind.plural, suffix);
    return text;
}

std::string operator_role() {
    return fmt::format(R"(apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: keyshepherd-operator
  labels: {{app.kubernetes.io/part-of: keyshepherd}}
rules:
  # Custom resources: the operator reads them and writes their finalizers and status.
  - apiGroups: [{group}]
    resources: [{in_vault}]
    verbs: [get, list, watch, patch]
  - apiGroups: [{group}]
    resources: [{read_only}]
    verbs: [get, list, watch]
  - apiGroups: [{group}]
    resources: [{statuses}]
    verbs: [patch]
  # Workloads that use a provider, and the namespace labels that its overrides select. The UID of the namespace
  # kube-system identifies the cluster.
  - apiGroups: [apps]
    resources: [deployments, statefulsets, daemonsets]
    verbs: [list, watch]
  - apiGroups: [""]
    resources: [namespaces]
    verbs: [get, list, watch]
  - apiGroups: [events.k8s.io]
    resources: [events]
    verbs: [create]
)",
                       fmt::arg("group", group),
                       fmt::arg("in_vault", plurals_of([](const Kind& kind) { return kind.in_vault; })),
                       fmt::arg("read_only", plurals_of([](const Kind& kind) { return !kind.in_vault; })),
                       fmt::arg("statuses", plurals_of([](const Kind&) { return true; }, "/status")));
}

// The ServiceAccounts that a VaultConnection may log in as, by their names: without these, `create` on
// serviceaccounts/token would make the operator every ServiceAccount of the cluster.
std::string login_role(const std::vector<std::string>& accounts) {
    return fmt::format(R"(---
# ServiceAccounts with which VaultConnections log in, by name.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: keyshepherd-operator-logins
  labels: {{app.kubernetes.io/part-of: keyshepherd}}
rules:
  - apiGroups: [""]
    resources: [serviceaccounts]
    resourceNames: [{accounts}]
    verbs: [get]
  - apiGroups: [""]
    resources: [serviceaccounts/token]
    resourceNames: [{accounts}]
    verbs: [create]
)",
                       fmt::arg("accounts", fmt::format("\"{}\"", fmt::join(accounts, "\", \""))));
}

std::string binding(std::string_view kind, std::string_view name, std::string_view ns,
                    std::string_view role_kind) {
    return fmt::format(R"(---
apiVersion: rbac.authorization.k8s.io/v1
kind: {kind}
metadata:
  name: {name}
{ns}  labels: {{app.kubernetes.io/part-of: keyshepherd}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {role_kind}, name: {name}}}
subjects: [{{kind: ServiceAccount, name: keyshepherd-operator, namespace: keyshepherd}}]
)",
                       fmt::arg("kind", kind), fmt::arg("name", name),
                       fmt::arg("ns", ns.empty() ? "" : fmt::format("  namespace: \"{}\"\n", ns)),
                       fmt::arg("role_kind", role_kind));
}

std::string secret_roles(const std::vector<std::string>& namespaces) {
    constexpr std::string_view name = "keyshepherd-operator-secrets";
    if (namespaces.empty())
        return fmt::format(R"(---
# Access to all Secrets of the cluster. To limit it to some namespaces, run
# keyshepherd generate rbac --namespaces a,b and start the operator with --secret-namespaces a,b
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {}
  labels: {{app.kubernetes.io/part-of: keyshepherd}}
{}{})",
                           name, secret_rules, binding("ClusterRoleBinding", name, "", "ClusterRole"));
    std::string text;
    for (const std::string& ns : namespaces)
        text += fmt::format(R"(---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {}
  namespace: "{}"
  labels: {{app.kubernetes.io/part-of: keyshepherd}}
{}{})",
                            name, ns, secret_rules, binding("RoleBinding", name, ns, "Role"));
    return text;
}

// Not aggregated to `edit`: policies and roles of Vault are permissions, as Roles and RoleBindings are, which
// `edit` leaves out too (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles).
std::string tenant_role() {
    return fmt::format(R"(---
# For application teams that manage their own Vault resources: bind it with a RoleBinding in their namespace. It does
# not include VaultConnections, which select the operator's login and grant rights, or the status of resources, which only
# the operator writes. It is not aggregated to `edit`, because Vault policies and roles are permissions, like Roles and
# RoleBindings, which `edit` does not include either.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: keyshepherd-tenant
  labels: {{app.kubernetes.io/part-of: keyshepherd}}
rules:
  - apiGroups: [{}]
    resources: [{}]
    verbs: [get, list, watch, create, update, patch, delete]
)",
                       group, plurals_of([](const Kind& kind) {
                           return kind.namespaced && kind.id != KindId::vault_connection;
                       }));
}

}  // namespace

// What the operator asks of the API server, and nothing else: the tests run it with exactly this.
std::string operator_roles(const OperatorRbac& options) {
    return fmt::format(
        R"(# Generated by hack/generate.sh from src/resources/rbac.cpp.
---
{operator_role}{login_role}{secret_roles}---
# For restarts of the workloads in spec.rolloutRestartTargets, and of workloads that use a provider whose key changed:
# bind it with a RoleBinding in each namespace with such workloads.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: keyshepherd-operator-restarts
  labels: {{app.kubernetes.io/part-of: keyshepherd}}
rules:
  - apiGroups: [apps]
    resources: [deployments, statefulsets, daemonsets]
    verbs: [get, patch]
  # The operator reads when a workload's current template started, and does not restart workloads that started with
  # the new key.
  - apiGroups: [apps]
    resources: [replicasets, controllerrevisions]
    verbs: [list]
{tenant_role}---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: keyshepherd-operator
  namespace: keyshepherd
  labels: {{app.kubernetes.io/part-of: keyshepherd}}
rules:
  - apiGroups: [coordination.k8s.io]
    resources: [leases]
    verbs: [create]
  - apiGroups: [coordination.k8s.io]
    resources: [leases]
    resourceNames: [keyshepherd-operator]
    verbs: [get, patch]
  # HMAC key with which the operator recognizes its own claims. The first leader creates it.
  - apiGroups: [""]
    resources: [secrets]
    verbs: [create]
  - apiGroups: [""]
    resources: [secrets]
    resourceNames: [keyshepherd-operator-key]
    verbs: [get]
  # Objects of deleted resources that are still in Vault. The operator removes them when a login works again.
  - apiGroups: [""]
    resources: [secrets]
    resourceNames: [keyshepherd-operator-left-in-vault]
    verbs: [get, patch]
{bindings})",
        fmt::arg("operator_role", operator_role()),
        fmt::arg("login_role", login_role(options.service_accounts)),
        fmt::arg("secret_roles", secret_roles(options.secret_namespaces)),
        fmt::arg("tenant_role", tenant_role()),
        fmt::arg("bindings",
                 binding("ClusterRoleBinding", "keyshepherd-operator", "", "ClusterRole") +
                     binding("ClusterRoleBinding", "keyshepherd-operator-logins", "", "ClusterRole") +
                     binding("RoleBinding", "keyshepherd-operator", "keyshepherd", "Role")));
}

// What the webhook asks of the API server, and nothing else: it only reads, and no Secret.
std::string webhook_roles() {
    const std::string plurals = plurals_of([](const Kind& kind) { return !kind.in_vault; });
    return fmt::format(R"(# Generated by hack/generate.sh from src/resources/rbac.cpp.
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: keyshepherd-webhook
  labels: {{app.kubernetes.io/part-of: keyshepherd}}
rules:
  - apiGroups: [{group}]
    resources: [{plurals}]
    verbs: [get, list, watch]
  # Namespace labels, which the overrides of a ClusterAIProvider select.
  - apiGroups: [""]
    resources: [namespaces]
    verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: keyshepherd-webhook
  labels: {{app.kubernetes.io/part-of: keyshepherd}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: keyshepherd-webhook}}
subjects: [{{kind: ServiceAccount, name: keyshepherd-webhook, namespace: keyshepherd}}]
)",
                       fmt::arg("group", group), fmt::arg("plurals", plurals));
}

}  // namespace keyshepherd::resources
