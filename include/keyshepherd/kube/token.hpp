// The audiences of ServiceAccount tokens.
#pragma once

#include <keyshepherd/kube/config.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::kube {

// The claim `aud` of a JWT (RFC 7519, section 4.1.3), whose signature is not checked; empty for what is no
// JWT.
std::vector<std::string> token_audiences(std::string_view jwt);

// The audiences for which the API server takes tokens, as far as our own token tells: one that was asked for
// without an audience is for all of them (--api-audiences of kube-apiserver). Reads the token's file. Empty
// where we have no token.
std::vector<std::string> api_server_audiences(const Config& config);

}  // namespace keyshepherd::kube
