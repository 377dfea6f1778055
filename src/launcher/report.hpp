// Where this program's own words go. Each message is one write, so that lines of others do not get in
// between.
#pragma once

#include <string>
#include <string_view>

namespace keyshepherd::launcher {

inline constexpr int exit_failure = 1;           // check, probe, install: the answer is no
inline constexpr int exit_usage = 2;             // the command line is wrong
inline constexpr int exit_configuration = 78;    // EX_CONFIG of sysexits.h: a variable has no value to put in
inline constexpr int exit_not_executable = 126;  // as shells have it
inline constexpr int exit_not_found = 127;

void print(int fd, std::string_view text);

// Prints "keyshepherd-exec: MESSAGE" on stderr and leaves it in the container's termination message as well,
// where `kubectl describe pod` shows it; then gives the exit code back.
[[nodiscard]] int fail(int exit_code, const std::string& message);

std::string cause(int error);  // ": No such file or directory"

}  // namespace keyshepherd::launcher
