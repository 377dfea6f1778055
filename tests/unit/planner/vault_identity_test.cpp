#include <keyshepherd/planner/vault_identity.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace keyshepherd::planner {
namespace {

using resources::Json;
using testing::AllOf;
using testing::HasSubstr;

resources::Resource connection(const Json& annotations = Json::object()) {
    return resources::read(
               {{"apiVersion", "keyshepherd.dev/v1alpha1"},
                {"kind", "VaultConnection"},
                {"metadata", {{"name", "main"}, {"namespace", "platform"}, {"annotations", annotations}}},
                {"spec", Json::object()}},
               "")
        .resource;
}

const std::string vault = "https://vault:8200";

TEST(ReplacedVault, IsOneWithAnotherClusterId) {
    const Json status = {{"vaultClusterID", "one"}, {"vaultClusterOf", vault}};
    EXPECT_EQ(replaced_vault(connection(), status, vault, "one"), "");
    EXPECT_THAT(replaced_vault(connection(), status, vault, "two"),
                AllOf(HasSubstr("cluster_id two"), HasSubstr("cluster_id one"),
                      HasSubstr("kubectl annotate vaultconnection main -n platform --overwrite "
                                "keyshepherd.dev/acknowledge-cluster-id=two")));
}

TEST(ReplacedVault, IsNoneThatWasNeverSeenOrGivesNoId) {
    EXPECT_EQ(replaced_vault(connection(), Json(), vault, "two"), "");
    EXPECT_EQ(replaced_vault(connection(), Json::object(), vault, "two"), "");
    EXPECT_EQ(replaced_vault(connection(), {{"vaultClusterID", "one"}}, vault, ""), "");
}

TEST(ReplacedVault, IsNoneAtAnotherAddressThatTheSpecNames) {
    const Json status = {{"vaultClusterID", "one"}, {"vaultClusterOf", vault}};
    EXPECT_EQ(replaced_vault(connection(), status, "https://other:8200", "two"), "");
    EXPECT_NE(replaced_vault(connection(), {{"vaultClusterID", "one"}}, vault, "two"), "")
        << "a status of an earlier release does not say where";
}

TEST(ReplacedVault, IsAcknowledgedByItsOwnId) {
    const Json status = {{"vaultClusterID", "one"}, {"vaultClusterOf", vault}};
    const auto acknowledged = connection({{"keyshepherd.dev/acknowledge-cluster-id", "two"}});
    EXPECT_EQ(replaced_vault(acknowledged, status, vault, "two"), "");
    EXPECT_NE(replaced_vault(acknowledged, status, vault, "three"), "") << "and no other's";
    EXPECT_NE(replaced_vault(connection({{"keyshepherd.dev/acknowledge-cluster-id", "true"}}), status, vault,
                             "two"),
              "");
}

}  // namespace
}  // namespace keyshepherd::planner
