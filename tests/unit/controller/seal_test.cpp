#include "seal.hpp"

#include <gtest/gtest.h>

namespace keyshepherd::controller {
namespace {

TEST(Seal, MakesAndBelievesNothingWithoutAKey) {
    const Seal seal;
    EXPECT_EQ(seal.mark("uid", "claim"), "");
    EXPECT_FALSE(seal.made("", "uid", "claim"));
}

}  // namespace
}  // namespace keyshepherd::controller
