// What an update finds in a stored object that somebody changed by hand, or that another version wrote.
#include "support/providers.hpp"
#include "support/settings.hpp"

#include <keyshepherd/inject/injector.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace keyshepherd::inject {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

// The built-in provider, with a Secret.
const Catalog catalog = [] {
    Catalog all = Catalog::built_in("https://vault.example:8200");
    EXPECT_TRUE(test::add_provider(
        all,
        R"({"apiVersion":"keyshepherd.dev/v1alpha1","kind":"ClusterAIProvider","metadata":{"name":"holysheep"},
        "spec":{"path":"ai-apis/data/holysheep","variables":[{"name":"HOLYSHEEP_API_KEY","key":"api_key"},
        {"name":"HOLYSHEEP_BASE_URL","key":"base_url"}],"connectionRef":{"name":"main","namespace":"vault"},"delivery":{"secret":true}}})"));
    return all;
}();

struct Answer {
    Outcome outcome;
    Json object;
};

Answer ask(const Json& object, const Json& old = nullptr) {
    Answer answer;
    json::value edited = json::parse(object.dump()).value();
    const json::value stored = json::parse(old.dump()).value();
    answer.outcome =
        inject(edited,
               {.kind = "Deployment", .workload_namespace = "shop", .old = old.is_null() ? nullptr : &stored},
               catalog, testing_support::settings());
    answer.object = Json::parse(json::bj::serialize(edited));
    return answer;
}

Json deployment(const char* wiring) {
    Json object = Json::parse(
        R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"chat"},"spec":{"template":{"metadata":
        {"labels":{"app":"chat"}},"spec":{"containers":[{"name":"app","image":"i","command":["/chat"]},
        {"name":"own","image":"i","command":["/own"],"env":[{"name":"HOLYSHEEP_API_KEY",
        "value":"vault:ai-apis/data/holysheep#api_key"}]}]}}}})");
    object["metadata"]["annotations"] = {{"keyshepherd.dev/inject", "true"},
                                         {"keyshepherd.dev/wiring", wiring}};
    return object;
}

Json opted_out(Json object) {
    object["metadata"]["annotations"]["keyshepherd.dev/inject"] = "false";
    return object;
}

Json& container(Json& object, std::size_t index) {
    return object["spec"]["template"]["spec"]["containers"][index];
}

Json& annotations(Json& object) {
    return object["spec"]["template"]["metadata"]["annotations"];
}

class RenamedContainer : public testing::TestWithParam<const char*> {};

TEST_P(RenamedContainer, IsGivenBackByOptingOut) {
    const Json plain = deployment(GetParam());
    Json injected = ask(plain).object;
    Json want = opted_out(plain), renamed = injected;
    container(want, 0)["name"] = container(renamed, 0)["name"] = "web";
    EXPECT_EQ(ask(opted_out(renamed), injected).object, want) << "in one update";
    const Json again = ask(renamed, injected).object;
    Json moved = container(renamed, 0);  // mounts a folder of its new name
    if (moved.contains("volumeMounts"))
        for (Json& mount : moved["volumeMounts"])
            if (mount.contains("subPath")) mount["subPath"] = "web";
    EXPECT_EQ(again.at("spec").at("template").at("spec").at("containers").at(0), moved);
    EXPECT_EQ(ask(opted_out(again), again).object, want) << "in two";
}

TEST_P(RenamedContainer, ACopyGivesOursBackToo) {
    const Json plain = deployment(GetParam());
    const Json injected = ask(plain).object;
    Json copied = injected, want = opted_out(plain);
    Json copy = container(copied, 0), plain_copy = container(want, 0);
    copy["name"] = plain_copy["name"] = "copy";
    copied["spec"]["template"]["spec"]["containers"].push_back(copy);
    want["spec"]["template"]["spec"]["containers"].push_back(plain_copy);
    Json got = ask(opted_out(copied), injected).object;
    for (const char* list : {"env", "volumeMounts"})  // empty: nobody says that the copy had none
        if (Json& c = container(got, 2); c.contains(list) && c[list].empty()) c.erase(list);
    EXPECT_EQ(got, want);
}

INSTANTIATE_TEST_SUITE_P(Wirings, RenamedContainer, testing::Values("exec", "envfile", "secret"),
                         [](const auto& info) { return std::string(info.param); });

TEST(WiringSecret, GivesBackWhatAnApplyMergedIntoOurEntries) {
    const Json plain = deployment("secret");
    const Json injected = ask(plain).object;
    Json merged = injected;
    container(merged, 1)["env"][1]["value"] = "vault:ai-apis/data/holysheep#api_key";
    ASSERT_TRUE(container(merged, 1)["env"][1]["valueFrom"].contains("secretKeyRef")) << merged.dump(1);
    EXPECT_EQ(ask(merged, injected).object, injected);
    Json sourced = injected;
    container(sourced, 1)["env"][1]["valueFrom"]["configMapKeyRef"] = {{"name", "c"}, {"key", "k"}};
    const Json got = ask(opted_out(sourced), injected).object;
    EXPECT_EQ(got.at("spec").at("template").at("spec").at("containers").at(1).at("env").at(0).at("valueFrom"),
              (Json{{"configMapKeyRef", {{"name", "c"}, {"key", "k"}}}}));
}

TEST(WiringSecret, TouchesNoSecretOfTheUsersForAForgedMarker) {
    Json forged = ask(deployment("secret")).object;
    Json& env = container(forged, 0)["env"];
    env.push_back({{"name", "OWN"}, {"valueFrom", {{"secretKeyRef", {{"name", "own"}, {"key", "k"}}}}}});
    Json marker = Json::parse(annotations(forged)["keyshepherd.dev/injected"].get<std::string>());
    marker["env"]["containers"]["app"]["OWN"] = nullptr;
    marker["values"]["OWN"] = "own";
    annotations(forged)["keyshepherd.dev/injected"] = marker.dump();
    const Json got = ask(opted_out(forged), forged).object;
    EXPECT_EQ(got.at("spec").at("template").at("spec").at("containers").at(0).at("env").size(), 1U);
}

TEST(RenamedEntrypoint, IsAbsentAgain) {
    Json plain = deployment("exec");
    container(plain, 0).erase("command");
    plain["metadata"]["annotations"]["keyshepherd.dev/entrypoint-app"] = R"(["/chat"])";
    const Json injected = ask(plain).object;
    Json want = opted_out(plain), renamed = injected;
    container(want, 0)["name"] = container(renamed, 0)["name"] = "web";
    EXPECT_EQ(ask(opted_out(renamed), injected).object, want);
}

struct Unreadable {
    const char* name;
    const char* marker;
    const char* why;
};

class UnreadableMarker : public testing::TestWithParam<Unreadable> {};

TEST_P(UnreadableMarker, IsRefusedOnceWithTheWayOut) {
    Json stored = ask(deployment("envfile")).object;
    annotations(stored)["keyshepherd.dev/injected"] = GetParam().marker;
    EXPECT_EQ(ask(stored, stored).outcome.reason, "unchanged") << "what does not change is let through";
    Json changed = stored, not_asked = stored;
    container(changed, 0)["image"] = "j";
    not_asked["metadata"].erase("annotations");
    for (const Json& update : {changed, opted_out(stored), not_asked}) {
        const Outcome outcome = ask(update, stored).outcome;
        ASSERT_EQ(outcome.verdict, Verdict::denied) << update;
        ASSERT_EQ(outcome.faults.size(), 1U);
        EXPECT_EQ(outcome.faults[0].field, "spec.template.metadata.annotations[keyshepherd.dev/injected]");
        EXPECT_THAT(outcome.faults[0].message, HasSubstr(GetParam().why));
        EXPECT_THAT(outcome.faults[0].message, HasSubstr("kubectl replace -f FILE"));
    }
    // The way out.
    EXPECT_EQ(ask(deployment("envfile"), stored).outcome.verdict, Verdict::injected);
    EXPECT_EQ(ask(opted_out(deployment("envfile")), stored).outcome.reason, "opted-out");
    // Without anything of ours it is a text like another.
    Json foreign = deployment("envfile");
    annotations(foreign)["keyshepherd.dev/injected"] = GetParam().marker;
    EXPECT_EQ(ask(foreign).outcome.verdict, Verdict::injected);
}

INSTANTIATE_TEST_SUITE_P(
    Markers, UnreadableMarker,
    testing::Values(Unreadable{"Later", R"({"v":2,"by":"9.0.0"})",
                               "keyshepherd \"9.0.0\" wrote the annotation with schema 2,"},
                    Unreadable{"Garbled", R"({"v":1,)", "is damaged"},
                    Unreadable{"NoObject", "true", "is damaged"},
                    Unreadable{"NoVersion", R"({"v":"x"})", "is damaged"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(AnotherSpelling, OfTheSameWishRollsNothing) {
    for (const char* wiring : {"envfile", "exec", "file"}) {
        Json plain = deployment(wiring);
        if (std::string(wiring) == "file") plain["spec"]["template"]["spec"]["containers"].erase(1);
        const Json stored = ask(plain).object;
        Json respelled = stored;
        respelled["metadata"]["annotations"]["keyshepherd.dev/inject"] = "holysheep";
        const Answer answer = ask(respelled, stored);
        EXPECT_EQ(answer.outcome.reason, "unchanged") << wiring;
        EXPECT_EQ(answer.object, respelled);
        EXPECT_EQ(ask(answer.object, answer.object).outcome.reason, "unchanged");
        // A wish that changes something is taken.
        Json other = stored;
        other["metadata"]["annotations"]["keyshepherd.dev/log-level"] = "debug";
        EXPECT_EQ(ask(other, stored).outcome.verdict, Verdict::injected);
    }
}

TEST(NotAsked, AnAnnotationOfOursIsAWarning) {
    Json object = deployment("exec");
    object["metadata"]["annotations"] = {{"keyshepherd.dev/injct", "true"},
                                         {"keyshepherd.dev/wiring", "exec"}};
    const Outcome outcome = ask(object).outcome;
    EXPECT_EQ(outcome.reason, "not-asked");
    EXPECT_THAT(
        outcome.warnings,
        testing::ElementsAre(
            HasSubstr(
                "no effect without keyshepherd.dev/inject: keyshepherd.dev/injct, keyshepherd.dev/wiring"),
            HasSubstr("did you mean keyshepherd.dev/inject?")));
    object["metadata"].erase("annotations");
    EXPECT_TRUE(ask(object).outcome.warnings.empty());
}

TEST(WiringExec, KeepsTheTwoSourcesThatAnApplyPutBesideOurValue) {
    Json stored = ask(deployment("exec")).object;
    container(stored, 0)["env"][0]["valueFrom"] = {{"fieldRef", {{"fieldPath", "metadata.name"}}},
                                                   {"configMapKeyRef", {{"name", "c"}, {"key", "k"}}}};
    const Json given_back = ask(opted_out(stored), stored).object;
    const Json& entry = given_back["spec"]["template"]["spec"]["containers"][0]["env"][0];
    EXPECT_FALSE(entry.contains("value")) << entry;
    EXPECT_EQ(entry["valueFrom"].size(), 2U) << entry;
}

// Whoever owns the workload can write the marker, also in a review that is made by hand.
TEST(ForgedMarker, NamesEntriesThatAreNone) {
    for (const char* wiring : {"exec", "secret", "envfile"}) {
        Json forged = ask(deployment(wiring)).object;
        container(forged, 0)["env"].push_back(nullptr);
        container(forged, 0)["env"].push_back("text");
        Json marker = Json::parse(annotations(forged)["keyshepherd.dev/injected"].get<std::string>());
        for (const Json& original : {Json(nullptr), Json::object()}) {
            marker["env"]["containers"]["app"][""] = original;
            marker["values"][""] = "";
            annotations(forged)["keyshepherd.dev/injected"] = marker.dump();
            const Json given_back = ask(opted_out(forged), forged).object;
            EXPECT_EQ(given_back["spec"]["template"]["spec"]["containers"][0]["env"],
                      (Json{nullptr, "text"}));
            ask(forged, forged);
        }
    }
}

// Wiring exec: what a user wrote as vault: is stored as keyshepherd:, and given back when they opt out.
TEST(Placeholder, TakesThePlaceOfAReferenceAndGivesItBack) {
    const Json manifest = deployment("exec");
    const Json stored = ask(manifest).object;
    const auto value_in = [](Json object, std::size_t index) {
        Json entries = container(object, index)["env"];
        for (const Json& entry : entries)
            if (entry["name"] == "HOLYSHEEP_API_KEY") return entry["value"].get<std::string>();
        return std::string();
    };
    EXPECT_EQ(value_in(stored, 0), "keyshepherd:ai-apis/data/holysheep#api_key");
    EXPECT_EQ(value_in(stored, 1), "keyshepherd:ai-apis/data/holysheep#api_key");
    Json given = stored;
    for (Json& entry : container(given, 1)["env"])
        if (entry["name"] == "HOLYSHEEP_API_KEY") entry["value"] = "vault:ai-apis/data/holysheep#api_key";
    EXPECT_EQ(ask(given, stored).object, stored) << "a re-apply of the manifest rolls nothing";
    EXPECT_EQ(ask(opted_out(stored), stored).object, opted_out(manifest));

    // As an earlier version injected it.
    std::string text = stored.dump();
    for (std::size_t at = 0; (at = text.find("keyshepherd:ai-apis", at)) != std::string::npos;)
        text.replace(at, std::string_view("keyshepherd:").size(), "vault:");
    const Json earlier = Json::parse(text);
    EXPECT_EQ(value_in(earlier, 0), "vault:ai-apis/data/holysheep#api_key");
    EXPECT_EQ(ask(earlier, earlier).object, earlier) << "an upgrade of the webhook rolls nothing";
    EXPECT_EQ(ask(opted_out(earlier), earlier).object, opted_out(manifest));
    Json changed = earlier;
    container(changed, 0)["image"] = "i:2";
    const Json converged = ask(changed, earlier).object;
    EXPECT_EQ(value_in(converged, 0), "keyshepherd:ai-apis/data/holysheep#api_key");
    EXPECT_EQ(value_in(converged, 1), "keyshepherd:ai-apis/data/holysheep#api_key");
}

// What is stored comes back element for element, also where an entry of ours was copied by hand.
TEST(MixedUpdate, BringsEveryStoredEntryBackToItsPlace) {
    const Json manifest = deployment("envfile");
    Json stored = ask(manifest).object;
    Json& env = container(stored, 1)["env"];
    ASSERT_EQ(env.size(), 2U);
    env.push_back({{"name", "OWN"}, {"value", "v"}});
    env.push_back(env[0]);
    Json given = stored;
    container(given, 1)["env"][1]["value"] =
        "vault:ai-apis/data/holysheep#api_key";  // as a re-apply merges it
    const Answer answer = ask(given, stored);
    EXPECT_EQ(answer.outcome.verdict, Verdict::injected);
    EXPECT_EQ(answer.object, stored);
}

}  // namespace
}  // namespace keyshepherd::inject
