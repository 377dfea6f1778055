// When a call may go, and whether: pure, time comes in.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <numeric>

namespace keyshepherd::vault {

using Time = std::chrono::steady_clock::time_point;
using Span = std::chrono::steady_clock::duration;

// What happened within the last second, to a tenth: in constant room, however much it is.
class LastSecond {
public:
    void add(Time now) {
        roll(now);
        ++tenths_[index(tick_)];
    }
    int count(Time now) {
        roll(now);
        return std::accumulate(tenths_.begin(), tenths_.end(), 0);
    }

private:
    static std::size_t index(std::int64_t tick) { return static_cast<std::size_t>(tick) % 10; }
    void roll(Time now) {
        const std::int64_t tick = now.time_since_epoch() / std::chrono::milliseconds(100);
        if (tick - tick_ >= 10)
            tenths_.fill(0);
        else
            for (std::int64_t passed = tick_ + 1; passed <= tick; ++passed) tenths_[index(passed)] = 0;
        tick_ = std::max(tick_, tick);
    }

    std::array<int, 10> tenths_{};
    std::int64_t tick_ = 0;
};

// So many a second, evenly, with a few at once after a pause. After a refusal (429) of the server's nothing
// at all until it wants to be asked again, and then a little less than it answered in the second before: what
// a quota lets through is learned at once. From there slowly more, so that the next refusal is some forty
// calls and five seconds away; faster where nothing was refused before.
class Pace {
public:
    // When a call may go; void once something was refused meanwhile.
    struct Turn {
        Time at;
        unsigned epoch;
    };

    Pace(double per_second, int burst)
        : full_(per_second), rate_(per_second), burst_(std::max(burst - 1, 0)) {}

    // When the next one would go.
    Time next(Time now) const { return std::max(next_, now - every() * (slowed() ? 0 : burst_)); }
    Turn take(Time now) {
        const Time at = next(now);
        next_ = at + every();
        return {at, epoch_};
    }
    bool stands(const Turn& turn) const { return turn.epoch == epoch_; }
    bool slowed() const { return rate_ < full_; }

    // The answer to what was sent at `sent`. `wait` is what the server asks for; 0: it does not say. What
    // went out before the last refusal was heard says nothing new.
    void refused(Time now, Time sent, Span wait) {
        if (sent < refused_at_) return;
        refused_at_ = now;
        ++epoch_;
        // A quota counts by the second or longer. Refused again with nothing answered between: longer.
        const Span pause = std::min<Span>(shortest_pause * (1 << std::min(misses_, 4)), longest_pause);
        next_ = now + (wait > Span{0} ? wait : pause);
        if (misses_++ > 0) return;
        const int count = last_second_.count(now);
        // Of fewer nothing is learned: others may have used up the quota before our first call of the second.
        const bool learned = count >= 3;
        ceiling_ = learned ? std::min<double>(rate_, count) : rate_;
        rate_ = std::max(learned ? 0.9 * ceiling_ : rate_ / 8, std::min(1.0, full_));
    }
    void answered(Time now) {
        last_second_.add(now);
        misses_ = 0;
        if (slowed()) {
            const double passed = std::chrono::duration<double>(now - answered_at_).count();
            const double growth = std::min(1.0 / 400, passed / 50) * (rate_ > 1.2 * ceiling_ ? 5 : 1);
            rate_ = std::min(full_, rate_ * (1 + growth));
        }
        answered_at_ = now;
    }

private:
    static constexpr std::chrono::seconds shortest_pause{1};
    static constexpr std::chrono::seconds longest_pause{10};
    Span every() const {
        return std::chrono::duration_cast<Span>(std::chrono::duration<double>(1.0 / rate_));
    }

    double full_;         // a second
    double rate_;         // the same, of now
    double ceiling_ = 0;  // what was refused the last time
    int burst_;
    int misses_ = 0;
    unsigned epoch_ = 0;
    LastSecond last_second_;  // of answers
    Time next_{};
    Time refused_at_{};
    Time answered_at_{};
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
    // As failed(), for an attempt that must not follow sooner than `wait`, and later ones no sooner than four
    // times that.
    void refused(Time now, Span wait) {
        not_before_ = now + (refusals_++ == 0 ? wait : 4 * wait);
        ++failures_;
    }
    void succeeded(Time now) {
        failures_ = 0;
        refusals_ = 0;
        not_before_ = now + first_;
    }
    int failures() const { return failures_; }
    Time not_before() const { return not_before_; }

private:
    static constexpr std::chrono::minutes longest{1};
    Span first_;
    int failures_ = 0;
    int refusals_ = 0;  // since the last success
    Time not_before_{};
};

}  // namespace keyshepherd::vault
