#include <keyshepherd/planner/clock_skew.hpp>
#include <keyshepherd/planner/status.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace keyshepherd::planner {
namespace {

Json condition(const Json& status, std::string_view type) {
    for (const Json& each : status.at("conditions"))
        if (each.at("type") == type) return each;
    return nullptr;
}

const StatusUpdate equal{.ready = Truth::yes,
                         .reason = "Reconciled",
                         .message = "Vault matches spec",
                         .synced = true,
                         .drifted = false};

Error sealed_vault() {
    Error error(Errc::unavailable, "GET sys/auth: Vault returned 503");
    error.detail = Detail::sealed;
    return error;
}

TEST(FindingOf, DecidesByCodeAndNeverByText) {
    EXPECT_EQ(status_update_of(sealed_vault()).reason, "VaultSealed");
    for (const auto& [detail, field] :
         {std::pair(Detail::unknown_ca, "set spec.ca of the VaultConnection"),
          std::pair(Detail::other_name, "set spec.tlsServerName of the VaultConnection")}) {
        Error error(Errc::unavailable, "certificate verify failed");
        error.detail = detail;
        const StatusUpdate found = status_update_of(error);
        EXPECT_EQ(found.reason, "CertificateNotTrusted");
        EXPECT_EQ(found.ready, Truth::no);
        EXPECT_THAT(found.message, testing::HasSubstr(field));
        EXPECT_TRUE(concerns_connection(error));
    }
    // The path of a request is in the message, and a tenant chooses it.
    EXPECT_EQ(status_update_of(Error(Errc::unavailable, "GET kv/data/sealed: Vault returned 502")).reason,
              "VaultUnavailable");
}

TEST(Status, SaysNothingNewTwice) {
    const Json first = status_after(nullptr, equal, 3, "2026-01-01T00:00:00Z");
    EXPECT_EQ(status_after(first, equal, 3, "2026-01-02T00:00:00Z"), first);
    EXPECT_EQ(first["observedGeneration"], 3);
    EXPECT_EQ(condition(first, "Drifted"), nullptr) << "an abnormal condition is absent while it never was";
}

TEST(Status, ATransitionTimeMovesOnlyWithTheStatus) {
    const Json first = status_after(nullptr, equal, 1, "2026-01-01T00:00:00Z");
    const Json edited = status_after(first, equal, 2, "2026-01-02T00:00:00Z");
    EXPECT_EQ(condition(edited, "Ready")["observedGeneration"], 2);
    EXPECT_EQ(condition(edited, "Ready")["lastTransitionTime"], "2026-01-01T00:00:00Z");
    const Json sealed = status_after(edited, status_update_of(sealed_vault()), 2, "2026-01-03T00:00:00Z");
    EXPECT_EQ(condition(sealed, "Ready")["reason"], "VaultSealed");
    EXPECT_EQ(condition(sealed, "Ready")["status"], "Unknown");
    EXPECT_EQ(condition(sealed, "Ready")["lastTransitionTime"], "2026-01-03T00:00:00Z");
    EXPECT_EQ(condition(sealed, "Synced"), condition(edited, "Synced")) << "what was known of Vault stays";
}

TEST(Status, HasCountsAndConditionsOfItsOwn) {
    StatusUpdate seen{.ready = Truth::yes, .reason = "KeySeen", .counts = {{"keyVersion", 3}, {"users", 0}}};
    seen.others = {{.type = "KeyValid", .truth = Truth::no, .reason = "KeyRefused", .message = "401"}};
    const Json first = status_after(nullptr, seen, 1, "2026-01-01T00:00:00Z");
    EXPECT_EQ(first["keyVersion"], 3);
    EXPECT_EQ(first["users"], 0);
    EXPECT_EQ(condition(first, "KeyValid")["status"], "False");
    EXPECT_EQ(status_after(first, seen, 1, "2026-01-02T00:00:00Z"), first);
    seen.others.clear();
    EXPECT_EQ(status_after(first, seen, 1, "2026-01-02T00:00:00Z"), first) << "not tried this time: it stays";
    seen.counts = {{"users", 0}};
    seen.gone = {"KeyValid", "keyVersion"};
    const Json after = status_after(first, seen, 1, "2026-01-03T00:00:00Z");
    EXPECT_EQ(condition(after, "KeyValid"), nullptr);
    EXPECT_FALSE(after.contains("keyVersion"));
}

TEST(Status, KeepsFactsAndWhatOthersWrote) {
    StatusUpdate update = equal;
    update.facts = {{"claim", "vault sys/policies/acl/x"}, {"roleID", ""}};
    update.changed = true;
    const Json status = status_after({{"roleID", "kept"}, {"foreign", 1}}, update, 1, "2026-01-01T00:00:00Z");
    EXPECT_EQ(status["claim"], "vault sys/policies/acl/x");
    EXPECT_EQ(status["roleID"], "kept");
    EXPECT_EQ(status["foreign"], 1);
    EXPECT_EQ(status["lastChange"], "2026-01-01T00:00:00Z");
    EXPECT_EQ(status_after(status, equal, 1, "2026-01-09T00:00:00Z")["lastChange"], "2026-01-01T00:00:00Z");
}

TEST(Status, DriftComesAndIsTakenBack) {
    StatusUpdate drifted{.ready = Truth::yes,
                         .reason = "DriftDetected",
                         .message = "token_ttl",
                         .synced = false,
                         .drifted = true};
    const Json found = status_after(nullptr, drifted, 1, "2026-01-01T00:00:00Z");
    EXPECT_EQ(condition(found, "Drifted")["status"], "True");
    EXPECT_EQ(condition(found, "Synced")["status"], "False");
    const Json repaired = status_after(found, equal, 1, "2026-01-02T00:00:00Z");
    EXPECT_EQ(condition(repaired, "Drifted")["status"], "False");
    EXPECT_EQ(ready_reason(repaired), "Reconciled");
}

TEST(StatusUpdate, TellsVaultsTroubleFromTheResources) {
    const auto of = [](Errc code, const char* text) { return status_update_of(Error(code, text)); };
    EXPECT_EQ(of(Errc::forbidden, "x").reason, "PermissionDenied");
    EXPECT_EQ(of(Errc::disallowed, "x").reason, "AddressNotAllowed");
    EXPECT_EQ(of(Errc::disallowed, "x").ready, Truth::no);
    EXPECT_EQ(of(Errc::unlabeled, "x").reason, "LoginNotLabeled");
    EXPECT_EQ(of(Errc::unlabeled, "x").ready, Truth::no);
    EXPECT_EQ(of(Errc::not_found, "x").reason, "MountNotFound");
    EXPECT_EQ(of(Errc::invalid, "x").reason, "InvalidSpec");
    EXPECT_EQ(of(Errc::unauthorized, "x").reason, "AuthFailed");
    EXPECT_EQ(of(Errc::timeout, "x").reason, "VaultUnavailable");
    EXPECT_EQ(of(Errc::throttled, "x").ready, Truth::unknown);
    EXPECT_EQ(of(Errc::forbidden, "x").ready, Truth::no);
}

TEST(SealedFacts, AreAllThatTheOperatorActsOn) {
    const auto& role = *resources::find_kind("VaultAppRole");
    const Json status = {{"claim", "v x"}, {"roleID", "r"},       {"cutOffEntity", "e"},
                         {"seal", "s"},    {"lastChange", "now"}, {"conditions", Json::array()}};
    EXPECT_EQ(sealed_facts(role, status), (Json{{"claim", "v x"}, {"roleID", "r"}, {"cutOffEntity", "e"}}));
    EXPECT_EQ(without_facts(role, status), (Json{{"lastChange", "now"}, {"conditions", Json::array()}}));
    EXPECT_TRUE(sealed_facts(role, nullptr).empty());
    EXPECT_TRUE(sealed_facts(role, {{"claim", ""}}).empty());
    EXPECT_TRUE(sealed_facts(*resources::find_kind("VaultConnection"), {{"vaultVersion", "1"}}).empty());
    for (const resources::Kind& kind : resources::kinds()) {
        if (!kind.in_vault || kind.name == "VaultConnection") continue;
        for (const std::string_view fact : kind.facts)
            EXPECT_EQ(sealed_facts(kind, {{std::string(fact), "x"}}).size(), fact == "seal" ? 0U : 1U)
                << kind.name << " " << fact;
    }
}

TEST(SealedFacts, TheConditionNamesThoseThatCountForNothing) {
    const Condition told =
        status_not_trusted(*resources::find_kind("VaultAppRole"), {{"claim", "v x"}, {"roleID", "r"}});
    EXPECT_EQ(told.type, "StatusTrusted");
    EXPECT_EQ(told.truth, Truth::no);
    EXPECT_THAT(told.message, testing::StartsWith("status.claim, roleID: "));
}

TEST(Errors, OfTheLoginConcernTheConnection) {
    for (const Errc code :
         {Errc::unauthorized, Errc::unlabeled, Errc::unavailable, Errc::timeout, Errc::throttled})
        EXPECT_TRUE(concerns_connection(Error(code, "x")));
    for (const Errc code : {Errc::forbidden, Errc::not_found, Errc::invalid, Errc::disallowed})
        EXPECT_FALSE(concerns_connection(Error(code, "x")));
}

TEST(ClockCondition, TellsWhichClocksDifferAndInWhichDirection) {
    EXPECT_FALSE(clock_condition({}));
    EXPECT_FALSE(clock_condition({.vault = 30, .api_server = -30})) << "tolerated";
    const auto ahead = clock_condition({.vault = 31, .api_server = 2});
    ASSERT_TRUE(ahead);
    EXPECT_EQ(ahead->type, "ClockSkewed");
    EXPECT_EQ(ahead->truth, Truth::yes);
    EXPECT_THAT(ahead->message, testing::HasSubstr("more than 30 s ahead of Vault's. "));
    const auto both = clock_condition({.vault = 3600, .api_server = -3600});
    ASSERT_TRUE(both);
    EXPECT_THAT(
        both->message,
        testing::HasSubstr("more than 30 s ahead of Vault's and more than 30 s behind the API server's"));
    EXPECT_EQ(both->message, clock_condition({.vault = 3601, .api_server = -3599})->message)
        << "a measurement that differs a little writes no status";
}

}  // namespace
}  // namespace keyshepherd::planner
