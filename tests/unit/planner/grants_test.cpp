#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/planner/plan.hpp>

#include <boost/regex.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace keyshepherd::planner {
namespace {

using resources::Json;
using testing::HasSubstr;

Resource make(const char* kind, const char* ns, Json spec) {
    if (std::string_view(kind) != "VaultConnection")
        spec["connectionRef"] = {{"name", "main"}, {"namespace", "platform"}};
    auto reading = resources::read({{"apiVersion", "keyshepherd.dev/v1alpha1"},
                                    {"kind", kind},
                                    {"metadata", {{"name", "main"}, {"namespace", ns}}},
                                    {"spec", std::move(spec)}},
                                   ns);
    for (const auto& fault : reading.faults) ADD_FAILURE() << fault.field << " " << fault.message;
    return reading.resource;
}

Resource connection(Json grants = nullptr) {
    Json spec = {{"address", "https://vault:8200"}, {"auth", {{"token", {{"secretName", "t"}}}}}};
    if (!grants.is_null()) spec["grants"] = std::move(grants);
    return make("VaultConnection", "platform", std::move(spec));
}

Resource policy(const char* ns, const char* name, const char* path, const char* capability = "read") {
    return make("VaultPolicy", ns,
                {{"name", name}, {"rules", {{{"path", path}, {"capabilities", {capability}}}}}});
}

Resource provider(const char* kind, const char* ns, const char* path, const char* override_path = nullptr) {
    Json spec = {{"path", path}, {"variables", Json::array({{{"name", "A"}, {"key", "a"}}})}};
    if (override_path != nullptr)
        spec["overrides"] = Json::array(
            {{{"namespaceSelector", {{"matchLabels", {{"env", "prod"}}}}}, {"path", override_path}}});
    return make(kind, ns, std::move(spec));
}

// Under a Vault with these mounts.
const Mounts mounts{.paths = {"a", "ai-apis", "authors", "kv"}};
std::vector<std::string> faults(const Resource& resource, const Resource& from,
                                const std::set<std::string>& reserved = {}, const Mounts& known = mounts) {
    std::vector<std::string> fields;
    for (const auto& fault : judge(resource, from, reserved, known).faults) fields.push_back(fault.field);
    return fields;
}
const std::vector<std::string> none;

TEST(DefaultGrant, IsForTheConnectionsOwnNamespaceAndItsNames) {
    EXPECT_EQ(faults(policy("platform", "platform.x", "kv/data/a", "deny"), connection()), none);
    EXPECT_EQ(faults(policy("platform", "x", "kv/data/a", "deny"), connection()),
              std::vector<std::string>{"spec.name"});
    EXPECT_EQ(faults(policy("tenant", "tenant.x", "kv/data/a"), connection()),
              std::vector<std::string>{"spec.connectionRef"});
    EXPECT_EQ(faults(make("VaultPolicy", "platform", {{"name", "platform.x"}, {"hcl", "path \"*\" {}"}}),
                     connection()),
              std::vector<std::string>{"spec.hcl"});
}

TEST(DefaultGrant, HasNoPathsMountsOrRights) {
    const Resource from = connection();
    const std::vector<std::string> path = {"spec.rules[0].path"};
    for (const char* each : {"kv/data/a", "kv/*", "*", "+/x"})
        EXPECT_EQ(faults(policy("platform", "platform.x", each), from), path) << each;
    EXPECT_EQ(faults(make("VaultMount", "platform", {{"path", "kv"}, {"type", "kv"}}), from),
              std::vector<std::string>{"spec.path"});
    EXPECT_EQ(faults(make("VaultAppRole", "platform", {{"name", "platform.r"}, {"tokenPolicies", {"other"}}}),
                     from),
              (std::vector<std::string>{"spec.mount", "spec.tokenPolicies[0]"}));
    EXPECT_EQ(faults(provider("AIProvider", "platform", "kv/data/a"), from),
              std::vector<std::string>{"spec.path"});
    EXPECT_EQ(faults(policy("platform", "platform.x", "kv/data/a", "sudo"), from),
              (std::vector<std::string>{"spec.rules[0].capabilities", "spec.rules[0].path"}));
    const Judgement judgement =
        judge(policy("platform", "platform.x", "kv/data/a", "deny"), from, {}, mounts);
    EXPECT_FALSE(judgement.rights.adopt || judgement.rights.hcl || judgement.rights.revoke_tokens);
}

// The identity of an AppRole is found by its role-id.
TEST(DefaultGrant, BoundsARoleIdByTheNames) {
    const auto with = [](const char* role_id) {
        return faults(make("VaultAppRole", "platform",
                           {{"name", "platform.r"}, {"roleID", role_id}, {"tokenPolicies", Json::array()}}),
                      connection());
    };
    EXPECT_EQ(with("platform.r-id"), std::vector<std::string>{"spec.mount"});
    for (const char* foreign : {"rb-id", "Platform.r-id", "platform"})
        EXPECT_EQ(with(foreign), (std::vector<std::string>{"spec.mount", "spec.roleID"})) << foreign;
}

TEST(Reserved, IsRefusedWithoutAnyConnection) {
    const auto fields = [](const Resource& resource) {
        std::vector<std::string> names;
        for (const auto& fault : reserved_faults(resource, {"ops"})) names.push_back(fault.field);
        return names;
    };
    for (const char* name : {"root", "default", "default-ceiling", "ops"})
        EXPECT_EQ(fields(policy("t", name, "a", "deny")), std::vector<std::string>{"spec.name"}) << name;
    EXPECT_EQ(fields(policy("t", "default-x", "*")), none);
    EXPECT_EQ(fields(make("VaultAppRole", "t",
                          {{"name", "r"}, {"tokenPolicies", {"default", "Root", "a", "OPS"}}})),
              (std::vector<std::string>{"spec.tokenPolicies[1]", "spec.tokenPolicies[3]"}));
    EXPECT_EQ(fields(make("VaultAppRole", "t", {{"name", "r"}, {"mount", "token"}})),
              std::vector<std::string>{"spec.mount"});
    EXPECT_EQ(fields(make("VaultMount", "t", {{"path", "identity/x"}, {"type", "kv"}})),
              std::vector<std::string>{"spec.path"});
    EXPECT_EQ(fields(make("VaultMount", "t", {{"path", "token"}, {"type", "kv"}})), none);
}

TEST(Grants, StopEveryWayToMorePower) {
    const Resource from = connection({{{"namespaces", {"tenant"}},
                                       {"names", {"tenant-*"}},
                                       {"mounts", {"approle", "ai-apis"}},
                                       {"paths", {"*", "sys/tools/*"}}}});
    for (const char* path :
         {"*", "+/policies/acl/*", "s*", "sys/*", "sys/policies/acl/tenant-x", "auth/approle/role/x", "aut*",
          "auth/*", "identity/entity/id/x", "sys/+/acl", "sys*", "+/*"})
        EXPECT_EQ(faults(policy("tenant", "tenant-x", path), from),
                  std::vector<std::string>{"spec.rules[0].path"})
            << path;
    for (const char* path : {"ai-apis/data/*", "system/x", "a/+/b", "sys/tools/random", "authors/*"})
        EXPECT_EQ(faults(policy("tenant", "tenant-x", path), from), none) << path;
    EXPECT_EQ(faults(policy("tenant", "tenant-x", "sys/policies/*", "deny"), from), none);
    EXPECT_EQ(faults(policy("tenant", "tenant-x", "ai-apis/x", "sudo"), from),
              std::vector<std::string>{"spec.rules[0].capabilities"});

    for (const char* own : {"default", "root", "default-ceiling", "keyshepherd-operator"})
        EXPECT_THAT(faults(policy("tenant", own, "ai-apis/x"), from, {"keyshepherd-operator"}),
                    testing::Contains("spec.name"));
    const auto role = [](Json policies, const char* mount = "approle") {
        return make("VaultAppRole", "tenant",
                    {{"name", "tenant-r"}, {"mount", mount}, {"tokenPolicies", std::move(policies)}});
    };
    EXPECT_EQ(faults(role({"tenant-x", "default"}), from), none);
    EXPECT_EQ(faults(role({"root"}), from), std::vector<std::string>{"spec.tokenPolicies[0]"});
    EXPECT_EQ(faults(role({"tenant-x", "other"}), from), std::vector<std::string>{"spec.tokenPolicies[1]"});
    EXPECT_EQ(faults(role({"Keyshepherd-Operator"}), from, {"keyshepherd-operator"}),
              std::vector<std::string>{"spec.tokenPolicies[0]"});
    EXPECT_EQ(faults(role({}, "other"), from), std::vector<std::string>{"spec.mount"});
}

TEST(Grants, ReservedPoliciesStayReservedUnderAGrantOfEverything) {
    const Resource from = connection({{{"namespaces", {"*"}},
                                       {"names", {"*"}},
                                       {"mounts", {"*"}},
                                       {"paths", {"*", "sys/*", "auth/*", "identity/*"}},
                                       {"policies", {"*"}},
                                       {"rights", {"adopt", "hcl", "revokeTokens"}}}});
    EXPECT_EQ(faults(policy("any", "root", "a"), from), std::vector<std::string>{"spec.name"});
    EXPECT_EQ(faults(policy("any", "default", "a"), from), std::vector<std::string>{"spec.name"});
    EXPECT_EQ(faults(policy("any", "ops", "a"), from, {"ops"}), std::vector<std::string>{"spec.name"});
    EXPECT_EQ(faults(make("VaultMount", "any", {{"path", "sys/x"}, {"type", "kv"}}), from),
              std::vector<std::string>{"spec.path"});
    EXPECT_EQ(
        faults(make("VaultMount", "any", {{"path", "token"}, {"type", "kv"}, {"engine", "Auth"}}), from),
        std::vector<std::string>{"spec.path"});
    EXPECT_TRUE(judge(policy("any", "p", "a"), from, {}).rights.adopt);
    EXPECT_EQ(faults(policy("any", "p", "sys/policies/acl/*"), from), none);
}

TEST(Grants, TheRoleThatTheConnectionLogsInByIsNobodys) {
    const auto from = [](Json auth) {
        return make("VaultConnection", "platform",
                    {{"address", "https://vault:8200"},
                     {"auth", std::move(auth)},
                     {"grants",
                      {{{"namespaces", {"*"}},
                        {"names", {"*"}},
                        {"mounts", {"*"}},
                        {"policies", {"*"}},
                        {"rights", {"adopt", "hcl"}}}}}});
    };
    const auto role = [](const char* kind, const char* mount, const char* name) {
        Json spec = {{"name", name}, {"mount", mount}};
        if (std::string_view(kind) == "VaultKubernetesRole") spec["boundServiceAccountNames"] = {"app"};
        return make(kind, "tenant", std::move(spec));
    };
    const std::vector<std::string> refused = {"spec.name"};
    const Json account = {{"role", "Keyshepherd"}, {"serviceAccountName", "s"}};
    const Resource by_kubernetes = from({{"kubernetes", account}});
    EXPECT_EQ(faults(role("VaultKubernetesRole", "kubernetes", "keyshepherd"), by_kubernetes), refused);
    EXPECT_EQ(faults(role("VaultKubernetesRole", "kubernetes", "KEYSHEPHERD"), by_kubernetes), refused);
    EXPECT_EQ(faults(role("VaultAppRole", "kubernetes", "keyshepherd"), by_kubernetes), refused);
    EXPECT_EQ(faults(role("VaultKubernetesRole", "other", "keyshepherd"), by_kubernetes), none);
    EXPECT_EQ(faults(role("VaultKubernetesRole", "kubernetes", "app"), by_kubernetes), none);
    Json elsewhere = account;
    elsewhere["mount"] = "clusters/one";
    EXPECT_EQ(faults(role("VaultKubernetesRole", "clusters/one", "keyshepherd"), from({{"jwt", elsewhere}})),
              refused);
    EXPECT_EQ(faults(role("VaultKubernetesRole", "jwt", "keyshepherd"), from({{"jwt", account}})), refused);
    EXPECT_EQ(faults(role("VaultKubernetesRole", "kubernetes", "keyshepherd"), from({{"jwt", account}})),
              none);
}

TEST(Grants, EachStandsAlone) {
    const Resource from = connection(
        {{{"namespaces", {"t"}}, {"names", {"app-*"}}, {"mounts", {"approle"}}, {"policies", {"app-*"}}},
         {{"namespaces", {"t"}},
          {"names", {"ci"}},
          {"mounts", {"approle-ci"}},
          {"policies", {"admin"}},
          {"rights", {"adopt"}}}});
    const auto role = [](const char* name, const char* mount, const char* policy) {
        return make("VaultAppRole", "t", {{"name", name}, {"mount", mount}, {"tokenPolicies", {policy}}});
    };
    EXPECT_EQ(faults(role("app-x", "approle", "app-y"), from), none);
    EXPECT_EQ(faults(role("ci", "approle-ci", "admin"), from), none);
    EXPECT_EQ(faults(role("app-x", "approle", "admin"), from),
              std::vector<std::string>{"spec.tokenPolicies[0]"});
    EXPECT_EQ(faults(role("app-x", "APPROLE", "app-y"), from), std::vector<std::string>{"spec.mount"});
    EXPECT_FALSE(judge(role("app-x", "approle", "app-y"), from, {}).rights.adopt);
    EXPECT_TRUE(judge(role("ci", "approle-ci", "admin"), from, {}).rights.adopt);
}

TEST(Grants, TheSystemOfAChildNamespaceNeedsItsName) {
    const Resource from = connection({{{"namespaces", {"t"}},
                                       {"names", {"*"}},
                                       {"paths", {"*", "ns1/*", "ns1/+/x", "child/sys/policies/*"}}}});
    const std::vector<std::string> refused = {"spec.rules[0].path"};
    for (const char* path : {"ns1/*", "ns1/+/x", "ns1/s*", "ns1/sys/mounts/x", "ns1*", "n*", "ns1/a/identity",
                             "ns1/kv/*", "ns1/kv/+/x", "ns1/+/policies/acl/x", "ns1/a/b/c/d/e/f/g/h/i/j/*"})
        EXPECT_EQ(faults(policy("t", "x", path), from), refused) << path;
    for (const char* path : {"ns1/kv/data/x", "ns1/systems/x", "ns1/kv/data/s"})
        EXPECT_EQ(faults(policy("t", "x", path), from), none) << path;
    const Mounts there{.paths = {"ns1/kv"}};
    for (const char* path : {"ns1/kv/*", "ns1/kv/+/x", "ns1/kv/data/sys/x", "ns1/kv/auth"})
        EXPECT_EQ(faults(policy("t", "x", path), from, {}, there), none) << path;
    for (const char* path : {"ns1/*", "ns1/k*", "ns1/kv*", "ns1/kvx/*", "ns1/+/x"})
        EXPECT_EQ(faults(policy("t", "x", path), from, {}, there), refused) << path;
    EXPECT_EQ(faults(provider("AIProvider", "t", "ns1/auth/data/x"), from),
              std::vector<std::string>{"spec.path"});
    EXPECT_EQ(faults(provider("AIProvider", "t", "kv/data/auth/x"), from), none);
    const std::string message =
        judge(policy("t", "x", "ns1/*"), from, {}, {.unknown = "permission denied"}).faults.at(0).message;
    EXPECT_THAT(message, HasSubstr("ns1/* may match sys/ in a child namespace"));
    EXPECT_THAT(message, HasSubstr("(sys/mounts: permission denied); create the mount first"));
    EXPECT_EQ(faults(policy("t", "x", "child/sys/*"), from), std::vector<std::string>{"spec.rules[0].path"});
    EXPECT_EQ(faults(policy("t", "x", "q/b/auth/token/create"), from),
              std::vector<std::string>{"spec.rules[0].path"});
    EXPECT_EQ(faults(policy("t", "x", "child/sys/policies/acl/x"), from), none);
}

TEST(Grants, ANamespaceHasNothingOfOneWhoseNameBeginsLikeIt) {
    const Resource from =
        connection({{{"namespaces", {"dev", "dev-prod"}}, {"mounts", {"approle"}}, {"paths", {"kv/*"}}}});
    EXPECT_EQ(faults(policy("dev", "dev-prod.x", "kv/a"), from), std::vector<std::string>{"spec.name"});
    EXPECT_EQ(faults(make("VaultAppRole", "dev", {{"name", "dev.r"}, {"tokenPolicies", {"dev-prod.secret"}}}),
                     from),
              std::vector<std::string>{"spec.tokenPolicies[0]"});
}

TEST(Grants, AreBoundToTheNamespacesThatTheyName) {
    const Resource from = connection(
        {{{"namespaces", {"a"}}, {"paths", {"kv/a/*"}}}, {{"namespaces", {"b"}}, {"paths", {"kv/b/*"}}}});
    EXPECT_EQ(faults(policy("a", "a.x", "kv/a/1"), from), none);
    EXPECT_EQ(faults(policy("a", "a.x", "kv/b/1"), from), std::vector<std::string>{"spec.rules[0].path"});
    EXPECT_THAT(judge(policy("a", "b-x", "kv/a/1"), from, {}).faults.at(0).message,
                HasSubstr("allowed: a.*"));
}

// The matcher of Vault's ACL, the slow way: as a regular expression.
boost::regex expression_of(std::string_view pattern) {
    std::string expression;
    const bool open = pattern.ends_with('*');
    if (open) pattern.remove_suffix(1);
    std::size_t at = 0;
    while (true) {
        const std::size_t slash = pattern.find('/', at);
        const std::string segment(pattern.substr(at, slash == std::string_view::npos ? slash : slash - at));
        expression += segment == "+" ? "[^/]+" : segment;
        if (slash == std::string_view::npos) break;
        expression += "/";
        at = slash + 1;
    }
    if (open) expression += ".*";
    return boost::regex(expression);
}

TEST(Covers, NeverSaysMoreThanTheMatcherDoes) {
    std::mt19937 random(7);
    const std::vector<std::string> pieces = {"a", "ab", "b", "+"};
    const std::vector<std::string> names = {"a", "ab", "b", "abc", "c", ""};
    auto pick = [&](const auto& list) { return list[random() % list.size()]; };
    int covered = 0;
    int refuted = 0;
    for (int i = 0; i < 5'000; ++i) {
        auto pattern = [&] {
            std::string text;
            const auto segments = 1 + random() % 3;
            for (std::size_t s = 0; s < segments; ++s) text += (s == 0 ? "" : "/") + pick(pieces);
            if (random() % 3 == 0) text += text.ends_with('+') ? "/*" : (random() % 2 == 0 ? "*" : "/*");
            return text;
        };
        const std::string outer = pattern();
        const std::string inner = pattern();
        const bool said = covers(outer, inner);
        covered += said ? 1 : 0;
        const boost::regex of_outer = expression_of(outer);
        const boost::regex of_inner = expression_of(inner);
        for (int n = 0; n < 60; ++n) {
            std::string path = pick(names);
            const auto segments = random() % 4;
            for (std::size_t s = 0; s < segments; ++s) path += "/" + pick(names);
            if (!boost::regex_match(path, of_inner) || boost::regex_match(path, of_outer)) continue;
            ++refuted;
            EXPECT_FALSE(said) << outer << " does not cover " << inner << ": " << path;
        }
        if (testing::Test::HasFailure()) return;
    }
    EXPECT_GT(covered, 100);
    EXPECT_GT(refuted, 1'000);
}

// Every path of these segments, up to four.
std::vector<std::string> all_paths(const std::vector<std::string>& segments) {
    std::vector<std::string> paths;
    std::vector<std::string> longest = {""};
    for (int depth = 0; depth < 4; ++depth) {
        std::vector<std::string> longer;
        for (const std::string& path : longest)
            for (const std::string& segment : segments)
                longer.push_back(depth == 0 ? segment : path + "/" + segment);
        paths.insert(paths.end(), longer.begin(), longer.end());
        longest = std::move(longer);
    }
    return paths;
}

// Whether a path has one of the words as a segment that no mount stands before, and where.
std::optional<std::size_t> power_of(const std::string& path, const Mounts& known) {
    std::size_t begin = 0;
    for (std::size_t index = 0;; ++index) {
        if (index > 0 && known.paths.contains(path.substr(0, begin - 1))) return std::nullopt;
        const std::size_t end = std::min(path.find('/', begin), path.size());
        const std::string segment = path.substr(begin, end - begin);
        if (segment == "sys" || segment == "auth" || segment == "identity") return index;
        if (end == path.size()) return std::nullopt;
        begin = end + 1;
    }
}

TEST(PowerfulSegment, IsFoundWhereverOneOfTheMatchedPathsHasOne) {
    const std::vector<std::string> paths = all_paths({"a", "ab", "abx", "sys", "auth", "identity", "sy"});
    std::mt19937 random(11);
    auto pick = [&](const std::vector<std::string>& list) { return list[random() % list.size()]; };
    int found = 0;
    int bounded = 0;
    for (int i = 0; i < 300; ++i) {
        std::string pattern;
        const auto segments = 1 + random() % 3;
        for (std::size_t s = 0; s < segments; ++s)
            pattern += (s == 0 ? "" : "/") + pick({"a", "ab", "sys", "+", "sy", "auth"});
        if (random() % 2 == 0) pattern += pattern.ends_with('+') || random() % 2 == 0 ? "/*" : "*";
        Mounts known;
        for (const char* mount : {"a", "ab", "a/ab", "ab/a"})
            if (random() % 3 == 0) known.paths.insert(mount);
        const boost::regex matched = expression_of(pattern);
        std::optional<std::size_t> first;
        for (const std::string& path : paths)
            if (const auto at = power_of(path, known); at && boost::regex_match(path, matched))
                first = std::min(first.value_or(*at), *at);
        const auto said = powerful_segment(pattern, known);
        ASSERT_EQ(said.has_value(), first.has_value()) << pattern;
        if (said) {
            EXPECT_EQ(said->index, *first) << pattern;
        }
        found += said ? 1 : 0;
        bounded += !said && powerful_segment(pattern, {}) ? 1 : 0;
    }
    EXPECT_GT(found, 100);
    EXPECT_GT(bounded, 25) << "a mount makes a difference";
}

TEST(PowerfulSegment, IsLookedForBehindMountsOfSomeDepthOnly) {
    std::string deep = "m";
    for (int i = 0; i < 20; ++i) deep += "/m";
    EXPECT_TRUE(powerful_segment(deep + "/*", {.paths = {deep}}));
    EXPECT_FALSE(powerful_segment(deep + "/*", {.paths = {"m/m"}}));
}

TEST(Mounts, AreNeededOnlyWhereTheyDecide) {
    EXPECT_TRUE(needs_mounts(policy("t", "x", "kv/*")));
    EXPECT_TRUE(needs_mounts(policy("t", "x", "kv/data/auth/x")));
    EXPECT_FALSE(needs_mounts(policy("t", "x", "kv/data/x")));
    EXPECT_FALSE(needs_mounts(policy("t", "x", "sys/*")));
    EXPECT_TRUE(needs_mounts(provider("ClusterAIProvider", "", "kv/data/x", "kv/data/auth/x")));
    EXPECT_FALSE(needs_mounts(make("VaultAppRole", "t", {{"name", "r"}})));
    EXPECT_EQ(assumed_mounts(policy("t", "x", "kv/*")).paths, (std::set<std::string, std::less<>>{"kv"}));
    for (const char* path : {"ns1/sys/*", "ns1/+/auth/x", "+/x", "*", "kv*"})
        EXPECT_TRUE(assumed_mounts(policy("t", "x", path)).paths.empty()) << path;
}

TEST(Covers, ItselfAndWhatIsBelow) {
    for (const char* path : {"a", "a/b", "a/*", "a/+/b", "*", "+", "a/+/*", "a*"})
        EXPECT_TRUE(covers(path, path)) << path;
    EXPECT_TRUE(covers("kv/data/team/*", "kv/data/team/+/x"));
    EXPECT_TRUE(covers("*", "+/x"));
    EXPECT_FALSE(covers("kv/data/team/*", "kv/data/*"));
    EXPECT_FALSE(covers("kv/data/team/*", "kv/data/team"));
    EXPECT_FALSE(covers("kv/+", "kv/a/b"));
}

// ---- providers

TEST(Providers, MayHaveTheOperatorReadOnlyWhatTheirNamespaceIsGranted) {
    const Resource from = connection({{{"namespaces", {"tenant"}}, {"paths", {"ai-apis/data/tenant/*"}}},
                                      {{"namespaces", {"platform"}}, {"paths", {"ai-apis/*"}}}});
    const std::vector<std::string> path = {"spec.path"};
    EXPECT_EQ(faults(provider("AIProvider", "tenant", "ai-apis/data/tenant/key"), from), none);
    EXPECT_EQ(faults(provider("AIProvider", "tenant", "ai-apis/data/holysheep"), from), path);
    EXPECT_EQ(faults(provider("AIProvider", "tenant", "ai-apis/data/tenants"), from), path);
    EXPECT_EQ(faults(provider("AIProvider", "platform", "ai-apis/data/holysheep"), from), none);
    EXPECT_EQ(faults(provider("AIProvider", "other", "ai-apis/data/tenant/key"), from),
              std::vector<std::string>{"spec.connectionRef"});
    EXPECT_EQ(faults(provider("AIProvider", "tenant", "ai-apis/data/tenant/a+b"), from), none)
        << "only a segment that is nothing but + is a wildcard";
}

TEST(Providers, OfTheClusterHaveWhatTheConnectionsNamespaceHasAndEveryPathCounts) {
    const Resource from = connection({{{"namespaces", {"platform"}}, {"paths", {"ai-apis/data/*"}}},
                                      {{"namespaces", {"tenant"}}, {"paths", {"*"}}}});
    EXPECT_EQ(faults(provider("ClusterAIProvider", "", "ai-apis/data/a", "ai-apis/data/b"), from), none);
    EXPECT_EQ(faults(provider("ClusterAIProvider", "", "ai-apis/data/a", "kv/data/b"), from),
              std::vector<std::string>{"spec.overrides[0].path"});
    EXPECT_EQ(faults(provider("ClusterAIProvider", "", "kv/data/a", "ai-apis/data/b"), from),
              std::vector<std::string>{"spec.path"});
    EXPECT_EQ(faults(provider("ClusterAIProvider", "", "kv/data/a"), connection()),
              std::vector<std::string>{"spec.path"})
        << "without grants there are no paths";
    const Resource others = connection({{{"namespaces", {"tenant"}}, {"paths", {"*"}}}});
    EXPECT_EQ(faults(provider("ClusterAIProvider", "", "kv/data/a"), others),
              std::vector<std::string>{"spec.connectionRef"});
}

TEST(Providers, DoNotReachVaultsOwnByAStar) {
    const Resource from = connection({{{"namespaces", {"tenant"}}, {"paths", {"*"}}}});
    for (const char* path : {"sys/data/x", "auth/data/x", "identity/data/x", "team/sys/data/x"})
        EXPECT_EQ(faults(provider("AIProvider", "tenant", path), from), std::vector<std::string>{"spec.path"})
            << path;
}

Resource role_resource(const char* mount, const char* name) {
    auto role = role_at(std::string("auth/") + mount + "/role/" + name, "tenant");
    EXPECT_TRUE(role.has_value());
    return role.value_or(Resource());
}

TEST(RoleAt, IsTheRoleOfAPath) {
    const Resource role = role_resource("team/approle", "r");
    EXPECT_EQ(role.spec.at("mount"), "team/approle");
    EXPECT_EQ(role.spec.at("name"), "r");
    EXPECT_EQ(claim(role), "auth/team/approle/role/r");
    for (const char* path : {"", "auth/", "auth/role/r", "sys/policies/acl/x", "auth//role/r"})
        EXPECT_FALSE(role_at(path, "tenant")) << path;
}

TEST(Removal, NeedsTheGrantOfNameAndMountAndNothingElse) {
    const Resource from =
        connection({{{"namespaces", {"tenant"}}, {"names", {"t-*"}}, {"mounts", {"approle"}}}});
    EXPECT_TRUE(judge_removal(role_resource("approle", "t-r"), from, {}).faults.empty());
    EXPECT_TRUE(judge_removal(policy("tenant", "t-p", "not/granted/any/more"), from, {}).faults.empty());
    EXPECT_EQ(judge_removal(role_resource("approle", "x-r"), from, {}).faults.at(0).field, "spec.name");
    EXPECT_EQ(judge_removal(role_resource("other", "t-r"), from, {}).faults.at(0).field, "spec.mount");
    EXPECT_EQ(judge_removal(policy("tenant", "x-p", "a"), from, {}).faults.at(0).field, "spec.name");
    EXPECT_EQ(judge_removal(make("VaultMount", "tenant", {{"path", "other"}, {"type", "kv"}}), from, {})
                  .faults.at(0)
                  .field,
              "spec.path");
    EXPECT_EQ(judge_removal(policy("stranger", "t-p", "a"), from, {}).faults.at(0).field,
              "spec.connectionRef");
    EXPECT_EQ(judge_removal(policy("tenant", "t-p", "a"), from, {"t-p"}).faults.at(0).field, "spec.name")
        << "a policy of the operator's own";
}

TEST(Removal, HasTheRightsOfEveryGrantThatAllowsIt) {
    const Resource from =
        connection({{{"namespaces", {"tenant"}}, {"names", {"t-*"}}, {"mounts", {"approle"}}},
                    {{"namespaces", {"tenant"}},
                     {"names", {"t-a*"}},
                     {"mounts", {"approle"}},
                     {"rights", {"revokeTokens"}}}});
    EXPECT_FALSE(judge_removal(role_resource("approle", "t-b"), from, {}).rights.revoke_tokens);
    EXPECT_TRUE(judge_removal(role_resource("approle", "t-a"), from, {}).rights.revoke_tokens);
    EXPECT_FALSE(judge_removal(role_resource("other", "t-a"), from, {}).rights.revoke_tokens);
}

}  // namespace
}  // namespace keyshepherd::planner
