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
    "  keyshepherd-exec -- PROGRAM ARGS…    become PROGRAM, with every environment variable of the form\n"
    "                                       keyshepherd:<path>#<key> set to its value in\n"
    "                                       /keyshepherd/env/*.env\n"
    "                                       (another directory: KEYSHEPHERD_ENV_DIR)\n"
    "  keyshepherd-exec install DIR         copy this program to DIR/keyshepherd-exec\n"
    "  keyshepherd-exec check VAR…          succeed when every variable is set and not empty\n"
    "  keyshepherd-exec probe FILE… LOG     succeed when every file has content; else print the last error "
    "in the\n"
    "                                       Vault agent's log LOG\n"
    "  keyshepherd-exec version\n"
    "\n"
    "Exit codes: the program's own; 1 install, check or probe failed; 2 wrong usage; 78 a variable has no "
    "value\n"
    "or a file is bad; 126 PROGRAM cannot be executed; 127 PROGRAM is not found.\n";

int wrong_usage(const std::string& why) {
    print(STDERR_FILENO, "keyshepherd-exec: " + why + "\n\n" + std::string(usage));
    return exit_usage;
}

int run(Arguments all) {
    if (all.size() < 2) return wrong_usage("a command is missing");
    const std::string_view word = all[1];
    const Arguments rest = all.subspan(2);

    if (word == "--") return rest.empty() ? wrong_usage("-- needs a program behind it") : exec_command(rest);
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
        return rest.size() == 1 ? install_command(rest) : wrong_usage("install needs one directory");
    if (word == "check") {
        if (rest.empty()) return wrong_usage("check needs the name of a variable");
        for (const char* name : rest)
            if (*name == '\0' || std::string_view(name).find('=') != std::string_view::npos)
                return wrong_usage("\"" + printable(name) + "\" is no name of a variable");
        return check_command(rest);
    }
    if (word == "probe")
        return rest.size() >= 2 ? probe_command(rest) : wrong_usage("probe needs a file and the agent's log");
    return wrong_usage("unknown command " + printable(word) + " (a program to run goes behind --)");
}

}  // namespace

}  // namespace keyshepherd::launcher

int main(int argc, char** argv) {
    return keyshepherd::launcher::run({argv, static_cast<std::size_t>(argc)});
}
