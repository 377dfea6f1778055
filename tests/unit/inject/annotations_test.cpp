// The table of annotations, row by row: what is taken, what is refused, and that a refusal says what would be
// right.
#include <keyshepherd/inject/annotations.hpp>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace keyshepherd::inject {
namespace {

using Given = std::map<std::string, std::string>;

std::vector<AnnotationFault> faults_of(const Given& given, AnnotationOptions* options = nullptr) {
    std::vector<AnnotationFault> faults;
    const AnnotationOptions read = read_annotations(given, faults);
    if (options != nullptr) *options = read;
    return faults;
}

AnnotationOptions read_wishes(const Given& given) {
    AnnotationOptions options;
    faults_of(given, &options);
    return options;
}

AnnotationOptions wishes_of(const Given& given) {
    AnnotationOptions options;
    const auto faults = faults_of(given, &options);
    EXPECT_TRUE(faults.empty()) << faults.front().name << ": " << faults.front().message;
    return options;
}

struct Row {
    std::string annotation;  // of a family with an argument
    std::vector<std::string> good;
    std::vector<std::string> bad;
    std::vector<std::string> right;  // parts of every refusal: what to write instead
};

const std::string digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

// The object of an annotation `spec` with one member.
std::string spec_of(const std::string& name, const std::string& value) {
    return nlohmann::json{{name, value}}.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

const std::vector<Row>& rows() {
    static const std::vector<Row> all = {
        {"inject",
         {"true", "True", "TRUE", "t", "T", "1", "false", "False", "FALSE", "f", "F", "0", "holysheep",
          "holysheep,other", " holysheep , other "},
         {"", " ", "yes please", "Holysheep", "holysheep,", ",holysheep", "holysheep;other", "a..b", "-a",
          "vault:x"},
         {"true", "false", "holysheep"}},
        {"wiring",
         {"auto", "envfile", "exec", "secret", "file"},
         {"", "Auto", "env", "exec ", "none"},
         {"auto", "envfile", "exec", "secret", "file"}},
        {"containers",
         {"app", "app,worker", " app , worker", "a-1"},
         {"", "app,", "app worker", "App", "app/1", "*"},
         {"app,worker"}},
        {"init-containers", {"migrate", "a,b"}, {"", ",", "Migrate"}, {"app,worker"}},
        {"env-DB_PASSWORD",
         {"team/data/db#password", "vault:team/data/db#password", "kv/a b#k"},
         {"", "x", "team/data/db", "#k", "team/data/db#", "/team#k", "team/#k", "team//db#k", "../team#k",
          "team/../db#k", "te\"am#k", "te{{am#k", "team#a#b", "team#a\"b", "te\nam#k", "te%61m#k"},
         {"such as", "api"}},
        {"secret-app.json",
         {"team/data/db", "team/data/db#password"},
         {"", "/team", "team/", "a//b", "team#", "../x", "a\"b", "a}}b"},
         {"such as"}},
        {"template-app.conf", {"x", "{{ with secret \"a\" }}{{ end }}"}, {""}, {"template"}},
        {"perms-app.json",
         {"0444", "0400", "0640", "0004", "0070"},
         {"", "444", "0999", "04444", "rw-r--r--", "0o44", "0000", "0333", "0111"},
         {"0444"}},
        {"role", {"holysheep", "team-a.reader", "a b"}, {"", " ", "a/b", "..", ".", "a\"b", "a?b"}, {"role"}},
        {"auth-type",
         {"kubernetes", "approle"},
         {"", "jwt", "Kubernetes", "token"},
         {"kubernetes", "approle"}},
        {"auth-path",
         {"auth/kubernetes", "kubernetes", "auth/clusters/one"},
         {"", "/auth/kubernetes", "auth/kubernetes/", "auth//x", "auth/../sys"},
         {"auth/kubernetes"}},
        {"token-audience", {"vault", "https://vault.example"}, {""}, {"audience"}},
        {"approle-secret",
         {"chat-approle", "chat.approle"},
         {"", "Chat", "chat_approle", "chat/approle", "-chat"},
         {"Secret"}},
        {"vault-address",
         {"https://vault.example:8200", "http://127.0.0.1:8200", "https://[::1]:8200"},
         {"", "vault:8200", "ftp://x", "https://", "https:///x", "https://a b", "https://u:p@vault",
          "https://vault?x", "https://vault#x", "HTTPS://x"},
         {"https://vault.example:8200"}},
        {"vault-namespace", {"team", "team/ai"}, {"", "/team", "team/", ".."}, {"team/ai"}},
        {"ca-secret", {"vault-ca"}, {"", "Vault CA"}, {"Secret"}},
        {"tls-server-name", {"vault.internal"}, {"", "https://vault", "vault:8200"}, {"host name"}},
        {"agent", {"sidecar", "init", "none"}, {"", "true", "Sidecar"}, {"sidecar", "init", "none"}},
        {"agent-flavor", {"vault", "bao"}, {"", "openbao"}, {"vault", "bao"}},
        {"agent-image",
         {"openbao/openbao:2.7.2", "registry.example:5000/x@sha256:" + digest, "x:1@sha256:" + digest},
         {"", "a b", "a\"b", "a\nb", "x@sha256:00", "x@" + digest, "x@sha256:" + digest + "0"},
         {"openbao/openbao:2.7.2", "openbao/openbao@sha256:"}},
        {"on-rotate",
         {"rollout", "restart", "none", "signal:HUP"},
         {"", "later", "signal", "signal:"},
         {"rollout", "restart", "signal:NAME", "none"}},
        {"on-conflict", {"keep", "replace", "deny"}, {"", "overwrite"}, {"keep", "replace", "deny"}},
        {"entrypoint-app",
         {R"(["/app"])", R"(["/app", "serve", "a b"])"},
         {"", "/app", "[]", "{}", "[1]", R"(["/app", null])", R"(["/app")", R"("/app")"},
         {R"(["/app", "serve"])"}},
        {"agent-cpu-request", {"100m", "0.1", "1", "none"}, {"", "12x", "-1", "1e3"}, {"100m", "none"}},
        {"agent-cpu-limit", {"500m", "none"}, {"", "half"}, {"100m", "none"}},
        {"agent-memory-request", {"64Mi", "none"}, {"", "64mb"}, {"64Mi", "none"}},
        {"agent-memory-limit", {"128Mi", "none"}, {"", "128 Mi"}, {"64Mi", "none"}},
        {"agent-run-as-user",
         {"1", "100", "2147483647"},
         {"", "0", "-1", "root", "1.5", "2147483648", " 1", "99999999999999999999"},
         {"number"}},
        {"agent-run-as-group", {"1", "1000"}, {"", "0", "wheel"}, {"number"}},
        {"log-level",
         {"trace", "debug", "info", "warn", "error"},
         {"", "loud", "INFO"},
         {"trace", "debug", "info", "warn", "error"}},
        {"spec", {"{}", R"({"role": "ai"})"}, {"", "[]", "role", R"({"role")", "1"}, {"JSON object"}},
    };
    return all;
}

TEST(Annotations, EveryRowOfTheTableIsTriedHere) {
    std::set<std::string> tried;
    for (const Row& row : rows()) {
        const auto annotation =
            std::find_if(annotation_table().begin(), annotation_table().end(), [&](const Annotation& a) {
                return a.argument.empty() ? a.name == row.annotation : row.annotation.starts_with(a.name);
            });
        ASSERT_NE(annotation, annotation_table().end()) << row.annotation;
        tried.emplace(annotation->name);
    }
    for (const Annotation& a : annotation_table()) EXPECT_TRUE(tried.contains(std::string(a.name))) << a.name;
}

TEST(Annotations, GoodValuesAreTaken) {
    for (const Row& row : rows())
        for (const std::string& value : row.good) {
            Given given = {{row.annotation, value}};
            if (row.annotation.starts_with("perms-")) given["secret-app.json"] = "a/b";
            for (const auto& fault : faults_of(given))
                ADD_FAILURE() << row.annotation << "=" << value << ": " << fault.message;
        }
}

TEST(Annotations, EveryRowReadsTheSameInsideSpec) {
    for (const Row& row : rows()) {
        if (row.annotation == "inject" || row.annotation == "spec") continue;
        const auto both = [&](const std::string& value) {
            Given outside = {{row.annotation, value}}, inside = {{"spec", spec_of(row.annotation, value)}};
            if (row.annotation.starts_with("perms-"))
                outside["secret-app.json"] = inside["secret-app.json"] = "a/b";
            return std::pair(faults_of(outside), faults_of(inside));
        };
        for (const std::string& value : row.good) {
            const auto [outside, inside] = both(value);
            EXPECT_TRUE(outside.empty() && inside.empty()) << row.annotation << "=" << value;
        }
        for (const std::string& value : row.bad) {
            const auto [outside, inside] = both(value);
            ASSERT_EQ(outside.size(), 1U) << row.annotation << "=" << value;
            ASSERT_EQ(inside.size(), 1U) << row.annotation << "=" << value;
            EXPECT_EQ(inside[0].name, "spec");
            EXPECT_EQ(inside[0].message,
                      fmt::format("member \"{}\": {}", row.annotation, outside[0].message));
        }
    }
}

TEST(Annotations, InjectAndSpecCannotStandInsideSpec) {
    for (const char* name : {"inject", "spec"}) {
        const auto faults = faults_of({{"inject", "true"}, {"spec", spec_of(name, "true")}});
        ASSERT_EQ(faults.size(), 1U) << name;
        EXPECT_EQ(
            faults[0].message,
            fmt::format("member \"{0}\": not allowed in spec; use the annotation keyshepherd.dev/{0}", name));
    }
    EXPECT_FALSE(read_wishes({{"spec", R"({"inject":"true"})"}}).asked)
        << "the API server does not send a workload without the annotation inject";
}

TEST(Annotations, AFaultOfAFileThatStandsInSpecNamesTheMember) {
    for (const Given& given : {Given{{"spec", R"({"perms-f":"0444"})"}},
                               Given{{"secret-f", "a/b"}, {"spec", R"({"template-f":"x"})"}}}) {
        const auto faults = faults_of(given);
        ASSERT_EQ(faults.size(), 1U);
        EXPECT_EQ(faults[0].name, "spec");
        EXPECT_NE(faults[0].message.find("member \""), std::string::npos) << faults[0].message;
    }
}

TEST(Annotations, BadValuesAreRefusedInWordsThatSayWhatWouldBeRight) {
    for (const Row& row : rows())
        for (const std::string& value : row.bad) {
            Given given = {{row.annotation, value}};
            if (row.annotation.starts_with("perms-")) given["secret-app.json"] = "a/b";
            const auto faults = faults_of(given);
            ASSERT_EQ(faults.size(), 1U) << row.annotation << "=" << value;
            EXPECT_EQ(faults.front().name, row.annotation);
            for (const std::string& part : row.right)
                EXPECT_NE(faults.front().message.find(part), std::string::npos)
                    << row.annotation << "=" << value << ": " << faults.front().message;
        }
}

TEST(Annotations, ABadValueLeavesNoWishBehind) {
    for (const Row& row : rows()) {
        if (row.annotation == "inject") continue;
        for (const std::string& value : row.bad) {
            AnnotationOptions options;
            faults_of({{row.annotation, value}}, &options);
            EXPECT_FALSE(options.containers || options.init_containers)
                << row.annotation << "=" << value << " would bring a second complaint about no container";
            EXPECT_TRUE(options.variables.empty() && options.entrypoints.empty())
                << row.annotation << "=" << value;
            EXPECT_FALSE(options.cpu_limit || options.cpu_request || options.memory_limit ||
                         options.memory_request || options.run_as_user)
                << row.annotation;
        }
    }
}

TEST(Annotations, MessagesShowNoUnprintableBytesAndNoWholeNovel) {
    const auto faults = faults_of({{"wiring", "a\x1b[31m\n" + std::string(5000, 'x')}});
    ASSERT_EQ(faults.size(), 1U);
    EXPECT_LT(faults.front().message.size(), 300U);
    EXPECT_TRUE(std::none_of(faults.front().message.begin(), faults.front().message.end(),
                             [](char c) { return c == '\x1b' || c == '\n'; }));
}

TEST(Annotations, MessagesShowAValueOfUpTo60Characters) {
    const auto message = [](const std::string& value) {
        return faults_of({{"wiring", value}}).front().message;
    };
    const std::string words = "one of the nodes is older than the others, so take another 1";
    ASSERT_EQ(words.size(), 60U);
    EXPECT_TRUE(message(words).starts_with("invalid value \"" + words + "\": must be one of auto, "))
        << message(words);
    EXPECT_TRUE(message(words + "2").starts_with("invalid value \"" + words + "…\": "))
        << message(words + "2");
    const std::string accent = "\xc3\xa9";  // one character of two bytes
    EXPECT_TRUE(
        message(accent + words).starts_with("invalid value \"" + accent + words.substr(0, 59) + "…\": "));
    EXPECT_TRUE(message("environment-file").starts_with("invalid value \"environment-file\": "));
    for (const char* secret :
         {"sk-live-0123456789abcdef", "hvs.CAESIJ1234567890abcdefgh", "3f2c8a1e-77b0-4c7e-9d53-0c1f5d1f8a77"})
        EXPECT_TRUE(message(secret).contains(" characters, hidden): ")) << message(secret);
}

TEST(Annotations, AValueThatMayBeASecretIsNotRepeated) {
    const std::string secret = "sk-live-4f9a01";
    for (const char* name : {"env-HOLYSHEEP_API_KEY", "secret-key", "template-key", "entrypoint-app", "spec"})
        for (const auto& fault : faults_of({{name, secret}}))
            EXPECT_EQ(fault.message.find(secret), std::string::npos) << name << ": " << fault.message;
}

TEST(Annotations, InjectSaysYesNoOrWho) {
    EXPECT_TRUE(wishes_of({{"inject", "T"}}).asked);
    EXPECT_TRUE(wishes_of({{"inject", "1"}}).providers.empty());
    EXPECT_FALSE(wishes_of({{"inject", "0"}}).asked);
    EXPECT_FALSE(wishes_of({}).asked);
    const AnnotationOptions named = wishes_of({{"inject", " other , holysheep,other"}});
    EXPECT_TRUE(named.asked);
    EXPECT_EQ(named.providers, (std::vector<std::string>{"other", "holysheep"}));
}

TEST(Annotations, EveryFaultIsSaidAtOnce) {
    const auto faults = faults_of({{"inject", ""},
                                   {"wiring", "x"},
                                   {"containers", ""},
                                   {"env-1A", "a/b#c"},
                                   {"perms-f", "9"},
                                   {"agent-cpu-limit", "x"},
                                   {"continers", "app"}});
    std::set<std::string> names;
    for (const auto& fault : faults) names.insert(fault.name);
    EXPECT_EQ(names, (std::set<std::string>{"inject", "wiring", "containers", "env-1A", "perms-f",
                                            "agent-cpu-limit", "continers"}));
}

TEST(Annotations, AnUnknownNameIsAnErrorThatOffersTheNearest) {
    for (const auto& [wrong, right] : Given{{"continers", "containers"},
                                            {"wirring", "wiring"},
                                            {"on-conflicts", "on-conflict"},
                                            {"vault-adress", "vault-address"},
                                            {"init-container", "init-containers"},
                                            {"agent-cpu-limits", "agent-cpu-limit"}}) {
        const auto faults = faults_of({{wrong, "x"}});
        ASSERT_EQ(faults.size(), 1U) << wrong;
        EXPECT_NE(faults.front().message.find("did you mean keyshepherd.dev/" + right + "?"),
                  std::string::npos)
            << faults.front().message;
    }
    for (const char* wrong : {"x", "tea", "something-else-entirely", "env-", "secret-", ""}) {
        const auto faults = faults_of({{wrong, "x"}});
        ASSERT_EQ(faults.size(), 1U) << wrong;
        EXPECT_NE(faults.front().message.find("unknown annotation"), std::string::npos)
            << faults.front().message;
    }
    for (const char* far : {"x", "tea", "foo", "something-else-entirely"})
        EXPECT_EQ(faults_of({{far, "x"}}).front().message.find("did you mean"), std::string::npos)
            << far << ": nothing is near it";
}

TEST(Annotations, FamiliesCheckTheirArgument) {
    for (const char* name : {"env-1A", "env-A.B", "env-A-B", "env-A B", "entrypoint-App", "entrypoint-a_b",
                             "secret-..", "secret-.hidden", "secret-a/b", "template-a b", "secret--x"}) {
        const std::string value = std::string_view(name).starts_with("entrypoint-") ? "[\"/a\"]"
                                  : std::string_view(name).starts_with("template-") ? "x"
                                                                                    : "a/b#c";
        const auto faults = faults_of({{name, value}});
        ASSERT_EQ(faults.size(), 1U) << name;
        EXPECT_EQ(faults.front().name, name);
    }
    EXPECT_EQ(faults_of({{"perms-a b", "0444"}}).size(), 1U);
}

TEST(Annotations, AFileIsRenderedByOneThingOnly) {
    EXPECT_EQ(faults_of({{"perms-f", "0444"}}).size(), 1U);
    EXPECT_EQ(faults_of({{"secret-f", "a/b"}, {"template-f", "x"}}).size(), 1U);
    EXPECT_EQ(faults_of({{"secret-f", "/a"}, {"perms-f", "0444"}}).size(), 1U)
        << "perms-f is right as soon as secret-f is";
    const AnnotationOptions options =
        wishes_of({{"secret-f", "a/data/b#k"}, {"perms-f", "0440"}, {"secret-g", "a/data/b"}});
    EXPECT_EQ(options.files.at("f").path, "a/data/b");
    EXPECT_EQ(options.files.at("f").key, "k");
    EXPECT_EQ(options.files.at("f").permissions, "0440");
    EXPECT_EQ(options.files.at("g").key, "");
}

TEST(Annotations, SpecIsTheWholeTableAsOneObject) {
    const AnnotationOptions options =
        wishes_of({{"inject", "true"},
                   {"spec", R"({"wiring":"exec","containers":"app","role":"ai","env-X":"a/b#c"})"}});
    EXPECT_EQ(options.wiring, Wiring::exec);
    EXPECT_EQ(options.containers, (std::vector<std::string>{"app"}));
    EXPECT_EQ(options.role, "ai");
    EXPECT_EQ(options.variables.at("X"), (Reference{"a/b", "c"}));
    EXPECT_EQ(wishes_of({{"role", "ai"}, {"spec", R"({"role":"ai"})"}}).role, "ai");
}

TEST(Annotations, FaultsInsideSpecNameTheMember) {
    const auto faults =
        faults_of({{"role", "a"}, {"spec", R"({"wiring":"x","role":"b","contaners":"app","agent":{}})"}});
    ASSERT_EQ(faults.size(), 4U);
    for (const auto& fault : faults) EXPECT_EQ(fault.name, "spec");
    for (const char* member : {"\"wiring\"", "\"role\"", "\"contaners\"", "\"agent\""})
        EXPECT_TRUE(std::any_of(faults.begin(), faults.end(), [&](const auto& f) {
            return f.message.find(member) != std::string::npos;
        })) << member;
}

TEST(Annotations, ADeepSpecIsRefusedAndNotFollowed) {
    EXPECT_EQ(faults_of({{"spec", std::string(100'000, '[')}}).size(), 1U);
    EXPECT_EQ(faults_of({{"entrypoint-app", std::string(100'000, '[')}}).size(), 1U);
}

TEST(Annotations, OutputsAreNoWishes) {
    for (const char* name : {"injected", "agent-config", "vault-ca"}) EXPECT_TRUE(is_output_annotation(name));
    for (const Annotation& a : annotation_table()) EXPECT_FALSE(is_output_annotation(a.name)) << a.name;
}

TEST(Annotations, TheReferencePageHasEveryRow) {
    const std::string page = annotation_reference();
    for (const Annotation& a : annotation_table()) {
        const std::string cell =
            a.argument.empty() ? fmt::format("`{}`", a.name) : fmt::format("`{}<{}>`", a.name, a.argument);
        EXPECT_NE(page.find(cell), std::string::npos) << cell;
        EXPECT_FALSE(a.doc.empty()) << a.name;
        EXPECT_EQ(a.doc.find('\n'), std::string_view::npos) << a.name;
    }
}

TEST(References, AreTakenApart) {
    std::string fault;
    EXPECT_EQ(parse_reference("ai-apis/data/holysheep#api_key", fault),
              (Reference{"ai-apis/data/holysheep", "api_key"}));
    EXPECT_EQ(parse_reference("kv#k", fault), (Reference{"kv", "k"}));
    EXPECT_TRUE(fault.empty());
    for (const char* wrong :
         {"",        "#",        "kv",     "kv#",     "#k",     "/kv#k",  "kv/#k",  "a//b#k",
          "a/./b#k", "a/../b#k", " a/b#k", "a/b #k",  "a\"b#k", "a`b#k",  "a{{b#k", "a\\b#k",
          "a?b#k",   "a%2fb#k",  "a*b#k",  "a/b#k#2", "a\tb#k", "a/b#k}}"}) {
        fault.clear();
        EXPECT_FALSE(parse_reference(wrong, fault)) << wrong;
        EXPECT_FALSE(fault.empty()) << wrong;
    }
}

TEST(References, AreToldFromAnApplicationsOwnValues) {
    for (const char* ours :
         {"vault:ai-apis/data/holysheep#api_key", "vault:kv#k", "vault:ai-apis/data/holysheep", "vault:/x#k"})
        EXPECT_TRUE(is_reference(ours)) << ours;
    for (const char* ours : {"keyshepherd:ai-apis/data/holysheep#api_key", "keyshepherd:kv#k"})
        EXPECT_TRUE(is_reference(ours)) << ours;
    EXPECT_EQ(without_scheme("keyshepherd:kv#k"), "kv#k");
    EXPECT_EQ(without_scheme("vault:kv#k"), "kv#k");
    EXPECT_EQ(without_scheme("kv#k"), "kv#k");
    for (const char* other :
         {"", "vault", "vault:", "vault:8200", "vault://vault.example/x#y", "Vault:kv#k", "xvault:kv#k",
          "https://vault:8200/ui", " vault:kv#k", "keyshepherd:", "keyshepherd://a/b#c", ">>vault:kv#k"})
        EXPECT_FALSE(is_reference(other)) << other;
}

// host:port with a path, and what the transit engine gives out: `vault:v1:<base64>`, which often holds a '/'.
TEST(References, AreNoAddressesWithAPathAndNoCiphertext) {
    for (const char* other :
         {"vault:8200/ui", "vault:8200/v1#top", "vault:v1:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zo/w=="})
        EXPECT_FALSE(is_reference(other)) << other;
}

}  // namespace
}  // namespace keyshepherd::inject
