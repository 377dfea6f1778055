#include "credentials.hpp"

#include <keyshepherd/core/base64.hpp>
#include <keyshepherd/kube/token.hpp>

#include <gtest/gtest.h>

#include <algorithm>

namespace keyshepherd::kube {
namespace {

using Audiences = std::vector<std::string>;

std::string jwt(std::string_view claims) {
    std::string payload = encode_base64(claims);
    std::ranges::replace(payload, '+', '-');
    std::ranges::replace(payload, '/', '_');
    while (payload.ends_with('=')) payload.pop_back();
    return "eyJhbGciOiJSUzI1NiJ9." + payload + ".c2ln";
}

TEST(TokenAudiences, AreTheClaim) {
    EXPECT_EQ(token_audiences(jwt(R"({"aud":["https://kubernetes.default.svc","k3s"],"sub":"x"})")),
              (Audiences{"https://kubernetes.default.svc", "k3s"}));
    EXPECT_EQ(token_audiences(jwt(R"({"aud":"one"})")), Audiences{"one"});
    EXPECT_EQ(token_audiences(jwt(R"({"aud":"\u00ff\u00fe?>~~"})")), Audiences{"\u00ff\u00fe?>~~"})
        << "base64url";
}

TEST(TokenAudiences, AreNoneOfWhatIsNoToken) {
    for (const std::string& text :
         Audiences{"", "a", "a.b", "a.b.c", "a.!!.c", "..", jwt("[]"), jwt("{}"), jwt("{"),
                   jwt(R"({"aud":7})"), jwt(R"({"aud":[7]})"), jwt(R"({"aud":null})")})
        EXPECT_EQ(token_audiences(text), Audiences{}) << text;
}

TEST(ApiServerAudiences, AreOfOurOwnToken) {
    Config config;
    EXPECT_EQ(api_server_audiences(config), Audiences{});
    config.token = jwt(R"({"aud":["https://kubernetes.default.svc"]})");
    EXPECT_EQ(api_server_audiences(config), Audiences{"https://kubernetes.default.svc"});
    config.token_file = "/nowhere/token";
    EXPECT_EQ(api_server_audiences(config), Audiences{}) << "the file is what is used";
}

}  // namespace
}  // namespace keyshepherd::kube
