#include <keyshepherd/core/kubernetes_version.hpp>

#include <gtest/gtest.h>

#include <string>

namespace keyshepherd {
namespace {

struct Good {
    const char* text;
    KubernetesVersion version;
};

class GoodVersion : public testing::TestWithParam<Good> {};

TEST_P(GoodVersion, IsRead) {
    const auto version = parse_kubernetes_version(GetParam().text);
    ASSERT_TRUE(version) << version.error().message;
    EXPECT_EQ(*version, GetParam().version);
    EXPECT_EQ(parse_kubernetes_version(version->text()).value(), *version);
}

INSTANTIATE_TEST_SUITE_P(KubernetesVersion, GoodVersion,
                         testing::Values(Good{"1.35", {1, 35}}, Good{"v1.35.4", {1, 35}},
                                         Good{"1.35+", {1, 35}}, Good{"v1.35.4-gke.1", {1, 35}},
                                         Good{"1.29.0", {1, 29}}, Good{"v1.30.5-eks-ce1d5eb", {1, 30}},
                                         Good{"v1.31.1+k3s1", {1, 31}}, Good{"2.0", {2, 0}},
                                         Good{"1.9", {1, 9}}, Good{"1.34-rc.0", {1, 34}}));

class BadVersion : public testing::TestWithParam<const char*> {};

TEST_P(BadVersion, IsRefusedWithWhatWouldBeRight) {
    const auto version = parse_kubernetes_version(GetParam());
    ASSERT_FALSE(version) << version->text();
    EXPECT_EQ(version.error().code, Errc::invalid);
    EXPECT_EQ(version.error().message, "invalid Kubernetes version '" + std::string(GetParam()) +
                                           "': must be MAJOR.MINOR, such as 1.35");
}

INSTANTIATE_TEST_SUITE_P(KubernetesVersion, BadVersion,
                         testing::Values("", "v", "1", "1.", ".35", "v.35", "latest", "1.x", "x.35", "-1.35",
                                         "1.-35", "+1.35", "1.+35", " 1.35", "1.35 ", "vv1.35", "V1.35",
                                         "1,35", "1.35beta", "1.99999999999", "99999999999.1", "0x1.35"));

TEST(KubernetesVersion, ComparesByNumber) {
    EXPECT_LT((KubernetesVersion{1, 9}), (KubernetesVersion{1, 10}));
    EXPECT_LT((KubernetesVersion{1, 35}), (KubernetesVersion{2, 0}));
    EXPECT_GE((KubernetesVersion{1, 35}), (KubernetesVersion{1, 35}));
    EXPECT_EQ((KubernetesVersion{1, 35}).text(), "1.35");
}

}  // namespace
}  // namespace keyshepherd
