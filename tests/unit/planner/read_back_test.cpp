#include <keyshepherd/core/time.hpp>
#include <keyshepherd/planner/read_back.hpp>

#include <gtest/gtest.h>

namespace keyshepherd::planner {
namespace {

SecretIdFacts facts(const char* accessor, const char* created, const char* owner, std::int64_t expires = 0) {
    SecretIdFacts made;
    made.accessor = accessor;
    made.created = created;
    made.owner = owner;
    made.expires = expires;
    return made;
}

const std::vector<SecretIdFacts> all = {
    facts("old", "2026-01-01T00:00:00.5Z", "me"),           facts("theirs", "2026-01-03T00:00:00Z", "you"),
    facts("new", "2026-01-02T00:00:00Z", "me", 1767400000), facts("oldest", "2025-12-31T00:00:00Z", "me"),
    facts("by-hand", "2026-01-04T00:00:00Z", ""),
};

Resource resource() {
    Resource made;
    made.rotate_now = "7";
    return made;
}

TEST(ReadBack, TakesTheOneThatIsHandedOutAndTheOneBeforeIt) {
    const SecretIdRecord record = read_back(resource(), "me", "old", all);
    EXPECT_EQ(record.accessor, "old");
    EXPECT_EQ(record.issued_at, "2026-01-01T00:00:00Z");
    EXPECT_EQ(record.expires_at, "");
    EXPECT_EQ(record.previous, "oldest");
    EXPECT_EQ(record.rotated_at, "2026-01-01T00:00:00Z");
    EXPECT_EQ(record.rotate_now, "7");
}

TEST(ReadBack, TakesTheNewestOfItsOwnerWhenTheFileIsGone) {
    const SecretIdRecord record = read_back(resource(), "me", "", all);
    EXPECT_EQ(record.accessor, "new");
    EXPECT_EQ(record.expires_at, rfc3339(1767400000));
    EXPECT_EQ(record.previous, "old");
}

TEST(ReadBack, KnowsNothingOfWhatIsOthers) {
    EXPECT_EQ(read_back(resource(), "nobody", "", all), SecretIdRecord());
    EXPECT_EQ(read_back(resource(), "me", "theirs", all), SecretIdRecord());
    EXPECT_EQ(read_back(resource(), "me", "", {}), SecretIdRecord());
}

}  // namespace
}  // namespace keyshepherd::planner
