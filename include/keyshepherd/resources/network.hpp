// Networks and addresses as Vault's fields take them: 10.0.0.0/8, 10.0.0.1, fd00:10::/64.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace keyshepherd::resources {

// The one spelling of a network: the address without its host bits, in the text form of RFC 5952, with the
// prefix length. An IPv4-mapped IPv6 network (RFC 4291, section 2.5.5.2) is the IPv4 network, as in Vault. A
// single address has no prefix length, unless `keep_host_prefix`: Vault takes the networks of secret-ids only
// with one. nullopt: `text` is neither a network nor an address.
std::optional<std::string> canonical_network(std::string_view text, bool keep_host_prefix = false);

}  // namespace keyshepherd::resources
