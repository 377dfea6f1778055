#include <keyshepherd/reconcile/token_index.hpp>
#include <keyshepherd/reconcile/vault_object.hpp>

#include <gtest/gtest.h>

namespace keyshepherd::reconcile {
namespace {

using nlohmann::json;

json token(const char* path, json meta) {
    return {{"path", path}, {"meta", std::move(meta)}};
}

TEST(TokenOrigin, IsTheRoleAndTheSecretIdOfAnAppRoleLogin) {
    const TokenOrigin origin = token_origin(
        token("auth/team/approle/login",
              {{"role_name", "App"}, {"managed-by", "keyshepherd"}, {"owner", "uid"}, {"issue", "0a"}}));
    EXPECT_EQ(origin.role, "auth/team/approle/role/app");
    EXPECT_EQ(origin.owner, "uid");
    EXPECT_EQ(origin.issue, "0a");
}

// Seen on OpenBao 2.7.2: the role is stored as "myapp", and a mount beside it as "approle-prod".
TEST(TokenOrigin, KeepsTheCaseOfTheMount) {
    EXPECT_EQ(token_origin(token("auth/AppRole-Prod/login", {{"role_name", "MyApp"}})).role,
              "auth/AppRole-Prod/role/myapp");
    EXPECT_NE(token_origin(token("auth/AppRole-Prod/login", {{"role_name", "app"}})).role,
              token_origin(token("auth/approle-prod/login", {{"role_name", "app"}})).role);
}

TEST(ListedAccessors, IsCompleteOrAnError) {
    EXPECT_EQ(listed_accessors(json{{"keys", {"a", "b"}}}).value(), (std::vector<std::string>{"a", "b"}));
    EXPECT_TRUE(listed_accessors(std::nullopt).value().empty());
    for (const json& other : {json::object(), json{{"keys", nullptr}}, json{{"keys", {"a", 1}}}, json()}) {
        const auto listed = listed_accessors(other);
        ASSERT_FALSE(listed) << other;
        EXPECT_EQ(listed.error().code, Errc::protocol);
    }
}

TEST(TokenOrigin, OwnsNothingThatIsNotMarked) {
    const TokenOrigin origin =
        token_origin(token("auth/approle/login", {{"role_name", "app"}, {"owner", "uid"}, {"issue", "0a"}}));
    EXPECT_EQ(origin.role, "auth/approle/role/app");
    EXPECT_EQ(origin.owner, "");
    EXPECT_EQ(origin.issue, "");
}

TEST(TokenOrigin, IsNoAppRolesForAnythingElse) {
    for (const json& other :
         {token("auth/token/create", {{"role_name", "app"}}), token("auth/approle/login", nullptr),
          token("auth/approle/login", {{"username", "x"}}), token("auth/login", {{"role_name", "app"}}),
          token("sys/approle/login", {{"role_name", "app"}}), json{{"path", "auth/token/root"}},
          json::object()})
        EXPECT_EQ(token_origin(other).role, "") << other;
}

TEST(OwnNames, AreThePoliciesOfTokenAndIdentityAndTheRoleOfTheLogin) {
    const OwnNames by_account = own_names_of({{"path", "auth/Kube-Prod/login"},
                                              {"policies", {"default", "Operator"}},
                                              {"identity_policies", {"group-op"}},
                                              {"meta", {{"role", "KeyShepherd"}}}});
    EXPECT_EQ(by_account.policies, (std::set<std::string>{"group-op", "operator"}));
    EXPECT_EQ(by_account.roles, std::set<std::string>{"auth/Kube-Prod/role/keyshepherd"});
    const OwnNames by_approle =
        own_names_of({{"path", "auth/approle/login"}, {"meta", {{"role_name", "op"}}}});
    EXPECT_EQ(by_approle.roles, std::set<std::string>{"auth/approle/role/op"});
    const OwnNames by_token = own_names_of({{"path", "auth/token/create"},
                                            {"policies", {"op"}},
                                            {"identity_policies", nullptr},
                                            {"meta", nullptr}});
    EXPECT_EQ(by_token.policies, std::set<std::string>{"op"});
    EXPECT_TRUE(by_token.roles.empty());
    EXPECT_EQ(own_names_of(nullptr), OwnNames());
}

// As OpenBao reads X-Vault-Namespace.
TEST(VaultName, FoldsTheHostAndNeverTheNamespace) {
    EXPECT_EQ(vault_name("https://Vault.Example:443/", ""), "https://vault.example");
    EXPECT_EQ(vault_name("https://vault.example", "root"), "https://vault.example");
    EXPECT_EQ(vault_name("https://vault.example", "/Team/"), "https://vault.example Team");
    EXPECT_NE(vault_name("https://vault.example", "Team"), vault_name("https://vault.example", "team"));
}

}  // namespace
}  // namespace keyshepherd::reconcile
