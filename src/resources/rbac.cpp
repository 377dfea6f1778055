#include <keyshepherd/resources/crd.hpp>
#include <keyshepherd/resources/kind.hpp>

#include <fmt/format.h>

namespace keyshepherd::resources {

// What the operator asks of the API server, and nothing else: the tests run it with exactly this.
std::string operator_roles() {
    std::string plurals;
    std::string statuses;
    std::string read_only;  // no finalizer of ours is on these
    for (const Kind& kind : kinds()) {
        statuses += fmt::format("{}{}/status", statuses.empty() ? "" : ", ", kind.plural);
        if (!kind.in_vault) {
            read_only += fmt::format("{}{}", read_only.empty() ? "" : ", ", kind.plural);
            continue;
        }
        plurals += fmt::format("{}{}", plurals.empty() ? "" : ", ", kind.plural);
    }
    return fmt::format(R"(# Made by hack/generate.sh from src/resources/rbac.cpp.
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: keyshepherd-operator
  labels: {{app.kubernetes.io/part-of: keyshepherd}}
rules:
  # The custom resources: read, and their finalizers and status written.
  - apiGroups: [{group}]
    resources: [{plurals}]
    verbs: [get, list, watch, patch]
  - apiGroups: [{group}]
    resources: [{read_only}]
    verbs: [get, list, watch]
  - apiGroups: [{group}]
    resources: [{statuses}]
    verbs: [patch]
  # Who uses a provider, and the labels that its overrides select by.
  - apiGroups: [apps]
    resources: [deployments, statefulsets, daemonsets]
    verbs: [list, watch]
  - apiGroups: [""]
    resources: [namespaces]
    verbs: [get, list, watch]
  # What a VaultConnection logs in with; the Secrets with secret-ids and with keys of providers. A Secret that is not ours is
  # never written.
  - apiGroups: [""]
    resources: [secrets]
    verbs: [get, list, watch, create, patch, delete]
  - apiGroups: [""]
    resources: [serviceaccounts/token]
    verbs: [create]
  - apiGroups: [events.k8s.io]
    resources: [events]
    verbs: [create]
---
# For spec.rolloutRestartTargets, and for workloads that a new key of a provider rolls: bind it by a RoleBinding in each
# namespace that uses them.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: keyshepherd-operator-restarts
  labels: {{app.kubernetes.io/part-of: keyshepherd}}
rules:
  - apiGroups: [apps]
    resources: [deployments, statefulsets, daemonsets]
    verbs: [get, patch]
---
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
  # The key that marks of the operator's are made with; the first leader makes it.
  - apiGroups: [""]
    resources: [secrets]
    verbs: [create]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: keyshepherd-operator
  labels: {{app.kubernetes.io/part-of: keyshepherd}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: keyshepherd-operator}}
subjects: [{{kind: ServiceAccount, name: keyshepherd-operator, namespace: keyshepherd}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: keyshepherd-operator
  namespace: keyshepherd
  labels: {{app.kubernetes.io/part-of: keyshepherd}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: keyshepherd-operator}}
subjects: [{{kind: ServiceAccount, name: keyshepherd-operator, namespace: keyshepherd}}]
)",
                       fmt::arg("group", group), fmt::arg("plurals", plurals),
                       fmt::arg("read_only", read_only), fmt::arg("statuses", statuses));
}

// What the webhook asks of the API server, and nothing else: it only reads, and no Secret.
std::string webhook_roles() {
    std::string plurals;
    for (const Kind& kind : kinds())
        if (!kind.in_vault) plurals += fmt::format("{}{}", plurals.empty() ? "" : ", ", kind.plural);
    return fmt::format(R"(# Made by hack/generate.sh from src/resources/rbac.cpp.
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
  # Their labels, which the overrides of a ClusterAIProvider select by.
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
