#include <keyshepherd/planner/vault_rules.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace keyshepherd::planner {
namespace {

Resource resource(const char* kind, Json spec) {
    if (std::string_view(kind) != "VaultSecretID") spec["connectionRef"] = {{"name", "main"}};
    auto reading = resources::read({{"apiVersion", "keyshepherd.dev/v1alpha1"},
                                    {"kind", kind},
                                    {"metadata", {{"name", "r"}, {"namespace", "shop"}}},
                                    {"spec", std::move(spec)}},
                                   "");
    for (const auto& fault : reading.faults) ADD_FAILURE() << fault.field << " " << fault.message;
    return reading.resource;
}

std::string fields(const std::vector<resources::Fault>& faults) {
    std::string all;
    for (const auto& fault : faults) all += (all.empty() ? "" : " ") + fault.field;
    return all;
}

std::string of(const char* kind, Json spec, const Observation& observed = {}) {
    return fields(vault_faults(resource(kind, std::move(spec)), observed));
}

TEST(VaultRules, OfATokenCompareLimitsThatAreSet) {
    EXPECT_EQ(of("VaultAppRole", {{"name", "r"}, {"tokenTTL", "2h"}, {"tokenMaxTTL", "1h"}}),
              "spec.tokenTTL");
    for (const char* longest : {"0", "2h", "3h"})
        EXPECT_EQ(of("VaultAppRole", {{"name", "r"}, {"tokenTTL", "2h"}, {"tokenMaxTTL", longest}}), "");
    const Json batch = {{"name", "r"}, {"tokenType", "batch"}, {"tokenPeriod", "1h"}, {"tokenNumUses", 1}};
    EXPECT_EQ(of("VaultAppRole", batch), "spec.tokenNumUses spec.tokenPeriod");
    Json service = batch;
    service["tokenType"] = "service";
    EXPECT_EQ(of("VaultAppRole", service), "");
}

TEST(VaultRules, RefuseAParameterThatTheServerDoesNotHave) {
    // HashiCorp Vault answers 204 to a role with it, and the tokens are good from everywhere.
    const auto role = [](const char* kind, bool strict) {
        Json spec = {{"name", "r"}, {"tokenStrictlyBindIP", strict}};
        if (kind != std::string_view("VaultAppRole")) spec["boundServiceAccountNames"] = {"app"};
        return resource(kind, std::move(spec));
    };
    const Json without = {"policies", "token_ttl"};
    const Json with = {"token_strictly_bind_ip", "token_ttl"};
    for (const char* kind : {"VaultAppRole", "VaultKubernetesRole"}) {
        const Resource strict = role(kind, true);
        const Observation none = {{claim(strict), std::nullopt}};
        EXPECT_TRUE(needs_parameters(strict, none));
        EXPECT_FALSE(needs_parameters(role(kind, false), none));
        const auto found = [&](const char* path, const Json& value) {
            Observation observed = none;
            observed[path == std::string_view("role") ? claim(strict) : parameters_key(strict)] = value;
            return plan(strict, observed, {.owner = true});
        };
        const Plan refused = found("listed", without);
        EXPECT_EQ(refused.verdict, Verdict::refused);
        EXPECT_EQ(refused.reason, "VaultRefuses");
        EXPECT_EQ(refused.message,
                  "spec.tokenStrictlyBindIP: must be false or not set: this server does not support "
                  "token_strictly_bind_ip "
                  "and would ignore it");
        EXPECT_TRUE(refused.requests.empty());
        EXPECT_EQ(found("listed", with).verdict, Verdict::create);
        EXPECT_EQ(plan(strict, none, {.owner = true}).verdict, Verdict::create) << "the server does not say";

        const Observation held = {{claim(strict), Json{{"token_ttl", 0}}}};
        EXPECT_FALSE(needs_parameters(strict, held)) << "the role shows it";
        EXPECT_EQ(found("role", {{"token_ttl", 0}}).message, refused.message);
        EXPECT_EQ(found("role", {{"token_ttl", 0}, {"token_strictly_bind_ip", false}}).verdict,
                  Verdict::update);
        EXPECT_EQ(plan(role(kind, false), held, {.owner = true}).reason, "");
        std::size_t posts = 0;
        for (const Request& request : requests_ever(strict))
            posts += request.method == "POST" && request.path == claim(strict) ? 1 : 0;
        EXPECT_EQ(posts, 2U) << "the policy of the operator allows both, whatever the server has";
    }
}

TEST(VaultRules, OfAMountLookAtTheMountsThatAreThere) {
    const Observation observed = {
        {"sys/mounts", Json{{"kv/", Json::object()}, {"deep/a/", Json::object()}, {"kvx/", Json::object()}}}};
    const auto at = [&](const char* path) {
        return of("VaultMount", {{"path", path}, {"type", "kv"}}, observed);
    };
    for (const char* path : {"kv/sub", "deep"}) EXPECT_EQ(at(path), "spec.path") << path;
    for (const char* path : {"kv", "deep/a", "deep/b", "k", "kvxy"}) EXPECT_EQ(at(path), "") << path;
    EXPECT_EQ(of("VaultMount", {{"path", "kv/sub"}, {"type", "approle"}, {"engine", "Auth"}}, observed), "")
        << "auth methods have paths of their own";
}

TEST(VaultRules, OfASecretIdAreItsRolesLimits) {
    const auto check = [](Json of_role, Json of_secret_id) {
        of_role["name"] = "r";
        of_secret_id["appRoleRef"] = {{"name", "r"}};
        return fields(secret_id_faults(resource("VaultSecretID", std::move(of_secret_id)),
                                       resource("VaultAppRole", std::move(of_role))));
    };
    EXPECT_EQ(check({{"secretIDTTL", "1h"}}, {{"ttl", "2h"}}), "spec.ttl");
    EXPECT_EQ(check({{"secretIDTTL", "1h"}}, {{"ttl", "1h"}}), "");
    EXPECT_EQ(check({}, {{"ttl", "2h"}, {"numUses", 9}, {"cidrs", {"10.0.0.0/8"}}}), "");
    EXPECT_EQ(check({{"secretIDNumUses", 3}}, {{"numUses", 4}}), "spec.numUses");
    const Json bound = {{"secretIDBoundCIDRs", {"10.0.0.0/8", "fd00::/16"}}};
    for (const char* network : {"10.0.0.0/7", "11.0.0.1", "fd01::/64", "::/0"})
        EXPECT_EQ(check(bound, {{"cidrs", {network}}}), "spec.cidrs") << network;
    for (const char* network : {"10.0.0.0/8", "10.1.2.3", "10.255.255.255/32", "fd00:1::/64"})
        EXPECT_EQ(check(bound, {{"cidrs", {network}}}), "") << network;
}

}  // namespace
}  // namespace keyshepherd::planner
