#include "leftovers.hpp"

#include <gtest/gtest.h>

namespace keyshepherd::controller {
namespace {

Leftover leftover(const char* kind, resources::Json spec) {
    Leftover made("https://vault:8200", "sys/policies/acl/p", {}, true);
    made.resource.kind = resources::find_kind(kind);
    made.resource.ns = "ai";
    made.resource.name = "p";
    made.resource.uid = "uid-1";
    made.resource.role_id = "role-1";
    made.resource.spec = std::move(spec);
    return made;
}

TEST(Leftover, IsReadAsItWasRecorded) {
    const auto read = leftover_of(record_of(leftover("VaultPolicy", {{"name", "p"}, {"hcl", "x"}})));
    ASSERT_TRUE(read);
    EXPECT_EQ(read->vault, "https://vault:8200");
    EXPECT_EQ(read->path, "sys/policies/acl/p");
    EXPECT_EQ(read->resource.text(), "VaultPolicy ai/p");
    EXPECT_EQ(read->resource.uid, "uid-1");
    EXPECT_EQ(read->resource.role_id, "role-1");
    EXPECT_EQ(read->resource.spec, (resources::Json{{"name", "p"}, {"hcl", "x"}}));
    EXPECT_TRUE(read->revoke_tokens);
}

TEST(Leftover, IsNotRecordedWhereItHoldsDataOrIsTooLong) {
    EXPECT_TRUE(record_of(leftover("VaultMount", {{"path", "ai-apis"}})).is_null())
        << "nothing removes it later";
    const std::string text(Leftovers::longest_record, 'x');
    EXPECT_TRUE(record_of(leftover("VaultPolicy", {{"hcl", text}})).is_null());
}

TEST(Leftover, OfOneNamespaceLeavesRoomForOthers) {
    constexpr std::size_t record = 1000;
    const auto fill = [](std::size_t total) {
        std::size_t used = 0;
        while (is_within_share(record, used, total + used)) used += record;
        return used;
    };
    const std::size_t first = fill(0);
    const std::size_t second = fill(first);
    EXPECT_GT(first, Leftovers::budget / 3);
    EXPECT_LE(first, Leftovers::budget / 2);
    EXPECT_GT(second, first / 3);
    EXPECT_GT(fill(first + second), second / 3);
    EXPECT_FALSE(is_within_share(1, 0, Leftovers::budget));
    EXPECT_FALSE(is_within_share(Leftovers::budget + 1, 0, 0));
}

TEST(Leftover, IsNothingThatCannotBeRead) {
    const resources::Json whole = record_of(leftover("VaultPolicy", {{"name", "p"}}));
    for (const char* part : {"kind", "uid", "path", "spec"}) {
        resources::Json torn = whole;
        torn.erase(part);
        EXPECT_FALSE(leftover_of(torn)) << part;
    }
    EXPECT_FALSE(leftover_of(nullptr));
    EXPECT_FALSE(leftover_of("text"));
}

}  // namespace
}  // namespace keyshepherd::controller
