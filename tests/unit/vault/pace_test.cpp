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

TEST(Pace, HalvesWhenRefusedAndComesBackSlowly) {
    Pace pace(100, 10);
    pace.refused(start, 0ms);
    EXPECT_EQ(pace.next(start) - start, 20ms);
    pace.refused(start + 5ms, 0ms);  // an answer to what went out before
    pace.take(start + 20ms);
    EXPECT_EQ(pace.next(start + 20ms) - start, 40ms) << "no burst while the server is short of breath";
    pace.refused(start + 50ms, 2s);
    EXPECT_EQ(pace.next(start + 50ms) - start, 2050ms);
    for (int i = 0; i < 20; ++i) pace.refused(start + 10s * (i + 1), 0ms);
    pace.take(start + 1h);
    EXPECT_EQ(pace.next(start + 1h) - start - 1h, 1s) << "never slower than once a second";
    for (int i = 0; i < 1'000; ++i) pace.answered();
    pace.take(start + 2h);
    EXPECT_EQ(std::max(pace.next(start + 2h), start + 2h), start + 2h) << "and as before in the end";
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
