#include <keyshepherd/core/time.hpp>
#include <keyshepherd/planner/secret_id.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace keyshepherd::planner {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using What = SecretIdStep::What;

constexpr const char* us = "uid-1";
constexpr std::int64_t t0 = 1'800'000'000;

Resource make(Json more = Json::object(), Json annotations = Json::object()) {
    more["appRoleRef"] = {{"name", "r"}};
    auto reading = resources::read(
        {{"apiVersion", "keyshepherd.dev/v1alpha1"},
         {"kind", "VaultSecretID"},
         {"metadata",
          {{"name", "s"}, {"namespace", "ai"}, {"uid", us}, {"annotations", std::move(annotations)}}},
         {"spec", std::move(more)}},
        "ai");
    for (const auto& fault : reading.faults) ADD_FAILURE() << fault.field << " " << fault.message;
    return reading.resource;
}

SecretIdFacts facts(const Resource& resource, const char* accessor, std::int64_t created = t0,
                    std::int64_t expires = 0) {
    return {.accessor = accessor,
            .created = rfc3339(created),
            .expires = expires,
            .owner = us,
            .terms = secret_id_terms(resource),
            .issue = accessor};
}

// At rest: `a` is published and recorded, as next_step() records it.
struct Fixture {
    explicit Fixture(Json spec = Json::object(), std::int64_t expires = 0) : resource(make(std::move(spec))) {
        view.now = t0;
        view.secret = SecretState::ours;
        view.secret_uid = "secret-1";
        view.published = facts(resource, "a", t0, expires);
        record = step().record;
        EXPECT_EQ(record.accessor, "a");
    }
    // `b` has replaced it at t0 + 100, and the Secret has it.
    void rotate(std::int64_t expires = 0) {
        view.now = t0 + 100;
        view.published = facts(resource, "b", view.now, expires);
        record = step().record;
        EXPECT_EQ(record.previous, "a");
    }
    SecretIdStep step() const { return next_step(resource, us, record, view); }
    SecretIdStep step_at(std::int64_t now) {
        view.now = now;
        return step();
    }
    Resource resource;
    SecretIdRecord record;
    SecretIdView view;
};

// ---- the role-id

TEST(SecretIdStep, AnotherRoleIdIsPublishedAndRestartsTheTargetsOnce) {
    Fixture f({{"rolloutRestartTargets", Json::array({{{"kind", "Deployment"}, {"name", "d"}}})}});
    f.view.role_id = "first";
    ASSERT_EQ(f.step().what, What::record);
    EXPECT_EQ(f.step().record.role_id, "first");
    EXPECT_EQ(f.step().record.rollout, "") << "of a pair that has been good all the time";
    f.record = f.step().record;
    f.view.role_id = "second";
    f.view.secret = SecretState::stale;
    ASSERT_EQ(f.step().what, What::mend) << "no login succeeds until both halves are of the same role";
    f.view.secret = SecretState::ours;
    ASSERT_EQ(f.step().what, What::record);
    f.record = f.step().record;
    EXPECT_EQ(f.record.role_id, "second");
    EXPECT_EQ(f.record.accessor, "a") << "the secret-id is as good as before";
    EXPECT_NE(f.record.rollout, "");
    f.view.restarted = f.view.rolled_out = false;
    EXPECT_EQ(f.step().what, What::restart);
    f.view.restarted = true;
    EXPECT_EQ(f.step().what, What::rest);
    f.view.rolled_out = true;
    ASSERT_EQ(f.step().what, What::record);
    f.record = f.step().record;
    EXPECT_EQ(f.record.rollout, "");
    EXPECT_EQ(f.step().what, What::rest);
}

TEST(SecretIdStep, AnotherRoleIdRestartsNobodyWhereThereAreNoTargets) {
    Fixture f;
    f.view.role_id = "first";
    f.record = f.step().record;
    f.view.role_id = "second";
    ASSERT_EQ(f.step().what, What::record);
    f.record = f.step().record;
    EXPECT_EQ(f.record.rollout, "");
    EXPECT_EQ(f.step().what, What::rest);
}

// ---- the interval between two issues

SecretIdStep step_with(const Fixture& f, std::int64_t interval) {
    return next_step(f.resource, us, f.record, f.view, 30, interval);
}

TEST(SecretIdStep, TwoIssuesAreAnIntervalApart) {
    Fixture f;
    f.view.now = t0 + 4;
    f.view.published.reset();  // destroyed by somebody else
    const auto step = step_with(f, 10);
    ASSERT_EQ(step.what, What::delay);
    EXPECT_EQ(step.at, t0 + 10);
    EXPECT_THAT(step.why, HasSubstr("does not know"));
    f.view.now = t0 + 10;
    EXPECT_EQ(step_with(f, 10).what, What::draw);
    // What this process has issued counts, whatever the status says.
    f.view.last_issue = t0 + 5;
    EXPECT_EQ(step_with(f, 10).what, What::delay);
}

TEST(SecretIdStep, APairThatIsGoodRestsUntilTheNextIssue) {
    Fixture f;
    f.resource.rotate_now = "1";
    EXPECT_EQ(step_with(f, 10).what, What::rest);
    EXPECT_EQ(step_with(f, 10).at, t0 + 10);
    f.view.now = t0 + 10;
    EXPECT_EQ(step_with(f, 10).what, What::draw);
}

TEST(SecretIdStep, TheFirstIssueWaitsForNothing) {
    const Resource resource = make();
    SecretIdView view;
    view.now = t0;
    EXPECT_EQ(next_step(resource, us, {}, view, 30, 3600).what, What::draw);
}

TEST(SecretIdStep, AShortRotationPeriodShortensTheInterval) {
    Fixture f({{"rotationPeriod", "6s"}});
    f.view.now = seconds_since_epoch(f.record.next_rotation);
    EXPECT_EQ(step_with(f, 3600).what, What::draw);
}

TEST(SecretIdStep, AnIssueInTheFutureDelaysNothing) {
    Fixture f;
    f.record.issued_at = rfc3339(t0 + 86'400);
    f.view.published.reset();
    EXPECT_EQ(step_with(f, 10).what, What::draw) << "Vault's clock was set back by a day";
}

// ---- what comes first

TEST(SecretIdStep, SomebodyElsesSecretIsRefusedWhateverElseIsDue) {
    Fixture f;
    f.view.pending = f.view.drawn = true;
    f.view.secret = SecretState::foreign;
    EXPECT_EQ(f.step().what, What::refuse);
}

TEST(SecretIdStep, SomebodyElsesPendingSecretStopsNothingButANewOne) {
    Fixture f;
    f.view.pending_foreign = true;
    EXPECT_EQ(f.step().what, What::rest);
    f.resource.rotate_now = "now";
    EXPECT_EQ(f.step().what, What::refuse);
    f.record.previous = "old";
    f.record.rotated_at = rfc3339(t0 - 7200);
    f.record.overlap_until = rfc3339(t0 - 7000);
    EXPECT_NE(f.step().what, What::refuse) << "what is in overlap goes all the same";
}

TEST(SecretIdStep, TheFirstOneGoesThroughEveryStep) {
    const Resource resource = make({{"ttl", "1h"}});
    SecretIdRecord record;
    SecretIdView view;
    view.now = t0;
    const auto next = [&] { return next_step(resource, us, record, view); };
    EXPECT_EQ(next().what, What::draw);
    EXPECT_EQ(next().why, "first secret-id");
    view.pending = view.drawn = true;
    EXPECT_EQ(next().what, What::enroll);
    view.drawn = false;
    view.pending_facts = facts(resource, "a", t0, t0 + 3600);
    EXPECT_EQ(next().what, What::publish);
    view.secret = SecretState::ours;
    view.secret_uid = "secret-1";
    view.published = view.pending_facts;
    view.pending_is_published = true;
    ASSERT_EQ(next().what, What::record);
    record = next().record;
    EXPECT_EQ(record.accessor, "a");
    EXPECT_EQ(record.issued_at, rfc3339(t0));
    EXPECT_EQ(record.expires_at, rfc3339(t0 + 3600));
    EXPECT_EQ(record.secret_uid, "secret-1");
    EXPECT_EQ(record.previous, "");
    EXPECT_EQ(record.rollout, "") << "the first one restarts nobody";
    EXPECT_EQ(next().what, What::discard);
    view.pending = view.pending_is_published = false;
    EXPECT_EQ(next().what, What::rest);
    EXPECT_EQ(next().at, seconds_since_epoch(record.next_rotation));
    EXPECT_EQ(secret_id_record(Json(fields(record))), record);
}

// ---- the pending one

TEST(SecretIdStep, APendingValueThatThisProcessDidNotDrawIsNeverSent) {
    Fixture f;
    f.view.pending = true;
    EXPECT_EQ(f.step().what, What::discard) << "Vault does not know it: it may have been destroyed";
    f.view.drawn = true;
    EXPECT_EQ(f.step().what, What::enroll);
}

TEST(SecretIdStep, APendingOneIsPublishedOnlyWhenItIsGood) {
    Fixture f;
    f.view.pending = true;
    f.view.pending_facts = facts(f.resource, "b");
    EXPECT_EQ(f.step().what, What::publish);
    f.view.pending_facts->owner = "somebody else";
    EXPECT_EQ(f.step().what, What::discard);
    f.view.pending_facts = facts(f.resource, "b", t0 - 100, t0);
    EXPECT_EQ(f.step().what, What::discard) << "it has expired this second";
    f.view.pending_facts->expires = t0 + 1;
    EXPECT_EQ(f.step().what, What::publish);
    f.view.pending_facts = facts(make({{"ttl", "9h"}}), "b");
    EXPECT_EQ(f.step().what, What::discard) << "the spec is another by now";
    f.view.published.reset();
    EXPECT_EQ(f.step().what, What::publish) << "better than none";
    f.view.pending_facts->accessor = f.record.previous = "old";
    EXPECT_EQ(f.step().what, What::discard) << "that one was replaced";
}

TEST(SecretIdStep, ThePendingSecretGoesOnceTheStatusNamesItsValueOrItIsNoGood) {
    Fixture f;
    f.view.pending = f.view.pending_is_published = true;
    EXPECT_EQ(f.step().what, What::discard);
    f.view.published = facts(f.resource, "b");
    EXPECT_EQ(f.step().what, What::record) << "before that, it is the only one that knows";
    f.record.previous = "b";
    EXPECT_EQ(f.step().what, What::discard) << "or the next one could not be drawn";
    f.view.published.reset();
    EXPECT_EQ(f.step().what, What::discard);
}

// ---- why a new one is drawn

TEST(SecretIdStep, WhatIsNoGoodIsReplacedAndSaysWhy) {
    Fixture f(Json::object(), t0 + 1000);
    EXPECT_EQ(f.step_at(t0 + 1000).why, "the secret-id in the Secret expired");
    EXPECT_EQ(f.step().what, What::draw);
    f.view.now = t0;
    f.view.published->owner = "somebody else";
    EXPECT_EQ(f.step().why, "the secret-id in the Secret was not issued for this resource");
    f.view.published.reset();
    EXPECT_EQ(f.step().why, "Vault does not know the secret-id in the Secret");
    f.view.secret = SecretState::absent;
    EXPECT_EQ(f.step().why, "the Secret was missing");
}

TEST(SecretIdStep, TheOneInOverlapGoesBeforeAThirdOneIsDrawn) {
    Fixture f;
    f.rotate();
    f.view.secret = SecretState::absent;
    const SecretIdStep step = f.step();
    EXPECT_EQ(step.what, What::destroy);
    EXPECT_THAT(step.accessors, ElementsAre("a"));
    EXPECT_THAT(step.why, HasSubstr("before its overlap ended: the Secret was missing"));
    EXPECT_EQ(step.record.previous, "");
    EXPECT_EQ(step.record.overlap_until, "");
    EXPECT_EQ(step.record.accessor, "b");
    f.record = step.record;
    EXPECT_EQ(f.step().what, What::draw);
}

TEST(SecretIdStep, AnOlderOneThatWasPutBackIsReplaced) {
    Fixture f;
    f.rotate();
    f.view.published = facts(f.resource, "a");
    EXPECT_EQ(f.step().what, What::draw);
    EXPECT_EQ(f.step().why, "the Secret contained a replaced secret-id");
    // The third one is published: the record has room for one that was replaced.
    f.view.published = facts(f.resource, "c");
    SecretIdStep step = f.step();
    EXPECT_EQ(step.what, What::destroy);
    EXPECT_THAT(step.accessors, ElementsAre("a"));
    f.record = step.record;
    step = f.step();
    EXPECT_EQ(step.what, What::record);
    EXPECT_EQ(step.record.previous, "b");
}

TEST(SecretIdStep, AChangedSpecReplacesAndWhatVaultDoesNotHearOfDoesNot) {
    Fixture f;
    for (const Json& same :
         {Json{{"overlap", "1m"}}, Json{{"maxOverlap", "9h"}}, Json{{"resyncPeriod", "1m"}}})
        EXPECT_EQ(secret_id_terms(make(same)), secret_id_terms(f.resource)) << same;
    for (const Json& other : {Json{{"ttl", "9h"}}, Json{{"numUses", 1}}, Json{{"cidrs", {"10.0.0.0/8"}}},
                              Json{{"tokenBoundCIDRs", {"10.0.0.0/8"}}}}) {
        f.resource = make(other);
        EXPECT_EQ(f.step().what, What::draw) << other;
        EXPECT_EQ(f.step().why, "spec changed");
    }
    EXPECT_EQ(secret_id_terms(make({{"ttl", "1h"}})), secret_id_terms(make({{"ttl", "3600"}})));
}

TEST(SecretIdStep, RotateNowRotatesOnceForEachValue) {
    Fixture f;
    f.resource.rotate_now = "1";
    EXPECT_EQ(f.step().what, What::draw);
    EXPECT_THAT(f.step().why, HasSubstr("rotate-now"));
    f.rotate();
    EXPECT_EQ(f.record.rotate_now, "1");
    EXPECT_EQ(f.step().what, What::rest);
    f.resource.rotate_now = "";
    const SecretIdStep calm = f.step();
    EXPECT_EQ(calm.what, What::record);
    EXPECT_EQ(calm.record.rotate_now, "");
    EXPECT_EQ(calm.record.accessor, "b");
}

// ---- time

TEST(SecretIdStep, ItRotatesByItsPeriodAndABitEarlierForSome) {
    Fixture f({{"rotationPeriod", "1000s"}});
    const std::int64_t due = seconds_since_epoch(f.record.next_rotation);
    EXPECT_GE(due, t0 + 900);
    EXPECT_LE(due, t0 + 1000);
    EXPECT_EQ(f.step_at(due - 1).what, What::rest);
    EXPECT_EQ(f.step().at, due);
    EXPECT_EQ(f.step_at(due).what, What::draw);
    EXPECT_EQ(f.step().why, "its rotation is due");
    Fixture never;
    EXPECT_EQ(never.record.next_rotation, "");
    EXPECT_EQ(never.step_at(t0 + 1'000'000'000).what, What::rest);
    EXPECT_EQ(never.step().at, 0);
}

TEST(SecretIdStep, TwoThirdsOfALifeAndTheOverlapIsLeftToTheOldOne) {
    Fixture f({{"overlap", "1s"}}, t0 + 3000);
    EXPECT_LE(seconds_since_epoch(f.record.next_rotation), t0 + 2000);
    EXPECT_GE(seconds_since_epoch(f.record.next_rotation), t0 + 1800);
    Fixture late({{"rotationPeriod", "2999s"}, {"overlap", "500s"}}, t0 + 3000);
    EXPECT_EQ(late.record.next_rotation, rfc3339(t0 + 2500));
}

TEST(SecretIdStep, ALongOverlapDoesNotLetThePublishedOneExpire) {
    Fixture f({{"overlap", "1h"}}, t0 + 300);
    f.rotate(t0 + 100 + 300);
    const std::int64_t due = seconds_since_epoch(f.record.next_rotation);
    EXPECT_LT(due, t0 + 300);
    EXPECT_EQ(f.step_at(due).what, What::rest) << "the overlap is worth waiting for";
    EXPECT_EQ(f.step().at, t0 + 100 + 240);
    const SecretIdStep step = f.step_at(t0 + 100 + 240);
    EXPECT_EQ(step.what, What::destroy);
    EXPECT_THAT(step.accessors, ElementsAre("a"));
    f.record = step.record;
    EXPECT_EQ(f.step().what, What::draw);
    // One that does not expire can wait.
    Fixture lasting({{"rotationPeriod", "100s"}, {"overlap", "1h"}});
    lasting.rotate();
    EXPECT_EQ(lasting.step_at(t0 + 3000).what, What::rest);
    EXPECT_EQ(lasting.step_at(t0 + 3700).why, "its overlap ended");
}

// ---- overlap and targets

TEST(SecretIdStep, TheOldOneIsDestroyedWhenItsOverlapHasEnded) {
    Fixture f({{"overlap", "50s"}});
    f.rotate();
    EXPECT_EQ(f.record.rotated_at, rfc3339(t0 + 100));
    EXPECT_EQ(f.record.overlap_until, rfc3339(t0 + 150));
    EXPECT_EQ(f.step_at(t0 + 149).what, What::rest);
    EXPECT_EQ(f.step().at, t0 + 150);
    const SecretIdStep step = f.step_at(t0 + 150);
    EXPECT_EQ(step.what, What::destroy);
    EXPECT_EQ(step.why, "its overlap ended");
    EXPECT_THAT(step.accessors, ElementsAre("a"));
    EXPECT_EQ(step.record.previous + step.record.rotated_at + step.record.rollout, "");
}

TEST(SecretIdStep, TargetsAreRestartedAndKeepTheOldOneUntilTheyAreOut) {
    Fixture f({{"overlap", "50s"},
               {"maxOverlap", "500s"},
               {"rolloutRestartTargets", {{{"kind", "Deployment"}, {"name", "d"}}}}});
    f.rotate();
    ASSERT_NE(f.record.rollout, "");
    f.view.restarted = f.view.rolled_out = false;
    EXPECT_EQ(f.step().what, What::restart);
    f.view.restarted = true;
    EXPECT_EQ(f.step_at(t0 + 149).at, t0 + 150);
    EXPECT_EQ(f.step_at(t0 + 150).what, What::rest) << "they are not out";
    EXPECT_EQ(f.step().at, t0 + 152);
    f.view.refused = true;
    EXPECT_EQ(f.step().at, t0 + 210) << "who refuses is asked less often";
    EXPECT_EQ(f.step_at(t0 + 599).at, t0 + 600);
    EXPECT_THAT(f.step_at(t0 + 600).why, HasSubstr("maxOverlap passed"));
    f.view.rolled_out = true;
    EXPECT_EQ(f.step_at(t0 + 150).why, "its overlap ended");
}

// ---- the Secret

TEST(SecretIdStep, AGoodValueInAnEditedSecretIsKept) {
    Fixture f;
    for (const SecretState state : {SecretState::stale, SecretState::fixed}) {
        f.view.secret = state;
        EXPECT_EQ(f.step().what, What::mend);
    }
    f.view.published.reset();
    EXPECT_EQ(f.step().what, What::draw) << "there is nothing to keep";
    f.view.published = facts(f.resource, "a");
    f.view.secret = SecretState::ours;
    f.view.secret_uid = "secret-2";
    EXPECT_EQ(f.step().what, What::record) << "it was made anew";
    EXPECT_EQ(f.step().record.secret_uid, "secret-2");
}

// ---- orphans

TEST(SecretIdStep, OrphansOfOursAreDestroyedWhenTheyAreOldEnough) {
    Fixture f({{"overlap", "1h"}});
    f.rotate();
    f.view.list_wanted = true;
    EXPECT_EQ(f.step().what, What::list);
    f.view.all = {facts(f.resource, "a"), facts(f.resource, "b"), facts(f.resource, "orphan", t0 + 90),
                  facts(f.resource, "young", t0 + 99)};
    f.view.all->push_back(facts(f.resource, "of somebody else"));
    f.view.all->back().owner = "somebody else";
    EXPECT_EQ(f.step_at(t0 + 119).what, What::rest);
    EXPECT_EQ(f.step().at, t0 + 120);
    const SecretIdStep step = f.step_at(t0 + 120);
    EXPECT_EQ(step.what, What::destroy);
    EXPECT_THAT(step.accessors, ElementsAre("orphan"));
    EXPECT_EQ(step.record, f.record);
    std::erase_if(*f.view.all, [](const SecretIdFacts& each) { return each.accessor == "orphan"; });
    EXPECT_EQ(f.step().at, t0 + 129);
}

TEST(SecretIdStep, WhileSomethingMayArriveALookProvesNothing) {
    Fixture f;
    f.view.list_wanted = true;
    f.view.unsure_until = t0 + 30;
    EXPECT_EQ(f.step().what, What::rest);
    EXPECT_EQ(f.step().at, t0 + 30);
    EXPECT_EQ(f.step_at(t0 + 30).what, What::list);
    f.view.all.emplace();
    EXPECT_EQ(f.step().what, What::rest);
    EXPECT_EQ(f.step().at, 0);
}

// ---- what is asked, and what is answered

TEST(SecretIdRequest, AsksForWhatTheSpecSaysAndSignsIt) {
    const Resource resource = make({{"ttl", "1h"},
                                    {"numUses", 3},
                                    {"cidrs", {"10.1.2.3", "10.0.0.0/8"}},
                                    {"tokenBoundCIDRs", {"fd00::1", "10.0.0.1/32"}}});
    const Json body = secret_id_request(resource, us, "0a");
    EXPECT_EQ(body["ttl"], 3600);
    EXPECT_EQ(body["num_uses"], 3);
    // Vault takes none without a mask here, and gives none with one of a role.
    EXPECT_THAT(body["cidr_list"].get<std::vector<std::string>>(),
                testing::UnorderedElementsAre("10.1.2.3/32", "10.0.0.0/8"));
    EXPECT_THAT(body["token_bound_cidrs"].get<std::vector<std::string>>(),
                testing::UnorderedElementsAre("fd00::1/128", "10.0.0.1/32"));
    const Json metadata = Json::parse(body["metadata"].get<std::string>());
    EXPECT_EQ(metadata, (Json{{"managed-by", "keyshepherd"},
                              {"owner", us},
                              {"resource", "ai/s"},
                              {"terms", secret_id_terms(resource)},
                              {"issue", "0a"}}));
    const Json least = secret_id_request(make(), us, "0a");
    EXPECT_EQ(least.size(), 1U) << "a zero would be refused by a role that has a limit: " << least;
}

TEST(SecretIdFacts, AreReadAsOpenBaoWritesThem) {
    // OpenBao 2.7.2, in a server whose zone is not UTC.
    const auto read = secret_id_facts(Json::parse(
        R"({"cidr_list":[],"creation_time":"2026-11-25T04:32:18.022837996+01:00",
        "expiration_time":"2026-11-25T05:32:18.022837996+01:00","metadata":{"managed-by":"keyshepherd","owner":"uid-1","terms":"t"},
        "secret_id_accessor":"8bfa","secret_id_num_uses":0,"secret_id_ttl":3600,"token_bound_cidrs":[]})"));
    ASSERT_TRUE(read);
    EXPECT_EQ(read->accessor, "8bfa");
    EXPECT_EQ(read->owner, us);
    EXPECT_EQ(read->terms, "t");
    EXPECT_EQ(rfc3339(read->expires), "2026-11-25T04:32:18Z");
    EXPECT_EQ(rfc3339(seconds_since_epoch(read->created)), "2026-11-25T03:32:18Z");
    const auto foreign = secret_id_facts({{"secret_id_accessor", "x"}, {"metadata", {{"owner", us}}}});
    ASSERT_TRUE(foreign);
    EXPECT_EQ(foreign->owner, "") << "only our own mark makes it ours";
    EXPECT_FALSE(secret_id_facts(Json::object()));
    EXPECT_FALSE(secret_id_facts(nullptr));
}

}  // namespace
}  // namespace keyshepherd::planner
