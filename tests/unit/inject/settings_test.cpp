// What an installation gives by flag: what is refused, and that a refusal names the flag and what would be
// right.
#include <keyshepherd/inject/settings.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace keyshepherd::inject {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

std::vector<std::string> faults_with(const std::function<void(Settings&)>& change) {
    Settings settings;
    change(settings);
    return faults_of(settings);
}

TEST(Settings, TheDefaultsAreGood) {
    EXPECT_THAT(faults_of({}), IsEmpty());
}

TEST(Settings, NoRegistryNamespaceIsAssumedForTheLauncher) {
    EXPECT_EQ(Settings{}.image, "");
}

TEST(Settings, EveryFaultNamesItsFlagAndWhatWouldBeRight) {
    struct Row {
        std::function<void(Settings&)> change;
        const char* flag;
        const char* right;
    };
    const std::vector<Row> rows = {
        {[](Settings& s) { s.image = "Keyshepherd"; }, "--image: invalid value", "must be an image such as"},
        {[](Settings& s) { s.image = "k@sha256:00"; }, "--image: invalid value", "@sha256:<64 hex digits>"},
        {[](Settings& s) { s.bao_image = "b:1@sha512:00"; }, "--bao-image: invalid value",
         "@sha256:<64 hex digits>"},
        {[](Settings& s) { s.bao_image = "a b"; }, "--bao-image: invalid value", "must be an image such as"},
        {[](Settings& s) { s.vault_image = ""; }, "--vault-image: invalid value", "must be an image such as"},
        {[](Settings& s) { s.agent.cpu_request = "12x"; }, "--agent-cpu-request: invalid value \"12x\"",
         "100m"},
        {[](Settings& s) { s.agent.cpu_limit = ""; }, "--agent-cpu-limit: invalid value", "100m"},
        {[](Settings& s) { s.agent.memory_request = "64mb"; }, "--agent-memory-request: invalid value",
         "64Mi"},
        {[](Settings& s) { s.agent.memory_limit = "-1"; }, "--agent-memory-limit: invalid value", "64Mi"},
        {[](Settings& s) { s.agent.cpu_request = "1"; }, "--agent-cpu-request: 1 exceeds", "raise"},
        {[](Settings& s) { s.agent.memory_limit = "1Mi"; }, "--agent-memory-request: 64Mi exceeds", "raise"},
        {[](Settings& s) { s.agent_user = -1; }, "--agent-run-as-user: invalid value -1",
         "from 1 to 2147483647"},
        {[](Settings& s) { s.agent_user = 0; }, "--agent-run-as-user: invalid value 0",
         "from 1 to 2147483647"},
        {[](Settings& s) { s.agent_group = 1L << 31; }, "--agent-run-as-group: invalid value",
         "from 1 to 2147483647"},
        {[](Settings& s) { s.lowest_kubelet = {1, 36}; }, "--min-kubelet-version: kubelet 1.36 is newer",
         "oldest node"},
        {[](Settings& s) { s.lowest_kubelet = {1, 31}; },
         "--min-kubelet-version: kubelet 1.31 is more than 3 minor versions", "oldest node"},
        {[](Settings& s) { s.allowed_vault_addresses = {"vault:8200"}; },
         "--allowed-vault-address: invalid value", "https://*.vault.example:8200"},
        {[](Settings& s) { s.allowed_vault_addresses = {"https://vault:*"}; },
         "--allowed-vault-address: invalid value", "https://*.vault.example:8200"},
        {[](Settings& s) { s.allowed_token_audiences = {"a b"}; }, "--allowed-token-audience: invalid value",
         "such as vault"},
        {[](Settings& s) { s.allowed_token_audiences = {}; }, "--allowed-token-audience: must not be empty",
         "vault"},
    };
    for (const Row& row : rows)
        EXPECT_THAT(faults_with(row.change), ElementsAre(AllOf(StartsWith(row.flag), HasSubstr(row.right))));
}

TEST(Settings, WhatIsAtTheEdgeIsGood) {
    EXPECT_THAT(
        faults_with([](Settings& s) {
            s.lowest_kubelet = {1, 32};
            s.agent = {
                .cpu_request = "none", .cpu_limit = "1m", .memory_request = "1Gi", .memory_limit = "1024Mi"};
            s.allowed_vault_addresses = {"https://*.example:8200", "http://127.0.0.1:8200"};
            s.image = "registry.example:5000/keyshepherd:0.1.0@sha256:" + std::string(64, 'a');
            s.vault_image = "hashicorp/vault@sha256:" + std::string(64, '0');
            s.agent_user = 2147483647;
        }),
        IsEmpty());
}

TEST(Settings, AllFaultsAreSaidAtOnce) {
    EXPECT_EQ(faults_with([](Settings& s) {
                  s.image = "a b";
                  s.agent_user = -5;
                  s.agent.cpu_limit = "much";
              }).size(),
              3U);
}

}  // namespace
}  // namespace keyshepherd::inject
