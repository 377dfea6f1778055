#include <keyshepherd/fsm/backoff.hpp>

#include <algorithm>

namespace keyshepherd::fsm {

namespace {

// floor * 2^attempt, without overflow.
Duration power(Backoff backoff, unsigned attempt, Duration cap) {
    Duration delay = std::min(backoff.floor, cap);
    for (; attempt > 0 && delay < cap; --attempt) delay = delay > cap / 2 ? cap : delay * 2;
    return delay;
}

Duration share(Duration of, double unit) {
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double, Duration::period>(of) *
                                                std::clamp(unit, 0.0, 1.0));
}

}  // namespace

Duration full_jitter(Backoff backoff, unsigned attempt, double unit) {
    const Duration floor = std::min(backoff.floor, backoff.cap);
    return floor + share(power(backoff, attempt, backoff.cap) - floor, unit);
}

Duration doubled(Backoff backoff, unsigned attempt, double unit) {
    const Duration base = power(backoff, attempt, backoff.cap / 2);
    return base + share(base, unit);
}

}  // namespace keyshepherd::fsm
