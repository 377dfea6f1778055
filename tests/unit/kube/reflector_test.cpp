#include "support/event_loop.hpp"

#include <keyshepherd/kube/event.hpp>
#include <keyshepherd/kube/reflector.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace keyshepherd::kube {
namespace {

using test::in;
using test::Peer;
using namespace std::chrono_literals;

const Resource config_maps{"", "v1", "configmaps", true};

class Cache final : public Sink {
public:
    void replaced(std::vector<Json> objects, const std::vector<std::string>& gone_) override {
        keys.clear();
        for (const Json& each : objects) keys.insert(key(each));
        gone.insert(gone.end(), gone_.begin(), gone_.end());
        ++replacements;
    }
    void applied(Json object) override {
        keys.insert(key(object));
        managed_fields |= object["metadata"].contains("managedFields");
    }
    void removed(const std::string& key, Json) override { keys.erase(key); }
    void failed(const Error& error, std::chrono::milliseconds) override { failures.push_back(error.code); }

    std::set<std::string> keys;
    std::vector<std::string> gone;
    std::vector<Errc> failures;
    int replacements = 0;
    bool managed_fields = false;
};

std::string event(const std::string& type, const std::string& name, int version) {
    return Json{{"type", type},
                {"object",
                 {{"metadata",
                   {{"name", name},
                    {"namespace", "ns"},
                    {"resourceVersion", std::to_string(version)},
                    {"managedFields", Json::array()}}}}}}
               .dump() +
           '\n';
}

std::string bookmark(int version) {
    return Json{{"type", "BOOKMARK"},
                {"object",
                 {{"metadata",
                   {{"resourceVersion", std::to_string(version)},
                    {"annotations", {{"k8s.io/initial-events-end", "true"}}}}}}}}
               .dump() +
           '\n';
}

std::string gone_event() {
    return Json{{"type", "ERROR"}, {"object", {{"kind", "Status"}, {"code", 410}, {"reason", "Expired"}}}}
               .dump() +
           '\n';
}

Peer::Step stream(const std::string& lines) {
    return Peer::say("HTTP/1.1 200 OK\r\n\r\n" + lines);
}

Peer::Step refuse(int status) {
    return Peer::say("HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: 2\r\n\r\n{}");
}

class ReflectTest : public test::EventLoop {
protected:
    static Config config_of(const Peer& peer) {
        Config config;
        config.origin = {false, "127.0.0.1", peer.port()};
        return config;
    }
    static ReflectOptions quick() {
        ReflectOptions options;
        options.times.backoff = {5ms, 20ms};
        options.times.shortest = 0ms;
        return options;
    }
    static Task<bool> reflected(Client& client, Sink& sink, ReflectOptions options) {
        co_await reflect(client, config_maps, "ns", sink, std::move(options));
        co_return true;
    }
    template <class Condition>
    void run_until(Condition condition) {
        const auto until = in(30s);
        while (!condition() && SteadyClock::now() < until) run_for(5ms);
        EXPECT_TRUE(condition());
    }
    static bool holds(const std::string& text, std::string_view part) {
        return text.find(part) != std::string::npos;
    }
};

TEST_F(ReflectTest, KeepsACacheThroughEveryKindOfEnd) {
    Peer peer(context_,
              {
                  {Peer::take(), refuse(503)},
                  {Peer::take(), stream(event("ADDED", "a", 1) + event("ADDED", "b", 2) + bookmark(5)),
                   Peer::hold()},
                  {Peer::take(), stream(event("ADDED", "c", 6) + event("DELETED", "b", 7))},
                  {Peer::take(), stream(event("ADDED", "d", 8)), Peer::reset()},
                  {Peer::take(), stream(gone_event())},
                  {Peer::take(), stream(event("ADDED", "d", 8) + bookmark(9)), Peer::hold()},
              });
    Client client(context_, config_of(peer));
    Cache cache;
    const auto started = start(reflected(client, cache, quick()));
    run_until([&] { return cache.replacements == 2; });
    EXPECT_EQ(cache.keys, std::set<std::string>{"ns/d"});
    EXPECT_EQ(cache.gone, (std::vector<std::string>{"ns/a", "ns/c"}));
    EXPECT_FALSE(cache.managed_fields);
    ASSERT_GE(peer.requests().size(), 6U);
    EXPECT_TRUE(holds(peer.requests()[2], "resourceVersion=5 "));  // where the list ended
    EXPECT_TRUE(holds(peer.requests()[3], "resourceVersion=7 "));  // where the stream ended
    EXPECT_TRUE(holds(peer.requests()[5], "sendInitialEvents=true"));
    ASSERT_FALSE(cache.failures.empty());
    EXPECT_EQ(cache.failures.front(), Errc::unavailable);
    EXPECT_EQ(cache.failures.back(), Errc::gone);
    started->cancel.emit(boost::asio::cancellation_type::terminal);
    EXPECT_TRUE(finish(started));
}

TEST_F(ReflectTest, FallsBackToPages) {
    const std::string page_one =
        R"({"kind":"ConfigMapList","metadata":{"resourceVersion":"5","continue":"x"},"items":[{"metadata":{"name":"a","namespace":"ns"}}]})";
    const std::string page_two =
        R"({"kind":"ConfigMapList","metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"b","namespace":"ns"}}]})";
    Peer peer(context_, {{Peer::take(), refuse(422)},
                         {Peer::take(), Peer::ok(page_one), Peer::take(), Peer::ok(page_two), Peer::hold()},
                         {Peer::take(), stream(event("ADDED", "c", 6)), Peer::hold()}});
    Client client(context_, config_of(peer));
    Cache cache;
    const auto started = start(reflected(client, cache, quick()));
    run_until([&] { return cache.keys.size() == 3; });
    EXPECT_EQ(cache.replacements, 1);
    EXPECT_TRUE(cache.failures.empty());
    EXPECT_TRUE(holds(peer.requests()[2], "continue=x"));
    EXPECT_TRUE(holds(peer.requests()[3], "resourceVersion=5 "));
    started->cancel.emit(boost::asio::cancellation_type::terminal);
    EXPECT_TRUE(finish(started));
}

TEST_F(ReflectTest, NoticesAConnectionThatDied) {
    Peer peer(context_, {{Peer::take(), stream(bookmark(5)), Peer::hold()},
                         {Peer::take(), stream(""), Peer::hold()},
                         {Peer::take(), stream(event("ADDED", "a", 6)), Peer::hold()}});
    Client client(context_, config_of(peer));
    Cache cache;
    ReflectOptions options = quick();
    options.times.server_timeout = 0s;
    options.times.idle_margin = 100ms;
    const auto started = start(reflected(client, cache, options));
    run_until([&] { return cache.keys.size() == 1; });
    EXPECT_EQ(cache.failures.front(), Errc::timeout);
    EXPECT_TRUE(holds(peer.requests()[2], "resourceVersion=5 "));
    started->cancel.emit(boost::asio::cancellation_type::terminal);
    EXPECT_TRUE(finish(started));
}

TEST_F(ReflectTest, EndsWhereverItIsCancelled) {
    for (const auto time : {0ms, 3ms, 20ms, 60ms}) {
        for (const Peer::Script& script :
             std::vector<Peer::Script>{{Peer::hold()},
                                       {Peer::take(), refuse(500)},
                                       {Peer::take(), stream(bookmark(5)), Peer::hold()}}) {
            Peer peer(context_, {script});
            Client client(context_, config_of(peer));
            Cache cache;
            ReflectOptions options;  // the real waits
            const auto started = start(reflected(client, cache, options));
            run_for(time);
            started->cancel.emit(boost::asio::cancellation_type::terminal);
            const auto before = SteadyClock::now();
            EXPECT_TRUE(finish(started));
            EXPECT_LT(SteadyClock::now() - before, 500ms);
            // Who is cancelled has failed at nothing.
            EXPECT_EQ(std::ranges::count(cache.failures, Errc::cancelled), 0);
        }
    }
}

TEST_F(ReflectTest, AnEventIsReported) {
    Peer peer(context_, {{Peer::take(), Peer::ok("{}"), Peer::take(), refuse(403)}});
    Client client(context_, config_of(peer));
    const Json about = {
        {"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"metadata", {{"name", "a"}, {"namespace", "ns"}}}};
    EXPECT_TRUE(run(report(client, about, {Event::Type::normal, "R", "A", "n"}, {"c", "i"}, in(5s))));
    EXPECT_EQ(
        run(report(client, about, {Event::Type::normal, "R", "A", "n"}, {"c", "i"}, in(5s))).error().code,
        Errc::forbidden);
    EXPECT_TRUE(peer.requests()[0].starts_with("POST /apis/events.k8s.io/v1/namespaces/ns/events HTTP"));
}

}  // namespace
}  // namespace keyshepherd::kube
