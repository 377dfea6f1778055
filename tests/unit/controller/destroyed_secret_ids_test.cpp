#include "destroyed_secret_ids.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace keyshepherd::controller {
namespace {

TEST(DestroyedSecretIds, AreKnownByVaultTheNewestFirst) {
    DestroyedSecretIds destroyed;
    EXPECT_TRUE(destroyed.all("a").empty());
    destroyed.add("a", {.role = "auth/approle/role/r", .accessor = "1"});
    destroyed.add("a", {.role = "auth/approle/role/r", .accessor = "2"});
    destroyed.add("a", {.role = "auth/approle/role/r", .accessor = "1"});
    destroyed.add("b", {.role = "auth/approle/role/r", .accessor = "3"});
    ASSERT_EQ(destroyed.all("a").size(), 2U) << "destroyed again it is no other";
    EXPECT_EQ(destroyed.all("a")[0].accessor, "2");
    EXPECT_EQ(destroyed.all("b").size(), 1U);
    destroyed.forget("a");
    EXPECT_TRUE(destroyed.all("a").empty());
}

TEST(DestroyedSecretIds, AreSampledFromTheNewestToTheOldest) {
    DestroyedSecretIds destroyed;
    const auto add = [&destroyed](std::size_t from, std::size_t to) {
        for (std::size_t i = from; i < to; ++i)
            destroyed.add("a", {.role = "r", .accessor = std::to_string(i)});
    };
    add(0, 20);
    EXPECT_EQ(destroyed.samples("a").size(), 20U) << "few are all looked up";
    add(20, 1000);
    const auto samples = destroyed.samples("a");
    ASSERT_EQ(samples.size(), DestroyedSecretIds::newest + DestroyedSecretIds::others);
    for (std::size_t i = 0; i < DestroyedSecretIds::newest; ++i)
        EXPECT_EQ(samples[i].accessor, std::to_string(999 - i));
    EXPECT_LT(std::stoi(samples.back().accessor), 100) << "also from the oldest";
    for (std::size_t i = 1; i < samples.size(); ++i)
        EXPECT_LT(std::stoi(samples[i].accessor), std::stoi(samples[i - 1].accessor));
}

TEST(DestroyedSecretIds, AreForgottenBeyondALimit) {
    DestroyedSecretIds destroyed;
    for (std::size_t i = 0; i <= DestroyedSecretIds::most; ++i)
        destroyed.add("a", {.role = "r", .accessor = std::to_string(i)});
    const auto all = destroyed.all("a");
    EXPECT_EQ(all.size(), DestroyedSecretIds::most);
    EXPECT_EQ(all.back().accessor, "1") << "the oldest goes";
}

}  // namespace
}  // namespace keyshepherd::controller
