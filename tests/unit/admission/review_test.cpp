// One AdmissionReview in, one answer out: everything that facts of the field say a webhook is sent.
#include "support/providers.hpp"
#include "support/settings.hpp"
#include "support/workload_generator.hpp"

#include <keyshepherd/admission/review.hpp>
#include <keyshepherd/core/text.hpp>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <functional>
#include <string>
#include <vector>

namespace keyshepherd::admission {
namespace {

using Json = nlohmann::json;
using generate::canary;

const inject::Catalog catalog = inject::Catalog::built_in("https://vault.example:8200");
const inject::Settings settings = testing_support::settings();

Answer answer_to(const std::string& body) {
    return review(body, catalog, settings);
}

Json deployment() {
    return Json::parse(
        R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"shop","annotations":{"keyshepherd.dev/inject":"holysheep"}},
        "spec":{"replicas":3,"selector":{"matchLabels":{"app":"a"}},"template":{"metadata":{"labels":{"app":"a"}},
        "spec":{"containers":[{"name":"app","image":"i"}]}}}})");
}

Json review_of(const Json& object) {
    Json review = Json::parse(
        R"({"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind":{"group":"apps","version":"v1","kind":"Deployment"},"resource":{"group":"apps","version":"v1","resource":"deployments"},
        "requestKind":{"group":"apps","version":"v1","kind":"Deployment"},"name":"shop","namespace":"team","operation":"CREATE",
        "userInfo":{"username":"admin","groups":["system:authenticated"]},"oldObject":null,"dryRun":false,"options":{"kind":"CreateOptions"}}})");
    review["request"]["object"] = object;
    return review;
}

Json without(Json json, const std::string& pointer) {
    const Json::json_pointer at(pointer);
    json.at(at.parent_pointer()).erase(at.back());
    return json;
}
Json with(Json json, const std::string& pointer, const Json& value) {
    json[Json::json_pointer(pointer)] = value;
    return json;
}

Json response_to(const Json& review) {
    const Answer answer = answer_to(review.dump());
    EXPECT_EQ(answer.status, 200) << answer.body;
    const Json body = Json::parse(answer.body);
    EXPECT_EQ(body.size(), 3U);
    EXPECT_EQ(body["kind"], "AdmissionReview");
    EXPECT_EQ(body["apiVersion"], review["apiVersion"]);
    EXPECT_EQ(body["response"]["uid"], review["request"]["uid"]);
    return body["response"];
}

std::string decoded(const std::string& text) {
    const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    unsigned bits = 0, held = 0;
    for (const char c : text) {
        if (c == '=') break;
        bits = bits << 6 | static_cast<unsigned>(alphabet.find(c));
        held += 6;
        if (held >= 8) out += static_cast<char>(bits >> (held -= 8) & 255);
    }
    return out;
}

Json patch_of(const Json& response) {
    return response.contains("patch") ? Json::parse(decoded(response["patch"])) : Json::array();
}

// ---- what is no review
// -----------------------------------------------------------------------------------------------------

struct Bad {
    const char* name;
    std::string body;
    int status;
};

class MalformedReview : public testing::TestWithParam<Bad> {};

TEST_P(MalformedReview, IsRefusedInOneLineThatRepeatsNothing) {
    const Answer answer = answer_to(GetParam().body);
    EXPECT_EQ(answer.status, GetParam().status) << answer.body;
    EXPECT_EQ(answer.outcome, "malformed");
    EXPECT_EQ(answer.reason, "");
    ASSERT_FALSE(answer.body.empty());
    EXPECT_EQ(answer.body.find('\n'), answer.body.size() - 1);
    EXPECT_LT(answer.body.size(), 200U);
    EXPECT_EQ(answer.body.find("sk-"), std::string::npos) << answer.body;
    for (const std::string& text :
         {answer.uid, answer.kind, answer.workload_namespace, answer.name, answer.operation})
        EXPECT_EQ(text, "");
}

std::vector<Bad> malformed_reviews() {
    const Json good = review_of(deployment());
    const std::string text = good.dump();
    std::vector<Bad> all = {
        {"Empty", "", 400},
        {"Blank", "  \n", 400},
        {"NoJson", "sk-secret is no JSON", 400},
        {"Form", "review=%7B%7D", 400},
        {"Xml", "<review/>", 400},
        {"Truncated", text.substr(0, text.size() / 2), 400},
        {"TruncatedByOne", text.substr(0, text.size() - 1), 400},
        {"TrailingGarbage", text + "x", 400},
        {"TwoDocuments", text + text, 400},
        {"ByteOrderMark", "\xef\xbb\xbf" + text, 400},
        {"BadUtf8",
         R"({"kind":")"
         "\xff"
         R"("})",
         400},
        {"NulByte", text + std::string(1, '\0'), 400},
        {"Null", "null", 400},
        {"Number", "5", 400},
        {"Text", "\"AdmissionReview\"", 400},
        {"List", "[" + text + "]", 400},
        {"EmptyObject", "{}", 400},
        {"NoKind", without(good, "/kind").dump(), 400},
        {"AnotherKind", with(good, "/kind", "Deployment").dump(), 400},
        {"KindIsNoText", with(good, "/kind", 5).dump(), 400},
        {"NoVersion", without(good, "/apiVersion").dump(), 400},
        {"UnknownVersion", with(good, "/apiVersion", "admission.k8s.io/v2").dump(), 400},
        {"VersionOfAnotherGroup", with(good, "/apiVersion", "apps/v1").dump(), 400},
        {"BareVersion", with(good, "/apiVersion", "v1").dump(), 400},
        {"VersionIsNoText", with(good, "/apiVersion", Json::array({"admission.k8s.io/v1"})).dump(), 400},
        {"NoRequest", without(good, "/request").dump(), 400},
        {"RequestNull", with(good, "/request", nullptr).dump(), 400},
        {"RequestText", with(good, "/request", "sk-secret").dump(), 400},
        {"RequestList", with(good, "/request", Json::array({good["request"]})).dump(), 400},
        {"RequestEmpty", with(good, "/request", Json::object()).dump(), 400},
        {"NoUid", without(good, "/request/uid").dump(), 400},
        {"UidNull", with(good, "/request/uid", nullptr).dump(), 400},
        {"UidEmpty", with(good, "/request/uid", "").dump(), 400},
        {"UidNumber", with(good, "/request/uid", 7).dump(), 400},
        {"AnAnswer",
         R"({"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"u","allowed":true}})",
         400},
        {"DeepNesting",
         R"({"kind":"AdmissionReview","x":)" + std::string(200, '[') + std::string(200, ']') + "}", 413},
        {"DeepNestingOfALot", std::string(1'000'000, '['), 413},
        {"DeepObjects",
         [] {
             std::string deep;
             for (int i = 0; i < 150; ++i) deep += "{\"a\":";
             return deep + "1" + std::string(150, '}');
         }(),
         413},
        {"TooManyNodes",
         [] {
             std::string list = "{\"kind\":\"AdmissionReview\",\"l\":[0";
             for (int i = 0; i < 300'001; ++i) list += ",0";
             return list + "]}";
         }(),
         413},
        {"TooManyEmptyLists",
         [] {
             std::string list = "[[]";
             for (int i = 0; i < 200'000; ++i) list += ",[]";
             return list + "]";
         }(),
         413}};
    return all;
}

INSTANTIATE_TEST_SUITE_P(Review, MalformedReview, testing::ValuesIn(malformed_reviews()),
                         [](const auto& info) { return std::string(info.param.name); });

// ---- what is one
// -------------------------------------------------------------------------------------------------------------

TEST(Review, InjectsAndSaysHow) {
    const Json object = deployment();
    const Json response = response_to(review_of(object));
    EXPECT_EQ(response["allowed"], true);
    EXPECT_EQ(response["patchType"], "JSONPatch");
    EXPECT_FALSE(response.contains("status"));
    EXPECT_FALSE(response.contains("warnings"));

    // The patch is the injector's own, and does what it did.
    auto injected = json::parse(object.dump()).value();
    const inject::Outcome outcome =
        inject::inject(injected, {.kind = "Deployment", .workload_namespace = "team"}, catalog, settings);
    EXPECT_EQ(decoded(response["patch"]), outcome.patch);
    EXPECT_EQ(object.patch(patch_of(response)), Json::parse(json::bj::serialize(injected)));

    const Answer answer = answer_to(review_of(object).dump());
    EXPECT_EQ(answer.outcome, "injected");
    EXPECT_EQ(answer.reason, "");
    EXPECT_EQ(answer.uid, "705ab4f5-6393-11e8-b7cc-42010a800002");
    EXPECT_EQ(answer.kind, "Deployment");
    EXPECT_EQ(answer.workload_namespace, "team");
    EXPECT_EQ(answer.name, "shop");
    EXPECT_EQ(answer.operation, "CREATE");
    EXPECT_FALSE(answer.dry_run);
}

TEST(Review, EchoesTheVersionThatItIsAskedIn) {
    const Json v1 = review_of(deployment()), v1beta1 = with(v1, "/apiVersion", "admission.k8s.io/v1beta1");
    EXPECT_EQ(response_to(v1), response_to(v1beta1));
}

TEST(Review, EchoesTheUidWhateverItHolds) {
    for (const char* uid : {"u", "\"quoted\\", "ü\U0001F511", "\n\t\x01", "</script>"})
        response_to(with(review_of(deployment()), "/request/uid", uid));
}

TEST(Review, ADryRunIsTheSame) {
    const Json real = review_of(deployment()), dry = with(real, "/request/dryRun", true);
    EXPECT_EQ(answer_to(real.dump()).body, answer_to(dry.dump()).body);
    EXPECT_TRUE(answer_to(dry.dump()).dry_run);
    for (const Json& odd : {Json(nullptr), Json("true"), Json(1)})
        EXPECT_FALSE(answer_to(with(real, "/request/dryRun", odd).dump()).dry_run);
}

TEST(Review, TheNamespaceIsTheRequests) {
    const Json own = with(review_of(deployment()), "/request/namespace", "kube-system");
    EXPECT_EQ(answer_to(own.dump()).reason, "namespace");
    const Json claims = with(review_of(deployment()), "/request/object/metadata/namespace", "kube-system");
    EXPECT_EQ(answer_to(claims.dump()).outcome, "injected");
}

TEST(Review, AnUpdateIsHeldAgainstTheStoredObject) {
    const Json object = deployment();
    const Json injected = object.patch(patch_of(response_to(review_of(object))));
    Json update =
        with(with(review_of(injected), "/request/operation", "UPDATE"), "/request/oldObject", injected);
    EXPECT_EQ(answer_to(update.dump()).reason, "unchanged");
    EXPECT_FALSE(response_to(with(update, "/request/object/spec/replicas", 5)).contains("patch"));
    // The manifest over the stored object: what is stored comes out.
    const Json replaced = with(update, "/request/object", object);
    EXPECT_EQ(object.patch(patch_of(response_to(replaced))), injected);
    // So it is when a later release of the webhook is asked, which would inject something else by now.
    inject::Settings later = settings;
    later.image = "registry.example/keyshepherd:9.9.9";
    const Answer sticky = review(replaced.dump(), catalog, later);
    EXPECT_EQ(object.patch(patch_of(Json::parse(sticky.body)["response"])), injected);
    EXPECT_EQ(review(update.dump(), catalog, later).reason, "unchanged");
    // Opting out.
    update["request"]["object"]["metadata"]["annotations"]["keyshepherd.dev/inject"] = "false";
    const Answer out = answer_to(update.dump());
    EXPECT_EQ(out.outcome, "removed");
    EXPECT_EQ(update["request"]["object"].patch(patch_of(response_to(update)))["spec"], object["spec"]);
}

struct Untouched {
    const char* name;
    Json review;
    const char* reason;
};

class UntouchedReview : public testing::TestWithParam<Untouched> {};

TEST_P(UntouchedReview, IsAllowedWithoutAPatch) {
    const Json response = response_to(GetParam().review);
    EXPECT_EQ(response, (Json{{"uid", GetParam().review["request"]["uid"]}, {"allowed", true}}));
    const Answer answer = answer_to(GetParam().review.dump());
    EXPECT_EQ(answer.outcome, "untouched");
    EXPECT_EQ(answer.reason, GetParam().reason);
}

std::vector<Untouched> untouched_reviews() {
    const Json good = review_of(deployment());
    const Json gone =
        with(with(with(good, "/request/operation", "DELETE"), "/request/oldObject", deployment()),
             "/request/object", nullptr);
    return {
        {"NotAsked", without(good, "/request/object/metadata/annotations"), "not-asked"},
        {"OptedOut", with(good, "/request/object/metadata/annotations/keyshepherd.dev~1inject", "false"),
         "opted-out"},
        {"OwnNamespace", with(good, "/request/namespace", "keyshepherd"), "namespace"},
        {"ReplicaSet", with(good, "/request/kind/kind", "ReplicaSet"), "kind"},
        {"Pod", with(good, "/request/kind", Json{{"group", ""}, {"version", "v1"}, {"kind", "Pod"}}), "kind"},
        {"Scale",
         with(good, "/request/kind", Json{{"group", "autoscaling"}, {"version", "v1"}, {"kind", "Scale"}}),
         "kind"},
        {"DeploymentOfAnotherGroup", with(good, "/request/kind/group", "example.org"), "kind"},
        {"NoKind", without(good, "/request/kind"), "kind"},
        {"KindIsText", with(good, "/request/kind", "Deployment"), "kind"},
        {"Delete", gone, "no-object"},
        {"NoObject", without(good, "/request/object"), "no-object"},
        {"Connect", without(with(good, "/request/operation", "CONNECT"), "/request/object"), "no-object"},
        {"NoContainers", with(good, "/request/object/spec/template/spec/containers", Json::array()),
         "no-containers"},
        {"ContainersNull", with(good, "/request/object/spec/template/spec/containers", nullptr),
         "no-containers"},
        {"NoTemplate", without(good, "/request/object/spec/template"), "no-containers"},
        {"ObjectIsText", with(good, "/request/object", "sk-secret"), "not-asked"},
        {"ObjectIsList", with(good, "/request/object", Json::array()), "not-asked"},
        {"ObjectIsEmpty", with(good, "/request/object", Json::object()), "not-asked"}};
}

INSTANTIATE_TEST_SUITE_P(Review, UntouchedReview, testing::ValuesIn(untouched_reviews()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Review, ADenialNamesEveryFaultAtOnce) {
    Json object = deployment();
    object["metadata"]["annotations"] = {{"keyshepherd.dev/inject", "holysheep"},
                                         {"keyshepherd.dev/wiring", "magic"},
                                         {"keyshepherd.dev/log-level", "loud"}};
    object["spec"]["template"]["metadata"]["annotations"] = {{"keyshepherd.dev/wirring", "auto"}};
    const Json response = response_to(review_of(object));
    EXPECT_EQ(response["allowed"], false);
    EXPECT_FALSE(response.contains("patch"));
    EXPECT_FALSE(response.contains("patchType"));
    const Json& status = response["status"];
    EXPECT_EQ(status["status"], "Failure");
    EXPECT_EQ(status["reason"], "Invalid");
    EXPECT_EQ(status["code"], 422);
    const Json& causes = status["details"]["causes"];
    ASSERT_EQ(causes.size(), 3U);
    const std::string message = status["message"];
    EXPECT_TRUE(message.starts_with("keyshepherd cannot inject, 3 errors: ")) << message;
    std::vector<std::string> fields;
    for (const Json& cause : causes) {
        EXPECT_EQ(cause["reason"], "FieldValueInvalid");
        fields.push_back(cause["field"]);
        EXPECT_NE(message.find(fmt::format("{}: {}", cause["field"].get<std::string>(),
                                           cause["message"].get<std::string>())),
                  std::string::npos);
    }
    EXPECT_EQ(fields,
              (std::vector<std::string>{"metadata.annotations[keyshepherd.dev/log-level]",
                                        "metadata.annotations[keyshepherd.dev/wiring]",
                                        "spec.template.metadata.annotations[keyshepherd.dev/wirring]"}));
    EXPECT_EQ(answer_to(review_of(object).dump()).outcome, "denied");
}

TEST(Review, ADenialForOneReasonIsOneSentence) {
    const Json response = response_to(with(
        review_of(deployment()), "/request/object/metadata/annotations/keyshepherd.dev~1wiring", "magic"));
    ASSERT_EQ(response["status"]["details"]["causes"].size(), 1U);
    const Json& cause = response["status"]["details"]["causes"][0];
    EXPECT_EQ(response["status"]["message"].get<std::string>(),
              fmt::format("keyshepherd cannot inject: {}: {}", cause["field"].get<std::string>(),
                          cause["message"].get<std::string>()));
}

TEST(Review, WarningsComeAlong) {
    Json object = deployment();
    object["spec"]["template"]["spec"]["containers"][0]["env"] = {
        {{"name", "HOLYSHEEP_API_KEY"}, {"value", canary}}};
    const Json response = response_to(review_of(object));
    EXPECT_EQ(response["allowed"], true);
    ASSERT_EQ(response["warnings"].size(), 1U);
    EXPECT_TRUE(response["warnings"][0].get<std::string>().starts_with(
        "keyshepherd: container app already sets HOLYSHEEP_API_KEY"))
        << response["warnings"];
    EXPECT_EQ(response.dump().find(canary), std::string::npos);
    EXPECT_EQ(patch_of(response).dump().find(canary), std::string::npos);
}

TEST(Review, AWarningStandsBesideADenial) {
    Json object = deployment();
    object["metadata"]["annotations"]["keyshepherd.dev/role"] = "a";
    object["spec"]["template"]["metadata"]["annotations"] = {{"keyshepherd.dev/role", "b"},
                                                             {"keyshepherd.dev/wiring", "magic"}};
    const Json response = response_to(review_of(object));
    EXPECT_EQ(response["allowed"], false);
    EXPECT_EQ(response["warnings"].size(), 1U);
}

// Annotations are user text: quotes, controls and other scripts come back as JSON.
TEST(Review, OddTextInAFaultIsStillJson) {
    for (const char* odd : {"\"", "\\", "\n", "\x01", "ü", "\u2028", "</x>", "{}"}) {
        const Json response = response_to(with(
            review_of(deployment()), "/request/object/metadata/annotations/keyshepherd.dev~1wiring", odd));
        EXPECT_EQ(response["allowed"], false);
        Json named = review_of(deployment());
        named["request"]["object"]["metadata"]["annotations"][std::string("keyshepherd.dev/") + odd] = "x";
        EXPECT_EQ(response_to(named)["allowed"], false);
    }
}

// Every text in `json`.
void expect_printable(const Json& json) {
    if (json.is_string()) {
        EXPECT_EQ(printable(json.get<std::string>()), json.get<std::string>());
    }
    if (json.is_structured())
        for (const Json& each : json) expect_printable(each);
}

TEST(Review, NothingInADenialOrWarningActsOnATerminal) {
    const std::string hostile =
        "x\n\x1b[2J\u202e\xc2\x9b"
        "31m";
    Json denied = with(deployment(), "/spec/template/spec/containers/0/name", hostile);
    denied["metadata"]["annotations"]["keyshepherd.dev/containers"] = "none";
    denied["metadata"]["annotations"]["keyshepherd.dev/" + hostile] = hostile;
    const Json denial = response_to(review_of(denied));
    EXPECT_EQ(denial["allowed"], false);
    EXPECT_NE(denial["status"]["message"].get<std::string>().find("\\x1b[2J\\u{202e}\\u{9b}"),
              std::string::npos)
        << denial["status"]["message"];
    expect_printable(denial["status"]);
}

// A key in the wrong place is refused without being repeated: messages end in terminals, logs and audit
// trails.
TEST(Review, ASecretInAnAnnotationIsNotRepeated) {
    for (const char* name : {"inject",
                             "wiring",
                             "containers",
                             "init-containers",
                             "env-X",
                             "secret-f",
                             "perms-f",
                             "role",
                             "auth-type",
                             "auth-path",
                             "token-audience",
                             "approle-secret",
                             "vault-address",
                             "vault-namespace",
                             "ca-secret",
                             "tls-server-name",
                             "agent",
                             "agent-flavor",
                             "agent-image",
                             "on-rotate",
                             "on-conflict",
                             "entrypoint-app",
                             "agent-cpu-request",
                             "agent-memory-limit",
                             "agent-run-as-user",
                             "log-level",
                             "spec",
                             "unknown"})
        for (const std::string& value :
             {std::string(canary), fmt::format("{}!\"", canary), fmt::format("[\"{}\"", canary)}) {
            Json review = review_of(deployment());
            review["request"]["object"]["metadata"]["annotations"][fmt::format("keyshepherd.dev/{}", name)] =
                value;
            const Json response = response_to(review);
            if (response["allowed"] == false)
                EXPECT_EQ(response.dump().find(canary), std::string::npos) << response.dump(1);
        }
}

TEST(Review, AWorkloadOfAMegabyteIsNoMatter) {
    Json object = deployment();
    for (int i = 0; i < 200; ++i)
        object["metadata"]["managedFields"].push_back(
            {{"manager", "kubectl"}, {"fieldsV1", {{fmt::format("f:{}", i), std::string(5000, 'x')}}}});
    EXPECT_EQ(
        answer_to(
            with(review_of(object), "/request/oldObject", without(object, "/metadata/annotations")).dump())
            .outcome,
        "injected");
}

// What a hostile client can send below the limits must not hold the thread. Work that grows with the square
// of such a review would take minutes: what ends it then is the time limit of this program in CTest.
TEST(Review, ManyEntriesAndManyFaultsAreAnswered) {
    Json references = deployment(), literals = deployment(), unknown = deployment(),
         containers = deployment(), long_name = deployment();
    for (int i = 0; i < 20'000; ++i)
        references["spec"]["template"]["spec"]["containers"][0]["env"].push_back(
            {{"name", fmt::format("V{}", i)}, {"value", "vault:a#b"}});
    for (int i = 0; i < 20'000; ++i)
        literals["spec"]["template"]["spec"]["containers"][0]["env"].push_back(
            {{"name", fmt::format("V{}", i)}, {"value", "x"}});
    for (int i = 0; i < 20'000; ++i)
        unknown["metadata"]["annotations"][fmt::format("keyshepherd.dev/unknown-{}", i)] = "x";
    for (int i = 0; i < 5'000; ++i)
        containers["spec"]["template"]["spec"]["containers"].push_back(
            {{"name", fmt::format("c{}", i)}, {"image", "i"}});
    long_name["metadata"]["annotations"]["keyshepherd.dev/" + std::string(1'000'000, 'x')] = "x";
    // A marker is the user's to write. This one names what is there, what is not, and every container.
    Json marked = deployment(),
         marker = {
             {"v", 1}, {"volumes", Json::array()}, {"mounted", Json::array()}, {"wrapped", Json::array()}};
    for (int i = 0; i < 6'000; ++i) {
        marker["volumes"].push_back(fmt::format("keyshepherd-{}", 2 * i));
        marker["mounted"].push_back(fmt::format("c{}", i));
        marker["wrapped"].push_back(fmt::format("c{}", i));
    }
    for (int i = 0; i < 20'000; ++i) {
        marked["spec"]["template"]["spec"]["volumes"].push_back({{"name", fmt::format("keyshepherd-{}", i)}});
        marked["spec"]["template"]["spec"]["containers"].push_back({{"name", fmt::format("c{}", i)}});
    }
    marked["spec"]["template"]["metadata"]["annotations"]["keyshepherd.dev/injected"] = marker.dump();
    marked["metadata"]["annotations"]["keyshepherd.dev/inject"] = "false";
    // Names against names; a message must not list every container for every name that is none.
    Json names = deployment(), entrypoints = deployment(), mounts = deployment();
    std::string list = "x0";
    Json spec;
    for (int i = 1; i < 10'000; ++i) {
        list += fmt::format(",x{}", i);
        spec[fmt::format("entrypoint-y{}", i)] = "[\"a\"]";
    }
    for (int i = 0; i < 20'000; ++i)
        for (Json* object : {&names, &entrypoints})
            (*object)["spec"]["template"]["spec"]["containers"].push_back({{"name", fmt::format("c{}", i)}});
    names["metadata"]["annotations"]["keyshepherd.dev/containers"] = list;
    entrypoints["metadata"]["annotations"]["keyshepherd.dev/spec"] = spec.dump();
    for (int i = 0; i < 60'000; ++i)
        mounts["spec"]["template"]["spec"]["containers"][0]["volumeMounts"].push_back(
            {{"name", "keyshepherd-x"}});
    mounts["spec"]["template"]["metadata"]["annotations"]["keyshepherd.dev/injected"] = marker.dump();
    mounts["metadata"]["annotations"]["keyshepherd.dev/inject"] = "false";
    for (const auto& [what, object] :
         std::vector<std::pair<const char*, Json>>{{"names of no container", names},
                                                   {"entrypoints of no container", entrypoints},
                                                   {"mounts against a marker", mounts},
                                                   {"a marker that names thousands", marked},
                                                   {"references", references},
                                                   {"literals", literals},
                                                   {"unknown annotations", unknown},
                                                   {"containers", containers},
                                                   {"a long name", long_name}}) {
        const Answer answer = answer_to(review_of(object).dump());
        EXPECT_EQ(answer.status, 200) << what;
        EXPECT_LT(answer.body.size(), 1'000'000U) << what;
    }
}

Json env_of(std::size_t count, const std::function<std::string(std::size_t)>& value) {
    Json env = Json::array();
    for (std::size_t i = 0; i < count; ++i)
        env.push_back({{"name", fmt::format("V{}", i)}, {"value", value(i)}});
    return env;
}

// One cause, whose message has every one of `parts`.
void expect_one_cause(const Json& response, const std::string& field, const std::vector<std::string>& parts) {
    ASSERT_EQ(response["allowed"], false);
    const Json& causes = response["status"]["details"]["causes"];
    ASSERT_EQ(causes.size(), 1U) << causes;
    EXPECT_EQ(causes[0]["field"], field);
    const std::string message = causes[0]["message"];
    for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << message;
}

TEST(Limits, ReferencesAreCountedBeforeTheyAreRead) {
    for (const std::size_t count : {1'000U, 8'000U, 16'000U, 40'000U}) {
        Json object = deployment();
        Json& containers = object["spec"]["template"]["spec"]["containers"];
        containers[0]["env"] =
            env_of(count, [](std::size_t i) { return fmt::format("vault:kv/data/{}#k", i); });
        const Json response = response_to(review_of(object));
        if (count <= 10'000) {
            // The provider's two variables count too.
            expect_one_cause(response, "spec.template.spec",
                             {fmt::format("requests {} variables and files", count + 2), "the limit is 1000",
                              "keyshepherd.dev/secret-<file>"});
        } else {
            ASSERT_EQ(response["allowed"], false);
            const Json& causes = response["status"]["details"]["causes"];
            ASSERT_EQ(causes.size(), 2U);
            EXPECT_EQ(
                causes[0]["message"],
                fmt::format("injection would set {} env entries, but the limit is 10000 per pod; select "
                            "fewer containers with keyshepherd.dev/containers, or fewer variables",
                            count + 2));
        }
    }
}

TEST(Limits, VariablesTimesContainersAreCounted) {
    Json object = deployment();
    Json& containers = object["spec"]["template"]["spec"]["containers"];
    const auto grow = [&](std::size_t size) {
        while (containers.size() < size)
            containers.push_back({{"name", fmt::format("c{}", containers.size())}, {"image", "i"}});
    };
    grow(3'000);
    EXPECT_EQ(answer_to(review_of(object).dump()).outcome, "injected");
    grow(5'001);
    expect_one_cause(response_to(review_of(object)), "spec.template.spec",
                     {"10002 env entries", "the limit is 10000"});
}

// The API server checks the size of annotations only after the webhook. The stored ones of our own do not
// count.
TEST(Limits, AnnotationsAreMeasuredBeforeTheyAreRead) {
    for (const char* name : {"containers", "spec", "unknown"}) {
        Json object = deployment();
        object["metadata"]["annotations"][fmt::format("keyshepherd.dev/{}", name)] =
            std::string(262'144, 'x');
        expect_one_cause(response_to(review_of(object)), "metadata.annotations",
                         {"bytes of keyshepherd.dev/*", "limit of 262144"});
    }
    Json object = deployment();
    object["metadata"]["annotations"]["keyshepherd.dev/agent-config"] = std::string(262'144, 'x');
    EXPECT_TRUE(response_to(review_of(object)).contains("patch"));
}

// The limit on what a pod may ask for refuses nothing that its annotations could hold.
TEST(Limits, SevenHundredOfTheShortestVariablesPassTheAnnotations) {
    for (const char* wiring : {"envfile", "file"}) {
        Json object = deployment();
        Json spec;
        for (int i = 0; i < 700; ++i) spec[fmt::format("env-{}{}", char('A' + i % 26), i / 26)] = "a#b";
        object["metadata"]["annotations"]["keyshepherd.dev/spec"] = spec.dump();
        object["metadata"]["annotations"]["keyshepherd.dev/wiring"] = wiring;
        expect_one_cause(response_to(review_of(object)), "spec.template.metadata.annotations",
                         {"Kubernetes allows 262144"});
    }
}

TEST(Limits, WhatAPodHasOfItsOwnHasNone) {
    Json variables = deployment(), volumes = deployment(), containers = deployment(),
         annotations = deployment();
    const auto pod = [](Json& object) -> Json& { return object["spec"]["template"]["spec"]; };
    pod(variables)["containers"][0]["env"] = env_of(3'000, [](std::size_t) { return "plain"; });
    for (int i = 0; i < 3'000; ++i) {
        pod(volumes)["volumes"].push_back({{"name", fmt::format("v{}", i)}, {"emptyDir", Json::object()}});
        pod(volumes)["containers"][0]["volumeMounts"].push_back(
            {{"name", fmt::format("v{}", i)}, {"mountPath", fmt::format("/v{}", i)}});
    }
    Json spec;
    for (int i = 0; i < 300; ++i) {
        const std::string name = fmt::format("c{}", i);
        pod(containers)["containers"].push_back({{"name", name}, {"image", "i"}});
        pod(annotations)["containers"].push_back({{"name", name}, {"image", "i"}});
    }
    for (int i = 0; i < 300; ++i) {
        spec[fmt::format("entrypoint-c{}", i)] = R"(["/app"])";
        annotations["metadata"]["annotations"][fmt::format("keyshepherd.dev/entrypoint-c{}", i)] =
            R"(["/app"])";
        spec[fmt::format("env-V{}", i % 10)] = "a#b";
    }
    annotations["metadata"]["annotations"]["keyshepherd.dev/spec"] = spec.dump();
    for (const auto& [what, object] :
         std::vector<std::pair<const char*, Json>>{{"3,000 variables", variables},
                                                   {"3,000 volumes and mounts", volumes},
                                                   {"301 containers", containers},
                                                   {"600 annotations", annotations}}) {
        const Json response = response_to(review_of(object));
        EXPECT_TRUE(response.contains("patch")) << what << response["status"];
    }
}

// Kubernetes takes 256 KiB of annotations an object, and the agent's configuration is one.
TEST(Review, AnnotationsThatWouldPassTheLimitOfKubernetesAreADenial) {
    constexpr std::size_t limit = 262'144;
    // Gives the size of the template's annotations, or 0 for a denial, with a template file of that length.
    const auto injected = [&](std::size_t length) -> std::size_t {
        Json object = deployment();
        object["metadata"]["annotations"]["keyshepherd.dev/template-app.conf"] = std::string(length, 'x');
        const Json response = response_to(review_of(object));
        if (response["allowed"] == false) {
            const Json& causes = response["status"]["details"]["causes"];
            EXPECT_EQ(causes.size(), 1U) << causes;
            EXPECT_EQ(causes[0]["field"], "spec.template.metadata.annotations");
            const std::string message = causes[0]["message"];
            EXPECT_NE(message.find("Kubernetes allows 262144"), std::string::npos) << message;
            EXPECT_NE(message.find("shorten the templates"), std::string::npos) << message;
            EXPECT_FALSE(response.contains("patch"));
            return 0;
        }
        std::size_t bytes = 0;
        const Json result = object.patch(patch_of(response));
        for (const auto& [name, text] : result["spec"]["template"]["metadata"]["annotations"].items())
            bytes += name.size() + text.get<std::string>().size();
        return bytes;
    };
    const std::size_t fits = limit - (injected(1'000) - 1'000);
    EXPECT_EQ(injected(fits), limit);
    EXPECT_EQ(injected(fits + 1), 0U);
}

TEST(Review, TheSameBytesForTheSameReview) {
    const std::string body = review_of(deployment()).dump();
    const std::string first = answer_to(body).body;
    for (int i = 0; i < 20; ++i) EXPECT_EQ(answer_to(body).body, first);
}

// ---- labels of namespaces

TEST(Review, WithoutTheLabelsThatItNeedsIsDeniedForTheMoment) {
    inject::Catalog stages = catalog;
    const auto added = test::add_provider(
        stages,
        R"({"apiVersion":"keyshepherd.dev/v1alpha1","kind":"ClusterAIProvider","metadata":{"name":"holysheep"},"spec":{
        "path":"kv/dev","variables":[{"name":"A","key":"a"}],"overrides":[{"namespaceSelector":{"matchLabels":{"env":"prod"}},"path":"kv/prod"}]}})");
    ASSERT_TRUE(added) << added.error().message;
    const std::string body = review_of(deployment()).dump();
    inject::Namespaces arriving("try again", true);
    const Answer wait = review(body, stages, settings, arriving);
    EXPECT_TRUE(wait.passing && wait.arriving);
    const Json status = Json::parse(wait.body)["response"]["status"];
    EXPECT_EQ(status["code"], 503);
    EXPECT_EQ(status["details"]["retryAfterSeconds"], 1);
    EXPECT_NE(status["message"].get<std::string>().find(
                  "labels of namespace team (env), which are unknown; try again"),
              std::string::npos)
        << status;

    const Answer no = review(body, stages, settings, inject::Namespaces("tell me", false));
    EXPECT_FALSE(no.passing);
    EXPECT_EQ(Json::parse(no.body)["response"]["status"]["code"], 422);

    arriving.put("team", {{"env", "prod"}});
    const Answer there = review(body, stages, settings, arriving);
    EXPECT_FALSE(there.passing);
    EXPECT_EQ(there.outcome, "injected");

    Json wrong = deployment();
    wrong["metadata"]["annotations"]["keyshepherd.dev/wiring"] = "nonsense";
    const Answer both = review(review_of(wrong).dump(), stages, settings, inject::Namespaces("x", true));
    EXPECT_FALSE(both.passing) << "what is wrong stays wrong";
    EXPECT_EQ(Json::parse(both.body)["response"]["status"]["code"], 422);
}

}  // namespace
}  // namespace keyshepherd::admission
