#include <keyshepherd/fsm/watch.hpp>

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace keyshepherd::fsm {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;

Json object(const std::string& name, int version) {
    return {{"metadata",
             {{"name", name},
              {"namespace", "ns"},
              {"resourceVersion", std::to_string(version)},
              {"managedFields", Json::array({1})}}}};
}

Json bookmark(int version, bool ends_initial) {
    Json made = {{"metadata", {{"resourceVersion", std::to_string(version)}}}};
    if (ends_initial) made["metadata"]["annotations"]["k8s.io/initial-events-end"] = "true";
    return made;
}

Json status(int code, const std::string& reason) {
    return {{"kind", "Status"}, {"code", code}, {"reason", reason}, {"message", "because"}};
}

// A machine, a clock, and the cache that its changes make.
class WatchTest : public testing::Test {
protected:
    void take(WatchMachine::Change change) {
        if (auto* replaced = std::get_if<WatchMachine::Replaced>(&change)) {
            std::map<std::string, std::string> next;
            for (const Json& each : replaced->objects)
                next[object_key(each)] = each["metadata"]["resourceVersion"].get<std::string>();
            for (const auto& [key, version] : cache)
                EXPECT_EQ(!next.contains(key), std::ranges::find(replaced->gone, key) != replaced->gone.end())
                    << key;
            for (const std::string& key : replaced->gone) EXPECT_TRUE(cache.contains(key)) << key;
            cache = next;
            gone = replaced->gone;
            ++replacements;
            for (const Json& each : replaced->objects)
                EXPECT_FALSE(each["metadata"].contains("managedFields"));
        } else if (auto* applied = std::get_if<WatchMachine::Applied>(&change)) {
            cache[object_key(applied->object)] =
                applied->object["metadata"]["resourceVersion"].get<std::string>();
            EXPECT_FALSE(applied->object["metadata"].contains("managedFields"));
        } else if (auto* removed = std::get_if<WatchMachine::Removed>(&change)) {
            cache.erase(removed->key);
            last_removed = removed->key;
        }
    }
    void event(std::string_view type, Json of) { take(machine.event(type, std::move(of), now, 0)); }
    void page(std::vector<Json> items, std::string continue_token, std::string version) {
        take(machine.page(std::move(items), std::move(continue_token), std::move(version), now, 0));
    }
    void fail(Errc code) { machine.failed(Error(code, "x"), now, 0); }
    template <class Action>
    Action expect() {
        const auto action = machine.next();
        const auto* found = std::get_if<Action>(&action);
        EXPECT_NE(found, nullptr) << "another action, number " << action.index();
        return found != nullptr ? *found : Action{};
    }
    Duration slept() {
        const Duration time = expect<WatchMachine::Sleep>().time;
        now += time;
        machine.slept();
        return time;
    }
    // Synced by initial events, with a and b, at version 10.
    void sync() {
        EXPECT_TRUE(expect<WatchMachine::Watch>().initial_events);
        machine.opened(now);
        event("ADDED", object("a", 3));
        event("ADDED", object("b", 4));
        event("BOOKMARK", bookmark(10, true));
        EXPECT_EQ(expect<WatchMachine::Watch>().resource_version, "10");
        machine.opened(now);
    }

    WatchMachine machine;
    Instant now{1000s};
    std::map<std::string, std::string> cache;
    std::vector<std::string> gone;
    std::string last_removed;
    int replacements = 0;
};

TEST_F(WatchTest, HandsOutInitialEventsAsOneWhole) {
    expect<WatchMachine::Watch>();
    machine.opened(now);
    event("ADDED", object("a", 3));
    event("ADDED", object("b", 4));
    EXPECT_FALSE(machine.synced());
    EXPECT_EQ(replacements, 0);
    event("BOOKMARK", bookmark(10, true));
    EXPECT_TRUE(machine.synced());
    EXPECT_EQ(replacements, 1);
    EXPECT_EQ(cache, (std::map<std::string, std::string>{{"ns/a", "3"}, {"ns/b", "4"}}));
    EXPECT_EQ(machine.resource_version(), "10");
    expect<WatchMachine::Watch>();
}

// A server that lists for long must not be cut short, and a silent watch must not be taken for a live one.
TEST_F(WatchTest, IsShortAndFollowsAListThatMayBeLong) {
    const auto list = expect<WatchMachine::Watch>();
    EXPECT_TRUE(list.initial_events);
    EXPECT_GT(list.timeout, 60s);
    machine.opened(now);
    event("BOOKMARK", bookmark(10, true));
    const auto watch = expect<WatchMachine::Watch>();
    EXPECT_FALSE(watch.initial_events);
    EXPECT_LT(watch.timeout, 45s);
    machine.opened(now);
    EXPECT_LT(expect<WatchMachine::Read>().within, Duration(45s));
}

TEST_F(WatchTest, NoticesAServersReturnSoonAfterAnAbsenceOfAnyLength) {
    sync();
    for (int i = 0; i < 200; ++i) {
        machine.failed(Error(i % 2 == 0 ? Errc::unavailable : Errc::timeout, "x"), now, 0.999);
        EXPECT_LE(slept(), 4s);
    }
    // It is back, and refuses until it has read the roles.
    Duration refused{0};
    for (int i = 0; i < 3; ++i) {
        machine.failed(Error(Errc::forbidden, "x"), now, 0);
        refused += slept();
    }
    EXPECT_LE(refused, 6s);
}

TEST_F(WatchTest, PassesChangesOn) {
    sync();
    event("MODIFIED", object("a", 11));
    event("ADDED", object("c", 12));
    event("DELETED", object("b", 13));
    EXPECT_EQ(cache, (std::map<std::string, std::string>{{"ns/a", "11"}, {"ns/c", "12"}}));
    EXPECT_EQ(last_removed, "ns/b");
}

TEST_F(WatchTest, AReadOutlivesTheServersOwnTimeout) {
    sync();
    EXPECT_GT(expect<WatchMachine::Read>().within, Duration(WatchTimes{}.server_timeout));
}

TEST_F(WatchTest, ResumesAtTheEndOfAStreamFromTheLastVersionWithoutAList) {
    sync();
    event("MODIFIED", object("a", 11));
    event("BOOKMARK", bookmark(20, false));
    now += 290s;
    machine.ended(now, 0);
    const auto watch = expect<WatchMachine::Watch>();
    EXPECT_EQ(watch.resource_version, "20");
    EXPECT_FALSE(watch.initial_events);
    machine.opened(now);
    event("ADDED", object("c", 21));
    EXPECT_EQ(replacements, 1);
    EXPECT_EQ(cache.size(), 3U);
}

TEST_F(WatchTest, AnIdleStreamIsOpenedAnewFromTheLastVersion) {
    sync();
    now += 305s;
    fail(Errc::timeout);
    EXPECT_GE(slept(), 800ms);
    EXPECT_EQ(expect<WatchMachine::Watch>().resource_version, "10");
}

TEST_F(WatchTest, GoneInTheAnswerLeadsToAListThatTellsWhatIsGone) {
    sync();
    machine.ended(now + 10s, 0);
    fail(Errc::gone);
    EXPECT_EQ(cache.size(), 2U);  // the old state stays meanwhile
    slept();
    EXPECT_TRUE(expect<WatchMachine::Watch>().initial_events);
    machine.opened(now);
    event("ADDED", object("a", 30));
    event("BOOKMARK", bookmark(31, true));
    EXPECT_EQ(gone, std::vector<std::string>{"ns/b"});
    EXPECT_EQ(cache, (std::map<std::string, std::string>{{"ns/a", "30"}}));
}

TEST_F(WatchTest, GoneInTheStreamLeadsToAListToo) {
    for (const Json& end : {status(410, "Expired"), status(410, "Gone"), status(0, "Expired")}) {
        WatchMachine fresh;
        std::swap(machine, fresh);
        cache.clear();
        sync();
        event("ERROR", end);
        EXPECT_EQ(machine.error()->code, Errc::gone);
        slept();
        EXPECT_TRUE(expect<WatchMachine::Watch>().initial_events);
    }
}

TEST_F(WatchTest, AnotherErrorInTheStreamResumes) {
    sync();
    event("ERROR", status(500, "InternalError"));
    EXPECT_EQ(machine.error()->code, Errc::unavailable);
    slept();
    EXPECT_EQ(expect<WatchMachine::Watch>().resource_version, "10");
}

TEST_F(WatchTest, AServerWithoutInitialEventsIsAskedForPagesFromThenOn) {
    expect<WatchMachine::Watch>();
    fail(Errc::invalid);
    EXPECT_EQ(expect<WatchMachine::List>().continue_token, "");  // at once
    page({object("a", 1)}, "next", "5");
    EXPECT_EQ(replacements, 0);
    EXPECT_EQ(expect<WatchMachine::List>().continue_token, "next");
    page({object("b", 2)}, "", "5");
    EXPECT_EQ(cache.size(), 2U);
    EXPECT_EQ(expect<WatchMachine::Watch>().resource_version, "5");
    machine.opened(now);
    event("ERROR", status(410, "Expired"));
    slept();
    expect<WatchMachine::List>();  // remembered
}

TEST_F(WatchTest, AServerThatIgnoresTheWishForInitialEventsIsNoticed) {
    expect<WatchMachine::Watch>();
    machine.opened(now);
    event("ADDED", object("a", 3));
    event("BOOKMARK", bookmark(4, false));
    expect<WatchMachine::List>();
    page({object("b", 9)}, "", "9");
    EXPECT_EQ(cache, (std::map<std::string, std::string>{{"ns/b", "9"}}));
}

TEST_F(WatchTest, SilenceWithinInitialEventsFallsBackToPages) {
    expect<WatchMachine::Watch>();
    machine.opened(now);
    event("ADDED", object("a", 3));
    EXPECT_LT(expect<WatchMachine::Read>().within, Duration(290s));
    fail(Errc::timeout);
    expect<WatchMachine::List>();
}

// kube-apiserver 1.37 over etcd 3.5.1: "the required storage feature RequestWatchProgress is disabled".
TEST_F(WatchTest, AnErrorWithinInitialEventsFallsBackToPagesAtOnce) {
    expect<WatchMachine::Watch>();
    machine.opened(now);
    event("ERROR", status(500, "InternalError"));
    expect<WatchMachine::List>();
    page({object("a", 9)}, "", "9");
    EXPECT_EQ(cache.size(), 1U);
}

TEST_F(WatchTest, InitialEventsThatFailAgainAndAgainAreGivenUp) {
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(expect<WatchMachine::Watch>().initial_events);
        fail(Errc::unavailable);
        slept();
    }
    expect<WatchMachine::List>();
}

TEST_F(WatchTest, AStreamThatBreaksWithinInitialEventsStartsThemAnew) {
    expect<WatchMachine::Watch>();
    machine.opened(now);
    event("ADDED", object("a", 3));
    machine.ended(now, 0);
    slept();
    EXPECT_TRUE(expect<WatchMachine::Watch>().initial_events);
    machine.opened(now);
    event("ADDED", object("b", 5));
    event("BOOKMARK", bookmark(6, true));
    EXPECT_EQ(cache, (std::map<std::string, std::string>{{"ns/b", "5"}}));
}

TEST_F(WatchTest, AFailedPageIsAskedForAgainAndAnExpiredChainFromItsStart) {
    fail(Errc::invalid);
    page({object("a", 1)}, "two", "5");
    fail(Errc::unavailable);
    slept();
    EXPECT_EQ(expect<WatchMachine::List>().continue_token, "two");
    fail(Errc::gone);
    slept();
    EXPECT_EQ(expect<WatchMachine::List>().continue_token, "");
    page({object("b", 1)}, "", "7");
    EXPECT_EQ(cache, (std::map<std::string, std::string>{{"ns/b", "1"}}));
}

TEST_F(WatchTest, AListWithoutAVersionIsAFailure) {
    fail(Errc::invalid);
    page({object("a", 1)}, "", "");
    EXPECT_FALSE(machine.synced());
    EXPECT_EQ(machine.error()->code, Errc::protocol);
    slept();
    expect<WatchMachine::List>();
}

TEST_F(WatchTest, AnEventThatMakesNoSenseOpensTheStreamAnew) {
    const std::vector<std::pair<std::string, Json>> wrong = {
        {"ADDED", Json::object()},   {"ADDED", {{"metadata", {{"name", "x"}}}}},
        {"FLIPPED", object("x", 1)}, {"", {}},
        {"BOOKMARK", Json()},        {"ERROR", Json("text")},
    };
    sync();
    for (const auto& [type, of] : wrong) {
        event(type, of);
        slept();
        EXPECT_EQ(expect<WatchMachine::Watch>().resource_version, "10") << type;
        machine.opened(now);
        now += 200s;  // else the failures add up to a doubt about the version
    }
    EXPECT_EQ(cache.size(), 2U);
}

TEST_F(WatchTest, BacksOffFromTheFloorToTheCapAndForgetsAfterQuiet) {
    sync();
    machine.ended(now + 5s, 0);
    Duration last{0};
    for (int i = 0; i < 7; ++i) {
        fail(Errc::forbidden);
        const Duration wait = slept();
        EXPECT_GE(wait, 800ms);
        EXPECT_LE(wait, 30s);
        EXPECT_GE(wait, last);
        last = wait;
    }
    EXPECT_EQ(last, 15s);
    machine.opened(now);
    now += 19s;
    fail(Errc::forbidden);
    EXPECT_EQ(slept(), 15s);  // 19 s were not quiet enough
    expect<WatchMachine::Watch>();
    machine.opened(now);
    now += 20s;
    fail(Errc::forbidden);
    EXPECT_EQ(slept(), 800ms);
}

TEST_F(WatchTest, HeedsRetryAfterWithinReason) {
    Error error(Errc::throttled, "x");
    error.retry_after = 17s;
    machine.failed(error, now, 0);
    EXPECT_EQ(slept(), 17s);
    error.retry_after = 48h;
    machine.failed(error, now, 0);
    EXPECT_EQ(slept(), 5min);
}

TEST_F(WatchTest, AWatchThatEndsAtOnceAndSaysNothingCountsAsFailed) {
    sync();
    machine.ended(now + 10s, 0);
    expect<WatchMachine::Watch>();
    machine.opened(now);
    machine.ended(now + 100ms, 0);
    EXPECT_GE(slept(), 800ms);
    expect<WatchMachine::Watch>();
}

TEST_F(WatchTest, AVersionThatIsRefusedForLongIsGivenUp) {
    sync();
    machine.ended(now + 10s, 0);
    int attempts = 0;
    for (; attempts < 20; ++attempts) {
        const auto action = machine.next();
        const auto* watch = std::get_if<WatchMachine::Watch>(&action);
        ASSERT_NE(watch, nullptr);
        if (watch->initial_events) break;
        fail(Errc::unavailable);
        slept();
    }
    EXPECT_EQ(attempts, 8);  // and by then initial events are given up, too
    EXPECT_EQ(cache.size(), 2U);
}

// Whatever the order of answers, the cache becomes what the server holds once it is let answer well.
TEST_F(WatchTest, ConvergesAfterAnySeriesOfFailures) {
    for (unsigned seed = 0; seed < 400; ++seed) {
        std::mt19937 random(seed);
        const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
        WatchMachine fresh;
        std::swap(machine, fresh);
        cache.clear();
        std::map<std::string, int> truth;                   // at `version`
        std::vector<std::pair<std::string, Json>> history;  // event i leads to version i + 1
        const auto mutate = [&] {
            const std::string name(1, static_cast<char>('a' + below(5)));
            const int version = static_cast<int>(history.size()) + 1;
            if (truth.contains("ns/" + name) && below(3) == 0) {
                truth.erase("ns/" + name);
                history.emplace_back("DELETED", object(name, version));
            } else {
                history.emplace_back(truth.contains("ns/" + name) ? "MODIFIED" : "ADDED",
                                     object(name, version));
                truth["ns/" + name] = version;
            }
        };
        for (int i = below(6); i >= 0; --i) mutate();
        bool open = false;
        std::size_t sent = 0;       // of the history, on the open stream
        std::vector<Json> initial;  // still to be sent, and the bookmark after them
        bool initial_pending = false;
        const bool old_server = below(3) == 0;
        std::size_t floor = 0;  // older versions are gone
        for (int step = 0; step < 300; ++step) {
            const bool calm = step > 200;
            if (!calm && below(3) == 0) mutate();
            if (!calm && below(25) == 0) floor = history.size();
            const bool trouble = !calm && below(5) == 0;
            const auto action = machine.next();
            if (std::holds_alternative<WatchMachine::Sleep>(action)) {
                slept();
                open = false;
            } else if (trouble) {
                open = false;
                switch (below(4)) {
                    case 0:
                        fail(Errc::unavailable);
                        break;
                    case 1:
                        fail(Errc::timeout);
                        break;
                    case 2:
                        fail(Errc::gone);
                        break;
                    default:
                        if (std::holds_alternative<WatchMachine::Read>(action))
                            machine.ended(now, 0);
                        else
                            fail(Errc::throttled);
                }
            } else if (std::holds_alternative<WatchMachine::List>(action)) {
                std::vector<Json> items;
                for (const auto& [key, version] : truth) items.push_back(object(key.substr(3), version));
                page(std::move(items), "", std::to_string(history.size()));
            } else if (const auto* watch = std::get_if<WatchMachine::Watch>(&action)) {
                initial_pending = false;
                if (watch->initial_events && old_server) {
                    fail(Errc::invalid);
                } else if (watch->initial_events) {
                    initial.clear();
                    for (const auto& [key, version] : truth)
                        initial.push_back(object(key.substr(3), version));
                    initial_pending = true;
                    sent = history.size();
                    open = true;
                    machine.opened(now);
                } else if (std::stoul(watch->resource_version) < floor) {
                    fail(Errc::gone);
                } else {
                    sent = std::stoul(watch->resource_version);
                    open = true;
                    machine.opened(now);
                }
            } else {
                ASSERT_TRUE(open);
                if (!initial.empty()) {
                    event("ADDED", initial.back());
                    initial.pop_back();
                } else if (initial_pending) {
                    initial_pending = false;
                    event("BOOKMARK", bookmark(static_cast<int>(sent), true));
                } else if (sent < history.size()) {
                    event(history[sent].first, history[sent].second);
                    ++sent;
                } else {
                    now += 290s;
                    machine.ended(now, 0);
                    open = false;
                }
            }
        }
        std::map<std::string, std::string> want;
        for (const auto& [key, version] : truth) want[key] = std::to_string(version);
        ASSERT_EQ(cache, want) << "seed " << seed;
    }
}

// Applies what comes early, as a controller does.
class EarlyWatchTest : public testing::Test {
protected:
    void take(WatchMachine::Change change) {
        if (auto* listed = std::get_if<WatchMachine::Listed>(&change)) {
            for (const Json& each : listed->objects) cache.insert(object_key(each));
        } else if (auto* replaced = std::get_if<WatchMachine::Replaced>(&change)) {
            for (const Json& each : replaced->objects) cache.insert(object_key(each));
            for (const std::string& key : replaced->gone) cache.erase(key);
            ++replacements;
        } else if (auto* removed = std::get_if<WatchMachine::Removed>(&change)) {
            cache.erase(removed->key);
        }
    }
    void event(std::string_view type, Json of) { take(machine.event(type, std::move(of), now, 0)); }

    WatchMachine machine{{}, true};
    Instant now{};
    std::set<std::string> cache;
    int replacements = 0;
};

TEST_F(EarlyWatchTest, InitialEventsGoOutAsTheyComeAndTheEndTellsWhatIsGone) {
    machine.opened(now);
    event("ADDED", object("a", 3));
    event("ADDED", object("b", 4));
    EXPECT_EQ(cache.size(), 2U);
    EXPECT_FALSE(machine.synced());
    event("DELETED", object("a", 5));
    event("BOOKMARK", bookmark(5, true));
    EXPECT_TRUE(machine.synced());
    EXPECT_EQ(cache, std::set<std::string>{"ns/b"});
    event("ADDED", object("c", 6));
    event("ERROR", status(410, "Expired"));
    machine.slept();
    machine.opened(now);
    event("ADDED", object("c", 6));
    event("BOOKMARK", bookmark(9, true));
    EXPECT_EQ(replacements, 2);
    event("DELETED", object("c", 10));
    EXPECT_TRUE(cache.empty());
}

TEST_F(EarlyWatchTest, WhatAListBroughtThatBrokeOffIsNotForgotten) {
    machine.opened(now);
    event("ADDED", object("a", 3));
    machine.failed(Error(Errc::unavailable, "x"), now, 0);
    machine.slept();
    machine.opened(now);
    event("ADDED", object("b", 4));
    event("BOOKMARK", bookmark(5, true));
    EXPECT_EQ(cache, std::set<std::string>{"ns/b"}) << "a went while nobody looked";
}

TEST_F(EarlyWatchTest, PagesGoOutOneByOne) {
    machine.failed(Error(Errc::invalid, "x"), now, 0);
    take(machine.page({object("a", 1), object("b", 2)}, "more", "", now, 0));
    EXPECT_EQ(cache.size(), 2U);
    EXPECT_FALSE(machine.synced());
    take(machine.page({object("c", 3)}, "", "7", now, 0));
    EXPECT_TRUE(machine.synced());
    EXPECT_EQ(cache.size(), 3U);
    EXPECT_EQ(replacements, 1);
}

TEST(ObjectKey, IsNamespaceAndName) {
    EXPECT_EQ(object_key(object("a", 1)), "ns/a");
    EXPECT_EQ(object_key({{"metadata", {{"name", "a"}}}}), "a");
    EXPECT_EQ(object_key({{"metadata", {{"namespace", "a"}}}}), "");
    EXPECT_EQ(object_key(Json("text")), "");
}

}  // namespace
}  // namespace keyshepherd::fsm
