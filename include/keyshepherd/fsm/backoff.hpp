// Delays between attempts. The caller passes the random number `unit`, uniform in [0, 1).
#pragma once

#include <chrono>

namespace keyshepherd::fsm {

using Duration = std::chrono::nanoseconds;
// A time of the steady clock. State machines receive it as a parameter and never read the clock.
using Instant = std::chrono::time_point<std::chrono::steady_clock, Duration>;

struct Backoff {
    Duration floor = std::chrono::seconds(1);
    Duration cap = std::chrono::minutes(5);
};

// Full jitter above the floor: uniform in [floor, min(cap, floor * 2^attempt)]; attempt 0 is the floor
// itself.
Duration full_jitter(Backoff backoff, unsigned attempt, double unit);

// Doubles, and adds up to the same amount at random: at least floor * 2^attempt, and never more than the cap.
Duration doubled(Backoff backoff, unsigned attempt, double unit);

}  // namespace keyshepherd::fsm
