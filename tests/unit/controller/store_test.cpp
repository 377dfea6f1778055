#include "store.hpp"

#include <keyshepherd/controller/operator.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace keyshepherd::controller {
namespace {

Json policy(const std::string& name, const std::string& in_vault, int version,
            const std::string& created = "2026-11-24T10:00:00Z") {
    return {{"apiVersion", "keyshepherd.dev/v1alpha1"},
            {"kind", "VaultPolicy"},
            {"metadata",
             {{"name", name},
              {"namespace", "ns"},
              {"uid", "uid-" + name},
              {"resourceVersion", std::to_string(version)},
              {"generation", 3},
              {"creationTimestamp", created},
              {"finalizers", Json::array({"keyshepherd.dev/cleanup"})},
              {"annotations", {{"keyshepherd.dev/paused", "true"}, {"other", "x"}}}}},
            {"spec",
             {{"connectionRef", {{"name", "main"}}},
              {"name", in_vault},
              {"rules", Json::array({{{"path", "a/*"}, {"capabilities", Json::array({"read"})}}})}}},
            {"status", {{"claim", "v sys/policies/acl/" + in_vault}, {"roleID", "r"}}}};
}

Key key(const std::string& name) {
    return {resources::find_kind("VaultPolicy"), "ns", name};
}

TEST(Store, GivesBackWhatWasPut) {
    Store store;
    const EntryPtr made = make_entry(policy("a", "p", 5));
    ASSERT_TRUE(made->faults.empty()) << made->faults[0].field << made->faults[0].message;
    EXPECT_TRUE(store.put(made));
    const EntryPtr found = store.find(key("a"));
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->metadata, made->metadata);
    EXPECT_EQ(found->status, made->status);
    EXPECT_EQ(key_of(*found), key_of(*made));
    const resources::Resource &is = found->resource, &was = made->resource;
    EXPECT_EQ(std::tie(is.kind, is.ns, is.name, is.uid, is.created_at, is.generation, is.deletion_time,
                       is.paused, is.finalized, is.claim, is.role_id, is.spec),
              std::tie(was.kind, was.ns, was.name, was.uid, was.created_at, was.generation, was.deletion_time,
                       was.paused, was.finalized, was.claim, was.role_id, was.spec));
    EXPECT_TRUE(is.paused && is.finalized);
    EXPECT_FALSE(store.put(made)) << "nothing new";
    store.erase(key("a"));
    EXPECT_EQ(store.find(key("a")), nullptr);
}

TEST(Store, AFaultyResourceKeepsItsFaultsAndClaimsNothing) {
    Store store;
    Json bad = policy("a", "p", 5);
    bad["spec"]["rules"] = 1;
    store.put(make_entry(bad));
    EXPECT_FALSE(store.find(key("a"))->faults.empty());
    EXPECT_TRUE(store.claimants("sys/policies/acl/p").empty());
    store.put(make_entry(policy("a", "p", 6)));
    EXPECT_EQ(store.claimants("sys/policies/acl/p"), std::vector<Key>{key("a")});
}

TEST(Store, TheOldestClaimantComesFirstAndAChangedClaimMoves) {
    Store store;
    store.put(make_entry(policy("a", "p", 5, "2026-11-24T10:00:01Z")));
    store.put(make_entry(policy("b", "p", 6)));
    EXPECT_EQ(store.claimants("sys/policies/acl/p"), (std::vector<Key>{key("b"), key("a")}));
    store.put(make_entry(policy("b", "q", 7)));
    EXPECT_EQ(store.claimants("sys/policies/acl/p"), std::vector<Key>{key("a")});
    EXPECT_EQ(store.claimants("sys/policies/acl/q"), std::vector<Key>{key("b")});
    const Key connection{resources::find_kind("VaultConnection"), "ns", "main"};
    EXPECT_EQ(store.dependents(connection), (std::vector<Key>{key("a"), key("b")}));
    store.erase(key("a"));
    EXPECT_EQ(store.dependents(connection), std::vector<Key>{key("b")});
}

TEST(Store, KnowsOldNewsOfTheSameObject) {
    Store store;
    store.put(make_entry(policy("a", "p", 10)));
    EXPECT_TRUE(store.is_old_news(key("a"), policy("a", "p", 9)));
    EXPECT_TRUE(store.is_old_news(key("a"), policy("a", "p", 10)));
    EXPECT_FALSE(store.is_old_news(key("a"), policy("a", "p", 11)));
    EXPECT_FALSE(store.is_old_news(key("b"), policy("b", "p", 1)));
    Json other = policy("a", "p", 9);
    other["metadata"]["uid"] = "another";
    EXPECT_FALSE(store.is_old_news(key("a"), other));
    other = policy("a", "p", 9);
    other["metadata"]["resourceVersion"] = "opaque";
    EXPECT_FALSE(store.is_old_news(key("a"), other));
}

TEST(Store, AsksForWorkOnlyWhenTheResourceItselfChanged) {
    Store store;
    Json object = policy("a", "x", 1);
    EXPECT_TRUE(store.put(make_entry(object)));
    object["metadata"]["resourceVersion"] = "2";
    object["status"] = {{"observedGeneration", 1}};
    EXPECT_FALSE(store.put(make_entry(object))) << "our own status";
    EXPECT_EQ(store.find(key("a"))->status["observedGeneration"], 1);
    object["metadata"]["generation"] = 4;
    EXPECT_TRUE(store.put(make_entry(object)));
    object["metadata"]["annotations"] = {{"keyshepherd.dev/paused", "true"},
                                         {"keyshepherd.dev/reconcile-at", "now"}};
    EXPECT_TRUE(store.put(make_entry(object)));
    object["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z";
    EXPECT_TRUE(store.put(make_entry(object)));
    object["metadata"]["uid"] = "another of that name";
    EXPECT_TRUE(store.put(make_entry(object)));
}

TEST(Store, OfTheSameAgeTheLesserUidComesFirst) {
    Store store;
    store.put(make_entry(policy("b", "p", 5)));
    store.put(make_entry(policy("c", "p", 6)));
    store.put(make_entry(policy("a", "p", 7)));
    EXPECT_EQ(store.claimants("sys/policies/acl/p"), (std::vector<Key>{key("a"), key("b"), key("c")}));
}

TEST(Store, KeepsAnyShape) {
    Store store;
    for (const char* shape :
         {R"({})", R"({"kind":"VaultPolicy","metadata":{"name":"z"},"spec":{"connectionRef":1}})"})
        EXPECT_NO_THROW(store.put(make_entry(Json::parse(shape)))) << shape;
}

TEST(Store, EverythingGoesWithItsNamespace) {
    Store store;
    store.put(make_entry(policy("one", "a", 1)));
    Json elsewhere = policy("one", "b", 1);
    elsewhere["metadata"]["namespace"] = "other";
    store.put(make_entry(elsewhere));
    const Key key = key_of(*make_entry(policy("one", "a", 1)));
    EXPECT_EQ(store.namespace_leaves("ns", "2026-11-24T11:00:00Z"), std::vector{key});
    EXPECT_EQ(store.find(key)->resource.deletion_time, "2026-11-24T11:00:00Z");
    EXPECT_EQ(store.find(key_of(*make_entry(elsewhere)))->resource.deletion_time, "");
    EXPECT_TRUE(store.namespace_leaves("ns", "2026-11-24T11:00:00Z").empty()) << "that is known";
    // What is told of it meanwhile says nothing of its namespace; what comes into it leaves with it.
    EXPECT_FALSE(store.put(make_entry(policy("one", "a", 2))));
    EXPECT_EQ(store.find(key)->resource.deletion_time, "2026-11-24T11:00:00Z");
    EXPECT_TRUE(store.put(make_entry(policy("two", "c", 3))));
    EXPECT_EQ(store.find(key_of(*make_entry(policy("two", "c", 3))))->resource.deletion_time,
              "2026-11-24T11:00:00Z");
    // Made after that, it is in another namespace of that name, which the watch has not told of yet.
    Json later = policy("later", "d", 3, "2026-11-24T11:00:01Z");
    store.put(make_entry(later));
    EXPECT_EQ(store.find(key_of(*make_entry(later)))->resource.deletion_time, "");
    // Its own deletion is a later one.
    Json deleted = policy("one", "a", 4);
    deleted["metadata"]["deletionTimestamp"] = "2026-11-24T11:00:05Z";
    EXPECT_TRUE(store.put(make_entry(deleted)));
    EXPECT_EQ(store.find(key)->resource.deletion_time, "2026-11-24T11:00:05Z");
    // A namespace of the same name is another one.
    store.erase(key);
    store.namespace_leaves("ns", "");
    store.put(make_entry(policy("one", "a", 5)));
    EXPECT_EQ(store.find(key)->resource.deletion_time, "");
}

}  // namespace
}  // namespace keyshepherd::controller
