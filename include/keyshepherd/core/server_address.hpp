// Addresses of HTTP servers, and the patterns by which an installation allows them. This is the only matcher:
// --vault-address, --allowed-vault-address and --probe-host all mean the same by a pattern. Pure; any thread.
//
// An address is http:// or https://, a host and at most a port: no user, path, query or fragment. A pattern
// is an address whose host may hold `*`. A `*` stands for any run of letters, digits, `-` and `_` within one
// DNS label, also for none; it never stands for a `.`, `:` or `/`. So https://*.example:8200 allows
// https://eu.example:8200, and neither https://a.eu.example:8200 nor http://eu.example:8200. Hosts are
// compared without regard to case (RFC 4343), an absent port is the scheme's (RFC 9110, section 4.2), and an
// IPv6 address equals every other spelling of it (RFC 5952).
#pragma once

#include <keyshepherd/core/result.hpp>

#include <span>
#include <string>
#include <string_view>

namespace keyshepherd {

struct ServerAddress {
    bool tls = true;
    std::string host;  // as it was spelled; an IPv6 address without its brackets
    std::string port;  // "8200"; the scheme's where none was given
};

// A slash may end `text`. Errc::invalid says what is wrong, and does not repeat `text`: it may hold a
// password.
result<ServerAddress> parse_server_address(std::string_view text);

// Errc::invalid when `pattern` is no pattern. What is no pattern matches nothing.
result<void> check_address_pattern(std::string_view pattern);

// Whether the pattern allows the address. False for what is no address.
bool matches_address(std::string_view pattern, std::string_view address);
bool matches_address(std::span<const std::string> patterns, std::string_view address);

// Why a Service or pod that a tenant may create could have an address that `pattern` allows, and what to
// write instead; "": none could. Goes by the names of Kubernetes' DNS
// (https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/).
std::string tenant_reach(std::string_view pattern);

}  // namespace keyshepherd
