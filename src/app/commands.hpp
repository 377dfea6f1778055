// The commands of the program. Each registers itself with its flags and, when chosen, sets `exit_code`.
#pragma once

#include <CLI/CLI.hpp>

namespace keyshepherd::app {

void add_inject_command(CLI::App& app, int& exit_code);
void add_plan_command(CLI::App& app, int& exit_code);
void add_apply_command(CLI::App& app, int& exit_code);
void add_operator_command(CLI::App& app, int& exit_code);
void add_generate_command(CLI::App& app, int& exit_code);
void add_version_command(CLI::App& app, int& exit_code);
void add_webhook_command(CLI::App& app, int& exit_code);

}  // namespace keyshepherd::app
