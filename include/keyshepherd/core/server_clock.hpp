// The clock of a server, as its answers show it: times that a server wrote are compared with its own clock,
// never with the clock of this machine. Pure: the caller tells the time of a steady clock. For one thread.
#pragma once

#include <chrono>
#include <cstdint>

namespace keyshepherd {

class ServerClock {
public:
    using Steady = std::chrono::steady_clock::time_point;

    // An answer that arrived at `arrival` says that it is `seconds` since 1970; 0 and less are ignored.
    void set(std::int64_t seconds, Steady arrival) {
        if (seconds <= 0) return;
        seconds_ = seconds;
        arrival_ = arrival;
    }
    // Seconds since 1970 on the server's clock; 0 before the first answer. It is late by the time that the
    // answer took, and by up to a second, since servers leave fractions out.
    std::int64_t at(Steady now) const {
        if (seconds_ == 0) return 0;
        return seconds_ + std::chrono::floor<std::chrono::seconds>(now - arrival_).count();
    }

private:
    std::int64_t seconds_ = 0;
    Steady arrival_{};
};

}  // namespace keyshepherd
