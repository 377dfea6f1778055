// An HTTP/1.1 server, over TLS or plain, for short requests that are answered from memory.
//
//     Server server(context, handler, {.limits = {}, .certificate = &certificate, .log = &log, .metrics =
//     &metrics}); KEYSHEPHERD_TRY(const auto endpoint, server.listen("0.0.0.0:8443")); context.run();
//
// Made for one thread: everything runs on that of `context`. Whoever uses it ignores SIGPIPE. The server
// outlives the context's last run. A session is bounded in every phase: handshake, header, body, answer and
// close have a deadline each (absolute, so that a byte a second does not help), the number of sessions is
// capped by closing the longest idle one, and so are header, body and the sum of all bodies. An idle session
// is kept longer than any client's pool keeps it (Go: 90 s), so that in normal running it is never us who
// closes while a request is on its way.
//
// Invariants: 1. A session is in sessions_ from accept to the end of its coroutine. 2. Only its own coroutine
// reads from or writes to its socket; others may cancel or close it. 3. Every wait in a session is on its
// socket, under its deadline, for its turn of the loop, or for wake(); so close_all() ends every session
// within one turn of the loop.
#pragma once

#include <keyshepherd/core/result.hpp>
#include <keyshepherd/net/certificate.hpp>
#include <keyshepherd/net/http.hpp>
#include <keyshepherd/net/signal.hpp>
#include <keyshepherd/telemetry/log.hpp>
#include <keyshepherd/telemetry/metrics.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <list>
#include <memory>
#include <optional>
#include <string>

namespace keyshepherd::net {

using Milliseconds = std::chrono::milliseconds;

struct Limits {
    std::size_t sessions = 512;                // some 20 KB each when idle
    std::size_t header_bytes = 16 * 1024;      // beyond: 431
    std::size_t body_bytes = 7 * 1024 * 1024;  // beyond: 413
    std::size_t all_bodies_bytes =
        32 * 1024 * 1024;  // received and not yet answered, over all sessions; beyond: 503
    Milliseconds handshake{10'000};
    Milliseconds request{
        10'000};  // for the header from its first byte, and for the body from the header's end
    Milliseconds answer{10'000};
    Milliseconds idle{180'000};
    Milliseconds close{2'000};  // for the client to take the last answer and hang up
};

// Bytes of bodies held now. One a server, shared by its sessions.
struct BodyBudget {
    std::size_t limit;
    std::size_t used = 0;
    telemetry::Metrics* metrics = nullptr;

    bool take(std::size_t bytes);
    void give_back(std::size_t bytes);
};

class Session;

struct ServerOptions {
    Limits limits = {};
    Certificate* certificate = nullptr;  // null: plain HTTP. May be assigned to while the server runs
    telemetry::Log* log = nullptr;
    telemetry::Metrics* metrics = nullptr;  // null: not counted
};

class Server {
public:
    Server(boost::asio::io_context& context, Handler handler, ServerOptions options);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // Starts to accept. HOST is an address, "localhost" or empty (every address); port 0 is any free one.
    result<boost::asio::ip::tcp::endpoint> listen(const std::string& host_port);

    // From now on every answer carries "Connection: close"; connections are still accepted.
    void drain() { draining_ = true; }
    // Takes what already waits in the backlog, then accepts no more; closes idle sessions. Requests under way
    // go on.
    void stop();
    // Ends once no session is left, or at the deadline: true when none is left.
    Task<bool> finished(Milliseconds within);
    // Something has changed that requests may wait for: see Response::wait.
    void wake() { news_.notify_all(); }
    // Closes every session at once.
    void close_all();

    std::size_t sessions() const { return sessions_.size(); }

private:
    friend class Session;
    using Socket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, Executor>;
    using Acceptor = boost::asio::basic_socket_acceptor<boost::asio::ip::tcp, Executor>;

    Task<void> accept_loop();
    void open_session(Socket socket);
    void evict_one();
    void look_by(std::chrono::steady_clock::time_point time);
    void end_overdue();
    Response handle(const Request& request);

    boost::asio::io_context& context_;
    Handler handler_;
    ServerOptions options_;
    BodyBudget budget_;
    Acceptor acceptor_;
    Timer pause_;              // of the accept loop, when the system is out of descriptors
    Timer all_closed_;         // fires, by being cancelled, when the last session ends
    Timer deadlines_;          // of the sessions
    Signal news_;              // for requests that have no answer yet
    std::size_t waiting_ = 0;  // those requests
    std::chrono::steady_clock::time_point next_look_ = std::chrono::steady_clock::time_point::max();
    std::list<std::shared_ptr<Session>> sessions_;
    bool draining_ = false;
    bool stopping_ = false;
};

}  // namespace keyshepherd::net
