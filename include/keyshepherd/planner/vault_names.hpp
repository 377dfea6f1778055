// How Vault and OpenBao spell names that they store. They convert names of policies and roles to lower case
// (https://openbao.org/docs/concepts/policies/; builtin/credential/approle and the Kubernetes auth method do
// the same with a role's name). They never convert a path: mounts, namespaces and KV paths that differ in
// case are different objects. Pure.
#pragma once

#include <string>
#include <string_view>

namespace keyshepherd::planner {

// The name of a policy or a role as Vault stores it: in lower case, without spaces around it. ASCII only: the
// custom resources allow no other letters in these names.
std::string stored_name(std::string_view name);

// The API path of a role: "auth/<mount>/role/<name>". The mount keeps its case.
std::string role_path(std::string_view mount, std::string_view name);

// A Vault namespace without the slashes around it, which Vault ignores in X-Vault-Namespace; "" for `root`,
// another name of the namespace that needs no name.
std::string stored_namespace(std::string_view name);

}  // namespace keyshepherd::planner
