// The kube module against a real API server: test_kube_client.py starts one and runs this program, which
// takes it from $KUBECONFIG. It restarts that API server.
#include "support/event_loop.hpp"

#include <keyshepherd/kube/event.hpp>
#include <keyshepherd/kube/finalizer.hpp>
#include <keyshepherd/kube/lease.hpp>
#include <keyshepherd/kube/reflector.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <map>
#include <thread>

namespace keyshepherd::kube {
namespace {

using test::in;
using namespace std::chrono_literals;

const Resource namespaces{"", "v1", "namespaces", false};
const Resource config_maps{"", "v1", "configmaps", true};
const Resource accounts{"", "v1", "serviceaccounts", true};
const Resource events{"events.k8s.io", "v1", "events", true};
const Resource leases{"coordination.k8s.io", "v1", "leases", true};

Json config_map(const std::string& name, const std::string& value = "v") {
    return {{"apiVersion", "v1"},
            {"kind", "ConfigMap"},
            {"metadata", {{"name", name}}},
            {"data", {{"k", value}}}};
}

void restart_api_server() {
    const std::string command = std::string(std::getenv("KS_CLUSTER_SH")) + " restart-apiserver " +
                                std::getenv("KS_CLUSTER_DIR") + " >&2";
    ASSERT_EQ(std::system(command.c_str()), 0);
}

class Cache final : public Sink {
public:
    void replaced(std::vector<Json> all, const std::vector<std::string>& gone) override {
        std::cout << "  replaced: " << all.size() << " objects, " << gone.size() << " gone\n";
        objects.clear();
        for (const Json& each : all) objects[key(each)] = metadata(each).resource_version;
        ++replacements;
    }
    void applied(Json object) override {
        EXPECT_FALSE(object["metadata"].contains("managedFields"));
        EXPECT_EQ(object["kind"], "ConfigMap");
        objects[key(object)] = metadata(object).resource_version;
    }
    void removed(const std::string& key, Json) override { objects.erase(key); }
    void failed(const Error& error, std::chrono::milliseconds wait) override {
        std::cout << "  failed, waits " << wait.count() << " ms: " << error.message << '\n';
    }

    std::map<std::string, std::string> objects;
    int replacements = 0;
};

class KubeTest : public test::EventLoop {
protected:
    void SetUp() override {
        if (std::getenv("KUBECONFIG") == nullptr || std::getenv("KS_CLUSTER_DIR") == nullptr)
            GTEST_SKIP() << "no cluster: run tests/integration/test_kube_client.py";
        auto config = load();
        ASSERT_TRUE(config) << config.error().message;
        client = std::make_unique<Client>(context_, *config);
        const auto made = run(client->create(
            namespaces, "",
            {{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"generateName", "kube-client-"}}}},
            in(30s)));
        ASSERT_TRUE(made) << made.error().message;
        ns = metadata(*made).name;
    }
    void TearDown() override {
        client.reset();
        EventLoop::TearDown();
    }
    template <class Condition>
    void run_until(Condition condition, std::chrono::seconds time = 60s) {
        const auto until = in(time);
        while (!condition() && SteadyClock::now() < until) run_for(5ms);
        EXPECT_TRUE(condition());
    }
    Json must(result<Json> got) {
        EXPECT_TRUE(got) << got.error().message;
        return got.value_or(Json());
    }
    std::map<std::string, std::string> listed() {
        std::map<std::string, std::string> all;
        ListOptions options;
        options.limit = 7;
        do {
            auto page = run(client->list(config_maps, ns, options, in(30s)));
            EXPECT_TRUE(page) << page.error().message;
            if (!page) break;
            for (const Json& each : page->items) all[key(each)] = metadata(each).resource_version;
            options.continue_token = page->continue_token;
        } while (!options.continue_token.empty());
        return all;
    }

    std::unique_ptr<Client> client;
    std::string ns;
};

TEST_F(KubeTest, KnowsTheServer) {
    const auto version = run(client->server_version(in(30s)));
    ASSERT_TRUE(version) << version.error().message;
    std::cout << "  API server " << *version << '\n';
    EXPECT_TRUE(version->starts_with("v1."));
    Config stranger = client->config();
    stranger.tls.certificate.clear();
    stranger.tls.key.clear();
    stranger.token = "of-nobody";
    Client other(context_, stranger);
    EXPECT_EQ(run(other.get({config_maps, ns, "x"}, in(30s))).error().code, Errc::unauthorized);
}

TEST_F(KubeTest, WritesAndTellsConflictsApart) {
    const ObjectRef ref{config_maps, ns, "one"};
    EXPECT_EQ(run(client->get(ref, in(30s))).error().code, Errc::not_found);
    const Json first = must(run(client->create(config_maps, ns, config_map("one"), in(30s))));
    const auto again = run(client->create(config_maps, ns, config_map("one"), in(30s)));
    ASSERT_FALSE(again);
    EXPECT_TRUE(already_exists(again.error())) << again.error().message;
    EXPECT_EQ(run(client->create(config_maps, ns, config_map("No Name"), in(30s))).error().code,
              Errc::invalid);

    Patch stale{Patch::Kind::merge, {{"metadata", {{"resourceVersion", "1"}}}, {"data", {{"k", "w"}}}}};
    const auto refused = run(client->patch(ref, stale, in(30s)));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::conflict) << refused.error().message;
    EXPECT_FALSE(already_exists(refused.error()));

    Patch apply{Patch::Kind::apply, config_map("one", "applied"), "tests"};
    EXPECT_EQ(run(client->patch(ref, apply, in(30s))).error().code, Errc::conflict);
    apply.force = true;
    EXPECT_EQ(must(run(client->patch(ref, apply, in(30s))))["data"]["k"], "applied");

    EXPECT_EQ(run(client->remove(ref, {.uid = "another"}, Propagation::background, in(30s))).error().code,
              Errc::conflict);
    EXPECT_TRUE(run(client->remove(ref, {.uid = metadata(first).uid}, Propagation::background, in(30s))));
    EXPECT_EQ(run(client->remove(ref, {}, Propagation::background, in(30s))).error().code, Errc::not_found);
}

TEST_F(KubeTest, AddsAndRemovesAFinalizer) {
    const ObjectRef ref{config_maps, ns, "two"};
    const Json bare = must(run(client->create(config_maps, ns, config_map("two"), in(30s))));
    const Patch add{Patch::Kind::json_patch, *add_finalizer(bare, "keyshepherd.dev/cleanup")};
    const Json with = must(run(client->patch(ref, add, in(30s))));
    EXPECT_TRUE(has_finalizer(with, "keyshepherd.dev/cleanup"));
    const auto twice = run(client->patch(ref, add, in(30s)));  // decided on what is no longer so
    ASSERT_FALSE(twice);
    EXPECT_EQ(twice.error().code, Errc::invalid) << twice.error().message;
    EXPECT_TRUE(run(client->remove(ref, {}, Propagation::background, in(30s))));
    const Json dying = must(run(client->get(ref, in(30s))));
    EXPECT_FALSE(metadata(dying).deletion_timestamp.empty());
    const Patch remove{Patch::Kind::json_patch, *remove_finalizer(dying, "keyshepherd.dev/cleanup")};
    EXPECT_TRUE(run(client->patch(ref, remove, in(30s))));
    EXPECT_EQ(run(client->get(ref, in(30s))).error().code, Errc::not_found);
}

TEST_F(KubeTest, RequestsATokenForAnAudience) {
    must(run(client->create(
        accounts, ns, {{"apiVersion", "v1"}, {"kind", "ServiceAccount"}, {"metadata", {{"name", "app"}}}},
        in(30s))));
    const auto token = run(client->service_account_token(ns, "app", "https://vault.example", 600s, in(30s)));
    ASSERT_TRUE(token) << token.error().message;
    EXPECT_EQ(std::ranges::count(*token, '.'), 2);
    // It is not good for the API server.
    Config config = client->config();
    config.tls.certificate.clear();
    config.tls.key.clear();
    config.token = *token;
    Client holder(context_, config);
    EXPECT_EQ(run(holder.get({config_maps, ns, "x"}, in(30s))).error().code, Errc::unauthorized);
    EXPECT_EQ(run(client->service_account_token(ns, "nobody", "a", 600s, in(30s))).error().code,
              Errc::not_found);
}

TEST_F(KubeTest, ReportsAnEvent) {
    const Json about = must(run(client->create(config_maps, ns, config_map("three"), in(30s))));
    const std::string note(2000, 'n');
    const auto reported = run(report(*client, about, {Event::Type::warning, "DriftRepaired", "Repair", note},
                                     {"keyshepherd.dev/tests", "here"}, in(30s)));
    ASSERT_TRUE(reported) << reported.error().message;
    const auto page = run(client->list(events, ns, {}, in(30s)));
    ASSERT_TRUE(page && page->items.size() == 1);
    EXPECT_EQ(page->items[0]["regarding"]["name"], "three");
}

Task<bool> reflected(Client& client, std::string ns, Sink& sink) {
    co_await reflect(client, config_maps, std::move(ns), sink);
    co_return true;
}

TEST_F(KubeTest, ReflectsThroughARestartOfTheApiServer) {
    for (int i = 0; i < 20; ++i)
        must(run(client->create(config_maps, ns, config_map("a" + std::to_string(i)), in(30s))));
    Cache cache;
    const auto started = start(reflected(*client, ns, cache));
    run_until([&] { return cache.objects.size() >= 20; });
    EXPECT_EQ(cache.objects, listed());
    must(run(client->create(config_maps, ns, config_map("b"), in(30s))));
    EXPECT_TRUE(run(client->remove({config_maps, ns, "a0"}, {}, Propagation::background, in(30s))));
    run_until([&] { return !cache.objects.contains(ns + "/a0") && cache.objects.contains(ns + "/b"); });

    restart_api_server();  // the loop stands still meanwhile
    run_for(100ms);        // and sees that its kept connections are closed
    must(run(client->create(config_maps, ns, config_map("c"), in(30s))));
    EXPECT_TRUE(run(client->remove({config_maps, ns, "a1"}, {}, Propagation::background, in(30s))));
    const Patch change{Patch::Kind::merge, {{"data", {{"k", "changed"}}}}};
    must(run(client->patch({config_maps, ns, "a2"}, change, in(30s))));
    const auto truth = listed();
    run_until([&] { return cache.objects == truth; });
    std::cout << "  lists of the whole: " << cache.replacements << '\n';
    started->cancel.emit(boost::asio::cancellation_type::terminal);
    EXPECT_TRUE(finish(started));
}

TEST_F(KubeTest, HasInitialEventsAndRefusesAVersionThatIsGone) {
    must(run(client->create(config_maps, ns, config_map("d"), in(30s))));
    WatchOptions options;
    options.initial_events = true;
    {
        auto watch = run(client->watch(config_maps, ns, options, in(30s)));
        if (watch) {
            std::string types;
            for (;;) {
                auto event = run(watch->next(in(30s)));
                ASSERT_TRUE(event && *event);
                types += (*event)->type + ' ';
                if ((*event)->type == "ERROR") types += (*event)->object.value("message", "");
                if ((*event)->type == "BOOKMARK" || (*event)->type == "ERROR") break;
            }
            std::cout << "  initial events: " << types << '\n';
        } else {
            std::cout << "  initial events: " << watch.error().message << '\n';
            EXPECT_EQ(watch.error().code, Errc::invalid);
        }
    }
    options.initial_events = false;
    options.resource_version = "1";
    auto old = run(client->watch(config_maps, ns, options, in(30s)));
    if (!old) {
        std::cout << "  version 1: " << old.error().message << '\n';
        EXPECT_EQ(old.error().code, Errc::gone);
    } else {
        const auto event = run(old->next(in(30s)));
        ASSERT_TRUE(event && *event);
        std::cout << "  version 1: " << (*event)->type << ' ' << (*event)->object.dump().substr(0, 200)
                  << '\n';
    }
}

Task<void> work(int& running, int& most, int& starts) {
    co_await boost::asio::this_coro::throw_if_cancelled(false);
    ++starts;
    most = std::max(most, ++running);
    co_await net::sleep_until(SteadyClock::now() + 3600s);
    --running;
}

TEST_F(KubeTest, LeadsOneAtATime) {
    Client other(context_, client->config());
    const fsm::LeaseTimes times{4s, 3s, 500ms, 1s};
    int running = 0;
    int most = 0;
    int starts[2] = {};
    const auto candidate = [&](Client& of, int number) {
        LeaseHooks hooks;
        hooks.changed = [number](bool leading) {
            std::cout << "  candidate " << number << (leading ? " leads\n" : " leads no more\n");
        };
        hooks.failed = [number](const Error& error) {
            std::cout << "  candidate " << number << ": " << error.message << '\n';
        };
        return start(lead(
            of, {ns, "l"}, "candidate-" + std::to_string(number), times,
            [&, number] { return work(running, most, starts[number]); }, hooks));
    };
    const auto first = candidate(*client, 0);
    run_until([&] { return starts[0] == 1; });
    const auto second = candidate(other, 1);
    run_for(2s);
    EXPECT_EQ(starts[1], 0);
    const auto stopped = SteadyClock::now();
    first->cancel.emit(boost::asio::cancellation_type::terminal);
    EXPECT_EQ(finish(first).error().code, Errc::cancelled);
    run_until([&] { return starts[1] == 1; });
    const std::chrono::duration<double> handover = SteadyClock::now() - stopped;
    std::cout << "  handover after " << handover.count() << " s\n";
    EXPECT_LT(handover, 3s);  // less than the lease's duration

    // Blind for longer than the work may go on: it has ended before anyone else could begin.
    std::thread restart(restart_api_server);
    const auto lost = finish(second);
    restart.join();
    ASSERT_FALSE(lost);
    EXPECT_EQ(lost.error().code, Errc::unavailable) << lost.error().message;
    EXPECT_EQ(running, 0);
    const auto third = candidate(*client, 0);
    run_until([&] { return starts[0] == 2; });
    third->cancel.emit(boost::asio::cancellation_type::terminal);
    EXPECT_EQ(finish(third).error().code, Errc::cancelled);
    EXPECT_EQ(most, 1);
    const Json lease = must(run(client->get({leases, ns, "l"}, in(30s))));
    std::cout << "  at the end: " << lease["spec"].dump() << '\n';
    EXPECT_FALSE(lease["spec"].contains("holderIdentity"));
    EXPECT_EQ(lease["spec"]["leaseTransitions"], 2);
}

}  // namespace
}  // namespace keyshepherd::kube
