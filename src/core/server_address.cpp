#include <keyshepherd/core/ascii.hpp>
#include <keyshepherd/core/server_address.hpp>

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <vector>

namespace keyshepherd {

namespace {

constexpr std::size_t longest_label = 63;  // RFC 1035, section 2.3.4
constexpr std::size_t longest_host = 253;

bool is_label_character(char c) {
    return is_alphanumeric(c) || c == '-' || c == '_';
}

std::vector<std::string_view> labels_of(std::string_view host) {
    std::vector<std::string_view> labels;
    for (std::size_t at = 0;;) {
        const std::size_t dot = std::min(host.find('.', at), host.size());
        labels.push_back(host.substr(at, dot - at));
        if (dot == host.size()) return labels;
        at = dot + 1;
    }
}

// "": it is one.
std::string_view fault_of_host(std::string_view host, bool is_pattern) {
    if (host.empty()) return "the host is missing";
    if (host.size() > longest_host) return "the host is longer than 253 characters";
    for (const std::string_view label : labels_of(host)) {
        if (label.empty()) return "the host has an empty label; remove leading, trailing or double dots";
        if (label.size() > longest_label) return "the host has a label longer than 63 characters";
        if (label.front() == '-' || label.back() == '-')
            return "the host has a label that begins or ends with -";
        if (!std::ranges::all_of(label,
                                 [&](char c) { return is_label_character(c) || (is_pattern && c == '*'); }))
            return "the host has an invalid character; write an international name in its xn-- form";
    }
    return "";
}

// The spelling of RFC 5952; "": no IPv6 address, or one with a zone.
std::string canonical_ipv6(std::string_view text) {
    std::array<unsigned char, 16> bytes{};
    std::array<char, INET6_ADDRSTRLEN> canonical{};
    if (inet_pton(AF_INET6, std::string(text).c_str(), bytes.data()) != 1 || text.contains('\0')) return "";
    return inet_ntop(AF_INET6, bytes.data(), canonical.data(), canonical.size());
}

bool is_ipv6(std::string_view host) {
    return host.contains(':');
}

result<ServerAddress> parse(std::string_view text, bool is_pattern) {
    const auto wrong = [](std::string_view what) {
        return fail(Errc::invalid,
                    fmt::format("invalid server address: {}; use https://HOST[:PORT] without a path", what));
    };
    ServerAddress address;
    if (text.starts_with("https://"))
        text.remove_prefix(8);
    else if (text.starts_with("http://")) {
        text.remove_prefix(7);
        address.tls = false;
    } else {
        return wrong("it must start with https:// or http://");
    }
    if (text.ends_with('/')) text.remove_suffix(1);
    if (text.find('@') != std::string_view::npos) return wrong("a user is not allowed");
    if (text.find_first_of("/?#") != std::string_view::npos) return wrong("a path or a query is not allowed");
    if (text.starts_with('[')) {
        const auto end = text.find(']');
        if (end == std::string_view::npos) return wrong("the bracket is not closed");
        address.host = text.substr(1, end - 1);
        if (canonical_ipv6(address.host).empty()) return wrong("the brackets do not contain an IPv6 address");
        text.remove_prefix(end + 1);
    } else {
        const auto end = std::min(text.find(':'), text.size());
        address.host = text.substr(0, end);
        if (const std::string_view fault = fault_of_host(address.host, is_pattern); !fault.empty())
            return wrong(fault);
        text.remove_prefix(end);
    }
    if (text.empty()) {
        address.port = address.tls ? "443" : "80";
        return address;
    }
    if (text.front() != ':') return wrong("only a port may follow the bracket");
    text.remove_prefix(1);
    std::uint16_t port = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc{} || rest != text.data() + text.size() || text.front() == '0')
        return wrong("the port must be between 1 and 65535");
    address.port = text;
    return address;
}

// One label against one label, in time bounded by the product of their lengths.
bool matches_label(std::string_view pattern, std::string_view label) {
    std::size_t p = 0;
    std::size_t at = 0;
    std::size_t star = std::string_view::npos;
    std::size_t behind_star = 0;
    while (at < label.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            behind_star = at;
        } else if (p < pattern.size() && to_lower(pattern[p]) == to_lower(label[at])) {
            ++p;
            ++at;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            at = ++behind_star;
        } else {
            return false;
        }
    }
    return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

bool matches_host(std::string_view pattern, std::string_view host) {
    if (is_ipv6(pattern) || is_ipv6(host))
        return is_ipv6(pattern) && is_ipv6(host) && canonical_ipv6(pattern) == canonical_ipv6(host);
    const auto wanted = labels_of(pattern);
    const auto given = labels_of(host);
    return std::ranges::equal(wanted, given, matches_label);
}

}  // namespace

result<ServerAddress> parse_server_address(std::string_view text) {
    return parse(text, false);
}

result<void> check_address_pattern(std::string_view pattern) {
    KEYSHEPHERD_TRY([[maybe_unused]] const auto parsed, parse(pattern, true));
    return {};
}

bool matches_address(std::string_view pattern, std::string_view address) {
    const auto wanted = parse(pattern, true);
    const auto given = parse(address, false);
    return wanted && given && wanted->tls == given->tls && wanted->port == given->port &&
           matches_host(wanted->host, given->host);
}

bool matches_address(std::span<const std::string> patterns, std::string_view address) {
    return std::ranges::any_of(patterns,
                               [&](const std::string& pattern) { return matches_address(pattern, address); });
}

std::string tenant_reach(std::string_view pattern) {
    const auto parsed = parse(pattern, true);
    if (!parsed || is_ipv6(parsed->host) || parsed->host == "localhost") return "";
    const auto labels = labels_of(parsed->host);
    const auto has_star = [](std::string_view label) { return label.contains('*'); };
    const auto is_number = [](std::string_view label) {
        return label.find_first_not_of("0123456789*") == std::string_view::npos;
    };
    if (labels.size() == 4 && std::ranges::all_of(labels, is_number))
        return std::ranges::any_of(labels, has_star) ? "a tenant's Service or pod can have an IP address "
                                                       "that the pattern matches; use an exact address"
                                                     : "";
    // A pod's search list begins with its own namespace: `vault` is a Service there, and `vault.web` a pod of
    // the headless Service `web`.
    if (labels.size() <= 2)
        return "pods resolve the name in their own namespace first, where a tenant can create a Service of "
               "that name; use a name of at least three labels, such as https://vault.vault.svc:8200";
    if (has_star(labels.back()))
        return "the * in the last label matches hosts of every domain; write the domain out";
    // <service>.<namespace>.svc, <host name>.<service>.<namespace>.svc and <address>.<namespace>.pod, with
    // the cluster's domain behind them or not.
    for (std::size_t i = 2; i < labels.size(); ++i)
        if ((matches_label(labels[i], "svc") || matches_label(labels[i], "pod")) && has_star(labels[i - 1]))
            return "the * in place of the namespace matches Services of every tenant; write the namespace "
                   "out, as in https://*.vault.svc:8200";
    return "";
}

}  // namespace keyshepherd
