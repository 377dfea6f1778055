// Values of Secrets.
#pragma once

#include <keyshepherd/kube/object.hpp>

#include <string>
#include <string_view>

namespace keyshepherd::kube {

inline const Resource secrets{"", "v1", "secrets", true};

// A value of `data`, decoded; "" when it is absent or no base64. The caller wipes it.
std::string secret_value(const Json& secret, std::string_view key);

}  // namespace keyshepherd::kube
