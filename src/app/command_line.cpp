#include "commands.hpp"

#include <keyshepherd/app/command_line.hpp>

namespace keyshepherd::app {

int run(int argc, char** argv) {
    CLI::App app("keyshepherd: provider keys out of Vault or OpenBao, into Kubernetes workloads",
                 "keyshepherd");
    app.require_subcommand(1);
    int exit_code = 0;
    add_webhook_command(app, exit_code);
    add_inject_command(app, exit_code);
    add_plan_command(app, exit_code);
    add_apply_command(app, exit_code);
    add_operator_command(app, exit_code);
    add_generate_command(app, exit_code);
    add_version_command(app, exit_code);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 1;
    }
    return exit_code;
}

}  // namespace keyshepherd::app
