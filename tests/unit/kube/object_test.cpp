#include <keyshepherd/core/ascii.hpp>
#include <keyshepherd/kube/event.hpp>
#include <keyshepherd/kube/finalizer.hpp>
#include <keyshepherd/kube/object.hpp>

#include <gtest/gtest.h>

namespace keyshepherd::kube {
namespace {

const Resource secrets{"", "v1", "secrets", true};
const Resource policies{"keyshepherd.dev", "v1alpha1", "vaultpolicies", true};
const Resource nodes{"", "v1", "nodes", false};

TEST(Path, IsTheOneOfTheApi) {
    EXPECT_EQ(path(secrets, "default"), "/api/v1/namespaces/default/secrets");
    EXPECT_EQ(path(secrets, ""), "/api/v1/secrets");
    EXPECT_EQ(path(policies, "a"), "/apis/keyshepherd.dev/v1alpha1/namespaces/a/vaultpolicies");
    EXPECT_EQ(path(nodes, ""), "/api/v1/nodes");
    EXPECT_EQ(path(nodes, "ignored"), "/api/v1/nodes");
    EXPECT_EQ(path({policies, "a", "b", "status"}),
              "/apis/keyshepherd.dev/v1alpha1/namespaces/a/vaultpolicies/b/status");
    EXPECT_EQ(path({nodes, "", "n", ""}), "/api/v1/nodes/n");
}

TEST(Path, ANameIsOneSegmentWhateverItHolds) {
    EXPECT_EQ(path({secrets, "a", "a/b?c#d", ""}), "/api/v1/namespaces/a/secrets/a%2Fb%3Fc%23d");
    EXPECT_EQ(percent_encode("a b\r\n%\xC3\xA9~"), "a%20b%0D%0A%25%C3%A9~");
}

TEST(Metadata, TakesWhatIsThereAndOfItsType) {
    const Metadata data = metadata({{"metadata",
                                     {{"name", "n"},
                                      {"namespace", "s"},
                                      {"uid", "u"},
                                      {"resourceVersion", "7"},
                                      {"generation", 3},
                                      {"deletionTimestamp", "2026-11-24T06:39:00Z"},
                                      {"finalizers", {"a", 1, "b"}}}}});
    EXPECT_EQ(data.name, "n");
    EXPECT_EQ(data.ns, "s");
    EXPECT_EQ(data.uid, "u");
    EXPECT_EQ(data.resource_version, "7");
    EXPECT_EQ(data.generation, 3);
    EXPECT_EQ(data.deletion_timestamp, "2026-11-24T06:39:00Z");
    EXPECT_EQ(data.finalizers, (std::vector<std::string>{"a", "b"}));
    for (const Json& odd : {Json(), Json(1), Json::object(), Json{{"metadata", 1}},
                            Json{{"metadata", {{"name", 1}, {"generation", "x"}, {"finalizers", "a"}}}}}) {
        const Metadata none = metadata(odd);
        EXPECT_TRUE(none.name.empty() && none.finalizers.empty() && none.generation == 0);
    }
}

TEST(Key, IsReadBack) {
    EXPECT_EQ(key("ns", "name"), "ns/name");
    EXPECT_EQ(key("", "name"), "name");
    EXPECT_EQ(split_key("ns/name"), (std::pair<std::string, std::string>("ns", "name")));
    EXPECT_EQ(split_key("name"), (std::pair<std::string, std::string>("", "name")));
    EXPECT_EQ(key(Json{{"metadata", {{"name", "n"}, {"namespace", "s"}}}}), "s/n");
}

Json with(const Json& finalizers) {
    Json object = {{"metadata", {{"name", "n"}, {"uid", "u"}}}};
    if (!finalizers.is_null()) object["metadata"]["finalizers"] = finalizers;
    return object;
}

TEST(Finalizer, IsAddedBehindTheOthers) {
    const Json object = with({"a", "b"});
    const auto patch = add_finalizer(object, "ours/cleanup");
    ASSERT_TRUE(patch);
    EXPECT_EQ(metadata(object.patch(*patch)).finalizers,
              (std::vector<std::string>{"a", "b", "ours/cleanup"}));
    EXPECT_ANY_THROW(with(Json::array({"a"})).patch(*patch));  // someone changed the list meanwhile
    EXPECT_ANY_THROW(with({"b", "a"}).patch(*patch));          // or its order
    Json other = object;
    other["metadata"]["uid"] = "another";
    EXPECT_ANY_THROW(other.patch(*patch));  // another object of the same name
    EXPECT_EQ(add_finalizer(with(Json::array({"ours/cleanup"})), "ours/cleanup"), std::nullopt);
}

TEST(Finalizer, TheFirstOneMakesTheListWhereThereIsNone) {
    const auto patch = add_finalizer(with(nullptr), "f");
    ASSERT_TRUE(patch);
    EXPECT_EQ((*patch)[1], (Json{{"op", "test"}, {"path", "/metadata/finalizers"}, {"value", nullptr}}));
    EXPECT_EQ((*patch)[2],
              (Json{{"op", "add"}, {"path", "/metadata/finalizers"}, {"value", Json::array({"f"})}}));
    const auto empty = add_finalizer(with(Json::array()), "f");
    ASSERT_TRUE(empty);
    EXPECT_EQ(metadata(with(Json::array()).patch(*empty)).finalizers, std::vector<std::string>{"f"});
}

TEST(Finalizer, OnlyOursIsRemoved) {
    const Json object = with({"a", "ours", "b"});
    const auto patch = remove_finalizer(object, "ours");
    ASSERT_TRUE(patch);
    EXPECT_EQ(metadata(object.patch(*patch)).finalizers, (std::vector<std::string>{"a", "b"}));
    EXPECT_ANY_THROW(with({"ours", "a", "b"}).patch(*patch));
    EXPECT_EQ(remove_finalizer(with(Json::array({"a"})), "ours"), std::nullopt);
    EXPECT_EQ(remove_finalizer(with(nullptr), "ours"), std::nullopt);
    EXPECT_TRUE(has_finalizer(object, "ours"));
    EXPECT_FALSE(has_finalizer(object, "our"));
}

TEST(Event, SaysWhatIsShown) {
    const Json about = {
        {"apiVersion", "keyshepherd.dev/v1alpha1"},
        {"kind", "VaultPolicy"},
        {"metadata", {{"name", "p"}, {"namespace", "s"}, {"uid", "u"}, {"resourceVersion", "9"}}}};
    const Json body = event_body(about, {Event::Type::warning, "DriftRepaired", "Repair", "policy changed"},
                                 {"keyshepherd.dev/operator", "pod-0"}, "2026-11-24T06:39:00.000001Z", "abc");
    EXPECT_EQ(body, (Json{{"apiVersion", "events.k8s.io/v1"},
                          {"kind", "Event"},
                          {"metadata", {{"name", "p.abc"}, {"namespace", "s"}}},
                          {"eventTime", "2026-11-24T06:39:00.000001Z"},
                          {"reportingController", "keyshepherd.dev/operator"},
                          {"reportingInstance", "pod-0"},
                          {"type", "Warning"},
                          {"reason", "DriftRepaired"},
                          {"action", "Repair"},
                          {"note", "policy changed"},
                          {"regarding",
                           {{"apiVersion", "keyshepherd.dev/v1alpha1"},
                            {"kind", "VaultPolicy"},
                            {"namespace", "s"},
                            {"name", "p"},
                            {"uid", "u"},
                            {"resourceVersion", "9"}}}}));
}

TEST(Event, StaysWithinTheLimitsOfTheApi) {
    const std::string long_name(253, 'n');
    std::string note(1023, 'x');
    note += "\xC3\xA9";  // its first byte would be the last that fits
    const Json body =
        event_body(Json{{"metadata", {{"name", long_name}}}}, {Event::Type::normal, "R", "A", note},
                   {"c", std::string(300, 'i')}, "t", "suffix");
    EXPECT_EQ(body["metadata"]["name"].get<std::string>().size(), 253U);
    EXPECT_TRUE(body["metadata"]["name"].get<std::string>().ends_with(".suffix"));
    EXPECT_EQ(body["metadata"]["namespace"], "default");
    EXPECT_EQ(body["note"].get<std::string>().size(), 1023U);
    EXPECT_EQ(body["reportingInstance"].get<std::string>().size(), 128U);
    EXPECT_FALSE(body["regarding"].contains("namespace"));
}

TEST(MicroTime, HasSixDigits) {
    using namespace std::chrono;
    EXPECT_EQ(micro_time(system_clock::time_point(seconds(1'000'000'000) + microseconds(42))),
              "2001-09-09T01:46:40.000042Z");
    EXPECT_EQ(micro_time(system_clock::time_point(microseconds(-1))), "1969-12-31T23:59:59.999999Z");
}

TEST(DropManagedFields, LeavesEverythingElse) {
    const Json fields =
        Json::array({{{"manager", "a\"]\\"}, {"f", {{"[", Json::array({1, Json::array()})}}}}});
    for (const char* others : {"", "a", "z", "az"}) {
        Json object = {{"metadata", Json::object()}, {"note", "\"managedFields\":[1,2"}};
        for (const char* each = others; *each != '\0'; ++each)
            object["metadata"][std::string(1, *each)] = "}],";
        Json full = object;
        full["metadata"]["managedFields"] = fields;
        std::string text = full.dump();
        drop_managed_fields(text);
        EXPECT_EQ(text, object.dump());
        drop_managed_fields(text);
        EXPECT_EQ(text, object.dump());
        std::string list = Json{{"items", {full, object, full}}}.dump();
        drop_managed_fields(list);
        EXPECT_EQ(list, (Json{{"items", {object, object, object}}}.dump()));
    }
    for (std::string broken :
         {"", "{", "\"managedFields\":[", "{\"managedFields\":[\"\\", "{\"a\":1,\"managedFields\":[[]"})
        drop_managed_fields(broken);
}

TEST(Labels, AreThoseThatAreText) {
    EXPECT_TRUE(labels(Json::object()).empty());
    EXPECT_TRUE(labels({{"metadata", {{"labels", nullptr}}}}).empty());
    const auto found = labels({{"metadata", {{"labels", {{"team", "shop"}, {"odd", 1}}}}}});
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found.at("team"), "shop");
}

}  // namespace
}  // namespace keyshepherd::kube
