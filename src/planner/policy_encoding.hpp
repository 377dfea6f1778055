// The base64 that Vault accepts in place of a policy's text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace keyshepherd::planner {

// What `text` decodes to as Go's base64.StdEncoding reads it: with padding, and with line breaks anywhere;
// nullopt when it is not base64. Vault decodes a policy once if it is (https://github.com/openbao/openbao,
// http/sys policies: handlePoliciesSet).
std::optional<std::string> decoded_base64(std::string_view text);

// `text` in the form of which Vault stores `text`: text that happens to be base64 is encoded once more.
std::string for_vault(const std::string& text);

}  // namespace keyshepherd::planner
