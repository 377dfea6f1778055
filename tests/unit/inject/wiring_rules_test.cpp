// What annotations.md says of wiring, agent and on-rotate, held against what the injector does.
#include "support/settings.hpp"
#include "support/workload_generator.hpp"

#include <keyshepherd/inject/annotations.hpp>
#include <keyshepherd/inject/injector.hpp>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <map>
#include <regex>
#include <set>
#include <sstream>

namespace keyshepherd::inject {
namespace {

using Given = std::map<std::string, std::string>;

Outcome injected(const Given& annotations) {
    nlohmann::json given = {{"keyshepherd.dev/inject", "true"}};
    for (const auto& [name, value] : annotations) given["keyshepherd.dev/" + name] = value;
    const nlohmann::json container = {{"name", "app"}, {"command", {"/app"}}};
    json::value workload =
        json::parse(
            nlohmann::json{
                {"kind", "Deployment"},
                {"metadata", {{"name", "a"}, {"annotations", given}}},
                {"spec", {{"template", {{"spec", {{"containers", nlohmann::json::array({container})}}}}}}}}
                .dump())
            .value();
    return inject(workload, {.kind = "Deployment", .workload_namespace = "shop"}, generate::catalog(),
                  testing_support::settings());
}

// The cells of every row of the page's table with that head.
std::vector<std::vector<std::string>> table_below(const std::string& head) {
    std::istringstream page(annotation_reference());
    std::vector<std::vector<std::string>> rows;
    bool inside = false;
    for (std::string line; std::getline(page, line);) {
        if (line == head) {
            inside = true;
        } else if (inside && !line.starts_with('|')) {
            break;
        } else if (inside && !line.starts_with("|---")) {
            std::vector<std::string> cells;
            std::istringstream row(line.substr(2));
            for (std::string cell; std::getline(row, cell, '|');)
                cells.push_back(cell.substr(cell.starts_with(' ') ? 1 : 0, cell.find_last_not_of(' ') + 1));
            for (std::string& cell : cells)
                while (cell.ends_with(' ')) cell.pop_back();
            rows.push_back(std::move(cells));
        }
    }
    return rows;
}

TEST(WiringRules, ThePageListsWhatTheInjectorAccepts) {
    std::set<std::string> on_page, accepted, defaults_on_page, defaults;
    for (const auto& row : table_below("| wiring | agent | on-rotate |")) {
        ASSERT_EQ(row.size(), 3U);
        const auto name = [](std::string cell) { return cell.substr(1, cell.find('`', 1) - 1); };
        if (row[1].ends_with("(default)")) defaults_on_page.insert(name(row[0]) + " " + name(row[1]));
        std::istringstream values(row[2]);
        for (std::string value; std::getline(values, value, ',');)
            on_page.insert(name(row[0]) + " " + name(row[1]) + " " + name(value.substr(value.find('`'))));
    }
    for (const char* wiring : {"envfile", "exec", "file", "secret"}) {
        for (const char* agent : {"sidecar", "init", "none"})
            for (const char* on_rotate : {"rollout", "restart", "signal:HUP", "none"}) {
                const Outcome outcome =
                    injected({{"wiring", wiring}, {"agent", agent}, {"on-rotate", on_rotate}});
                if (outcome.verdict == Verdict::denied) {
                    EXPECT_EQ(outcome.faults.size(), 1U);
                    continue;
                }
                accepted.insert(fmt::format("{} {} {}", wiring, agent, on_rotate));
            }
        EXPECT_EQ(injected({{"wiring", wiring}}).verdict, Verdict::injected) << wiring;
        for (const char* agent : {"sidecar", "init", "none"}) {
            const Outcome given = injected({{"wiring", wiring}, {"agent", agent}});
            const auto parts = [](const std::string& patch) {
                return std::regex_replace(patch, std::regex(R"(\\"in\\":\\"[^"]*")"), "");
            };
            if (given.verdict == Verdict::injected &&
                parts(given.patch) == parts(injected({{"wiring", wiring}}).patch))
                defaults.insert(fmt::format("{} {}", wiring, agent));
        }
    }
    EXPECT_EQ(on_page, accepted);
    EXPECT_EQ(defaults_on_page, defaults);
    EXPECT_TRUE(accepted.contains("secret none rollout")) << "wiring secret is not refused";
}

// Every container keeps other variables of its own, so that each needs a folder; each folder would repeat the
// extra file.
TEST(WiringRules, MoreSetsOfFilesThanAnAnnotationHoldsAreRefusedBeforeTheyAreRendered) {
    const auto outcome_of = [](std::size_t containers) {
        nlohmann::json all = nlohmann::json::array(),
                       given = {{"keyshepherd.dev/inject", "true"},
                                {"keyshepherd.dev/wiring", "file"},
                                {"keyshepherd.dev/template-f", std::string(100'000, 'x')}};
        for (std::size_t i = 0; i < 8; ++i)
            given[fmt::format("keyshepherd.dev/env-V{}", i)] = fmt::format("a/b#c{}", i);
        for (std::size_t c = 0; c < containers; ++c) {
            nlohmann::json env = nlohmann::json::array();
            for (std::size_t bit = 0; bit < 8; ++bit)
                if ((c >> bit & 1U) != 0)
                    env.push_back({{"name", fmt::format("V{}_FILE", bit)}, {"value", "/own"}});
            all.push_back({{"name", fmt::format("c{}", c)}, {"env", env}});
        }
        json::value workload =
            json::parse(nlohmann::json{{"kind", "Deployment"},
                                       {"metadata", {{"name", "a"}, {"annotations", given}}},
                                       {"spec", {{"template", {{"spec", {{"containers", all}}}}}}}}
                            .dump())
                .value();
        return inject(workload, {.kind = "Deployment", .workload_namespace = "shop"}, generate::catalog(),
                      testing_support::settings());
    };
    EXPECT_EQ(outcome_of(1).verdict, Verdict::injected);
    const Outcome outcome = outcome_of(100);
    ASSERT_EQ(outcome.faults.size(), 1U);
    EXPECT_EQ(outcome.faults[0].field, "spec.template.spec");
    EXPECT_NE(outcome.faults[0].message.find("need 100 different sets of files"), std::string::npos)
        << outcome.faults[0].message;
}

// A good value of every annotation that may stand beside wiring secret or needs an agent.
const Given& one_of_each() {
    static const Given all = {{"containers", "app"},
                              {"on-conflict", "keep"},
                              {"on-rotate", "none"},
                              {"agent", "none"},
                              {"entrypoint-app", "[\"/app\"]"},
                              {"secret-f", "a/b"},
                              {"template-g", "x"},
                              {"perms-f", "0444"},
                              {"role", "x"},
                              {"auth-type", "kubernetes"},
                              {"auth-path", "auth/x"},
                              {"token-audience", "vault"},
                              {"approle-secret", "x"},
                              {"vault-address", "https://vault.example:8200"},
                              {"vault-namespace", "x"},
                              {"ca-secret", "x"},
                              {"tls-server-name", "x"},
                              {"agent-flavor", "bao"},
                              {"agent-image", "x"},
                              {"agent-cpu-request", "1m"},
                              {"agent-cpu-limit", "1"},
                              {"agent-memory-request", "1Mi"},
                              {"agent-memory-limit", "1Gi"},
                              {"agent-run-as-user", "1"},
                              {"agent-run-as-group", "1"},
                              {"log-level", "info"}};
    return all;
}

TEST(WiringRules, SecretRefusesWhatNeedsAnAgentAsAnAnnotationAndInsideSpec) {
    std::set<std::string> tried;
    std::map<std::string, std::string> on_page;
    for (const auto& row : table_below("| annotation | value | default | needs an agent | meaning |"))
        on_page[row.at(0)] = row.at(3);
    for (const auto& [name, value] : one_of_each()) {
        std::string row;
        for (const Annotation& a : annotation_table())
            if (a.argument.empty() ? name == a.name : name.starts_with(a.name))
                row = a.argument.empty() ? fmt::format("`{}`", a.name)
                                         : fmt::format("`{}<{}>`", a.name, a.argument);
        tried.insert(row);
        const bool refused = on_page.at(row) == "yes";
        Given outside = {{"wiring", "secret"}, {name, value}};
        nlohmann::json members = {{"wiring", "secret"}, {name, value}};
        if (name == "perms-f") outside["secret-f"] = members["secret-f"] = "a/b";
        const Outcome outer = injected(outside), inner = injected({{"spec", members.dump()}});
        EXPECT_EQ(outer.verdict == Verdict::denied, refused) << name;
        EXPECT_EQ(inner.verdict == Verdict::denied, refused) << name;
        const std::string says = "not allowed with wiring secret, which runs no agent";
        bool outer_says = false, inner_says = false;
        for (const Fault& f : outer.faults)
            outer_says |= f.field == fmt::format("metadata.annotations[keyshepherd.dev/{}]", name) &&
                          f.message.starts_with(says);
        for (const Fault& f : inner.faults)
            inner_says |= f.field == "metadata.annotations[keyshepherd.dev/spec]" &&
                          f.message.starts_with(fmt::format("member \"{}\": {}", name, says));
        EXPECT_EQ(outer_says, refused) << name;
        EXPECT_EQ(inner_says, refused) << name;
    }
    // These have rules of their own.
    for (const char* other : {"`inject`", "`spec`", "`wiring`", "`env-<VAR>`", "`init-containers`"})
        tried.insert(other);
    for (const auto& [row, needs] : on_page) EXPECT_TRUE(tried.contains(row)) << row;
}

TEST(WiringRules, AFaultOfTheDecisionNamesTheMemberOfSpec) {
    for (const auto& [spec, member] :
         {std::pair{R"({"containers":"nobody"})", "containers"},
          std::pair{R"({"agent-cpu-request":"9"})", "agent-cpu-request"},
          std::pair{R"({"entrypoint-nobody":"[\"/a\"]"})", "entrypoint-nobody"},
          std::pair{R"({"agent":"none"})", "agent"},
          std::pair{R"({"vault-address":"https://other.example"})", "vault-address"},
          std::pair{R"({"wiring":"secret","env-X":"a/b#c"})", "env-X"}}) {
        const Outcome outcome = injected({{"spec", spec}});
        ASSERT_EQ(outcome.faults.size(), 1U) << spec;
        EXPECT_EQ(outcome.faults[0].field, "metadata.annotations[keyshepherd.dev/spec]") << spec;
        EXPECT_TRUE(outcome.faults[0].message.starts_with(fmt::format("member \"{}\": ", member)))
            << outcome.faults[0].message;
    }
}

}  // namespace
}  // namespace keyshepherd::inject
