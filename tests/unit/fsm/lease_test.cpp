#include <keyshepherd/fsm/lease.hpp>

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

namespace keyshepherd::fsm {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;

constexpr Instant start{1000s};
const std::string wall = "2026-11-24T06:39:00.000000Z";

Json lease(const std::string& holder, int version, const std::string& renewed, int duration = 15) {
    return {{"metadata", {{"name", "l"}, {"resourceVersion", std::to_string(version)}}},
            {"spec",
             {{"holderIdentity", holder},
              {"leaseDurationSeconds", duration},
              {"renewTime", renewed},
              {"acquireTime", "then"},
              {"leaseTransitions", 4}}}};
}

template <class T>
bool is(const LeaseMachine::Action& action) {
    return std::holds_alternative<T>(action);
}

TEST(LeaseTimes, MustLeaveRoomBetweenThem) {
    EXPECT_TRUE(LeaseTimes{}.check());
    EXPECT_FALSE((LeaseTimes{15s, 15s, 2s, 2s}.check()));
    EXPECT_FALSE((LeaseTimes{15s, 4s, 2s, 2s}.check()));
    EXPECT_FALSE((LeaseTimes{15s, 10s, 0s, 2s}.check()));
    EXPECT_FALSE((LeaseTimes{15s, 10s, 2s, -1s}.check()));
    EXPECT_TRUE((LeaseTimes{3s, 2s, 1s, 500ms}.check()));
}

TEST(Lease, MakesOneThatIsAbsentAndHoldsItFromTheMomentItAsked) {
    LeaseMachine machine("l", "me", {});
    EXPECT_TRUE(is<LeaseMachine::Read>(machine.next(start, wall)));
    machine.absent(start);
    const auto action = machine.next(start, wall);
    ASSERT_TRUE(is<LeaseMachine::Create>(action));
    const Json made = std::get<LeaseMachine::Create>(action).lease;
    EXPECT_EQ(made["metadata"]["name"], "l");
    EXPECT_EQ(made["spec"]["holderIdentity"], "me");
    EXPECT_EQ(made["spec"]["leaseDurationSeconds"], 15);
    EXPECT_EQ(made["spec"]["leaseTransitions"], 0);
    EXPECT_FALSE(machine.held(start));
    machine.written(lease("me", 1, wall), start, start + 3s);
    EXPECT_TRUE(machine.held(start + 3s));
    EXPECT_EQ(machine.end_at(), start + 10s);  // of the sending, not of the answer
    EXPECT_EQ(machine.stop_at(), start + 8s);
}

TEST(Lease, WaitsForARivalByItsOwnClockOnly) {
    LeaseMachine machine("l", "me", {});
    // The renewTime is years ago: that may be the rival's clock.
    machine.observed(lease("rival", 1, "1999-01-01T00:00:00.000000Z"), start);
    Instant now = start;
    for (; now < start + 15s; now += 2s) {
        const auto action = machine.next(now, wall);
        EXPECT_FALSE(is<LeaseMachine::Update>(action)) << (now - start).count();
        if (is<LeaseMachine::Read>(action))
            machine.observed(lease("rival", 1, "1999-01-01T00:00:00.000000Z"), now);
    }
    ASSERT_TRUE(is<LeaseMachine::Read>(machine.next(now, wall)));
    machine.observed(lease("rival", 1, "1999-01-01T00:00:00.000000Z"), now);
    const auto action = machine.next(now, wall);
    ASSERT_TRUE(is<LeaseMachine::Update>(action));
    const Json patch = std::get<LeaseMachine::Update>(action).merge_patch;
    EXPECT_EQ(patch["metadata"]["resourceVersion"], "1");
    EXPECT_EQ(patch["spec"]["leaseTransitions"], 5);
    EXPECT_EQ(patch["spec"]["acquireTime"], wall);
}

TEST(Lease, ARivalThatRenewsKeepsIt) {
    LeaseMachine machine("l", "me", {});
    for (int i = 0; i < 100; ++i) {
        const Instant now = start + i * 2s;
        if (is<LeaseMachine::Read>(machine.next(now, wall)))
            machine.observed(lease("rival", i, std::to_string(i / 3)), now);  // every third look
        EXPECT_FALSE(is<LeaseMachine::Update>(machine.next(now, wall)));
    }
}

TEST(Lease, GoesByTheDurationThatTheHolderGave) {
    LeaseMachine machine("l", "me", {});
    machine.observed(lease("rival", 1, "x", 60), start);
    machine.observed(lease("rival", 1, "x", 60), start + 59s);
    EXPECT_FALSE(is<LeaseMachine::Update>(machine.next(start + 59s, wall)));
    machine.observed(lease("rival", 1, "x", 60), start + 60s);
    EXPECT_TRUE(is<LeaseMachine::Update>(machine.next(start + 60s, wall)));
}

TEST(Lease, TakesAReleasedOneAtOnce) {
    LeaseMachine machine("l", "me", {});
    machine.observed(lease("rival", 1, "x"), start);
    Json released = lease("", 2, "y", 1);
    released["spec"].erase("holderIdentity");
    machine.observed(released, start + 2s);
    EXPECT_TRUE(is<LeaseMachine::Update>(machine.next(start + 2s, wall)));
}

TEST(Lease, RenewsOnTheVersionItWroteLast) {
    LeaseMachine machine("l", "me", {});
    machine.written(lease("me", 7, "a"), start, start);
    EXPECT_EQ(std::get<LeaseMachine::Wait>(machine.next(start, wall)).until, start + 2s);
    const auto action = machine.next(start + 2s, wall);
    ASSERT_TRUE(is<LeaseMachine::Update>(action));
    const Json patch = std::get<LeaseMachine::Update>(action).merge_patch;
    EXPECT_EQ(patch["metadata"]["resourceVersion"], "7");
    EXPECT_EQ(patch["spec"]["leaseTransitions"], 4);  // still ours
    EXPECT_EQ(patch["spec"]["acquireTime"], "then");
}

TEST(Lease, AWriteWhoseFateIsUnknownDoesNotProlong) {
    LeaseMachine machine("l", "me", {});
    machine.written(lease("me", 1, "a"), start, start);
    machine.failed(start + 4s);
    EXPECT_EQ(machine.end_at(), start + 10s);
    EXPECT_TRUE(is<LeaseMachine::Read>(machine.next(start + 6s, wall)));
    machine.observed(lease("me", 2, "b"), start + 6s);  // it had arrived after all
    EXPECT_EQ(machine.end_at(), start + 10s);
    ASSERT_TRUE(is<LeaseMachine::Update>(machine.next(start + 6s, wall)));
    machine.written(lease("me", 3, "c"), start + 6s, start + 7s);
    EXPECT_EQ(machine.end_at(), start + 16s);
}

TEST(Lease, StopsInTimeWhenNothingSucceeds) {
    LeaseMachine machine("l", "me", {});
    machine.written(lease("me", 1, "a"), start, start);
    machine.failed(start + 7s);
    EXPECT_EQ(std::get<LeaseMachine::Wait>(machine.next(start + 7s, wall)).until, start + 8s);  // not 9
    EXPECT_TRUE(is<LeaseMachine::Stop>(machine.next(start + 8s, wall)));
    EXPECT_FALSE(machine.held(start + 8s));
}

TEST(Lease, StopsAtOnceWhenAnotherHoldsIt) {
    LeaseMachine machine("l", "me", {});
    machine.written(lease("me", 1, "a"), start, start);
    machine.failed(start + 2s);
    machine.observed(lease("rival", 2, "b"), start + 4s);
    EXPECT_TRUE(is<LeaseMachine::Stop>(machine.next(start + 4s, wall)));
    EXPECT_EQ(machine.release(wall), std::nullopt);  // it is not ours to give back
}

TEST(Lease, OneThatWasRemovedIsMadeAnew) {
    LeaseMachine machine("l", "me", {});
    machine.written(lease("me", 1, "a"), start, start);
    machine.failed(start + 2s);
    machine.absent(start + 4s);
    EXPECT_TRUE(machine.held(start + 4s));
    EXPECT_TRUE(is<LeaseMachine::Create>(machine.next(start + 4s, wall)));
}

TEST(Lease, GivesBackOnlyWhatItHolds) {
    LeaseMachine machine("l", "me", {});
    EXPECT_EQ(machine.release(wall), std::nullopt);
    machine.written(lease("me", 9, "a"), start, start);
    const auto patch = machine.release(wall);
    ASSERT_TRUE(patch);
    EXPECT_EQ((*patch)["metadata"]["resourceVersion"], "9");
    EXPECT_TRUE((*patch)["spec"]["holderIdentity"].is_null());
    EXPECT_EQ((*patch)["spec"]["leaseDurationSeconds"], 1);
}

// Candidates on one API server whose answers get lost, whose requests are late, and which is away at times:
// no two of them work at the same moment, and when all is well one does.
TEST(Lease, NoTwoWorkAtOnceOverRandomSchedules) {
    int worked = 0;
    for (unsigned seed = 0; seed < 60; ++seed) {
        std::mt19937 random(seed);
        const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
        struct Candidate {
            std::string name;
            std::unique_ptr<LeaseMachine> machine;
            Instant ready;                        // when its request comes back
            std::function<void(Instant)> answer;  // what it brings
            bool working = false;
            Instant must_end{};
        };
        std::optional<Json> stored;
        int version = 0;
        std::vector<Candidate> candidates;
        for (const char* name : {"a", "b", "c"}) {
            Candidate made;
            made.name = name;
            made.machine = std::make_unique<LeaseMachine>("l", name, LeaseTimes{});
            candidates.push_back(std::move(made));
        }
        // A request that arrives at the server within its flight, and may be lost on either way.
        struct Flight {
            Instant arrives;
            std::function<void()> act;
        };
        std::vector<Flight> flights;
        for (Instant now = start; now < start + 400s; now += 100ms) {
            const bool trouble = (now - start) % 60s < 25s;
            std::erase_if(flights, [&](Flight& flight) {
                if (flight.arrives > now) return false;
                flight.act();
                return true;
            });
            for (Candidate& each : candidates) {
                if (each.working && !each.machine->held(now)) {
                    each.working = false;  // stopping takes what it is given at most; here the worst of it
                    each.must_end = each.machine->end_at();
                    if (each.machine->holder() != each.name) each.must_end = now;
                }
                if (each.answer) {
                    if (now < each.ready) continue;
                    std::exchange(each.answer, nullptr)(now);
                }
                if (each.machine->held(now)) each.working = true;
                const auto action = each.machine->next(now, std::to_string(now.time_since_epoch().count()));
                if (std::holds_alternative<LeaseMachine::Wait>(action)) continue;
                if (std::holds_alternative<LeaseMachine::Stop>(action)) {
                    if (now < each.must_end) continue;
                    each.machine = std::make_unique<LeaseMachine>("l", each.name, LeaseTimes{});
                    continue;
                }
                const Instant sent = now;
                const bool lost_there = trouble && below(3) == 0;
                const bool lost_back = trouble && below(3) == 0;
                const Duration there = std::chrono::milliseconds(100 * (1 + below(trouble ? 40 : 3)));
                const Duration timeout = 5s;
                each.ready = now + timeout;
                Candidate* self = &each;
                each.answer = [self](Instant at) { self->machine->failed(at); };
                if (lost_there) continue;
                flights.push_back(
                    {now + there, [&, self, action, sent, lost_back, at = now + there] {
                         std::function<void(Instant)> answer;
                         if (std::holds_alternative<LeaseMachine::Read>(action)) {
                             answer = [self, copy = stored](Instant when) {
                                 copy ? self->machine->observed(*copy, when) : self->machine->absent(when);
                             };
                         } else if (const auto* make = std::get_if<LeaseMachine::Create>(&action)) {
                             if (!stored) {
                                 stored = make->lease;
                                 (*stored)["metadata"]["resourceVersion"] = std::to_string(++version);
                                 answer = [self, copy = *stored, sent](Instant when) {
                                     self->machine->written(copy, sent, when);
                                 };
                             }
                         } else if (const auto* update = std::get_if<LeaseMachine::Update>(&action)) {
                             if (stored && (*stored)["metadata"]["resourceVersion"] ==
                                               update->merge_patch["metadata"]["resourceVersion"]) {
                                 stored->merge_patch(update->merge_patch);
                                 (*stored)["metadata"]["resourceVersion"] = std::to_string(++version);
                                 answer = [self, copy = *stored, sent](Instant when) {
                                     self->machine->written(copy, sent, when);
                                 };
                             }
                         }
                         if (lost_back || at >= self->ready || !self->answer)
                             return;  // the caller gave up on it
                         if (!answer) answer = [self](Instant when) { self->machine->failed(when); };
                         self->ready = at + 100ms;
                         self->answer = std::move(answer);
                     }});
            }
            int at_work = 0;
            for (const Candidate& each : candidates)
                if (each.working || now < each.must_end) ++at_work;
            ASSERT_LE(at_work, 1) << "seed " << seed << " at " << (now - start).count() / 1'000'000'000.0;
            worked += at_work;
        }
    }
    EXPECT_GT(worked, 60 * 4000 / 2);  // more than half of the time
}

}  // namespace
}  // namespace keyshepherd::fsm
