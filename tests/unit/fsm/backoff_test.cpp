#include <keyshepherd/fsm/backoff.hpp>

#include <gtest/gtest.h>

namespace keyshepherd::fsm {
namespace {

using namespace std::chrono_literals;

TEST(Backoff, FullJitterLiesBetweenTheFloorAndTheDoubledFloor) {
    const Backoff backoff{1s, 300s};
    EXPECT_EQ(full_jitter(backoff, 0, 0.99), 1s);
    EXPECT_EQ(full_jitter(backoff, 3, 0.0), 1s);
    EXPECT_EQ(full_jitter(backoff, 3, 0.5), 4500ms);
    EXPECT_EQ(full_jitter(backoff, 3, 1.0), 8s);
    EXPECT_EQ(full_jitter(backoff, 9, 1.0), 300s);
    EXPECT_EQ(full_jitter(backoff, 4'000'000'000U, 1.0), 300s);
}

TEST(Backoff, DoubledNeverPassesTheCapNorFallsBelowTheFloor) {
    const Backoff backoff{800ms, 30s};
    EXPECT_EQ(doubled(backoff, 0, 0.0), 800ms);
    EXPECT_EQ(doubled(backoff, 0, 1.0), 1600ms);
    EXPECT_EQ(doubled(backoff, 1, 0.0), 1600ms);
    EXPECT_EQ(doubled(backoff, 100, 0.0), 15s);
    EXPECT_EQ(doubled(backoff, 100, 1.0), 30s);
    for (unsigned attempt = 0; attempt < 50; ++attempt) {
        EXPECT_GE(doubled(backoff, attempt, 0.0), backoff.floor);
        EXPECT_LE(doubled(backoff, attempt, 1.0), backoff.cap);
    }
}

TEST(Backoff, AFloorAboveTheCapIsTheCap) {
    EXPECT_EQ(full_jitter({10s, 4s}, 5, 0.7), 4s);
    EXPECT_LE(doubled({10s, 4s}, 5, 1.0), 4s);
}

}  // namespace
}  // namespace keyshepherd::fsm
