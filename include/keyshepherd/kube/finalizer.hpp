// RFC 6902 patches that change one finalizer and nothing of anyone else: they fail (the API server says
// invalid, 422) when the list, or the object behind the name, is no longer what was looked at.
#pragma once

#include <keyshepherd/kube/object.hpp>

#include <optional>
#include <string_view>

namespace keyshepherd::kube {

bool has_finalizer(const Json& object, std::string_view finalizer);

// nullopt when there is nothing to do.
std::optional<Json> add_finalizer(const Json& object, std::string_view finalizer);
std::optional<Json> remove_finalizer(const Json& object, std::string_view finalizer);

}  // namespace keyshepherd::kube
