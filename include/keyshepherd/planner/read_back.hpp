// Recovers the record of a secret-id from the metadata in Vault if the record was lost. Pure.
#pragma once

#include <keyshepherd/planner/secret_id.hpp>

#include <span>
#include <string_view>

namespace keyshepherd::planner {

// `all`: the secret-ids of the role. `published`: the accessor of the published one; if it is "", the newest
// one of `owner` counts as published. The one before it is in overlap. Vault does not show whether the
// annotation rotate-now was handled, so it counts as handled.
SecretIdRecord read_back(const Resource& resource, std::string_view owner, std::string_view published,
                         std::span<const SecretIdFacts> all);

}  // namespace keyshepherd::planner
