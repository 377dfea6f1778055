// Places between two effects where a process can die. Built in only with KEYSHEPHERD_FAILPOINTS; there the
// environment variable KEYSHEPHERD_FAILPOINT=<name>[:<n>] kills the process when it comes by for the n-th
// time.
#pragma once

#include <string_view>

namespace keyshepherd {

#ifdef KEYSHEPHERD_FAILPOINTS
void failpoint(std::string_view name);
#else
inline void failpoint(std::string_view) {}
#endif

}  // namespace keyshepherd
