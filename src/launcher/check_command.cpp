#include "commands.hpp"
#include "printable.hpp"
#include "report.hpp"

#include <cstdlib>
#include <string>

namespace keyshepherd::launcher {

int check_command(Arguments variables) {
    std::string missing;
    for (const char* name : variables) {
        const char* value = std::getenv(name);
        if (value && *value) continue;
        missing += (missing.empty() ? "" : ", ") + printable(name) + (value ? " is empty" : " is not set");
    }
    if (missing.empty()) return 0;
    // An old kubelet does not know fileKeyRef and sets nothing, without a word: this is the only place to
    // learn it.
    return fail(exit_failure,
                missing +
                    ": the kubelet of this node is older than 1.35, or its EnvFiles feature gate is "
                    "disabled. Set the annotation keyshepherd.dev/wiring: exec, or upgrade the node");
}

}  // namespace keyshepherd::launcher
