// keyshepherd-exec: the part of keyshepherd that runs inside the pods of others.
#include "commands.hpp"
#include "printable.hpp"
#include "report.hpp"

#include <keyshepherd/core/build.hpp>

#include <unistd.h>

#include <string>
#include <string_view>

namespace keyshepherd::launcher {

namespace {

constexpr std::string_view usage =
    "Usage:\n"
    "  keyshepherd-exec -- PROGRAM ARGS…    Run PROGRAM. Environment variables of the form\n"
    "                                       keyshepherd:<path>#<key> get their values from\n"
    "                                       /keyshepherd/env/*.env\n"
    "                                       (set KEYSHEPHERD_ENV_DIR to use another directory)\n"
    "  keyshepherd-exec install DIR         Copy this program to DIR/keyshepherd-exec\n"
    "  keyshepherd-exec check VAR…          Succeed if every variable is set and not empty\n"
    "  keyshepherd-exec probe FILE… LOG     Succeed if no file is empty or missing; otherwise print the\n"
    "                                       last error of the Vault agent's log LOG\n"
    "  keyshepherd-exec version             Print the version\n\n"
    "Exit codes: the exit code of PROGRAM; 1 if install, check or probe failed; 2 for wrong usage;\n"
    "78 if a variable has no value or an env file is invalid; 126 if PROGRAM cannot be executed;\n"
    "127 if PROGRAM is not found.\n";

int wrong_usage(const std::string& why) {
    print(STDERR_FILENO, "keyshepherd-exec: " + why + "\n\n" + std::string(usage));
    return exit_usage;
}

int run(Arguments all) {
    if (all.size() < 2) return wrong_usage("no command given");
    const std::string_view word = all[1];
    const Arguments rest = all.subspan(2);

    if (word == "--")
        return rest.empty() ? wrong_usage("-- must be followed by a program") : exec_command(rest);
    if (word == "--help" || word == "-h" || word == "help") {
        print(STDOUT_FILENO, usage);
        return 0;
    }
    if (word.starts_with('-') && word != "--version") return wrong_usage("unknown option " + printable(word));

    if (word == "version" || word == "--version") {
        print(STDOUT_FILENO, "keyshepherd-exec " + std::string(version()) + " (commit " +
                                 std::string(commit().empty() ? "unknown" : commit()) + ", " +
                                 std::string(build()) + ")\n");
        return 0;
    }
    for (const char* argument : rest)
        if (*argument == '-') return wrong_usage("unknown option " + printable(argument));
    if (word == "install")
        return rest.size() == 1 ? install_command(rest) : wrong_usage("install requires one directory");
    if (word == "check") {
        if (rest.empty()) return wrong_usage("check requires a variable name");
        for (const char* name : rest)
            if (*name == '\0' || std::string_view(name).find('=') != std::string_view::npos)
                return wrong_usage("\"" + printable(name) + "\" is not a valid variable name");
        return check_command(rest);
    }
    if (word == "probe")
        return rest.size() >= 2 ? probe_command(rest)
                                : wrong_usage("probe requires a file and the agent's log");
    return wrong_usage("unknown command " + printable(word) + " (to run a program, put -- before it)");
}

}  // namespace

}  // namespace keyshepherd::launcher

int main(int argc, char** argv) {
    return keyshepherd::launcher::run({argv, static_cast<std::size_t>(argc)});
}
