#include <keyshepherd/fsm/resync.hpp>

#include <gtest/gtest.h>

namespace keyshepherd::fsm {
namespace {

using namespace std::chrono_literals;

TEST(Resync, ALookAtVaultIsFollowedByTheNextWithinThePeriod) {
    EXPECT_EQ(next_look(300s, 0), 240s);
    EXPECT_EQ(next_look(300s, 0.5), 270s);
    EXPECT_LE(next_look(300s, 0.999), 300s);
}

// A change right after a snapshot was asked for is missed by the look that it answers, and must be seen by
// the next, however old the snapshot was.
TEST(Resync, TheAgeOfASnapshotIsTakenFromTheWait) {
    for (const Duration period : {Duration(1s), Duration(2s), Duration(300s), Duration(24h)}) {
        for (const double share : {0.0, 0.3, 1.0}) {
            const Duration age(static_cast<Duration::rep>(share * double(oldest_answer(period).count())));
            for (const double unit : {0.0, 0.5, 0.999999}) {
                const Duration wait = next_look(period, age, unit);
                EXPECT_LE(age + wait, period);
                EXPECT_GE(age + wait, period * 9 / 10) << "no more looks than needed";
            }
        }
    }
}

// What we have written ourselves is in every snapshot that the next look may be answered from.
TEST(Resync, ASnapshotIsYoungerThanTheLookBefore) {
    for (const Duration period : {Duration(1s), Duration(300s), Duration(24h)}) {
        EXPECT_LT(oldest_answer(period), next_look(period, 0));
        EXPECT_LT(oldest_answer(period), next_look(period, oldest_answer(period), 0.999999));
    }
}

// Those who shared a snapshot, however far apart, are close enough to share the next.
TEST(Resync, WhoeverSharesASnapshotSharesTheNext) {
    const Duration period = 300s;
    Duration first = period, last{0};
    for (const double share : {0.0, 0.5, 1.0})
        for (const double unit : {0.0, 0.999999}) {
            const Duration age(static_cast<Duration::rep>(share * double(oldest_answer(period).count())));
            const Duration since_asked = age + next_look(period, age, unit);
            first = std::min(first, since_asked);
            last = std::max(last, since_asked);
        }
    EXPECT_LT(last - first, oldest_answer(period));
    EXPECT_LE(next_look(period, 0.999999) - next_look(period, 0), oldest_answer(period))
        << "nor the first time";
}

}  // namespace
}  // namespace keyshepherd::fsm
