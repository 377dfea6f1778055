// What this program was built from.
#pragma once

#include <string_view>

namespace keyshepherd {

std::string_view version();  // "0.1.0"
std::string_view commit();   // twelve hexadecimal digits, or "" outside a git checkout
std::string_view build();    // "Debug", "RelWithDebInfo"

}  // namespace keyshepherd
