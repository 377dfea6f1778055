#include "credentials.hpp"
#include "support/end_server.hpp"
#include "support/event_loop.hpp"

#include <keyshepherd/kube/client.hpp>
#include <keyshepherd/net/server.hpp>

#include <boost/asio/detached.hpp>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace keyshepherd::kube {
namespace {

using test::in;
using test::Peer;
using namespace std::chrono_literals;

const Resource config_maps{"", "v1", "configmaps", true};
const Resource secrets{"", "v1", "secrets", true};
const ObjectRef one{config_maps, "ns", "a"};

net::Answer answer(int status, std::string body, std::string retry_after = "") {
    net::Answer made;
    made.status = status;
    made.body = std::move(body);
    if (!retry_after.empty()) made.headers.emplace_back("retry-after", retry_after);
    return made;
}

std::string status_body(int code, const std::string& reason, const std::string& message = "because") {
    return Json{{"kind", "Status"}, {"code", code}, {"reason", reason}, {"message", message}}.dump();
}

TEST(ErrorOf, IsDecidedByTheStatus) {
    const std::pair<int, Errc> table[] = {
        {400, Errc::invalid},   {401, Errc::unauthorized}, {403, Errc::forbidden},   {404, Errc::not_found},
        {409, Errc::conflict},  {410, Errc::gone},         {413, Errc::invalid},     {422, Errc::invalid},
        {429, Errc::throttled}, {500, Errc::unavailable},  {503, Errc::unavailable}, {504, Errc::unavailable},
        {302, Errc::protocol},  {405, Errc::protocol}};
    for (const auto& [status, code] : table)
        EXPECT_EQ(error_of("GET /x", answer(status, "{}"), true).code, code) << status;
}

TEST(ErrorOf, SaysWhatTheServerSaid) {
    const Error error =
        error_of("PATCH /x", answer(409, status_body(409, "Conflict", "it was\nmodified")), true);
    EXPECT_EQ(error.message, "PATCH /x: 409 Conflict: it was modified");
    EXPECT_FALSE(already_exists(error));
    EXPECT_TRUE(already_exists(error_of("POST /x", answer(409, status_body(409, "AlreadyExists")), true)));
    EXPECT_TRUE(already_exists(error_of("POST /x", answer(409, status_body(409, "AlreadyExists")), false)));
    EXPECT_FALSE(already_exists(error_of("POST /x", answer(404, status_body(404, "AlreadyExists")), true)));
    EXPECT_FALSE(already_exists(
        error_of("POST /x", answer(409, status_body(409, "Conflict", ": 409 AlreadyExists")), true)));
    EXPECT_EQ(error_of("GET /x", answer(502, "<html>\x01 bad"), true).message, "GET /x: 502: <html> bad");
    EXPECT_LT(error_of("GET /x", answer(500, std::string(100'000, 'x')), true).message.size(), 600U);
}

TEST(ErrorOf, DoesNotQuoteWhenToldNotTo) {
    EXPECT_EQ(error_of("POST /x", answer(422, status_body(422, "Invalid", "bad s3cr3t")), false).message,
              "POST /x: 422 Invalid");
    EXPECT_EQ(error_of("POST /x", answer(500, "s3cr3t"), false).message, "POST /x: 500");
}

TEST(ErrorOf, TakesRetryAfterOver) {
    EXPECT_EQ(error_of("x", answer(429, "{}", "7"), true).retry_after, 7s);
    EXPECT_EQ(error_of("x", answer(429, R"({"kind":"Status","details":{"retryAfterSeconds":3}})"), true)
                  .retry_after,
              3s);
    EXPECT_EQ(error_of("x", answer(503, "{}", "Wed, 21 Oct 2015 07:28:00 GMT"), true).retry_after, 0s);
    EXPECT_EQ(error_of("x", answer(503, "{}", "-4"), true).retry_after, 0s);
    EXPECT_LE(error_of("x", answer(503, "{}", "99999999999"), true).retry_after, 24h);
}

TEST(Wipe, LeavesNothing) {
    std::string text(100, 's');
    const char* at = text.data();
    wipe(text);
    EXPECT_TRUE(text.empty());
    EXPECT_EQ(at, text.data());  // still the string's
    Json json = {{"data", {{"k", "s3cr3t"}}}, {"list", {"s3cr3t", 1}}};
    wipe(json);
    EXPECT_EQ(json.dump().find("s3cr3t"), std::string::npos);
}

std::string reply(int status, const std::string& body, const std::string& more = "") {
    return "HTTP/1.1 " + std::to_string(status) + " X\r\n" + more +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

class KubeClientTest : public test::EventLoop {
protected:
    void SetUp() override {
        std::string name = (std::filesystem::temp_directory_path() / "keyshepherd-kube.XXXXXX").string();
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        folder = name;
    }
    void TearDown() override {
        EventLoop::TearDown();
        std::filesystem::remove_all(folder);
    }
    static Config config_of(const Peer& peer) {
        Config config;
        config.origin = {false, "127.0.0.1", peer.port()};
        return config;
    }
    // A script of the shell that is a credential plugin.
    ExecPlugin plugin(const std::string& name, const std::string& body) {
        const auto file = folder / name;
        std::ofstream(file) << "#!/bin/sh\n" << body;
        chmod(file.c_str(), 0700);
        ExecPlugin made{file.string()};
        made.environment = {{"FOLDER", folder.string()}};
        return made;
    }
    std::string read(const std::string& name) {
        return read_file((folder / name).string()).value_or("absent");
    }
    static bool holds(const std::string& text, std::string_view part) {
        return text.find(part) != std::string::npos;
    }

    std::filesystem::path folder;
};

TEST_F(KubeClientTest, Verbs) {
    const std::string object = R"({"metadata":{"name":"a"}})";
    Peer peer(context_,
              {{Peer::take(), Peer::ok(object), Peer::take(), Peer::say(reply(201, object)), Peer::take(),
                Peer::ok(object), Peer::take(), Peer::ok(object), Peer::take(), Peer::ok(object),
                Peer::take(), Peer::ok(object), Peer::take(), Peer::ok(R"({"gitVersion":"v1.34.1"})")}});
    Config config = config_of(peer);
    config.token = "t0k3n";
    config.path_prefix = "/prefix";
    Client client(context_, config, "tests/1");
    EXPECT_EQ(run(client.get(one, in(5s)))->at("metadata").at("name"), "a");
    EXPECT_TRUE(run(client.create(config_maps, "ns", {{"x", 1}}, in(5s))));
    EXPECT_TRUE(run(client.patch(one, Patch{Patch::Kind::merge, {{"x", 2}}}, in(5s))));
    EXPECT_TRUE(run(client.patch({config_maps, "ns", "a", "status"},
                                 Patch{Patch::Kind::apply, {{"x", 3}}, "me too", true}, in(5s))));
    EXPECT_TRUE(run(client.patch(one, Patch{Patch::Kind::json_patch, Json::array()}, in(5s))));
    EXPECT_TRUE(
        run(client.remove(one, {.uid = "u", .resource_version = "9"}, Propagation::foreground, in(5s))));
    EXPECT_EQ(run(client.server_version(in(5s))), "v1.34.1");
    const auto& requests = peer.requests();
    ASSERT_EQ(requests.size(), 7U);
    EXPECT_TRUE(requests[0].starts_with("GET /prefix/api/v1/namespaces/ns/configmaps/a HTTP/1.1\r\n"));
    EXPECT_TRUE(holds(requests[0], "\r\nAuthorization: Bearer t0k3n\r\n"));
    EXPECT_TRUE(holds(requests[0], "\r\nUser-Agent: tests/1\r\n"));
    EXPECT_TRUE(requests[1].starts_with("POST /prefix/api/v1/namespaces/ns/configmaps HTTP"));
    EXPECT_TRUE(holds(requests[1], "\r\nContent-Type: application/json\r\n"));
    EXPECT_TRUE(requests[1].ends_with("\r\n\r\n{\"x\":1}"));
    EXPECT_TRUE(holds(requests[2], "application/merge-patch+json"));
    EXPECT_TRUE(requests[3].starts_with(
        "PATCH /prefix/api/v1/namespaces/ns/configmaps/a/status?fieldManager=me%20too&force=true HTTP"));
    EXPECT_TRUE(holds(requests[3], "application/apply-patch+yaml"));
    EXPECT_TRUE(holds(requests[4], "application/json-patch+json"));
    EXPECT_TRUE(requests[5].starts_with("DELETE "));
    const Json options = Json::parse(requests[5].substr(requests[5].find("\r\n\r\n")));
    EXPECT_EQ(options["preconditions"], (Json{{"uid", "u"}, {"resourceVersion", "9"}}));
    EXPECT_EQ(options["propagationPolicy"], "Foreground");
    EXPECT_TRUE(requests[6].starts_with("GET /prefix/version HTTP"));
}

TEST_F(KubeClientTest, TellsTheServersClockAsOfItsLatestAnswer) {
    const auto dated = [](int status, const std::string& date) {
        return Peer::say(
            reply(status, R"({"metadata":{"name":"a"}})", date.empty() ? "" : "Date: " + date + "\r\n"));
    };
    Peer peer(context_,
              {{Peer::take(), dated(200, ""), Peer::take(), dated(200, "Sat, 31 Jan 2026 12:00:00 GMT"),
                Peer::take(), dated(200, ""), Peer::take(), dated(404, "Sat, 31 Jan 2026 12:00:05 GMT"),
                Peer::take(), dated(200, "soon")}});
    Client client(context_, config_of(peer));
    EXPECT_EQ(client.server_time(), 0) << "no answer yet";
    constexpr std::int64_t noon = 1'769'860'800;
    for (const std::int64_t told : {std::int64_t{0}, noon, noon, noon + 5, noon + 5}) {
        (void)run(client.get(one, in(5s)));
        EXPECT_EQ(client.server_time(), told);
    }
}

TEST_F(KubeClientTest, WhatMakesNoSenseIsNotSent) {
    Peer peer(context_, {{Peer::hold()}});
    Client client(context_, config_of(peer));
    const auto refused = [&](const auto& got) {
        ASSERT_FALSE(got);
        EXPECT_EQ(got.error().code, Errc::invalid) << got.error().message;
    };
    refused(run(client.patch(one, Patch{Patch::Kind::apply, {}}, in(5s))));
    refused(run(client.create(config_maps, "ns", {{"x", "\xFF"}}, in(5s))));
    // Each of these would be another URL: at worst, a DELETE of the whole collection.
    for (const char* name : {"", ".", ".."}) {
        refused(run(client.remove({config_maps, "ns", name}, {}, Propagation::background, in(5s))));
        refused(run(client.get({config_maps, name, "a"}, in(5s))));
        refused(run(client.patch({config_maps, "ns", name}, Patch{Patch::Kind::merge, {}}, in(5s))));
        refused(run(client.create(config_maps, name, {}, in(5s))));
        refused(run(client.service_account_token("ns", name, "aud", 600s, in(5s))));
    }
    EXPECT_EQ(peer.connections(), 0U);
}

TEST_F(KubeClientTest, AListIsAPageWithNamedItems) {
    Peer peer(
        context_,
        {{Peer::take(),
          Peer::ok(
              R"({"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"next"},)"
              R"("items":[{"metadata":{"name":"a"}}]})"),
          Peer::take(),
          Peer::ok(R"({"kind":"ConfigMapList","metadata":{"resourceVersion":"7"},"items":null})"),
          Peer::take(), Peer::ok(R"({"kind":"Status"})")}});
    Client client(context_, config_of(peer));
    ListOptions options;
    options.label_selector = "a=b,c!=d";
    options.limit = 2;
    const auto page = run(client.list(config_maps, "", options, in(5s)));
    ASSERT_TRUE(page) << page.error().message;
    ASSERT_EQ(page->items.size(), 1U);
    EXPECT_EQ(page->items[0]["kind"], "ConfigMap");
    EXPECT_EQ(page->items[0]["apiVersion"], "v1");
    EXPECT_EQ(page->continue_token, "next");
    EXPECT_EQ(page->resource_version, "7");
    EXPECT_TRUE(
        peer.requests()[0].starts_with("GET /api/v1/configmaps?limit=2&labelSelector=a%3Db%2Cc%21%3Dd HTTP"));
    options.continue_token = "a+b/c";
    options.resource_version = "3";  // goes with no token
    EXPECT_TRUE(run(client.list(config_maps, "", options, in(5s)))->items.empty());
    EXPECT_TRUE(peer.requests()[1].starts_with("GET /api/v1/configmaps?limit=2&continue=a%2Bb%2Fc&label"));
    EXPECT_FALSE(holds(peer.requests()[1], "resourceVersion"));
    EXPECT_EQ(run(client.list(config_maps, "", {}, in(5s))).error().code, Errc::protocol);
}

TEST_F(KubeClientTest, ARefusalIsAnErrorThatNamesTheCall) {
    Peer peer(context_, {{Peer::take(), Peer::say(reply(404, status_body(404, "NotFound", "no such thing"))),
                          Peer::take(), Peer::say(reply(422, status_body(422, "Invalid", "bad s3cr3t"))),
                          Peer::take(), Peer::say(reply(200, "no json"))}});
    Client client(context_, config_of(peer));
    const auto missing = run(client.get(one, in(5s)));
    EXPECT_EQ(missing.error().code, Errc::not_found);
    EXPECT_EQ(missing.error().message, "GET /api/v1/namespaces/ns/configmaps/a: 404 NotFound: no such thing");
    const auto secret = run(client.create(secrets, "ns", {{"stringData", {{"k", "s3cr3t"}}}}, in(5s)));
    EXPECT_EQ(secret.error().message, "POST /api/v1/namespaces/ns/secrets: 422 Invalid");
    EXPECT_EQ(run(client.get(one, in(5s))).error().code, Errc::protocol);
}

TEST_F(KubeClientTest, EndsByItsDeadlineAndWhenCancelled) {
    Peer peer(context_, {{Peer::take(), Peer::hold()}});
    Client client(context_, config_of(peer));
    const auto before = SteadyClock::now();
    EXPECT_EQ(run(client.get(one, in(150ms))).error().code, Errc::timeout);
    EXPECT_LT(SteadyClock::now() - before, 3s);
    const auto started = start(client.get(one, in(30s)));
    run_for(100ms);
    started->cancel.emit(boost::asio::cancellation_type::terminal);
    EXPECT_EQ(finish(started).error().code, Errc::cancelled);
}

TEST_F(KubeClientTest, ATokenFileIsReadAgainAtA401AndOnlyOnce) {
    Peer peer(context_, {{Peer::take(), Peer::ok("{}"), Peer::take(), Peer::say(reply(401, "{}")),
                          Peer::take(), Peer::ok("{}"), Peer::take(), Peer::say(reply(401, "{}")),
                          Peer::take(), Peer::say(reply(401, "{}"))}});
    Config config = config_of(peer);
    config.token_file = (folder / "token").string();
    Client client(context_, config);
    EXPECT_EQ(run(client.get(one, in(5s))).error().code, Errc::unauthorized);  // no file
    EXPECT_EQ(peer.connections(), 0U);
    std::ofstream(config.token_file) << "first\n";
    EXPECT_TRUE(run(client.get(one, in(5s))));
    std::ofstream(config.token_file) << "second\n";
    EXPECT_TRUE(run(client.get(one, in(5s))));
    EXPECT_EQ(run(client.get(one, in(5s))).error().code, Errc::unauthorized);
    ASSERT_EQ(peer.requests().size(), 5U);
    EXPECT_TRUE(holds(peer.requests()[0], "Bearer first\r\n"));
    EXPECT_TRUE(holds(peer.requests()[1], "Bearer first\r\n"));
    EXPECT_TRUE(holds(peer.requests()[2], "Bearer second\r\n"));
}

TEST_F(KubeClientTest, AStaticTokenIsNotTriedTwice) {
    Peer peer(context_, {{Peer::take(), Peer::say(reply(401, "{}"))}});
    Config config = config_of(peer);
    config.token = "t";
    Client client(context_, config);
    EXPECT_EQ(run(client.get(one, in(5s))).error().code, Errc::unauthorized);
    EXPECT_EQ(peer.requests().size(), 1U);
}

const std::string exec_head =
    R"({"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":)";

TEST_F(KubeClientTest, APluginIsRunOnceUntilItsCredentialIsRefused) {
    Peer peer(context_, {{Peer::take(), Peer::ok("{}"), Peer::take(), Peer::ok("{}"), Peer::take(),
                          Peer::say(reply(401, "{}")), Peer::take(), Peer::ok("{}")}});
    Config config = config_of(peer);
    config.exec =
        plugin("plugin",
               "echo x >>\"$FOLDER/runs\"; printf '%s' \"$KUBERNETES_EXEC_INFO\" >\"$FOLDER/info\"\n"
               "echo '" +
                   exec_head +
                   R"({"token":"t'$(wc -l <"$FOLDER/runs")'",)"
                   R"("expirationTimestamp":"2999-01-01T00:00:00Z"}}')");
    config.exec->cluster_info = true;
    Client client(context_, config);
    EXPECT_TRUE(run(client.get(one, in(20s))));
    EXPECT_TRUE(run(client.get(one, in(20s))));
    EXPECT_EQ(read("runs"), "x\n");
    EXPECT_TRUE(run(client.get(one, in(20s))));
    EXPECT_EQ(read("runs"), "x\nx\n");
    ASSERT_EQ(peer.requests().size(), 4U);
    EXPECT_TRUE(holds(peer.requests()[2], "Bearer t1\r\n")) << peer.requests()[2];
    EXPECT_TRUE(holds(peer.requests()[3], "Bearer t2\r\n")) << peer.requests()[3];
    const Json info = Json::parse(read("info"));
    EXPECT_EQ(info["spec"]["interactive"], false);
    EXPECT_EQ(info["spec"]["cluster"]["server"], config.origin.text());
}

TEST_F(KubeClientTest, OnePluginRunsForMany) {
    Peer peer(context_, {{Peer::take(), Peer::ok("{}"), Peer::take(), Peer::ok("{}"), Peer::take(),
                          Peer::ok("{}"), Peer::take(), Peer::ok("{}")}});
    Config config = config_of(peer);
    config.exec =
        plugin("plugin", "echo x >>\"$FOLDER/runs\"; sleep 0.2; echo '" + exec_head + R"({"token":"t"}}')");
    Client client(context_, config);
    std::vector<std::shared_ptr<test::Started<result<Json>>>> started;
    for (int i = 0; i < 4; ++i) started.push_back(start(client.get(one, in(20s))));
    for (const auto& each : started) EXPECT_TRUE(finish(each));
    EXPECT_EQ(read("runs"), "x\n");
}

TEST_F(KubeClientTest, AnExpiredCredentialIsMadeAnew) {
    Peer peer(context_, {{Peer::take(), Peer::ok("{}"), Peer::take(), Peer::ok("{}")}});
    Config config = config_of(peer);
    config.exec = plugin("plugin", "echo x >>\"$FOLDER/runs\"; echo '" + exec_head +
                                       R"({"token":"t","expirationTimestamp":"2001-01-01T00:00:00Z"}}')");
    Client client(context_, config);
    EXPECT_TRUE(run(client.get(one, in(20s))));
    EXPECT_TRUE(run(client.get(one, in(20s))));
    EXPECT_EQ(read("runs"), "x\nx\n");
}

TEST_F(KubeClientTest, APluginThatFailsIsNamed) {
    Peer peer(context_, {{Peer::hold()}});
    const struct {
        ExecPlugin plugin;
        Errc code;
        std::string text;
    } table[] = {{ExecPlugin{"/nonexistent/plugin"}, Errc::not_found, "cannot be started"},
                 {plugin("three", "exit 3"), Errc::unauthorized, "exited with status 3"},
                 {plugin("killed", "kill -9 $$"), Errc::unauthorized, "exited with status 137"},
                 {plugin("much", "exec cat /dev/zero"), Errc::invalid, "too much output"}};
    for (const auto& each : table) {
        Config config = config_of(peer);
        config.exec = each.plugin;
        Client client(context_, config);
        const auto got = run(client.get(one, in(20s)));
        EXPECT_EQ(got.error().code, each.code) << got.error().message;
        EXPECT_TRUE(holds(got.error().message, each.text)) << got.error().message;
    }
    EXPECT_EQ(peer.connections(), 0U);
}

TEST_F(KubeClientTest, APluginThatHangsIsKilledWithItsChildren) {
    Peer peer(context_, {{Peer::hold()}});
    // Left alone, its child would hold the pipe; or nothing would.
    int number = 0;
    for (const std::string& body : {std::string(), std::string("exec >&-\n")}) {
        Config config = config_of(peer);
        config.exec =
            plugin("plugin" + std::to_string(++number),
                   body + "sleep 1000 & echo $! >\"$FOLDER/child\"; echo $$ >\"$FOLDER/pid\"; wait\n");
        // Or a zombie that the system's first process has yet to collect.
        const auto alive = [&](const char* name) {
            const auto stat = read_file("/proc/" + std::to_string(std::stoi(read(name))) + "/stat");
            return stat && !holds(*stat, ") Z");
        };
        const auto gone = [&] {
            for (int i = 0; i < 500 && (alive("pid") || alive("child")); ++i) run_for(10ms);
            return !alive("pid") && !alive("child");
        };
        Client client(context_, config);
        const auto before = SteadyClock::now();
        const auto late = run(client.get(one, in(500ms)));
        EXPECT_EQ(late.error().code, Errc::timeout) << late.error().message;
        EXPECT_LT(SteadyClock::now() - before, 10s);
        EXPECT_TRUE(gone());
        const auto started = start(client.get(one, in(30s)));
        run_for(500ms);
        started->cancel.emit(boost::asio::cancellation_type::terminal);
        EXPECT_EQ(finish(started).error().code, Errc::cancelled);
        EXPECT_TRUE(gone());
    }
}

TEST_F(KubeClientTest, AContextMayEndInTheMiddleOfACall) {
    auto context = std::make_unique<boost::asio::io_context>(1);
    Config config;
    config.origin = {false, "127.0.0.1", "1"};
    config.exec = plugin("plugin", "echo $$ >\"$FOLDER/pid\"; exec sleep 1000");
    auto client = std::make_unique<Client>(*context, config);
    boost::asio::co_spawn(*context, client->get(one, in(30s)), boost::asio::detached);
    for (int i = 0; i < 500 && read("pid").find('\n') == std::string::npos; ++i) context->run_one_for(10ms);
    client.reset();
    context.reset();  // kills and collects the plugin
    EXPECT_NE(kill(std::stoi(read("pid")), 0), 0);
}

TEST_F(KubeClientTest, ATokenIsForOneAudience) {
    Peer peer(context_, {{Peer::take(), Peer::say(reply(201, R"({"status":{"token":"jwt"}})")), Peer::take(),
                          Peer::say(reply(201, "{}"))}});
    Client client(context_, config_of(peer));
    EXPECT_EQ(run(client.service_account_token("ns", "sa", "", 600s, in(5s))).error().code, Errc::invalid);
    EXPECT_EQ(peer.connections(), 0U);
    EXPECT_EQ(run(client.service_account_token("ns", "sa", "vault", 600s, in(5s))), "jwt");
    EXPECT_EQ(run(client.service_account_token("ns", "sa", "vault", 600s, in(5s))).error().code,
              Errc::protocol);
    EXPECT_TRUE(peer.requests()[0].starts_with("POST /api/v1/namespaces/ns/serviceaccounts/sa/token HTTP"));
    EXPECT_TRUE(holds(peer.requests()[0], R"("spec":{"audiences":["vault"],"expirationSeconds":600})"));
}

TEST_F(KubeClientTest, AWatchIsAStreamOfEvents) {
    Peer peer(context_, {{Peer::take(), Peer::say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
                          Peer::say("19\r\n{\"type\":\"ADDED\",\"object\":\r\n"), Peer::pause(30ms),
                          Peer::say("7\r\n{\"a\":1}\r\n3\r\n}\n\n\r\n"), Peer::pause(500ms),
                          Peer::say("5\r\nnope\n\r\n0\r\n\r\n")},
                         {Peer::take(), Peer::say(reply(410, status_body(410, "Expired")))}});
    Client client(context_, config_of(peer));
    WatchOptions options;
    options.resource_version = "5";
    {
        auto watch = run(client.watch(config_maps, "ns", options, in(5s)));
        ASSERT_TRUE(watch) << watch.error().message;
        EXPECT_TRUE(peer.requests()[0].starts_with(
            "GET /api/v1/namespaces/ns/configmaps?watch=1&allowWatchBookmarks=true&"
            "timeoutSeconds=290&resourceVersion=5 HTTP"));
        const auto event = run(watch->next(in(5s)));
        ASSERT_TRUE(event) << event.error().message;
        ASSERT_TRUE(event->has_value());
        EXPECT_EQ((*event)->type, "ADDED");
        EXPECT_EQ((*event)->object, (Json{{"a", 1}}));
        EXPECT_EQ(run(watch->next(in(50ms))).error().code, Errc::timeout);
        EXPECT_EQ(run(watch->next(in(5s))).error().code, Errc::protocol);  // usable after a timeout
        EXPECT_FALSE(run(watch->next(in(5s))).value().has_value());
    }
    options.initial_events = true;
    options.resource_version.clear();
    EXPECT_EQ(run(client.watch(config_maps, "ns", options, in(5s))).error().code, Errc::gone);
    EXPECT_TRUE(holds(peer.requests()[1], "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan HTTP"));
}

TEST_F(KubeClientTest, SpeaksWithOurOwnServer) {
    net::Server server(
        context_,
        [](const net::Request& request) {
            net::Response response;
            response.content_type = "application/json";
            response.body =
                Json{{"method", request.method}, {"target", request.target}, {"type", request.content_type}}
                    .dump();
            return response;
        },
        {});
    const auto endpoint = server.listen("127.0.0.1:0");
    ASSERT_TRUE(endpoint);
    {
        Config config;
        config.origin = {false, "127.0.0.1", std::to_string(endpoint->port())};
        Client client(context_, config);
        const auto got =
            run(client.patch({secrets, "ns", "a"}, Patch{Patch::Kind::merge, Json::object()}, in(5s)));
        ASSERT_TRUE(got) << got.error().message;
        EXPECT_EQ((*got)["method"], "PATCH");
        EXPECT_EQ((*got)["target"], "/api/v1/namespaces/ns/secrets/a");
        EXPECT_EQ((*got)["type"], "application/merge-patch+json");
    }
    test::end(server, context_);
}

}  // namespace
}  // namespace keyshepherd::kube
