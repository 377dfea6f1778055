// The cost of an admission grows in proportion to the review, whatever a tenant wrote: also where names could
// be compared with names, and where the answer is a refusal.
#include "growth.hpp"

#include <keyshepherd/admission/review.hpp>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <functional>
#include <string>
#include <utility>

namespace keyshepherd::cost {
namespace {

using Json = nlohmann::json;

const std::string annotation = "keyshepherd.dev/";

constexpr std::size_t most_steps_a_byte = 450;

Json container(std::size_t i = 0) {
    return {{"name", fmt::format("c{}", i)}, {"image", "i"}, {"command", {"/app"}}};
}

Json deployment(Json containers = Json::array({container()})) {
    Json object = Json::parse(R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"shop"},
        "spec":{"template":{"metadata":{},"spec":{}}}})");
    object["metadata"]["annotations"][annotation + "inject"] = "holysheep";
    object["spec"]["template"]["spec"]["containers"] = std::move(containers);
    return object;
}

Json& pod_of(Json& object) {
    return object["spec"]["template"]["spec"];
}

Json plain(std::size_t i) {
    return {{"name", fmt::format("PLAIN_{}", i)}, {"value", "v"}};
}
Json reference(const std::string& name, const std::string& path = "kv/data/app") {
    return {{"name", name}, {"value", "vault:" + path + "#key"}};
}

// n elements out of make(0) … make(n-1).
template <class Make>
Json list(std::size_t n, Make make) {
    Json all = Json::array();
    for (std::size_t i = 0; i < n; ++i) all.push_back(make(i));
    return all;
}

template <class Make>
std::string words(std::size_t n, Make make) {
    std::string all;
    for (std::size_t i = 0; i < n; ++i) all += (i == 0 ? "" : ",") + make(i);
    return all;
}

std::string review_of(const Json& object, const Json& old) {
    const Json review = {{"apiVersion", "admission.k8s.io/v1"},
                         {"kind", "AdmissionReview"},
                         {"request",
                          {{"uid", "u"},
                           {"kind", {{"group", "apps"}, {"version", "v1"}, {"kind", "Deployment"}}},
                           {"name", "shop"},
                           {"namespace", "team"},
                           {"operation", old.is_null() ? "CREATE" : "UPDATE"},
                           {"object", object},
                           {"oldObject", old}}}};
    return review.dump();
}

inject::Settings with_image() {
    inject::Settings settings;
    settings.image = "registry.example/keyshepherd:0.1.0";
    return settings;
}

class AdmissionCost : public testing::Test {
protected:
    // What is stored after `object` was admitted.
    Json injected(const Json& object) const {
        inject::Settings settings = settings_;
        json::value edited = json::parse(object.dump()).value();
        const inject::Outcome outcome =
            inject::inject(edited, {.kind = "Deployment", .workload_namespace = "team"}, catalog_, settings);
        EXPECT_EQ(outcome.verdict, inject::Verdict::injected);
        return Json::parse(json::bj::serialize(edited));
    }

    // `make(n)` gives the object and, for an update, the stored one. The answer is `outcome`.
    void expect_linear(std::string_view outcome, std::size_t n,
                       const std::function<std::pair<Json, Json>(std::size_t)>& make) const {
        cost::expect_linear("review", n, [&](std::size_t size) {
            const auto [object, old] = make(size);
            return [this, outcome, body = review_of(object, old)] {
                const admission::Answer answer = admission::review(body, catalog_, settings_);
                EXPECT_EQ(answer.outcome, outcome) << answer.body.substr(0, 500);
            };
        });
        // A constant cost of an element can be as bad as a square.
        const auto [object, old] = make(4 * n);
        const std::string body = review_of(object, old);
        EXPECT_LT(steps_of([&] { admission::review(body, catalog_, settings_); }),
                  most_steps_a_byte * body.size());
    }

    void at(int minor) { settings_.kubernetes = settings_.lowest_kubelet = {1, minor}; }

    inject::Catalog catalog_ = inject::Catalog::built_in("https://vault.example:8200");
    inject::Settings settings_ = with_image();
};

TEST_F(AdmissionCost, PlainVariables) {
    expect_linear("injected", 500, [](std::size_t n) {
        Json object = deployment();
        pod_of(object)["containers"][0]["env"] = list(n, plain);
        return std::pair(object, Json());
    });
}

TEST_F(AdmissionCost, VolumesAndMounts) {
    expect_linear("injected", 500, [](std::size_t n) {
        Json object = deployment();
        pod_of(object)["volumes"] = list(n, [](std::size_t i) {
            return Json{{"name", fmt::format("v{}", i)}, {"emptyDir", Json::object()}};
        });
        pod_of(object)["containers"][0]["volumeMounts"] = list(n, [](std::size_t i) {
            return Json{{"name", fmt::format("v{}", i)}, {"mountPath", fmt::format("/v{}", i)}};
        });
        return std::pair(object, Json());
    });
}

TEST_F(AdmissionCost, Containers) {
    for (const char* wiring : {"envfile", "exec", "file"})
        expect_linear("injected", 200, [&](std::size_t n) {
            Json object = deployment(list(n, container));
            object["metadata"]["annotations"][annotation + "wiring"] = wiring;
            return std::pair(object, Json());
        });
}

TEST_F(AdmissionCost, ContainersThatAskThemselves) {
    expect_linear("injected", 200, [](std::size_t n) {
        Json object = deployment(list(n, [](std::size_t i) {
            Json c = container(i);
            c["env"] = {plain(i), reference("HOLYSHEEP_API_KEY"), reference("OTHER")};
            return c;
        }));
        object["metadata"]["annotations"][annotation + "wiring"] = "exec";
        return std::pair(object, Json());
    });
}

TEST_F(AdmissionCost, ReferencesInOneContainer) {
    expect_linear("injected", 50, [](std::size_t n) {
        Json object = deployment();
        pod_of(object)["containers"][0]["env"] =
            list(n, [](std::size_t i) { return reference(fmt::format("REFERENCE_{}", i)); });
        return std::pair(object, Json());
    });
}

TEST_F(AdmissionCost, ReferencesInManyContainers) {
    for (const char* outcome : {"injected", "denied"})
        expect_linear(outcome, outcome == std::string("injected") ? 50 : 500, [](std::size_t n) {
            return std::pair(deployment(list(n,
                                             [](std::size_t i) {
                                                 Json c = container(i);
                                                 c["env"] =
                                                     Json::array({reference(fmt::format("REFERENCE_{}", i))});
                                                 return c;
                                             })),
                             Json());
        });
}

// Each container asks for a set of files of its own, so that each gets a folder.
TEST_F(AdmissionCost, FoldersOfManyContainers) {
    const auto object = [](std::size_t n, const char* wiring, std::size_t bytes) {
        Json all = deployment(list(n, [](std::size_t i) {
            Json c = container(i);
            c["env"] = list(10, [i](std::size_t bit) {
                return (i >> bit & 1U) == 0 ? plain(bit)
                                            : Json{{"name", fmt::format("V{}_FILE", bit)}, {"value", "/own"}};
            });
            c["env"].push_back(reference(fmt::format("REFERENCE_{}", i)));
            return c;
        }));
        auto& given = all["metadata"]["annotations"];
        given[annotation + "wiring"] = wiring;
        if (wiring == std::string("file")) {
            for (Json& c : pod_of(all)["containers"]) c["env"].erase(10);
            for (std::size_t bit = 0; bit < 10; ++bit)
                given[fmt::format("{}env-V{}", annotation, bit)] = fmt::format("kv/data/app#v{}", bit);
            given[annotation + "template-extra"] = std::string(bytes, 'x');
        }
        return std::pair(all, Json());
    };
    expect_linear("injected", 20, [&](std::size_t n) { return object(n, "exec", 0); });
    expect_linear("denied", 200, [&](std::size_t n) { return object(n, "exec", 0); });
    expect_linear("denied", 60, [&](std::size_t n) { return object(n, "file", 10'000); });
}

TEST_F(AdmissionCost, TooManyReferences) {
    expect_linear("denied", 2'000, [](std::size_t n) {
        return std::pair(deployment(list(n / 100,
                                         [](std::size_t i) {
                                             Json c = container(i);
                                             c["env"] = list(100, [i](std::size_t e) {
                                                 return reference(fmt::format("REFERENCE_{}_{}", i, e));
                                             });
                                             return c;
                                         })),
                         Json());
    });
}

TEST_F(AdmissionCost, BadReferences) {
    expect_linear("denied", 500, [](std::size_t n) {
        Json object = deployment();
        pod_of(object)["containers"][0]["env"] = list(n, [](std::size_t i) {
            return i % 2 == 0 ? reference("TWICE") : reference(fmt::format("B_{}", i), "kv//x");
        });
        return std::pair(object, Json());
    });
}

// The limits bound how many variables are wired, and nothing bounds the plain ones beside them: what a wired
// one costs must not depend on how many those are. Less than a step for each pair is a pass over all of them.
TEST_F(AdmissionCost, WiredVariablesBesideManyPlainOnes) {
    constexpr std::size_t wired = 400, few = 1'000, many = 8'000;
    // Half of them replace an entry, and half are inserted.
    const auto asked = [](std::size_t of, std::size_t plain_ones) {
        Json object = deployment(), env = Json::array();
        for (std::size_t i = 0; i < plain_ones; ++i) {
            env.push_back(plain(i));
            if (i < of / 2) env.push_back(reference(fmt::format("REFERENCE_{}", i)));
        }
        pod_of(object)["containers"][0]["env"] = std::move(env);
        for (std::size_t i = 0; i < of / 2; ++i)
            object["metadata"]["annotations"][fmt::format("{}env-V{}", annotation, i)] = "kv/data/app#key";
        return object;
    };
    const auto steps = [this](std::string_view outcome, const Json& object, const Json& old) {
        const std::string body = review_of(object, old);
        return static_cast<double>(
            steps_of([&] { EXPECT_EQ(admission::review(body, catalog_, settings_).outcome, outcome); }));
    };
    const auto added = [&](std::size_t plain_ones) {
        return steps("injected", asked(wired, plain_ones), Json()) -
               steps("injected", asked(2, plain_ones), Json());
    };
    const auto removed = [&](std::size_t plain_ones) {
        const auto opted_out = [&](std::size_t of) {
            const Json stored = injected(asked(of, plain_ones));
            Json object = stored;
            object["metadata"]["annotations"][annotation + "inject"] = "false";
            return steps("removed", object, stored);
        };
        return opted_out(wired) - opted_out(2);
    };
    constexpr double pairs = wired * (many - few);
    EXPECT_LT(added(many) - added(few), pairs);
    EXPECT_LT(removed(many) - removed(few), pairs);
}

TEST_F(AdmissionCost, ManyVariablesFromAnnotations) {
    expect_linear("injected", 50, [](std::size_t n) {
        Json object = deployment();
        for (std::size_t i = 0; i < n; ++i)
            object["metadata"]["annotations"][fmt::format("{}env-V{}", annotation, i)] = "kv/data/app#key";
        pod_of(object)["containers"][0]["env"] = list(n, plain);
        return std::pair(object, Json());
    });
}

TEST_F(AdmissionCost, UnknownAnnotations) {
    expect_linear("denied", 500, [](std::size_t n) {
        Json object = deployment();
        for (std::size_t i = 0; i < n; ++i)
            object["metadata"]["annotations"][fmt::format("{}unheard-of-and-rather-long-{}", annotation, i)] =
                "x";
        return std::pair(object, Json());
    });
}

TEST_F(AdmissionCost, AnnotationsOfAWorkloadThatDoesNotAsk) {
    expect_linear("untouched", 500, [](std::size_t n) {
        Json object = deployment();
        object["metadata"]["annotations"].clear();
        for (std::size_t i = 0; i < n; ++i)
            object["metadata"]["annotations"][fmt::format("{}unheard-of-and-rather-long-{}", annotation, i)] =
                "x";
        return std::pair(object, Json());
    });
}

TEST_F(AdmissionCost, MembersOfSpec) {
    expect_linear("denied", 500, [](std::size_t n) {
        Json object = deployment(), spec = Json::object();
        for (std::size_t i = 0; i < n; ++i) spec[fmt::format("secret-file-{}", i)] = "kv/data/app";
        for (std::size_t i = 0; i < 1001; ++i) spec[fmt::format("env-V{}", i)] = "kv/data/app#key";
        object["metadata"]["annotations"][annotation + "spec"] = spec.dump();
        return std::pair(object, Json());
    });
}

TEST_F(AdmissionCost, NamesOfContainers) {
    const auto known = [](std::size_t i) { return fmt::format("c{}", i); };
    const auto unknown = [](std::size_t i) { return fmt::format("u{}", i); };
    expect_linear("injected", 300, [&](std::size_t n) {
        Json object = deployment(list(n, container));
        object["metadata"]["annotations"][annotation + "containers"] = words(n, known);
        return std::pair(object, Json());
    });
    expect_linear("denied", 500, [&](std::size_t n) {
        Json object = deployment(list(n, container));
        object["metadata"]["annotations"][annotation + "containers"] = words(n, unknown);
        return std::pair(object, Json());
    });
}

TEST_F(AdmissionCost, NamesOfProviders) {
    expect_linear("denied", 500, [&](std::size_t n) {
        Json object = deployment();
        object["metadata"]["annotations"][annotation + "inject"] =
            words(n, [](std::size_t i) { return fmt::format("p{}", i); });
        return std::pair(object, Json());
    });
}

TEST_F(AdmissionCost, Entrypoints) {
    at(34);
    expect_linear("injected", 200, [](std::size_t n) {
        Json object = deployment(list(n, [](std::size_t i) {
            Json c = container(i);
            c.erase("command");
            return c;
        }));
        for (std::size_t i = 0; i < n; ++i)
            object["metadata"]["annotations"][fmt::format("{}entrypoint-c{}", annotation, i)] = R"(["/app"])";
        return std::pair(object, Json());
    });
}

TEST_F(AdmissionCost, ExpansionsBesideManyVariables) {
    for (const char* wiring : {"file", "exec"})
        expect_linear("injected", 50, [&](std::size_t n) {
            Json object = deployment();
            Json& annotations = object["metadata"]["annotations"];
            annotations[annotation + "wiring"] = wiring;
            for (std::size_t i = 0; i < n; ++i)
                annotations[fmt::format("{}env-V{}", annotation, i)] = "kv/data/app#key";
            pod_of(object)["containers"][0]["args"] =
                list(n, [](std::size_t i) { return fmt::format("$(V{})$($($($(", i); });
            return std::pair(object, Json());
        });
}

TEST_F(AdmissionCost, EntriesOfAContainerWithALongName) {
    expect_linear("denied", 500, [](std::size_t n) {
        Json object = deployment();
        object["metadata"]["annotations"][annotation + "on-conflict"] = "deny";
        Json& c = pod_of(object)["containers"][0];
        c["name"] = std::string(100 * n, 'x');
        c["env"] = list(n, [](std::size_t i) { return reference(fmt::format("B_{}", i), "kv//x"); });
        return std::pair(object, Json());
    });
    expect_linear("injected", 60, [](std::size_t n) {  // the marker holds the name
        Json object = deployment();
        Json& c = pod_of(object)["containers"][0];
        c["name"] = std::string(150 * n, 'x');
        c["env"] = list(n, [](std::size_t i) { return reference(fmt::format("R_{}", i)); });
        return std::pair(object, Json());
    });
}

TEST_F(AdmissionCost, PartsWithOurNames) {
    expect_linear("denied", 500, [](std::size_t n) {
        Json object = deployment(list(n, [](std::size_t i) {
            Json c = container(i);
            if (i % 2 == 1) c["name"] = fmt::format("keyshepherd-{}", i);
            return c;
        }));
        pod_of(object)["volumes"] =
            list(n, [](std::size_t i) { return Json{{"name", fmt::format("keyshepherd-{}", i)}}; });
        Json& c = pod_of(object)["containers"][0];
        c["volumeMounts"] = list(n, [](std::size_t) {
            return Json{{"name", "keyshepherd-env"}, {"mountPath", "/keyshepherd/env"}};
        });
        c["env"] = list(n, [](std::size_t i) {
            return Json{{"name", fmt::format("E{}", i)},
                        {"valueFrom", {{"fileKeyRef", {{"volumeName", "keyshepherd-env"}}}}}};
        });
        return std::pair(object, Json());
    });
}

// ---- what was injected before

Json asked_by(std::size_t n) {
    Json object = deployment(list(n, [](std::size_t i) {
        Json c = container(i);
        c["env"] = {plain(i), reference("HOLYSHEEP_API_KEY"), reference("OTHER")};
        return c;
    }));
    return object;
}

TEST_F(AdmissionCost, AnUpdateThatMixesAManifestIn) {
    expect_linear("injected", 100, [this](std::size_t n) {
        const Json manifest = asked_by(n), stored = injected(manifest);
        Json object = stored;
        for (std::size_t i = 0; i < n; ++i)
            for (Json& entry : pod_of(object)["containers"][i]["env"])
                if (entry["name"] == "OTHER") entry["value"] = "vault:kv/data/app#key";
        return std::pair(object, stored);
    });
}

TEST_F(AdmissionCost, AnUpdateWithAnotherTemplate) {
    expect_linear("injected", 100, [this](std::size_t n) {
        const Json stored = injected(asked_by(n));
        Json object = stored;
        pod_of(object)["containers"][0]["image"] = "another";
        return std::pair(object, stored);
    });
}

TEST_F(AdmissionCost, OptingOut) {
    expect_linear("removed", 100, [this](std::size_t n) {
        const Json stored = injected(asked_by(n));
        Json object = stored;
        object["metadata"]["annotations"][annotation + "inject"] = "false";
        return std::pair(object, stored);
    });
}

// Whoever owns the workload can write a marker and give things our names.
TEST_F(AdmissionCost, AMarkerMadeByHand) {
    expect_linear("removed", 300, [](std::size_t n) {
        Json object = deployment(list(n, [](std::size_t i) {
            Json c = container(i);
            if (i % 2 == 1) c["name"] = "keyshepherd-agent";
            c["env"] = {
                plain(i),
                {{"name", "X"}, {"valueFrom", {{"fileKeyRef", {{"volumeName", "keyshepherd-env"}}}}}}};
            return c;
        }));
        Json& first = pod_of(object)["containers"][0];
        first["env"] = list(n, [](std::size_t i) {
            return i % 2 == 0 ? plain(i)
                              : Json{{"name", fmt::format("X{}", i)},
                                     {"valueFrom", {{"fileKeyRef", {{"volumeName", "keyshepherd-env"}}}}}};
        });
        first["volumeMounts"] = list(n, [](std::size_t i) {
            return Json{{"name", i % 2 == 0 ? "data" : "keyshepherd-env"},
                        {"mountPath", fmt::format("/{}", i)}};
        });
        pod_of(object)["volumes"] = list(n, [](std::size_t i) {
            return Json{{"name", i % 2 == 0 ? fmt::format("v{}", i) : "keyshepherd-env"}};
        });
        const auto names = [n](const char* form) {
            return list(n, [form](std::size_t i) { return fmt::format(fmt::runtime(form), i); });
        };
        const Json marker = {{"v", 1},
                             {"by", "0"},
                             {"wiring", "envfile"},
                             {"containers", names("n{}")},
                             {"mounted", names("c{}")},
                             {"wrapped", names("c{}")},
                             {"entrypoints", names("c{}")},
                             {"made", names("containers/c{}/env")},
                             {"madeOfNull", names("containers/u{}/env")},
                             {"env", {{"containers", {{"c0", {{"X1", nullptr}}}}}}}};
        object["metadata"]["annotations"][annotation + "inject"] = "false";
        object["spec"]["template"]["metadata"]["annotations"][annotation + "injected"] = marker.dump();
        return std::pair(object, Json());
    });
}

}  // namespace
}  // namespace keyshepherd::cost
