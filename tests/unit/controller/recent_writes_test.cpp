#include "recent_writes.hpp"

#include <gtest/gtest.h>

namespace keyshepherd::controller {
namespace {

using namespace std::chrono_literals;

const Key policy{resources::find_kind("VaultPolicy"), "ai", "p"};
const Key other{resources::find_kind("VaultPolicy"), "ai", "q"};
const net::Deadline start{1h};

TEST(RecentWrites, DoubtTheStateBeforeAWriteUntilItHasSettled) {
    RecentWrites writes;
    EXPECT_EQ(writes.doubt(policy, "before", start), std::nullopt) << "nothing was written";
    writes.wrote(policy, "before", start);
    EXPECT_EQ(writes.doubt(policy, "before", start + 3s), 2s);
    EXPECT_EQ(writes.doubt(other, "before", start + 3s), std::nullopt);
    EXPECT_EQ(writes.doubt(policy, "before", start + RecentWrites::settles_in), std::nullopt)
        << "it is drift then";
}

TEST(RecentWrites, BelieveAThirdState) {
    RecentWrites writes;
    writes.wrote(policy, "before", start);
    EXPECT_EQ(writes.doubt(policy, "by hand", start + 1s), std::nullopt);
    EXPECT_EQ(writes.doubt(policy, "written", start + 1s), std::nullopt);
}

TEST(RecentWrites, DoubtAnAbsentObjectThatWasJustMade) {
    RecentWrites writes;
    writes.wrote(policy, "", start);
    EXPECT_EQ(writes.doubt(policy, "", start + 1s), 4s);
    writes.wrote(policy, "made", start + 2s);
    EXPECT_EQ(writes.doubt(policy, "", start + 3s), std::nullopt) << "only the state before the last write";
    EXPECT_EQ(writes.doubt(policy, "made", start + 3s), 4s);
}

TEST(RecentWrites, KeepOnlyThoseOfTheLastMoments) {
    RecentWrites writes;
    for (std::size_t i = 0; i < 4 * RecentWrites::fewest; ++i)
        writes.wrote({policy.kind, "ai", std::to_string(i)}, "", start + i * 10ms);
    EXPECT_LE(writes.size(), 2 * RecentWrites::fewest);
}

}  // namespace
}  // namespace keyshepherd::controller
