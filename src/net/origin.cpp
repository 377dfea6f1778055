#include <keyshepherd/net/client.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace keyshepherd::net {

namespace {

bool is_port(std::string_view text) {
    std::uint16_t port = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    return error == std::errc{} && rest == text.data() + text.size() && port != 0;
}

bool is_host(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
               c == '-' || c == '_';
    });
}

std::string_view default_port(bool tls) {
    return tls ? "443" : "80";
}

}  // namespace

result<Origin> Origin::parse(std::string_view url) {
    // The URL itself is not repeated: it may hold a password.
    const auto wrong = [](std::string_view what) {
        return fail(
            Errc::invalid,
            fmt::format("no address of a server: {}; give https://HOST[:PORT] and nothing behind it", what));
    };
    Origin origin;
    if (url.starts_with("https://"))
        url.remove_prefix(8);
    else if (url.starts_with("http://")) {
        url.remove_prefix(7);
        origin.tls = false;
    } else
        return wrong("it starts neither with https:// nor with http://");
    if (url.ends_with('/')) url.remove_suffix(1);
    if (url.find_first_of("/?#") != std::string_view::npos) return wrong("it has a path or a query");
    if (url.find('@') != std::string_view::npos) return wrong("it has a user");
    if (url.starts_with('[')) {
        const auto end = url.find(']');
        if (end == std::string_view::npos) return wrong("the bracket is not closed");
        origin.host = url.substr(1, end - 1);
        boost::system::error_code ec;
        boost::asio::ip::make_address_v6(origin.host, ec);
        if (ec) return wrong("in the brackets is no IPv6 address");
        url.remove_prefix(end + 1);
    } else {
        const auto end = std::min(url.find(':'), url.size());
        origin.host = url.substr(0, end);
        if (!is_host(origin.host)) return wrong("the host is none");
        url.remove_prefix(end);
    }
    if (url.empty()) {
        origin.port = default_port(origin.tls);
        return origin;
    }
    url.remove_prefix(1);
    if (!is_port(url)) return wrong("the port is none");
    origin.port = url;
    return origin;
}

std::string Origin::text() const {
    const bool brackets = host.find(':') != std::string::npos;
    std::string all = fmt::format("{}://{}", tls ? "https" : "http", brackets ? "[" + host + "]" : host);
    if (port != default_port(tls)) all += ":" + port;
    return all;
}

}  // namespace keyshepherd::net
