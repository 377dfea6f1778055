// Failpoints: places between two effects where tests kill the process. Only builds with
// KEYSHEPHERD_FAILPOINTS contain them. The environment variable KEYSHEPHERD_FAILPOINT=<name>[:<n>] kills the
// process at the n-th pass.
#pragma once

#include <string_view>

namespace keyshepherd {

#ifdef KEYSHEPHERD_FAILPOINTS
void failpoint(std::string_view name);
#else
inline void failpoint(std::string_view) {}
#endif

}  // namespace keyshepherd
