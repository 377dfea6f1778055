// When a call may go, and whether: pure, time comes in.
#pragma once

#include <algorithm>
#include <chrono>

namespace keyshepherd::vault {

using Time = std::chrono::steady_clock::time_point;
using Span = std::chrono::steady_clock::duration;

// So many a second, evenly, with a few at once after a pause.
class Pace {
public:
    Pace(double per_second, int burst)
        : every_(std::chrono::duration_cast<Span>(std::chrono::duration<double>(1.0 / per_second))),
          burst_(every_ * std::max(burst - 1, 0)) {}

    // When the next one would go.
    Time next(Time now) const { return std::max(next_, now - burst_); }
    void take(Time now) { next_ = next(now) + every_; }

private:
    Span every_;
    Span burst_;
    Time next_{};
};

// Spares a server that is away. Closed: everything passes. Open, after so many failures with no success
// between them: one probe an interval, until one succeeds.
class Breaker {
public:
    enum class Verdict { pass, probe, refuse };

    Breaker(int failures, Span interval) : limit_(std::max(failures, 1)), interval_(interval) {}

    Verdict ask(Time now) {
        if (!open()) return Verdict::pass;
        if (now < probe_at_) return Verdict::refuse;
        probe_at_ = now + interval_;
        return Verdict::probe;
    }
    void succeeded() { failures_ = 0; }
    void failed(Time now) {
        if (++failures_ == limit_) probe_at_ = now + interval_;
    }
    bool open() const { return failures_ >= limit_; }
    Time probe_at() const { return probe_at_; }

private:
    int limit_;
    Span interval_;
    int failures_ = 0;
    Time probe_at_{};
};

// Between attempts: `first`, twice that after the second failure in a row, at most a minute.
class Backoff {
public:
    explicit Backoff(Span first) : first_(first) {}

    void failed(Time now) {
        Span wait = first_;
        for (int i = 0; i < failures_ && wait < longest; ++i) wait *= 2;
        not_before_ = now + std::min<Span>(wait, std::max<Span>(longest, first_));
        ++failures_;
    }
    void succeeded(Time now) {
        failures_ = 0;
        not_before_ = now + first_;
    }
    int failures() const { return failures_; }
    Time not_before() const { return not_before_; }

private:
    static constexpr std::chrono::minutes longest{1};
    Span first_;
    int failures_ = 0;
    Time not_before_{};
};

}  // namespace keyshepherd::vault
