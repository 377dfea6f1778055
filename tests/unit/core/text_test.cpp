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

TEST(Printable, LeavesNothingThatActsOnATerminal) {
    EXPECT_EQ(printable("naïve 鍵 🔑 → …\t\"x\""), "naïve 鍵 🔑 → …\t\"x\"");
    EXPECT_EQ(printable("a\npath \"*\" {}\n#"), "a\\npath \"*\" {}\\n#");
    EXPECT_EQ(printable("\x1b[31mred\x1b]0;title\x07\r"), "\\x1b[31mred\\x1b]0;title\\x07\\r");
    EXPECT_EQ(printable(std::string("\0\x7f\b", 3)), "\\x00\\x7f\\x08");
    EXPECT_EQ(printable("\xc2\x9b"
                        "31m"),
              "\\u{9b}31m")
        << "CSI of eight bits";
    EXPECT_EQ(printable("user\u202e\u2066nimda\u2069"), "user\\u{202e}\\u{2066}nimda\\u{2069}");
    EXPECT_EQ(printable("a\u200bb\u2028c\ufeffd\U000e0041"), "a\\u{200b}b\\u{2028}c\\u{feff}d\\u{e0041}");
    EXPECT_EQ(printable("\xff\xc0\xaf\xed\xa0\x80\xe2\x82"), "\\xff\\xc0\\xaf\\xed\\xa0\\x80\\xe2\\x82");
}

TEST(Printable, KeepsLinesWhereTheyAreWanted) {
    EXPECT_EQ(printable_lines("a: 1\r\nb: \x1b[2J\n\nc\rd"), "a: 1\r\nb: \\x1b[2J\n\nc\\rd");
    EXPECT_EQ(printable_lines(""), "");
    EXPECT_EQ(printable_lines("\n"), "\n");
}

TEST(OneLine, IsPrintable) {
    EXPECT_EQ(one_line("a\u202eb\xc2\x9b\xff", 99), "a\\u{202e}b\\u{9b}\\xff");
}

}  // namespace
}  // namespace keyshepherd
