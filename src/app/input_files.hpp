// What `-f` names: files, directories and standard input.
#pragma once

#include <keyshepherd/core/result.hpp>

#include <string>
#include <vector>

namespace keyshepherd::app {

struct InputFile {
    std::string name;  // for messages; "stdin" for standard input
    std::string text;
};

// Reads everything that `names` names, in that order; a directory's *.yaml, *.yml and *.json sorted by path.
// "-" is standard input, at most once. The first that cannot be read is the error, and says its name.
result<std::vector<InputFile>> read_inputs(const std::vector<std::string>& names, bool recursive);

}  // namespace keyshepherd::app
