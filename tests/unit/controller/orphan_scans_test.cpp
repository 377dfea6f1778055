#include "orphan_scans.hpp"

#include <keyshepherd/resources/kind.hpp>

#include <gtest/gtest.h>

namespace keyshepherd::controller {
namespace {

using net::SteadyClock;
using namespace std::chrono_literals;

TEST(OrphanScans, AreDoneUntilSomethingIsSuspected) {
    OrphanScans orphan_scans;
    orphan_scans.start_over(SteadyClock::now(), 0s);
    const Key one{.kind = resources::find_kind("VaultSecretID"), .ns = "shop", .name = "one"};
    const Key other{.kind = one.kind, .ns = "shop", .name = "other"};
    EXPECT_FALSE(orphan_scans.done(one));
    orphan_scans.finish(one);
    EXPECT_TRUE(orphan_scans.done(one));
    EXPECT_FALSE(orphan_scans.done(other));
    orphan_scans.suspect(one);
    EXPECT_FALSE(orphan_scans.done(one));
    orphan_scans.finish(one);
    orphan_scans.start_over(SteadyClock::now(), 0s);
    EXPECT_FALSE(orphan_scans.done(one)) << "whoever leads next looks again";
}

TEST(OrphanScans, WhatMayStillArriveIsWaitedFor) {
    OrphanScans orphan_scans;
    const auto now = SteadyClock::now();
    orphan_scans.start_over(now, 60s);
    const Key key{.kind = resources::find_kind("VaultSecretID"), .ns = "shop", .name = "one"};
    // The former leader's may come for a grace time, and the looks are spread over one more.
    EXPECT_GE(orphan_scans.unsure_until(key), now + 60s);
    EXPECT_LE(orphan_scans.unsure_until(key), now + 120s);
    orphan_scans.unsure(key, now + 5000s);
    EXPECT_EQ(orphan_scans.unsure_until(key), now + 5000s);
    EXPECT_FALSE(orphan_scans.done(key));
    orphan_scans.finish(key);
    EXPECT_LE(orphan_scans.unsure_until(key), now + 120s);
    orphan_scans.unsure(key, now + 5000s);
    orphan_scans.forget(key);
    EXPECT_LE(orphan_scans.unsure_until(key), now + 120s) << "of a former resource of that name";
}

TEST(OrphanScans, AListServesThatIsYoungerThanTheSuspicion) {
    OrphanScans orphan_scans;
    orphan_scans.start_over(SteadyClock::now(), 0s);
    const Key key{.kind = resources::find_kind("VaultSecretID"), .ns = "shop", .name = "one"};
    const auto before = SteadyClock::now();
    orphan_scans.suspect(key);
    EXPECT_GE(orphan_scans.fresh_from(key, before), before);
    // One that was asked for when something could still arrive shows not all, however old the suspicion is.
    orphan_scans.unsure(key, before + 100s);
    EXPECT_EQ(orphan_scans.fresh_from(key, before + 50s), before + 50s) << "it may still arrive";
    EXPECT_EQ(orphan_scans.fresh_from(key, before + 3600s), before + 100s);
    orphan_scans.forget(key);
    EXPECT_LE(orphan_scans.fresh_from(key, before + 3600s), before);
}

}  // namespace
}  // namespace keyshepherd::controller
