// What an agent's configuration on an injected pod template says.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace keyshepherd::inject {

// The Vault path that each provider's variables are rendered from, by the provider's name. `agent_config` is
// the value of the annotation keyshepherd.dev/agent-config. Empty for the wirings file and secret, whose
// variables are in no env file, and for text that is no such configuration. Linear in the size of the text.
std::map<std::string, std::string> provider_paths(std::string_view agent_config);

}  // namespace keyshepherd::inject
