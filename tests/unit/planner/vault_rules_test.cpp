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
