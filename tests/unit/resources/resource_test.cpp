#include <keyshepherd/resources/crd.hpp>
#include <keyshepherd/resources/resource.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace keyshepherd::resources {
namespace {

using testing::HasSubstr;

Json policy(Json spec) {
    spec["connectionRef"] = {{"name", "main"}};
    return {{"apiVersion", "keyshepherd.dev/v1alpha1"},
            {"kind", "VaultPolicy"},
            {"metadata", {{"name", "ai-api"}, {"namespace", "ai"}}},
            {"spec", std::move(spec)}};
}

std::vector<std::string> fields(const std::vector<Fault>& faults) {
    std::vector<std::string> names;
    for (const Fault& fault : faults) names.push_back(fault.field);
    return names;
}

void every_field_is_named(std::span<const Field> fields, const std::string& where) {
    for (const Field& field : fields) {
        EXPECT_FALSE(field.name.empty()) << "an array of " << where << " is longer than its fields";
        EXPECT_FALSE(field.doc.empty()) << where << "." << field.name;
        if (!field.pattern.empty()) {
            EXPECT_TRUE(field.pattern.starts_with("^") && field.pattern.ends_with("$")) << field.name;
            EXPECT_FALSE(field.expected.empty())
                << where << "." << field.name << " says no words for its pattern";
        }
        if (field.type == Type::object || field.type == Type::object_list) {
            EXPECT_FALSE(field.members.empty()) << field.name;
        }
        if (field.type == Type::enumeration) {
            EXPECT_FALSE(field.values.empty()) << field.name;
        }
        if (!field.fallback.empty()) {
            EXPECT_NO_THROW((void)Json::parse(field.fallback)) << field.name;
        }
        every_field_is_named(field.members, where + "." + std::string(field.name));
    }
}

TEST(Kinds, HaveNoHoleInTheirTables) {
    EXPECT_EQ(kinds().size(), 8U);
    for (const Kind& kind : kinds()) {
        every_field_is_named(kind.spec, std::string(kind.name));
        for (const PrinterColumn& column : kind.columns) EXPECT_FALSE(column.name.empty()) << kind.name;
        for (const Rule& rule : kind.rules) EXPECT_FALSE(rule.expression.empty()) << kind.name;
    }
}

TEST(Duration, IsSecondsOfWhatGoAndPeopleWrite) {
    EXPECT_EQ(seconds("90"), 90);
    EXPECT_EQ(seconds("0"), 0);
    EXPECT_EQ(seconds("1h30m"), 5400);
    EXPECT_EQ(seconds("2d"), 172'800);
    EXPECT_EQ(seconds("250ms"), 1);
    EXPECT_EQ(seconds("1m500ms"), 61);
    EXPECT_EQ(seconds_of(Json(3600)), 3600);
    for (const char* wrong :
         {"", "h", "1x", "-1", "1.5h", "1 h", "99999999999999999999", "99999999999h", "1h30"})
        EXPECT_EQ(seconds(wrong), std::nullopt) << wrong;
    EXPECT_EQ(seconds_of(Json(-1)), std::nullopt);
    EXPECT_EQ(seconds_of(Json(1.5)), std::nullopt);
}

TEST(Kinds, DescribeEveryFieldOfTheirStatus) {
    for (const Kind& kind : kinds()) {
        for (const std::string_view fact : kind.facts) EXPECT_NE(status_doc(fact), "") << kind.name << fact;
        for (const std::string_view count : kind.counts)
            EXPECT_NE(status_doc(count), "") << kind.name << count;
    }
}

// The API server takes durations only as texts, so a file with a number would be refused after `plan` took
// it.
TEST(Reading, RefusesADurationThatIsANumber) {
    for (const auto& [number, message] :
         {std::pair("3600", "must be a string with a unit, such as \"3600s\""),
          std::pair("0", "must be a string with a unit, such as \"0s\""),
          std::pair("-1", "must be a duration such as 90s, 1h30m or 2d"),
          std::pair("1.5", "must be a duration such as 90s, 1h30m or 2d")}) {
        const Reading found =
            read(policy({{"name", "p"}, {"hcl", "x"}, {"resyncPeriod", Json::parse(number)}}), "ai");
        ASSERT_EQ(fields(found.faults), std::vector<std::string>{"spec.resyncPeriod"}) << number;
        EXPECT_EQ(found.faults[0].message, message);
    }
}

TEST(Reading, SaysInWordsWhatAPatternMeans) {
    const Reading found = read(policy({{"name", "UP"}, {"hcl", "x"}, {"resyncPeriod", "soon"}}), "ai");
    ASSERT_EQ(fields(found.faults), (std::vector<std::string>{"spec.name", "spec.resyncPeriod"}));
    EXPECT_EQ(
        found.faults[0].message,
        "must be the name of a policy such as ai-api: lower-case letters, digits, '.', '_', '-' and '/', "
        "with no '.' at the end of a segment");
    EXPECT_EQ(found.faults[1].message, "must be a duration such as 90s, 1h30m or 2d, and at most 100 years");
}

TEST(Reading, FillsInWhatWasLeftOut) {
    const Reading read_role =
        read({{"apiVersion", "keyshepherd.dev/v1alpha1"},
              {"kind", "VaultAppRole"},
              {"metadata", {{"name", "r"}}},
              {"spec", {{"connectionRef", {{"name", "main"}}}, {"name", "ai-prod-role"}}}},
             "ai");
    EXPECT_EQ(fields(read_role.faults), std::vector<std::string>{});
    EXPECT_EQ(read_role.resource.ns, "ai");
    EXPECT_EQ(read_role.resource.spec["mount"], "approle");
    EXPECT_EQ(read_role.resource.spec["bindSecretID"], true);
    EXPECT_EQ(read_role.resource.spec["tokenPolicies"], Json::array());
    EXPECT_FALSE(read_role.resource.spec.contains("roleID"));
}

TEST(Reading, GivesEveryFaultAtOnceWithItsPlace) {
    const Reading found =
        read(policy({{"name", "../../x"},
                     {"rules", {{{"path", "/a"}, {"capabilities", {"reed"}}}, {{"capabilities", {"read"}}}}},
                     {"driftpolicy", "Repair"},
                     {"resyncPeriod", "soon"}}),
             "ai");
    EXPECT_THAT(fields(found.faults), testing::UnorderedElementsAre(
                                          "spec.name", "spec.rules[0].path", "spec.rules[0].capabilities[0]",
                                          "spec.rules[1].path", "spec.driftpolicy", "spec.resyncPeriod"));
    for (const Fault& fault : found.faults)
        if (fault.field == "spec.driftpolicy") {
            EXPECT_THAT(fault.message, HasSubstr("did you mean driftPolicy?"));
        }
}

// The message of each fault of a VaultPolicy, and of one in another namespace, whose only odd part is
// `field`.
std::vector<std::string> faults_of_name(const char* field, const Json& value) {
    Json object = policy({{"name", "x"}, {"rules", {{{"path", "x"}, {"capabilities", {"read"}}}}}});
    object["metadata"][field] = value;
    return fields(read(object, "ai").faults);
}

TEST(Reading, ChecksNamesAsTheApiServerDoes) {
    const std::string long_label(63, 'a');
    const std::string long_name(253, 'a');
    for (const std::string& good : {std::string("a"), std::string("a.b-c.d"), std::string("0"), long_name})
        EXPECT_EQ(faults_of_name("name", good), std::vector<std::string>{}) << good;
    for (const std::string& good : {std::string("a"), std::string("a-b"), std::string("0"), long_label})
        EXPECT_EQ(faults_of_name("namespace", good), std::vector<std::string>{}) << good;
    const std::vector<std::string> wrong = {"a\npath \"*\" {\n  capabilities = [\"sudo\"]\n}\n#",
                                            "..",
                                            "../up",
                                            "a/b",
                                            "a b",
                                            "A",
                                            "a_b",
                                            "-a",
                                            "a-",
                                            "a..b",
                                            ".a",
                                            "a.",
                                            "a.-b",
                                            "a\n",
                                            "\x1b[31m",
                                            "a\u202e",
                                            std::string("a\0", 2),
                                            long_name + "a"};
    for (const std::string& each : wrong) {
        EXPECT_EQ(faults_of_name("name", each), std::vector<std::string>{"metadata.name"}) << each;
        EXPECT_EQ(faults_of_name("namespace", each), std::vector<std::string>{"metadata.namespace"}) << each;
    }
    for (const std::string& each : {std::string("a.b"), long_label + "a"})
        EXPECT_EQ(faults_of_name("namespace", each), std::vector<std::string>{"metadata.namespace"}) << each;
    EXPECT_EQ(faults_of_name("name", ""), std::vector<std::string>{"metadata.name"});
    for (const char* field : {"name", "namespace"})
        EXPECT_EQ(faults_of_name(field, true), std::vector<std::string>{std::string("metadata.") + field});
    Json cluster = {{"apiVersion", "keyshepherd.dev/v1alpha1"},
                    {"kind", "ClusterAIProvider"},
                    {"metadata", {{"name", "a"}}},
                    {"spec", {{"path", "a/b"}, {"variables", {{{"name", "A"}, {"key", "a"}}}}}}};
    EXPECT_EQ(fields(read(cluster, "no such\nnamespace").faults), std::vector<std::string>{})
        << "it has none";
}

// Every text field of every kind that names an object of Kubernetes, and how long the name may be.
void references(std::span<const Field> fields, const std::string& where,
                std::map<std::string, const Field*>& found) {
    for (const Field& field : fields) {
        const std::string place = where + "." + std::string(field.name);
        if (field.pattern == dns_subdomain || field.pattern == dns_label) found[place] = &field;
        references(field.members, place, found);
    }
}

TEST(Kinds, BoundEveryReferenceAsKubernetesDoes) {
    std::map<std::string, const Field*> found;
    for (const Kind& kind : kinds()) references(kind.spec, std::string(kind.name), found);
    for (const char* field :
         {"VaultPolicy.connectionRef.name", "VaultPolicy.connectionRef.namespace",
          "VaultSecretID.appRoleRef.name", "VaultSecretID.secretName",
          "VaultSecretID.rolloutRestartTargets.name", "VaultConnection.auth.kubernetes.serviceAccountName",
          "VaultConnection.auth.jwt.serviceAccountName", "VaultConnection.auth.appRole.secretName",
          "VaultConnection.auth.token.secretName", "AIProvider.auth.secretName",
          "ClusterAIProvider.connectionRef.namespace", "ClusterAIProvider.overrides.auth.secretName"})
        EXPECT_TRUE(found.contains(field)) << field;
    for (const auto& [place, field] : found) {
        const std::size_t longest = field->pattern == dns_label ? longest_dns_label : longest_dns_subdomain;
        EXPECT_GT(field->max_length, 0) << place;
        EXPECT_LE(static_cast<std::size_t>(field->max_length), longest) << place;
        EXPECT_EQ(place.ends_with("amespace"), field->pattern == dns_label) << place;
    }
    const Reading dots =
        read(policy({{"name", "x"}, {"rules", {{{"path", "x"}, {"capabilities", {"read"}}}}}}), "ai");
    ASSERT_EQ(fields(dots.faults), std::vector<std::string>{});
    for (const char* name : {"a..b", "a.-b", "a\n", "a/b", "-a"}) {
        Json object = policy({{"name", "x"}, {"rules", {{{"path", "x"}, {"capabilities", {"read"}}}}}});
        object["spec"]["connectionRef"]["name"] = name;
        EXPECT_EQ(fields(read(object, "ai").faults), std::vector<std::string>{"spec.connectionRef.name"})
            << name;
    }
}

TEST(Reading, RefusesNamesThatLeaveTheirPlace) {
    for (const char* name :
         {"..", "a/../b", "/a", "a/", "a//b", "a b", "a?b", "a#b", "a%2fb", "", "a\n", "A"}) {
        const Reading found =
            read(policy({{"name", name}, {"rules", {{{"path", "x"}, {"capabilities", {"read"}}}}}}), "ai");
        EXPECT_EQ(fields(found.faults), std::vector<std::string>{"spec.name"}) << name;
    }
    for (const char* mount : {"..", "a/..", "../sys", "a/./b", ".hidden", "a//b", "a/"}) {
        const Reading found =
            read({{"apiVersion", "keyshepherd.dev/v1alpha1"},
                  {"kind", "VaultAppRole"},
                  {"metadata", {{"name", "r"}}},
                  {"spec", {{"connectionRef", {{"name", "m"}}}, {"name", "r"}, {"mount", mount}}}},
                 "ai");
        EXPECT_EQ(fields(found.faults), std::vector<std::string>{"spec.mount"}) << mount;
    }
}

// Kubernetes refuses them, and an unquoted rotate-now or paused would go unheeded.
TEST(Reading, RefusesAnnotationsAndLabelsThatAreNoTexts) {
    const auto faults = [](const char* map, Json value) {
        Json object =
            policy({{"name", "p"}, {"rules", Json::array({{{"path", "a"}, {"capabilities", {"read"}}}})}});
        object["metadata"][map] = std::move(value);
        return fields(read(object, "").faults);
    };
    using Fields = std::vector<std::string>;
    for (const Json& value : {Json(1), Json(true), Json(1.5), Json::array(), Json::object()})
        EXPECT_EQ(faults("annotations", {{"keyshepherd.dev/rotate-now", value}}),
                  Fields{"metadata.annotations.keyshepherd.dev/rotate-now"})
            << value;
    EXPECT_EQ(faults("labels", {{"app", 1}, {"tier", "a"}}), Fields{"metadata.labels.app"});
    EXPECT_EQ(faults("annotations", Json::array()), Fields{"metadata.annotations"});
    for (const Json& fine : {Json(), Json::object(), Json{{"a", "1"}}, Json{{"a", nullptr}}})
        EXPECT_EQ(faults("annotations", fine), Fields{}) << fine;
}

TEST(Reading, RefusesNamesThatEndInADotAndPrefixesThatNoAddressHas) {
    const auto faults = [](const char* kind, const char* field, Json value) {
        Json spec = {{"connectionRef", {{"name", "main"}}}, {"name", "r"}};
        if (std::string_view(kind) == "VaultMount")
            spec = {{"connectionRef", {{"name", "main"}}}, {"path", "p"}, {"type", "kv"}};
        if (std::string_view(kind) == "VaultPolicy") spec["hcl"] = "x";
        spec[field] = std::move(value);
        return read({{"apiVersion", "keyshepherd.dev/v1alpha1"},
                     {"kind", kind},
                     {"metadata", {{"name", "r"}, {"namespace", "shop"}}},
                     {"spec", std::move(spec)}},
                    "")
            .faults;
    };
    for (const char* name : {"a.", "a./b", "a/b.", "."}) {
        EXPECT_FALSE(faults("VaultPolicy", "name", name).empty()) << name;
        EXPECT_FALSE(faults("VaultMount", "path", name).empty()) << name;
        EXPECT_FALSE(faults("VaultAppRole", "mount", name).empty()) << name;
        EXPECT_FALSE(faults("VaultAppRole", "name", name).empty()) << name;
    }
    EXPECT_FALSE(faults("VaultAppRole", "tokenPolicies", Json::array({"a."})).empty());
    for (const char* name : {"a", "a.b", "shop.a-b", "a/b.c", "a-", "_"}) {
        EXPECT_TRUE(faults("VaultPolicy", "name", name).empty()) << name;
        EXPECT_TRUE(faults("VaultAppRole", "mount", name).empty()) << name;
    }
    for (const char* network : {"10.0.0.0/40", "10.0.0.0/33", "10.0.0.256", "10.0.0", "010.0.0.1",
                                "10.0.0.1/", "10.0.0.0/08", "fd00::/129", "fd00::/200", "fd00", "x", ""})
        EXPECT_FALSE(faults("VaultAppRole", "tokenBoundCIDRs", Json::array({network})).empty()) << network;
    for (const char* network : {"10.0.0.1", "0.0.0.0/0", "10.0.0.0/8", "255.255.255.255/32", "::/0", "::1",
                                "fd00:10::/64", "2001:db8::1/128", "::ffff:10.0.0.1"})
        EXPECT_TRUE(faults("VaultAppRole", "tokenBoundCIDRs", Json::array({network})).empty()) << network;
}

TEST(Reading, TheSettingsOfAMountAreNoMount) {
    for (const char* path : {"kv/tune", "tune", "a/tune/b"}) {
        const Reading found =
            read({{"apiVersion", "keyshepherd.dev/v1alpha1"},
                  {"kind", "VaultMount"},
                  {"metadata", {{"name", "m"}}},
                  {"spec", {{"connectionRef", {{"name", "m"}}}, {"path", path}, {"type", "kv"}}}},
                 "ai");
        EXPECT_EQ(fields(found.faults), std::vector<std::string>{"spec.path"}) << path;
    }
}

TEST(Reading, WantsOneOfTwoWays) {
    EXPECT_EQ(fields(read(policy({{"name", "p"}}), "ai").faults), std::vector<std::string>{"spec"});
    EXPECT_EQ(fields(read(policy({{"name", "p"},
                                  {"hcl", "x"},
                                  {"rules", {{{"path", "x"}, {"capabilities", {"read"}}}}}}),
                          "ai")
                         .faults),
              std::vector<std::string>{"spec"});
}

Json with_spec(const char* kind, Json spec) {
    spec["connectionRef"] = {{"name", "m"}, {"namespace", "ai"}};
    return {{"apiVersion", "keyshepherd.dev/v1alpha1"},
            {"kind", kind},
            {"metadata", {{"name", "x"}}},
            {"spec", std::move(spec)}};
}

// Vault takes a segment that is nothing but `+` for any segment, and knows no way to escape it.
TEST(Reading, RefusesAPathWithASegmentThatIsAWildcardInAPolicy) {
    const auto faults = [](const char* path, const char* override_path) {
        return fields(
            read(with_spec("ClusterAIProvider", {{"path", path},
                                                 {"variables", {{{"name", "A"}, {"key", "a"}}}},
                                                 {"overrides",
                                                  {{{"namespaceSelector", {{"matchLabels", {{"a", "b"}}}}},
                                                    {"path", override_path}}}}}),
                 "")
                .faults);
    };
    for (const char* wild : {"+/data/x", "ai/+/x", "ai/data/+", "+", "ai/++", "ai/data/x*", "ai/+*"}) {
        EXPECT_EQ(faults(wild, "ai/data/x"), std::vector<std::string>{"spec.path"}) << wild;
        EXPECT_EQ(faults("ai/data/x", wild), std::vector<std::string>{"spec.overrides[0].path"}) << wild;
    }
    for (const char* plain : {"ai/data/a+b", "ai/data/+b", "ai/data/b+", "ai+/data/x"})
        EXPECT_EQ(faults(plain, plain), std::vector<std::string>{}) << plain;
}

TEST(Reading, WantsATtlThatIsNotTooShort) {
    const auto faults = [](Json ttl) {
        return fields(read({{"apiVersion", "keyshepherd.dev/v1alpha1"},
                            {"kind", "VaultSecretID"},
                            {"metadata", {{"name", "s"}}},
                            {"spec", {{"appRoleRef", {{"name", "r"}}}, {"ttl", std::move(ttl)}}}},
                           "ai")
                          .faults);
    };
    for (const Json& shorter : {Json("1"), Json("6s"), Json("59s"), Json("250ms")})
        EXPECT_EQ(faults(shorter), std::vector<std::string>{"spec.ttl"}) << shorter;
    for (const Json& enough : {Json("0"), Json("0s"), Json("1m"), Json("60"), Json("24h"), Json("1d")})
        EXPECT_EQ(faults(enough), std::vector<std::string>{}) << enough;
}

TEST(Reading, TakesAUserLockoutOnlyForMethodsThatHaveOne) {
    const auto faults = [](const char* engine, const char* type, Json lockout) {
        return fields(read(with_spec("VaultMount", {{"path", "x"},
                                                    {"engine", engine},
                                                    {"type", type},
                                                    {"config", {{"userLockoutConfig", std::move(lockout)}}}}),
                           "ai")
                          .faults);
    };
    const Json some = {{"threshold", 7}, {"duration", "10m"}};
    for (const char* type : {"approle", "userpass", "ldap"})
        EXPECT_TRUE(faults("Auth", type, some).empty()) << type;
    const std::vector<std::string> refused = {"spec.config.userLockoutConfig"};
    EXPECT_EQ(faults("Auth", "kubernetes", some), refused);
    EXPECT_EQ(faults("Secret", "kv", some), refused);
    EXPECT_EQ(faults("Auth", "approle", {{"threshold", -1}}),
              std::vector<std::string>{"spec.config.userLockoutConfig.threshold"});
}

TEST(Reading, WantsAResyncPeriodOfTenSecondsOrMore) {
    const auto faults = [](Json period) {
        return fields(
            read(policy({{"name", "p"}, {"hcl", "x"}, {"resyncPeriod", std::move(period)}}), "ai").faults);
    };
    for (const Json& none : {Json("0"), Json("0s"), Json("0h0m"), Json("9"), Json("9s"), Json("250ms")})
        EXPECT_EQ(faults(none), std::vector<std::string>{"spec.resyncPeriod"}) << none;
    for (const Json& some : {Json("10"), Json("10s"), Json("1m"), Json("1d"), Json("300")})
        EXPECT_EQ(faults(some), std::vector<std::string>()) << some;
}

TEST(Reading, TrustIsForAnEncryptedConnection) {
    const auto faults = [](Json spec) {
        spec["auth"] = {{"token", {{"secretName", "t"}}}};
        return fields(read({{"apiVersion", "keyshepherd.dev/v1alpha1"},
                            {"kind", "VaultConnection"},
                            {"metadata", {{"name", "c"}}},
                            {"spec", std::move(spec)}},
                           "ai")
                          .faults);
    };
    EXPECT_EQ(faults({{"address", "http://v:8200"}}), std::vector<std::string>());
    EXPECT_EQ(faults({{"address", "https://v:8200"}, {"ca", "x"}, {"tlsServerName", "v"}}),
              std::vector<std::string>());
    EXPECT_EQ(faults({{"address", "http://v:8200"}, {"ca", "x"}, {"tlsServerName", "v"}}),
              (std::vector<std::string>{"spec.ca", "spec.tlsServerName"}));
}

TEST(Reading, SurvivesAnyShape) {
    for (const char* text :
         {"1", "[]", "{}", R"({"metadata":1,"spec":[],"kind":"VaultPolicy"})",
          R"({"kind":"VaultMount","spec":{"connectionRef":[],"config":"x","options":[1]}})",
          R"({"kind":"VaultConnection","spec":{"grants":[1,{"namespaces":{}}],"auth":{"token":1}}})"})
        EXPECT_FALSE(read(Json::parse(text), "ai").faults.empty()) << text;
}

TEST(Definitions, CarryImmutabilityColumnsAndDefaults) {
    const std::string yaml = definitions();
    EXPECT_EQ(yaml, definitions());
    EXPECT_THAT(yaml, HasSubstr("name: \"vaultpolicies.keyshepherd.dev\""));
    EXPECT_THAT(yaml, HasSubstr("rule: \"self == oldSelf\""));
    EXPECT_THAT(yaml, HasSubstr("rule: \"has(self.rules) != has(self.hcl)\""));
    EXPECT_THAT(yaml, HasSubstr("additionalPrinterColumns:"));
    EXPECT_THAT(reference(), HasSubstr("| `rules[].capabilities` | set of `create`"));
}

// ---- providers

Json provider(Json spec, const char* kind = "ClusterAIProvider") {
    if (!spec.contains("path")) spec["path"] = "ai-apis/data/acme";
    if (!spec.contains("variables"))
        spec["variables"] = Json::array({{{"name", "ACME_API_KEY"}, {"key", "api_key"}}});
    return {{"apiVersion", "keyshepherd.dev/v1alpha1"},
            {"kind", kind},
            {"metadata", {{"name", "acme"}, {"namespace", "shop"}}},
            {"spec", std::move(spec)}};
}

TEST(Providers, AreNoObjectsInVaultAndOneIsInNoNamespace) {
    for (const Kind& kind : kinds()) {
        EXPECT_EQ(kind.in_vault, kind.name.starts_with("Vault")) << kind.name;
        EXPECT_EQ(kind.namespaced, kind.name != "ClusterAIProvider") << kind.name;
    }
    const Reading cluster = read(provider({}), "ai");
    EXPECT_EQ(fields(cluster.faults), std::vector<std::string>{});
    EXPECT_EQ(cluster.resource.text(), "ClusterAIProvider acme");
    EXPECT_EQ(read(provider({}, "AIProvider"), "ai").resource.text(), "AIProvider shop/acme");
}

TEST(Providers, HaveTheirDefaults) {
    const Json spec =
        read(provider({{"keyProbe", Json::object()}, {"delivery", Json::object()}, {"auth", Json::object()}}),
             "")
            .resource.spec;
    EXPECT_EQ(
        spec["keyProbe"],
        (Json{{"enabled", false}, {"blockRollouts", true}, {"baseURLKey", "base_url"}, {"interval", "10m"}}));
    EXPECT_EQ(spec["delivery"], (Json{{"secret", false}}));
    EXPECT_EQ(spec["auth"], (Json{{"type", "kubernetes"}, {"audience", "vault"}}));
}

TEST(Providers, TellEveryBadFieldByItsPlace) {
    const Reading found = read(
        provider(
            {{"path", "ai-apis/../root"},
             {"variables", Json::array({{{"name", "A-B"}, {"key", "a`b"}}})},
             {"vault", {{"address", "vault:8200"}, {"caBundle", "-----BEGIN PRIVATE KEY-----"}}},
             {"auth", {{"type", "ldap"}, {"secretName", "A"}}},
             {"overrides",
              Json::array({{{"namespaceSelector",
                             {{"matchExpressions", Json::array({{{"key", "a b"}, {"operator", "Is"}}})}}},
                            {"path", "/x"}}})},
             {"keyProbe", {{"baseURL", "http://api.acme.example"}, {"interval", "often"}}},
             {"delivery", {{"secret", "yes"}}}}),
        "");
    EXPECT_THAT(
        fields(found.faults),
        testing::UnorderedElementsAre(
            "spec.path", "spec.variables[0].name", "spec.variables[0].key", "spec.vault.address",
            "spec.vault.caBundle", "spec.auth.type", "spec.auth.secretName",
            "spec.overrides[0].namespaceSelector.matchExpressions[0].key",
            "spec.overrides[0].namespaceSelector.matchExpressions[0].operator", "spec.overrides[0].path",
            "spec.keyProbe.baseURL", "spec.keyProbe.interval", "spec.delivery.secret"));
}

TEST(Providers, AreReadAsTheApiServerReadsThem) {
    const auto faults = [](Json spec) { return fields(read(provider(std::move(spec)), "").faults); };
    const auto of_vault = [&](const char* field, const char* value) {
        Json vault = {{"address", "https://v:8200"}};
        vault[field] = value;
        return faults({{"vault", vault}});
    };
    EXPECT_EQ(of_vault("tlsServerName", "a..b"), std::vector<std::string>{"spec.vault.tlsServerName"});
    EXPECT_EQ(of_vault("tlsServerName", "a.b"), std::vector<std::string>());
    for (const char* address :
         {"https://v/p", "https://v.", "https://v:0", "https://[:::]", "https://[v]", "https://u@v"})
        EXPECT_EQ(of_vault("address", address), std::vector<std::string>{"spec.vault.address"}) << address;
    for (const char* address : {"https://v", "http://V.example:80/", "https://[::1]:8200"})
        EXPECT_EQ(of_vault("address", address), std::vector<std::string>()) << address;
    EXPECT_EQ(faults({{"path", "ai-apis/data/my key"}}), std::vector<std::string>{"spec.path"});
    EXPECT_EQ(faults({{"auth", {{"audience", "a\nb"}}}}), std::vector<std::string>{"spec.auth.audience"});
    EXPECT_EQ(faults({{"auth", {{"secretName", "a.-b"}}}}), std::vector<std::string>{"spec.auth.secretName"});
    EXPECT_EQ(
        faults({{"variables", Json::array({{{"name", "A"}, {"key", "a"}}, {{"name", "A"}, {"key", "b"}}})}}),
        std::vector<std::string>{"spec.variables[1].name"});
    // 200 characters in 400 bytes; a schema's maxLength counts characters.
    std::string key;
    for (int i = 0; i < 200; ++i) key += "\u00fc";
    EXPECT_EQ(faults({{"variables", Json::array({{{"name", "A"}, {"key", key}}})}}),
              std::vector<std::string>());
}

TEST(Providers, HaveOverridesThatAreForSomethingAndReplaceSomething) {
    const auto faults = [](Json selector, Json parts = {{"path", "kv/x"}}) {
        parts["namespaceSelector"] = std::move(selector);
        return fields(read(provider({{"overrides", Json::array({parts})}}), "").faults);
    };
    const auto expression = [](Json each) {
        return Json{{"matchExpressions", Json::array({std::move(each)})}};
    };
    const Json prod = {{"matchLabels", {{"env", "prod"}}}};
    const std::string at = "spec.overrides[0]";
    EXPECT_EQ(faults(prod), std::vector<std::string>());
    EXPECT_EQ(faults(prod, Json::object()), std::vector<std::string>{at});
    EXPECT_EQ(faults(Json::object()), std::vector<std::string>{at + ".namespaceSelector"});
    EXPECT_EQ(faults({{"matchLabels", {{"env", nullptr}}}}),
              std::vector<std::string>{at + ".namespaceSelector"})
        << "a null is no label";
    EXPECT_EQ(faults({{"matchLabels", {{"env", std::string(64, 'a')}}}}),
              std::vector<std::string>{at + ".namespaceSelector.matchLabels.env"});
    for (const Json& wrong : {Json{{"key", "a"}, {"operator", "In"}},
                              Json{{"key", "a"}, {"operator", "Exists"}, {"values", {"b"}}}})
        EXPECT_EQ(faults(expression(wrong)),
                  std::vector<std::string>{at + ".namespaceSelector.matchExpressions[0].values"});
    EXPECT_EQ(faults(expression({{"key", "a"}, {"operator", "In"}, {"values", {"b", "b"}}})),
              std::vector<std::string>{at + ".namespaceSelector.matchExpressions[0].values[1]"});
    EXPECT_EQ(faults(prod, {{"variables",
                             Json::array({{{"name", "A"}, {"key", "a"}}, {{"name", "A"}, {"key", "b"}}})}}),
              std::vector<std::string>{at + ".variables[1].name"});
}

TEST(Providers, HaveNamesThatAnAnnotationCanHold) {
    for (const char* name : {"true", "0", "a.b", "A", "-a", "a_b"}) {
        Json made = provider({});
        made["metadata"]["name"] = name;
        EXPECT_EQ(fields(read(made, "").faults), std::vector<std::string>{"metadata.name"}) << name;
    }
}

TEST(Providers, OfOneNamespaceHaveNoOverrides) {
    EXPECT_EQ(fields(read(provider({{"overrides", Json::array()}}, "AIProvider"), "").faults),
              std::vector<std::string>{"spec.overrides"});
}

TEST(Providers, TakeACertificateOfAnySize) {
    std::string ca;
    for (int i = 0; i < 60; ++i)
        ca += "-----BEGIN CERTIFICATE-----\n" + std::string(1900, 'A') + "\n-----END CERTIFICATE-----\n";
    EXPECT_EQ(
        fields(read(provider({{"vault", {{"address", "https://v:8200"}, {"caBundle", ca}}}}), "").faults),
        std::vector<std::string>{});
}

// ---- RBAC

TEST(Roles, OfTheWebhookOnlyReadProvidersAndNamespaces) {
    const std::string yaml = webhook_roles();
    const auto rules = yaml.find("rules:\n");
    const std::string role = yaml.substr(rules, yaml.find("---", rules) - rules);
    EXPECT_EQ(role,
              "rules:\n"
              "  - apiGroups: [keyshepherd.dev]\n"
              "    resources: [aiproviders, clusteraiproviders]\n"
              "    verbs: [get, list, watch]\n"
              "  # Namespace labels, which the overrides of a ClusterAIProvider select.\n"
              "  - apiGroups: [\"\"]\n"
              "    resources: [namespaces]\n"
              "    verbs: [get, list, watch]\n");
    EXPECT_EQ(yaml.find("kind: ClusterRole\n"), yaml.rfind("kind: ClusterRole\n")) << "one, and no Role";
    EXPECT_EQ(yaml.find("kind: Role"), std::string::npos);
}

TEST(Roles, OfTheOperatorReadProvidersAndWriteTheirStatusOnly) {
    const std::string yaml = operator_roles();
    EXPECT_THAT(
        yaml, HasSubstr("    resources: [aiproviders, clusteraiproviders]\n    verbs: [get, list, watch]\n"));
    EXPECT_THAT(yaml, HasSubstr("aiproviders/status, clusteraiproviders/status]\n    verbs: [patch]\n"));
    EXPECT_THAT(
        yaml, HasSubstr("    resources: [deployments, statefulsets, daemonsets]\n    verbs: [list, watch]\n"))
        << "patching them is another role, bound by namespace";
}

TEST(Roles, OfTheOperatorNameTheServiceAccountsItLogsInAs) {
    const std::string yaml = operator_roles({.service_accounts = {"one", "two"}});
    EXPECT_THAT(
        yaml, HasSubstr("    resources: [serviceaccounts/token]\n    resourceNames: [\"one\", \"two\"]\n    "
                        "verbs: [create]\n"));
    EXPECT_THAT(operator_roles(),
                HasSubstr("    resourceNames: [\"keyshepherd-vault\"]\n    verbs: [create]\n"));
}

TEST(Roles, OfTheOperatorReachSecretsOnlyInNamedNamespaces) {
    const std::string secrets =
        "    resources: [secrets]\n    verbs: [get, list, watch, create, patch, delete]\n";
    const std::string all = operator_roles();
    EXPECT_THAT(all, HasSubstr(secrets));
    EXPECT_THAT(all,
                HasSubstr("kind: ClusterRoleBinding\nmetadata:\n  name: keyshepherd-operator-secrets\n"));
    const std::string named = operator_roles({.secret_namespaces = {"shop", "1"}});
    EXPECT_THAT(
        named,
        testing::Not(HasSubstr("kind: ClusterRole\nmetadata:\n  name: keyshepherd-operator-secrets\n")));
    EXPECT_THAT(named, testing::Not(HasSubstr(
                           "kind: ClusterRoleBinding\nmetadata:\n  name: keyshepherd-operator-secrets\n")));
    for (const char* kind : {"Role", "RoleBinding"})
        for (const char* ns : {"shop", "1"})
            EXPECT_THAT(named,
                        HasSubstr(std::string("kind: ") + kind +
                                  "\nmetadata:\n  name: keyshepherd-operator-secrets\n  namespace: \"" + ns +
                                  "\"\n"));
}

TEST(Roles, OfATenantAreTheNamespacedKindsWithoutTheConnectionAndAnyStatus) {
    const std::string yaml = operator_roles();
    const auto at = yaml.find("  name: keyshepherd-tenant\n");
    ASSERT_NE(at, std::string::npos);
    const std::string tenant = yaml.substr(at, yaml.find("---\n", at) - at);
    EXPECT_THAT(tenant,
                HasSubstr("resources: [vaultmounts, vaultpolicies, vaultapproles, vaultkubernetesroles, "
                          "vaultsecretids, aiproviders]\n"));
    EXPECT_THAT(tenant, testing::Not(HasSubstr("/status")));
    EXPECT_THAT(tenant, testing::Not(HasSubstr("aggregate")));
}

}  // namespace
}  // namespace keyshepherd::resources
