#include "commands.hpp"

#include <keyshepherd/core/build.hpp>

#include <boost/version.hpp>
#include <fmt/format.h>
#include <openssl/crypto.h>

#include <iostream>
#include <memory>

namespace keyshepherd::app {

namespace {

std::string boost_version() {
    return fmt::format("{}.{}", BOOST_VERSION / 100000, BOOST_VERSION / 100 % 1000);
}

std::string version_line() {
    return fmt::format("keyshepherd {} (commit {}, {}, Boost {}, OpenSSL {})", version(),
                       commit().empty() ? "unknown" : commit(), build(), boost_version(),
                       OpenSSL_version(OPENSSL_VERSION_STRING));
}

}  // namespace

void add_version_command(CLI::App& app, int& exit_code) {
    app.set_version_flag("--version", version_line(), "Print the version, like `keyshepherd version`");
    auto format = std::make_shared<std::string>("text");
    CLI::App* command =
        app.add_subcommand("version", "Print the version, the commit, the build and library versions");
    command->add_option("-o,--output", *format, "Output format: text or json")
        ->check(CLI::IsMember({"text", "json"}));
    command->callback([format, &exit_code] {
        if (*format == "json") {
            std::cout << fmt::format(
                "{{\"version\":\"{}\",\"commit\":\"{}\",\"build\":\"{}\",\"boost\":\"{}\",\"openssl\":\"{}\"}"
                "}\n",
                version(), commit(), build(), boost_version(), OpenSSL_version(OPENSSL_VERSION_STRING));
        } else {
            std::cout << version_line() << '\n';
        }
        exit_code = 0;
    });
}

}  // namespace keyshepherd::app
