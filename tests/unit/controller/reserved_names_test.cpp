#include "reserved_names.hpp"

#include <gtest/gtest.h>

namespace keyshepherd::controller {
namespace {

using Names = std::set<std::string>;

Key connection(const char* ns) {
    return {.kind = resources::find_kind("VaultConnection"), .ns = ns, .name = "main"};
}

TEST(ReservedNames, AreThoseOfAllConnectionsToOneVault) {
    ReservedNames names;
    EXPECT_TRUE(names.put(connection("a"), "https://v", {.policies = {"op-a"}, .roles = {"auth/k/role/a"}}));
    EXPECT_TRUE(names.put(connection("b"), "https://v", {.policies = {"op-b"}, .roles = {}}));
    EXPECT_TRUE(names.put(connection("c"), "https://v Team", {.policies = {"op-c"}, .roles = {}}));
    EXPECT_EQ(names.of("https://v").policies, (Names{"op-a", "op-b"}));
    EXPECT_EQ(names.of("https://v").roles, Names{"auth/k/role/a"});
    EXPECT_EQ(names.of("https://v Team").policies, Names{"op-c"}) << "a namespace has policies of its own";
    EXPECT_TRUE(names.of("https://other").policies.empty());
}

TEST(ReservedNames, SayWhenTheyHaveChanged) {
    ReservedNames names;
    EXPECT_FALSE(names.put(connection("a"), "https://v", {})) << "nothing was reserved, and nothing is";
    EXPECT_TRUE(names.has(connection("a"), "https://v"));
    EXPECT_FALSE(names.has(connection("a"), "https://w"));
    EXPECT_TRUE(names.put(connection("a"), "https://v", {.policies = {"x"}, .roles = {}}));
    EXPECT_FALSE(names.put(connection("a"), "https://v", {.policies = {"x"}, .roles = {}}));
    EXPECT_TRUE(names.put(connection("a"), "https://w", {.policies = {"x"}, .roles = {}}));
    EXPECT_TRUE(names.of("https://v").policies.empty());
    EXPECT_EQ(names.connections("https://w"), std::vector<Key>{connection("a")});
    EXPECT_TRUE(names.erase(connection("a")));
    EXPECT_FALSE(names.erase(connection("a")));
    EXPECT_TRUE(names.of("https://w").policies.empty());
}

TEST(ReservedNames, ForbidTheRoleThatAnyConnectionLogsInBy) {
    resources::Resource from;
    from.kind = resources::find_kind("VaultConnection");
    from.ns = from.name = "other";
    from.spec = {{"auth", {{"token", {{"secretName", "t"}}}}},
                 {"grants", {{{"namespaces", {"shop"}}, {"names", {"*"}}, {"mounts", {"*"}}}}}};
    resources::Resource role;
    role.kind = resources::find_kind("VaultAppRole");
    role.ns = role.name = "shop";
    role.spec = {{"name", "Operator"}, {"mount", "AppRole-Ops"}, {"tokenPolicies", nlohmann::json::array()}};
    EXPECT_TRUE(judge(role, from, {}).faults.empty());
    const auto faults =
        judge(role, from, {.policies = {}, .roles = {"auth/AppRole-Ops/role/operator"}}).faults;
    ASSERT_EQ(faults.size(), 1U);
    EXPECT_EQ(faults.front().field, "spec.name");
    role.spec["mount"] = "approle-ops";
    EXPECT_TRUE(
        judge(role, from, {.policies = {}, .roles = {"auth/AppRole-Ops/role/operator"}}).faults.empty());
}

}  // namespace
}  // namespace keyshepherd::controller
