#include "store.hpp"

#include <keyshepherd/controller/operator.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace keyshepherd::controller {
namespace {

Json policy(const char* name, const char* vault_name, const char* created, const char* uid,
            const char* connection = "main") {
    return {{"apiVersion", "keyshepherd.dev/v1alpha1"},
            {"kind", "VaultPolicy"},
            {"metadata",
             {{"name", name},
              {"namespace", "ai"},
              {"uid", uid},
              {"generation", 1},
              {"resourceVersion", "1"},
              {"creationTimestamp", created}}},
            {"spec",
             {{"connectionRef", {{"name", connection}}},
              {"name", vault_name},
              {"rules", {{{"path", "x"}, {"capabilities", {"read"}}}}}}}};
}

Key key(const char* name) {
    return {resources::find_kind("VaultPolicy"), "ai", name};
}
const Key main_connection{resources::find_kind("VaultConnection"), "ai", "main"};

TEST(Store, AsksForWorkOnlyWhenTheResourceItselfChanged) {
    Store store;
    Json object = policy("a", "x", "2026-01-01T00:00:00Z", "1");
    EXPECT_TRUE(store.put(make_entry(object)));
    object["metadata"]["resourceVersion"] = "2";
    object["status"] = {{"observedGeneration", 1}};
    EXPECT_FALSE(store.put(make_entry(object))) << "our own status";
    EXPECT_EQ(store.find(key("a"))->status["observedGeneration"], 1);
    object["metadata"]["generation"] = 2;
    EXPECT_TRUE(store.put(make_entry(object)));
    object["metadata"]["annotations"] = {{"keyshepherd.dev/reconcile-at", "now"}};
    EXPECT_TRUE(store.put(make_entry(object)));
    object["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z";
    EXPECT_TRUE(store.put(make_entry(object)));
    object["metadata"]["uid"] = "another of that name";
    EXPECT_TRUE(store.put(make_entry(object)));
}

TEST(Store, TheOldestIsFirstAndAfterItsEndTheNext) {
    Store store;
    store.put(make_entry(policy("young", "x", "2026-01-03T00:00:00Z", "1")));
    store.put(
        make_entry(policy("old", "X", "2026-01-01T00:00:00Z", "9")));  // refused by the pattern: no claim
    store.put(make_entry(policy("tie-b", "x", "2026-01-02T00:00:00Z", "b")));
    store.put(make_entry(policy("tie-a", "x", "2026-01-02T00:00:00Z", "a")));
    const auto names = [&] {
        std::vector<std::string> found;
        for (const EntryPtr& entry : store.claimants("sys/policies/acl/x"))
            found.push_back(entry->resource.name);
        return found;
    };
    EXPECT_THAT(names(), testing::ElementsAre("tie-a", "tie-b", "young"));
    store.erase(key("tie-a"));
    EXPECT_THAT(names(), testing::ElementsAre("tie-b", "young"));
    store.put(make_entry(policy("tie-b", "moved", "2026-01-02T00:00:00Z", "b")));
    EXPECT_THAT(names(), testing::ElementsAre("young"));
}

TEST(Store, KnowsWhoDependsOnAConnection) {
    Store store;
    store.put(make_entry(policy("a", "x", "2026-01-01T00:00:00Z", "1")));
    store.put(make_entry(policy("b", "y", "2026-01-01T00:00:00Z", "2", "other")));
    EXPECT_THAT(store.dependents(main_connection), testing::ElementsAre(key("a")));
    store.put(make_entry(policy("a", "x", "2026-01-01T00:00:00Z", "1", "other")));
    EXPECT_THAT(store.dependents(main_connection), testing::IsEmpty());
    store.erase(key("a"));
    store.erase(key("b"));
    EXPECT_EQ(store.size(), 0U);
}

TEST(Store, KeepsWhatHasFaults) {
    Store store;
    Json object = policy("a", "../x", "2026-01-01T00:00:00Z", "1");
    store.put(make_entry(object));
    EXPECT_FALSE(store.find(key("a"))->faults.empty());
    EXPECT_TRUE(store.claimants("sys/policies/acl/../x").empty());
    for (const char* shape :
         {R"({})", R"({"kind":"VaultPolicy","metadata":{"name":"z"},"spec":{"connectionRef":1}})"})
        EXPECT_NO_THROW(store.put(make_entry(Json::parse(shape)))) << shape;
}

TEST(AllowedAddresses, AStarStandsForPartOfAName) {
    EXPECT_TRUE(allows("https://vault.vault.svc:8200", "https://vault.vault.svc:8200/"));
    EXPECT_TRUE(allows("https://*.vault.svc:8200", "https://blue.vault.svc:8200"));
    EXPECT_FALSE(allows("https://*.vault.svc:8200", "https://evil.example/.vault.svc:8200"));
    EXPECT_FALSE(allows("https://*.vault.svc:8200", "http://blue.vault.svc:8200"));
    EXPECT_FALSE(allows("https://vault:8200", "https://vault:82000"));
    EXPECT_FALSE(allows("", "https://vault:8200"));
}

}  // namespace
}  // namespace keyshepherd::controller
