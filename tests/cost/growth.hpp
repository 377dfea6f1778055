// Holds the cost of some work against the size of its input.
#pragma once

#include "steps.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string_view>

namespace keyshepherd::cost {

// `prepare(n)` makes an input of size n and gives the work on it; only the work is counted. Expects that four
// times the input takes no more than six times the steps: a sort takes five, work on every pair sixteen.
inline void expect_linear(std::string_view what, std::size_t n,
                          const std::function<std::function<void()>(std::size_t)>& prepare) {
    const auto steps = [&](std::size_t size) {
        const std::function<void()> work = prepare(size);
        return steps_of(work);
    };
    const std::uint64_t small = steps(n), large = steps(4 * n);
    EXPECT_GT(small, n) << what << ": nothing was counted";
    EXPECT_LT(static_cast<double>(large), 6.0 * static_cast<double>(small))
        << what << ": " << small << " steps for " << n << ", " << large << " for " << 4 * n;
}

}  // namespace keyshepherd::cost
