#include "sweeps.hpp"

#include <keyshepherd/resources/kind.hpp>

#include <gtest/gtest.h>

namespace keyshepherd::controller {
namespace {

using net::SteadyClock;
using namespace std::chrono_literals;

TEST(Sweeps, AreDoneUntilSomethingIsSuspected) {
    Sweeps sweeps;
    sweeps.start_over(SteadyClock::now(), 0s);
    const Key one{.kind = resources::find_kind("VaultSecretID"), .ns = "shop", .name = "one"};
    const Key other{.kind = one.kind, .ns = "shop", .name = "other"};
    EXPECT_FALSE(sweeps.done(one));
    sweeps.finish(one);
    EXPECT_TRUE(sweeps.done(one));
    EXPECT_FALSE(sweeps.done(other));
    sweeps.suspect(one);
    EXPECT_FALSE(sweeps.done(one));
    sweeps.finish(one);
    sweeps.start_over(SteadyClock::now(), 0s);
    EXPECT_FALSE(sweeps.done(one)) << "whoever leads next looks again";
}

TEST(Sweeps, WhatMayStillArriveIsWaitedFor) {
    Sweeps sweeps;
    const auto now = SteadyClock::now();
    sweeps.start_over(now, 60s);
    const Key key{.kind = resources::find_kind("VaultSecretID"), .ns = "shop", .name = "one"};
    // The former leader's may come for a grace time, and the looks are spread over one more.
    EXPECT_GE(sweeps.unsure_until(key), now + 60s);
    EXPECT_LE(sweeps.unsure_until(key), now + 120s);
    sweeps.unsure(key, now + 5000s);
    EXPECT_EQ(sweeps.unsure_until(key), now + 5000s);
    EXPECT_FALSE(sweeps.done(key));
    sweeps.finish(key);
    EXPECT_LE(sweeps.unsure_until(key), now + 120s);
    sweeps.unsure(key, now + 5000s);
    sweeps.forget(key);
    EXPECT_LE(sweeps.unsure_until(key), now + 120s) << "of a former resource of that name";
}

TEST(Sweeps, AListServesThatIsYoungerThanTheSuspicion) {
    Sweeps sweeps;
    sweeps.start_over(SteadyClock::now(), 0s);
    const Key key{.kind = resources::find_kind("VaultSecretID"), .ns = "shop", .name = "one"};
    const auto before = SteadyClock::now();
    sweeps.suspect(key);
    EXPECT_GE(sweeps.fresh_from(key, before), before);
    // One that was asked for when something could still arrive shows not all, however old the suspicion is.
    sweeps.unsure(key, before + 100s);
    EXPECT_EQ(sweeps.fresh_from(key, before + 50s), before + 50s) << "it may still arrive";
    EXPECT_EQ(sweeps.fresh_from(key, before + 3600s), before + 100s);
    sweeps.forget(key);
    EXPECT_LE(sweeps.fresh_from(key, before + 3600s), before);
}

}  // namespace
}  // namespace keyshepherd::controller
