// Waiting times between attempts. Randomness is a parameter: `unit` is uniform in [0, 1).
#pragma once

#include <chrono>

namespace keyshepherd::fsm {

using Duration = std::chrono::nanoseconds;
// Of a clock that never jumps. Who holds a machine asks the clock; a machine is only told.
using Instant = std::chrono::time_point<std::chrono::steady_clock, Duration>;

struct Backoff {
    Duration floor = std::chrono::seconds(1);
    Duration cap = std::chrono::minutes(5);
};

// Full jitter above the floor: uniform in [floor, min(cap, floor * 2^attempt)]; attempt 0 is the floor
// itself.
Duration full_jitter(Backoff backoff, unsigned attempt, double unit);

// Doubling with as much again at random: at least floor * 2^attempt, and never more than the cap.
Duration doubled(Backoff backoff, unsigned attempt, double unit);

}  // namespace keyshepherd::fsm
