#include <keyshepherd/planner/rotation.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace keyshepherd::planner {
namespace {

constexpr std::int64_t noon = 1'769'860'800;  // 2026-01-31T12:00:00Z

Json deployment(Json of_template = Json::object(), Json own = Json::object(),
                const char* wiring = "envfile") {
    of_template["keyshepherd.dev/injected"] = Json{{"v", 1}, {"wiring", wiring}}.dump();
    return {{"apiVersion", "apps/v1"},
            {"kind", "Deployment"},
            {"metadata",
             {{"name", "web"},
              {"namespace", "shop"},
              {"uid", "u"},
              {"resourceVersion", "7"},
              {"creationTimestamp", "2026-01-31T12:00:00Z"},
              {"annotations", std::move(own)}}},
            {"spec", {{"template", {{"metadata", {{"annotations", std::move(of_template)}}}}}}}};
}

const Json asks = {{"keyshepherd.dev/inject", "true"}};

Workload read(const Json& object) {
    auto workload = read_workload(object, "holysheep");
    EXPECT_TRUE(workload);
    return workload.value_or(Workload{});
}

TEST(Workloads, AreReadFromWhatTheWebhookWrote) {
    const Workload found = read(deployment({{"rotation.keyshepherd.dev/holysheep", "3"}}, asks));
    EXPECT_EQ(found.kind, "Deployment");
    EXPECT_EQ(found.ns, "shop");
    EXPECT_EQ(found.name, "web");
    EXPECT_EQ(found.resource_version, "7");
    EXPECT_EQ(found.created, noon);
    EXPECT_EQ(found.providers, std::set<std::string>{"holysheep"});
    EXPECT_EQ(found.told, (std::map<std::string, std::string>{{"holysheep", "3"}}));
    EXPECT_TRUE(found.rolls);
}

TEST(Workloads, ThatAreNotInjectedOrGoAwayAreNone) {
    Json object = deployment({}, asks);
    object["spec"]["template"]["metadata"]["annotations"].erase("keyshepherd.dev/injected");
    EXPECT_FALSE(read_workload(object, "holysheep"));
    object = deployment({}, asks);
    object["metadata"]["deletionTimestamp"] = "2026-01-31T12:00:00Z";
    EXPECT_FALSE(read_workload(object, "holysheep"));
    EXPECT_FALSE(read_workload(deployment(), "holysheep")) << "nothing asks";
    for (const Json& odd :
         {Json(), Json::array(), Json{{"metadata", 1}}, Json{{"spec", {{"template", "x"}}}}})
        EXPECT_FALSE(read_workload(odd, "holysheep"));
}

TEST(Workloads, NameTheirProvidersAndTheTemplateWins) {
    EXPECT_EQ(read(deployment({{"keyshepherd.dev/inject", "acme, other"}}, asks)).providers,
              (std::set<std::string>{"acme", "other"}));
}

TEST(Workloads, AreRolledAsTheAnnotationSaysElseByTheWiring) {
    const auto rolls = [](const char* wiring, const char* on_rotate) {
        Json wishes = asks;
        if (*on_rotate != '\0') wishes["keyshepherd.dev/on-rotate"] = on_rotate;
        return read(deployment({}, wishes, wiring)).rolls;
    };
    for (const char* wiring : {"envfile", "exec", "secret"}) {
        EXPECT_TRUE(rolls(wiring, "")) << wiring;
        EXPECT_TRUE(rolls(wiring, "rollout")) << wiring;
        EXPECT_FALSE(rolls(wiring, "none")) << wiring;
        EXPECT_FALSE(rolls(wiring, "restart")) << wiring;
    }
    EXPECT_FALSE(rolls("file", ""));
    EXPECT_TRUE(rolls("file", "rollout"));
    Json in_one = asks;
    in_one["keyshepherd.dev/spec"] = R"({"on-rotate":"none"})";
    EXPECT_FALSE(read(deployment({}, in_one)).rolls);
}

TEST(Workloads, ReadThePathsInTheAgentsConfiguration) {
    const auto reads = [](const char* wiring) {
        const Json config = {
            {"template",
             {{{"destination", "/keyshepherd/env/holysheep.env"},
               {"contents", "{{ with secret \"ai-apis/data/dev/key\" }}{{ $d := .Data }}{{ end }}"}},
              {{"destination", "/keyshepherd/env/references.env"},
               {"contents", "{{ with secret \"ai-apis/data/own\" }}{{ end }}"}},
              {{"destination", "/keyshepherd/files/acme.env"},
               {"contents", "{{ with secret \"ai-apis/data/file\" }}{{ end }}"}}}}};
        return read(deployment({{"keyshepherd.dev/agent-config", config.dump()}}, asks, wiring)).reads;
    };
    const std::map<std::string, std::string> one = {{"holysheep", "ai-apis/data/dev/key"}};
    EXPECT_EQ(reads("envfile"), one);
    EXPECT_EQ(reads("exec"), one);
    EXPECT_TRUE(reads("file").empty()) << "no env file: its variables are files of their own";
    for (const char* odd : {"", "{", "[]", "{\"template\":[1,{\"destination\":\"/keyshepherd/env/x.env\"}]}"})
        EXPECT_TRUE(read(deployment({{"keyshepherd.dev/agent-config", odd}}, asks)).reads.empty()) << odd;
}

TEST(Workloads, DifferOnlyInWhatCounts) {
    const Workload one = read(deployment({}, asks));
    Workload other = one;
    other.resource_version = "8";
    EXPECT_TRUE(one.means_the_same(other));
    other.told["holysheep"] = "2";
    EXPECT_FALSE(one.means_the_same(other));
}

constexpr const char* dev = "ai-apis/data/dev/key";
constexpr const char* prod = "ai-apis/data/prod/key";

Need need_of(const Workload& workload, const KeyVersion& key, const char* path = dev) {
    return need(workload, "holysheep", path, key, key.created);
}

TEST(Needs, AreRolledOnceForEachVersion) {
    Workload workload = read(deployment({}, asks));
    const KeyVersion later{2, noon + 1};
    EXPECT_EQ(need_of(workload, {1, noon - 1}), Need::none) << "it began with it";
    EXPECT_EQ(need_of(workload, {1, noon}), Need::roll_if_older) << "it may have begun a moment before";
    EXPECT_EQ(need_of(workload, later), Need::roll_if_older);
    workload.told["holysheep"] = rotation_record(dev, later);
    EXPECT_EQ(need_of(workload, later), Need::none);
    EXPECT_EQ(need_of(workload, {3, noon + 5}), Need::roll_if_older);
    workload.told["holysheep"] = rotation_record(dev, {12, noon});
    EXPECT_EQ(need_of(workload, later), Need::roll_if_older) << "of a mount that was there before";
    workload.told.clear();
    workload.told["other"] = rotation_record(dev, later);
    EXPECT_EQ(need_of(workload, later), Need::roll_if_older);
    workload.rolls = false;
    EXPECT_EQ(need_of(workload, later), Need::skip);
    EXPECT_EQ(need_of(workload, {1, noon - 1}), Need::none);
}

// The number alone does not say which key it is: the path may be another one, or its versions begun again.
TEST(Needs, AreRolledForAnotherKeyOfTheSameVersion) {
    Workload workload = read(deployment({}, asks));
    const KeyVersion key{3, noon + 1};
    workload.told["holysheep"] = rotation_record(dev, key);
    EXPECT_EQ(need_of(workload, key, prod), Need::roll);
    EXPECT_EQ(need_of(workload, {3, noon - 60}, prod), Need::roll) << "also when that one is older than it";
    EXPECT_EQ(need_of(workload, {3, noon + 2}), Need::roll_if_older) << "deleted and begun again";
    EXPECT_EQ(need_of(workload, {2, noon - 60}), Need::none) << "it began with it";
}

TEST(Needs, AreRolledWhenTheAgentReadsAnotherPath) {
    Workload workload = read(deployment({}, asks));
    const KeyVersion older{3, noon - 60};
    workload.reads["holysheep"] = prod;
    EXPECT_EQ(need_of(workload, older, prod), Need::none);
    EXPECT_EQ(need_of(workload, older, dev), Need::roll);
    workload.told["holysheep"] = "3";
    EXPECT_EQ(need_of(workload, older, dev), Need::roll) << "a record without a path does not outweigh that";
    workload.told["holysheep"] = rotation_record(dev, older);
    EXPECT_EQ(need_of(workload, older, dev), Need::none)
        << "not again and again for a template that keeps it";
    workload.rolls = false;
    workload.told.clear();
    EXPECT_EQ(need_of(workload, older, dev), Need::skip);
}

TEST(Needs, TakeTheRecordOfAnEarlierReleaseForItsVersion) {
    Workload workload = read(deployment({{"rotation.keyshepherd.dev/holysheep", "3"}}, asks));
    EXPECT_EQ(need_of(workload, {3, noon + 1}), Need::none) << "an upgrade rolls nothing";
    EXPECT_EQ(need_of(workload, {4, noon + 1}), Need::roll_if_older);
    EXPECT_EQ(need_of(workload, {4, noon - 1}), Need::none);
}

TEST(Needs, AreRolledForAnotherValueOfKvVersionOne) {
    Workload workload = read(deployment({}, asks));
    const KeyVersion key{.version = 1, .created = 0, .digest = "ab"};
    const KeyVersion another{.version = 1, .created = 0, .digest = "cd"};
    workload.told["holysheep"] = rotation_record("kv/key", key);
    EXPECT_EQ(need(workload, "holysheep", "kv/key", key, noon), Need::none);
    EXPECT_EQ(need(workload, "holysheep", "kv/key", another, noon), Need::roll_if_older);
    EXPECT_EQ(need(workload, "holysheep", "kv/key", another, noon - 1), Need::none) << "it began with it";
    workload.told["holysheep"] = "1";
    EXPECT_EQ(need(workload, "holysheep", "kv/key", key, noon), Need::roll_if_older) << "of KV version 2";
}

TEST(Needs, CountFromWhenTheKeyCouldBeRead) {
    const Workload workload = read(deployment({}, asks));
    const KeyVersion key{3, noon - 60};
    EXPECT_EQ(need(workload, "holysheep", dev, key, noon - 1), Need::none);
    EXPECT_EQ(need(workload, "holysheep", dev, key, noon), Need::roll_if_older)
        << "in the same second: perhaps not";
}

// ---- templates

Json made_of(const char* uid, const char* created, Json pod_template, std::int64_t revision = 0) {
    pod_template["metadata"]["labels"]["pod-template-hash"] = "abc";
    return {{"metadata",
             {{"creationTimestamp", created},
              {"ownerReferences", Json::array({{{"uid", uid}, {"controller", true}}})}}},
            {"revision", revision},
            {"spec", {{"template", std::move(pod_template)}}}};
}

// Who annotates an old Deployment rolls it by that: its template is younger than it.
TEST(Templates, AreAsOldAsTheReplicaSetThatIsMadeOfThem) {
    Json object = deployment({}, asks);
    object["spec"]["template"]["metadata"]["labels"] = {{"app", "web"}};
    const Json present = object["spec"]["template"];
    Json before = present;
    before["metadata"]["annotations"].erase("keyshepherd.dev/injected");
    std::vector<Json> history = {made_of("u", "2026-01-30T12:00:00Z", before)};
    EXPECT_EQ(template_since(object, history), std::nullopt) << "the controller has not seen it";
    history.push_back(made_of("other", "2026-01-29T12:00:00Z", present));
    EXPECT_EQ(template_since(object, history), std::nullopt) << "of another Deployment";
    history.push_back(made_of("u", "2026-01-31T13:00:00Z", present));
    EXPECT_EQ(template_since(object, history), noon + 3600);
    history.push_back(made_of("u", "2026-01-31T12:30:00Z", present));
    EXPECT_EQ(template_since(object, history), noon + 1800) << "the older of two";
    history.back()["metadata"]["ownerReferences"][0].erase("controller");
    EXPECT_EQ(template_since(object, history), noon + 3600);
}

TEST(Templates, AreAsOldAsTheNewestControllerRevision) {
    for (const char* kind : {"StatefulSet", "DaemonSet"}) {
        Json object = deployment({}, asks);
        object["kind"] = kind;
        object["metadata"]["generation"] = 2;
        object["status"]["observedGeneration"] = 1;
        const std::vector<Json> history = {made_of("u", "2026-01-31T13:00:00Z", Json::object(), 3),
                                           made_of("u", "2026-01-30T12:00:00Z", Json::object(), 2),
                                           made_of("other", "2026-01-31T14:00:00Z", Json::object(), 9)};
        EXPECT_EQ(template_since(object, history), std::nullopt) << "the newest may be of the one before";
        object["status"].erase("observedGeneration");
        EXPECT_EQ(template_since(object, history), std::nullopt) << "its controller has not seen it yet";
        object["status"]["observedGeneration"] = 2;
        EXPECT_EQ(template_since(object, history), noon + 3600);
        EXPECT_EQ(template_since(object, {}), std::nullopt);
    }
}

TEST(Selectors, AreWrittenAsTheQueryHasThem) {
    Json object;
    object["spec"]["selector"] = {
        {"matchLabels", {{"app", "web"}}},
        {"matchExpressions", Json::array({{{"key", "tier"}, {"operator", "In"}, {"values", {"a", "b"}}},
                                          {{"key", "x"}, {"operator", "Exists"}},
                                          {{"key", "y"}, {"operator", "DoesNotExist"}},
                                          {{"key", "z"}, {"operator", "NotIn"}, {"values", {"c"}}}})}};
    EXPECT_EQ(label_selector(object), "app=web,tier in (a,b),x,!y,z notin (c)");
    EXPECT_EQ(label_selector(Json()), "");
}

TEST(Records, TellVersionTimeAndPathApartAndShowNoPath) {
    const std::string record = rotation_record(dev, {3, noon});
    EXPECT_THAT(record, testing::StartsWith("3 2026-01-31T12:00:00Z "));
    EXPECT_THAT(record, testing::Not(testing::HasSubstr("ai-apis")));
    for (const std::string& other : {rotation_record(prod, {3, noon}), rotation_record(dev, {4, noon}),
                                     rotation_record(dev, {3, noon + 1})})
        EXPECT_NE(record, other);
}

// ---- places

Resource provider(Json overrides) {
    Json spec = {{"path", "ai-apis/data/dev/key"},
                 {"variables", Json::array({{{"name", "A"}, {"key", "a"}}})},
                 {"overrides", std::move(overrides)}};
    auto reading = resources::read({{"apiVersion", "keyshepherd.dev/v1alpha1"},
                                    {"kind", "ClusterAIProvider"},
                                    {"metadata", {{"name", "acme"}}},
                                    {"spec", std::move(spec)}},
                                   "");
    for (const auto& fault : reading.faults) ADD_FAILURE() << fault.field << " " << fault.message;
    return reading.resource;
}

TEST(Places, AreChosenByTheLabelsOfTheNamespace) {
    const auto places = key_places(provider(Json::array(
        {{{"namespaceSelector", {{"matchLabels", {{"env", "prod"}}}}}, {"path", "ai-apis/data/prod/key"}},
         {{"namespaceSelector",
           {{"matchExpressions",
             Json::array(
                 {{{"key", "env"}, {"operator", "In"}, {"values", Json::array({"qa", "staging"})}}})}}},
          {"path", "ai-apis/data/staging/key"}},
         {{"namespaceSelector", {{"matchLabels", {{"vault", "own"}}}}},
          {"vault", {{"address", "https://other:8200"}}}}})));
    ASSERT_EQ(places.size(), 4U);
    const auto path = [&](inject::Labels labels) {
        const auto place = place_of(places, "shop", &labels);
        return place ? places[*place].path : "";
    };
    EXPECT_EQ(path({{"env", "prod"}}), "ai-apis/data/prod/key");
    EXPECT_EQ(path({{"env", "qa"}}), "ai-apis/data/staging/key");
    EXPECT_EQ(path({{"env", "x"}}), "ai-apis/data/dev/key");
    EXPECT_EQ(path({}), "ai-apis/data/dev/key");
    EXPECT_TRUE(places[2].elsewhere);
    EXPECT_EQ(place_of(places, "shop", nullptr), std::nullopt) << "no label, no key";
    EXPECT_EQ(place_of(key_places(provider(Json::array())), "shop", nullptr), std::optional<std::size_t>(0));
}

TEST(Paths, OfMetadataAreThoseOfVersionTwo) {
    EXPECT_EQ(metadata_path("ai-apis/data/holysheep"), "ai-apis/metadata/holysheep");
    EXPECT_EQ(metadata_path("team/kv/data/a/data/b"), "team/kv/metadata/a/data/b");
    for (const char* path : {"kv/holysheep", "kv/data", "/data/x", "database/creds/x"})
        EXPECT_EQ(metadata_path(path), std::nullopt) << path;
}

// A read of a path of another engine may create a lease.
TEST(Paths, WithoutDataAreReadOnlyOnAMountOfKvVersionOne) {
    for (const Json& mount : {Json{{"type", "kv"}, {"options", {{"version", "1"}}}},
                              Json{{"type", "kv"}, {"options", nullptr}}, Json{{"type", "kv"}}})
        EXPECT_FALSE(unreadable_mount("kv/key", mount)) << mount;
    for (const Json& mount :
         {Json{{"type", "kv"}, {"options", {{"version", "2"}}}},
          Json{{"type", "database"}, {"options", nullptr}}, Json{{"type", "pki"}}, Json::object(), Json()}) {
        const auto view = unreadable_mount("kv/key", mount);
        ASSERT_TRUE(view) << mount;
        EXPECT_EQ(view->reason, "NotVersioned");
        EXPECT_THAT(view->message, testing::HasSubstr("kv/key"));
    }
}

// ---- versions

Json metadata(Json state) {
    state["created_time"] = "2026-01-31T12:00:00.123456789Z";
    return {{"current_version", 2}, {"versions", {{"1", Json::object()}, {"2", std::move(state)}}}};
}

TEST(Keys, HaveTheVersionThatVaultTells) {
    EXPECT_EQ(read_key("p", metadata({{"deletion_time", ""}, {"destroyed", false}}), noon).version,
              (KeyVersion{2, noon}));
    EXPECT_TRUE(read_key("p", metadata({{"deletion_time", "2026-01-31T12:00:10Z"}}), noon).version)
        << "deleted only later";
    EXPECT_EQ(read_key("p", metadata({{"deletion_time", "2026-01-31T12:00:10Z"}}), noon + 10).reason,
              "KeyDeleted");
    EXPECT_EQ(read_key("p", metadata({{"destroyed", true}}), noon).reason, "KeyDeleted");
    for (const Json& nothing : {Json(), Json::object(), Json{{"current_version", 0}},
                                Json{{"current_version", 4}}, Json{{"current_version", "2"}}})
        EXPECT_EQ(read_key("p", nothing, noon).reason, "KeyNotFound") << nothing;
}

Json rolled(const char* kind, Json status, Json spec = Json::object()) {
    Json object = deployment({{"rotation.keyshepherd.dev/holysheep", "3"}});
    object["kind"] = kind;
    object["metadata"]["generation"] = 2;
    object["spec"].update(spec);
    object["status"] = std::move(status);
    return object;
}

RolloutState state(const Json& object) {
    return rollout_state(object, "rotation.keyshepherd.dev/holysheep", "3");
}

TEST(RolloutState, IsOutWhenNoPodOfTheOldTemplateIsLeftAndTheNewOnesServe) {
    const Json spec = {{"replicas", 2}};
    const Json done = {
        {"observedGeneration", 2}, {"updatedReplicas", 2}, {"replicas", 2}, {"availableReplicas", 2}};
    for (const char* kind : {"Deployment", "StatefulSet"}) {
        EXPECT_TRUE(state(rolled(kind, done, spec)).out) << kind;
        const std::pair<const char*, int> still[] = {
            {"observedGeneration", 1}, {"updatedReplicas", 1}, {"replicas", 3}, {"availableReplicas", 1}};
        for (const auto& [field, count] : still) {
            Json status = done;
            status[field] = count;
            const RolloutState found = state(rolled(kind, status, spec));
            EXPECT_TRUE(found.told) << kind << ' ' << field;
            EXPECT_FALSE(found.out) << kind << ' ' << field;
        }
    }
    // Without a number of replicas one is meant; with none nothing has to serve.
    EXPECT_FALSE(state(rolled("Deployment", {{"observedGeneration", 2}})).out);
    EXPECT_TRUE(state(rolled("Deployment", {{"observedGeneration", 2}}, {{"replicas", 0}})).out);
}

TEST(RolloutState, OfADaemonSetIsByItsNodes) {
    const Json done = {{"observedGeneration", 2},
                       {"desiredNumberScheduled", 3},
                       {"updatedNumberScheduled", 3},
                       {"numberAvailable", 3}};
    EXPECT_TRUE(state(rolled("DaemonSet", done)).out);
    for (const char* field : {"updatedNumberScheduled", "numberAvailable"}) {
        Json status = done;
        status[field] = 2;
        EXPECT_FALSE(state(rolled("DaemonSet", status)).out) << field;
    }
}

TEST(RolloutState, AnotherValueWasNotTold) {
    const Json object = rolled("Deployment", {{"observedGeneration", 2}}, {{"replicas", 0}});
    const RolloutState found = rollout_state(object, "rotation.keyshepherd.dev/holysheep", "4");
    EXPECT_FALSE(found.told);
    EXPECT_FALSE(found.out);
    EXPECT_FALSE(rollout_state(Json::object(), "rotation.keyshepherd.dev/holysheep", "3").told);
}

}  // namespace
}  // namespace keyshepherd::planner
