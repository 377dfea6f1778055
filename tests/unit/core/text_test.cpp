#include <keyshepherd/core/text.hpp>

#include <gtest/gtest.h>

namespace keyshepherd {
namespace {

TEST(Beginning, EndsBetweenTwoCharacters) {
    EXPECT_EQ(beginning("aé…", 0), "");
    EXPECT_EQ(beginning("aé…", 1), "a");
    EXPECT_EQ(beginning("aé…", 2), "a");
    EXPECT_EQ(beginning("aé…", 3), "aé");
    EXPECT_EQ(beginning("aé…", 5), "aé");
    EXPECT_EQ(beginning("aé…", 6), "aé…");
    EXPECT_EQ(beginning("", 3), "");
    EXPECT_EQ(beginning("\x80\x80\x80", 1), "") << "what is no UTF-8 at all";
}

TEST(OneLine, HasNoControlCharacterAndSaysThatSomethingIsMissing) {
    EXPECT_EQ(one_line("\na\r\n\t b\x01\x7f"
                       "c \n",
                       20),
              "a b c");
    EXPECT_EQ(one_line("abc", 3), "abc");
    EXPECT_EQ(one_line("abéd", 3), "ab…");
    EXPECT_EQ(one_line(" \n", 3), "");
}

}  // namespace
}  // namespace keyshepherd
