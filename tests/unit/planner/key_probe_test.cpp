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

Resource provider(Json probe) {
    auto reading = resources::read({{"apiVersion", "keyshepherd.dev/v1alpha1"},
                                    {"kind", "AIProvider"},
                                    {"metadata", {{"name", "acme"}, {"namespace", "shop"}}},
                                    {"spec",
                                     {{"path", "ai-apis/data/a"},
                                      {"variables", Json::array({{{"name", "A"}, {"key", "api_key"}}})},
                                      {"keyProbe", std::move(probe)}}}},
                                   "");
    for (const auto& fault : reading.faults) ADD_FAILURE() << fault.field << " " << fault.message;
    return reading.resource;
}

const KeyPlace place{.namespaces = {}, .path = "ai-apis/data/a", .key = "api_key"};
const KeyVersion first{1, 100};
const KeyVersion second{2, 200};

Condition accepted() {
    return {
        .type = "KeyValid", .truth = Truth::yes, .reason = "KeyAccepted", .message = "a accepted the key"};
}
Condition refused() {
    return {.type = "KeyValid", .truth = Truth::no, .reason = "KeyRefused", .message = "a rejected the key"};
}

class Trials : public testing::Test {
protected:
    void note(const KeyVersion& key, Condition condition) {
        trials[trial_name(place)] = next_trial(find_trial(trials, probing, place, key), key,
                                               trial_request(probing, place), std::move(condition));
    }
    std::string held(const KeyVersion& key, const Resource& of) const {
        const auto why = hold(trials, of, place, key);
        return why ? why->reason : "";
    }
    Condition validity(const KeyVersion& key) const {
        return key_validity(probing, {place}, {{place.path, {.version = key}}}, trials);
    }

    const Resource probing = provider({{"enabled", true}});
    KeyTrials trials;
};

TEST_F(Trials, SayNothingOfAVersionThatWasNotTried) {
    EXPECT_EQ(validity(first).truth, Truth::unknown);
    note(first, accepted());
    EXPECT_EQ(validity(first).truth, Truth::yes);
    EXPECT_EQ(validity(first).message, "ai-apis/data/a: version 1: a accepted the key");
    EXPECT_EQ(validity(second).truth, Truth::unknown);
    EXPECT_EQ(validity(second).reason, "KeyUntried");
    EXPECT_EQ(validity({1, 101}).truth, Truth::unknown) << "deleted and written anew";
    const KeyView none{.version = {}, .reason = "KeyDeleted", .message = "deleted"};
    EXPECT_EQ(key_validity(probing, {place}, {{place.path, none}}, trials).truth, Truth::unknown);
}

TEST_F(Trials, AreForgottenWhenTheKeyIsTriedOtherwise) {
    note(first, accepted());
    const Resource elsewhere = provider({{"enabled", true}, {"baseURL", "https://other.example/v1"}});
    EXPECT_EQ(find_trial(trials, elsewhere, place, first), nullptr);
    KeyPlace another = place;
    another.key = "other_key";
    EXPECT_EQ(find_trial(trials, probing, another, first), nullptr);
}

TEST_F(Trials, HoldAVersionBackUntilItIsTriedAndWhileItIsRefused) {
    EXPECT_EQ(held(first, probing), "KeyUntried");
    note(first, accepted());
    EXPECT_EQ(held(first, probing), "");
    EXPECT_EQ(held(second, probing), "KeyUntried");
    note(second, refused());
    EXPECT_EQ(held(second, probing), "KeyRefused");
    note(second, not_probed("Unreachable", "it is away"));
    EXPECT_EQ(held(second, probing), "KeyRefused") << "that nobody answers does not make it good";
    EXPECT_EQ(validity(second).truth, Truth::unknown);
    note(second, accepted());
    EXPECT_EQ(held(second, probing), "");
    note({3, 300}, not_probed("Unreachable", "it is away"));
    EXPECT_EQ(held({3, 300}, probing), "") << "it was tried once";
}

TEST_F(Trials, HoldNothingBackWhereTheProviderSaysSo) {
    const Resource frank = provider({{"enabled", true}, {"blockRollouts", false}});
    EXPECT_EQ(held(first, frank), "");
    EXPECT_EQ(held(first, provider({{"enabled", false}})), "");
}

TEST_F(Trials, OfSeveralPlacesTheWorstCounts) {
    KeyPlace other = place;
    other.path = "ai-apis/data/b";
    KeyPlace far = place;
    far.path = "ai-apis/data/far";
    far.elsewhere = true;
    const std::map<std::string, KeyView> views = {{place.path, {.version = first}},
                                                  {other.path, {.version = second}}};
    const auto whole = [&] { return key_validity(probing, {other, far, place, place}, views, trials); };
    note(first, accepted());
    EXPECT_EQ(whole().truth, Truth::unknown);
    trials[trial_name(other)] = next_trial(nullptr, second, trial_request(probing, other), accepted());
    EXPECT_EQ(whole().truth, Truth::yes);
    EXPECT_EQ(whole().message,
              "ai-apis/data/b: version 2: a accepted the key; ai-apis/data/a: version 1: a accepted the key");
    trials[trial_name(other)] = next_trial(nullptr, second, trial_request(probing, other), refused());
    EXPECT_EQ(whole().truth, Truth::no);
    EXPECT_THAT(whole().message, testing::HasSubstr("ai-apis/data/b: version 2: a rejected the key"));
}

TEST(UnsendableKey, IsNamedByItsFieldAndNeverShown) {
    EXPECT_FALSE(unsendable_key("api_key", "sk-abc_123"));
    EXPECT_EQ(unsendable_key("api_key", "")->reason, "KeyMissing");
    for (const std::string& value :
         {std::string("sk-abc\n"), std::string("sk-abc\r\n"), std::string("sk abc"),
          std::string("sk-\xc3\xa9"), std::string(10'000, 'a')}) {
        const auto why = unsendable_key("api_key", value);
        ASSERT_TRUE(why);
        EXPECT_EQ(why->truth, Truth::no);
        EXPECT_EQ(why->reason, "KeyMalformed");
        EXPECT_THAT(why->message,
                    testing::AllOf(testing::HasSubstr("api_key"), testing::Not(testing::HasSubstr("sk-"))));
    }
    EXPECT_THAT(unsendable_key("api_key", "sk-abc\n")->message, testing::HasSubstr("ends with a line break"));
}

}  // namespace
}  // namespace keyshepherd::planner
