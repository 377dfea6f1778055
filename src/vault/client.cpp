#include "pace.hpp"

#include <keyshepherd/core/server_clock.hpp>
#include <keyshepherd/core/text.hpp>
#include <keyshepherd/core/time.hpp>
#include <keyshepherd/net/signal.hpp>
#include <keyshepherd/net/wiped.hpp>
#include <keyshepherd/vault/client.hpp>

#include <boost/asio/this_coro.hpp>
#include <fmt/format.h>

#include <ctime>
#include <fstream>
#include <utility>

namespace keyshepherd::vault {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using net::Deadline;
using net::SteadyClock;
using net::Task;
using nlohmann::json;

namespace {

constexpr auto file_interval = 30s;   // between looks at a token file
constexpr auto known_alive_for = 5s;  // after a look-up of the token
constexpr auto renew_again_in = 10s;  // after a renewal that failed
constexpr auto blind_interval = 60s;  // between logins on a 403, when the token may not look itself up
constexpr std::streamsize largest_token = 64 * 1024;

// A text that is wiped when done with.
struct Secret {
    std::string text;

    Secret() = default;
    explicit Secret(std::string text_) : text(std::move(text_)) {}
    Secret(Secret&&) = default;
    Secret& operator=(Secret&&) = delete;
    ~Secret() { net::wipe(text); }
};

struct WipedCall {
    net::Call call;

    explicit WipedCall(net::Call call_) : call(std::move(call_)) {}
    WipedCall(const WipedCall&) = delete;
    WipedCall& operator=(const WipedCall&) = delete;
    ~WipedCall() {
        for (auto& [name, value] : call.headers) net::wipe(value);
        net::wipe(call.body);
    }
};

// In quotes, as JSON has it. By hand: a serializer leaves copies behind.
void append_quoted(std::string& out, std::string_view text) {
    static constexpr char digits[] = "0123456789abcdef";
    out += '"';
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (c >= 0 && c < ' ') {
            out += "\\u00";
            out += digits[c >> 4];
            out += digits[c & 15];
        } else {
            out += c;
        }
    }
    out += '"';
}

std::string login_body(std::string_view name, std::string_view value, std::string_view secret_name,
                       std::string_view secret) {
    std::string body;
    body.reserve(6 * (value.size() + secret.size()) + name.size() + secret_name.size() + 16);
    body += '{';
    append_quoted(body, name);
    body += ':';
    append_quoted(body, value);
    body += ',';
    append_quoted(body, secret_name);
    body += ':';
    append_quoted(body, secret);
    body += '}';
    return body;
}

std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

result<Secret> read_token(const std::string& file) {
    std::filebuf in;
    in.pubsetbuf(nullptr, 0);  // no copy in a buffer that nobody wipes
    if (in.open(file, std::ios::in | std::ios::binary) == nullptr)
        return fail(Errc::unauthorized, fmt::format("cannot read the token file {}", file));
    Secret whole(std::string(static_cast<std::size_t>(largest_token), '\0'));
    const std::streamsize got = in.sgetn(whole.text.data(), largest_token);
    Secret token(std::string(
        trimmed({whole.text.data(), static_cast<std::size_t>(std::max<std::streamsize>(got, 0))})));
    if (token.text.empty()) return fail(Errc::unauthorized, fmt::format("the token file {} is empty", file));
    return token;
}

std::string_view label(Errc code) {
    switch (code) {
        case Errc::timeout:
            return "timeout";
        case Errc::cancelled:
            return "cancelled";
        case Errc::too_large:
            return "too_large";
        case Errc::protocol:
            return "protocol";
        case Errc::invalid:
            return "invalid";
        default:
            return "unavailable";
    }
}

bool may_pass(Errc code) {
    return code == Errc::unavailable || code == Errc::timeout || code == Errc::cancelled ||
           code == Errc::throttled || code == Errc::protocol;
}

struct Grant {
    Secret token;
    std::chrono::seconds life{0};  // 0: without end
    bool renewable = false;
    bool ours = false;  // made by us, so revoked by us
};

// Puts what `document` says about a token into `grant`; gives the token, which is wiped there.
Secret read_life(json& document, const char* where, const char* life, const char* token, Grant& grant) {
    Secret found;
    const auto part = document.find(where);
    if (part == document.end() || !part->is_object()) return found;
    for (auto& [name, value] : part->items()) {
        if (name == life && value.is_number_integer())
            grant.life = std::chrono::seconds(std::max<std::int64_t>(value.get<std::int64_t>(), 0));
        if (name == "renewable" && value.is_boolean()) grant.renewable = value.get<bool>();
        if (name == token && value.is_string()) found.text.swap(value.get_ref<std::string&>());
    }
    return found;
}

}  // namespace

// Invariants: 1. While busy_, one coroutine obtains or renews the token, and ends that by changed_; nobody
// else changes it but by forget(). 2. generation_ changes with every other token, so that whoever was refused
// knows whether the token that was refused is still the one.
class Client::State : public std::enable_shared_from_this<State> {
public:
    State(asio::io_context& context, net::Client& http, Login login, Options options, Counters counters)
        : http_(http),
          login_(std::move(login)),
          options_(std::move(options)),
          counters_(std::move(counters)),
          pace_(std::max(options_.requests_per_second, 0.001), std::max(options_.in_flight, 1)),
          breaker_(options_.breaker_failures, options_.probe_interval),
          backoff_(options_.login_interval),
          freed_(context.get_executor()),
          changed_(context.get_executor()) {}
    ~State() {
        forget();
        if (auto* given = std::get_if<TokenLogin>(&login_)) net::wipe(given->token);
    }
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    // The document, or nullopt when what was asked for is absent.
    Task<result<std::optional<json>>> ask(std::string_view operation, std::string method, std::string path,
                                          std::string body, Deadline deadline,
                                          json::parser_callback_t keep = nullptr);
    Task<result<Health>> health(Deadline deadline);
    Task<void> sign_off(Deadline deadline);
    bool breaker_open() const { return breaker_.open(); }
    bool login_refused() const {
        return login_error_ && (login_error_->detail == Detail::login_refused ||
                                login_error_->detail == Detail::login_locked);
    }
    std::int64_t server_time() const { return clock_.at(SteadyClock::now()); }

private:
    // One of options_.in_flight.
    class Place {
    public:
        explicit Place(State& state) : state_(state) { ++state_.in_flight_; }
        ~Place() {
            --state_.in_flight_;
            state_.freed_.notify_one();
        }
        Place(const Place&) = delete;
        Place& operator=(const Place&) = delete;

    private:
        State& state_;
    };
    class Busy {
    public:
        explicit Busy(State& state) : state_(state) { state_.busy_ = true; }
        ~Busy() {
            state_.busy_ = false;
            state_.changed_.notify_all();
        }
        Busy(const Busy&) = delete;
        Busy& operator=(const Busy&) = delete;

    private:
        State& state_;
    };

    net::Call call(std::string method, std::string target, std::string body, std::string_view token,
                   Deadline deadline) const;
    Task<result<net::Answer>> send(std::string_view operation, net::Call call);
    Task<result<net::Answer>> send_paced(std::string_view operation, std::string method, std::string path,
                                         std::string body, std::string_view token, Deadline deadline);
    Error no_turn(const std::string& what, Deadline::duration wait) const;
    Task<result<void>> pass_breaker(Deadline deadline);
    void note(bool usable);

    Task<result<void>> ensure_token(Deadline deadline);
    Task<result<void>> log_in(Deadline deadline);
    Task<result<Grant>> obtain(Deadline deadline);
    Task<result<Grant>> obtain_by(std::string mount, std::string name, std::string value,
                                  std::string secret_name, Source source, Deadline deadline);
    Task<bool> is_enabled(std::string where, Deadline deadline);
    Task<result<Grant>> obtain_given(std::string token, Deadline deadline);
    Task<result<void>> renew(Deadline deadline);
    // Whether the token of that generation no longer is one.
    Task<result<bool>> is_dead(unsigned generation, Deadline deadline);
    result<Grant> read_grant(net::Answer& answer, std::string_view path) const;
    void adopt(Grant grant);
    void live_for(std::chrono::seconds life);
    void forget() {
        net::wipe(token_);
        ++generation_;
        ours_ = false;
    }

    net::Client& http_;
    Login login_;
    Options options_;
    Counters counters_;
    Pace pace_;
    Breaker breaker_;
    Error last_fault_{Errc::unavailable, ""};  // why the breaker opened
    Backoff backoff_;                          // of logins
    std::optional<Error> login_error_;
    int in_flight_ = 0;
    ServerClock clock_;
    bool has_health_time_ = false;  // clock_ shows what sys/health said
    net::Signal freed_;
    net::Signal changed_;
    bool busy_ = false;
    bool checking_ = false;  // one coroutine looks the token up; ends by changed_ as well

    std::string token_;
    unsigned generation_ = 0;
    bool ours_ = false;
    bool renewable_ = false;
    std::chrono::seconds life_{0};
    Deadline obtained_{};
    Deadline expires_{};
    Deadline renew_at_{};
    Deadline alive_until_{};
    bool blind_ = false;  // the token may not look itself up
};

net::Call Client::State::call(std::string method, std::string target, std::string body,
                              std::string_view token, Deadline deadline) const {
    net::Call call;
    call.method = std::move(method);
    call.target = std::move(target);
    // Keeps requests out that a browser or a server was tricked into; OpenBao's agent can demand it.
    call.headers.emplace_back("X-Vault-Request", "true");
    if (!options_.vault_namespace.empty())
        call.headers.emplace_back("X-Vault-Namespace", options_.vault_namespace);
    if (!token.empty()) call.headers.emplace_back("X-Vault-Token", std::string(token));
    if (!body.empty()) call.headers.emplace_back("Content-Type", "application/json");
    call.body = std::move(body);
    call.deadline = deadline;
    return call;
}

Task<result<net::Answer>> Client::State::send(std::string_view operation, net::Call call) {
    auto answer = co_await http_.send(std::move(call));
    if (answer && !has_health_time_)
        clock_.set(seconds_of_http_date(answer->header("date")), SteadyClock::now());
    if (counters_.request) {
        if (answer)
            counters_.request(operation, std::to_string(answer->status));
        else
            counters_.request(operation, label(answer.error().code));
    }
    co_return answer;
}

void Client::State::note(bool usable) {
    const bool was_open = breaker_.open();
    if (usable)
        breaker_.succeeded();
    else
        breaker_.failed(SteadyClock::now());
    if (breaker_.open() != was_open && counters_.breaker) counters_.breaker(breaker_.open());
}

Error Client::State::no_turn(const std::string& what, Deadline::duration wait) const {
    if (!pace_.slowed())
        return {Errc::timeout,
                fmt::format("{}: timed out, because requests to Vault are limited to {} per second", what,
                            options_.requests_per_second)};
    Error error(Errc::throttled,
                fmt::format("{}: timed out, because Vault limits the request rate (429)", what));
    error.retry_after = std::chrono::ceil<std::chrono::seconds>(wait);
    return error;
}

Task<result<net::Answer>> Client::State::send_paced(std::string_view operation, std::string method,
                                                    std::string path, std::string body,
                                                    std::string_view token, Deadline deadline) {
    WipedCall kept(call(std::move(method), "/v1/" + path, std::move(body), token, deadline));
    for (;;) {
        const Deadline now = SteadyClock::now();
        if (const Deadline at = pace_.next(now); at >= deadline && at > now)
            co_return std::unexpected(no_turn(kept.call.method + " " + path, at - now));
        const Pace::Turn turn = pace_.take(now);
        if (turn.at > now && !co_await net::sleep_until(turn.at))
            co_return fail(Errc::cancelled, "cancelled");
        while (in_flight_ >= options_.in_flight) {
            const net::Wake wake = co_await freed_.wait(deadline);
            if (wake == net::Wake::notified) continue;
            if (wake == net::Wake::cancelled) co_return fail(Errc::cancelled, "cancelled");
            co_return fail(Errc::timeout, fmt::format("{} {}: timed out waiting for {} other requests",
                                                      kept.call.method, path, options_.in_flight));
        }
        if (pace_.stands(turn)) break;
        freed_.notify_one();  // whoever waits behind us may have the place
    }
    // Of no account for the breaker, as it would be once sent.
    if (SteadyClock::now() >= deadline)
        co_return fail(Errc::timeout,
                       fmt::format("{} {}: timed out before the request was sent", kept.call.method, path));
    const Place place(*this);
    const Deadline sent = SteadyClock::now();
    auto answer = co_await send(operation, kept.call);
    if (answer && answer->status == 307) {
        // To the same server under another path only: elsewhere the token would be shown to who knows whom.
        const std::string location(answer->header("location"));
        const std::string here = http_.origin().text();
        const bool full = location.starts_with(here + "/v1/");
        if (full || location.starts_with("/v1/")) {
            kept.call.target = location.substr(full ? here.size() : 0);
            answer = co_await send(operation, kept.call);
        }
    }
    if (answer) {
        const bool away = answer->status == 502 || answer->status == 503 || answer->status == 504;
        if (away) {
            const auto said = read_answer({kept.call.method, path}, answer->status, answer->body);
            last_fault_ = Error(Errc::unavailable, fmt::format("it returned {}", answer->status));
            if (!said) last_fault_.detail = said.error().detail;
        }
        note(!away);
        if (answer->status == 429) {
            const auto asked =
                read_answer({kept.call.method, path}, 429, "{}", answer->header("retry-after"));
            const auto wait = asked ? std::chrono::seconds(0) : asked.error().retry_after;
            pace_.refused(SteadyClock::now(), sent, std::min<Span>(wait, std::chrono::seconds(10)));
        } else if (!away) {
            pace_.answered(SteadyClock::now());
        }
    } else if (answer.error().code == Errc::unavailable || answer.error().code == Errc::timeout) {
        last_fault_ = answer.error();
        note(false);
    }
    co_return answer;
}

Task<result<void>> Client::State::pass_breaker(Deadline deadline) {
    const Deadline now = SteadyClock::now();
    const Breaker::Verdict verdict = breaker_.ask(now);
    if (verdict == Breaker::Verdict::pass) co_return result<void>();
    if (verdict == Breaker::Verdict::probe) {
        const auto state = co_await health(deadline);
        if (state && state->usable()) co_return result<void>();
        if (!state && state.error().code == Errc::cancelled) co_return std::unexpected(state.error());
        last_fault_ = state ? unusable(*state) : state.error();
    }
    // A server whose certificate we do not accept is there.
    const bool is_there =
        last_fault_.detail == Detail::unknown_ca || last_fault_.detail == Detail::other_name;
    Error error(Errc::unavailable, is_there ? last_fault_.message
                                            : fmt::format("{}: Vault is unavailable: {}",
                                                          http_.origin().text(), last_fault_.message));
    error.detail = last_fault_.detail;
    error.retry_after =
        std::max(std::chrono::ceil<std::chrono::seconds>(breaker_.probe_at() - SteadyClock::now()),
                 std::chrono::seconds(1));
    co_return std::unexpected(std::move(error));
}

Task<result<Health>> Client::State::health(Deadline deadline) {
    co_await asio::this_coro::throw_if_cancelled(false);
    if (SteadyClock::now() >= deadline)
        co_return fail(Errc::timeout, "GET sys/health: timed out before the request was sent");
    // Without the namespace: it is a matter of the server.
    net::Call question;
    question.method = "GET";
    question.target = "/v1/sys/health";
    question.deadline = deadline;
    auto answer = co_await send("health", std::move(question));
    if (!answer) {
        if (answer.error().code != Errc::cancelled) note(false);
        co_return std::unexpected(std::move(answer).error());
    }
    auto read = read_health(answer->status, answer->body);
    if (read && read->time > 0) {
        clock_.set(read->time, SteadyClock::now());
        has_health_time_ = true;
    }
    note(read && read->usable());
    co_return read;
}

Task<result<std::optional<json>>> Client::State::ask(std::string_view operation, std::string method,
                                                     std::string path, std::string body, Deadline deadline,
                                                     json::parser_callback_t keep) {
    co_await asio::this_coro::throw_if_cancelled(false);
    const Secret kept(std::move(body));
    if (!is_safe_path(path))
        co_return fail(Errc::invalid, "the path contains characters that are not allowed");
    if (auto passed = co_await pass_breaker(deadline); !passed)
        co_return std::unexpected(std::move(passed).error());
    for (bool again = false;;) {
        if (auto ready = co_await ensure_token(deadline); !ready)
            co_return std::unexpected(std::move(ready).error());
        const unsigned generation = generation_;
        auto answer = co_await send_paced(operation, method, path, kept.text, token_, deadline);
        if (!answer) co_return std::unexpected(std::move(answer).error());
        auto read =
            read_answer({method, path}, answer->status, answer->body, answer->header("retry-after"), keep);
        net::wipe(answer->body);
        // The pace waits for the quota, and ends this at the deadline.
        if (!read && read.error().code == Errc::throttled && options_.wait_for_quota) continue;
        if (read || (answer->status != 403 && read.error().code != Errc::unauthorized)) co_return read;
        if (read.error().code == Errc::not_found) co_return read;
        // Unless that is known, the 403 means nothing.
        KEYSHEPHERD_CO_TRY(const bool dead, co_await is_dead(generation, deadline));
        if (dead && generation == generation_ && !(again && blind_)) {
            if (!token_.empty() && counters_.token_lost) counters_.token_lost();
            forget();
        }
        if (dead && !std::exchange(again, true)) continue;
        if (dead || blind_) {
            read.error().code = Errc::unauthorized;
            read.error().message +=
                " (the token is not valid, or its policies do not allow auth/token/lookup-self)";
        }
        co_return read;
    }
}

Task<result<bool>> Client::State::is_dead(unsigned generation, Deadline deadline) {
    for (;;) {
        if (generation != generation_) co_return true;
        const Deadline now = SteadyClock::now();
        if (now < alive_until_) co_return false;
        if (blind_ && (std::holds_alternative<TokenLogin>(login_) || now < obtained_ + blind_interval))
            co_return false;
        if (!checking_) break;
        const net::Wake wake = co_await changed_.wait(deadline);
        if (wake == net::Wake::cancelled) co_return fail(Errc::cancelled, "cancelled");
        if (wake == net::Wake::deadline) co_return fail(Errc::timeout, "the lookup of the token timed out");
    }
    struct Checking {
        State& state;
        explicit Checking(State& state_) : state(state_) { state.checking_ = true; }
        ~Checking() {
            state.checking_ = false;
            state.changed_.notify_all();
        }
    };
    const Checking checking(*this);
    const bool fresh = SteadyClock::now() < obtained_ + options_.login_interval;
    auto answer = co_await send_paced("lookup", "GET", "auth/token/lookup-self", "", token_, deadline);
    if (generation != generation_) co_return true;
    if (!answer) co_return std::unexpected(std::move(answer).error());
    const auto read = read_answer({"GET", "auth/token/lookup-self"}, answer->status, answer->body,
                                  answer->header("retry-after"));
    net::wipe(answer->body);
    if (read) {
        blind_ = false;
        alive_until_ = SteadyClock::now() + known_alive_for;
        co_return false;
    }
    if (may_pass(read.error().code)) co_return std::unexpected(read.error());
    // A token that was made a moment ago lives; it is its policies that say no.
    if (fresh) blind_ = true;
    co_return !fresh;
}

Task<result<void>> Client::State::ensure_token(Deadline deadline) {
    for (;;) {
        const Deadline now = SteadyClock::now();
        const bool alive = !token_.empty() && now < expires_;
        if (alive && (busy_ || now < renew_at_)) co_return result<void>();
        if (busy_) {
            const net::Wake wake = co_await changed_.wait(deadline);
            if (wake == net::Wake::notified) continue;
            if (wake == net::Wake::cancelled) co_return fail(Errc::cancelled, "cancelled");
            co_return fail(Errc::timeout, "the login to Vault timed out");
        }
        const Busy busy(*this);
        if (alive && renewable_) {
            const unsigned generation = generation_;
            const auto renewed = co_await renew(deadline);
            if (renewed) co_return result<void>();
            if (generation == generation_ && may_pass(renewed.error().code)) {
                if (SteadyClock::now() >= expires_) co_return std::unexpected(renewed.error());
                renew_at_ = std::min(SteadyClock::now() + renew_again_in, expires_);
                co_return result<void>();
            }
        }
        auto made = co_await log_in(deadline);
        if (!made && !token_.empty() && SteadyClock::now() < expires_) {
            // The old one is good for a while.
            renew_at_ = std::max(backoff_.not_before(), SteadyClock::now() + options_.login_interval);
            co_return result<void>();
        }
        co_return made;
    }
}

Task<result<void>> Client::State::log_in(Deadline deadline) {
    if (const Deadline now = SteadyClock::now(); now < backoff_.not_before()) {
        if (login_error_) {
            Error error = *login_error_;
            error.retry_after = std::chrono::ceil<std::chrono::seconds>(backoff_.not_before() - now);
            co_return std::unexpected(std::move(error));
        }
        if (backoff_.not_before() >= deadline)
            co_return fail(Errc::timeout, "the token is no longer valid, and the next login is not due yet");
        if (!co_await net::sleep_until(backoff_.not_before())) co_return fail(Errc::cancelled, "cancelled");
    }
    if (options_.before_login || !options_.vault_namespace.empty()) {
        auto seen = co_await health(deadline);
        if (!seen) co_return std::unexpected(std::move(seen).error());
        if (!seen->usable()) co_return std::unexpected(unusable(*seen));
        // Everything would be read and written in the root namespace.
        if (!options_.vault_namespace.empty() && !seen->has_namespaces)
            co_return fail(
                Errc::invalid,
                fmt::format("this server (version {}) does not support namespaces and would ignore {}, so "
                            "that everything would be in its root namespace. Remove vaultNamespace from the "
                            "VaultConnection, or do not set --vault-namespace",
                            one_line(seen->version, 40), options_.vault_namespace));
        if (options_.before_login) KEYSHEPHERD_CO_CHECK(options_.before_login(*seen));
    }
    auto grant = co_await obtain(deadline);
    if (counters_.login)
        counters_.login(grant.has_value() && !(blind_ && std::holds_alternative<TokenLogin>(login_)));
    // That one caller had no more time, or stopped, says nothing to the next.
    if (!grant && (grant.error().code == Errc::cancelled || grant.error().code == Errc::timeout))
        co_return std::unexpected(std::move(grant).error());
    if (!grant) {
        Error& error = grant.error();
        // Whatever the status: what was refused is who we say we are.
        if (!may_pass(error.code) && error.code != Errc::unlabeled) error.code = Errc::unauthorized;
        error.message = "login: " + error.message;
        if (error.detail == Detail::login_locked)
            error.message +=
                ". Vault may have locked the role. After 5 failed logins it refuses all logins for 15 "
                "minutes, unless user_lockout_config of the auth method has other values";
        if (error.detail == Detail::none)
            backoff_.failed(SteadyClock::now());
        else
            backoff_.refused(SteadyClock::now(), options_.refused_login_interval);
        login_error_ = error;
        co_return std::unexpected(std::move(grant).error());
    }
    backoff_.succeeded(SteadyClock::now());
    login_error_.reset();
    adopt(std::move(*grant));
    co_return result<void>();
}

Task<result<Grant>> Client::State::obtain(Deadline deadline) {
    if (const auto* given = std::get_if<TokenLogin>(&login_)) return obtain_given(given->token, deadline);
    if (const auto* by_jwt = std::get_if<JwtLogin>(&login_))
        return obtain_by(by_jwt->mount, "role", by_jwt->role, "jwt", by_jwt->jwt, deadline);
    if (const auto* by_approle = std::get_if<AppRoleLogin>(&login_))
        return obtain_by(by_approle->mount, "role_id", by_approle->role_id, "secret_id",
                         by_approle->secret_id, deadline);
    return obtain_given("", deadline);
}

Task<result<Grant>> Client::State::obtain_given(std::string token, Deadline deadline) {
    Grant grant;
    grant.token.text = std::move(token);
    if (const auto* in_file = std::get_if<TokenFileLogin>(&login_)) {
        auto read = read_token(in_file->file);
        if (!read) co_return std::unexpected(std::move(read).error());
        grant.token.text.swap(read->text);
        co_return grant;
    }
    auto answer =
        co_await send_paced("lookup", "GET", "auth/token/lookup-self", "", grant.token.text, deadline);
    if (!answer) co_return std::unexpected(std::move(answer).error());
    auto read = read_answer({"GET", "auth/token/lookup-self"}, answer->status, answer->body,
                            answer->header("retry-after"));
    net::wipe(answer->body);
    if (!read && may_pass(read.error().code)) co_return std::unexpected(std::move(read).error());
    // Dead, or without the policy that lets it look itself up: the first request will tell.
    blind_ = !read.has_value();
    if (read) {
        std::optional<json>& document = *read;
        if (document) read_life(*document, "data", "ttl", "id", grant);
    }
    co_return grant;
}

Task<result<Grant>> Client::State::obtain_by(std::string mount, std::string name, std::string value,
                                             std::string secret_name, Source source, Deadline deadline) {
    auto where = vault::path({"auth", mount, "login"});
    if (!where) co_return std::unexpected(std::move(where).error());
    auto given = co_await source(deadline);
    if (!given) co_return std::unexpected(std::move(given).error());
    const Secret secret(std::move(*given));
    std::string body = login_body(name, value, secret_name, trimmed(secret.text));
    auto answer = co_await send_paced("login", "POST", *where, std::move(body), "", deadline);
    if (!answer) co_return std::unexpected(std::move(answer).error());
    auto grant = read_grant(*answer, *where);
    if (grant) grant->ours = true;
    if (!grant && secret_name == "secret_id" && !may_pass(grant.error().code)) {
        // A refused login counts, and five lock the role (https://openbao.org/docs/concepts/user-lockout/). A
        // wrong secret-id is 400, and the login of a locked role 403, as any request is where no auth method
        // is enabled.
        grant.error().detail = Detail::login_refused;
        if (answer->status == 403 && co_await is_enabled(*where, deadline))
            grant.error().detail = Detail::login_locked;
    }
    // Vault answers the same for a method that is not enabled and for a role that does not take the login.
    if (!grant && grant.error().detail != Detail::login_locked &&
        (grant.error().code == Errc::forbidden || grant.error().code == Errc::not_found))
        grant.error().message +=
            name == "role"
                ? fmt::format(
                      "; check that an auth method is enabled at auth/{} and that its role {} exists "
                      "and is bound to this ServiceAccount, its namespace and its token's audience",
                      mount, value)
                : fmt::format("; check that an auth method is enabled at auth/{}", mount);
    co_return grant;
}

// Whether an auth method answers at the path of a login: it finds fault with a login without credentials,
// where Vault itself answers 403 to whatever it is asked without a token.
Task<bool> Client::State::is_enabled(std::string where, Deadline deadline) {
    const auto answer = co_await send_paced("login", "POST", where, "{}", "", deadline);
    co_return answer && answer->status != 403 && answer->status != 404;
}

result<Grant> Client::State::read_grant(net::Answer& answer, std::string_view path) const {
    auto read = read_answer({"POST", path}, answer.status, answer.body, answer.header("retry-after"));
    net::wipe(answer.body);
    if (!read) return std::unexpected(std::move(read).error());
    const auto wrong = [&] {
        return fail(Errc::protocol, fmt::format("POST {}: the response has no token", path));
    };
    std::optional<json>& document = *read;
    if (!document) return wrong();
    Grant grant;
    Secret token = read_life(*document, "auth", "lease_duration", "client_token", grant);
    grant.token.text.swap(token.text);
    if (grant.token.text.empty()) return wrong();
    return grant;
}

void Client::State::live_for(std::chrono::seconds life) {
    const Deadline now = SteadyClock::now();
    if (life.count() == 0 || life > 24h * 3650) {
        expires_ = renew_at_ = Deadline::max();
    } else {
        expires_ = now + life;
        renew_at_ = now + std::chrono::milliseconds(life) * 2 / 3;
    }
}

void Client::State::adopt(Grant grant) {
    const bool same = token_ == grant.token.text;
    if (!same) {
        forget();
        token_.swap(grant.token.text);
        blind_ = blind_ && std::holds_alternative<TokenLogin>(login_);
    }
    ours_ = grant.ours;
    renewable_ = grant.renewable;
    life_ = grant.life;
    obtained_ = SteadyClock::now();
    alive_until_ = {};
    live_for(grant.life);
    if (std::holds_alternative<TokenFileLogin>(login_)) renew_at_ = SteadyClock::now() + file_interval;
}

Task<result<void>> Client::State::renew(Deadline deadline) {
    const unsigned generation = generation_;
    auto answer = co_await send_paced("renew", "POST", "auth/token/renew-self", "{}", token_, deadline);
    if (!answer) co_return std::unexpected(std::move(answer).error());
    auto grant = read_grant(*answer, "auth/token/renew-self");
    // "past the max TTL, cannot renew" is no fault of the server's: a new token is due.
    if (!grant && answer->status == 500) grant.error().code = Errc::invalid;
    if (!grant) co_return std::unexpected(std::move(grant).error());
    if (generation != generation_) co_return fail(Errc::cancelled, "the token was replaced in the meantime");
    // Close to its longest life a token is given less and less: the next time a new one is due.
    renewable_ = grant->renewable && grant->life * 2 > life_;
    live_for(grant->life);
    co_return result<void>();
}

Task<void> Client::State::sign_off(Deadline deadline) {
    co_await asio::this_coro::throw_if_cancelled(false);
    while (busy_)
        if (co_await changed_.wait(deadline) != net::Wake::notified) break;
    if (token_.empty()) co_return;
    const Secret token(std::exchange(token_, {}));
    const bool ours = ours_;
    forget();
    if (ours) {
        auto question = call("POST", "/v1/auth/token/revoke-self", "", token.text, deadline);
        co_await send("revoke", std::move(question));
    }
}

Client::Client(asio::io_context& context, net::Client& http, Login login, Options options, Counters counters)
    : state_(std::make_shared<State>(context, http, std::move(login), std::move(options),
                                     std::move(counters))) {}

Client::~Client() = default;

namespace {

json take_data(json& document) {
    const auto data = document.find("data");
    return data == document.end() ? json() : std::move(*data);
}

result<std::optional<json>> data_of(result<std::optional<json>> answer) {
    if (!answer) return answer;
    std::optional<json>& document = *answer;
    if (document) document = take_data(*document);
    return answer;
}

}  // namespace

Task<result<std::optional<json>>> Client::read(std::string path, Deadline deadline) {
    const auto state = state_;
    co_return data_of(co_await state->ask("read", "GET", std::move(path), "", deadline));
}

Task<result<std::optional<json>>> Client::list(std::string path, Deadline deadline,
                                               json::parser_callback_t keep) {
    static constexpr int attempts = 5;
    static constexpr std::chrono::milliseconds pause{50};
    const auto state = state_;
    for (int attempt = 1;; ++attempt) {
        auto answer = co_await state->ask("list", "LIST", path, "", deadline, keep);
        const bool changed = !answer && answer.error().detail == Detail::list_changed;
        if (!changed || attempt == attempts) co_return data_of(std::move(answer));
        if (!co_await net::sleep_until(std::min<Deadline>(SteadyClock::now() + pause, deadline)))
            co_return fail(Errc::cancelled, "cancelled");
    }
}

Task<result<std::optional<std::set<std::string>>>> Client::parameters(std::string path, Deadline deadline) {
    const auto state = state_;
    path += "?help=1";
    KEYSHEPHERD_CO_TRY(const auto answer, co_await state->ask("help", "GET", std::move(path), "", deadline));
    co_return answer ? vault::parameters(*answer) : std::nullopt;
}

Task<result<Written>> Client::write(std::string path, json body, Deadline deadline) {
    const auto state = state_;
    std::string text;
    try {
        text = body.is_null() ? "{}" : body.dump();
        net::wipe(body);  // it may hold a secret
    } catch (const json::exception&) {
        co_return fail(Errc::invalid,
                       fmt::format("POST {}: a string in the request is not valid UTF-8", path));
    }
    auto answer = co_await state->ask("write", "POST", path, std::move(text), deadline);
    if (!answer) co_return std::unexpected(std::move(answer).error());
    std::optional<json>& document = *answer;
    if (!document)
        co_return fail(
            Errc::not_found,
            fmt::format("POST {}: Vault returned 404: the mount or the role in this path does not exist",
                        path));
    Written written;
    written.warnings = warnings(*document);
    written.data = take_data(*document);
    co_return written;
}

Task<result<void>> Client::remove(std::string path, Deadline deadline) {
    const auto state = state_;
    auto document = co_await state->ask("remove", "DELETE", std::move(path), "", deadline);
    if (!document) co_return std::unexpected(std::move(document).error());
    co_return result<void>();
}

Task<result<Health>> Client::health(Deadline deadline) {
    const auto state = state_;
    co_return co_await state->health(deadline);
}

Task<void> Client::sign_off(Deadline deadline) {
    const auto state = state_;
    co_await state->sign_off(deadline);
}

std::int64_t Client::server_time() const {
    const std::int64_t told = state_->server_time();
    return told > 0 ? told : std::time(nullptr);
}

std::optional<std::int64_t> Client::clock_lead() const {
    const std::int64_t told = state_->server_time();
    if (told == 0) return std::nullopt;
    return std::time(nullptr) - told;
}

bool Client::breaker_open() const {
    return state_->breaker_open();
}

bool Client::login_refused() const {
    return state_->login_refused();
}

}  // namespace keyshepherd::vault
