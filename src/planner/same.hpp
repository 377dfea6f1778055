// When two values of a field mean the same to Vault.
#pragma once

#include <keyshepherd/resources/resource.hpp>

namespace keyshepherd::planner {

using resources::Field;
using resources::Json;

// The one spelling of everything that means the same as `value`: seconds for durations, sorted sets, masked
// networks. Null becomes what the server holds when nothing was ever set.
Json canonical(const Field& field, const Json& value);

// The value of the spec in the spelling that Vault takes and stores: seconds for durations, masked networks.
Json sent(const Field& field, const Json& value);

}  // namespace keyshepherd::planner
