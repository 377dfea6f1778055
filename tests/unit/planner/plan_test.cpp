#include <keyshepherd/planner/plan.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace keyshepherd::planner {
namespace {

using testing::HasSubstr;

Resource make(const char* kind, Json spec) {
    spec["connectionRef"] = {{"name", "main"}};
    auto reading = resources::read({{"apiVersion", "keyshepherd.dev/v1alpha1"},
                                    {"kind", kind},
                                    {"metadata", {{"name", "x"}, {"namespace", "ai"}}},
                                    {"spec", std::move(spec)}},
                                   "ai");
    for (const auto& fault : reading.faults) ADD_FAILURE() << fault.field << " " << fault.message;
    return reading.resource;
}

Resource role(Json more = Json::object()) {
    more["name"] = "ai-prod-role";
    more["tokenTTL"] = "1h";
    more["tokenMaxTTL"] = "24h";
    more["tokenPolicies"] = {"ai-api"};
    return make("VaultAppRole", std::move(more));
}

// As OpenBao 2.7.2 answers for the seed's role.
Json stored_role() {
    return Json::parse(
        R"({"bind_secret_id":true,"local_secret_ids":false,"secret_id_bound_cidrs":null,"secret_id_num_uses":0,
        "secret_id_ttl":0,"token_bound_cidrs":[],"token_explicit_max_ttl":0,"token_max_ttl":86400,"token_no_default_policy":false,
        "token_num_uses":0,"token_period":0,"token_policies":["ai-api"],"token_strictly_bind_ip":false,"token_ttl":3600,
        "token_type":"default"})");
}

constexpr const char* role_path = "auth/approle/role/ai-prod-role";
const Ownership owner{.owner = true};

Observation role_is(Json held) {
    return {{role_path, std::move(held)}, {std::string(role_path) + "/role-id", Json{{"role_id", "abc"}}}};
}

std::vector<std::string> names(const std::vector<FieldChange>& changes) {
    std::vector<std::string> found;
    for (const auto& change : changes) found.push_back(change.field);
    return found;
}

TEST(RolePlan, IsInSyncWithWhatVaultMakesOfIt) {
    const Plan made = plan(role(), role_is(stored_role()), owner);
    EXPECT_EQ(made.verdict, Verdict::in_sync) << summary(made.changes);
    EXPECT_TRUE(made.requests.empty());
    EXPECT_EQ(made.role_id, "abc");
}

TEST(RolePlan, TakesEqualInMeaningForEqual) {
    Json held = stored_role();
    held["token_policies"] = {"AI-api", "ai-api"};
    held["token_bound_cidrs"] = {"10.0.0.1", "10.1.0.0/16"};
    held["secret_id_bound_cidrs"] = {"192.168.0.1/32"};
    held["token_type"] = "service";
    held["policies"] = {"ai-api"};
    const Resource wanted = role({{"tokenBoundCIDRs", {"10.1.2.3/16", "10.0.0.1/32"}},
                                  {"secretIDBoundCIDRs", {"192.168.0.1"}},
                                  {"tokenType", "default-service"}});
    EXPECT_EQ(plan(wanted, role_is(held), owner).verdict, Verdict::in_sync)
        << summary(plan(wanted, role_is(held), owner).changes);
}

TEST(RolePlan, NamesEachFieldThatDiffersAndWritesAllOfThem) {
    Json held = stored_role();
    held["token_ttl"] = 60;
    held["token_policies"] = {"ai-api", "root-like"};
    const Plan made = plan(role(), role_is(held), owner);
    ASSERT_EQ(made.verdict, Verdict::update);
    EXPECT_THAT(names(made.changes), testing::UnorderedElementsAre("token_ttl", "token_policies"));
    EXPECT_THAT(summary(made.changes), HasSubstr("token_ttl: 60 → 3600"));
    ASSERT_EQ(made.requests.size(), 1U);
    EXPECT_EQ(made.requests[0].body["token_ttl"], 3600);
    EXPECT_EQ(made.requests[0].body["secret_id_num_uses"], 0);  // what is left out keeps its value in Vault
    EXPECT_FALSE(made.requests[0].body.contains("local_secret_ids"));  // refused in an update
}

TEST(RolePlan, MakesALostRoleAgainWithItsRoleId) {
    const Plan made = plan(role(), {{role_path, std::nullopt}}, {.owner = true, .role_id = "kept"});
    ASSERT_EQ(made.verdict, Verdict::create);
    EXPECT_EQ(made.requests[0].body["role_id"], "kept");
    // Nothing that the server would say itself: an empty list is not what it keeps for "none".
    EXPECT_EQ(made.requests[0].body, (Json{{"role_id", "kept"},
                                           {"token_ttl", 3600},
                                           {"token_max_ttl", 86400},
                                           {"token_policies", {"ai-api"}}}));
    EXPECT_EQ(
        plan(role({{"roleID", "mine"}}), {}, {.owner = true, .role_id = "kept"}).requests[0].body["role_id"],
        "mine");
}

TEST(RolePlan, PutsBackARoleIdThatIsGiven) {
    const Plan made = plan(role({{"roleID", "mine"}}), role_is(stored_role()), owner);
    ASSERT_EQ(made.verdict, Verdict::update);
    EXPECT_EQ(names(made.changes), std::vector<std::string>{"role_id"});
    ASSERT_EQ(made.requests.size(), 1U);
    EXPECT_EQ(made.requests[0].path, std::string(role_path) + "/role-id");
}

TEST(RolePlan, LeavesAForeignRoleAlone) {
    Json other = stored_role();
    other["token_ttl"] = 1;
    for (const auto& [policy, may, held, verdict] :
         {std::tuple("Fail", true, stored_role(), Verdict::refused),
          std::tuple("Fail", true, other, Verdict::refused),
          std::tuple("IfEqual", true, stored_role(), Verdict::in_sync),
          std::tuple("IfEqual", true, other, Verdict::refused),
          std::tuple("IfEqual", false, stored_role(), Verdict::refused),
          std::tuple("Adopt", true, other, Verdict::update),
          std::tuple("Adopt", false, other, Verdict::refused)}) {
        const Plan made =
            plan(role({{"adoptionPolicy", policy}}), role_is(held), {.owner = false, .may_adopt = may});
        EXPECT_EQ(made.verdict, verdict) << policy << may << made.message;
        if (verdict == Verdict::refused) {
            EXPECT_EQ(made.reason, "AdoptionRefused");
            EXPECT_TRUE(made.requests.empty());
            if (!may) {
                EXPECT_TRUE(made.changes.empty()) << "what a foreign role is like is nobody's business";
                EXPECT_THAT(made.message, HasSubstr("add the right adopt to grants[].rights for namespace"));
            }
        }
    }
}

TEST(KubernetesRolePlan, AudienceIsAbsentFromVaultsAnswerWhenThereIsNone) {
    const Resource wanted = make(
        "VaultKubernetesRole",
        {{"name", "holysheep"}, {"boundServiceAccountNames", {"ai-app", "default"}}, {"audience", "vault"}});
    EXPECT_EQ(wanted.spec["boundServiceAccountNamespaces"], Json::array({"ai"}));
    Json held = Json::parse(
        R"({"alias_name_source":"serviceaccount_uid","bound_service_account_names":["default","ai-app"],
        "bound_service_account_namespaces":["ai"],"bound_service_account_namespace_selector":"","token_bound_cidrs":[],
        "token_explicit_max_ttl":0,"token_max_ttl":0,"token_no_default_policy":false,"token_num_uses":0,"token_period":0,
        "token_policies":[],"token_ttl":0,"token_type":"default"})");
    const std::string path = "auth/kubernetes/role/holysheep";
    EXPECT_EQ(names(plan(wanted, {{path, held}}, owner).changes), std::vector<std::string>{"audience"});
    held["audience"] = "vault";
    EXPECT_EQ(plan(wanted, {{path, held}}, owner).verdict, Verdict::in_sync);
}

constexpr const char* rules_text =
    "path \"ai-apis/data/*\" {\n  capabilities = [\"read\", \"list\"]\n}\n\n"
    "path \"ai-apis/creds/ai-prod-role\" {\n  capabilities = [\"read\"]\n}\n";

Resource policy() {
    return make("VaultPolicy", {{"name", "ai-api"},
                                {"rules",
                                 {{{"path", "ai-apis/data/*"}, {"capabilities", {"read", "list"}}},
                                  {{"path", "ai-apis/creds/ai-prod-role"}, {"capabilities", {"read"}}}}}});
}

TEST(PolicyPlan, WritesTheRulesAsPeopleWriteThem) {
    EXPECT_EQ(policy_text(policy().spec), rules_text);
    EXPECT_EQ(policy_text({{"hcl", "path \"a\"{}\r\n"}}), "path \"a\"{}\r\n");
    const Json wrapped = {{"rules",
                           {{{"path", "a"},
                             {"capabilities", {"read"}},
                             {"requiredParameters", {"x", "y"}},
                             {"minWrappingTTL", "1m"}}}}};
    EXPECT_EQ(policy_text(wrapped),
              "path \"a\" {\n  capabilities = [\"read\"]\n  required_parameters = [\"x\", \"y\"]\n"
              "  min_wrapping_ttl = \"60s\"\n}\n");
}

TEST(PolicyPlan, SpacingCommentsAndOrderInListsAreNoDrift) {
    for (const char* held :
         {"path \"ai-apis/data/*\" { capabilities = [\"list\",\"read\",] }\r\n# by hand\r\n"
          "path \"ai-apis/creds/ai-prod-role\" {capabilities=[\"read\"]}",
          rules_text}) {
        const Plan made = plan(policy(), {{"sys/policies/acl/ai-api", Json{{"policy", held}}}}, owner);
        EXPECT_EQ(made.verdict, Verdict::in_sync) << held;
    }
}

TEST(PolicyPlan, TellsInOneLineWhatDiffers) {
    const Plan made = plan(
        policy(), {{"sys/policies/acl/ai-api", Json{{"policy", "path \"x\" { capabilities = [\"read\"] }"}}}},
        owner);
    EXPECT_THAT(summary(made.changes), HasSubstr("path x: read → absent"));
}

TEST(PolicyPlan, ATouchedWordIsDrift) {
    for (const char* held : {"", "path \"ai-apis/data/*\" { capabilities = [\"read\"] }",
                             "path \"ai-apis/data/* \" { capabilities = [\"read\", \"list\"] } path "
                             "\"ai-apis/creds/ai-prod-role\" { "
                             "capabilities = [\"read\"] }"}) {
        const Plan made = plan(policy(), {{"sys/policies/acl/ai-api", Json{{"policy", held}}}}, owner);
        EXPECT_EQ(made.verdict, Verdict::update) << held;
        EXPECT_EQ(made.requests.at(0).body["policy"], rules_text);
    }
}

TEST(PolicyDifference, IsToldPathByPath) {
    EXPECT_EQ(policy_difference("path \"*\" { capabilities = [\"sudo\"] }", rules_text),
              "path *: sudo → absent, path ai-apis/creds/ai-prod-role: absent → read, path ai-apis/data/*: "
              "absent → list read");
    EXPECT_EQ(policy_difference("path \"a\" { capabilities = [\"read\", \"list\"] }",
                                "path \"a\" { capabilities = [\"read\"] }"),
              "path a: list read → read");
    EXPECT_EQ(policy_difference("path \"a\" { capabilities = [\"read\"] min_wrapping_ttl = \"1s\" }",
                                "path \"a\" { capabilities = [\"read\"] }"),
              "path a: read min_wrapping_ttl = 1s → read");
    for (const char* torn : {"path", "path \"a\"", "path \"a\" {", "x = 1", "\"", "path { }"})
        EXPECT_EQ(policy_difference(torn, "path \"a\" {}"), "policy") << torn;
}

TEST(SamePolicy, KnowsHeredocsAndStrings) {
    EXPECT_TRUE(same_policy("a = <<EOF\nx # y\nEOF\n", "a=<<EOF\r\nx # y\r\nEOF"));
    EXPECT_FALSE(same_policy("a = <<EOF\nx\nEOF\n", "a = <<EOF\ny\nEOF\n"));
    EXPECT_FALSE(same_policy("path \"a#b\" {}", "path \"a#c\" {}"));
    EXPECT_TRUE(same_policy("/* x */ path \"a\" {} // y", "path \"a\" {}"));
    for (const char* torn : {"\"", "\"${", "\"${\"", "<<", "<<EOF", "/*", "[", "[\"a\"", "\"\\", "<<-"})
        EXPECT_TRUE(same_policy(torn, torn));
}

TEST(SamePolicy, TellsAListOfObjectsFromOneOfWords) {
    // JSON is HCL too: here a path, a capability and an object each change their place.
    const char* json =
        R"({"path": [{"a": {"capabilities": ["read"]}}, {"b": {"capabilities": ["sudo", "list"]}}]})";
    EXPECT_TRUE(same_policy(
        json, R"({"path":[{"a":{"capabilities":["read"]}},{"b":{"capabilities":["list","sudo"]}}]})"));
    for (const char* changed :
         {R"({"path": [{"b": {"capabilities": ["read"]}}, {"a": {"capabilities": ["sudo", "list"]}}]})",
          R"({"path": [{"a": {"capabilities": ["sudo"]}}, {"b": {"capabilities": ["read", "list"]}}]})",
          R"({"path": [{"a": {"capabilities": ["read"]}}, {"b": {"capabilities": ["sudo", "read"]}}]})",
          R"({"path": [{"b": {"capabilities": ["sudo", "list"]}}, {"a": {"capabilities": ["read"]}}]})"})
        EXPECT_FALSE(same_policy(json, changed)) << changed;
    // The words of both are the same, once they are sorted and each counts once.
    EXPECT_FALSE(same_policy("x = [{a = 1, b = 2}]", "x = [{a = 2, b = 1}]"));
    EXPECT_FALSE(same_policy(R"(x = [{"a" = "b"}])", R"(x = [{"b" = "a"}])"));
    EXPECT_FALSE(
        same_policy(R"(x = [{"a" = ["u"]}, {"b" = ["v"]}])", R"(x = [{"a" = ["v"]}, {"b" = ["u"]}])"));
    EXPECT_FALSE(same_policy(R"(x = [["a", "b"], ["c"]])", R"(x = [["a"], ["b", "c"]])"));
    EXPECT_TRUE(same_policy("x = [{a = 1},]", "x = [ {a=1} ]"));
    EXPECT_TRUE(same_policy(R"(x = ["b", "a", "a",])", R"(x = ["a", "b"])"));
}

TEST(SamePolicy, ReadsStringsAndHeredocsToTheirEnd) {
    EXPECT_FALSE(same_policy("a = <<EOF\nx\nEOFX\ny  z\nEOF\n", "a = <<EOF\nx\nEOFX\ny z\nEOF\n"))
        << "EOFX is no end";
    EXPECT_TRUE(same_policy("a = <<-EOF\n  x\n  EOF\nb = 1", "a = <<-EOF\n  x\n  EOF\nb  =  1"));
    EXPECT_FALSE(same_policy("path \"${\"a  b\"}\" {}", "path \"${\"a b\"}\" {}"));
    EXPECT_FALSE(same_policy("path \"a\rb\" {}", "path \"ab\" {}"));
}

TEST(HclString, CannotBeLeft) {
    EXPECT_EQ(hcl_string("ai-apis/data/+/x*"), "\"ai-apis/data/+/x*\"");
    EXPECT_EQ(hcl_string("a\"\npath \"*\" {}\n#"), R"("a\"\npath \"*\" {}\n#")");
    EXPECT_EQ(hcl_string("a\\"), R"("a\\")");
    EXPECT_EQ(hcl_string("${x}$y"), R"("\u0024{x}$y")");
    EXPECT_EQ(hcl_string("\x1b\u202e\U000e0041é\xff"), R"("\u001b\u202e\U000e0041é\ufffd")");
}

TEST(MountPlan, CreatesTunesAndRefusesAnotherType) {
    const Resource mount = make("VaultMount", {{"path", "ai-apis"},
                                               {"type", "kv"},
                                               {"options", {{"version", "2"}}},
                                               {"config", {{"maxLeaseTTL", "1h"}}}});
    const Plan created = plan(mount, {{"sys/mounts", Json::object()}}, owner);
    ASSERT_EQ(created.verdict, Verdict::create);
    EXPECT_EQ(created.requests[0].path, "sys/mounts/ai-apis");
    EXPECT_EQ(created.requests[0].body["options"]["version"], "2");
    EXPECT_EQ(created.requests[0].body["config"]["max_lease_ttl"], 3600);

    Json entry = Json::parse(R"({"type":"kv","description":"","local":false,"options":{"version":"2"},
        "config":{"default_lease_ttl":0,"force_no_cache":false,"max_lease_ttl":3600}})");
    EXPECT_EQ(plan(mount, {{"sys/mounts", Json{{"ai-apis/", entry}}}}, owner).verdict, Verdict::in_sync);
    entry["config"]["max_lease_ttl"] = 60;
    const Plan tuned = plan(mount, {{"sys/mounts", Json{{"ai-apis/", entry}}}}, owner);
    ASSERT_EQ(tuned.verdict, Verdict::update);
    EXPECT_EQ(names(tuned.changes), std::vector<std::string>{"config.max_lease_ttl"});
    EXPECT_EQ(tuned.requests[0].path, "sys/mounts/ai-apis/tune");
    entry["type"] = "cubbyhole";
    const Plan refused = plan(mount, {{"sys/mounts", Json{{"ai-apis/", entry}}}}, owner);
    EXPECT_EQ(refused.reason, "TypeMismatch");
    EXPECT_TRUE(refused.requests.empty());
}

// Vault ignores the lockout where a mount is made, and answers other names than it takes.
TEST(MountPlan, TunesTheUserLockout) {
    const Json spec = {{"path", "approle"},
                       {"engine", "Auth"},
                       {"type", "approle"},
                       {"config", {{"userLockoutConfig", {{"threshold", 7}, {"duration", "10m"}}}}}};
    const Resource mount = make("VaultMount", spec);
    const Plan created = plan(mount, {{"sys/auth", Json::object()}}, owner);
    ASSERT_EQ(created.requests.size(), 2U);
    EXPECT_EQ(created.requests[0].path, "sys/auth/approle");
    EXPECT_FALSE(created.requests[0].body["config"].contains("user_lockout_config"));
    EXPECT_EQ(created.requests[1].path, "sys/auth/approle/tune");
    EXPECT_EQ(created.requests[1].body,
              (Json{{"user_lockout_config", {{"lockout_threshold", 7}, {"lockout_duration", 600}}}}));

    Json entry = Json::parse(R"({"type":"approle","description":"","local":false,"options":null,
        "config":{"default_lease_ttl":0,"force_no_cache":false,"max_lease_ttl":0}})");
    const auto planned = [&](const Resource& wanted) {
        return plan(wanted, {{"sys/auth", Json{{"approle/", entry}}}}, owner);
    };
    EXPECT_EQ(planned(mount).verdict, Verdict::update) << "it was never tuned";
    EXPECT_EQ(names(planned(mount).changes),
              (std::vector<std::string>{"config.user_lockout_config.lockout_threshold",
                                        "config.user_lockout_config.lockout_duration"}));
    entry["config"]["user_lockout_config"] = {{"user_lockout_counter_reset_duration", 0},
                                              {"user_lockout_disable", false},
                                              {"user_lockout_duration", 600},
                                              {"user_lockout_threshold", 7}};
    EXPECT_EQ(planned(mount).verdict, Verdict::in_sync) << "10m is 600";
    entry["config"]["user_lockout_config"]["user_lockout_disable"] = true;
    const Plan repaired = planned(mount);
    ASSERT_EQ(repaired.requests.size(), 1U);
    EXPECT_EQ(repaired.requests[0].body["user_lockout_config"]["lockout_disable"], false);
    Json silent = spec;
    silent["config"] = Json::object();
    EXPECT_EQ(planned(make("VaultMount", silent)).verdict, Verdict::in_sync) << "absent, it is left as it is";
}

Observation mount_is(Json held) {
    return {{"sys/mounts", Json{{"x/", std::move(held)}}}};
}

TEST(MountPlan, ReadsKvWithAVersionAsVaultStoresIt) {
    for (const auto& [type, version] : {std::pair("kv-v1", "1"), {"kv-v2", "2"}}) {
        const Resource mount = make("VaultMount", {{"path", "x"}, {"type", type}});
        const Plan created = plan(mount, {{"sys/mounts", Json::object()}}, owner);
        ASSERT_EQ(created.verdict, Verdict::create);
        EXPECT_EQ(created.requests[0].body["type"], "kv");
        EXPECT_EQ(created.requests[0].body["options"], Json({{"version", version}}));
        EXPECT_EQ(plan(mount, mount_is({{"type", "kv"}, {"options", {{"version", version}}}}), owner).verdict,
                  Verdict::in_sync);
    }
    const Resource first = make("VaultMount", {{"path", "x"}, {"type", "kv-v1"}});
    EXPECT_EQ(plan(first, mount_is({{"type", "kv"}, {"options", nullptr}}), owner).verdict, Verdict::in_sync);
    const Plan back = plan(first, mount_is({{"type", "kv"}, {"options", {{"version", "2"}}}}), owner);
    EXPECT_EQ(back.verdict, Verdict::refused) << "Vault does not turn version 2 back";
    EXPECT_THAT(requests_ever(make("VaultMount", {{"path", "x"}, {"type", "kv-v2"}})).back().path,
                testing::EndsWith("/tune"));
}

TEST(MountPlan, NoMessageNamesAWayToLoseWhatIsInAMount) {
    const Resource mount =
        make("VaultMount", {{"path", "x"}, {"type", "transit"}, {"adoptionPolicy", "Adopt"}});
    for (const Json& held : {Json{{"type", "kv"}}, Json{{"type", "transit"}, {"local", true}}}) {
        const Plan made = plan(mount, mount_is(held), {.owner = false, .may_adopt = true});
        ASSERT_EQ(made.verdict, Verdict::refused);
        for (const char* word : {"disable", "delete", "remove", "destroy", "lose"})
            EXPECT_THAT(made.message, testing::Not(HasSubstr(word))) << made.message;
    }
    // Nobody who could not take it over is told what it is.
    const Plan foreign = plan(mount, mount_is({{"type", "kv"}}), {.owner = false});
    EXPECT_EQ(foreign.reason, "AdoptionRefused");
    EXPECT_THAT(foreign.message, testing::Not(HasSubstr("kv")));
}

TEST(Removal, LeavesAMountThatSomebodyMadeInThePlaceOfOurs) {
    const Resource mount =
        make("VaultMount", {{"path", "x"}, {"type", "kv-v2"}, {"deletionPolicy", "Delete"}});
    EXPECT_EQ(plan_removal(mount, mount_is({{"type", "kv"}}), owner).verdict, Verdict::remove);
    const Plan other = plan_removal(mount, mount_is({{"type", "transit"}}), owner);
    EXPECT_EQ(other.verdict, Verdict::refused);
    EXPECT_TRUE(other.requests.empty());
}

TEST(UnsetParameters, AreADifferenceWhereSomebodySetThem) {
    const Resource kubernetes = make(
        "VaultKubernetesRole", {{"name", "r"}, {"boundServiceAccountNames", {"a"}}, {"audience", "vault"}});
    Json held = {{"bound_service_account_names", {"a"}},
                 {"bound_service_account_namespaces", {"ai"}},
                 {"audience", "vault"},
                 {"bound_service_account_namespace_selector", ""}};
    const std::string path = "auth/kubernetes/role/r";
    EXPECT_EQ(plan(kubernetes, {{path, held}}, owner).verdict, Verdict::in_sync);
    held["bound_service_account_namespace_selector"] = R"({"matchLabels":{"a":"b"}})";
    const Plan made = plan(kubernetes, {{path, held}}, owner);
    EXPECT_EQ(names(made.changes), std::vector<std::string>{"bound_service_account_namespace_selector"});
    EXPECT_EQ(made.requests.at(0).body["bound_service_account_namespace_selector"], "");

    Json text = {{"policy", rules_text}};
    const auto planned = [&] { return plan(policy(), {{"sys/policies/acl/ai-api", text}}, owner); };
    EXPECT_TRUE(has_unset_parameters(*policy().kind, text));
    text["expiration"] = "2030-01-01T00:00:00Z";
    EXPECT_EQ(names(planned().changes), std::vector<std::string>{"expiration"});
    EXPECT_FALSE(has_unset_parameters(*policy().kind, text)) << "no list of policies confirms it";
    EXPECT_FALSE(planned().requests.at(0).body.contains("cas"));
    text["cas_required"] = true;
    text["version"] = 7;
    EXPECT_EQ(planned().requests.at(0).body["cas"], 7);
    EXPECT_EQ(planned().requests.at(0).body["cas_required"], true) << "a write that does not name it ends it";
}

TEST(RolePlan, RefusesWhatVaultSetsOnlyAtCreation) {
    Json held = stored_role();
    held["local_secret_ids"] = true;
    const Plan made = plan(role(), role_is(held), owner);
    EXPECT_EQ(made.reason, "FixedInVault");
    EXPECT_TRUE(made.requests.empty());
    EXPECT_THAT(made.message, HasSubstr("Set spec.localSecretIDs: true"));
    EXPECT_EQ(plan(role({{"localSecretIDs", true}}), role_is(held), owner).verdict, Verdict::in_sync);
    EXPECT_EQ(plan(role({{"localSecretIDs", true}}), {}, owner).requests.at(0).body["local_secret_ids"],
              true);
}

TEST(RolePlan, SendsNetworksAsVaultTakesThem) {
    const Json spec = {{"secretIDBoundCIDRs", {"10.0.0.1", "fd00:10:0:0::/64"}},
                       {"tokenBoundCIDRs", {"::ffff:10.0.0.1/128"}}};
    const Json body = plan(role(spec), {}, owner).requests.at(0).body;
    EXPECT_EQ(body["secret_id_bound_cidrs"], Json({"10.0.0.1/32", "fd00:10::/64"}));
    EXPECT_EQ(body["token_bound_cidrs"], Json({"10.0.0.1"}));
}

TEST(PolicyPlan, SendsTextThatIsBase64SoThatVaultStoresIt) {
    const auto sent = [](const char* hcl) {
        const Resource made = make("VaultPolicy", {{"name", "p"}, {"hcl", hcl}});
        return plan(made, {}, owner).requests.at(0).body["policy"].get<std::string>();
    };
    const std::string text = "path \"a\" { }\n";
    EXPECT_EQ(sent("cGF0aCAiYSIgeyB9Cg=="), text) << "Vault decodes it too";
    EXPECT_EQ(sent("cGF0aCAi\r\nYSIgeyB9Cg==\n"), text) << "with its line breaks";
    EXPECT_EQ(sent("YWJjZA=="), "YWJjZA==") << "abcd is base64 again: Vault would decode it twice";
    for (const char* none : {"YWJjZ", "YWJjZA=", "YWJjZA===", "=", "YW=JjZA=", "path \"a\" { }"})
        EXPECT_EQ(sent(none), none);
}

TEST(Removal, IsForOwnersThatAskForIt) {
    const Observation there = role_is(stored_role());
    EXPECT_EQ(plan_removal(role(), there, owner).requests.at(0).method, "DELETE");
    EXPECT_TRUE(plan_removal(role(), there, {.owner = false}).requests.empty());
    EXPECT_TRUE(plan_removal(role({{"deletionPolicy", "Retain"}}), there, owner).requests.empty());
    EXPECT_TRUE(plan_removal(role(), {{role_path, std::nullopt}}, owner).requests.empty());
    const Resource mount = make("VaultMount", {{"path", "ai-apis"}, {"type", "kv"}});
    EXPECT_TRUE(
        plan_removal(mount, {{"sys/mounts", Json{{"ai-apis/", Json::object()}}}}, owner).requests.empty());
}

TEST(Claim, IsSpelledAsVaultKeepsIt) {
    EXPECT_EQ(claim(make("VaultAppRole", {{"name", "App"}})), claim(make("VaultAppRole", {{"name", "app"}})));
    EXPECT_EQ(claim(make("VaultMount", {{"path", "approle"}, {"type", "approle"}, {"engine", "Auth"}})),
              "sys/auth/approle");
}

}  // namespace
}  // namespace keyshepherd::planner
