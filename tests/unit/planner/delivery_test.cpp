#include <keyshepherd/inject/provider.hpp>
#include <keyshepherd/planner/delivery.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace keyshepherd::planner {
namespace {

using testing::HasSubstr;

constexpr std::int64_t noon = 1'769'860'800;  // 2026-01-31T12:00:00Z
const std::string source = key_source("ai/main", "ai-apis/data/dev", {3, noon});

Resource provider(const char* kind = "ClusterAIProvider") {
    Resource made;
    made.kind = resources::find_kind(kind);
    made.name = "acme";
    made.ns = made.kind->namespaced ? "shop" : "";
    made.uid = "uid-1";
    made.spec = {{"path", "ai-apis/data/dev"},
                 {"variables", {{{"name", "KEY"}, {"key", "api_key"}}}},
                 {"delivery", {{"secret", true}}}};
    return made;
}

Json written(const Resource& owner, const KeyVersion& key) {
    Json secret = {{"type", "Opaque"},
                   {"metadata", secret_metadata(owner, key, source, Json::array())},
                   {"data", {{"KEY", "c2stb25l"}}}};
    secret["metadata"]["uid"] = "s";
    secret["metadata"]["resourceVersion"] = "5";
    return secret;
}

std::map<std::string, Workload> readers(std::initializer_list<const char*> namespaces,
                                        const std::string& secret = "keyshepherd-acme.cluster") {
    std::map<std::string, Workload> all;
    for (const char* ns : namespaces) {
        Workload reader;
        reader.ns = ns;
        reader.secrets = {secret};
        all.emplace(std::string("Deployment/") + ns + "/web", reader);
    }
    return all;
}

TEST(Delivery, HasNamesThatNoTwoProvidersShare) {
    EXPECT_EQ(delivered_secret(provider("AIProvider")), "keyshepherd-acme");
    EXPECT_EQ(delivered_secret(provider()), "keyshepherd-acme.cluster");
    const std::string longest(63, 'a');
    EXPECT_LE(inject::published_secret("ClusterAIProvider", longest).size(), 253U);
}

TEST(Delivery, OfANamespacesProviderIsInItsNamespaceAlone) {
    Resource own = provider("AIProvider");
    const auto nobody = [](const std::string&) { return nullptr; };
    const auto wanted = deliveries(own, key_places(own), readers({"other"}, "keyshepherd-acme"), nobody);
    EXPECT_EQ(wanted.places, (std::map<std::string, std::size_t>{{"shop", 0}}));
    own.spec["delivery"]["secret"] = false;
    EXPECT_TRUE(deliveries(own, key_places(own), {}, nobody).places.empty());
}

TEST(Delivery, OfAClusterProviderFollowsItsReadersAndItsOverrides) {
    Resource all = provider();
    const auto selects = [](const char* stage) { return Json{{"matchLabels", {{"stage", stage}}}}; };
    all.spec["overrides"] = {
        {{"namespaceSelector", selects("prod")},
         {"path", "ai-apis/data/prod"},
         {"variables", {{{"name", "KEY"}, {"key", "prod_key"}}}}},
        {{"namespaceSelector", selects("abroad")}, {"vault", {{"address", "https://abroad.example"}}}}};
    const auto places = key_places(all);
    EXPECT_EQ(places.at(0).variables, (std::map<std::string, std::string>{{"KEY", "prod_key"}}));
    EXPECT_EQ(places.at(2).variables, (std::map<std::string, std::string>{{"KEY", "api_key"}}));
    const std::map<std::string, inject::Labels> labels = {
        {"dev", {}}, {"prod", {{"stage", "prod"}}}, {"abroad", {{"stage", "abroad"}}}, {"else", {}}};
    auto workloads = readers({"dev", "prod", "abroad", "new"});
    workloads["Deployment/else/web"] = readers({"else"}, "keyshepherd-acme").begin()->second;
    const auto wanted = deliveries(all, places, workloads, [&](const std::string& ns) {
        const auto at = labels.find(ns);
        return at == labels.end() ? nullptr : &at->second;
    });
    EXPECT_EQ(wanted.places, (std::map<std::string, std::size_t>{{"dev", 2}, {"prod", 0}}))
        << "none for another Vault's key, nor for readers of another Secret";
    EXPECT_EQ(wanted.unsure, std::set<std::string>{"new"}) << "its labels are not known";
}

TEST(Delivery, IsOnlyInNamespacesThatTheSelectorSelects) {
    Resource all = provider();
    all.spec["delivery"]["namespaceSelector"] = {
        {"matchLabels", {{"team", "ai"}}},
        {"matchExpressions", {{{"key", "stage"}, {"operator", "NotIn"}, {"values", {"dev"}}}}}};
    const std::map<std::string, inject::Labels> labels = {{"in", {{"team", "ai"}, {"stage", "prod"}}},
                                                          {"bare", {{"team", "ai"}}},
                                                          {"dev", {{"team", "ai"}, {"stage", "dev"}}},
                                                          {"out", {}}};
    const auto wanted = deliveries(all, key_places(all), readers({"in", "bare", "dev", "out", "new"}),
                                   [&](const std::string& ns) {
                                       const auto at = labels.find(ns);
                                       return at == labels.end() ? nullptr : &at->second;
                                   });
    EXPECT_EQ(wanted.places, (std::map<std::string, std::size_t>{{"in", 0}, {"bare", 0}}));
    EXPECT_EQ(wanted.not_selected, (std::set<std::string>{"dev", "out"}));
    EXPECT_EQ(wanted.unsure, std::set<std::string>{"new"}) << "no label, no key: nothing is published there";
    EXPECT_THAT(delivery_condition(all, {{"in", {}}}, 2).message,
                HasSubstr("contains the current key in 1 namespace; the namespaceSelector does not select 2 "
                          "namespaces with "
                          "workloads that use it"));
}

TEST(Delivery, OutlivesItsLastReader) {
    using enum Withdrawal::Step;
    const auto step = [](std::int64_t unread_since, std::int64_t now, std::int64_t grace = 600) {
        FoundSecret found;
        found.unread_since = unread_since;
        return withdrawal(found, now, grace);
    };
    EXPECT_EQ(step(0, noon).step, mark);
    EXPECT_EQ(step(0, noon).removed_at, noon + 600);
    EXPECT_EQ(step(noon, noon).step, wait);
    EXPECT_EQ(step(noon, noon + 599).step, wait);
    EXPECT_EQ(step(noon, noon + 599).removed_at, noon + 600);
    EXPECT_EQ(step(noon, noon + 600).step, remove);
    EXPECT_EQ(step(noon + 1, noon).step, mark) << "somebody wrote a time that is still to come";
    EXPECT_EQ(step(0, noon, 0).step, remove);
    // The mark is found again, and goes with the next write.
    const KeyVersion key{3, noon};
    Json secret = written(provider(), key);
    secret.merge_patch(unread_patch(read_secret(secret, provider()), noon + 5));
    const FoundSecret found = read_secret(secret, provider());
    EXPECT_EQ(found.unread_since, noon + 5);
    EXPECT_EQ(next_step(found, key, source, true), DeliveryStep::write) << "it is read again";
    Json again = {{"metadata", secret_metadata(provider(), key, source, Json::array())}};
    erase_absent_annotations(again["metadata"]);
    secret.merge_patch(again);
    EXPECT_EQ(read_secret(secret, provider()).unread_since, 0);
    EXPECT_EQ(next_step(read_secret(secret, provider()), key, source, true), DeliveryStep::rest);
}

TEST(Delivery, ComesToRestAtWhatItWrites) {
    const KeyVersion key{3, noon};
    const FoundSecret found = read_secret(written(provider(), key), provider());
    EXPECT_TRUE(found.ours && found.described && !found.fixed);
    EXPECT_EQ(found.key, key);
    EXPECT_EQ(found.uid, "s");
    EXPECT_EQ(found.resource_version, "5");
    EXPECT_EQ(next_step(found, key, source, true), DeliveryStep::rest);
    EXPECT_EQ(next_step(found, key, source, false), DeliveryStep::write);
    EXPECT_EQ(next_step(found, {4, noon}, source, true), DeliveryStep::write);
    EXPECT_EQ(next_step(std::nullopt, key, source, false), DeliveryStep::create);
    // Of the same number, but from elsewhere, or begun anew there.
    for (const auto& other :
         {key_source("ai/other", "ai-apis/data/dev", key), key_source("ai/main", "ai-apis/data/prod", key),
          key_source("ai/main", "ai-apis/data/dev", {3, noon + 1})}) {
        EXPECT_EQ(next_step(found, key, other, true), DeliveryStep::write) << other;
        EXPECT_EQ(delivered_since(found, key, other), std::nullopt) << other;
    }
}

TEST(Delivery, WritesNoSecretOfSomebodyElses) {
    const KeyVersion key{3, noon};
    const auto step = [&](const Json& secret) {
        return next_step(read_secret(secret, provider()), key, source, true);
    };
    Json secret = written(provider(), key);
    secret["metadata"].erase("ownerReferences");
    EXPECT_EQ(step(secret), DeliveryStep::write) << "label and uid are ours";
    secret["metadata"].erase("labels");
    EXPECT_EQ(step(secret), DeliveryStep::refuse);
    Resource former = provider();
    former.uid = "uid-0";
    EXPECT_EQ(step(written(former, key)), DeliveryStep::refuse) << "of a provider of the same name";
    EXPECT_EQ(step({{"metadata", {{"uid", "s"}}}, {"type", "kubernetes.io/tls"}, {"immutable", true}}),
              DeliveryStep::refuse);
}

TEST(Delivery, MendsWhatWasTakenAwayAndReplacesWhatCannotBeWritten) {
    const KeyVersion key{3, noon};
    const auto step = [&](const Json& patch) {
        Json secret = written(provider(), key);
        secret.merge_patch(patch);
        return next_step(read_secret(secret, provider()), key, source, true);
    };
    EXPECT_EQ(step(Json::object()), DeliveryStep::rest);
    EXPECT_EQ(step({{"metadata", {{"labels", nullptr}}}}), DeliveryStep::write);
    EXPECT_EQ(step({{"metadata", {{"annotations", nullptr}}}}), DeliveryStep::write);
    EXPECT_EQ(step({{"metadata", {{"annotations", {{"keyshepherd.dev/key-version", "x"}}}}}}),
              DeliveryStep::write);
    EXPECT_EQ(step({{"immutable", true}}), DeliveryStep::replace);
    EXPECT_EQ(step({{"type", "other"}}), DeliveryStep::replace);
}

TEST(Delivery, KeepsOwnersBesideOurs) {
    Json secret = written(provider(), {3, noon});
    secret["metadata"]["ownerReferences"].push_back({{"kind", "ConfigMap"}, {"uid", "c"}});
    const FoundSecret found = read_secret(secret, provider());
    ASSERT_EQ(found.other_owners.size(), 1U);
    const Json owners = secret_metadata(provider(), {3, noon}, source, found.other_owners)["ownerReferences"];
    ASSERT_EQ(owners.size(), 2U);
    EXPECT_EQ(owners[1]["uid"], "uid-1");
    EXPECT_FALSE(owners[1].contains("controller")) << "there may be one already";
}

// A workload that began between the new version in Vault and the new Secret has the old key.
TEST(Delivery, CountsFromWhenTheSecretWasWritten) {
    const KeyVersion key{3, noon};
    EXPECT_EQ(delivered_since(std::nullopt, key, source), noon) << "no workload began without it";
    const FoundSecret before = read_secret(written(provider(), {2, noon - 60}), provider());
    EXPECT_EQ(delivered_since(before, key, source), std::nullopt) << "only the API server tells";
    const FoundSecret same = read_secret(written(provider(), {3, noon + 30}), provider());
    EXPECT_EQ(delivered_since(same, key, source), noon + 30);
}

TEST(Delivery, TellsTheValuesOfKvVersionOneApart) {
    const KeyVersion key{.version = 1, .created = 0, .digest = "ab"};
    const std::string of_key = key_source("ai/main", "kv/key", key);
    EXPECT_NE(of_key, key_source("ai/main", "kv/key", {.version = 1, .created = 0, .digest = "cd"}));
    // The time is known only when the Secret is written.
    EXPECT_EQ(delivered_since(std::nullopt, key, of_key).value_or(0), 0);
}

// It is written without the time, which a second write adds. An operator may die between the two.
TEST(Delivery, IsNotAtRestBeforeItSaysSinceWhen) {
    const KeyVersion key{3, noon};
    Json undated = written(provider(), {3, 0});
    EXPECT_FALSE(undated["metadata"]["annotations"].contains("keyshepherd.dev/key-since"));
    const FoundSecret found = read_secret(undated, provider());
    EXPECT_EQ(next_step(found, key, source, true), DeliveryStep::write);
    EXPECT_EQ(delivered_since(found, key, source), std::nullopt);
    undated.merge_patch(date_patch("s", "5", noon + 60));
    const FoundSecret dated = read_secret(undated, provider());
    EXPECT_EQ(next_step(dated, key, source, true), DeliveryStep::rest);
    EXPECT_EQ(delivered_since(dated, key, source), noon + 60);
    // A newer key takes the old time away in the write that brings it.
    Json newer = {{"metadata", secret_metadata(provider(), {4, 0}, source, Json::array())}};
    erase_absent_annotations(newer["metadata"]);
    undated.merge_patch(newer);
    EXPECT_EQ(read_secret(undated, provider()).key, (KeyVersion{4, 0}));
}

TEST(Delivery, CarriesWhatAVariableCan) {
    const Json data = {{"text", "sk"},
                       {"number", 7},
                       {"truth", true},
                       {"empty", ""},
                       {"nothing", nullptr},
                       {"list", {1, 2}},
                       {"nul", std::string("a\0b", 3)}};
    EXPECT_EQ(carried_value(data, "text"), "sk");
    EXPECT_EQ(carried_value(data, "number"), "7");
    EXPECT_EQ(carried_value(data, "truth"), "true");
    for (const char* key : {"empty", "nothing", "list", "nul", "absent"})
        EXPECT_FALSE(carried_value(data, key)) << key;
    EXPECT_FALSE(carried_value(Json(), "text"));
}

TEST(Delivery, IsToldWithCountsAndReasons) {
    const auto of = [](const Resource& owner, const std::map<std::string, Delivered>& all) {
        return delivery_condition(owner, all);
    };
    EXPECT_EQ(of(provider("AIProvider"), {{"shop", {}}}).message,
              "Secret keyshepherd-acme contains the current key");
    EXPECT_THAT(of(provider(), {}).message, HasSubstr("is not published, because no workload uses it"));
    EXPECT_THAT(of(provider(), {{"a", {}}, {"b", {}}}).message, HasSubstr("in 2 namespaces"));
    const Condition mixed =
        of(provider(), {{"a", {"KeyMissing", "no key"}}, {"b", {}}, {"c", {"Conflict", "theirs"}}});
    EXPECT_EQ(mixed.type, "SecretPublished");
    EXPECT_EQ(mixed.truth, Truth::no);
    EXPECT_EQ(mixed.reason, "Conflict");
    EXPECT_EQ(mixed.message,
              "Secret keyshepherd-acme.cluster contains the current key in 1 of 3 namespaces; a: no key; c: "
              "theirs");
    std::map<std::string, Delivered> many;
    for (int i = 0; i < 500; ++i) many[std::to_string(i)] = {"Denied", std::string(50, 'x')};
    EXPECT_LT(of(provider(), many).message.size(), 500U);
    EXPECT_EQ(delivery_reason("KeyDeleted"), "KeyMissing");
    EXPECT_EQ(delivery_reason("PermissionDenied"), "Denied");
    EXPECT_EQ(delivery_reason("NotVersioned"), "NotVersioned");
}

TEST(Delivery, ReadersAreKnownByTheMarker) {
    const auto read = [](const char* wiring) {
        Json marker = {{"v", 1}, {"wiring", wiring}, {"values", {{"KEY", "keyshepherd-acme"}}}};
        const Json object = {
            {"kind", "Deployment"},
            {"metadata", {{"name", "web"}, {"namespace", "shop"}}},
            {"spec",
             {{"template",
               {{"metadata",
                 {{"annotations",
                   {{"keyshepherd.dev/inject", "acme"}, {"keyshepherd.dev/injected", marker.dump()}}}}}}}}}};
        return read_workload(object, "holysheep").value();
    };
    EXPECT_EQ(read("secret").secrets, std::set<std::string>{"keyshepherd-acme"});
    EXPECT_TRUE(read("secret").rolls);
    EXPECT_TRUE(read("file").secrets.empty());
    EXPECT_FALSE(read("secret").means_the_same(read("file")));
}

}  // namespace
}  // namespace keyshepherd::planner
