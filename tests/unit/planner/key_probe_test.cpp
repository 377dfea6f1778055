#include <keyshepherd/planner/key_probe.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace keyshepherd::planner {
namespace {

const std::vector<std::string> hosts = {"api.holysheep.ai", "127.0.0.1:8443"};

std::string target(std::string_view url) {
    const auto found = probe_target(url, hosts);
    return found ? found->origin + found->path : found.error().reason;
}

TEST(ProbeTarget, IsBelowTheBaseUrl) {
    EXPECT_EQ(target("https://api.holysheep.ai/v1"), "https://api.holysheep.ai/v1/models");
    EXPECT_EQ(target("https://api.holysheep.ai/v1/"), "https://api.holysheep.ai/v1/models");
    EXPECT_EQ(target("https://API.holysheep.ai:443"), "https://API.holysheep.ai:443/models");
    EXPECT_EQ(target("https://127.0.0.1:8443/v1"), "https://127.0.0.1:8443/v1/models");
}

TEST(ProbeTarget, IsAnAllowedHostAndPortOnly) {
    for (const char* url :
         {"https://evil.example/v1", "https://api.holysheep.ai.evil.example/", "https://127.0.0.1/v1",
          "https://api.holysheep.ai:8443/v1", "https://localhost:8443"})
        EXPECT_EQ(target(url), "HostNotAllowed") << url;
    EXPECT_FALSE(probe_target("https://api.holysheep.ai", {}));
}

TEST(ProbeTarget, MayBeAPartOfOneLabel) {
    const std::vector<std::string> pattern = {"*.api.example"};
    EXPECT_TRUE(probe_target("https://eu.api.example/v1", pattern));
    for (const char* url : {"https://api.example", "https://a.eu.api.example", "https://eu.api.example:8443"})
        EXPECT_FALSE(probe_target(url, pattern)) << url;
}

TEST(ProbeTarget, IsNothingElseThanAnHttpsAddress) {
    for (const char* url :
         {"", "http://api.holysheep.ai/v1", "https://", "https://a@api.holysheep.ai/",
          "https://api.holysheep.ai/v1?x=", "https://api.holysheep.ai/../x", "https://api.holysheep.ai/a b",
          "https://api.holysheep.ai/x#", "sk-secret", "https://api.holysheep.ai\\@evil.example/"})
        EXPECT_EQ(target(url), "NoAddress") << url;
}

TEST(ProbeTarget, SaysNothingOfASecretsText) {
    for (const char* url : {"sk-secret", "https://sk-secret/", "https://sk-secret.example/v1"})
        EXPECT_THAT(probe_target(url, hosts).error().message, testing::Not(testing::HasSubstr("secret")));
}

TEST(ProbeTarget, IsOfAnIpv6AddressInBrackets) {
    const std::vector<std::string> allowed = {"[::1]:8443", "[2001:db8::1]"};
    EXPECT_EQ(probe_target("https://[::1]:8443/v1", allowed)->origin, "https://[::1]:8443");
    EXPECT_EQ(probe_target("https://[2001:DB8::1]:443", allowed)->path, "/models");
    EXPECT_FALSE(probe_target("https://[::1]/v1", allowed));
}

TEST(ProbeHost, IsAHostWithOrWithoutAPort) {
    for (const char* host :
         {"api.holysheep.ai", "api.holysheep.ai:8443", "*.holysheep.ai", "127.0.0.1:1", "[::1]", "[::1]:443"})
        EXPECT_TRUE(is_probe_host(host)) << host;
    for (const char* host :
         {"", ":443", "https://api.holysheep.ai", "api.holysheep.ai/v1",
          "api.holysheep.ai:", "api.holysheep.ai:0", "api.holysheep.ai:65536", "::1", "[]"})
        EXPECT_FALSE(is_probe_host(host)) << host;
}

}  // namespace
}  // namespace keyshepherd::planner
