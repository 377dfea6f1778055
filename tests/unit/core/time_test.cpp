#include <keyshepherd/core/server_clock.hpp>
#include <keyshepherd/core/time.hpp>

#include <gtest/gtest.h>

namespace keyshepherd {
namespace {

constexpr std::int64_t noon = 1'795'608'000;

TEST(Time, IsReadInEveryZone) {
    for (const char* same :
         {"2026-11-25T12:00:00Z", "2026-11-25T12:00:00.123456789Z", "2026-11-25T14:00:00+02:00",
          "2026-11-25T06:30:00.5-05:30", "2026-11-25T12:00:00-00:00"})
        EXPECT_EQ(seconds_since_epoch(same), noon) << same;
}

TEST(Time, IsNothingWhereTheTextIsNoTime) {
    for (const char* none :
         {"", "2026", "0001-01-01T00:00:00Z", "2026-11-25", "2026-11-25T12:00:00", "2026-11-25 12:00:00Z",
          "x026-11-25T12:00:00Z", "2026-13-25T12:00:00Z", "2026-02-31T12:00:00Z", "2026-11-25T12:00:00+2:00",
          "2026-11-25T12:00:00+0200", "2026-11-25T12:00:00+ab:00", "2026-11-25T12:00:00+24:00",
          "2026-11-25T12:00:00+02:60", "2026-11-25T12:00:00Zx"})
        EXPECT_EQ(seconds_since_epoch(none), 0) << none;
}

TEST(Time, OfAnHttpAnswerIsRead) {
    EXPECT_EQ(seconds_of_http_date("Wed, 25 Nov 2026 12:00:00 GMT"), noon);
    for (const char* none :
         {"", "Wed, 25 Nov 2026 12:00:00", "Wed, 25 Nov 2026 12:00:00 GMT ", "2026-11-25T12:00:00Z",
          "Wed, 25 Nov 1926 12:00:00 GMT", "Wednesday, 25-Nov-26 12:00:00 GMT"})
        EXPECT_EQ(seconds_of_http_date(none), 0) << none;
}

TEST(Time, IsWrittenAsItIsRead) {
    EXPECT_EQ(rfc3339(noon), "2026-11-25T12:00:00Z");
    EXPECT_EQ(seconds_since_epoch(rfc3339(noon)), noon);
    EXPECT_EQ(rfc3339(0), "1970-01-01T00:00:00Z");
}

TEST(ServerClock, GoesOnFromTheLatestAnswer) {
    using namespace std::chrono_literals;
    const ServerClock::Steady start{1000s};
    ServerClock clock;
    EXPECT_EQ(clock.at(start), 0) << "no answer yet";
    clock.set(0, start);
    EXPECT_EQ(clock.at(start), 0) << "an answer without a time";
    clock.set(1'800'000'000, start);
    EXPECT_EQ(clock.at(start), 1'800'000'000);
    EXPECT_EQ(clock.at(start + 900ms), 1'800'000'000);
    EXPECT_EQ(clock.at(start + 90s), 1'800'000'090);
    clock.set(0, start + 100s);
    EXPECT_EQ(clock.at(start + 100s), 1'800'000'100) << "what says nothing changes nothing";
    clock.set(1'700'000'000, start + 100s);
    EXPECT_EQ(clock.at(start + 101s), 1'700'000'001) << "a server's clock that was set back";
}

}  // namespace
}  // namespace keyshepherd
