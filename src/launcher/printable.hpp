// Text of others, made fit for one line of a message: Kubernetes events are UTF-8, and a terminal obeys
// escapes.
#pragma once

#include <string>
#include <string_view>

namespace keyshepherd::launcher {

// Control characters become blanks, bytes that are no UTF-8 become '?'.
std::string printable(std::string_view text);

// At most `limit` bytes, never half a character, "…" at the end when something was cut.
std::string shortened(std::string text, std::size_t limit);

}  // namespace keyshepherd::launcher
