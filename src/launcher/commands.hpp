// The commands. Each takes what stands behind its word on the command line and returns the process's exit
// code.
#pragma once

#include <span>

namespace keyshepherd::launcher {

using Arguments = std::span<char*>;  // the array behind it ends with a null pointer, as main's does

// Becomes the program, with every reference in the environment replaced by its value. Returns only when it
// cannot.
int exec_command(Arguments program);

// Puts a copy of this program into a directory, for containers whose image does not have it.
int install_command(Arguments arguments);

// Whether every variable named has a value: the guard in front of applications whose key kubelet sets.
int check_command(Arguments variables);

// Whether the agent has rendered every file; if not, says what the agent last complained about.
int probe_command(Arguments files_and_log);

}  // namespace keyshepherd::launcher
