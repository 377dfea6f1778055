#include "commands.hpp"

#include <keyshepherd/core/build.hpp>

#include <boost/version.hpp>
#include <fmt/format.h>
#include <openssl/crypto.h>

#include <iostream>
#include <memory>

namespace keyshepherd::app {

void add_version_command(CLI::App& app, int& exit_code) {
    auto format = std::make_shared<std::string>("text");
    CLI::App* command =
        app.add_subcommand("version", "Print the version, what it was built from, and its libraries");
    command->add_option("-o,--output", *format, "text or json")->check(CLI::IsMember({"text", "json"}));
    command->callback([format, &exit_code] {
        const std::string boost = fmt::format("{}.{}", BOOST_VERSION / 100000, BOOST_VERSION / 100 % 1000);
        const std::string openssl = OpenSSL_version(OPENSSL_VERSION_STRING);
        if (*format == "json") {
            std::cout << fmt::format(
                "{{\"version\":\"{}\",\"commit\":\"{}\",\"build\":\"{}\",\"boost\":\"{}\",\"openssl\":\"{}\"}"
                "}\n",
                version(), commit(), build(), boost, openssl);
        } else {
            std::cout << fmt::format("keyshepherd {} (commit {}, {}, Boost {}, OpenSSL {})\n", version(),
                                     commit().empty() ? "unknown" : commit(), build(), boost, openssl);
        }
        exit_code = 0;
    });
}

}  // namespace keyshepherd::app
