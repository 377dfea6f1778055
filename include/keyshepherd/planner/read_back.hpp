// What can be told of a secret-id's past when nobody has kept its record: out of the metadata that Vault
// keeps of what was issued. Pure.
#pragma once

#include <keyshepherd/planner/secret_id.hpp>

#include <span>
#include <string_view>

namespace keyshepherd::planner {

// `all` as they are in the role now; `published`: accessor of the one that is handed out, "" when that is
// gone: then the newest of `owner` is taken for it. The one before it is the one in overlap. That an
// annotation rotate-now was not obeyed yet cannot be told, so it counts as obeyed.
SecretIdRecord read_back(const Resource& resource, std::string_view owner, std::string_view published,
                         std::span<const SecretIdFacts> all);

}  // namespace keyshepherd::planner
