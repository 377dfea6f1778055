// Base64 with padding: RFC 4648, section 4.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace keyshepherd {

std::string encode_base64(std::string_view bytes);
void append_base64(std::string& out, std::string_view bytes);

// The bytes that `text` encodes, or nullopt. Reads as Go's base64.StdEncoding does, which Kubernetes and
// Vault use: padding is required, and line breaks may stand anywhere. The text may be a secret: no copy of it
// remains but the result.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace keyshepherd
