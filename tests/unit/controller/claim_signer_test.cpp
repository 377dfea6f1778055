#include "claim_signer.hpp"

#include <gtest/gtest.h>

#include <string>

namespace keyshepherd::controller {
namespace {

const kube::Json facts = {{"claim", "https://vault:8200 sys/policies/acl/a"}};

TEST(ClaimSigner, ProvesNothingWithoutAKey) {
    const ClaimSigner seal;
    EXPECT_EQ(seal.mark("uid", "claim"), "");
    EXPECT_FALSE(seal.is_mark("", "uid", "claim"));
    EXPECT_EQ(seal.seal("uid", facts), "");
    EXPECT_FALSE(seal.is_seal("", "uid", facts));
    EXPECT_EQ(seal.fingerprint("kv/key", {{"api_key", "sk"}}), "");
}

class OpenSeal : public testing::Test {
protected:
    static ClaimSigner opened(char key, const char* cluster) {
        ClaimSigner seal;
        seal.open(std::string(64, key), cluster);
        return seal;
    }
    const ClaimSigner signer_ = opened('a', "cluster-1");
};

TEST_F(OpenSeal, KnowsItsOwn) {
    EXPECT_TRUE(signer_.is_mark(signer_.mark("uid", "claim"), "uid", "claim"));
    EXPECT_TRUE(signer_.is_seal(signer_.seal("uid", facts), "uid", facts));
    EXPECT_EQ(signer_.mark("uid", "claim").size(), 64U);
}

TEST_F(OpenSeal, IsNotThatOfAnotherResourceClaimClusterOrKey) {
    const std::string mark = signer_.mark("uid", "claim");
    EXPECT_FALSE(signer_.is_mark(mark, "other", "claim"));
    EXPECT_FALSE(signer_.is_mark(mark, "uid", "other"));
    EXPECT_FALSE(opened('a', "cluster-2").is_mark(mark, "uid", "claim"));
    EXPECT_FALSE(opened('b', "cluster-1").is_mark(mark, "uid", "claim"));
    const std::string seal = signer_.seal("uid", facts);
    EXPECT_FALSE(signer_.is_seal(seal, "other", facts));
    EXPECT_FALSE(signer_.is_seal(seal, "uid", {{"claim", "https://vault:8200 sys/policies/acl/b"}}));
    EXPECT_FALSE(opened('a', "cluster-2").is_seal(seal, "uid", facts));
    EXPECT_FALSE(opened('b', "cluster-1").is_seal(seal, "uid", facts));
}

TEST_F(OpenSeal, KeepsApartWhatItCovers) {
    EXPECT_NE(signer_.mark("a\nb", "c"), signer_.mark("a", "b\nc"));
    EXPECT_FALSE(signer_.is_seal(signer_.mark("uid", "x"), "uid", "x")) << "a mark is no seal";
}

TEST_F(OpenSeal, TellsTheValuesOfASecretApart) {
    const auto of = [&](const char* path, const kube::Json& fields) {
        return signer_.fingerprint(path, fields);
    };
    const std::string made = of("kv/key", {{"a", "1"}, {"b", "2"}});
    EXPECT_EQ(made.size(), 64U);
    EXPECT_EQ(of("kv/key", {{"b", "2"}, {"a", "1"}}), made);
    EXPECT_NE(of("kv/key", {{"a", "1"}, {"b", "3"}}), made);
    EXPECT_NE(of("kv/key", {{"a", "1"}, {"c", "2"}}), made);
    EXPECT_NE(of("kv/key", {{"a", "11:b1:2"}}), made) << "lengths keep the parts apart";
    EXPECT_NE(of("kv/other", {{"a", "1"}, {"b", "2"}}), made);
    EXPECT_NE(opened('b', "cluster-1").fingerprint("kv/key", {{"a", "1"}, {"b", "2"}}), made);
}

}  // namespace
}  // namespace keyshepherd::controller
