#include "commands.hpp"

#include <keyshepherd/app/command_line.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

namespace keyshepherd::app {

namespace {

std::vector<std::string> commands_of(const CLI::App& app) {
    std::vector<std::string> names;
    for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
    return names;
}

bool is_command(const CLI::App& app, const std::string& name) {
    const std::vector<std::string> names = commands_of(app);
    return std::ranges::find(names, name) != names.end();
}

int unknown_command(const CLI::App& app, const std::string& name) {
    std::cerr << fmt::format("error: unknown command {}; the commands are {}\n", name,
                             fmt::join(commands_of(app), ", "));
    return 1;
}

// A word that the chosen command did not take, where the command takes files by -f; "" where there is none.
std::string stray_file(const CLI::App& app) {
    for (const CLI::App* command : app.get_subcommands())
        if (command->get_option_no_throw("--filename") != nullptr)
            for (const std::string& word : command->remaining())
                if (!word.starts_with('-')) return word;
    return "";
}

}  // namespace

int run(int argc, char** argv) {
    CLI::App app("keyshepherd delivers AI provider keys from Vault or OpenBao to Kubernetes workloads",
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
    std::vector<std::string> words(argv + 1, argv + argc);
    const std::string first = words.empty() ? "" : words.front();
    if (first == "help") {  // as git, kubectl and vault have it
        words.erase(words.begin());
        words.emplace_back("--help");
    } else if (!first.empty() && !first.starts_with('-') && !is_command(app, first)) {
        return unknown_command(app, first);
    }
    if (words.size() == 2 && first == "help" && !is_command(app, words.front()))
        return unknown_command(app, words.front());
    std::ranges::reverse(words);  // as CLI11 takes them
    try {
        app.parse(std::move(words));
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() != 0)
            if (const std::string file = stray_file(app); !file.empty()) {
                std::cerr << fmt::format("error: unexpected argument {0}; pass files with -f, as in -f {0}\n",
                                         file);
                return 1;
            }
        return app.exit(error) == 0 ? 0 : 1;
    }
    return exit_code;
}

}  // namespace keyshepherd::app
