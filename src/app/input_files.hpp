// What `-f` names: files, directories and standard input.
#pragma once

#include <keyshepherd/core/result.hpp>

#include <string>
#include <vector>

namespace keyshepherd::app {

struct InputFile {
    std::string name;  // for messages; "stdin" for standard input
    std::string text;
    std::string fault = {};  // why a file of a directory cannot be opened; "" otherwise
};

// What --skip-unreadable says of a file of a directory that cannot be opened, and of any text that is not
// YAML or JSON.
enum class Unreadable { refused, skipped };

inline constexpr const char* skip_unreadable_help =
    "Skip files that cannot be read, such as Helm templates, with a warning for each";

// The line that follows the errors of `count` files that cannot be read, of `all`.
std::string unreadable_hint(std::size_t count, std::size_t all);

// Reads everything that `names` names, in that order; a directory's *.yaml, *.yml and *.json sorted by path.
// "-" is standard input, at most once. The first name that cannot be read is the error, and says its name.
result<std::vector<InputFile>> read_inputs(const std::vector<std::string>& names, bool recursive);

}  // namespace keyshepherd::app
