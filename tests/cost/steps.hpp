// Counts what a function does, so that a test can say how its cost grows without a clock.
//
// The pure modules are compiled once more with a call at every edge of their control flow
// (-fsanitize-coverage=trace-pc, https://clang.llvm.org/docs/SanitizerCoverage.html): every turn of every
// loop counts, in their own code and in what the compiler instantiates there. Libraries that are not compiled
// anew are seen by the bytes that they move, clear and compare: memcpy, memmove, memset and memcmp count too.
#pragma once

#include <cstdint>
#include <functional>

namespace keyshepherd::cost {

// How many steps `work` takes; nearly the same in every run.
std::uint64_t steps_of(const std::function<void()>& work);

}  // namespace keyshepherd::cost
