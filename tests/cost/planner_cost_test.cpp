// Reading a resource, judging it by grants and planning it cost in proportion to the resource.
#include "growth.hpp"

#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/planner/operator_policy.hpp>
#include <keyshepherd/planner/plan.hpp>
#include <keyshepherd/resources/resource.hpp>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace keyshepherd::cost {
namespace {

using resources::Json;

Json object(const char* kind, const std::string& name, Json spec) {
    spec["connectionRef"] = {{"name", "main"}};
    return {{"apiVersion", "keyshepherd.dev/v1alpha1"},
            {"kind", kind},
            {"metadata", {{"name", name}, {"namespace", "team"}}},
            {"spec", std::move(spec)}};
}

resources::Resource read(const Json& given) {
    resources::Reading reading = resources::read(given, "default");
    EXPECT_TRUE(reading.faults.empty())
        << reading.faults.front().field << " " << reading.faults.front().message;
    return std::move(reading.resource);
}

Json policy(std::size_t rules) {
    Json spec = {{"name", "team.p"}};
    for (std::size_t i = 0; i < rules; ++i)
        spec["rules"].push_back(
            {{"path", fmt::format("kv/data/team/{}", i)}, {"capabilities", {"read", "list"}}});
    return object("VaultPolicy", "p", std::move(spec));
}

TEST(PlannerCost, ReadingAResource) {
    expect_linear("rules", 100,
                  [](std::size_t n) { return [given = policy(n)] { resources::read(given, "default"); }; });
    expect_linear("unknown members", 200, [](std::size_t n) {
        Json given = policy(1);
        for (std::size_t i = 0; i < n; ++i) given["spec"][fmt::format("unheard-of-{}", i)] = i;
        return [given] { EXPECT_FALSE(resources::read(given, "default").faults.empty()); };
    });
    expect_linear("more elements than are allowed", 1'000, [](std::size_t n) {
        return [given = policy(n)] { EXPECT_FALSE(resources::read(given, "default").faults.empty()); };
    });
}

TEST(PlannerCost, Grants) {
    // Every rule is compared with every path of the grants, and there are no more than 512 and 256 of these.
    expect_linear("rules that no grant allows", 100, [](std::size_t n) {
        Json paths = Json::array();
        for (std::size_t i = 0; i < 64; ++i) paths.push_back(fmt::format("other/{}/*", i));
        const resources::Resource connection = [&] {
            resources::Resource made =
                read({{"apiVersion", "keyshepherd.dev/v1alpha1"},
                      {"kind", "VaultConnection"},
                      {"metadata", {{"name", "main"}, {"namespace", "team"}}},
                      {"spec",
                       {{"address", "https://vault.example:8200"},
                        {"auth", {{"token", {{"secretName", "t"}}}}},
                        {"grants", Json::array({{{"namespaces", {"team"}}, {"paths", paths}}})}}}});
            return made;
        }();
        return [connection, resource = read(policy(n))] {
            const auto judgement = planner::judge(resource, connection, {});
            ASSERT_FALSE(judgement.faults.empty());
            EXPECT_LE(judgement.faults.size(), 50U);
            EXPECT_LT(judgement.faults.front().message.size(), 500U) << judgement.faults.front().message;
        };
    });
}

TEST(PlannerCost, PlanningAPolicy) {
    expect_linear("a plan", 100, [](std::size_t n) {
        const resources::Resource resource = read(policy(n));
        std::string held = planner::policy_text(resource.spec);
        held += "\npath \"more\" { capabilities = [\"deny\"] }\n";
        const planner::Observation observed = {{planner::claim(resource), Json{{"policy", held}}}};
        return [resource, observed] {
            const planner::Plan plan = planner::plan(resource, observed, {.owner = true});
            EXPECT_EQ(plan.verdict, planner::Verdict::update);
            EXPECT_FALSE(planner::summary(plan.changes).empty());
        };
    });
}

TEST(PlannerCost, ThePolicyForTheOperator) {
    expect_linear("secret-ids and roles", 100, [](std::size_t n) {
        std::vector<resources::Resource> all;
        for (std::size_t i = 0; i < n; ++i) {
            const std::string name = fmt::format("r{}", i);
            all.push_back(read(
                object("VaultAppRole", name,
                       {{"name", "team." + name}, {"mount", "approle"}, {"tokenPolicies", {"team.p"}}})));
            Json secret_id = object("VaultSecretID", name, {{"appRoleRef", {{"name", name}}}});
            secret_id["spec"].erase("connectionRef");
            all.push_back(read(secret_id));
        }
        return [all] { EXPECT_TRUE(planner::operator_policy(all).contains("custom-secret-id")); };
    });
}

}  // namespace
}  // namespace keyshepherd::cost
