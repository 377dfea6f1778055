// Texts of others on their way into logs, conditions and events of ours.
#pragma once

#include <string>
#include <string_view>

namespace keyshepherd {

// The beginning of UTF-8 text: at most `longest` bytes, and no part of a character at its end.
std::string_view beginning(std::string_view text, std::size_t longest);

// The same on one line, with "…" behind it when something was left out: blanks and control characters in a
// row become one space, and those at either end go.
std::string one_line(std::string_view text, std::size_t longest);

}  // namespace keyshepherd
