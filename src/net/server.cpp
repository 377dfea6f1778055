#include "session.hpp"

#include <keyshepherd/net/server.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cxxabi.h>
#include <fmt/format.h>

#include <charconv>
#include <typeinfo>

namespace keyshepherd::net {

namespace {

using asio::ip::tcp;

constexpr Milliseconds out_of_descriptors_pause{100};
constexpr std::chrono::seconds complaint_interval{10};

result<tcp::endpoint> parse_endpoint(std::string_view text) {
    const auto colon = text.rfind(':');
    const auto wrong = [&] {
        return fail(
            Errc::invalid,
            fmt::format("invalid listen address '{}': must be HOST:PORT, such as 0.0.0.0:8443", text));
    };
    if (colon == std::string_view::npos) return wrong();
    std::string_view host = text.substr(0, colon);
    const std::string_view port_text = text.substr(colon + 1);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    std::uint16_t port = 0;
    const auto [rest, error] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
    if (error != std::errc{} || rest != port_text.data() + port_text.size()) return wrong();
    boost::system::error_code ec;
    const auto address = host.empty()          ? asio::ip::address(asio::ip::address_v4::any())
                         : host == "localhost" ? asio::ip::address(asio::ip::address_v4::loopback())
                                               : asio::ip::make_address(std::string(host), ec);
    if (ec) return wrong();
    return tcp::endpoint(address, port);
}

std::string type_of(const std::exception& e) {
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> name(
        abi::__cxa_demangle(typeid(e).name(), nullptr, nullptr, &status), &std::free);
    return status == 0 ? name.get() : typeid(e).name();
}

}  // namespace

bool BodyBudget::take(std::size_t bytes) {
    if (bytes > limit - used) return false;
    used += bytes;
    if (metrics != nullptr) metrics->body_bytes_in_flight(used);
    return true;
}

void BodyBudget::give_back(std::size_t bytes) {
    used -= bytes;
    if (metrics != nullptr) metrics->body_bytes_in_flight(used);
}

Server::Server(asio::io_context& context, Handler handler, ServerOptions options)
    : context_(context),
      handler_(std::move(handler)),
      options_(options),
      budget_{options.limits.all_bodies_bytes, 0, options.metrics},
      acceptor_(context.get_executor()),
      pause_(context.get_executor()),
      all_closed_(context.get_executor()),
      deadlines_(context.get_executor()),
      news_(context.get_executor()) {}

Server::~Server() = default;

result<tcp::endpoint> Server::listen(const std::string& host_port) {
    KEYSHEPHERD_TRY(const tcp::endpoint endpoint, parse_endpoint(host_port));
    boost::system::error_code ec;
    acceptor_.open(endpoint.protocol(), ec);
    if (!ec) acceptor_.set_option(asio::socket_base::reuse_address(true), ec);
    if (!ec) acceptor_.bind(endpoint, ec);
    if (!ec) acceptor_.listen(asio::socket_base::max_listen_connections, ec);
    if (ec) return fail(Errc::unavailable, fmt::format("cannot listen on {}: {}", host_port, ec.message()));
    acceptor_.non_blocking(true, ec);
    asio::co_spawn(context_, accept_loop(), [](const std::exception_ptr& e) {
        if (e)
            std::rethrow_exception(e);  // nothing in it throws; should it, the process must not live on deaf
    });
    return acceptor_.local_endpoint(ec);
}

Awaitable<void> Server::accept_loop() {
    auto last_complaint = std::chrono::steady_clock::time_point::min();
    while (!stopping_) {
        auto [ec, socket] = co_await acceptor_.async_accept(no_throw);
        if (!ec) {
            open_session(std::move(socket));
            continue;
        }
        if (stopping_ || ec == asio::error::connection_aborted) continue;
        // Out of descriptors or memory: what waits in the backlog is served once there is room again.
        const auto now = std::chrono::steady_clock::now();
        if (options_.log != nullptr && (last_complaint == std::chrono::steady_clock::time_point::min() ||
                                        now - last_complaint > complaint_interval)) {
            last_complaint = now;
            options_.log->error("cannot accept a connection",
                                {{"error", ec.message()}, {"sessions", sessions_.size()}});
        }
        evict_one();
        pause_.expires_after(out_of_descriptors_pause);
        co_await pause_.async_wait(no_throw);
    }
}

void Server::open_session(Socket socket) {
    const auto open = std::ranges::count_if(sessions_, [](const auto& each) { return !each->closing(); });
    if (static_cast<std::size_t>(open) >= options_.limits.sessions) evict_one();
    boost::system::error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    const std::size_t before = sessions_.size();
    try {
        SSL_CTX* const tls =
            options_.certificate != nullptr ? options_.certificate->context.native_handle() : nullptr;
        sessions_.push_front(std::make_shared<Session>(*this, SocketStream(std::move(socket), tls)));
        const auto at = sessions_.begin();
        asio::co_spawn(context_, (*at)->run(), [this, at, session = *at](const std::exception_ptr& e) {
            if (options_.metrics != nullptr)
                options_.metrics->session_closed(e ? "error" : session->ended_by());
            sessions_.erase(at);
            if (!sessions_.empty()) return;
            all_closed_.cancel();
            deadlines_.cancel();
            next_look_ = std::chrono::steady_clock::time_point::max();
        });
        if (options_.metrics != nullptr) options_.metrics->session_opened();
    } catch (const std::bad_alloc&) {
        if (sessions_.size() > before) sessions_.pop_front();
        if (options_.log != nullptr) options_.log->error("out of memory for a new connection");
    }
}

// Room for one more: the longest idle session goes; when none is idle, the one that has been sending or
// taking longest.
void Server::evict_one() {
    Session* victim = nullptr;
    for (const auto& each : sessions_) {
        if (each->closing()) continue;
        const auto rank = [](const Session& s) { return std::pair(s.phase() != Phase::idle, s.since()); };
        if (victim == nullptr || rank(*each) < rank(*victim)) victim = each.get();
    }
    if (victim != nullptr) victim->close("evicted");
}

// One timer for the deadlines of all sessions. It is set anew only for one that is earlier than what it is
// set to, so that a request as a rule does not touch it: a deadline that was met is found out when it passes.
void Server::look_by(std::chrono::steady_clock::time_point time) {
    if (time >= next_look_) return;
    next_look_ = time;
    deadlines_.expires_at(time);
    deadlines_.async_wait([this](const boost::system::error_code& ec) {
        if (!ec) end_overdue();
    });
}

void Server::end_overdue() {
    const auto now = std::chrono::steady_clock::now();
    auto next = next_look_ = std::chrono::steady_clock::time_point::max();
    for (const auto& each : sessions_) {
        if (each->closing()) continue;
        if (each->deadline() <= now)
            each->expire();
        else
            next = std::min(next, each->deadline());
    }
    look_by(next);
}

Response Server::handle(const Request& request) {
    try {
        return handler_(request);
    } catch (const std::exception& e) {
        // The kind only: what() may repeat a piece of the request.
        if (options_.log != nullptr)
            options_.log->error("the request handler failed", {{"exception", type_of(e)}});
    } catch (...) {
        if (options_.log != nullptr)
            options_.log->error("the request handler failed", {{"exception", "unknown"}});
    }
    Response response;
    response.status = 500;
    response.body = "internal error\n";
    return response;
}

void Server::stop() {
    if (stopping_) return;
    draining_ = true;
    for (boost::system::error_code ec; acceptor_.is_open();) {
        Socket socket(context_.get_executor());
        acceptor_.accept(socket, ec);
        if (ec) break;
        open_session(std::move(socket));
    }
    stopping_ = true;
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
    for (const auto& session : sessions_) session->stop_waiting();
}

Awaitable<bool> Server::finished(Milliseconds within) {
    all_closed_.expires_after(within);
    if (!sessions_.empty()) co_await all_closed_.async_wait(no_throw);
    co_return sessions_.empty();
}

void Server::close_all() {
    for (const auto& session : sessions_) session->close("drained");
    news_.notify_all();
}

}  // namespace keyshepherd::net
