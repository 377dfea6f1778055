// The command line: every command, its flags and their environment variables.
#pragma once

namespace keyshepherd::app {

// Runs the command that `argv` names; gives the exit code of the process (0 done, 1 failed or used wrongly).
int run(int argc, char** argv);

}  // namespace keyshepherd::app
