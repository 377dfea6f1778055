#include "support/event_loop.hpp"
#include "support/test_certificates.hpp"

#include <keyshepherd/net/client.hpp>
#include <keyshepherd/net/server.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>

namespace keyshepherd::net {
namespace {

using test::in;
using test::Peer;
using namespace std::chrono_literals;

Origin plain(const Peer& peer) {
    return {false, "127.0.0.1", peer.port()};
}

Call get(std::string target = "/", std::chrono::milliseconds within = 5s) {
    Call call;
    call.method = "GET";
    call.target = std::move(target);
    call.deadline = in(within);
    return call;
}

Call post(std::string body, std::chrono::milliseconds within = 5s) {
    Call call = get("/", within);
    call.method = "POST";
    call.body = std::move(body);
    return call;
}

TEST(Origin, IsASchemeAHostAndAPort) {
    const struct {
        std::string url, text, host, port;
    } good[] = {
        {"https://vault.example:8200", "https://vault.example:8200", "vault.example", "8200"},
        {"https://vault.example:8200/", "https://vault.example:8200", "vault.example", "8200"},
        {"https://vault.example", "https://vault.example", "vault.example", "443"},
        {"http://10.0.0.1", "http://10.0.0.1", "10.0.0.1", "80"},
        {"https://[fd00::1]:6443", "https://[fd00::1]:6443", "fd00::1", "6443"},
        {"https://[::1]", "https://[::1]", "::1", "443"},
    };
    for (const auto& each : good) {
        const auto origin = Origin::parse(each.url);
        ASSERT_TRUE(origin) << each.url;
        EXPECT_EQ(origin->text(), each.text);
        EXPECT_EQ(origin->host, each.host);
        EXPECT_EQ(origin->port, each.port);
        EXPECT_EQ(*Origin::parse(origin->text()), *origin);
    }
    for (const char* bad : {"", "vault:8200", "ftp://a", "https://", "https:///", "https://a/b",
                            "https://a?b", "https://u:secret@a", "https://a:", "https://a:0",
                            "https://a:65536", "https://a:1x", "https://[::1", "https://[a]",
                            "https://[::1]x", "https://a b", "https://::1", "https://a.", "https://-a"}) {
        const auto origin = Origin::parse(bad);
        ASSERT_FALSE(origin) << bad;
        EXPECT_EQ(origin.error().code, Errc::invalid);
        EXPECT_EQ(origin.error().message.find("secret"), std::string::npos);
    }
}

class ClientTest : public test::EventLoop {
protected:
    Task<result<int>> status_of(Client& client, Call call) {
        auto answer = co_await client.send(std::move(call));
        if (!answer) co_return std::unexpected(answer.error());
        co_return answer->status;
    }
    void expect(Errc code, std::string_view text, const result<Answer>& answer) {
        ASSERT_FALSE(answer);
        EXPECT_EQ(answer.error().code, code) << answer.error().message;
        EXPECT_NE(answer.error().message.find(text), std::string::npos) << answer.error().message;
    }
};

TEST_F(ClientTest, SpeaksHttp) {
    Peer peer(context_, {{Peer::take(),
                          Peer::say("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nX-One: "
                                    "1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
                          Peer::pause(10ms), Peer::say("2;x=y\r\nde\r\n0\r\n\r\n"), Peer::take(),
                          Peer::say("HTTP/1.1 204 No Content\r\n\r\n"), Peer::take(),
                          Peer::say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"), Peer::take(),
                          Peer::say("HTTP/1.1 503 No\r\n\r\nuntil the end")}});
    Client client(context_, plain(peer));
    Call call = get("/a?b=c");
    call.headers = {{"X-Token", "t"}};
    const auto chunked = run(client.send(std::move(call)));
    ASSERT_TRUE(chunked) << chunked.error().message;
    EXPECT_EQ(chunked->status, 200);
    EXPECT_EQ(chunked->header("x-one"), "1");
    EXPECT_EQ(chunked->header("x-two"), "");
    EXPECT_EQ(chunked->body, "abcde");
    const auto none = run(client.send(post("body")));
    ASSERT_TRUE(none);
    EXPECT_EQ(none->status, 204);
    Call head = get();
    head.method = "HEAD";
    const auto headless = run(client.send(std::move(head)));
    ASSERT_TRUE(headless);
    EXPECT_EQ(headless->header("content-length"), "100");
    const auto rest = run(client.send(get()));
    ASSERT_TRUE(rest) << rest.error().message;
    EXPECT_EQ(rest->status, 503);
    EXPECT_EQ(rest->body, "until the end");
    EXPECT_EQ(peer.connections(), 1U);
    ASSERT_EQ(peer.requests().size(), 4U);
    EXPECT_EQ(peer.requests()[0],
              "GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:" + peer.port() + "\r\nX-Token: t\r\n\r\n");
    EXPECT_EQ(peer.requests()[1],
              "POST / HTTP/1.1\r\nHost: 127.0.0.1:" + peer.port() + "\r\nContent-Length: 4\r\n\r\nbody");
}

TEST_F(ClientTest, SendsNothingThatWouldBeAnotherRequest) {
    Peer peer(context_, {{Peer::hold()}});
    Client client(context_, plain(peer));
    expect(Errc::invalid, "invalid HTTP method or request target", run(client.send(get("/a b"))));
    expect(Errc::invalid, "invalid HTTP method or request target", run(client.send(get("a"))));
    expect(Errc::invalid, "invalid HTTP method or request target", run(client.send(get("/a\r\nX: y"))));
    Call call = get();
    call.headers = {{"X-Token", "secret\r\nX: y"}};
    const auto answer = run(client.send(std::move(call)));
    expect(Errc::invalid, "X-Token", answer);
    EXPECT_EQ(answer.error().message.find("secret"), std::string::npos);
    EXPECT_EQ(peer.connections(), 0U);
}

TEST_F(ClientTest, RunsCallsSideBySide) {
    Peer peer(context_, {{Peer::take(), Peer::pause(100ms), Peer::ok("a")}});
    Client client(context_, plain(peer));
    std::vector<std::shared_ptr<test::Started<result<int>>>> started;
    for (int i = 0; i < 8; ++i) started.push_back(start(status_of(client, get())));
    for (const auto& each : started) EXPECT_EQ(finish(each).value_or(0), 200);
    EXPECT_EQ(peer.most_at_once(), 8U);
}

TEST_F(ClientTest, WaitsForAFreeConnection) {
    const Peer::Script four{Peer::take(),      Peer::pause(20ms), Peer::ok("a"),     Peer::take(),
                            Peer::pause(20ms), Peer::ok("a"),     Peer::take(),      Peer::pause(20ms),
                            Peer::ok("a"),     Peer::take(),      Peer::pause(20ms), Peer::ok("a")};
    Peer peer(context_, {four});
    Client client(context_, plain(peer), {}, {.connections = 2});
    std::vector<std::shared_ptr<test::Started<result<int>>>> started;
    for (int i = 0; i < 8; ++i) started.push_back(start(status_of(client, get())));
    for (const auto& each : started) EXPECT_EQ(finish(each).value_or(0), 200);
    EXPECT_EQ(peer.most_at_once(), 2U);
    EXPECT_EQ(peer.connections(), 2U);
}

TEST_F(ClientTest, WaitsForAFreeConnectionUntilTheDeadline) {
    Peer peer(context_, {{Peer::take(), Peer::hold()}});
    Client client(context_, plain(peer), {}, {.connections = 1});
    const auto first = start(client.send(get("/", 300ms)));
    const auto second = start(client.send(get("/", 50ms)));
    const auto third = start(client.send(get("/")));
    expect(Errc::timeout, "in use", finish(second));
    third->cancel.emit(boost::asio::cancellation_type::terminal);
    expect(Errc::cancelled, "", finish(third));
    EXPECT_FALSE(first->value);
    expect(Errc::timeout, "timed out while waiting for the response", finish(first));
}

TEST_F(ClientTest, NamesAConnectionThatIsRefused) {
    std::string port;
    {
        const Peer gone(context_, std::vector<Peer::Script>{{}});
        port = gone.port();
    }
    Client client(context_, {false, "127.0.0.1", port});
    expect(Errc::unavailable, "http://127.0.0.1:" + port + ": Connection refused", run(client.send(get())));
}

TEST_F(ClientTest, EndsAtTheDeadline) {
    Peer::Script drop_by_drop{Peer::take(), Peer::say("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")};
    for (int i = 0; i < 90; ++i) {
        drop_by_drop.push_back(Peer::pause(20ms));
        drop_by_drop.push_back(Peer::say("x"));
    }
    Peer never(context_, {{Peer::take(), Peer::hold()}});
    Peer slow(context_, {drop_by_drop});
    Peer no_tls(context_, {{Peer::hold()}});
    for (const auto& [peer, tls] :
         {std::pair(&never, false), std::pair(&slow, false), std::pair(&no_tls, true)}) {
        Client client(context_, {tls, "127.0.0.1", peer->port()});
        const Deadline start = SteadyClock::now();
        expect(Errc::timeout, "timed out", run(client.send(get("/", 150ms))));
        EXPECT_LT(SteadyClock::now() - start, 1s);
    }
    Client client(context_, plain(never));
    expect(Errc::timeout, "the deadline has passed", run(client.send(get("/", -1s))));
    // A peer that takes no more of a large body.
    expect(Errc::timeout, "", run(client.send(post(std::string(64 << 20, 'x'), 300ms))));
}

TEST_F(ClientTest, SendsOnceMoreWhenAKeptConnectionWasClosed) {
    const Peer::Script closes{Peer::take(), Peer::ok("one"), Peer::take()};
    const Peer::Script resets{Peer::take(), Peer::ok("one"), Peer::take(), Peer::reset()};
    for (const auto& script : {closes, resets}) {
        Peer peer(context_, {script, {Peer::take(), Peer::ok("two"), Peer::take(), Peer::hold()}});
        Client client(context_, plain(peer));
        ASSERT_EQ(run(client.send(get()))->body, "one");
        const auto again = run(client.send(get()));
        ASSERT_TRUE(again) << again.error().message;
        EXPECT_EQ(again->body, "two");
        EXPECT_EQ(peer.requests().size(), 3U);
    }
    for (const auto& script : {closes, resets}) {
        Peer peer(context_, {script, {Peer::take(), Peer::ok("two"), Peer::hold()}});
        Client client(context_, plain(peer));
        ASSERT_EQ(run(client.send(post("a")))->body, "one");
        expect(Errc::unavailable, "before the response", run(client.send(post("b"))));
        EXPECT_EQ(peer.requests().size(), 2U);
        ASSERT_EQ(run(client.send(post("c")))->body, "two");
    }
}

TEST_F(ClientTest, DoesNotSendOnceMoreOnANewConnectionOrAfterAByte) {
    Peer closes(context_, {{Peer::take()}});
    Client one(context_, plain(closes));
    expect(Errc::unavailable, "before the response", run(one.send(get())));
    EXPECT_EQ(closes.requests().size(), 1U);
    Peer breaks(context_, {{Peer::take(), Peer::ok("one"), Peer::take(), Peer::say("HTTP/1.1 2")}});
    Client two(context_, plain(breaks));
    ASSERT_TRUE(run(two.send(get())));
    expect(Errc::unavailable, "during the response", run(two.send(get())));
    EXPECT_EQ(breaks.requests().size(), 2U);
    Peer short_of(context_, {{Peer::take(), Peer::say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")}});
    Client three(context_, plain(short_of));
    expect(Errc::unavailable, "during the response", run(three.send(get())));
}

TEST_F(ClientTest, DoesNotUseAConnectionThatWasClosedWhileItIdled) {
    const Peer::Script one_only{Peer::take(), Peer::ok("a")};
    const Peer::Script chatty{Peer::take(), Peer::ok("a"), Peer::pause(20ms),
                              Peer::say("HTTP/1.1 408 Late\r\n"), Peer::hold()};
    for (const auto& script : {one_only, chatty}) {
        Peer peer(context_, {script});
        Client client(context_, plain(peer));
        ASSERT_TRUE(run(client.send(post("a"))));
        run_for(60ms);
        const auto second = run(client.send(post("b")));
        ASSERT_TRUE(second) << second.error().message;
        EXPECT_EQ(peer.connections(), 2U);
    }
    Peer peer(context_, {{Peer::take(), Peer::ok("a"), Peer::take(), Peer::ok("b")}});
    Client client(context_, plain(peer), {}, {.idle = 0s});
    ASSERT_TRUE(run(client.send(get())));
    ASSERT_TRUE(run(client.send(get())));
    EXPECT_EQ(peer.connections(), 2U);
}

TEST_F(ClientTest, TakesAnAnswerThatComesBeforeTheBodyWasSent) {
    Peer peer(context_,
              {{Peer::say("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"), Peer::pause(100ms)}});
    Client client(context_, plain(peer));
    const auto answer = run(client.send(post(std::string(8 << 20, 'x'))));
    // The reset may overtake the answer.
    if (answer)
        EXPECT_EQ(answer->status, 413);
    else
        EXPECT_EQ(answer.error().code, Errc::unavailable);
}

TEST_F(ClientTest, KeepsAConnectionOnWhichTheAnswerCameEarly) {
    // While the second request is still being written, as a quick server's answer is on a busy machine.
    Peer peer(context_, {{Peer::take(), Peer::ok("one"), Peer::pause(50ms), Peer::ok("two"),
                          Peer::pause(50ms), Peer::take(), Peer::take(), Peer::ok("three")}});
    Client client(context_, plain(peer));
    ASSERT_EQ(run(client.send(get()))->body, "one");
    const auto early = run(client.send(post(std::string(8 << 20, 'x'))));
    ASSERT_TRUE(early) << early.error().message;
    EXPECT_EQ(early->body, "two");
    const auto next = run(client.send(get()));
    ASSERT_TRUE(next) << next.error().message;
    EXPECT_EQ(next->body, "three");
    EXPECT_EQ(peer.connections(), 1U);
}

TEST_F(ClientTest, BoundsTheAnswer) {
    Peer announced(context_, {{Peer::take(), Peer::say("HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" +
                                                       std::string(2000, 'x'))}});
    Peer chunked(context_,
                 {{Peer::take(), Peer::say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" +
                                           std::string(1024, 'x') + "\r\n1\r\nx\r\n0\r\n\r\n")}});
    Peer exact(context_, {{Peer::take(), Peer::ok(std::string(1024, 'x'))}});
    Peer header(context_, {{Peer::take(), Peer::say("HTTP/1.1 200 OK\r\nX: " + std::string(70'000, 'x') +
                                                    "\r\nContent-Length: 0\r\n\r\n")}});
    Peer no_end(context_,
                {{Peer::take(), Peer::say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" +
                                          std::string(200'000, 'x'))}});
    Peer no_http(context_, {{Peer::take(), Peer::say("SSH-2.0-OpenSSH\r\n\r\n")}});
    const ClientLimits limits{.answer_bytes = 1024};
    for (Peer* peer : {&announced, &chunked, &header, &no_end}) {
        Client client(context_, plain(*peer), {}, limits);
        const auto answer = run(client.send(get()));
        ASSERT_FALSE(answer);
        EXPECT_TRUE(answer.error().code == Errc::too_large || answer.error().code == Errc::protocol)
            << answer.error().message;
    }
    Client fits(context_, plain(exact), {}, limits);
    EXPECT_TRUE(run(fits.send(get())));
    Client stranger(context_, plain(no_http), {}, limits);
    expect(Errc::protocol, "invalid HTTP response", run(stranger.send(get())));
}

TEST_F(ClientTest, IsCancelledInEveryPhase) {
    Peer silent(context_, {{Peer::hold()}});
    Peer half(context_,
              {{Peer::take(), Peer::say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na"), Peer::hold()}});
    const auto stop = std::make_shared<std::latch>(1);  // the thread outlives the test
    {
        const auto block = [stop](const std::string&) {
            stop->wait();
            return result<std::vector<boost::asio::ip::address>>();
        };
        Client shaking(context_, {true, "127.0.0.1", silent.port()});
        Client waiting(context_, plain(silent));
        Client reading(context_, plain(half));
        Client resolving(context_, {false, "vault.example", "1"}, {}, {}, block);
        for (Client* client : {&shaking, &waiting, &reading, &resolving}) {
            const auto started = start(client->send(get("/", 30s)));
            run_for(30ms);
            ASSERT_FALSE(started->value);
            started->cancel.emit(boost::asio::cancellation_type::terminal);
            const Deadline from = SteadyClock::now();
            expect(Errc::cancelled, "", finish(started));
            EXPECT_LT(SteadyClock::now() - from, 1s);
        }
    }
    stop->count_down();
}

TEST_F(ClientTest, IsDestroyedWithWhatItWaitsFor) {
    auto context = std::make_unique<boost::asio::io_context>(1);
    Peer peer(context_, {{Peer::take(), Peer::hold()}});
    Client client(*context, plain(peer));
    boost::asio::co_spawn(*context, client.send(get()), [](std::exception_ptr, result<Answer>) {});
    for (int i = 0; i < 20; ++i) {
        context->run_for(5ms);
        run_for(5ms);
    }
    EXPECT_EQ(peer.requests().size(), 1U);
    // The frames go with the context; what they held is gone with them (ASan).
    context.reset();
}

std::vector<boost::asio::ip::address> loopback() {
    return {boost::asio::ip::address_v4::loopback()};
}

TEST_F(ClientTest, DoesNotWaitForANameServer) {
    const auto stop = std::make_shared<std::latch>(1);  // the thread outlives the test
    const auto asked = std::make_shared<std::atomic<int>>(0);
    const auto block = [stop, asked](const std::string&) {
        ++*asked;
        stop->wait();
        return result<std::vector<boost::asio::ip::address>>(loopback());
    };
    {
        Client client(context_, {false, "vault.example", "1"}, {}, {}, block);
        const auto one = start(client.send(get("/", 50ms)));
        const auto two = start(client.send(get("/", 100ms)));
        expect(Errc::timeout, "timed out while resolving 'vault.example'", finish(one));
        expect(Errc::timeout, "timed out while resolving 'vault.example'", finish(two));
        expect(Errc::timeout, "timed out while resolving 'vault.example'", run(client.send(get("/", 50ms))));
        EXPECT_EQ(*asked, 1);
    }
    stop->count_down();
}

TEST_F(ClientTest, TakesWhatANameServerSaysLate) {
    Peer peer(context_, {{Peer::take(), Peer::ok("a")}});
    const auto slow = [](const std::string&) {
        std::this_thread::sleep_for(100ms);
        return result<std::vector<boost::asio::ip::address>>(loopback());
    };
    Client client(context_, {false, "vault.example", peer.port()}, {}, {}, slow);
    expect(Errc::timeout, "", run(client.send(get("/", 20ms))));
    EXPECT_TRUE(run(client.send(get())));
}

TEST_F(ClientTest, KeepsTheLastGoodAddresses) {
    Peer peer(context_, {{Peer::take(), Peer::say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "
                                                  "0\r\n\r\n")}});
    std::atomic<int> asked = 0;
    const auto once = [&asked](const std::string& name) {
        EXPECT_EQ(name, "vault.example");
        if (asked++ == 0) return result<std::vector<boost::asio::ip::address>>(loopback());
        return result<std::vector<boost::asio::ip::address>>(fail(Errc::unavailable, "SERVFAIL"));
    };
    Client client(context_, {false, "vault.example", peer.port()}, {}, {}, once);
    EXPECT_TRUE(run(client.send(get())));
    EXPECT_TRUE(run(client.send(get())));
    EXPECT_EQ(asked, 1);  // known a moment ago
    Client other(context_, {false, "vault.example", peer.port()}, {}, {}, once);
    expect(Errc::unavailable, "cannot resolve 'vault.example': SERVFAIL", run(other.send(get())));
}

TEST_F(ClientTest, TriesTheNextAddress) {
    Peer peer(context_, {{Peer::take(), Peer::ok("a")}});
    const auto two = [](const std::string&) {
        return result<std::vector<boost::asio::ip::address>>(
            {boost::asio::ip::make_address("127.9.9.9"), boost::asio::ip::make_address("127.0.0.1")});
    };
    Client client(context_, {false, "vault.example", peer.port()}, {}, {}, two);
    EXPECT_TRUE(run(client.send(get())));
}

TEST_F(ClientTest, ResolvesByTheSystem) {
    Client client(context_, {false, "no-such-name.invalid", "1"});
    const auto answer = run(client.send(get("/", 2s)));
    ASSERT_FALSE(answer);
    EXPECT_NE(answer.error().message.find("no-such-name.invalid"), std::string::npos);
}

// A server of ours, over TLS.
class ClientTlsTest : public ClientTest {
protected:
    void SetUp() override {
        const test::Pem pem = authority_.issue("DNS:vault.example,IP:127.0.0.1");
        auto made = make_certificate(pem.certificate, pem.key);
        ASSERT_TRUE(made) << made.error().message;
        certificate_ = std::make_unique<Certificate>(std::move(*made));
        server_ = std::make_unique<Server>(
            context_,
            [this](const Request& request) {
                ++served_;
                Response response;
                response.body = std::string(request.method) + " " + std::to_string(request.body.size());
                return response;
            },
            ServerOptions{.certificate = &*certificate_});
        const auto endpoint = server_->listen("127.0.0.1:0");
        ASSERT_TRUE(endpoint);
        port_ = std::to_string(endpoint->port());
    }
    void TearDown() override {
        server_->stop();
        server_->close_all();
        expect_nothing_left();
    }
    Origin origin(std::string host = "127.0.0.1") const { return {true, std::move(host), port_}; }

    test::Authority authority_;
    std::unique_ptr<Certificate> certificate_;
    std::unique_ptr<Server> server_;
    std::string port_;
    int served_ = 0;
};

TEST_F(ClientTlsTest, KeepsAConnection) {
    Client client(context_, origin(), {.ca = authority_.pem()});
    for (int i = 0; i < 3; ++i) {
        const auto answer = run(client.send(post(std::string(3 << 20, 'x'))));
        ASSERT_TRUE(answer) << answer.error().message;
        EXPECT_EQ(answer->body, "POST 3145728");
    }
    EXPECT_EQ(server_->sessions(), 1U);
}

TEST_F(ClientTlsTest, FollowsAServerThatRestarts) {
    Client client(context_, origin(), {.ca = authority_.pem()});
    ASSERT_TRUE(run(client.send(post("a"))));
    server_->close_all();
    run_for(30ms);
    EXPECT_TRUE(run(client.send(post("b"))));
    server_->close_all();  // and with no time to notice
    EXPECT_TRUE(run(client.send(post("c"))));
    EXPECT_EQ(served_, 3);
}

TEST_F(ClientTlsTest, IsCancelledAfterAnyStep) {
    int cancelled = 0;
    for (int steps = 0; steps < 60; ++steps) {
        Client client(context_, origin(), {.ca = authority_.pem()}, {.connections = 1});
        if (steps % 2 == 1) ASSERT_TRUE(run(client.send(get())));  // on a kept connection
        const auto started = start(client.send(post(std::string(100'000, 'x'))));
        run_steps(steps / 2);
        started->cancel.emit(boost::asio::cancellation_type::terminal);
        const auto answer = finish(started);
        if (!answer) {
            ++cancelled;
            EXPECT_EQ(answer.error().code, Errc::cancelled) << answer.error().message;
        }
        const auto next = run(client.send(post("x")));
        ASSERT_TRUE(next) << next.error().message;
        EXPECT_EQ(next->body, "POST 1");
    }
    EXPECT_GT(cancelled, 10);
    EXPECT_LT(cancelled, 60);
}

TEST_F(ClientTlsTest, IsLateAtAnyMoment) {
    int late = 0;
    for (int i = 0; i < 60; ++i) {
        Client client(context_, origin(), {.ca = authority_.pem()}, {.connections = 1});
        Call call = post(std::string(100'000, 'x'));
        call.deadline = SteadyClock::now() + i * 100us;
        const auto answer = run(client.send(std::move(call)));
        if (!answer) {
            ++late;
            EXPECT_EQ(answer.error().code, Errc::timeout) << answer.error().message;
        }
        const auto next = run(client.send(post("x")));
        ASSERT_TRUE(next) << next.error().message;
        EXPECT_EQ(next->body, "POST 1");
    }
    EXPECT_GT(late, 0);
}

TEST_F(ClientTlsTest, GoesByTheNameInTheCertificate) {
    const auto resolve = [](const std::string&) {
        return result<std::vector<boost::asio::ip::address>>(loopback());
    };
    const std::string ca = authority_.pem();
    Client by_name(context_, origin("vault.example"), {.ca = ca}, {}, resolve);
    EXPECT_TRUE(run(by_name.send(get())));
    Client by_given_name(context_, origin("other.example"), {.ca = ca, .server_name = "vault.example"}, {},
                         resolve);
    EXPECT_TRUE(run(by_given_name.send(get())));
    Client wrong_name(context_, origin("other.example"), {.ca = ca}, {}, resolve);
    expect(Errc::unavailable,
           "certificate verify failed: hostname mismatch (expected server name 'other.example')",
           run(wrong_name.send(get())));
    Client wrong_address(context_, origin(), {.ca = ca, .server_name = "127.0.0.2"});
    expect(Errc::unavailable, "certificate verify failed: IP address mismatch",
           run(wrong_address.send(get())));
    for (Client* wrong : {&wrong_name, &wrong_address})
        EXPECT_EQ(run(wrong->send(get())).error().detail, Detail::other_name);
    EXPECT_EQ(served_, 2);
}

TEST_F(ClientTlsTest, TrustsItsCaAlone) {
    const test::Authority other;
    Client wrong(context_, origin(), {.ca = other.pem()});
    expect(Errc::unavailable, "certificate verify failed: unable to get local issuer",
           run(wrong.send(get())));
    Client system(context_, origin());
    expect(Errc::unavailable, "certificate verify failed", run(system.send(get())));
    Client both(context_, origin(), {.ca = other.pem() + authority_.pem()});
    EXPECT_TRUE(run(both.send(get())));
    Client leaf(context_, origin(), {.ca = authority_.issue("IP:127.0.0.1").certificate});
    expect(Errc::unavailable, "certificate verify failed", run(leaf.send(get())));
    for (Client* untrusted : {&wrong, &system, &leaf})
        EXPECT_EQ(run(untrusted->send(get())).error().detail, Detail::unknown_ca);
    EXPECT_EQ(served_, 1);
}

TEST_F(ClientTlsTest, SaysThatItsFilesAreWrong) {
    const test::Pem pem = authority_.issue("DNS:a");
    const test::Pem other = authority_.issue("DNS:b");
    const std::string ca = authority_.pem();
    for (const ClientTls& tls :
         {ClientTls{.ca = "none"}, ClientTls{.ca = ca.substr(0, 200)},
          ClientTls{.ca = ca + ca.substr(0, 200)}, ClientTls{.ca = ca, .certificate = "none", .key = pem.key},
          ClientTls{.ca = ca, .certificate = pem.certificate},
          ClientTls{.ca = ca, .certificate = pem.certificate, .key = other.key}}) {
        Client client(context_, origin(), tls);
        expect(Errc::invalid, origin().text(), run(client.send(get())));
    }
    Client with_own(context_, origin(), {.ca = ca, .certificate = pem.certificate, .key = pem.key});
    EXPECT_TRUE(run(with_own.send(get())));
}

TEST_F(ClientTlsTest, SaysThatTheServerSpeaksNoTls) {
    Peer peer(context_, {{Peer::say("HTTP/1.1 400 Bad Request\r\n\r\n"), Peer::hold()}});
    Client client(context_, {true, "127.0.0.1", peer.port()}, {.ca = authority_.pem()});
    expect(Errc::unavailable, "TLS handshake failed: wrong version number", run(client.send(get())));
}

const std::string open_ended = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

class LinesTest : public ClientTest {
protected:
    Task<result<std::optional<std::string>>> next(Lines& lines, std::chrono::milliseconds within = 5s) {
        return lines.next(in(within));
    }
    std::string line(const std::unique_ptr<Lines>& lines) {
        auto read = run(lines->next(in(5s)));
        if (!read) return "error: " + read.error().message;
        return read->value_or("end");
    }
};

TEST_F(LinesTest, ComeHoweverTheyAreCut) {
    Peer peer(context_, {{Peer::take(), Peer::say(open_ended + "4\r\none\n\r\n3\r\ntwo\r\n"),
                          Peer::pause(10ms), Peer::say("9\r\n\n\nthree\nf\r"), Peer::pause(10ms),
                          Peer::say("\n3\r\nour\r\n0\r\n\r\n"), Peer::hold()}});
    Client client(context_, plain(peer));
    auto stream = run(client.open(get()));
    ASSERT_TRUE(stream) << stream.error().message;
    EXPECT_EQ(stream->answer.status, 200);
    for (const char* expected : {"one", "two", "", "three", "four", "end", "end"})
        EXPECT_EQ(line(stream->lines), expected);
}

TEST_F(LinesTest, GoOnAfterADeadlineAndACancellation) {
    Peer peer(context_, {{Peer::take(), Peer::say(open_ended + "5\r\none\nt\r\n"), Peer::pause(200ms),
                          Peer::say("3\r\nwo\n\r\n6\r\nthree\n\r\n"), Peer::hold()}});
    Client client(context_, plain(peer));
    auto stream = run(client.open(get()));
    ASSERT_TRUE(stream);
    EXPECT_EQ(line(stream->lines), "one");
    for (int i = 0; i < 3; ++i) {
        const auto late = run(next(*stream->lines, 20ms));
        ASSERT_FALSE(late);
        EXPECT_EQ(late.error().code, Errc::timeout);
    }
    const auto cancelled = start(next(*stream->lines));
    run_for(20ms);
    cancelled->cancel.emit(boost::asio::cancellation_type::terminal);
    EXPECT_EQ(finish(cancelled).error().code, Errc::cancelled);
    EXPECT_EQ(line(stream->lines), "two");
    EXPECT_EQ(line(stream->lines), "three");
    EXPECT_FALSE(run(next(*stream->lines, 20ms)));
}

TEST_F(LinesTest, SayThatTheyWereBrokenOff) {
    Peer peer(context_, {{Peer::take(), Peer::say(open_ended + "4\r\none\n\r\n5\r\ntw")}});
    Client client(context_, plain(peer));
    auto stream = run(client.open(get()));
    ASSERT_TRUE(stream);
    EXPECT_EQ(line(stream->lines), "one");
    const auto broken = run(next(*stream->lines));
    ASSERT_FALSE(broken);
    EXPECT_EQ(broken.error().code, Errc::unavailable);
    EXPECT_FALSE(run(next(*stream->lines)));
}

TEST_F(LinesTest, EndWithoutAnEndOfLine) {
    Peer peer(context_, {{Peer::take(), Peer::say("HTTP/1.1 200 OK\r\n\r\none\ntwo")}});
    Client client(context_, plain(peer));
    auto stream = run(client.open(get()));
    ASSERT_TRUE(stream);
    for (const char* expected : {"one", "two", "end"}) EXPECT_EQ(line(stream->lines), expected);
}

TEST_F(LinesTest, AreBounded) {
    const std::string chunk = "100000\r\n" + std::string(1 << 20, 'x') + "\r\n";
    Peer::Script script{Peer::take(), Peer::say(open_ended)};
    for (int i = 0; i < 18; ++i) script.push_back(Peer::say(chunk));
    Peer peer(context_, {script});
    Client client(context_, plain(peer), {}, {.answer_bytes = 1024});
    auto stream = run(client.open(get()));
    ASSERT_TRUE(stream);
    const auto read = run(next(*stream->lines));
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, Errc::too_large);
}

TEST_F(LinesTest, AreNoneWhenTheAnswerIsAnError) {
    Peer peer(context_, {{Peer::take(), Peer::say("HTTP/1.1 410 Gone\r\nContent-Length: 3\r\n\r\nold")}});
    Client client(context_, plain(peer));
    const auto stream = run(client.open(get()));
    ASSERT_TRUE(stream);
    EXPECT_EQ(stream->answer.status, 410);
    EXPECT_EQ(stream->answer.body, "old");
    EXPECT_FALSE(stream->lines);
}

TEST_F(LinesTest, AreNotCountedAndEndWithTheirConnection) {
    Peer peer(context_, {{Peer::take(), Peer::say(open_ended), Peer::hold()}, {Peer::take(), Peer::ok("a")}});
    Client client(context_, plain(peer), {}, {.connections = 1});
    {
        const auto stream = run(client.open(get()));
        ASSERT_TRUE(stream);
        EXPECT_TRUE(run(client.send(get())));
    }
}

}  // namespace
}  // namespace keyshepherd::net
