// References of images, and what happens where no image holds the launcher.
#include "names.hpp"
#include "support/settings.hpp"
#include "support/workload_generator.hpp"

#include <keyshepherd/inject/injector.hpp>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace keyshepherd::inject {
namespace {

const std::string hex(64, 'a');

TEST(Image, IsReadAsContainerRuntimesReadIt) {
    for (const std::string& good :
         {std::string("busybox"), std::string("openbao/openbao:2.7.2"), std::string("localhost/x"),
          std::string("localhost:5000/x:1"), std::string("host:5000"), std::string("x/a.b-c__d/e---f"),
          std::string("Registry.EXAMPLE/x"), std::string("[2001:db8::1]:5000/x"), "x@sha256:" + hex,
          "x:1@sha256:" + hex, "r.example:5000/a/b:v1.2_3-x@sha512:" + hex + hex,
          "x@sha384:" + hex + hex.substr(32), "x:" + std::string(128, 't'), std::string(255, 'x')})
        EXPECT_TRUE(is_image(good)) << good;
    for (const std::string& bad : {std::string(),
                                   std::string("a b"),
                                   std::string("X"),
                                   std::string("a/B"),
                                   std::string("/a"),
                                   std::string("a/"),
                                   std::string("a//b"),
                                   std::string("a:"),
                                   std::string(":1"),
                                   std::string("a:-1"),
                                   std::string("a:b:c"),
                                   std::string("-a"),
                                   std::string("a-"),
                                   std::string("a..b"),
                                   std::string("a___b"),
                                   std::string("a._b"),
                                   std::string("r.example:/a"),
                                   std::string("r.example:x/a"),
                                   std::string("r_.example/a"),
                                   std::string("[::1/a"),
                                   std::string("https://r.example/a"),
                                   std::string("a@"),
                                   std::string("a@sha256"),
                                   "@sha256:" + hex,
                                   "a@sha256:" + hex.substr(1),
                                   "a@sha256:" + hex + "a",
                                   "a@sha256:" + std::string(64, 'A'),
                                   "a@sha256:" + std::string(64, 'g'),
                                   "a@md5:" + hex.substr(32),
                                   "a@sha256:" + hex + ":1",
                                   "a@sha256:" + hex + "@sha256:" + hex,
                                   "a@SHA256:" + hex,
                                   "a@sha512:" + hex,
                                   "x:" + std::string(129, 't'),
                                   std::string(256, 'x'),
                                   std::string("a\nb"),
                                   std::string("a\"b"),
                                   std::string("ä")})
        EXPECT_FALSE(is_image(bad)) << bad;
}

Outcome injected_by(const std::string& wiring, const Settings& settings, const json::value* old = nullptr,
                    json::value* result = nullptr) {
    json::value workload = json::parse(fmt::format(
                                           R"({{"kind":"Deployment","metadata":{{"name":"a","annotations":{{
                        "keyshepherd.dev/inject":"true","keyshepherd.dev/wiring":"{}"}}}},
                        "spec":{{"template":{{"spec":{{"containers":[{{"name":"a","command":["/a"]}}]}}}}}}}})",
                                           wiring))
                               .value();
    Outcome outcome = inject(workload, {.kind = "Deployment", .workload_namespace = "shop", .old = old},
                             generate::catalog(), settings);
    if (result != nullptr) *result = workload;
    return outcome;
}

TEST(Image, IsAskedForOnlyWhereItIsNeeded) {
    for (const char* wiring : {"auto", "envfile", "exec", "file"}) {
        const Outcome outcome = injected_by(wiring, {});
        EXPECT_EQ(outcome.verdict, Verdict::denied) << wiring;
        ASSERT_EQ(outcome.faults.size(), 1U) << wiring;
        EXPECT_EQ(outcome.faults[0].field, "metadata.annotations[keyshepherd.dev/inject]");
        for (const char* part : {"keyshepherd-exec", "--image", "keyshepherd.dev/wiring: secret"})
            EXPECT_NE(outcome.faults[0].message.find(part), std::string::npos) << outcome.faults[0].message;
        EXPECT_EQ(injected_by(wiring, testing_support::settings()).verdict, Verdict::injected) << wiring;
    }
    EXPECT_EQ(injected_by("secret", {}).verdict, Verdict::injected);
}

TEST(Image, IsNotNeededForWhatIsStored) {
    json::value stored;
    injected_by("exec", testing_support::settings(), nullptr, &stored);
    json::value result;
    EXPECT_EQ(injected_by("exec", {}, &stored, &result).verdict, Verdict::injected);
    EXPECT_TRUE(json::equal(result, stored));
}

}  // namespace
}  // namespace keyshepherd::inject
