#include "rollout_schedule.hpp"

#include <gtest/gtest.h>

namespace keyshepherd::controller {
namespace {

using namespace std::chrono_literals;

const RolloutSchedule::Time now{1000s};

TEST(RolloutSchedule, SpreadsTheWorkloadsOverTheWholeTime) {
    for (const double unit : {0.0, 0.5, 0.999}) {
        RolloutSchedule schedule;
        schedule.want({"a", "b", "c", "d"}, now, 20s, [&] { return unit; });
        EXPECT_EQ(schedule.next(), now) << "the first at once";
        for (std::size_t i = 0; i < 4; ++i) {
            const auto share = static_cast<int>(i) * 5s;
            EXPECT_EQ(schedule.due(now + share + 2500ms).size(), i + 1);
            EXPECT_LE(schedule.due(now + share - 1ms).size(), i);
        }
    }
}

TEST(RolloutSchedule, KeepsATurnOnceItIsGiven) {
    RolloutSchedule schedule;
    schedule.want({"a", "b"}, now, 10s, [] { return 0.0; });
    schedule.want({"a", "b", "c"}, now + 1s, 10s, [] { return 0.0; });
    EXPECT_EQ(schedule.due(now), std::vector<std::string>{"a"});
    EXPECT_EQ(schedule.due(now + 1s), (std::vector<std::string>{"a", "c"}));
    EXPECT_EQ(schedule.due(now + 5s), (std::vector<std::string>{"a", "c", "b"}));
}

TEST(RolloutSchedule, ForgetsWhoHasBeenRolled) {
    RolloutSchedule schedule;
    schedule.want({"a", "b"}, now, 10s, [] { return 0.0; });
    schedule.want({"b"}, now, 10s, [] { return 0.0; });
    EXPECT_EQ(schedule.next(), now + 5s);
    schedule.want({"a", "b"}, now + 1s, 10s, [] { return 0.0; });
    EXPECT_EQ(schedule.next(), now + 1s) << "another version: another turn";
    schedule.put_off("a", now + 60s);
    EXPECT_EQ(schedule.next(), now + 5s);
    schedule.want({}, now, 10s, [] { return 0.0; });
    EXPECT_EQ(schedule.next(), std::nullopt);
}

TEST(RolloutSchedule, TakesNoTimeAtAllWhereNoneIsGiven) {
    RolloutSchedule schedule;
    schedule.want({"a", "b", "c"}, now, 0ms, [] { return 0.9; });
    EXPECT_EQ(schedule.due(now).size(), 3U);
}

}  // namespace
}  // namespace keyshepherd::controller
