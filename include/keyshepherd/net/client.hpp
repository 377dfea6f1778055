// An HTTP/1.1 client of one origin, over TLS or plain, with a pool of keep-alive connections.
//
//     Client client(context, *Origin::parse("https://vault.example:8200"), {.ca = pem});
//     Call call{.method = "GET", .target = "/v1/sys/health", .deadline = SteadyClock::now() + 5s};
//     KEYSHEPHERD_CO_TRY(const Answer answer, co_await client.send(std::move(call)));
//
// Made for one thread, that of `context`; outlives every call. Every call ends by its deadline, name
// resolution included (it runs on a thread of its own that is left behind when it does not come back; the
// last good addresses are kept). Every coroutine of it can be cancelled (Errc::cancelled), and for that turns
// throw_if_cancelled off in the coroutine that awaits it. A CA, certificate or key that cannot be read makes
// every call fail with Errc::invalid.
#pragma once

#include <keyshepherd/core/result.hpp>
#include <keyshepherd/net/task.hpp>

#include <boost/asio/ip/address.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace keyshepherd::net {

struct Origin {
    bool tls = true;
    std::string host;  // a name or an address, IPv6 without brackets
    std::string port;

    // "https://host[:port]" or "http://…", a trailing slash allowed; Errc::invalid for a path, a query, a
    // user.
    static result<Origin> parse(std::string_view url);
    std::string text() const;  // without a default port
    bool operator==(const Origin&) const = default;
};

struct ClientTls {
    std::string ca = {};           // PEM; empty: the system's roots
    std::string server_name = {};  // what the certificate must be for; empty: the origin's host
    std::string certificate = {};  // PEM, of ours; empty: none
    std::string key = {};          // PEM
};

using Header = std::pair<std::string, std::string>;

struct Call {
    std::string method;
    std::string target;  // path and query, encoded
    std::vector<Header> headers = {};
    std::string body = {};
    Deadline deadline = {};
};

struct Answer {
    int status = 0;
    std::vector<Header> headers = {};  // names in lower case
    std::string body = {};

    std::string_view header(std::string_view lower_case_name) const;  // "" when absent
};

// What a Retry-After header says, from none to `longest`; nullopt for none, and for the form with a date,
// which neither the API server nor Vault sends.
std::optional<std::chrono::seconds> retry_after(std::string_view header, std::chrono::seconds longest);

struct ClientLimits {
    std::size_t connections = 16;                 // at once, for send(); a call waits for a free one
    std::size_t answer_bytes = 64 * 1024 * 1024;  // of one answer: Errc::too_large
    std::chrono::seconds idle{60};                // a connection that idled longer is not used again
    // For making a connection, with its TLS handshake; never beyond the call's own deadline. A server that
    // swallows packets is then asked again before the pauses of TCP's own attempts get long.
    std::chrono::seconds connect = std::chrono::hours(1);
};

// The body of an answer that has no end, line by line (a Kubernetes watch).
class Lines {
public:
    virtual ~Lines() = default;
    // One line without its end; nullopt at the end of the body. Errc::timeout at the deadline leaves it
    // usable.
    virtual Task<result<std::optional<std::string>>> next(Deadline deadline) = 0;
};

// Gives the addresses of a name, and may block: it runs on a thread of its own that may outlive the Client,
// one at a time. Empty: getaddrinfo.
using Resolve = std::function<result<std::vector<boost::asio::ip::address>>(const std::string& name)>;

struct Stream {
    Answer answer;                 // with a body only when the status is not 200
    std::unique_ptr<Lines> lines;  // null when it is not
};

class Client {
public:
    Client(boost::asio::io_context& context, Origin origin, ClientTls tls = {}, ClientLimits limits = {},
           Resolve resolve = {});
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // Errors: timeout, cancelled, unavailable (cannot resolve, connect or finish; the message names the
    // origin and the reason, as "connection refused" or "certificate verify failed"), too_large, protocol,
    // invalid (a target or a header that cannot be sent). An answer of any status is no error. A call is sent
    // once more when a kept connection turns out to be closed before a byte of the answer came, and the
    // method is GET, HEAD, LIST (Vault's), PUT or DELETE, or nothing was written; redirects are not followed.
    // Everything it held of `call` and of the answer it read is wiped. `call` needs no Host and no
    // Content-Length.
    Task<result<Answer>> send(Call call);
    // On a connection of its own that is not counted and ends with the Lines.
    Task<result<Stream>> open(Call call);

    const Origin& origin() const;

private:
    class Pool;
    std::shared_ptr<Pool> pool_;
};

}  // namespace keyshepherd::net
