// What keyshepherd.dev/cut-off decides about the identity entity of an AppRole role: which one to disable,
// and whether it may be enabled again (https://openbao.org/docs/concepts/identity/). Pure.
#pragma once

#include <keyshepherd/resources/resource.hpp>

#include <string>
#include <string_view>

namespace keyshepherd::planner {

using resources::Json;

struct RoleEntity {
    std::string id;       // "": no login of the role has made one
    bool shared = false;  // it is another role's, so that disabling it would cut off that role too
};
// `data` is that of identity/lookup/entity for the alias `role_id`. Vault compares names of aliases without
// their case, and role-ids with it: two roles whose role-ids differ only in case share one entity. It belongs
// to the role whose role-id the alias has letter by letter.
RoleEntity role_entity(const Json& data, std::string_view role_id);

// Whether logins by a role may give batch tokens, which Vault neither lists nor revokes: they are good again
// as soon as their entity is enabled. `role` is the data of the role in Vault, `mount` its entry of sys/auth;
// null where it is absent (https://openbao.org/docs/concepts/tokens/#token-types).
bool may_issue_batch_tokens(const Json& role, const Json& mount);

}  // namespace keyshepherd::planner
