// A client of one Vault or OpenBao: one login shared by every caller, a pace, and a breaker.
//
//     Client vault(context, http, AppRoleLogin{"approle", role_id, secret_id}, {.vault_namespace = "team"});
//     KEYSHEPHERD_CO_TRY(const std::string role, path({"auth", mount, "role", name}));
//     KEYSHEPHERD_CO_TRY(const auto found, co_await vault.read(role, deadline));   // nullopt: absent
//
// For one thread, that of `context`; outlives every call. The token is renewed at two thirds of its life by
// the call that comes then, or made anew; a 403 of a token that turns out to be dead is repeated once with a
// new one. Logins never follow each other closer than Options::login_interval, which doubles with every
// failure; after a refused login of an AppRole, Options::refused_login_interval holds. The token is wiped
// after use and in no message.
#pragma once

#include <keyshepherd/core/result.hpp>
#include <keyshepherd/net/client.hpp>
#include <keyshepherd/net/task.hpp>
#include <keyshepherd/vault/answer.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace keyshepherd::vault {

// Gives a JWT or a secret-ID; asked again at every login.
using Source = std::function<net::Task<result<std::string>>(net::Deadline)>;

// Renewed when it is renewable, never revoked.
struct TokenLogin {
    std::string token;
};
// Read again every half minute and when it is refused; whoever writes the file renews the token.
struct TokenFileLogin {
    std::string file;
};
// Auth methods kubernetes and jwt: both take a role and a JWT.
struct JwtLogin {
    std::string mount;  // "kubernetes"
    std::string role;
    Source jwt;
};
struct AppRoleLogin {
    std::string mount;  // "approle"
    std::string role_id;
    Source secret_id;
};
using Login = std::variant<TokenLogin, TokenFileLogin, JwtLogin, AppRoleLogin>;

struct Options {
    std::string vault_namespace = {};
    double requests_per_second = 50;
    int in_flight = 16;
    int breaker_failures = 5;                         // consecutive: unavailable, sealed, timed out
    std::chrono::milliseconds probe_interval{5'000};  // of an open breaker, at most
    std::chrono::milliseconds login_interval{1'000};  // between logins; doubles up to a minute with failures
    // Whether a request that a rate quota refuses (429) is sent again until its deadline. Otherwise it fails
    // with Errc::throttled.
    bool wait_for_quota = false;
    // Before the second login of an AppRole after Vault refused the first; four times that before each later
    // one. Vault locks a role after 5 refused logins, for everyone, and forgets a refusal after 15 minutes
    // (https://openbao.org/docs/concepts/user-lockout/): so the count never comes to 5.
    std::chrono::milliseconds refused_login_interval{std::chrono::minutes(5)};
    // Sees what sys/health says before every login; its error is the login's. Empty: sys/health is not asked.
    std::function<result<void>(const Health&)> before_login = {};
};

// Called with every request and login; empty ones are not called. Labels are closed sets.
struct Counters {
    // operation: read, list, write, remove, help, health, login, renew, lookup, revoke; code: the HTTP
    // status, or timeout, unavailable, cancelled, too_large, protocol, invalid
    std::function<void(std::string_view operation, std::string_view code)> request = {};
    std::function<void(bool succeeded)> login = {};
    std::function<void(bool open)> breaker = {};
    // Vault does not know a token that was given for longer: it was revoked, or Vault was restored or
    // replaced.
    std::function<void()> token_lost = {};
};

struct Written {
    nlohmann::json data;  // null when the answer has none
    std::vector<std::string> warnings = {};
};

class Client {
public:
    Client(boost::asio::io_context& context, net::Client& http, Login login, Options options = {},
           Counters counters = {});
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // `path` without /v1/, made by path() or a literal; Errc::invalid when it is not safe. Errors are those
    // of read_answer() and net::Client::send(). forbidden: the token lives, and its policies refuse;
    // unauthorized: the login is refused, or the token is and no other is to be had (also, of a token that
    // may not look itself up, either); unavailable at once, with retry_after, while the breaker is open.

    // The answer's data; nullopt: absent. A deleted version of KV v2 comes with its metadata and data null.
    net::Task<result<std::optional<nlohmann::json>>> read(std::string path, net::Deadline deadline);
    // Likewise, of method LIST: {"keys": […], …}; nullopt: none. Of an answer that is too large to be kept
    // whole `keep` takes and drops parts, as in read_answer().
    net::Task<result<std::optional<nlohmann::json>>> list(std::string path, net::Deadline deadline,
                                                          nlohmann::json::parser_callback_t keep = nullptr);
    // The names of the parameters that a write to the path may have, as the server describes them; every
    // token may ask. nullopt: it does not say.
    net::Task<result<std::optional<std::set<std::string>>>> parameters(std::string path,
                                                                       net::Deadline deadline);
    net::Task<result<Written>> write(std::string path, nlohmann::json body, net::Deadline deadline);
    // Success also when it was absent.
    net::Task<result<void>> remove(std::string path, net::Deadline deadline);
    // sys/health, without a token and past the breaker, which hears of it.
    net::Task<result<Health>> health(net::Deadline deadline);
    // Revokes a token that it made itself, and forgets any. The next call would log in again.
    net::Task<void> sign_off(net::Deadline deadline);

    bool breaker_open() const;
    // Whether Vault refused the credentials of the last login: the next one comes after
    // Options::refused_login_interval.
    bool login_refused() const;
    // Vault's clock, by which it dates and expires what it keeps, in seconds since 1970: what sys/health said
    // last, or else the Date of the latest answer, which a proxy may have written. This machine's clock
    // before the first answer.
    std::int64_t server_time() const;
    // How many seconds this machine's clock is ahead of Vault's, to about a second; nullopt before the first
    // answer.
    std::optional<std::int64_t> clock_lead() const;

private:
    class State;
    std::shared_ptr<State> state_;
};

}  // namespace keyshepherd::vault
