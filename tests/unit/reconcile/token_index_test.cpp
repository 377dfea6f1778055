#include <keyshepherd/reconcile/token_index.hpp>

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
          token("auth/approle/login", {{"username", "x"}}),
          token("sys/approle/login", {{"role_name", "app"}}), json{{"path", "auth/token/root"}},
          json::object()})
        EXPECT_EQ(token_origin(other).role, "") << other;
}

}  // namespace
}  // namespace keyshepherd::reconcile
