// What the Vault or OpenBao agent last complained about, in one line.
#pragma once

#include <string>
#include <string_view>

namespace keyshepherd::launcher {

// `tail` is the end of the agent's log, `from_start` whether it is all of it. Takes the last entry of level
// warn or error that says more than that the agent tries again, else the last entry; empty when there is
// none.
std::string last_words(std::string_view tail, bool from_start);

}  // namespace keyshepherd::launcher
