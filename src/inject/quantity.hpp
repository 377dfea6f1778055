// Kubernetes quantities: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace keyshepherd::inject {

struct Quantity {
    __int128 milli = 0;     // thousandths of the unit
    std::string canonical;  // as the API server stores it: 0.1 is 100m, 1024Mi is 1Gi
};

// Empty for what is no non-negative quantity, and for one finer than a thousandth.
std::optional<Quantity> parse_quantity(std::string_view text);

}  // namespace keyshepherd::inject
