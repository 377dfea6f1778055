#include "pace.hpp"

#include <gtest/gtest.h>

namespace keyshepherd::vault {
namespace {

using namespace std::chrono_literals;

const Time start{1h};

TEST(Pace, LetsABurstGoAndThenSoManyASecond) {
    Pace pace(10, 3);
    for (const auto at : {0ms, 0ms, 0ms, 100ms, 200ms, 300ms}) {
        EXPECT_EQ(std::max(pace.next(start), start) - start, at);
        pace.take(start);
    }
    // A pause gives back the burst, and no more.
    for (const auto at : {0ms, 0ms, 0ms, 100ms}) {
        EXPECT_EQ(std::max(pace.next(start + 1h), start + 1h) - start - 1h, at);
        pace.take(start + 1h);
    }
}

// Calls as soon as the pace lets them go, against a server that takes `quota` in each second by the clock.
struct Outcome {
    int answered = 0, refused = 0;
    Time ended;
};
Outcome run(Pace& pace, int calls, int quota, Time now) {
    Outcome outcome;
    std::int64_t second = -1;
    int taken = 0;
    while (outcome.answered < calls) {
        now = std::max(now, pace.take(now).at);
        if (const auto of = now.time_since_epoch() / 1s; of != second) {
            second = of;
            taken = 0;
        }
        if (++taken > quota) {
            ++outcome.refused;
            pace.refused(now + 1ms, now, 0ms);
        } else {
            ++outcome.answered;
            pace.answered(now + 1ms);
        }
    }
    outcome.ended = now;
    return outcome;
}

TEST(Pace, LearnsAQuotaFromItsFirstRefusal) {
    for (const int quota : {3, 8, 50, 400})
        for (const auto offset : {0ms, 300ms, 700ms, 950ms}) {
            Pace pace(1000, 16);
            const int calls = quota * 20;
            const Outcome outcome = run(pace, calls, quota, start + offset);
            EXPECT_LE(outcome.refused, 3 + calls / 20) << quota << " a second";
            const double seconds = std::chrono::duration<double>(outcome.ended - start).count();
            EXPECT_LT(seconds, 20 * 1.6) << quota << " a second: what the quota lets through is used";
        }
}

TEST(Pace, KeepsStillAfterARefusalAndAsLongAsItIsTold) {
    Pace pace(100, 10);
    for (int i = 0; i < 8; ++i) pace.answered(start);
    pace.take(start);
    const Pace::Turn waiting = pace.take(start);
    pace.refused(start + 5ms, start, 0ms);
    EXPECT_FALSE(pace.stands(waiting)) << "nobody goes on a turn from before";
    EXPECT_EQ(pace.next(start + 5ms) - start, 1005ms);
    const Time then = start + 1005ms;
    EXPECT_TRUE(pace.stands(pace.take(then)));
    // 8 were answered in the second before.
    EXPECT_NEAR(std::chrono::duration<double>(pace.next(then) - then).count(), 1 / (0.9 * 8), 1e-6);
    pace.answered(then);
    pace.refused(then + 1s, then + 1s, 7s);
    EXPECT_EQ(pace.next(then + 1s) - then, 8s) << "Retry-After";
}

TEST(Pace, TakesRefusalsOfWhatWasUnderWayForOne) {
    Pace one(100, 10);
    Pace many(100, 10);
    for (Pace* pace : {&one, &many})
        for (int i = 0; i < 20; ++i) pace->answered(start);
    one.refused(start + 5ms, start, 0ms);
    for (int i = 0; i < 8; ++i) many.refused(start + 5ms + i * 1ms, start + i * 100us, 0ms);
    EXPECT_EQ(one.next(start + 50ms), many.next(start + 50ms));
    one.take(start + 2s);
    many.take(start + 2s);
    EXPECT_EQ(one.next(start + 2s), many.next(start + 2s));
}

TEST(Pace, WaitsLongerWhenNothingIsAnsweredBetween) {
    Pace pace(100, 10);
    Time now = start;
    for (const auto pause : {1s, 2s, 4s, 8s, 10s, 10s, 10s}) {
        pace.refused(now, now, 0ms);
        EXPECT_EQ(pace.next(now) - now, pause);
        now = pace.next(now);
    }
    pace.take(now);
    EXPECT_LE(pace.next(now) - now, 1s) << "never slower than once a second";
}

TEST(Pace, IsAsBeforeWithinAMinuteOrTwoOfAQuotasEnd) {
    Pace pace(1000, 16);
    const Outcome limited = run(pace, 100, 8, start);
    EXPECT_TRUE(pace.slowed());
    Time now = limited.ended;
    while (pace.slowed() && now < limited.ended + 1h) {
        now = std::max(now, pace.take(now).at);
        pace.answered(now);
    }
    EXPECT_LT(now - limited.ended, 100s);
    EXPECT_EQ(std::max(pace.next(now + 1h), now + 1h), now + 1h);
}

TEST(Breaker, OpensAfterFailuresInARow) {
    using enum Breaker::Verdict;
    Breaker breaker(3, 5s);
    breaker.failed(start);
    breaker.failed(start);
    breaker.succeeded();
    breaker.failed(start);
    breaker.failed(start);
    EXPECT_EQ(breaker.ask(start), pass);
    breaker.failed(start);
    EXPECT_EQ(breaker.ask(start), refuse);
    EXPECT_EQ(breaker.ask(start + 4s), refuse);
    EXPECT_EQ(breaker.ask(start + 5s), probe);
    EXPECT_EQ(breaker.ask(start + 5s), refuse);  // one at a time
    breaker.failed(start + 6s);
    EXPECT_EQ(breaker.ask(start + 9s), refuse);
    EXPECT_EQ(breaker.ask(start + 10s), probe);
    breaker.succeeded();
    EXPECT_EQ(breaker.ask(start + 10s), pass);
    EXPECT_FALSE(breaker.open());
}

TEST(Backoff, DoublesUpToAMinute) {
    Backoff backoff(1s);
    for (const auto wait : {1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s}) {
        backoff.failed(start);
        EXPECT_EQ(backoff.not_before() - start, wait);
    }
    backoff.succeeded(start);
    EXPECT_EQ(backoff.not_before() - start, 1s);
    backoff.failed(start);
    EXPECT_EQ(backoff.not_before() - start, 1s);
}

}  // namespace
}  // namespace keyshepherd::vault
