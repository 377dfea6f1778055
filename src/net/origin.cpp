#include <keyshepherd/core/server_address.hpp>
#include <keyshepherd/net/client.hpp>

#include <fmt/format.h>

namespace keyshepherd::net {

namespace {

std::string_view default_port(bool tls) {
    return tls ? "443" : "80";
}

}  // namespace

result<Origin> Origin::parse(std::string_view url) {
    KEYSHEPHERD_TRY(ServerAddress address, parse_server_address(url));
    return Origin{address.tls, std::move(address.host), std::move(address.port)};
}

std::string Origin::text() const {
    const bool brackets = host.find(':') != std::string::npos;
    std::string all = fmt::format("{}://{}", tls ? "https" : "http", brackets ? "[" + host + "]" : host);
    if (port != default_port(tls)) all += ":" + port;
    return all;
}

}  // namespace keyshepherd::net
