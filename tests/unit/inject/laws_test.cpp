// The laws of injection (design.md, section 2) over generated workloads.
//
//     KEYSHEPHERD_SEED=7 KEYSHEPHERD_CASES=100000 inject_test --gtest_filter='Laws.*'
//     KEYSHEPHERD_CASE=123 …       only that workload, printed
//
// Law 3 holds every answer against laws.digest: KEYSHEPHERD_UPDATE_GOLDEN=1 writes it anew after an intended
// change.
#include "support/workload_generator.hpp"

#include <keyshepherd/admission/review.hpp>
#include <keyshepherd/core/build.hpp>
#include <keyshepherd/inject/annotations.hpp>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <regex>
#include <set>

namespace keyshepherd {
namespace {

using generate::canary;
using generate::Random;
using generate::Workload;
using inject::Verdict;
using Json = nlohmann::json;  // members sorted: canonical
using Ordered = nlohmann::ordered_json;

constexpr std::uint64_t default_seed = 20261124;
constexpr std::size_t default_cases = 2000;

std::uint64_t number_of(const char* variable, std::uint64_t fallback) {
    const char* text = std::getenv(variable);
    return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

std::uint64_t seed() {
    return number_of("KEYSHEPHERD_SEED", default_seed);
}
std::size_t count() {
    return number_of("KEYSHEPHERD_CASES", default_cases);
}
bool is_default() {
    return seed() == default_seed && count() == default_cases && std::getenv("KEYSHEPHERD_CASE") == nullptr;
}

const std::vector<Workload>& workloads() {
    static const std::vector<Workload> all = [] {
        generate::WorkloadGenerator generator(seed());
        std::vector<Workload> made;
        for (std::size_t i = 0; i < count(); ++i) made.push_back(generator.next());
        if (const char* only = std::getenv("KEYSHEPHERD_CASE")) {
            made = {made.at(std::strtoull(only, nullptr, 10))};
            std::cout << made[0].object << '\n';
        }
        std::cout << fmt::format("KEYSHEPHERD_SEED={} KEYSHEPHERD_CASES={}\n", seed(), count());
        return made;
    }();
    return all;
}

// ---- JSON in the hands of another library
// ------------------------------------------------------------------------------

// Parses with every number kept as it is spelled, as a text that starts with \u0001.
template <class Tree = Json>
Tree spelled(std::string_view text) {
    std::string marked;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted) {
            marked += c;
            if (c == '\\') marked += text[++i];
            if (c == '"') quoted = false;
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            const std::size_t end = std::min(text.find_first_not_of("0123456789+-.eE", i), text.size());
            marked += fmt::format("\"\\u0001{}\"", text.substr(i, end - i));
            i = end - 1;
        } else {
            marked += c;
            quoted = c == '"';
        }
    }
    return Tree::parse(marked);
}

template <class Tree>
std::string text_of(const Tree& tree) {
    return generate::unquote_numbers(tree.dump());
}

json::value parsed(std::string_view text) {
    return json::parse(text).value();
}
std::string text_of(const json::value& v) {
    return json::bj::serialize(v);
}
Json by_nlohmann(const json::value& v) {
    return spelled(text_of(v));
}

// Two long texts; where they differ is what one wants to read.
testing::AssertionResult same(const std::string& got, const std::string& want) {
    if (got == want) return testing::AssertionSuccess();
    std::size_t at = 0;
    while (at < std::min(got.size(), want.size()) && got[at] == want[at]) ++at;
    const std::size_t from = at < 120 ? 0 : at - 120;
    return testing::AssertionFailure()
           << "\n got …" << got.substr(from, 300) << "\nwant …" << want.substr(from, 300);
}

testing::AssertionResult equal(const json::value& got, const json::value& want) {
    if (json::equal(got, want)) return testing::AssertionSuccess();
    return same(by_nlohmann(got).dump(), by_nlohmann(want).dump());
}

// ---- running the injector
// ----------------------------------------------------------------------------------------------

struct Injection {
    inject::Outcome outcome;
    json::value object;  // as the injector left it
    std::string patch;   // its text
    std::string before;  // what went in

    // The object as an API server makes it of the patch, numbers as they were spelled.
    const std::string& text() const {
        if (after.empty())
            after = outcome.patch.empty() ? before
                                          : text_of(spelled<Ordered>(before).patch(spelled<Ordered>(patch)));
        return after;
    }
    mutable std::string after;  // what text() gave
};

Injection run(const Workload& w, const std::string& object, const std::string& old = {},
              const inject::Settings* settings = nullptr) {
    json::value given = parsed(object), stored;
    if (!old.empty()) stored = parsed(old);
    inject::Outcome outcome = inject::inject(
        given,
        {.kind = w.kind, .workload_namespace = w.workload_namespace, .old = old.empty() ? nullptr : &stored},
        generate::catalog(), settings == nullptr ? w.settings : *settings);
    std::string patch = outcome.patch.empty() ? "[]" : outcome.patch;
    return {.outcome = std::move(outcome),
            .object = std::move(given),
            .patch = std::move(patch),
            .before = object,
            .after = {}};
}

// The next release of the webhook: another image everywhere, other resources and users.
inject::Settings upgraded(inject::Settings s) {
    s.image = "registry.example/keyshepherd:9.9.9";
    s.vault_image = "hashicorp/vault:9";
    s.bao_image = "openbao/openbao:9";
    s.agent_flavor = s.agent_flavor == "bao" ? "vault" : "bao";
    s.agent = {.cpu_request = "1m", .cpu_limit = "2", .memory_request = "1Mi", .memory_limit = "2Gi"};
    s.agent_user = 4321;
    s.agent_group = 4321;
    s.agent_log_level = "trace";
    return s;
}

std::string name_of(Verdict verdict) {
    constexpr std::array names = {"untouched", "injected", "removed", "denied"};
    return names.at(static_cast<std::size_t>(verdict));
}

// ---- parts of a workload
// ------------------------------------------------------------------------------------------------

template <class Tree>
Tree* find(Tree& tree, std::initializer_list<const char*> path) {
    Tree* at = &tree;
    for (const char* step : path) {
        if (!at->is_object() || !at->contains(step)) return nullptr;
        at = &(*at)[step];
    }
    return at;
}

template <class Tree>
std::string name_in(const Tree& element) {
    return element.is_object() && element.contains("name") && element["name"].is_string()
               ? element["name"].template get<std::string>()
               : "";
}

bool is_our_name(const std::string& name) {
    return name.starts_with("keyshepherd-");
}

bool is_our_entry(const Json& entry) {
    if (entry.contains("valueFrom") && entry["valueFrom"].is_object() &&
        (entry["valueFrom"].contains("fileKeyRef") ||
         entry.value("/valueFrom/secretKeyRef/name"_json_pointer, "").starts_with("keyshepherd-")))
        return true;
    const std::string value =
        entry.contains("value") && entry["value"].is_string() ? entry["value"].get<std::string>() : "";
    return inject::is_reference(value) || value.starts_with("/keyshepherd/files/");
}

template <class Tree, class Visit>
void each_container(Tree& workload, Visit visit) {
    for (const char* list : {"initContainers", "containers"})
        if (Tree* elements = find(workload, {"spec", "template", "spec", list});
            elements != nullptr && elements->is_array())
            for (auto& element : *elements)
                if (element.is_object()) visit(list, element);
}

// Every value `inject` of the workload set to "false": what a person does to opt out.
std::string opted_out(const std::string& text) {
    Ordered workload = spelled<Ordered>(text);
    for (auto path : {std::initializer_list<const char*>{"metadata", "annotations", "keyshepherd.dev/inject"},
                      std::initializer_list<const char*>{"spec", "template", "metadata", "annotations",
                                                         "keyshepherd.dev/inject"}})
        if (Ordered* ask = find(workload, path)) *ask = "false";
    return text_of(workload);
}

template <class Edit>
std::string edited(const std::string& text, Edit edit) {
    Ordered workload = spelled<Ordered>(text);
    edit(workload);
    return text_of(workload);
}

// The literal that on-conflict: replace took away is written down nowhere, so it does not come back.
Json without_replaced_literals(const std::string& text, const Json& injected) {
    Json workload = spelled(text);
    std::set<std::string> ours;
    each_container(injected, [&](const std::string& list, const Json& container) {
        if (container.contains("env") && container["env"].is_array())
            for (const Json& entry : container["env"])
                if (is_our_entry(entry)) ours.insert(list + "/" + name_in(container) + "/" + name_in(entry));
    });
    each_container(workload, [&](const std::string& list, Json& container) {
        if (!container.contains("env") || !container["env"].is_array()) return;
        std::set<std::string> seen;  // of one name it is the last entry that counts
        for (auto entry = container["env"].rbegin(); entry != container["env"].rend(); ++entry)
            if (const std::string name = name_in(*entry);
                seen.insert(name).second && ours.contains(list + "/" + name_in(container) + "/" + name) &&
                !is_our_entry(*entry))
                entry->erase("value");
    });
    return workload;
}

class Laws : public testing::Test {
protected:
    // Calls `law` with every workload, or with one of `every` where a law is costly and nobody asked for a
    // seed or a count. The first ten that break it are printed.
    template <class Law>
    void all(Law law, std::size_t every = 1) {
        const testing::TestResult& result = *testing::UnitTest::GetInstance()->current_test_info()->result();
        std::size_t broken = 0;
        for (const Workload& w : workloads()) {
            if (is_default() && w.number % every != 0) continue;
            SCOPED_TRACE(
                fmt::format("workload {} of seed {} (KEYSHEPHERD_CASE={})", w.number, seed(), w.number));
            const int before = result.total_part_count();
            try {
                law(w);
            } catch (const std::exception& e) {
                ADD_FAILURE() << e.what();
            }
            if (result.total_part_count() > before && ++broken == 10) {
                std::cout << "and more\n";
                return;
            }
        }
    }
};

// ---- coverage
// ------------------------------------------------------------------------------------------------------------

TEST_F(Laws, TheGeneratorCoversWhatItPromises) {
    std::map<std::string, std::size_t> features, verdicts;
    for (const std::string& feature : generate::WorkloadGenerator::features()) features[feature] = 0;
    std::size_t longest_warning = 0;
    for (const Workload& w : workloads()) {
        for (const std::string& feature : w.features) ++features[feature];
        const Injection r = run(w, w.object);
        ++verdicts[fmt::format("{}{}{}", name_of(r.outcome.verdict), r.outcome.reason.empty() ? "" : " ",
                               r.outcome.reason)];
        if (r.outcome.verdict == Verdict::injected) {
            const Json marker = Json::parse(
                spelled(r.text())["spec"]["template"]["metadata"]["annotations"]["keyshepherd.dev/injected"]
                    .get<std::string>());
            ++verdicts["injected by " + marker["wiring"].get<std::string>()];
            if (marker.contains("made")) ++verdicts["injected and made a list"];
            if (marker.contains("madeOfNull")) ++verdicts["injected and made a list of null"];
            if (marker.contains("entrypoints")) ++verdicts["injected and wrapped an entrypoint"];
            if (marker.contains("containers")) ++verdicts["injected with a plain sidecar"];
        }
        for (const std::string& warning : r.outcome.warnings)
            longest_warning = std::max(longest_warning, warning.size());
    }
    for (const auto& [feature, times] : features) {
        std::cout << fmt::format("{:7} {}\n", times, feature);
        if (count() >= default_cases && is_default())
            EXPECT_GT(times, 0U) << feature << " is never generated";
    }
    for (const auto& [verdict, times] : verdicts) std::cout << fmt::format("{:7} {}\n", times, verdict);
    std::cout << fmt::format("{:7} bytes in the longest warning\n", longest_warning);
    if (!is_default()) return;
    for (const char* verdict :
         {"untouched kind", "untouched namespace", "untouched not-asked", "untouched opted-out",
          "untouched no-containers", "untouched windows", "untouched nothing-to-wire", "injected", "denied",
          "injected by envfile", "injected by exec", "injected by file", "injected by secret",
          "injected and made a list", "injected and made a list of null",
          "injected and wrapped an entrypoint", "injected with a plain sidecar"})
        EXPECT_GT(verdicts[verdict], 0U) << verdict << " never happens";
    EXPECT_GT(verdicts["injected"], workloads().size() / 3) << "too few workloads reach the laws";
    EXPECT_LE(longest_warning, 256U) << "the API server cuts a warning there";
}

// ---- law 1
// ---------------------------------------------------------------------------------------------------------------

TEST_F(Laws, Law1_InjectedTwiceIsInjectedOnce) {
    all([](const Workload& w) {
        const Injection once = run(w, w.object);
        if (once.outcome.verdict == Verdict::denied) return;
        for (const std::string& old : {std::string(), once.text()}) {
            const Injection twice = run(w, once.text(), old);
            EXPECT_TRUE(same(twice.patch, "[]")) << (old.empty() ? "CREATE" : "UPDATE");
            EXPECT_TRUE(equal(twice.object, once.object));
        }
    });
}

TEST_F(Laws, Law1_AskingLaterIsAskingAtOnce) {
    all([](const Workload& w) {
        const Injection at_once = run(w, w.object);
        if (at_once.outcome.verdict != Verdict::injected) return;
        const std::string before = opted_out(w.object);
        EXPECT_TRUE(same(run(w, before).patch, "[]"));
        EXPECT_TRUE(same(run(w, w.object, before).patch, at_once.patch));
    });
}

// ---- law 2
// ---------------------------------------------------------------------------------------------------------------

TEST_F(Laws, Law2_OptingOutGivesTheWorkloadBack) {
    all([](const Workload& w) {
        const Injection in = run(w, w.object);
        if (in.outcome.verdict != Verdict::injected) return;
        const std::string want = without_replaced_literals(opted_out(w.object), spelled(in.text())).dump();
        for (const std::string& old : {std::string(), in.text()}) {
            const Injection out = run(w, opted_out(in.text()), old);
            EXPECT_EQ(name_of(out.outcome.verdict), name_of(Verdict::removed));
            EXPECT_TRUE(same(spelled(out.text()).dump(), want));
        }
    });
}

TEST_F(Laws, Law2_DroppingTheAnnotationIsOptingOut) {
    all(
        [](const Workload& w) {
            const Injection in = run(w, w.object);
            if (in.outcome.verdict != Verdict::injected) return;
            auto drop = [](Ordered& workload) {
                for (auto path :
                     {std::initializer_list<const char*>{"metadata", "annotations"},
                      std::initializer_list<const char*>{"spec", "template", "metadata", "annotations"}})
                    if (Ordered* all = find(workload, path); all != nullptr && all->is_object())
                        all->erase("keyshepherd.dev/inject");
            };
            const Injection out = run(w, edited(in.text(), drop), in.text());
            EXPECT_EQ(name_of(out.outcome.verdict), name_of(Verdict::removed));
            // An annotations object that holds the marker alone went with it when it was ours, so only lists
            // are compared here.
            Json got = spelled(out.text()),
                 want = without_replaced_literals(edited(w.object, drop), spelled(in.text()));
            EXPECT_TRUE(
                same(got["spec"]["template"]["spec"].dump(), want["spec"]["template"]["spec"].dump()));
            EXPECT_TRUE(same(run(w, out.text(), in.text()).patch, "[]"));
        },
        3);
}

// ---- law 3
// ---------------------------------------------------------------------------------------------------------------

// FNV-1a twice over, 128 bits: enough to see a difference.
class Digest {
public:
    void add(std::string_view text) {
        for (const char c : text) step(static_cast<unsigned char>(c));
        step(0x1f);
    }
    std::string text() const { return fmt::format("{:016x}{:016x}", a_, b_); }

private:
    void step(unsigned char c) {
        a_ = (a_ ^ c) * 0x100000001b3U;
        b_ = (b_ ^ (c + 0x9eU)) * 0x100000001b3U;
        b_ ^= b_ >> 29;
    }
    std::uint64_t a_ = 0xcbf29ce484222325U, b_ = 0x84222325cbf29ce4U;
};

// One line a verdict, so that a change shows where it is. The version in the marker is left out.
std::string digest_of_everything() {
    std::map<std::string, Digest> digests;
    std::map<std::string, std::size_t> counts;
    const std::string by = fmt::format(R"(\"by\":\"{}\")", version());
    for (const Workload& w : workloads()) {
        const Injection r = run(w, w.object);
        Digest& d = digests[name_of(r.outcome.verdict)];
        ++counts[name_of(r.outcome.verdict)];
        std::string patch = r.patch;
        if (const std::size_t at = patch.find(by); at != std::string::npos)
            patch.replace(at, by.size(), "by");
        d.add(std::to_string(w.number));
        d.add(r.outcome.reason);
        d.add(patch);
        for (const std::string& warning : r.outcome.warnings) d.add(warning);
        for (const inject::Fault& fault : r.outcome.faults) d.add(fault.field + ": " + fault.message);
    }
    std::string text;
    for (const auto& [verdict, digest] : digests)
        text += fmt::format("{} {} {}\n", verdict, counts[verdict], digest.text());
    return text;
}

TEST_F(Laws, Law3_SameInputSameBytesInEveryProcess) {
    const std::string digest = digest_of_everything();
    EXPECT_EQ(digest_of_everything(), digest);
    if (const char* into = std::getenv("KEYSHEPHERD_DIGEST_INTO")) {  // this is the child
        std::ofstream(into, std::ios::binary) << digest;
        return;
    }
    // Another process, with other addresses, environment and heap.
    const std::string path = fmt::format("{}/laws.digest.{}", testing::TempDir(), ::getpid());
    const std::string command = fmt::format(
        "TZ=Asia/Tokyo LC_ALL=tr_TR.UTF-8 MALLOC_PERTURB_=165 KEYSHEPHERD_DIGEST_INTO='{}' '{}' "
        "--gtest_filter=Laws.Law3_SameInputSameBytesInEveryProcess >/dev/null",
        path, std::filesystem::read_symlink("/proc/self/exe").string());
    ASSERT_EQ(std::system(command.c_str()), 0);
    std::ifstream child(path, std::ios::binary);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(child), {}), digest);
    std::filesystem::remove(path);

    if (!is_default()) return;
    const std::filesystem::path committed =
        std::filesystem::path(KEYSHEPHERD_TESTS) / "unit/inject/laws.digest";
    if (std::getenv("KEYSHEPHERD_UPDATE_GOLDEN") != nullptr)
        std::ofstream(committed, std::ios::binary) << digest;
    std::ifstream in(committed, std::ios::binary);
    EXPECT_EQ(digest, std::string(std::istreambuf_iterator<char>(in), {}))
        << "answers changed: see the golden cases for how, then KEYSHEPHERD_UPDATE_GOLDEN=1";
}

TEST_F(Laws, Law3_TheOrderOfMembersDoesNotMatter) {
    Random random(seed());
    auto shuffled = [&](auto&& self, const Ordered& tree) -> Ordered {
        if (tree.is_array()) {
            Ordered out = Ordered::array();
            for (const Ordered& element : tree) out.push_back(self(self, element));
            return out;
        }
        if (!tree.is_object()) return tree;
        std::vector<std::string> names;
        for (const auto& [name, value] : tree.items()) names.push_back(name);
        for (std::size_t i = names.size(); i > 1; --i) std::swap(names[i - 1], names[random.below(i)]);
        Ordered out = Ordered::object();
        for (const std::string& name : names) out[name] = self(self, tree[name]);
        return out;
    };
    all([&](const Workload& w) {
        const std::string other = text_of(shuffled(shuffled, spelled<Ordered>(w.object)));
        EXPECT_TRUE(same(run(w, other).patch, run(w, w.object).patch));
    });
}

// ---- law 4
// ---------------------------------------------------------------------------------------------------------------

// What a first injection may do, operation by operation.
void expect_ours(const Json& operation) {
    const std::string op = operation["op"], path = operation["path"];
    const Json value = operation.value("value", Json());
    auto named_ours = [](const Json& element) {
        return element.is_object() && is_our_name(name_in(element));
    };
    auto all_of = [](const Json& list, auto good) {
        return list.is_array() && std::all_of(list.begin(), list.end(), good);
    };
    struct Rule {
        const char* op;
        std::regex path;
        std::function<bool(const Json&)> good;
    };
    static const std::string pod = "/spec/template/spec/",
                             annotation = "keyshepherd\\.dev~1(injected|agent-config|vault-ca)";
    static const std::vector<Rule> rules = [&] {
        const std::string container = pod + "(initContainers|containers)/\\d+/";
        auto empty = [](const Json& v) { return v.is_object() && v.empty(); };
        auto entry = [](const Json& v) { return v.is_object() && is_our_entry(v); };
        auto mount = [=](const Json& v) { return named_ours(v) && v["readOnly"] == true; };
        auto annotations = [](const Json& v) {
            return v.size() == 1 &&
                   (v.contains("keyshepherd.dev/agent-config") || v.contains("keyshepherd.dev/injected"));
        };
        auto text = [](const Json& v) { return v.is_string(); };
        auto command = [](const Json& v) {
            return v.size() > 2 && v[0] == "/keyshepherd/bin/keyshepherd-exec" && v[1] == "--";
        };
        std::vector<Rule> all;
        for (const char* both : {"add", "replace"}) {  // replace: of null
            all.push_back({both, std::regex("/spec/template/metadata"), empty});
            all.push_back({both, std::regex("/spec/template/metadata/annotations"), annotations});
            all.push_back({both, std::regex("/spec/template/metadata/annotations/" + annotation), text});
            all.push_back({both, std::regex(pod + "(initContainers|volumes)"),
                           [=](const Json& v) { return all_of(v, named_ours); }});
            all.push_back(
                {both, std::regex(container + "env"), [=](const Json& v) { return all_of(v, entry); }});
            all.push_back({both, std::regex(container + "volumeMounts"),
                           [=](const Json& v) { return all_of(v, mount); }});
            all.push_back({both, std::regex(container + "command"), command});
            all.push_back({both, std::regex(container + "env/\\d+"), entry});
        }
        all.push_back({"add", std::regex(pod + "(initContainers|containers|volumes)/\\d+"), named_ours});
        all.push_back({"add", std::regex(container + "volumeMounts/\\d+"), mount});
        all.push_back({"add", std::regex(container + "command/0"),
                       [](const Json& v) { return v == "/keyshepherd/bin/keyshepherd-exec"; }});
        all.push_back({"add", std::regex(container + "command/1"), [](const Json& v) { return v == "--"; }});
        return all;
    }();
    EXPECT_TRUE(std::any_of(rules.begin(), rules.end(), [&](const Rule& rule) {
        return rule.op == op && std::regex_match(path, rule.path) && rule.good(value);
    })) << operation.dump();
}

// A workload without what is ours by name, and without lists that are empty: what must be the same before and
// after.
Json without_ours(Json workload, const Json& injected) {
    std::map<std::string, std::set<std::string>> wired;  // by container
    std::map<std::string, bool> launched;
    each_container(injected, [&](const std::string&, const Json& container) {
        if (container.contains("env") && container["env"].is_array())
            for (const Json& entry : container["env"])
                if (is_our_entry(entry)) wired[name_in(container)].insert(name_in(entry));
        launched[name_in(container)] = container.contains("command") && container["command"].is_array() &&
                                       !container["command"].empty() &&
                                       container["command"][0] == "/keyshepherd/bin/keyshepherd-exec";
    });
    auto drop = [](Json& list, auto ours) {
        if (list.is_array()) list.erase(std::remove_if(list.begin(), list.end(), ours), list.end());
    };
    auto prune = [](Json& object, const char* member) {
        if (object.contains(member) && (object[member].is_null() || object[member].empty()))
            object.erase(member);
    };
    Json& pod_template = workload["spec"]["template"];
    Json& pod = pod_template["spec"];
    for (const char* list : {"initContainers", "containers", "volumes"})
        if (pod.contains(list)) drop(pod[list], [](const Json& e) { return is_our_name(name_in(e)); });
    each_container(workload, [&](const std::string&, Json& container) {
        const std::string name = name_in(container);
        if (container.contains("env"))
            drop(container["env"], [&](const Json& e) { return wired[name].contains(name_in(e)); });
        if (container.contains("volumeMounts"))
            drop(container["volumeMounts"], [](const Json& e) { return is_our_name(name_in(e)); });
        for (const char* list : {"env", "volumeMounts"}) prune(container, list);
        if (!launched[name]) return;
        prune(container, "command");  // the entrypoint's place
        if (container.contains("command") && container["command"][0] == "/keyshepherd/bin/keyshepherd-exec") {
            container["command"].erase(container["command"].begin(), container["command"].begin() + 2);
            if (container["command"] == Json::array({"/usr/bin/entry", "a b", "ü"}))
                container.erase("command");
        }
    });
    for (const char* list : {"initContainers", "volumes"}) prune(pod, list);
    if (Json* annotations = find(pod_template, {"metadata", "annotations"});
        annotations != nullptr && annotations->is_object())
        for (const char* name : {"injected", "agent-config", "vault-ca"})
            annotations->erase(fmt::format("keyshepherd.dev/{}", name));
    if (pod_template.contains("metadata") && pod_template["metadata"].is_object())
        prune(pod_template["metadata"], "annotations");
    prune(pod_template, "metadata");
    return workload;
}

TEST_F(Laws, Law4_WhatIsNotOursIsUntouched) {
    all([](const Workload& w) {
        const Injection r = run(w, w.object);
        if (r.outcome.verdict != Verdict::injected) {
            EXPECT_TRUE(same(r.patch, "[]"));
            return;
        }
        const Json patch = spelled(r.patch), before = spelled(w.object);
        for (const Json& operation : patch) expect_ours(operation);
        const Json after = before.patch(patch);  // numbers as they are spelled
        EXPECT_TRUE(same(without_ours(after, after).dump(), without_ours(before, after).dump()));
    });
}

// The webhook of Bank-Vaults puts its own launcher before the command of every container that has a value
// which begins with vault: or >>vault: (https://bank-vaults.dev/docs/mutating-webhook/), and reads Vault
// itself.
TEST_F(Laws, Law4_NoReferenceIsLeftToBankVaults) {
    long placeholders = 0;
    all([&](const Workload& w) {
        const Injection r = run(w, w.object);
        if (r.outcome.verdict != Verdict::injected) return;
        Json after = spelled(r.text());
        each_container(after, [&](const std::string&, const Json& container) {
            if (!container.contains("env") || !container["env"].is_array()) return;
            for (const Json& entry : container["env"]) {
                const std::string value = entry.contains("value") && entry["value"].is_string()
                                              ? entry["value"].get<std::string>()
                                              : "";
                if (!inject::is_reference(value)) continue;
                EXPECT_TRUE(value.starts_with("keyshepherd:")) << entry.dump();
                ++placeholders;
            }
        });
    });
    if (is_default()) EXPECT_GT(placeholders, 100);
}

TEST_F(Laws, Law4_AnEditOfTheInjectedObjectIsAnEditOfTheUsers) {
    const std::vector<std::function<void(Ordered&)>> edits = {
        [](Ordered& w) { w["spec"]["template"]["spec"]["containers"][0]["image"] = "another:2"; },
        [](Ordered& w) { w["spec"]["template"]["spec"]["serviceAccountName"] = "shop"; },
        [](Ordered& w) { w["metadata"]["annotations"]["keyshepherd.dev/log-level"] = "error"; },
        [](Ordered& w) {
            for (Ordered& c : w["spec"]["template"]["spec"]["containers"])
                if (name_in(c) == "app") {
                    if (!c.contains("env") || c["env"].is_null()) c["env"] = Ordered::array();
                    c["env"].push_back({{"name", "ADDED"}, {"value", "x"}});
                }
        }};
    all(
        [&](const Workload& w) {
            const Injection in = run(w, w.object);
            if (in.outcome.verdict != Verdict::injected) return;
            for (std::size_t i = 0; i < edits.size(); ++i) {
                const bool makes_env = i == 3 && (w.has("env=absent") || w.has("env=null"));
                if (makes_env) continue;  // the list that was ours is the user's now
                if (i == 2 && (w.has("workload-annotations=null") || w.has("spec-annotation"))) continue;
                const Injection fresh = run(w, edited(w.object, edits[i]));
                const Injection update = run(w, edited(in.text(), edits[i]), in.text());
                ASSERT_EQ(fresh.outcome.verdict == Verdict::denied, update.outcome.verdict == Verdict::denied)
                    << i;
                if (fresh.outcome.verdict == Verdict::denied) continue;
                EXPECT_TRUE(same(spelled(update.text()).dump(), spelled(fresh.text()).dump()))
                    << "edit " << i;
            }
        },
        4);
}

// ---- law 5
// ---------------------------------------------------------------------------------------------------------------

void expect_patch_makes_object(const Injection& r) {
    EXPECT_TRUE(equal(parsed(r.text()), r.object));
}

TEST_F(Laws, Law5_ThePatchMakesTheObject) {
    all(
        [](const Workload& w) {
            const Injection in = run(w, w.object);
            if (in.outcome.verdict == Verdict::denied) return;
            expect_patch_makes_object(in);
            if (in.outcome.verdict != Verdict::injected) return;
            const inject::Settings next = upgraded(w.settings);
            expect_patch_makes_object(run(w, opted_out(in.text()), in.text()));
            expect_patch_makes_object(run(w, w.object, in.text(), &next));
            const std::string moved = edited(
                in.text(), [](Ordered& o) { o["spec"]["template"]["spec"]["serviceAccountName"] = "x"; });
            expect_patch_makes_object(run(w, moved, in.text(), &next));
            expect_patch_makes_object(run(w, in.text(), {}, &next));
        },
        3);
}

// The webhook does not read the edited object, and is spared its making.
TEST_F(Laws, Law5_PatchOnlyGivesTheSamePatch) {
    all(
        [](const Workload& w) {
            const auto patch_only = [&](const std::string& object, const std::string& old,
                                        const inject::Settings& settings) {
                json::value given = parsed(object), stored;
                if (!old.empty()) stored = parsed(old);
                return inject::inject(given,
                                      {.kind = w.kind,
                                       .workload_namespace = w.workload_namespace,
                                       .old = old.empty() ? nullptr : &stored,
                                       .patch_only = true},
                                      generate::catalog(), settings);
            };
            const auto expect_same = [&](const std::string& object, const std::string& old,
                                         const inject::Settings& settings) {
                const Injection whole = run(w, object, old, &settings);
                const inject::Outcome lean = patch_only(object, old, settings);
                EXPECT_TRUE(same(lean.patch, whole.outcome.patch));
                EXPECT_EQ(name_of(lean.verdict), name_of(whole.outcome.verdict));
                EXPECT_EQ(lean.reason, whole.outcome.reason);
                EXPECT_EQ(lean.warnings, whole.outcome.warnings);
                EXPECT_EQ(lean.faults.size(), whole.outcome.faults.size());
            };
            expect_same(w.object, {}, w.settings);
            const Injection in = run(w, w.object);
            if (in.outcome.verdict != Verdict::injected) return;
            const inject::Settings next = upgraded(w.settings);
            expect_same(in.text(), {}, next);
            expect_same(opted_out(in.text()), in.text(), next);
            expect_same(w.object, in.text(), next);
            expect_same(edited(in.text(),
                               [](Ordered& o) { o["spec"]["template"]["spec"]["serviceAccountName"] = "x"; }),
                        in.text(), next);
        },
        2);
}

// ---- law 6
// ---------------------------------------------------------------------------------------------------------------

TEST_F(Laws, Law6_AnUpdateThatLeavesTheTemplateAloneGetsNoPatch) {
    const std::vector<std::function<void(Ordered&)>> edits = {
        [](Ordered& w) { w["metadata"]["labels"]["team"] = "ai"; },
        [](Ordered& w) { w["metadata"]["generation"] = 7; },
        [](Ordered& w) { w["spec"]["replicas"] = 30; },
        [](Ordered& w) { w["status"]["observedGeneration"] = 3; },
        [](Ordered& w) { w["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "4"; },
        [](Ordered&) {}};
    all(
        [&](const Workload& w) {
            const Injection in = run(w, w.object);
            if (in.outcome.verdict == Verdict::denied) return;
            const inject::Settings next = upgraded(w.settings);
            for (const auto& edit : edits)
                for (const inject::Settings* settings : {&w.settings, &next}) {
                    const Injection r = run(w, edited(in.text(), edit), in.text(), settings);
                    EXPECT_TRUE(same(r.patch, "[]"));
                    EXPECT_EQ(name_of(r.outcome.verdict), name_of(Verdict::untouched));
                }
        },
        4);
}

// What client-side and server-side apply make of a manifest and the stored object, and what `kubectl replace`
// sends.
TEST_F(Laws, Law6_AnApplyOfTheSameManifestGivesTheStoredBytes) {
    all(
        [](const Workload& w) {
            const Injection in = run(w, w.object);
            if (in.outcome.verdict != Verdict::injected) return;
            if (w.has("entry=duplicate")) return;  // an apply refuses two entries of one name
            const inject::Settings next = upgraded(w.settings);
            const Ordered user = spelled<Ordered>(w.object);
            std::map<std::string, Ordered> containers;
            each_container(user, [&](const std::string& list, const Ordered& c) {
                containers[list + "/" + name_in(c)] = c;
            });
            // `value` of the manifest lands beside our `valueFrom`; `command` comes as the manifest has it.
            const std::string merged = edited(in.text(), [&](Ordered& o) {
                each_container(o, [&](const std::string& list, Ordered& c) {
                    const auto known = containers.find(list + "/" + name_in(c));
                    if (known == containers.end()) return;
                    const Ordered& manifest = known->second;
                    if (manifest.contains("command") && manifest["command"].is_array() &&
                        !manifest["command"].empty())
                        c["command"] = manifest["command"];
                    if (!manifest.contains("env") || !manifest["env"].is_array()) return;
                    for (const Ordered& theirs : manifest["env"])
                        for (Ordered& ours : c["env"])
                            if (name_in(ours) == name_in(theirs))
                                for (const auto& [member, value] : theirs.items()) {
                                    if (member == "valueFrom" && ours.contains("valueFrom")) {
                                        for (const auto& [source, reference] : value.items())
                                            ours["valueFrom"][source] = reference;
                                    } else {
                                        ours[member] = value;
                                    }
                                }
                });
            });
            // $setElementOrder of a client-side apply: what the manifest lists comes first.
            const std::string reordered = edited(in.text(), [&](Ordered& o) {
                for (const char* list : {"initContainers", "containers"})
                    if (Ordered* elements = find(o, {"spec", "template", "spec", list});
                        elements != nullptr && elements->is_array()) {
                        Ordered sorted = Ordered::array();
                        for (const bool ours : {false, true})
                            for (const Ordered& e : *elements)
                                if (is_our_name(name_in(e)) == ours) sorted.push_back(e);
                        *elements = std::move(sorted);
                    }
            });
            for (const auto& [how, text] : std::map<std::string, std::string>{
                     {"merge", merged}, {"replace", w.object}, {"order", reordered}})
                for (const inject::Settings* settings : {&w.settings, &next}) {
                    const Injection r = run(w, text, in.text(), settings);
                    ASSERT_NE(name_of(r.outcome.verdict), name_of(Verdict::denied))
                        << how << ": " << r.outcome.faults[0].field << r.outcome.faults[0].message;
                    EXPECT_TRUE(equal(*json::find(r.object, {"spec", "template"}),
                                      *json::find(in.object, {"spec", "template"})))
                        << how << (settings == &next ? " after an upgrade" : "");
                }
        },
        3);
}

TEST_F(Laws, Law6_AnEarlierRevisionIsItselfAgain) {
    all(
        [](const Workload& w) {
            const Injection first = run(w, w.object);
            if (first.outcome.verdict != Verdict::injected) return;
            const auto change = [](Ordered& o) {
                o["spec"]["template"]["spec"]["containers"][0]["image"] = "another:2";
            };
            const inject::Settings next = upgraded(w.settings);
            const std::string changed = edited(first.text(), change);
            const Injection second = run(w, changed, first.text(), &next);
            if (second.outcome.verdict != Verdict::injected) return;
            const std::string undone = edited(second.text(), [&](Ordered& o) {
                o["spec"]["template"] = spelled<Ordered>(first.text())["spec"]["template"];
            });
            EXPECT_TRUE(same(run(w, undone, second.text(), &next).patch, "[]"));
        },
        3);
}

// ---- laws 7 and 8
// ----------------------------------------------------------------------------------------------------------

std::string review_of(const Workload& w, const std::string& object, const std::string& old,
                      const char* dry_run) {
    return fmt::format(
        R"({{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"u","kind":{{"group":"apps",)"
        R"("version":"v1","kind":"{}"}},"namespace":"{}","name":"shop","operation":"{}","dryRun":{},"object":{},"oldObject":{}}}}})",
        w.kind, w.workload_namespace, old.empty() ? "CREATE" : "UPDATE", dry_run, object,
        old.empty() ? "null" : old);
}

TEST_F(Laws, Law7_DryRunGivesTheSameBytes) {
    all([](const Workload& w) {
        const auto answer = [&](const char* dry_run) {
            return admission::review(review_of(w, w.object, {}, dry_run), generate::catalog(), w.settings);
        };
        const admission::Answer real = answer("false"), dry = answer("true");
        EXPECT_EQ(real.status, 200);
        EXPECT_EQ(real.body, dry.body);
        EXPECT_FALSE(real.dry_run);
        EXPECT_TRUE(dry.dry_run);
        EXPECT_EQ(real.outcome, dry.outcome);
    });
}

std::size_t times(const std::string& text) {
    std::size_t n = 0;
    for (std::size_t at = text.find(canary); at != std::string::npos; at = text.find(canary, at + 1)) ++n;
    return n;
}

// A secret value may be put back where it is (a list that is written whole), never anywhere else.
void expect_no_secret(const Workload&, const std::string& before, const Injection& r) {
    for (const std::string& warning : r.outcome.warnings) EXPECT_EQ(times(warning), 0U) << warning;
    for (const inject::Fault& fault : r.outcome.faults)
        EXPECT_EQ(times(fault.field + fault.message), 0U) << fault.field << ": " << fault.message;
    if (times(r.patch) == 0) return;
    Json document = spelled(before);
    for (const Json& operation : spelled(r.patch)) {
        const std::size_t carried = operation.contains("value") ? times(operation["value"].dump()) : 0;
        if (carried > 0) {
            const Json::json_pointer at(operation["path"].get<std::string>());
            ASSERT_TRUE(operation["op"] == "replace" && document.contains(at)) << operation.dump();
            EXPECT_LE(carried, times(document[at].dump())) << operation.dump();
        }
        document = document.patch(Json::array({operation}));
    }
}

TEST_F(Laws, Law8_NoSecretValueLeavesItsPlace) {
    all([](const Workload& w) {
        const Injection in = run(w, w.object);
        expect_no_secret(w, w.object, in);
        const admission::Answer answer =
            admission::review(review_of(w, w.object, {}, "false"), generate::catalog(), w.settings);
        EXPECT_EQ(times(answer.body), 0U);
        for (const std::string& text :
             {answer.uid, answer.kind, answer.workload_namespace, answer.name, answer.operation})
            EXPECT_EQ(times(text), 0U);
        if (in.outcome.verdict != Verdict::injected) return;
        EXPECT_LE(times(in.text()), times(w.object));
        const inject::Settings next = upgraded(w.settings);
        expect_no_secret(w, opted_out(in.text()), run(w, opted_out(in.text()), in.text()));
        expect_no_secret(w, w.object, run(w, w.object, in.text(), &next));
        // An apply that brings a literal beside our valueFrom.
        const std::string mixed = edited(in.text(), [&](Ordered& o) {
            each_container(o, [&](const std::string&, Ordered& c) {
                if (!is_our_name(name_in(c)) && c.contains("env") && c["env"].is_array())
                    for (Ordered& entry : c["env"])
                        if (is_our_entry(Json::parse(entry.dump())) && entry.contains("valueFrom"))
                            entry["value"] = canary;
            });
        });
        expect_no_secret(w, mixed, run(w, mixed, in.text()));
        expect_no_secret(w, mixed, run(w, mixed, in.text(), &next));
        expect_no_secret(w, mixed, run(w, mixed));
    });
}

// ---- what an injected pod is
// -----------------------------------------------------------------------------------------------

bool contains(const Json& list, const std::string& text) {
    return std::find(list.begin(), list.end(), text) != list.end();
}

const Json& named(const Json& list, const std::string& name) {
    static const Json nothing = Json::object();
    const auto found =
        std::find_if(list.begin(), list.end(), [&](const Json& e) { return name_in(e) == name; });
    return found == list.end() ? nothing : *found;
}

std::vector<std::string> names_of(const Json& list) {
    std::vector<std::string> names;
    for (const Json& element : list) names.push_back(name_in(element));
    return names;
}

// Pod Security `restricted`, and amounts that a quota asks for.
void expect_restricted(const Json& container, bool all_amounts) {
    const Json context = container.value("securityContext", Json::object());
    EXPECT_EQ(context["capabilities"]["drop"], Json::array({"ALL"}));
    for (const char* yes : {"runAsNonRoot", "readOnlyRootFilesystem"}) EXPECT_EQ(context[yes], true) << yes;
    EXPECT_EQ(context["allowPrivilegeEscalation"], false);
    EXPECT_EQ(context["seccompProfile"]["type"], "RuntimeDefault");
    EXPECT_GT(context["runAsUser"].get<int>(), 0);
    EXPECT_GT(context["runAsGroup"].get<int>(), 0);
    if (all_amounts)
        for (const char* side : {"requests", "limits"})
            for (const char* what : {"cpu", "memory"})
                EXPECT_TRUE(container["resources"][side].contains(what)) << side << ' ' << what;
}

// Wiring secret: variables that are read from Secrets of the operator's, and nothing beside them.
void only_reads_secrets(const Json& before, const Json& after) {
    const auto pod_of = [](const Json& object) -> const Json& { return object["spec"]["template"]["spec"]; };
    std::size_t read = 0;
    each_container(after, [&](const std::string&, const Json& c) {
        EXPECT_FALSE(is_our_name(name_in(c)));
        if (!c.contains("env") || !c["env"].is_array()) return;
        for (const Json& entry : c["env"]) {
            const Json source = entry.value("/valueFrom/secretKeyRef"_json_pointer, Json::object());
            if (!source.value("name", "").starts_with("keyshepherd-")) continue;
            ++read;
            EXPECT_EQ(source["key"], entry["name"]);
            EXPECT_EQ(source.size(), 2U);
            EXPECT_FALSE(entry.contains("value"));
        }
    });
    EXPECT_GT(read, 0U);
    EXPECT_EQ(pod_of(before).value("volumes", Json()), pod_of(after).value("volumes", Json()));
    for (const char* list : {"containers", "initContainers"})
        for (const Json& c :
             pod_of(after).value(list, Json()).is_array() ? pod_of(after)[list] : Json::array()) {
            const Json was = named(pod_of(before)[list], name_in(c));
            for (const char* member : {"command", "args", "volumeMounts"})
                EXPECT_EQ(c.value(member, Json()), was.value(member, Json())) << member;
        }
    const Json& notes = after["spec"]["template"]["metadata"]["annotations"];
    EXPECT_FALSE(notes.contains("keyshepherd.dev/agent-config") ||
                 notes.contains("keyshepherd.dev/vault-ca"));
}

// What a container can read of what the agent renders: by the path that it sees, the template.
std::map<std::string, std::string> reachable(const Json& container, const Json& pod, const Json& config) {
    std::map<std::string, std::string> agents;  // where the agent has a volume
    for (const char* list : {"initContainers", "containers"})
        for (const Json& c : pod.value(list, Json()).is_array() ? pod[list] : Json::array())
            if (name_in(c).starts_with("keyshepherd-agent"))
                for (const Json& m : c["volumeMounts"]) {
                    EXPECT_FALSE(m.contains("subPath")) << m;
                    agents[name_in(m)] = m["mountPath"];
                }
    std::map<std::string, std::string> files;
    if (!container.contains("volumeMounts") || !container["volumeMounts"].is_array()) return files;
    for (const Json& m : container["volumeMounts"]) {
        const auto at = agents.find(name_in(m));
        if (at == agents.end()) continue;
        const std::string folder = m.value("subPath", "");
        const std::string from = at->second + (folder.empty() ? "/" : "/" + folder + "/");
        for (const Json& t : config["template"])
            if (const std::string destination = t["destination"]; destination.starts_with(from))
                files[m["mountPath"].get<std::string>() + "/" + destination.substr(from.size())] =
                    t["contents"];
    }
    return files;
}

// "NAME path#key" of everything that env files of such templates hold.
void add_variables(std::set<std::string>& all, const std::string& contents) {
    static const std::regex token(
        R"re(with secret "([^"]+)"|if not \(index \$d "([^"]+)"\)|([A-Za-z_][A-Za-z0-9_]*)='\{\{ \$v \}\}')re");
    std::string path, key;
    for (std::sregex_iterator at(contents.begin(), contents.end(), token), end; at != end; ++at) {
        if ((*at)[1].matched) path = (*at)[1];
        if ((*at)[2].matched) key = (*at)[2];
        if ((*at)[3].matched) all.insert(fmt::format("{} {}#{}", (*at)[3].str(), path, key));
    }
}

// The annotations that count, as a person wrote them.
inject::AnnotationOptions wishes_of(const Json& workload) {
    std::map<std::string, std::string> given;
    for (const char* place : {"/metadata/annotations", "/spec/template/metadata/annotations"})
        if (const Json all = workload.value(Json::json_pointer(place), Json()); all.is_object())
            for (const auto& [name, value] : all.items())
                if (name.starts_with("keyshepherd.dev/") && value.is_string() &&
                    !inject::is_output_annotation(name.substr(16)))
                    given[name.substr(16)] = value.get<std::string>();
    std::vector<inject::AnnotationFault> faults;
    return inject::read_annotations(given, faults);
}

TEST_F(Laws, AContainerReachesJustTheFilesThatItAskedFor) {
    std::size_t with_variables = 0, with_files = 0, differ = 0, share = 0;
    all([&](const Workload& w) {
        const Injection r = run(w, w.object);
        if (r.outcome.verdict != Verdict::injected) return;
        const Json after = Json::parse(r.text());
        const Json& pod = after["spec"]["template"]["spec"];
        const Json& annotations = after["spec"]["template"]["metadata"]["annotations"];
        const Json marker = Json::parse(annotations["keyshepherd.dev/injected"].get<std::string>());
        if (marker["wiring"] == "secret") return;
        const Json config = Json::parse(annotations["keyshepherd.dev/agent-config"].get<std::string>());
        const inject::AnnotationOptions options = wishes_of(Json::parse(w.object));
        std::vector<std::set<std::string>> reached;
        each_container(after, [&](const std::string& list, const Json& c) {
            SCOPED_TRACE(list + "/" + name_in(c));
            if (name_in(c).starts_with("keyshepherd-agent")) return;
            const std::map<std::string, std::string> files = reachable(c, pod, config);
            if (is_our_name(name_in(c))) {
                EXPECT_TRUE(files.empty()) << "the launcher's containers need no rendered file";
                return;
            }
            const auto& selection = list == "containers" ? options.containers : options.init_containers;
            const bool selected =
                selection ? std::find(selection->begin(), selection->end(), name_in(c)) != selection->end()
                          : list == "containers";
            std::set<std::string> variables, names, asked_variables, asked_names;
            for (const auto& [path, contents] : files) {
                const std::size_t slash = path.rfind('/');
                const std::string folder = path.substr(0, slash), name = path.substr(slash + 1);
                if (folder == "/keyshepherd/env") {
                    add_variables(variables, contents);
                } else {
                    EXPECT_EQ(folder, "/keyshepherd/files") << path;
                    names.insert(name);
                }
            }
            for (const Json& entry : c.contains("env") && c["env"].is_array() ? c["env"] : Json::array()) {
                const std::string value =
                    entry.value("value", Json()).is_string() ? entry["value"].get<std::string>() : "";
                if (inject::is_reference(value))
                    asked_variables.insert(
                        fmt::format("{} {}", name_in(entry), inject::without_scheme(value)));
                if (value.starts_with("/keyshepherd/files/") && marker["wiring"] == "file")
                    asked_names.insert(value.substr(19));
            }
            if (selected)
                for (const auto& [name, file] : options.files) asked_names.insert(name);
            EXPECT_EQ(variables, asked_variables);
            EXPECT_EQ(names, asked_names);
            with_variables += variables.empty() ? 0 : 1;
            with_files += names.empty() ? 0 : 1;
            std::set<std::string> both = variables;
            both.insert(names.begin(), names.end());
            if (!both.empty()) reached.push_back(std::move(both));
        });
        for (std::size_t i = 1; i < reached.size(); ++i) ++(reached[i] == reached[0] ? share : differ);
    });
    if (!is_default()) return;
    EXPECT_GT(with_variables, 50U);
    EXPECT_GT(with_files, 50U);
    EXPECT_GT(share, 20U) << "no two containers that mount one folder";
    EXPECT_GT(differ, 20U) << "no two containers that must not see each other's files";
}

TEST_F(Laws, AnInjectedPodIsWhatTheDesignSays) {
    all([](const Workload& w) {
        const Injection r = run(w, w.object);
        if (r.outcome.verdict != Verdict::injected) return;
        const Json before = Json::parse(w.object), after = Json::parse(r.text());
        const Json& pod = after["spec"]["template"]["spec"];
        const Json& annotations = after["spec"]["template"]["metadata"]["annotations"];
        const Json marker = Json::parse(annotations["keyshepherd.dev/injected"].get<std::string>());
        const std::string wiring = marker["wiring"];
        if (wiring == "secret") return only_reads_secrets(Json::parse(w.object), after);
        const Json config = Json::parse(annotations["keyshepherd.dev/agent-config"].get<std::string>());
        const KubernetesVersion oldest = std::min(w.settings.kubernetes, w.settings.lowest_kubelet);
        const bool native = oldest >= KubernetesVersion{1, 29} && !w.has("agent=init");
        if (wiring == "envfile") EXPECT_GE(oldest, (KubernetesVersion{1, 35}));
        if (w.has("wiring=default") || w.has("wiring=auto"))
            EXPECT_EQ(wiring == "envfile", oldest >= (KubernetesVersion{1, 35}));

        // The agent outlives an outage of Vault, and logs in with what is in its own volume.
        EXPECT_EQ(config["template_config"]["exit_on_retry_failure"],
                  w.has("agent=init"));  // which has no other way to say why
        EXPECT_FALSE(config.dump().find("exit_on_err") != std::string::npos);
        const Json& methods = config["auto_auth"]["method"];
        const Json& method = methods.is_array() ? methods.at(0) : methods;
        EXPECT_TRUE(method["mount_path"].get<std::string>().starts_with("auth/"));
        const Json config_volume = named(pod["volumes"], "keyshepherd-config")["projected"];
        EXPECT_EQ(config_volume["defaultMode"], 0444);
        const std::string sources = config_volume["sources"].dump();
        if (method["type"] == "kubernetes") {
            EXPECT_FALSE(method["config"]["role"].get<std::string>().empty());
            EXPECT_EQ(method["config"]["token_path"], "/keyshepherd/config/token");
            std::string audience;
            for (const Json& source : config_volume["sources"])
                if (source.contains("serviceAccountToken"))
                    audience = source["serviceAccountToken"].value("audience", "");
            EXPECT_EQ(audience, w.has("login=audience") ? "https://vault.example \"x\"" : "vault");
        } else {
            EXPECT_EQ(method["config"]["remove_secret_id_file_after_reading"], false);
            EXPECT_NE(sources.find("secret_id"), std::string::npos);
            EXPECT_EQ(sources.find("serviceAccountToken"), std::string::npos);
        }
        EXPECT_EQ(config["vault"].contains("ca_cert"), sources.find("\"ca.crt\"") != std::string::npos);
        EXPECT_EQ(annotations.contains("keyshepherd.dev/vault-ca"),
                  sources.find("vault-ca']") != std::string::npos);

        // Rendered files: a secret fails when it is absent, and nobody but the agent writes or, with envfile,
        // reads it.
        std::set<std::string> rendered;
        for (const Json& t : config["template"]) {
            EXPECT_EQ(t["error_on_missing_key"], true);
            const std::string destination = t["destination"];
            rendered.insert(destination);
            if (destination.starts_with("/keyshepherd/env/"))
                EXPECT_EQ(t["perms"], wiring == "envfile" ? "0400" : "0444") << destination;
            if (destination.find("/HOLYSHEEP") != std::string::npos)
                EXPECT_EQ(t["perms"], "0444") << destination;
        }
        for (const char* volume : {"keyshepherd-home", "keyshepherd-env", "keyshepherd-files"})
            if (const Json& v = named(pod["volumes"], volume); !v.empty()) {
                EXPECT_EQ(v["emptyDir"]["medium"], "Memory") << volume;
                EXPECT_TRUE(v["emptyDir"].contains("sizeLimit")) << volume;
            }

        // Install, agent, check; then whatever the user has.
        std::vector<std::string> want = {"keyshepherd-install", native || w.has("agent=init")
                                                                    ? "keyshepherd-agent"
                                                                    : "keyshepherd-agent-init"};
        std::set<std::string> variables;
        each_container(after, [&](const std::string&, const Json& c) {
            if (!is_our_name(name_in(c)) && c.contains("env") && c["env"].is_array())
                for (const Json& entry : c["env"])
                    if (is_our_entry(entry)) variables.insert(name_in(entry));
        });
        if (wiring == "envfile" && !variables.empty()) want.emplace_back("keyshepherd-check");
        std::vector<std::string> got = names_of(pod["initContainers"]);
        got.resize(std::min(got.size(), want.size()));
        EXPECT_EQ(got, want);
        for (const char* list : {"initContainers", "containers"})
            for (const Json& c : pod.value(list, Json()).is_array() ? pod[list] : Json::array())
                if (is_our_name(name_in(c))) expect_restricted(c, !w.has("agent-resources-none"));
        const Json& agent = named(pod["initContainers"], want[1]);
        EXPECT_EQ(agent.contains("restartPolicy"), native);
        EXPECT_EQ(contains(agent["command"], "-exit-after-auth"), !native);
        if (native) {
            EXPECT_EQ(agent["restartPolicy"], "Always");
            const Json& probe = agent["startupProbe"]["exec"]["command"];
            for (const std::string& file : rendered) EXPECT_TRUE(contains(probe, file)) << file;
            EXPECT_EQ(probe.back(), "/keyshepherd/home/agent.log");
        }
        EXPECT_EQ(named(pod["containers"], "keyshepherd-agent").empty(), native || w.has("agent=init"));
        if (!native && !w.has("agent=init"))
            EXPECT_FALSE(
                contains(named(pod["containers"], "keyshepherd-agent")["command"], "-exit-after-auth"));
        EXPECT_EQ(named(pod["initContainers"], "keyshepherd-install")["image"], w.settings.image);
        if (const Json& check = named(pod["initContainers"], "keyshepherd-check"); !check.empty()) {
            const std::vector<std::string> checked = names_of(check["env"]);
            EXPECT_EQ(std::set<std::string>(checked.begin(), checked.end()), variables);
            Json command = Json::array({"/keyshepherd-exec", "check"});
            for (const std::string& name : checked) command.push_back(name);
            EXPECT_EQ(check["command"], command);
        }

        // The user's containers.
        std::map<std::string, Json> originals;
        each_container(before, [&](const std::string&, const Json& c) { originals[name_in(c)] = c; });
        each_container(after, [&](const std::string&, const Json& c) {
            if (is_our_name(name_in(c))) return;
            const Json& original = originals[name_in(c)];
            std::set<std::string> theirs;
            if (original.contains("env") && original["env"].is_array())
                for (const Json& entry : original["env"]) theirs.insert(name_in(entry));
            bool front = true, wired = false;
            for (const Json& entry : c.contains("env") && c["env"].is_array() ? c["env"] : Json::array()) {
                const bool added = is_our_entry(entry) && !theirs.contains(name_in(entry));
                EXPECT_TRUE(front || !added) << name_in(entry) << " comes behind an entry that may use it";
                front = front && added;
                wired = wired || is_our_entry(entry);
                if (!is_our_entry(entry)) continue;
                if (wiring == "envfile") {
                    const Json& ref = entry["valueFrom"]["fileKeyRef"];
                    EXPECT_EQ(ref["optional"], false);
                    EXPECT_EQ(ref["volumeName"], "keyshepherd-env");
                    EXPECT_EQ(ref["key"], name_in(entry));
                    EXPECT_TRUE(rendered.contains("/keyshepherd/env/" + ref["path"].get<std::string>()))
                        << ref;
                    EXPECT_EQ(entry.size(), 2U);
                } else if (wiring == "file") {
                    EXPECT_TRUE(reachable(c, pod, config).contains(entry["value"])) << entry;
                    EXPECT_TRUE(name_in(entry).ends_with("_FILE"));
                }
                if (wiring != "file")
                    EXPECT_NE(config["template"].dump().find(name_in(entry) + "='{{ $v }}'"),
                              std::string::npos)
                        << name_in(entry);
            }
            std::map<std::string, Json> mounts;
            for (const Json& m : c.contains("volumeMounts") && c["volumeMounts"].is_array()
                                     ? c["volumeMounts"]
                                     : Json::array())
                if (is_our_name(name_in(m))) mounts[name_in(m)] = m;
            for (const auto& [name, mount] : mounts) EXPECT_EQ(mount["readOnly"], true) << name;
            EXPECT_FALSE(mounts.contains("keyshepherd-home"));
            EXPECT_FALSE(mounts.contains("keyshepherd-config"));
            EXPECT_EQ(mounts.contains("keyshepherd-env"), wiring == "exec" && wired);
            EXPECT_EQ(mounts.contains("keyshepherd-bin"), wiring == "exec" && wired);
            if (wiring != "exec" || !wired) {
                EXPECT_EQ(c.value("command", Json()), original.value("command", Json()));
                return;
            }
            Json command = Json::array({"/keyshepherd/bin/keyshepherd-exec", "--"});
            const bool known = original.contains("command") && original["command"].is_array() &&
                               !original["command"].empty();
            for (const Json& word : known ? original["command"] : Json::array({"/usr/bin/entry", "a b", "ü"}))
                command.push_back(word);
            EXPECT_EQ(c["command"], command);
            EXPECT_EQ(c.value("args", Json()), original.value("args", Json()));
        });
    });
}

// ---- whatever arrives
// ----------------------------------------------------------------------------------------------------

// One value anywhere in the workload becomes something else. The API server would never send most of these.
TEST_F(Laws, AWorkloadOfAnyShapeGetsAnAnswer) {
    Random random(seed() + 1);
    const std::array shapes = {"null",  "true",    "0",    "1.5",          "\"\"",
                               "\"x\"", "[]",      "{}",   "[null]",       "[[]]",
                               "[0]",   "[\"x\"]", "[{}]", "{\"a\":null}", "{\"name\":1}"};
    auto bend = [&](Ordered& root) {
        Ordered* at = &root["spec"]["template"];
        if (random.chance(10)) at = &root;
        while (at->is_structured() && !at->empty() &&
               !random.chance(at == &root["spec"]["template"] ? 5 : 20))
            at = &*std::next(at->begin(), static_cast<std::ptrdiff_t>(random.below(at->size())));
        *at = Ordered::parse(random.pick(shapes));
    };
    all(
        [&](const Workload& w) {
            for (int i = 0; i < 3; ++i) {
                std::string object = edited(w.object, bend);
                std::string old;
                if (i == 1) object = edited(run(w, w.object).text(), bend);  // what was injected, bent
                if (i == 2) old = object, object = w.object;
                try {
                    const Injection r = run(w, object, old);
                    if (r.outcome.verdict != Verdict::denied) expect_patch_makes_object(r);
                    EXPECT_EQ(
                        admission::review(review_of(w, object, old, "null"), generate::catalog(), w.settings)
                            .status,
                        200);
                } catch (const std::exception& e) {
                    ADD_FAILURE() << e.what() << " for " << object;
                }
            }
        },
        2);
}

}  // namespace
}  // namespace keyshepherd
