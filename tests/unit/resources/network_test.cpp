#include <keyshepherd/resources/network.hpp>

#include <gtest/gtest.h>

namespace keyshepherd::resources {
namespace {

TEST(CanonicalNetwork, IsOneSpellingOfEach) {
    const struct {
        const char* given;
        const char* canonical;
        const char* with_prefix;
    } rows[] = {
        {"10.0.0.1", "10.0.0.1", "10.0.0.1/32"},
        {"10.0.0.1/32", "10.0.0.1", "10.0.0.1/32"},
        {"10.1.2.3/16", "10.1.0.0/16", "10.1.0.0/16"},
        {"10.0.0.1/032", "10.0.0.1", "10.0.0.1/32"},
        {"0.0.0.0/0", "0.0.0.0/0", "0.0.0.0/0"},
        {"FD00:10:0:0::/64", "fd00:10::/64", "fd00:10::/64"},
        {"fd00::1", "fd00::1", "fd00::1/128"},
        {"::ffff:10.0.0.1/128", "10.0.0.1", "10.0.0.1/32"},
        {"::ffff:10.0.0.0/104", "10.0.0.0/8", "10.0.0.0/8"},
        {"::ffff:0:0/96", "0.0.0.0/0", "0.0.0.0/0"},
        {"0:1:2:3:4:5:6:7", "::1:2:3:4:5:6:7", "::1:2:3:4:5:6:7/128"},
        {"::/0", "::/0", "::/0"},
    };
    for (const auto& row : rows) {
        EXPECT_EQ(canonical_network(row.given), row.canonical) << row.given;
        EXPECT_EQ(canonical_network(row.given, true), row.with_prefix) << row.given;
        EXPECT_EQ(canonical_network(row.canonical), row.canonical) << row.given;
    }
}

TEST(CanonicalNetwork, IsNoneOfAnythingElse) {
    for (const char* text :
         {"", "10", "010.0.0.1", "10.0.0.256", "10.0.0.1/33", "10.0.0.1/", "10.0.0.1/-1", "10.0.0.1/8/8",
          "/8", "::1/129", "::1::", ":1::5", "fd00:10:0:0:::/64", "a.example"})
        EXPECT_EQ(canonical_network(text), std::nullopt) << text;
}

}  // namespace
}  // namespace keyshepherd::resources
