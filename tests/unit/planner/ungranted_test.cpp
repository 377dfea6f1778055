#include <keyshepherd/planner/ungranted.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace keyshepherd::planner {
namespace {

using testing::HasSubstr;

resources::Resource make(const char* kind, Json spec) {
    spec["connectionRef"] = {{"name", "main"}};
    return resources::read({{"apiVersion", "keyshepherd.dev/v1alpha1"},
                            {"kind", kind},
                            {"metadata", {{"name", "x"}, {"namespace", "t"}}},
                            {"spec", std::move(spec)}},
                           "")
        .resource;
}

TEST(Ungranted, TellsWhatIsLeftAndHowToRemoveIt) {
    const Condition policy = ungranted_object(make("VaultPolicy", {{"name", "t.x"}}), "sys/policies/acl/t.x");
    EXPECT_EQ(policy.type, "StillInVault");
    EXPECT_EQ(policy.truth, Truth::yes);
    EXPECT_EQ(policy.reason, "NotGranted");
    EXPECT_EQ(
        policy.message,
        "sys/policies/acl/t.x is still in Vault, unchanged: the policy is still in effect for tokens that "
        "have it. To remove it, restore the grant, delete VaultPolicy t/x, and then remove the "
        "grant");
    // Deleting a mount loses what is in it.
    EXPECT_EQ(ungranted_object(make("VaultMount", {{"path", "kv"}, {"type", "kv"}}), "sys/mounts/kv").message,
              "sys/mounts/kv is still in Vault, unchanged: Vault still serves the mount. To "
              "manage it again, restore the grant");
    EXPECT_THAT(ungranted_object(make("VaultAppRole", {{"name", "r"}}), "auth/approle/role/r").message,
                HasSubstr("clients can still log in to the role"));
    EXPECT_THAT(ungranted_secret_id(make("VaultSecretID", Json::object()), "acc-1").message,
                HasSubstr("the secret-id with accessor acc-1 is still in Vault"));
}

TEST(Ungranted, NamesTenOfAllObjects) {
    std::vector<std::string> objects = {"VaultPolicy t/x"};
    EXPECT_EQ(ungranted_objects(objects).message,
              "these resources still have objects in Vault that no grant allows: VaultPolicy t/x");
    for (int i = 1; i < 12; ++i) objects.push_back("VaultPolicy t/" + std::to_string(i));
    EXPECT_THAT(ungranted_objects(objects).message, HasSubstr("VaultPolicy t/x, VaultPolicy t/1, "));
    EXPECT_THAT(ungranted_objects(objects).message, testing::EndsWith("VaultPolicy t/9, … (12 in total)"));
}

TEST(Ungranted, IsReadBackFromTheStatus) {
    Json status = status_after(Json::object(),
                               {.ready = Truth::no,
                                .reason = "NotGranted",
                                .others = {ungranted_secret_id(make("VaultSecretID", Json::object()), "a")}},
                               1, "2026-01-01T00:00:00Z");
    EXPECT_TRUE(is_still_in_vault(status));
    status = status_after(status, {.ready = Truth::unknown, .reason = "VaultUnavailable"}, 1,
                          "2026-01-01T00:00:01Z");
    EXPECT_TRUE(is_still_in_vault(status)) << "what is not known anew stays";
    status = status_after(
        status, {.ready = Truth::yes, .reason = "Reconciled", .gone = {std::string(still_in_vault)}}, 1,
        "2026-01-01T00:00:02Z");
    EXPECT_FALSE(is_still_in_vault(status));
    for (const Json& other : {Json(), Json::array(), Json{{"conditions", {1, "x"}}}})
        EXPECT_FALSE(is_still_in_vault(other));
}

TEST(Status, ShowsWhatWouldActOnATerminal) {
    const Json status =
        status_after(Json::object(), {.reason = "Failed", .message = "a\n\x1b[31m\u202e"}, 1, "t");
    EXPECT_EQ(status["conditions"][0]["message"], "a\\n\\x1b[31m\\u{202e}");
}

}  // namespace
}  // namespace keyshepherd::planner
