#include "support/event_loop.hpp"

#include <keyshepherd/vault/client.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

namespace keyshepherd::vault {
namespace {

using nlohmann::json;
using test::in;
using test::Peer;
using namespace std::chrono_literals;

// As much of a Vault as a client sees, and its moods. Tokens are "s.token-number-N".
class FakeVault {
public:
    explicit FakeVault(boost::asio::io_context& context)
        : peer_(context, [this](const std::string& request) { return respond(request); }) {}

    net::Origin origin() const { return {false, "127.0.0.1", peer_.port()}; }
    const std::string& last() const { return peer_.requests().back(); }
    std::size_t most_at_once() const { return peer_.most_at_once(); }
    int count(const std::string& request) const {
        return static_cast<int>(std::ranges::count(log_, request));
    }
    std::size_t requests() const { return log_.size(); }
    void kill_tokens() { alive_.clear(); }
    std::string let_in(std::string token) {
        alive_.insert(token);
        return token;
    }

    // What it does.
    int lease = 3600;
    bool renewable = true;
    std::string cluster_id = "one";
    std::string version = "2.7.2";
    std::int64_t time = 0;
    bool sealed = false;
    bool is_enabled = true;  // an auth method, at every path of a login
    bool lookup_allowed = true;
    bool past_max_ttl = false;
    std::string login_answer;  // instead of a token
    std::chrono::milliseconds login_after{0};
    std::chrono::milliseconds after{0};                     // for every other request
    std::map<std::string, std::string> answers;             // "GET a" → what comes behind "HTTP/1.1 "
    std::multimap<std::string, std::string> first_answers;  // each is given once, before those

    static std::string reply(std::string status, const std::string& body, const std::string& header = "") {
        return "HTTP/1.1 " + status + " X\r\n" + header + "Content-Length: " + std::to_string(body.size()) +
               "\r\n\r\n" + body;
    }

private:
    std::string grant(const std::string& token) const {
        return reply(
            "200",
            json{{"auth", {{"client_token", token}, {"lease_duration", lease}, {"renewable", renewable}}}}
                .dump());
    }

    Peer::Reply respond(const std::string& request) {
        const std::string method = request.substr(0, request.find(' '));
        const auto begin = request.find("/v1/") + 4;
        const std::string path = request.substr(begin, request.find(' ', begin) - begin);
        const std::string what = method + " " + path;
        log_.push_back(what);
        if (path == "sys/health")
            return {reply(sealed ? "503" : "200", json{{"initialized", true},
                                                       {"sealed", sealed},
                                                       {"cluster_id", cluster_id},
                                                       {"version", version},
                                                       {"server_time_utc", time}}
                                                      .dump())};
        if (sealed) return {reply("503", R"({"errors":["Vault is sealed"]})")};
        if (path.ends_with("/login")) {
            const bool has_credentials = request.find("\"role") != std::string::npos;
            if (!has_credentials && is_enabled) return {reply("400", R"({"errors":["missing role_id"]})")};
            if (!login_answer.empty()) return {login_answer, login_after};
            return {grant(let_in("s.token-number-" + std::to_string(++logins_))), login_after};
        }
        std::string token;
        if (const auto at = request.find("X-Vault-Token: "); at != std::string::npos)
            token = request.substr(at + 15, request.find('\r', at) - at - 15);
        const std::string denied = reply("403", R"({"errors":["permission denied"]})");
        if (!alive_.contains(token)) return {denied, after};
        if (path == "auth/token/lookup-self")
            return {
                lookup_allowed
                    ? reply("200",
                            json{{"data", {{"id", token}, {"ttl", lease}, {"renewable", renewable}}}}.dump())
                    : denied};
        if (path == "auth/token/renew-self" && past_max_ttl)
            return {
                reply("500", R"({"errors":["1 error occurred:\n\t* past the max TTL, cannot renew\n\n"]})")};
        if (path == "auth/token/renew-self") return {grant(token), login_after};
        if (path == "auth/token/revoke-self") {
            alive_.erase(token);
            return {reply("204", "")};
        }
        if (const auto found = first_answers.find(what); found != first_answers.end())
            return {first_answers.extract(found).mapped(), after};
        if (const auto found = answers.find(what); found != answers.end()) return {found->second, after};
        return {reply("200", json{{"data", {{"path", path}}}}.dump()), after};
    }

    std::set<std::string> alive_;
    std::vector<std::string> log_;
    int logins_ = 0;
    Peer peer_;
};

net::Task<result<std::string>> secret_id(net::Deadline) {
    co_return std::string("a \"secret\"\n");
}

const std::string denied = FakeVault::reply("403", R"({"errors":["permission denied"]})");

class VaultClient : public test::EventLoop {
protected:
    using Found = result<std::optional<json>>;

    void TearDown() override {
        client_.reset();
        http_.reset();
        fake_.reset();
        expect_nothing_left();
    }
    Client& client(Options options = {.login_interval = 20ms},
                   Login login = AppRoleLogin{"approle", "role", secret_id}) {
        client_.reset();
        http_ = std::make_unique<net::Client>(context_, fake_->origin());
        Counters counters;
        counters.request = [this](std::string_view operation, std::string_view code) {
            ++counted_[std::string(operation) + " " + std::string(code)];
        };
        counters.login = [this](bool good) { ++counted_[good ? "login" : "no login"]; };
        counters.breaker = [this](bool open) { ++counted_[open ? "open" : "closed"]; };
        counters.token_lost = [this] { ++counted_["token lost"]; };
        client_ = std::make_unique<Client>(context_, *http_, std::move(login), std::move(options),
                                           std::move(counters));
        return *client_;
    }
    auto read(std::string path = "a", std::chrono::milliseconds within = 5s) {
        return client_->read(std::move(path), in(within));
    }
    Found read_now(std::string path = "a", std::chrono::milliseconds within = 5s) {
        auto found = run(read(std::move(path), within));
        if (!found) EXPECT_EQ(found.error().message.find("s.token"), std::string::npos);
        return found;
    }
    // The answer, or a text that says what else came.
    static json said(const Found& found) {
        if (!found) return "error: " + found.error().message;
        return found->value_or(json("absent"));
    }
    Errc code(const Found& found) { return found ? Errc::internal : found.error().code; }

    std::unique_ptr<FakeVault> fake_ = std::make_unique<FakeVault>(context_);
    std::map<std::string, int> counted_;
    std::unique_ptr<net::Client> http_;
    std::unique_ptr<Client> client_;
};

TEST_F(VaultClient, ReadsListsWritesAndRemoves) {
    client({.vault_namespace = "team"});
    fake_->answers = {
        {"GET none", FakeVault::reply("404", R"({"errors":[]})")},
        {"LIST keys", FakeVault::reply("200", R"({"data":{"keys":["a"]}})")},
        {"LIST none", FakeVault::reply("404", R"({"errors":[]})")},
        {"POST a", FakeVault::reply("200", R"({"data":{"b":1},"warnings":["careful"]})")},
        {"POST b", FakeVault::reply("204", "")},
        {"POST none", FakeVault::reply("404", R"({"errors":[]})")},
        {"DELETE a", FakeVault::reply("204", "")},
        {"DELETE none", FakeVault::reply("404", R"({"errors":[]})")},
        {"GET bad", FakeVault::reply("400", R"({"errors":["no"]})")},
    };
    EXPECT_EQ(said(read_now())["path"], "a");
    EXPECT_NE(fake_->last().find("X-Vault-Token: s.token-number-1\r\n"), std::string::npos);
    EXPECT_NE(fake_->last().find("X-Vault-Namespace: team\r\n"), std::string::npos);
    EXPECT_NE(fake_->last().find("X-Vault-Request: true\r\n"), std::string::npos);
    EXPECT_EQ(said(read_now("none")), "absent");
    EXPECT_EQ(said(run(client_->list("keys", in(5s))))["keys"][0], "a");
    EXPECT_EQ(said(run(client_->list("none", in(5s)))), "absent");
    const auto written = run(client_->write("a", {{"x", "ü"}}, in(5s)));
    ASSERT_TRUE(written);
    EXPECT_TRUE(fake_->last().ends_with("\r\n\r\n{\"x\":\"ü\"}"));
    EXPECT_EQ(written->data["b"], 1);
    EXPECT_EQ(written->warnings, std::vector<std::string>{"careful"});
    EXPECT_TRUE(run(client_->write("b", {}, in(5s)))->data.is_null());
    EXPECT_EQ(run(client_->write("none", {}, in(5s))).error().code, Errc::not_found);
    EXPECT_EQ(run(client_->write("b", {{"x", "\xff"}}, in(5s))).error().code, Errc::invalid);
    EXPECT_TRUE(run(client_->remove("a", in(5s))));
    EXPECT_TRUE(run(client_->remove("none", in(5s))));
    EXPECT_EQ(code(read_now("bad")), Errc::invalid);
    EXPECT_EQ(code(read_now("a/../b")), Errc::invalid);
    EXPECT_EQ(code(read_now("a", 0ms)), Errc::timeout);
    EXPECT_TRUE(run(client_->health(in(5s)))->usable());
    EXPECT_EQ(counted_["login"], 1);
    EXPECT_EQ(counted_["read 404"], 1);
    EXPECT_EQ(counted_["write 200"], 1);
    EXPECT_EQ(counted_["list 200"], 1);
    EXPECT_EQ(counted_["remove 204"], 1);
    EXPECT_EQ(counted_["health 200"], 2) << "before the login, because of the namespace, and when asked";
}

// Vault fails a LIST of secret-ids when one of them is destroyed meanwhile.
TEST_F(VaultClient, ListsAgainWhatChangedMeanwhile) {
    client();
    const std::string changed = FakeVault::reply(
        "500", R"({"errors":["1 error occurred:\n\t* storage entry for SecretID is present but no content )"
               R"(found at the index\n\n"]})");
    const std::string keys = FakeVault::reply("200", R"({"data":{"keys":["a"]}})");
    fake_->first_answers = {{"LIST keys", changed}, {"LIST keys", changed}};
    fake_->answers = {{"LIST keys", keys},
                      {"LIST changing", changed},
                      {"LIST broken", FakeVault::reply("500", R"({"errors":["internal error"]})")}};
    EXPECT_EQ(said(run(client_->list("keys", in(5s))))["keys"][0], "a");
    EXPECT_EQ(fake_->count("LIST keys"), 3);
    EXPECT_EQ(code(run(client_->list("changing", in(5s)))), Errc::unavailable);
    EXPECT_EQ(fake_->count("LIST changing"), 5);
    EXPECT_EQ(code(run(client_->list("broken", in(5s)))), Errc::unavailable);
    EXPECT_EQ(fake_->count("LIST broken"), 1);
}

TEST_F(VaultClient, LogsInOnceForAll) {
    client();
    fake_->login_after = 50ms;
    std::vector<std::shared_ptr<test::Started<Found>>> started;
    for (int i = 0; i < 10; ++i) started.push_back(start(read()));
    for (const auto& each : started) EXPECT_TRUE(finish(each));
    EXPECT_EQ(fake_->count("POST auth/approle/login"), 1);
}

TEST_F(VaultClient, LogsInForTheOthersWhenTheFirstGivesUp) {
    client();
    fake_->login_after = 100ms;
    const auto first = start(read());
    const auto second = start(read("a", 50ms));
    const auto third = start(read());
    run_for(20ms);
    first->cancel.emit(boost::asio::cancellation_type::terminal);
    EXPECT_EQ(code(finish(first)), Errc::cancelled);
    EXPECT_EQ(code(finish(second)), Errc::timeout);
    EXPECT_TRUE(finish(third));
}

TEST_F(VaultClient, IsCancelledAfterAnyStep) {
    int cancelled = 0;
    for (int steps = 0; steps < 60; ++steps) {
        client({.requests_per_second = 1000, .in_flight = 1, .login_interval = 1ms});
        if (steps % 2 == 1) {
            ASSERT_TRUE(read_now());
            run_for(2ms);
            fake_->kill_tokens();  // so that it looks the token up and logs in again
        }
        const auto one = start(read());
        const auto other = start(read("b"));
        run_steps(steps / 2);
        one->cancel.emit(boost::asio::cancellation_type::terminal);
        const auto found = finish(one);
        if (!found) {
            ++cancelled;
            EXPECT_EQ(found.error().code, Errc::cancelled) << found.error().message;
        }
        EXPECT_EQ(said(finish(other))["path"], "b");
        EXPECT_EQ(said(read_now())["path"], "a");
    }
    EXPECT_GT(cancelled, 10);
    EXPECT_LT(cancelled, 60);
}

TEST_F(VaultClient, SendsItsSecretAsJson) {
    client();
    std::string body;
    ASSERT_TRUE(read_now());
    // The login was the request before.
    EXPECT_EQ(fake_->count("POST auth/approle/login"), 1);
    client({}, JwtLogin{"kubernetes/cluster-a", "operator", secret_id});
    fake_->login_answer = FakeVault::reply("400", R"({"errors":["invalid role name"]})");
    const auto found = read_now();
    EXPECT_EQ(code(found), Errc::unauthorized);
    EXPECT_EQ(found.error().message,
              "login: POST auth/kubernetes/cluster-a/login: Vault returned 400: invalid role name");
    EXPECT_TRUE(fake_->last().ends_with(R"({"role":"operator","jwt":"a \"secret\""})")) << fake_->last();
}

TEST_F(VaultClient, RenewsAtTwoThirdsOfTheLife) {
    fake_->lease = 1;
    client();
    ASSERT_TRUE(read_now());
    run_for(300ms);
    ASSERT_TRUE(read_now());
    EXPECT_EQ(fake_->count("POST auth/token/renew-self"), 0);
    run_for(400ms);
    fake_->login_after = 100ms;
    const auto renews = start(read());
    run_for(20ms);
    EXPECT_TRUE(read_now("b"));  // does not wait for it
    EXPECT_FALSE(renews->value);
    EXPECT_TRUE(finish(renews));
    EXPECT_EQ(fake_->count("POST auth/token/renew-self"), 1);
    EXPECT_EQ(fake_->count("POST auth/approle/login"), 1);
}

TEST_F(VaultClient, LogsInAgainAtTheEndOfTheLongestLife) {
    fake_->lease = 1;
    fake_->past_max_ttl = true;
    client();
    ASSERT_TRUE(read_now());
    run_for(700ms);
    ASSERT_TRUE(read_now());
    EXPECT_EQ(fake_->count("POST auth/token/renew-self"), 1);
    EXPECT_EQ(fake_->count("POST auth/approle/login"), 2);
}

TEST_F(VaultClient, LogsInAgainWhenATokenCannotBeRenewed) {
    fake_->lease = 2;
    fake_->renewable = false;
    client();
    ASSERT_TRUE(read_now());
    run_for(1400ms);
    ASSERT_TRUE(read_now());
    EXPECT_EQ(fake_->count("POST auth/token/renew-self"), 0);
    EXPECT_EQ(fake_->count("POST auth/approle/login"), 2);
    // The old one is used while no new one is to be had, and no longer.
    fake_->login_answer = FakeVault::reply("500", R"({"errors":["internal error"]})");
    run_for(1400ms);
    ASSERT_TRUE(read_now());
    EXPECT_EQ(fake_->count("POST auth/approle/login"), 3);
    run_for(700ms);
    EXPECT_EQ(code(read_now()), Errc::unavailable);
}

TEST_F(VaultClient, AsksBeforeEveryLoginWhetherItIsTheRightVault) {
    client({.login_interval = 20ms, .before_login = [](const Health& health) -> result<void> {
                if (health.cluster_id == "one") return {};
                return fail(Errc::unavailable, "another Vault");
            }});
    EXPECT_EQ(said(read_now())["path"], "a");
    EXPECT_EQ(said(read_now())["path"], "a");
    EXPECT_EQ(fake_->count("GET sys/health"), 1) << "before the login, and not before every request";
    fake_->cluster_id = "other";
    run_for(40ms);
    fake_->kill_tokens();
    const auto refused = read_now();
    EXPECT_EQ(code(refused), Errc::unavailable);
    EXPECT_EQ(said(refused), "error: another Vault");
    EXPECT_EQ(counted_["login 200"], 1) << "the other one is shown no credential";
    EXPECT_EQ(counted_["token lost"], 1);
    fake_->cluster_id = "one";
    EXPECT_EQ(said(read_now())["path"], "a") << "what was refused here delays no login";
}

TEST_F(VaultClient, LogsInToNoServerThatIgnoresItsNamespace) {
    fake_->version = "1.12.11";
    client({.vault_namespace = "team", .login_interval = 20ms});
    const auto refused = read_now();
    EXPECT_EQ(code(refused), Errc::invalid);
    EXPECT_EQ(
        said(refused),
        "error: this server (version 1.12.11) does not support namespaces and would ignore team, so "
        "that everything would be in its "
        "root namespace. Remove vaultNamespace from the VaultConnection, or do not set --vault-namespace");
    EXPECT_EQ(fake_->requests(), 1U) << "sys/health, and nothing in the root namespace";
    fake_->version = "1.12.11+ent";
    EXPECT_EQ(said(read_now())["path"], "a") << "what was refused here delays no login";
    fake_->version = "1.12.11";
    client();
    EXPECT_EQ(said(read_now())["path"], "a") << "without a namespace every server will do";
}

TEST_F(VaultClient, ReadsWhichParametersAPathHas) {
    client();
    fake_->answers["GET auth/approle/role/x?help=1"] = FakeVault::reply(
        "200",
        R"({"openapi":{"paths":{"/role/{role_name}":{"post":{"requestBody":{"content":{"application/json":
               {"schema":{"properties":{"token_ttl":{}}}}}}}}}}})");
    auto found = run(client_->parameters("auth/approle/role/x", in(5s)));
    ASSERT_TRUE(found);
    EXPECT_EQ(*found, std::set<std::string>{"token_ttl"});
    EXPECT_EQ(counted_["help 200"], 1);
    found = run(client_->parameters("auth/approle/role/y", in(5s)));
    ASSERT_TRUE(found);
    EXPECT_EQ(*found, std::nullopt) << "an answer without a description";
    fake_->answers["GET a?help=1"] = denied;
    EXPECT_FALSE(run(client_->parameters("a", in(5s))));
}

TEST_F(VaultClient, GoesByTheClockOfSysHealthOnceItHasSeenIt) {
    client();
    EXPECT_FALSE(client_->clock_lead());
    EXPECT_NEAR(client_->server_time(), std::time(nullptr), 2) << "with no answer its own clock has to do";
    fake_->time = 1'800'000'000;
    EXPECT_TRUE(run(client_->health(in(5s))));
    EXPECT_NEAR(client_->server_time(), 1'800'000'000, 5);
    EXPECT_NEAR(client_->clock_lead().value_or(0), std::time(nullptr) - 1'800'000'000, 5);
    fake_->answers = {{"GET a", FakeVault::reply("200", "{}", "Date: Sat, 31 Jan 2026 12:00:00 GMT\r\n")}};
    EXPECT_TRUE(read_now());
    EXPECT_NEAR(client_->server_time(), 1'800'000'000, 5) << "a proxy may have dated the answer";
}

TEST_F(VaultClient, GoesByTheDateOfAnAnswerWhereThereIsNothingBetter) {
    client();
    fake_->answers = {{"GET a", FakeVault::reply("200", "{}", "Date: Sat, 31 Jan 2026 12:00:00 GMT\r\n")}};
    EXPECT_TRUE(read_now());
    EXPECT_NEAR(client_->server_time(), 1'769'860'800, 5);
}

TEST_F(VaultClient, ReplacesADeadTokenOnce) {
    client();
    ASSERT_TRUE(read_now());
    run_for(40ms);
    fake_->kill_tokens();
    std::vector<std::shared_ptr<test::Started<Found>>> started;
    for (int i = 0; i < 8; ++i) started.push_back(start(read()));
    for (const auto& each : started) EXPECT_TRUE(finish(each));
    EXPECT_EQ(fake_->count("POST auth/approle/login"), 2);
    EXPECT_EQ(fake_->count("GET auth/token/lookup-self"), 1);
}

TEST_F(VaultClient, TellsARefusalFromADeadToken) {
    client();
    fake_->answers["GET forbidden"] = denied;
    run_for(40ms);
    for (int i = 0; i < 5; ++i) {
        const auto found = read_now("forbidden");
        EXPECT_EQ(code(found), Errc::forbidden);
        EXPECT_EQ(found.error().message, "GET forbidden: Vault returned 403: permission denied");
    }
    EXPECT_EQ(fake_->count("GET auth/token/lookup-self"), 1);
    EXPECT_EQ(fake_->count("POST auth/approle/login"), 1);
}

TEST_F(VaultClient, DoesNotStormWhenATokenMayNotLookItselfUp) {
    client();
    fake_->answers["GET forbidden"] = denied;
    fake_->lookup_allowed = false;
    ASSERT_TRUE(read_now());
    run_for(40ms);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(code(read_now("forbidden")), Errc::unauthorized);
    EXPECT_LE(fake_->count("POST auth/approle/login"), 2);
    EXPECT_LE(fake_->count("GET auth/token/lookup-self"), 2);
    EXPECT_TRUE(read_now());
}

TEST_F(VaultClient, WaitsAfterALoginThatWasRefused) {
    client({.login_interval = 1ms, .refused_login_interval = 100ms});
    fake_->login_answer = FakeVault::reply("400", R"({"errors":["invalid role or secret ID"]})");
    for (int i = 0; i < 5; ++i) {
        const auto found = read_now();
        EXPECT_EQ(code(found), Errc::unauthorized);
        EXPECT_EQ(found.error().message,
                  "login: POST auth/approle/login: Vault returned 400: invalid role or secret ID");
    }
    EXPECT_EQ(fake_->count("POST auth/approle/login"), 1);
    EXPECT_GT(read_now().error().retry_after.count(), 0);
    EXPECT_TRUE(client_->login_refused());
    run_for(120ms);
    EXPECT_EQ(code(read_now()), Errc::unauthorized);
    run_for(120ms);  // 400 ms by now
    EXPECT_EQ(code(read_now()), Errc::unauthorized);
    EXPECT_EQ(fake_->count("POST auth/approle/login"), 2);
    run_for(320ms);
    fake_->login_answer.clear();
    EXPECT_TRUE(read_now());
    EXPECT_FALSE(client_->login_refused());
    EXPECT_EQ(counted_["no login"], 2);
    EXPECT_EQ(counted_["login"], 1);
}

TEST_F(VaultClient, NamesTheLockoutOfARole) {
    client({.login_interval = 1ms, .refused_login_interval = 1h});
    fake_->login_answer = denied;
    const auto found = read_now();
    EXPECT_EQ(code(found), Errc::unauthorized);
    EXPECT_EQ(found.error().detail, Detail::login_locked);
    EXPECT_NE(found.error().message.find("user_lockout_config"), std::string::npos) << found.error().message;
    run_for(50ms);
    EXPECT_EQ(read_now().error().detail, Detail::login_locked);
    EXPECT_EQ(fake_->count("POST auth/approle/login"), 2)
        << "one with credentials, and one to tell a method that is not enabled";
}

// Vault returned 403 to that, too.
TEST_F(VaultClient, NamesNoLockoutWhereTheMethodIsNotEnabled) {
    client({.login_interval = 1ms, .refused_login_interval = 1h});
    fake_->login_answer = denied;
    fake_->is_enabled = false;
    const auto found = read_now();
    EXPECT_EQ(found.error().detail, Detail::login_refused);
    EXPECT_NE(found.error().message.find("an auth method is enabled at auth/approle"), std::string::npos);
    EXPECT_EQ(found.error().message.find("lock"), std::string::npos) << found.error().message;
}

// Vault locks nobody of the auth methods kubernetes and jwt.
TEST_F(VaultClient, TriesALoginByJwtAgainSooner) {
    client({.login_interval = 1ms, .refused_login_interval = 1h}, JwtLogin{"kubernetes", "role", secret_id});
    fake_->login_answer = denied;
    EXPECT_EQ(read_now().error().detail, Detail::none);
    run_for(50ms);
    EXPECT_FALSE(read_now());
    EXPECT_EQ(fake_->count("POST auth/kubernetes/login"), 2);
}

TEST_F(VaultClient, RefusesALoginWithoutAToken) {
    client();
    for (const char* body :
         {"{}", R"({"auth":null})", R"({"auth":{"client_token":""}})", R"({"auth":{"client_token":1}})"}) {
        fake_->login_answer = FakeVault::reply("200", body);
        EXPECT_EQ(code(read_now()), Errc::protocol) << body;
        run_for(30ms);
    }
}

TEST_F(VaultClient, PassesOnWhyThereIsNoSecret) {
    const auto none = [](net::Deadline) -> net::Task<result<std::string>> {
        co_return fail(Errc::not_found, "Secret vault-login is absent");
    };
    client({}, AppRoleLogin{"approle", "role", none});
    const auto found = read_now();
    EXPECT_EQ(code(found), Errc::unauthorized);
    EXPECT_EQ(found.error().message, "login: Secret vault-login is absent");
    EXPECT_EQ(fake_->requests(), 0U);
}

TEST_F(VaultClient, SparesAVaultThatIsSealed) {
    client({.breaker_failures = 3, .probe_interval = 150ms, .login_interval = 1ms});
    ASSERT_TRUE(read_now());
    fake_->sealed = true;
    for (int i = 0; i < 3; ++i) {
        const auto found = read_now();
        EXPECT_EQ(code(found), Errc::unavailable);
        EXPECT_TRUE(found.error().message.ends_with("503: Vault is sealed")) << found.error().message;
    }
    EXPECT_TRUE(client_->breaker_open());
    const std::size_t before = fake_->requests();
    for (int i = 0; i < 20; ++i) {
        const auto found = read_now();
        EXPECT_EQ(code(found), Errc::unavailable);
        EXPECT_GT(found.error().retry_after.count(), 0);
    }
    EXPECT_EQ(fake_->requests(), before);
    run_for(160ms);
    for (int i = 0; i < 5; ++i) {
        const auto found = read_now();
        EXPECT_TRUE(found.error().message.ends_with("Vault is sealed"));
        EXPECT_EQ(found.error().detail, Detail::sealed);
    }
    EXPECT_EQ(fake_->requests(), before + 1);
    EXPECT_EQ(fake_->count("GET sys/health"), 1);
    fake_->sealed = false;
    run_for(160ms);
    EXPECT_TRUE(read_now());
    EXPECT_FALSE(client_->breaker_open());
    EXPECT_EQ(fake_->count("GET sys/health"), 2);
    EXPECT_EQ(counted_["open"], 1);
    EXPECT_EQ(counted_["closed"], 1);
}

TEST_F(VaultClient, ClosesTheBreakerAsSoonAsItHearsThatVaultIsBack) {
    client({.breaker_failures = 1, .probe_interval = 1h});
    fake_->sealed = true;
    EXPECT_FALSE(read_now());
    EXPECT_TRUE(client_->breaker_open());
    fake_->sealed = false;
    EXPECT_TRUE(run(client_->health(in(5s))));
    EXPECT_FALSE(client_->breaker_open());
    EXPECT_FALSE(fake_->sealed);
}

TEST_F(VaultClient, SparesAVaultThatIsAway) {
    client({.breaker_failures = 2, .probe_interval = 1h, .login_interval = 1ms});
    fake_->after = 200ms;
    ASSERT_TRUE(read_now());
    for (int i = 0; i < 2; ++i) EXPECT_EQ(code(read_now("a", 30ms)), Errc::timeout);
    EXPECT_EQ(code(read_now("a", 30ms)), Errc::unavailable);
    // One fault of one path is none of the server's.
    fake_->after = 0ms;
    ASSERT_TRUE(run(client_->health(in(5s))));
    fake_->answers["GET broken"] = FakeVault::reply("500", R"({"errors":["internal error"]})");
    for (int i = 0; i < 5; ++i) EXPECT_EQ(code(read_now("broken")), Errc::unavailable);
    EXPECT_TRUE(read_now());
}

TEST_F(VaultClient, DoesNotBlameVaultForADeadlineThatHasPassed) {
    client({.breaker_failures = 1});
    ASSERT_TRUE(read_now());
    EXPECT_EQ(code(read_now("a", -1s)), Errc::timeout);
    EXPECT_EQ(run(client_->health(in(-1s))).error().code, Errc::timeout);
    EXPECT_FALSE(client_->breaker_open());
}

TEST_F(VaultClient, KeepsThePace) {
    client({.requests_per_second = 50, .in_flight = 2});
    const auto from = net::SteadyClock::now();
    std::vector<std::shared_ptr<test::Started<Found>>> started;
    for (int i = 0; i < 12; ++i) started.push_back(start(read()));
    for (const auto& each : started) EXPECT_TRUE(finish(each));
    EXPECT_GE(net::SteadyClock::now() - from, 200ms);
    EXPECT_EQ(code(read_now("a", 1ms)), Errc::timeout);
}

TEST_F(VaultClient, KeepsStillAfterARefusalWithAllWhoWaitForTheirTurn) {
    client({.requests_per_second = 50, .in_flight = 2});
    fake_->answers["GET busy"] =
        FakeVault::reply("429", R"({"errors":["request path \"busy\": rate limit"]})");
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(read_now());
    const auto from = net::SteadyClock::now();
    std::vector<std::shared_ptr<test::Started<Found>>> started;
    started.push_back(start(read("busy")));
    for (int i = 0; i < 3; ++i) started.push_back(start(read()));
    EXPECT_EQ(code(finish(started[0])), Errc::throttled);
    const Found late = read_now("a", 300ms);
    EXPECT_EQ(code(late), Errc::throttled) << "and no timeout: Vault is there";
    EXPECT_GT(late.error().retry_after, 0s);
    for (std::size_t i = 1; i < started.size(); ++i) EXPECT_TRUE(finish(started[i]));
    EXPECT_GE(net::SteadyClock::now() - from, 1s);
    EXPECT_EQ(counted_["read 429"], 1);
}

TEST_F(VaultClient, HoldsSoManyInFlight) {
    client({.requests_per_second = 1000, .in_flight = 3});
    fake_->after = 30ms;
    std::vector<std::shared_ptr<test::Started<Found>>> started;
    for (int i = 0; i < 12; ++i) started.push_back(start(read()));
    for (const auto& each : started) EXPECT_TRUE(finish(each));
    EXPECT_EQ(fake_->most_at_once(), 3U);
}

net::Task<bool> sign_off(Client& client) {
    co_await client.sign_off(in(5s));
    co_return true;
}

TEST_F(VaultClient, RevokesWhatItMade) {
    client({.login_interval = 1ms});
    run(sign_off(*client_));
    EXPECT_EQ(fake_->requests(), 0U);
    ASSERT_TRUE(read_now());
    run(sign_off(*client_));
    EXPECT_EQ(fake_->count("POST auth/token/revoke-self"), 1);
    ASSERT_TRUE(read_now());
    EXPECT_EQ(fake_->count("POST auth/approle/login"), 2);
    client({}, TokenLogin{fake_->let_in("s.token-given")});
    ASSERT_TRUE(read_now());
    run(sign_off(*client_));
    EXPECT_EQ(fake_->count("POST auth/token/revoke-self"), 1);
}

TEST_F(VaultClient, TakesAToken) {
    fake_->lease = 1;
    client({.login_interval = 1ms}, TokenLogin{fake_->let_in("s.token-given")});
    ASSERT_TRUE(read_now());
    run_for(700ms);
    ASSERT_TRUE(read_now());
    EXPECT_EQ(fake_->count("GET auth/token/lookup-self"), 1);
    EXPECT_EQ(fake_->count("POST auth/token/renew-self"), 1);
    EXPECT_EQ(counted_["login"], 1);
    fake_->kill_tokens();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(code(read_now()), Errc::unauthorized);
    EXPECT_LE(fake_->requests(), 14U);
}

TEST_F(VaultClient, ReadsATokenFileAgain) {
    const std::string file =
        std::filesystem::temp_directory_path() / ("keyshepherd-token-" + std::to_string(::getpid()));
    const auto write = [&](const std::string& text) { std::ofstream(file) << text; };
    write(fake_->let_in("s.token-one") + "\n");
    client({.login_interval = 1ms}, TokenFileLogin{file});
    ASSERT_TRUE(read_now());
    run_for(10ms);
    fake_->kill_tokens();
    write(fake_->let_in("s.token-two") + "\n");
    ASSERT_TRUE(read_now());
    EXPECT_NE(fake_->last().find("s.token-two\r"), std::string::npos);
    std::filesystem::remove(file);
    client({}, TokenFileLogin{file});
    const auto found = read_now();
    EXPECT_EQ(code(found), Errc::unauthorized);
    EXPECT_NE(found.error().message.find(file), std::string::npos);
}

TEST_F(VaultClient, FollowsARedirectOnItsOwnServerOnly) {
    client();
    fake_->answers = {
        {"GET here", FakeVault::reply("307", "", "Location: " + fake_->origin().text() + "/v1/there\r\n")},
        {"GET near", FakeVault::reply("307", "", "Location: /v1/there\r\n")},
        {"GET away", FakeVault::reply("307", "", "Location: http://127.0.0.2:1/v1/there\r\n")},
        {"GET other", FakeVault::reply("302", "", "Location: " + fake_->origin().text() + "/v1/there\r\n")},
    };
    EXPECT_EQ(said(read_now("here"))["path"], "there");
    EXPECT_EQ(said(read_now("near"))["path"], "there");
    EXPECT_EQ(code(read_now("away")), Errc::unavailable);
    EXPECT_EQ(code(read_now("other")), Errc::protocol);
}

}  // namespace
}  // namespace keyshepherd::vault
