// What is still in Vault under a grant that was narrowed, as conditions of the resource and of its
// connection. Pure.
#pragma once

#include <keyshepherd/planner/status.hpp>

#include <span>
#include <string>
#include <string_view>

namespace keyshepherd::planner {

// True while the operator refuses a resource whose object it has made in Vault, and does not touch it.
inline constexpr std::string_view still_in_vault = "StillInVault";

// True for a connection to a Vault that holds objects of deleted resources, which no connection may remove.
inline constexpr std::string_view left_in_vault = "LeftInVault";

// Of a resource that is not granted: what is in Vault at the API path, what it still allows, and how to
// remove it.
Condition ungranted_object(const resources::Resource& resource, std::string_view path);
// Of a VaultSecretID whose role is not granted; `accessor`: of the secret-id that is published.
Condition ungranted_secret_id(const resources::Resource& resource, std::string_view accessor);
// Of a VaultConnection: `objects` are its resources of which the condition is true, as Resource::text() gives
// them; not empty.
Condition ungranted_objects(std::span<const std::string> objects);
// Of a VaultConnection: `objects` are deleted resources, as Resource::text() gives them; not empty.
Condition left_objects(std::span<const std::string> objects);

// Whether the condition is true in a status.
bool is_still_in_vault(const Json& status);

}  // namespace keyshepherd::planner
