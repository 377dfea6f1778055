// Provider documents: what is read out of them, who wins, and that every fault is named by its path.
#include "support/providers.hpp"

#include <keyshepherd/provider/provider.hpp>

#include <gtest/gtest.h>

namespace keyshepherd::provider {
namespace {

using namespace inject;

Catalog catalog() {
    return Catalog::built_in("https://vault.example:8200", "CA");
}

result<void> add(Catalog& to, std::string_view text) {
    return test::add_provider(to, text);
}

// Null where there is none that can be used.
const Provider* found(const Catalog& in, std::string_view workload_namespace, std::string_view name,
                      const Labels* labels = nullptr) {
    const auto provider = in.find(workload_namespace, name, labels);
    return provider ? *provider : nullptr;
}

std::string refusal(std::string_view text) {
    Catalog c = catalog();
    const auto added = add(c, text);
    if (added) return "taken";
    EXPECT_EQ(added.error().code, Errc::invalid) << text;
    return added.error().message;
}

std::string document(std::string_view spec, std::string_view kind = "ClusterAIProvider",
                     std::string_view metadata = R"({"name":"other"})") {
    return std::string(R"({"apiVersion":"keyshepherd.dev/v1alpha1","kind":")") + std::string(kind) +
           R"(","metadata":)" + std::string(metadata) + R"(,"spec":)" + std::string(spec) + "}";
}

constexpr const char* minimal =
    R"({"path":"ai-apis/data/other","variables":[{"name":"OTHER_KEY","key":"key"}]})";

TEST(Provider, HolysheepIsBuiltIn) {
    const Catalog c = catalog();
    const Provider* p = found(c, "shop", "holysheep");
    ASSERT_NE(p, nullptr);
    EXPECT_EQ(p->path, "ai-apis/data/holysheep");
    ASSERT_EQ(p->variables.size(), 2U);
    EXPECT_EQ(p->variables[0].name, "HOLYSHEEP_API_KEY");
    EXPECT_EQ(p->variables[0].key, "api_key");
    EXPECT_EQ(p->variables[1].name, "HOLYSHEEP_BASE_URL");
    EXPECT_EQ(p->variables[1].key, "base_url");
    EXPECT_EQ(p->vault.address, "https://vault.example:8200");
    EXPECT_EQ(p->vault.ca, "CA");
    EXPECT_EQ(found(c, "shop", "openrouter"), nullptr);
    EXPECT_EQ(c.names("shop"), std::vector<std::string>{"holysheep"});
}

TEST(Provider, ASmallDocumentTakesTheInstallationsVaultAndLogin) {
    Catalog c = catalog();
    ASSERT_TRUE(add(c, document(minimal)));
    const Provider* p = found(c, "shop", "other");
    ASSERT_NE(p, nullptr);
    EXPECT_EQ(p->vault, (Connection{.address = "https://vault.example:8200",
                                    .vault_namespace = "",
                                    .ca = "CA",
                                    .tls_server_name = ""}));
    EXPECT_EQ(p->login.type, "kubernetes");
    EXPECT_EQ(p->login.path, "auth/kubernetes");
    EXPECT_EQ(p->login.role, "other");
    EXPECT_EQ(p->login.audience, "vault");
    EXPECT_EQ(c.names("shop"), (std::vector<std::string>{"holysheep", "other"}));
}

TEST(Provider, AFullDocumentIsReadWhole) {
    Catalog c = catalog();
    const auto added =
        add(c, document(R"({"path":"kv/x","variables":[{"name":"A","key":"a"},{"name":"B","key":"b"}],
        "vault":{"address":"https://eu.example:8200","namespace":"team/ai","caBundle":"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n","tlsServerName":"vault.internal"},
        "auth":{"type":"approle","path":"auth/machines","role":"r","audience":"bao","secretName":"x"}})"));
    ASSERT_TRUE(added) << added.error().message;
    const Provider* p = found(c, "any", "other");
    ASSERT_NE(p, nullptr);
    EXPECT_EQ(p->variables[1].name, "B");
    EXPECT_EQ(p->vault.vault_namespace, "team/ai");
    EXPECT_EQ(p->vault.tls_server_name, "vault.internal");
    EXPECT_NE(p->vault.ca.find("MIIB"), std::string::npos);
    EXPECT_EQ(
        p->login,
        (Login{.type = "approle", .path = "auth/machines", .role = "r", .audience = "bao", .secret = "x"}));
}

TEST(Provider, ApproleHasItsOwnMountByDefault) {
    Catalog c = catalog();
    ASSERT_TRUE(add(
        c,
        document(
            R"({"path":"kv/x","variables":[{"name":"A","key":"a"}],"auth":{"type":"approle","secretName":"x"}})")));
    EXPECT_EQ(found(c, "any", "other")->login.path, "auth/approle");
}

TEST(Provider, TheNamespacesOwnWinsWhereItMayAndOnlyThere) {
    Catalog c = Catalog::built_in("https://vault.example:8200", "CA", "vault", true);
    ASSERT_TRUE(
        add(c, document(R"({"path":"kv/staging","variables":[{"name":"HOLYSHEEP_API_KEY","key":"k"}]})",
                        "AIProvider", R"({"name":"holysheep","namespace":"shop"})")));
    EXPECT_EQ(found(c, "shop", "holysheep")->path, "kv/staging");
    EXPECT_EQ(found(c, "blog", "holysheep")->path, "ai-apis/data/holysheep");
    EXPECT_EQ(found(c, "", "holysheep")->path, "ai-apis/data/holysheep");
    EXPECT_EQ(c.names("shop"), std::vector<std::string>{"holysheep"});
}

// ---- what the installation allows

TEST(Rules, AnAIProviderTakesNobodysPlace) {
    Catalog c = catalog();
    const auto own = [&c](const char* name, const char* path) {
        return add(c,
                   document(std::string(R"({"path":")") + path + R"(","variables":[{"name":"A","key":"a"}]})",
                            "AIProvider", std::string(R"({"namespace":"shop","name":")") + name + "\"}"));
    };
    ASSERT_TRUE(own("holysheep", "kv/mine"));
    ASSERT_TRUE(own("acme", "kv/acme"));
    EXPECT_EQ(found(c, "shop", "holysheep")->path, "ai-apis/data/holysheep") << "the built-in's";
    EXPECT_TRUE(c.is_overruled("shop", "holysheep"));
    EXPECT_TRUE(c.is_built_in("holysheep"));
    EXPECT_FALSE(c.is_overruled("blog", "holysheep"));
    EXPECT_EQ(found(c, "shop", "acme")->path, "kv/acme");
    EXPECT_FALSE(c.is_overruled("shop", "acme"));
    const char* faulty = R"({"path":"/kv"})";
    EXPECT_FALSE(test::put_provider(c, document(faulty, "ClusterAIProvider", R"({"name":"acme"})")));
    EXPECT_TRUE(c.is_overruled("shop", "acme"));
    EXPECT_EQ(found(c, "shop", "acme"), nullptr) << "one with faults keeps its name, too";
    c.erase("", "acme");
    EXPECT_EQ(found(c, "shop", "acme")->path, "kv/acme");
}

TEST(Rules, BoundTheAddressOfEveryProviderAndOverride) {
    const provider::Rules rules{
        .vault_addresses = {"https://vault.example:8200", "https://*.vaults.example:8200"}};
    for (const auto& [address, allowed] :
         std::vector<std::pair<std::string, bool>>{{"https://vault.example:8200", true},
                                                   {"https://VAULT.example:8200/", true},
                                                   {"https://eu.vaults.example:8200", true},
                                                   {"http://vault.example:8200", false},
                                                   {"http://evil", false},
                                                   {"https://vault.example", false},
                                                   {"https://a.eu.vaults.example:8200", false},
                                                   {"https://evil.example:8200", false}}) {
        const std::string vault = R"("vault":{"address":")" + address + "\"}";
        const std::string plain = R"("path":"kv/x","variables":[{"name":"A","key":"a"}])";
        const std::string override_ =
            R"("overrides":[{"namespaceSelector":{"matchLabels":{"a":"b"}},)" + vault + "}]";
        for (const auto& [text, field] :
             {std::pair{document("{" + plain + "," + vault + "}"), "spec.vault.address"},
              std::pair{document("{" + plain + "," + vault + "}", "AIProvider",
                                 R"({"name":"o","namespace":"shop"})"),
                        "spec.vault.address"},
              std::pair{document("{" + plain + "," + override_ + "}"), "spec.overrides[0].vault.address"}}) {
            Catalog c = catalog();
            const auto added = test::add_provider(c, text, rules);
            EXPECT_EQ(added.has_value(), allowed) << text;
            if (!added) {
                EXPECT_NE(
                    added.error().message.find(std::string(field) + " is not allowed by this installation"),
                    std::string::npos)
                    << added.error().message;
            }
        }
    }
}

TEST(Rules, BoundTheAudience) {
    const provider::Rules rules{.vault_addresses = {}, .token_audiences = {"bao"}};
    const auto says = [&](const std::string& rest) {
        Catalog c = catalog();
        const auto added = test::add_provider(
            c, document(R"({"path":"kv/x","variables":[{"name":"A","key":"a"}])" + rest + "}"), rules);
        return added ? "taken" : added.error().message;
    };
    EXPECT_EQ(says(R"(,"auth":{"audience":"bao"})"), "taken");
    EXPECT_NE(says("").find("spec.auth.audience is vault, but this installation allows only"),
              std::string::npos);
    EXPECT_NE(says(R"(,"auth":{})").find("spec.auth.audience is vault"), std::string::npos);
    EXPECT_NE(says(R"(,"auth":{"audience":"https://kubernetes.default.svc.cluster.local"})")
                  .find("spec.auth.audience"),
              std::string::npos);
    const std::string override_ =
        R"(,"auth":{"audience":"bao"},"overrides":[{"namespaceSelector":{"matchLabels":{"a":"b"}},)";
    EXPECT_EQ(says(override_ + R"("path":"kv/y"}])"), "taken") << "it keeps the provider's";
    EXPECT_NE(
        says(override_ + R"("auth":{"audience":"k3s"}}])").find("spec.overrides[0].auth.audience is k3s"),
        std::string::npos);
}

TEST(Provider, ADocumentReplacesTheBuiltInOnceAndNeverAnother) {
    Catalog c = catalog();
    const std::string mine =
        document(R"({"path":"kv/mine","variables":[{"name":"HOLYSHEEP_API_KEY","key":"k"}]})",
                 "ClusterAIProvider", R"({"name":"holysheep"})");
    ASSERT_TRUE(add(c, mine));
    EXPECT_EQ(found(c, "shop", "holysheep")->path, "kv/mine");
    const auto again = add(c, mine);
    ASSERT_FALSE(again);
    EXPECT_NE(again.error().message.find("duplicate"), std::string::npos);
    ASSERT_TRUE(add(c, document(minimal)));
    EXPECT_FALSE(add(c, document(minimal)));
    ASSERT_TRUE(add(c, document(minimal, "AIProvider", R"({"name":"other","namespace":"shop"})")));
    EXPECT_TRUE(add(c, document(minimal, "AIProvider", R"({"name":"other","namespace":"blog"})")));
    EXPECT_FALSE(add(c, document(minimal, "AIProvider", R"({"name":"other","namespace":"shop"})")));
}

TEST(Provider, ARefusedDocumentChangesNothing) {
    Catalog c = catalog();
    EXPECT_FALSE(add(c, document(R"({"path":"kv/x","variables":[{"name":"A","key":"a"}],"surprise":1})",
                                 "ClusterAIProvider", R"({"name":"holysheep"})")));
    EXPECT_EQ(found(c, "shop", "holysheep")->path, "ai-apis/data/holysheep");
    EXPECT_TRUE(add(c, document(R"({"path":"kv/x","variables":[{"name":"A","key":"a"}]})",
                                "ClusterAIProvider", R"({"name":"holysheep"})")));
}

TEST(Provider, EveryFaultIsNamedByItsPath) {
    const char* one = R"("variables":[{"name":"A","key":"a"}])";
    for (const auto& [spec, path] : std::vector<std::pair<std::string, std::string>>{
             {R"({"variables":[{"name":"A","key":"a"}]})", "spec.path is required"},
             {std::string(R"({"path":7,)") + one + "}", "spec.path must be"},
             {std::string(R"({"path":"",)") + one + "}", "spec.path must be"},
             {std::string(R"({"path":null,)") + one + "}", "spec.path is required"},
             {std::string(R"({"path":"/kv/x",)") + one + "}", "spec.path must be"},
             {std::string(R"({"path":"kv/../x",)") + one + "}", "spec.path must be"},
             {std::string(R"({"path":"kv/{{x}}",)") + one + "}", "spec.path must be"},
             {R"({"path":"kv/x"})", "spec.variables is required"},
             {R"({"path":"kv/x","variables":[]})", "spec.variables must not be empty"},
             {R"({"path":"kv/x","variables":{}})", "spec.variables must be a list"},
             {R"({"path":"kv/x","variables":["A"]})", "spec.variables[0] must be an object"},
             {R"({"path":"kv/x","variables":[{"name":"A","key":"a"},{"name":"B"}]})",
              "spec.variables[1].key is required"},
             {R"({"path":"kv/x","variables":[{"name":"1A","key":"a"}]})", "spec.variables[0].name must be"},
             {R"({"path":"kv/x","variables":[{"name":"A.B","key":"a"}]})", "spec.variables[0].name must be"},
             {R"({"path":"kv/x","variables":[{"name":"A","key":""}]})", "spec.variables[0].key must be"},
             {R"({"path":"kv/x","variables":[{"name":"A","key":null}]})", "spec.variables[0]"},
             {R"({"path":"kv/x","variables":[{"name":"A","key":"a\"b"}]})", "spec.variables[0].key must be"},
             {R"({"path":"kv/x","variables":[{"name":"A","key":"a"},{"name":"A","key":"b"}]})",
              "spec.variables[1].name is a duplicate"},
             {R"({"path":"kv/x","variables":[{"name":"A","key":"a","value":"x"}]})",
              "spec.variables[0].value is unknown"},
             {std::string(R"({"path":"kv/x",)") + one + R"(,"vault":"x"})", "spec.vault must be an object"},
             {std::string(R"({"path":"kv/x",)") + one + R"(,"vault":{}})", "spec.vault.address is required"},
             {std::string(R"({"path":"kv/x",)") + one + R"(,"vault":{"address":"vault:8200"}})",
              "spec.vault.address must be an http or https URL"},
             {std::string(R"({"path":"kv/x",)") + one + R"(,"vault":{"address":"https://u:p@x"}})",
              "spec.vault.address must be an http or https URL"},
             {std::string(R"({"path":"kv/x",)") + one +
                  R"(,"vault":{"address":"https://x","namespace":"/a"}})",
              "spec.vault.namespace must be"},
             {std::string(R"({"path":"kv/x",)") + one +
                  R"(,"vault":{"address":"https://x","caBundle":"bm8="}})",
              "spec.vault.caBundle must be one or more PEM"},
             {std::string(R"({"path":"kv/x",)") + one +
                  R"(,"vault":{"address":"https://x","tlsServerName":"a b"}})",
              "spec.vault.tlsServerName must be"},
             {std::string(R"({"path":"kv/x",)") + one +
                  R"(,"vault":{"address":"https://x","skipVerify":true}})",
              "spec.vault.skipVerify is unknown"},
             {std::string(R"({"path":"kv/x",)") + one + R"(,"auth":{"type":"jwt"}})",
              "spec.auth.type must be one of kubernetes, approle"},
             {std::string(R"({"path":"kv/x",)") + one + R"(,"auth":{"path":"/x"}})",
              "spec.auth.path must be"},
             {std::string(R"({"path":"kv/x",)") + one + R"(,"auth":{"role":"a/b"}})",
              "spec.auth.role must be"},
             {std::string(R"({"path":"kv/x",)") + one + R"(,"auth":{"audience":""}})",
              "spec.auth.audience must be"},
             {std::string(R"({"path":"kv/x",)") + one + R"(,"auth":{"secretName":"A B"}})",
              "spec.auth.secretName must be"},
             {std::string(R"({"path":"kv/x",)") + one + R"(,"auth":{"token":"x"}})",
              "spec.auth.token is unknown"},
             {std::string(R"({"path":"kv/x",)") + one + R"(,"paths":[]})", "spec.paths is unknown"},
         })
        EXPECT_NE(refusal(document(spec)).find(path), std::string::npos) << spec << "\n"
                                                                         << refusal(document(spec));
}

TEST(Provider, AllFaultsAreSaidAtOnce) {
    const std::string message = refusal(document(
        R"({"path":"/x","variables":[{"name":"1","key":""}],"vault":{"address":"x","a":1},"auth":{"type":"x"},"b":2})"));
    for (const char* part : {"spec.b", "spec.path", "spec.variables[0].name", "spec.variables[0].key",
                             "spec.vault.address", "spec.vault.a ", "spec.auth.type"})
        EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
}

TEST(Provider, OneFaultIsSaidOnce) {
    const std::string message = refusal(
        document(R"({"path":"kv/x","variables":[{"name":"A","key":"a"}],"vault":{"address":"vault:8200"}})"));
    EXPECT_EQ(message.find("spec.vault.address"), message.rfind("spec.vault.address")) << message;
}

TEST(Provider, ItsNameAndNamespaceAreChecked) {
    EXPECT_NE(refusal(document(minimal, "ClusterAIProvider", R"({"name":"Other"})")).find("metadata.name"),
              std::string::npos);
    EXPECT_NE(refusal(document(minimal, "ClusterAIProvider", "{}")).find("metadata.name"), std::string::npos);
    EXPECT_NE(refusal(document(minimal, "AIProvider")).find("metadata.namespace"), std::string::npos);
    for (const char* word : {"true", "false", "t", "f", "1", "0"})
        EXPECT_NE(refusal(document(minimal, "ClusterAIProvider", std::string(R"({"name":")") + word + "\"}"))
                      .find("metadata.name"),
                  std::string::npos)
            << word << " can never be named by the annotation inject, which reads it as yes or no";
}

TEST(Provider, OtherKindsAndVersionsAreRefused) {
    EXPECT_NE(refusal(document(minimal, "VaultPolicy")).find("AIProvider"), std::string::npos);
    EXPECT_NE(refusal(R"({"apiVersion":"keyshepherd.dev/v2","kind":"AIProvider"})").find("v1alpha1"),
              std::string::npos);
    for (const char* text : {"null", "[]", "7", "\"x\"", "{}"}) EXPECT_NE(refusal(text), "taken") << text;
    EXPECT_NE(
        refusal(
            R"({"apiVersion":"keyshepherd.dev/v1alpha1","kind":"ClusterAIProvider","metadata":{"name":"x"}})")
            .find("spec "),
        std::string::npos);
    EXPECT_NE(
        refusal(
            R"({"apiVersion":"keyshepherd.dev/v1alpha1","kind":"ClusterAIProvider","metadata":{"name":"x"},"spec":[]})")
            .find("spec "),
        std::string::npos);
}

// ---- overrides

constexpr const char* stages = R"({"path":"kv/dev","variables":[{"name":"A","key":"a"}],
    "auth":{"role":"own"},"overrides":[
    {"namespaceSelector":{"matchLabels":{"env":"prod"}},"path":"kv/prod","auth":{"role":"prod","path":"auth/eu"}},
    {"namespaceSelector":{"matchExpressions":[{"key":"env","operator":"In","values":["stage","prod"]}]},
     "path":"kv/stage","vault":{"address":"https://stage.example:8200"},"variables":[{"name":"B","key":"b"}]}]})";

TEST(Overrides, TheFirstThatMatchesReplacesItsPartsOnly) {
    Catalog c = catalog();
    const auto added = add(c, document(stages));
    ASSERT_TRUE(added) << added.error().message;
    const Labels prod{{"env", "prod"}}, stage{{"env", "stage"}}, dev{{"env", "dev"}}, none;
    const Provider* p = found(c, "shop", "other", &prod);
    ASSERT_NE(p, nullptr);
    EXPECT_EQ(p->path, "kv/prod") << "the second matches too";
    EXPECT_EQ(p->login.role, "prod");
    EXPECT_EQ(p->login.path, "auth/eu");
    EXPECT_EQ(p->vault.address, "https://vault.example:8200");
    EXPECT_EQ(p->variables[0].name, "A");
    p = found(c, "shop", "other", &stage);
    EXPECT_EQ(p->path, "kv/stage");
    EXPECT_EQ(p->login.role, "own");
    EXPECT_EQ(p->vault.address, "https://stage.example:8200");
    EXPECT_EQ(p->variables[0].name, "B");
    for (const Labels* other : {&dev, &none}) EXPECT_EQ(found(c, "shop", "other", other)->path, "kv/dev");
}

// https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#resources-that-support-set-based-requirements
TEST(Overrides, SelectByEachOperator) {
    const struct {
        const char* expression;
        bool with, with_another, without;  // whether it selects env=prod, env=dev and no label env
    } rows[] = {
        {R"({"key":"env","operator":"In","values":["prod","stage"]})", true, false, false},
        {R"({"key":"env","operator":"NotIn","values":["prod","stage"]})", false, true, true},
        {R"({"key":"env","operator":"Exists"})", true, true, false},
        {R"({"key":"env","operator":"DoesNotExist"})", false, false, true},
    };
    const Labels prod{{"env", "prod"}}, dev{{"env", "dev"}}, none;
    for (const auto& row : rows) {
        Catalog c = catalog();
        ASSERT_TRUE(add(c, document(std::string(R"({"path":"kv/all","variables":[{"name":"A","key":"a"}],
            "overrides":[{"path":"kv/selected","namespaceSelector":{"matchExpressions":[)") +
                                    row.expression + "]}}]}")));
        const auto selected = [&](const Labels& labels) {
            return found(c, "shop", "other", &labels)->path == "kv/selected";
        };
        EXPECT_EQ(selected(prod), row.with) << row.expression;
        EXPECT_EQ(selected(dev), row.with_another) << row.expression;
        EXPECT_EQ(selected(none), row.without) << row.expression;
    }
}

TEST(Overrides, OfLabelsThatAreNotKnownGiveNoKeyAtAll) {
    Catalog c = catalog();
    ASSERT_TRUE(add(c, document(stages)));
    const auto unknown = c.find("shop", "other");
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code, Errc::unavailable);
    EXPECT_EQ(unknown.error().message,
              "its overrides depend on labels of namespace shop (env), which are unknown");
}

TEST(Overrides, ByTheNameOfTheNamespaceNeedNoLabels) {
    Catalog c = catalog();
    ASSERT_TRUE(add(c, document(R"({"path":"kv/dev","variables":[{"name":"A","key":"a"}],"overrides":[
        {"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"prod"}},"path":"kv/prod"},
        {"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"mixed","env":"x"}},"path":"kv/x"}]})")));
    EXPECT_EQ(found(c, "prod", "other")->path, "kv/prod");
    EXPECT_EQ(found(c, "dev", "other")->path, "kv/dev");
    EXPECT_EQ(found(c, "mixed", "other"), nullptr) << "depends on env";
    const Labels liar{{"kubernetes.io/metadata.name", "prod"}};
    EXPECT_EQ(found(c, "dev", "other", &liar)->path, "kv/dev") << "the name is the request's";
}

TEST(Overrides, SelectAsKubernetesDoes) {
    using enum Requirement::Operator;
    const Labels labels{{"env", "dev"}};
    const auto says = [&](Requirement::Operator op, std::string key, std::vector<std::string> values = {}) {
        return match({{.key = std::move(key), .op = op, .values = std::move(values)}}, "shop", &labels);
    };
    EXPECT_EQ(says(in, "env", {"a", "dev"}), Match::yes);
    EXPECT_EQ(says(in, "env", {"a"}), Match::no);
    EXPECT_EQ(says(in, "tier", {"a"}), Match::no);
    EXPECT_EQ(says(not_in, "env", {"dev"}), Match::no);
    EXPECT_EQ(says(not_in, "env", {"a"}), Match::yes);
    EXPECT_EQ(says(not_in, "tier", {"a"}), Match::yes);
    EXPECT_EQ(says(exists, "env"), Match::yes);
    EXPECT_EQ(says(exists, "tier"), Match::no);
    EXPECT_EQ(says(does_not_exist, "env"), Match::no);
    EXPECT_EQ(says(does_not_exist, "tier"), Match::yes);
    EXPECT_EQ(says(not_in, "kubernetes.io/metadata.name", {"shop"}), Match::no);
    const Selector both{{.key = "env", .op = exists}, {.key = "tier", .op = exists}};
    EXPECT_EQ(match(both, "shop", &labels), Match::no);
    EXPECT_EQ(match(both, "shop", nullptr), Match::unknown);
    const Selector elsewhere{{.key = "env", .op = exists},
                             {.key = std::string(name_label), .op = in, .values = {"blog"}}};
    EXPECT_EQ(match(elsewhere, "shop", nullptr), Match::no) << "whatever env is";
}

TEST(Overrides, FaultsAreNamedByTheirPlace) {
    const auto fault = [](const char* override_) {
        return refusal(
            document(std::string(R"({"path":"kv/x","variables":[{"name":"A","key":"a"}],"overrides":)") +
                     override_ + "}"));
    };
    const auto has = [&](const char* override_, const char* part) {
        const std::string said = fault(override_);
        EXPECT_NE(said.find(part), std::string::npos) << override_ << ": " << said;
    };
    has(R"({})", "spec.overrides must be a list");
    has(R"([1])", "spec.overrides[0] must be an object");
    has(R"([{"path":"kv/y"}])", "spec.overrides[0].namespaceSelector is required");
    has(R"([{"namespaceSelector":{},"path":"kv/y"}])", "spec.overrides[0].namespaceSelector must have");
    has(R"([{"namespaceSelector":{"matchLabels":{"a":"b"}}}])",
        "spec.overrides[0] must set at least one of path");
    has(R"([{"namespaceSelector":{"matchLabels":{"a":1}},"path":"kv/y"}])", "matchLabels.a must be a string");
    has(R"([{"namespaceSelector":{"labels":{"a":"b"}},"path":"kv/y"}])",
        "namespaceSelector.labels is unknown");
    has(R"([{"namespaceSelector":{"matchLabels":{"a":"b"}},"path":"/y"}])", "spec.overrides[0].path must be");
    has(R"([{"namespaceSelector":{"matchLabels":{"a":"b"}},"vault":{}}])",
        "spec.overrides[0].vault.address is required");
    has(R"([{"namespaceSelector":{"matchLabels":{"a":"b"}},"login":{}}])",
        "spec.overrides[0].login is unknown");
    for (const char* expression :
         {R"({"key":"a","operator":"Is"})", R"({"key":"a"})", R"({"operator":"Exists"})",
          R"({"key":"a","operator":"In"})", R"({"key":"a","operator":"In","values":[1]})",
          R"({"key":"a","operator":"Exists","values":["b"]})", "1"})
        has((std::string(R"([{"namespaceSelector":{"matchExpressions":[)") + expression +
             R"(]},"path":"kv/y"}])")
                .c_str(),
            "spec.overrides[0].namespaceSelector.matchExpressions[0]");
    EXPECT_NE(refusal(document(R"({"path":"kv/x","variables":[{"name":"A","key":"a"}],"overrides":[]})",
                               "AIProvider", R"({"name":"other","namespace":"shop"})"))
                  .find("spec.overrides is unknown"),
              std::string::npos);
}

// ---- documents that come, change and go

TEST(Put, TakesThePlaceOfWhatHadTheName) {
    Catalog c = catalog();
    c = Catalog::built_in("https://vault.example:8200", "", "vault", true);
    const auto put = [&c](const std::string& text) { return test::put_provider(c, text); };
    const std::string own = R"({"name":"holysheep","namespace":"shop"})";
    ASSERT_TRUE(put(document(R"({"path":"kv/1","variables":[{"name":"A","key":"a"}]})", "ClusterAIProvider",
                             R"({"name":"holysheep"})")));
    EXPECT_EQ(found(c, "shop", "holysheep")->path, "kv/1");
    ASSERT_TRUE(put(document(R"({"path":"kv/2","variables":[{"name":"A","key":"a"}]})", "AIProvider", own)));
    EXPECT_EQ(found(c, "shop", "holysheep")->path, "kv/2");
    ASSERT_TRUE(put(document(R"({"path":"kv/3","variables":[{"name":"A","key":"a"}]})", "AIProvider", own)));
    EXPECT_EQ(found(c, "shop", "holysheep")->path, "kv/3");
    EXPECT_EQ(c.usable(), 2U);
    c.erase("shop", "holysheep");
    EXPECT_EQ(found(c, "shop", "holysheep")->path, "kv/1");
    c.erase("", "holysheep");
    EXPECT_EQ(found(c, "shop", "holysheep")->path, "ai-apis/data/holysheep") << "the built-in is back";
    c.erase("", "holysheep");
    c.erase("nowhere", "nothing");
    EXPECT_EQ(c.usable(), 0U);
}

TEST(Put, ADocumentWithFaultsStandsInItsPlaceAndIsNotUsed) {
    Catalog c = catalog();
    const auto put = [&c](const std::string& text) { return test::put_provider(c, text); };
    c = Catalog::built_in("https://vault.example:8200", "", "vault", true);
    const std::string cluster = R"({"name":"holysheep"})", own = R"({"name":"holysheep","namespace":"shop"})";
    const auto refused = put(document(R"({"path":"/bad"})", "ClusterAIProvider", cluster));
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("spec.path"), std::string::npos);
    const auto asked = c.find("blog", "holysheep");
    ASSERT_FALSE(asked) << "never the built-in of the same name";
    EXPECT_EQ(asked.error().code, Errc::invalid);
    EXPECT_EQ(asked.error().message, refused.error().message);
    EXPECT_TRUE(c.names("blog").empty());
    EXPECT_EQ(c.faulty(), 1U);
    EXPECT_EQ(c.usable(), 0U);
    ASSERT_TRUE(put(document(minimal, "ClusterAIProvider", cluster)));
    ASSERT_FALSE(put(document(R"({"path":"/bad"})", "AIProvider", own)));
    EXPECT_EQ(found(c, "shop", "holysheep"), nullptr) << "nor the cluster's, nor what it was before";
    EXPECT_EQ(found(c, "blog", "holysheep")->path, "ai-apis/data/other");
    EXPECT_TRUE(c.names("shop").empty());
    c.erase("shop", "holysheep");
    EXPECT_EQ(found(c, "shop", "holysheep")->path, "ai-apis/data/other");
}

}  // namespace
}  // namespace keyshepherd::provider
