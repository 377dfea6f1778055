#include "sweeps.hpp"

#include <keyshepherd/resources/kind.hpp>

#include <gtest/gtest.h>

namespace keyshepherd::controller {
namespace {

using net::SteadyClock;
using namespace std::chrono_literals;

TEST(Sweeps, AreDoneUntilSomethingIsSuspected) {
    Sweeps sweeps;
    sweeps.start_over(1000, 0);
    const Key one{.kind = resources::find_kind("VaultSecretID"), .ns = "shop", .name = "one"};
    const Key other{.kind = one.kind, .ns = "shop", .name = "other"};
    EXPECT_FALSE(sweeps.done(one));
    sweeps.finish(one);
    EXPECT_TRUE(sweeps.done(one));
    EXPECT_FALSE(sweeps.done(other));
    sweeps.suspect(one);
    EXPECT_FALSE(sweeps.done(one));
    sweeps.finish(one);
    sweeps.start_over(1001, 0);
    EXPECT_FALSE(sweeps.done(one)) << "whoever leads next looks again";
}

TEST(Sweeps, WhatMayStillArriveIsWaitedFor) {
    Sweeps sweeps;
    sweeps.start_over(1000, 60);
    const Key key{.kind = resources::find_kind("VaultSecretID"), .ns = "shop", .name = "one"};
    // The former leader's may come for a grace time, and the looks are spread over one more.
    EXPECT_GE(sweeps.unsure_until(key), 1060);
    EXPECT_LE(sweeps.unsure_until(key), 1120);
    sweeps.unsure(key, 5000);
    EXPECT_EQ(sweeps.unsure_until(key), 5000);
    EXPECT_FALSE(sweeps.done(key));
    sweeps.finish(key);
    EXPECT_LE(sweeps.unsure_until(key), 1120);
    sweeps.unsure(key, 5000);
    sweeps.forget(key);
    EXPECT_LE(sweeps.unsure_until(key), 1120) << "of a former resource of that name";
}

TEST(Sweeps, AListServesThatIsYoungerThanTheSuspicion) {
    Sweeps sweeps;
    sweeps.start_over(1000, 0);
    const Key key{.kind = resources::find_kind("VaultSecretID"), .ns = "shop", .name = "one"};
    const auto before = SteadyClock::now();
    sweeps.suspect(key);
    EXPECT_GE(sweeps.fresh_from(key, 1000), before);
    // One that was asked for when something could still arrive shows not all, however old the suspicion is.
    sweeps.unsure(key, 1000);
    EXPECT_GE(sweeps.fresh_from(key, 1000), before);
    sweeps.forget(key);
    EXPECT_LE(sweeps.fresh_from(key, 1000 + 3600), before);
}

}  // namespace
}  // namespace keyshepherd::controller
