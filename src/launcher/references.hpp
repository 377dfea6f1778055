// From references to values. The injector leaves `NAME=keyshepherd:<path>#<key>` in a container's
// environment; the agent leaves NAME='…' in an env file; this puts the two together, and says everything that
// is wrong at once.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::launcher {

// `keyshepherd:<path>#<key>`, both parts there; also `vault:<path>#<key>`, which templates hold that an
// earlier version injected. A plain "vault:8200" is an address, and the application's own.
bool is_reference(std::string_view value);

struct EnvText {
    std::string path;  // for messages
    std::string text;
};

struct Resolved {
    std::vector<std::string> values;   // one for each name, when there is no fault
    std::vector<std::string> faults;   // name variables, files and lines, never a value
    std::vector<std::string> missing;  // names that stand in no file, each a fault with a reason of its own
};

Resolved resolve(std::span<const std::string_view> names, std::span<const EnvText> files);

}  // namespace keyshepherd::launcher
