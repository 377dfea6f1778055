#include <keyshepherd/planner/cut_off.hpp>
#include <keyshepherd/planner/vault_names.hpp>

#include <gtest/gtest.h>

namespace keyshepherd::planner {
namespace {

TEST(VaultNames, FoldRolesAndPoliciesAndNoMounts) {
    EXPECT_EQ(stored_name("MyApp"), "myapp");
    EXPECT_EQ(stored_name(" Dev-X "), "dev-x");
    EXPECT_EQ(stored_name("  "), "");
    EXPECT_EQ(role_path("AppRole-Prod", "MyApp"), "auth/AppRole-Prod/role/myapp");
}

TEST(VaultNames, KeepTheCaseOfANamespace) {
    EXPECT_EQ(stored_namespace("Team/Dev"), "Team/Dev");
    EXPECT_EQ(stored_namespace("/Team/"), "Team");
    EXPECT_EQ(stored_namespace("root"), "");
    EXPECT_EQ(stored_namespace("Root"), "Root");
}

// As OpenBao 2.7.2 answers identity/lookup/entity when another role has the role-id PINNED.
TEST(RoleEntity, IsNotTheOneOfARoleWhoseRoleIdDiffersInCase) {
    const Json data = {{"id", "e1"}, {"aliases", {{{"name", "PINNED"}, {"mount_type", "approle"}}}}};
    EXPECT_FALSE(role_entity(data, "PINNED").shared);
    EXPECT_TRUE(role_entity(data, "pinned").shared);
    EXPECT_EQ(role_entity(data, "PINNED").id, "e1");
    EXPECT_EQ(role_entity(Json(), "PINNED").id, "");
}

TEST(BatchTokens, MayBeIssuedAsTheRoleAndItsMountSay) {
    const auto issues = [](const char* role, const char* mount) {
        return may_issue_batch_tokens({{"token_type", role}}, {{"config", {{"token_type", mount}}}});
    };
    EXPECT_TRUE(issues("batch", "default-service"));
    EXPECT_FALSE(issues("batch", "service"));
    EXPECT_TRUE(issues("service", "batch"));
    EXPECT_TRUE(issues("default", "default-batch"));
    EXPECT_FALSE(issues("service", "default-batch"));
    EXPECT_FALSE(issues("default", "default-service"));
    EXPECT_FALSE(may_issue_batch_tokens(Json(), Json()));
}

}  // namespace
}  // namespace keyshepherd::planner
