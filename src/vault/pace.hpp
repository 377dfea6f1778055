// When a call may go, and whether: pure, time comes in.
#pragma once

#include <algorithm>
#include <chrono>

namespace keyshepherd::vault {

using Time = std::chrono::steady_clock::time_point;
using Span = std::chrono::steady_clock::duration;

// So many a second, evenly, with a few at once after a pause. Half as many after each refusal (429) of the
// server's, with nothing at all until it wants to be asked again; then slowly as many as before.
class Pace {
public:
    Pace(double per_second, int burst)
        : full_(span(1.0 / per_second)), every_(full_), burst_(std::max(burst - 1, 0)) {}

    // When the next one would go.
    Time next(Time now) const { return std::max(next_, now - every_ * (slowed() ? 0 : burst_)); }
    void take(Time now) { next_ = next(now) + every_; }

    // Several refusals of what went before the first count as one.
    void refused(Time now, Span wait) {
        if (now < deaf_until_) return;
        every_ = std::min<Span>(every_ * 2, std::max<Span>(slowest, full_));
        deaf_until_ = now + std::max<Span>(wait, every_);
        next_ = std::max(next_, deaf_until_);
    }
    void answered() {
        if (slowed()) every_ = std::max<Span>(full_, every_ - every_ / 50);
    }

private:
    static constexpr std::chrono::seconds slowest{1};
    static Span span(double seconds) {
        return std::chrono::duration_cast<Span>(std::chrono::duration<double>(seconds));
    }
    bool slowed() const { return every_ > full_; }

    Span full_;
    Span every_;
    int burst_;
    Time next_{};
    Time deaf_until_{};
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
