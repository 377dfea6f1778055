#include "secret_watch.hpp"

#include <gtest/gtest.h>

#include <utility>

namespace keyshepherd::controller {
namespace {

class SecretWatchTest : public testing::Test {
protected:
    void tell(const std::string& version) {
        watch_.applied({{"metadata", {{"namespace", "shop"}, {"name", "s"}, {"resourceVersion", version}}}});
    }
    void remove() { watch_.removed("shop/s", nullptr); }
    // How often the owner was woken since the last time.
    int woken() { return std::exchange(woken_, 0); }

    int woken_ = 0;
    SecretWatch watch_{[this](const Key&) { ++woken_; }};
    const Key owner_{.kind = resources::find_kind("VaultSecretID"), .ns = "shop", .name = "one"};
};

TEST_F(SecretWatchTest, WakesOnWhatIsNotExpected) {
    tell("1");
    EXPECT_EQ(woken(), 0);
    watch_.expect("shop", "s", owner_, "1");
    tell("1");
    EXPECT_EQ(woken(), 0);
    tell("2");
    EXPECT_EQ(woken(), 1);
    remove();
    EXPECT_EQ(woken(), 1);
    watch_.forget(owner_);
    tell("3");
    EXPECT_EQ(woken(), 0);
}

TEST_F(SecretWatchTest, WaitsForTheAnswerToAWriteOfOurOwn) {
    watch_.expect("shop", "s", owner_, "1");
    watch_.writing("shop", "s", owner_);
    tell("2");
    EXPECT_EQ(woken(), 0);
    watch_.expect("shop", "s", owner_, "2");
    EXPECT_EQ(woken(), 0) << "it was ours";
    tell("3");
    EXPECT_EQ(woken(), 1);
    // Somebody else was quick.
    watch_.writing("shop", "s", owner_);
    tell("4");
    tell("5");
    watch_.expect("shop", "s", owner_, "4");
    EXPECT_EQ(woken(), 1);
    watch_.writing("shop", "s", owner_);
    tell("6");
    remove();
    watch_.expect("shop", "s", owner_, "6");
    EXPECT_EQ(woken(), 1);
    // Ours came to nothing.
    watch_.writing("shop", "s", owner_);
    tell("7");
    watch_.expect("shop", "s", owner_, "");
    EXPECT_EQ(woken(), 1);
}

TEST_F(SecretWatchTest, RemembersNothingOfWhatNobodyExpects) {
    for (int i = 0; i < 100; ++i) {
        const std::string name = std::to_string(i);
        watch_.claim("shop", name, owner_);
        watch_.expect("shop", name, owner_, "1");
        watch_.release("shop", name, owner_);
    }
    EXPECT_EQ(watch_.remembered(), 0U);
    watch_.claim("shop", "s", owner_);
    watch_.forget(owner_);
    EXPECT_EQ(watch_.remembered(), 0U);
}

}  // namespace
}  // namespace keyshepherd::controller
