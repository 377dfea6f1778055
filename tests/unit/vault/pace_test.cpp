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
