#include <keyshepherd/planner/operator_policy.hpp>
#include <keyshepherd/planner/plan.hpp>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>

namespace keyshepherd::planner {
namespace {

using testing::HasSubstr;
using testing::Not;

Resource make(const char* kind, Json spec) {
    if (kind != std::string_view("VaultSecretID")) spec["connectionRef"]["name"] = "main";
    if (kind == std::string_view("ClusterAIProvider")) spec["connectionRef"]["namespace"] = "ai";
    auto reading = resources::read({{"apiVersion", "keyshepherd.dev/v1alpha1"},
                                    {"kind", kind},
                                    {"metadata", {{"name", "x"}, {"namespace", "ai"}}},
                                    {"spec", std::move(spec)}},
                                   "ai");
    for (const auto& fault : reading.faults) ADD_FAILURE() << fault.field << " " << fault.message;
    return reading.resource;
}

// One of every kind that is one object in Vault.
std::vector<Resource> one_of_each() {
    return {
        make("VaultMount", {{"path", "ai-apis"}, {"type", "kv"}}),
        make("VaultMount",
             {{"path", "approle"}, {"type", "approle"}, {"engine", "Auth"}, {"deletionPolicy", "Delete"}}),
        make("VaultPolicy", {{"name", "ai-api"}, {"hcl", "path \"x\" {}"}}),
        make("VaultAppRole", {{"name", "AI-prod"}, {"deletionPolicy", "Retain"}}),
        make("VaultAppRole", {{"name", "pinned"}, {"roleID", "abc"}}),
        make("VaultKubernetesRole", {{"name", "app"}, {"boundServiceAccountNames", {"app"}}})};
}

constexpr const char* own_token = R"(path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}
)";

TEST(OperatorPolicy, OfNothingIsWhatALoginAsksAboutItself) {
    EXPECT_EQ(operator_policy({}), own_token);
}

TEST(OperatorPolicy, NamesEachPathOnceWithWhatIsDoneThere) {
    const std::vector<Resource> all = one_of_each();
    EXPECT_EQ(operator_policy(all), R"(path "auth/approle/role/ai-prod" {
  capabilities = ["create", "read", "update"]
}

path "auth/approle/role/ai-prod/role-id" {
  capabilities = ["read"]
}

path "auth/approle/role/pinned" {
  capabilities = ["create", "read", "update", "delete"]
}

path "auth/approle/role/pinned/role-id" {
  capabilities = ["read", "update"]
}

path "auth/kubernetes/role/app" {
  capabilities = ["create", "read", "update", "delete"]
}

)" + std::string(own_token) + R"(
path "sys/auth" {
  capabilities = ["read"]
}

path "sys/auth/approle" {
  capabilities = ["update", "delete", "sudo"]
}

path "sys/auth/approle/tune" {
  capabilities = ["update", "sudo"]
}

path "sys/mounts" {
  capabilities = ["read"]
}

path "sys/mounts/ai-apis" {
  capabilities = ["update"]
}

path "sys/mounts/ai-apis/tune" {
  capabilities = ["update"]
}

path "sys/policies/acl/ai-api" {
  capabilities = ["read", "update", "delete"]
}
)");
}

TEST(OperatorPolicy, IsTheSameInAnyOrderAndHoweverOften) {
    std::vector<Resource> all = one_of_each();
    const std::string once = operator_policy(all);
    for (const Resource& each : one_of_each()) all.push_back(each);
    std::ranges::reverse(all);
    EXPECT_EQ(operator_policy(all), once);
}

TEST(OperatorPolicy, RemovesOnlyWhereDeletionPolicySaysSo) {
    const std::vector<Resource> kept = {
        make("VaultPolicy", {{"name", "a"}, {"hcl", "x"}, {"deletionPolicy", "Retain"}})};
    const std::vector<Resource> removed = {make("VaultPolicy", {{"name", "a"}, {"hcl", "x"}})};
    EXPECT_THAT(operator_policy(kept), Not(HasSubstr("delete")));
    EXPECT_THAT(operator_policy(removed), HasSubstr("delete"));
}

TEST(OperatorPolicy, OfASecretIdIsBesideItsRole) {
    const std::vector<Resource> alone = {make("VaultSecretID", {{"appRoleRef", {{"name", "x"}}}})};
    EXPECT_EQ(operator_policy(alone), own_token);
    const std::vector<Resource> both = {make("VaultAppRole", {{"name", "r"}, {"deletionPolicy", "Retain"}}),
                                        alone.front()};
    EXPECT_EQ(operator_policy(both), R"(path "auth/approle/role/r" {
  capabilities = ["create", "read", "update"]
}

path "auth/approle/role/r/custom-secret-id" {
  capabilities = ["update"]
}

path "auth/approle/role/r/role-id" {
  capabilities = ["read"]
}

path "auth/approle/role/r/secret-id" {
  capabilities = ["list"]
}

path "auth/approle/role/r/secret-id-accessor/destroy" {
  capabilities = ["update"]
}

path "auth/approle/role/r/secret-id-accessor/lookup" {
  capabilities = ["update"]
}

path "auth/approle/role/r/secret-id/lookup" {
  capabilities = ["update"]
}

)" + std::string(own_token));
}

TEST(OperatorPolicy, HasWhatARoleThatIsCutOffOrRevokesTokensNeeds) {
    const std::vector<Resource> plain = {make("VaultAppRole", {{"name", "r"}})};
    std::vector<Resource> revoking = {make("VaultAppRole", {{"name", "r"}, {"revokeTokens", true}})};
    std::vector<Resource> cut = plain;
    cut.front().cut_off = true;
    EXPECT_THAT(operator_policy(plain), Not(HasSubstr("accessor")));
    EXPECT_EQ(operator_policy(revoking), operator_policy(cut));
    for (const char* rule : {"path \"auth/token/accessors\" {\n  capabilities = [\"list\", \"sudo\"]",
                             "path \"auth/token/lookup-accessor\" {\n  capabilities = [\"update\"]",
                             "path \"auth/token/revoke-accessor\" {\n  capabilities = [\"update\"]",
                             "path \"auth/approle/role/r/secret-id\" {\n  capabilities = [\"list\"]",
                             "path \"auth/approle/role/r/secret-id-accessor/destroy\" {",
                             "path \"auth/approle/role/r/secret-id-accessor/lookup\" {",
                             "path \"sys/auth\" {\n  capabilities = [\"read\"]",
                             "path \"identity/lookup/entity\" {\n  capabilities = [\"update\"]",
                             "path \"identity/entity/id/*\" {\n  capabilities = [\"update\"]"})
        EXPECT_THAT(operator_policy(revoking), HasSubstr(rule));
}

Resource provider(std::string_view more = "{}") {
    Json spec = Json::parse(R"({"path": "ai-apis/data/acme",
        "variables": [{"name": "A", "key": "a"}],
        "overrides": [
            {"namespaceSelector": {"matchLabels": {"env": "prod"}}, "path": "prod/data/acme"},
            {"namespaceSelector": {"matchLabels": {"env": "far"}}, "path": "ai-apis/data/far",
             "vault": {"address": "https://far:8200"}}]})");
    spec.update(Json::parse(more));
    return make("ClusterAIProvider", std::move(spec));
}

const std::vector<std::string> no_hosts;

std::string policy_of_provider(std::string_view more = "{}",
                               const std::vector<std::string>& probe_hosts = no_hosts) {
    return operator_policy(std::array{provider(more)}, probe_hosts);
}

std::string read_rule(std::string_view path) {
    return "path \"" + std::string(path) + "\" {\n  capabilities = [\"read\"]\n}\n";
}

TEST(OperatorPolicy, OfAProviderIsTheVersionAtEachPlaceInItsOwnVault) {
    const std::string versions =
        read_rule("ai-apis/metadata/acme") + "\n" + own_token + "\n" + read_rule("prod/metadata/acme");
    EXPECT_EQ(policy_of_provider(), versions);
    EXPECT_EQ(policy_of_provider(R"({"keyProbe": {"enabled": false}, "delivery": {"secret": false}})"),
              versions);
}

TEST(OperatorPolicy, OfAProviderWhoseKeyIsTriedHasTheKeyAtEachPlace) {
    const std::vector<std::string> hosts = {"api.acme.example"};
    const std::string with_key = policy_of_provider(R"({"delivery": {"secret": true}})");
    ASSERT_THAT(with_key, testing::AllOf(testing::HasSubstr(read_rule("ai-apis/data/acme")),
                                         testing::HasSubstr(read_rule("prod/data/acme"))));
    // The secret holds the base URL.
    EXPECT_EQ(policy_of_provider(R"({"keyProbe": {"enabled": true}})", hosts), with_key);
    for (const char* url : {"https://api.acme.example/v1", "https://API.acme.example:443"})
        EXPECT_EQ(policy_of_provider(
                      fmt::format(R"({{"keyProbe": {{"enabled": true, "baseURL": "{}"}}}})", url), hosts),
                  with_key)
            << url;
}

TEST(OperatorPolicy, OfAProviderWhoseKeyNoHostMayTakeHasNoKey) {
    EXPECT_EQ(policy_of_provider(R"({"keyProbe": {"enabled": true}})"), policy_of_provider());
    EXPECT_EQ(policy_of_provider(R"({"keyProbe": {"enabled": true, "baseURL": "https://api.acme.example"}})"),
              policy_of_provider());
    const std::vector<std::string> hosts = {"api.acme.example"};
    EXPECT_EQ(policy_of_provider(R"({"keyProbe": {"enabled": false}})", hosts), policy_of_provider());
    for (const char* url : {"https://api.acme.example:8443/v1", "https://api.acme.example.evil.example/v1"})
        EXPECT_EQ(policy_of_provider(
                      fmt::format(R"({{"keyProbe": {{"enabled": true, "baseURL": "{}"}}}})", url), hosts),
                  policy_of_provider())
            << url;
}

TEST(OperatorPolicy, OfAProviderWhoseKeyIsPublishedHasTheKeyAtEachPlace) {
    EXPECT_EQ(policy_of_provider(R"({"delivery": {"secret": true}})"),
              read_rule("ai-apis/data/acme") + "\n" + read_rule("ai-apis/metadata/acme") + "\n" + own_token +
                  "\n" + read_rule("prod/data/acme") + "\n" + read_rule("prod/metadata/acme"));
}

TEST(OperatorPolicy, OfAPublishedKeyOfKvVersionOneIsItsOwnPath) {
    EXPECT_EQ(policy_of_provider(R"({"path": "flat/acme", "overrides": [], "delivery": {"secret": true}})"),
              std::string(own_token) + "\n" + read_rule("flat/acme"));
}

TEST(OperatorPolicy, OfAProviderHasNothingWhereThereAreNoVersions) {
    EXPECT_EQ(policy_of_provider(R"({"path": "flat/acme", "overrides": [], "keyProbe": {"enabled": true}})",
                                 {"api.acme.example"}),
              own_token);
}

// Or the policy would leave out what is done for a kind that came later.
TEST(RequestsEver, KnowTheWayFromNothingAndFromAnythingElseForEveryKind) {
    std::set<std::string_view> seen;
    for (const Resource& resource : one_of_each()) {
        seen.insert(resource.kind->name);
        const std::string path = claim(resource);
        std::vector<std::string> asked;
        for (const Request& request : requests_ever(resource))
            asked.push_back(request.method + " " + request.path);
        const bool mount = resource.kind->name == "VaultMount";
        EXPECT_THAT(asked, testing::Contains("POST " + path)) << resource.text();
        EXPECT_GE(std::ranges::count_if(asked, [](const std::string& a) { return a.starts_with("POST "); }),
                  2)
            << resource.text();
        if (mount) EXPECT_THAT(asked, testing::Contains("POST " + path + "/tune"));
        if (resource.spec.at("deletionPolicy") == "Delete")
            EXPECT_THAT(asked, testing::Contains("DELETE " + path));
    }
    for (const resources::Kind& kind : resources::kinds())
        if (kind.in_vault && kind.name != "VaultConnection" && kind.name != "VaultSecretID")
            EXPECT_TRUE(seen.contains(kind.name)) << kind.name;
}

}  // namespace
}  // namespace keyshepherd::planner
