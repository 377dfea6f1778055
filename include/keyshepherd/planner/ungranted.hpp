// The conditions of a resource and its connection that name objects in Vault which are no longer granted.
// Pure.
#pragma once

#include <keyshepherd/planner/status.hpp>

#include <span>
#include <string>
#include <string_view>

namespace keyshepherd::planner {

// True while an object that the resource created is in Vault and no longer granted. The operator does not
// change it.
inline constexpr std::string_view still_in_vault = "StillInVault";

// True for a connection to a Vault with objects of deleted resources that no connection may remove.
inline constexpr std::string_view left_in_vault = "LeftInVault";

// For a resource that is not granted: what is in Vault at the API path, what it still allows, and how to
// remove it.
Condition ungranted_object(const resources::Resource& resource, std::string_view path);
// For a VaultSecretID whose role is not granted. `accessor` is that of the published secret-id.
Condition ungranted_secret_id(const resources::Resource& resource, std::string_view accessor);
// For a VaultConnection. `objects` are the Resource::text() of its resources for which the condition is true;
// not empty.
Condition ungranted_objects(std::span<const std::string> objects);
// For a VaultConnection. `objects` are the Resource::text() of deleted resources; not empty.
Condition left_objects(std::span<const std::string> objects);

// Whether the condition StillInVault is true in a status.
bool is_still_in_vault(const Json& status);

}  // namespace keyshepherd::planner
