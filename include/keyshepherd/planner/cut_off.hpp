// Decides for keyshepherd.dev/cut-off which identity entity of an AppRole to disable, and whether the
// operator may enable it again (https://openbao.org/docs/concepts/identity/). Pure.
#pragma once

#include <keyshepherd/resources/resource.hpp>

#include <string>
#include <string_view>

namespace keyshepherd::planner {

using resources::Json;

struct RoleEntity {
    std::string id;       // "" if no login of the role has created one
    bool shared = false;  // it belongs to another role, which disabling it would cut off too
};
// `data` is the answer of identity/lookup/entity for the alias `role_id`. Vault ignores case in the names of
// aliases, but not in role-ids, so two roles whose role-ids differ only in case share an entity. The entity
// belongs to the role whose role-id equals the alias exactly.
RoleEntity role_entity(const Json& data, std::string_view role_id);

// Whether logins of a role may return batch tokens. Vault cannot list or revoke these, and they are valid
// again as soon as their entity is enabled. `role` is the role's data in Vault, `mount` the mount's entry in
// sys/auth; null if absent (https://openbao.org/docs/concepts/tokens/#token-types).
bool may_issue_batch_tokens(const Json& role, const Json& mount);

}  // namespace keyshepherd::planner
