// One connection of a Server, from the handshake to the close.
#pragma once

#include <keyshepherd/net/server.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

namespace keyshepherd::net {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

using Executor = asio::io_context::executor_type;
template <class T>
using Awaitable = asio::awaitable<T, Executor>;
inline constexpr asio::as_tuple_t<asio::use_awaitable_t<Executor>> no_throw{};

using PlainStream = beast::basic_stream<asio::ip::tcp, Executor>;
using TlsStream = beast::ssl_stream<PlainStream>;

// The body of a request, counted against the budget while it is held.
class CountedBody {
public:
    struct value_type {
        std::string text;
        BodyBudget* budget = nullptr;

        value_type() = default;
        value_type(const value_type&) = delete;
        value_type& operator=(const value_type&) = delete;
        ~value_type() {
            if (budget != nullptr && !text.empty()) budget->give_back(text.size());
        }
    };

    class reader {
    public:
        template <bool is_request, class Fields>
        reader(http::header<is_request, Fields>&, value_type& body) : body_(body) {}

        void init(const boost::optional<std::uint64_t>& length, beast::error_code& ec) {
            ec = {};
            announced_ = static_cast<std::size_t>(length.value_or(0));
            body_.text.reserve(std::min(announced_, trusted));
        }

        template <class Buffers>
        std::size_t put(const Buffers& buffers, beast::error_code& ec) {
            ec = {};
            std::size_t total = 0;
            for (const asio::const_buffer part : beast::buffers_range_ref(buffers)) {
                if (!body_.budget->take(part.size())) {
                    ec = asio::error::no_buffer_space;
                    return total;
                }
                if (body_.text.size() + part.size() > body_.text.capacity()) body_.text.reserve(announced_);
                body_.text.append(static_cast<const char*>(part.data()), part.size());
                total += part.size();
            }
            return total;
        }

        void finish(beast::error_code& ec) { ec = {}; }

    private:
        // Room is made for a body that is only announced up to here, and for all of it once that much has
        // come.
        static constexpr std::size_t trusted = 64 * 1024;
        value_type& body_;
        std::size_t announced_ = 0;
    };
};

enum class Phase {
    idle,  // handshake, between requests, within a header, or waiting for the peer to hang up: nothing is
           // lost
    receiving,  // a body
    answering,
};

class SessionBase {
public:
    explicit SessionBase(Server& server) : server_(server) {}
    virtual ~SessionBase() = default;
    SessionBase(const SessionBase&) = delete;
    SessionBase& operator=(const SessionBase&) = delete;

    virtual Awaitable<void> run() = 0;
    // Ends the session at once; `why` is a reason of keyshepherd_sessions_closed_total.
    virtual void close(std::string_view why) = 0;
    // Interrupts the wait for a next request, when the server stops.
    virtual void stop_waiting() = 0;

    Phase phase() const { return phase_; }
    std::chrono::steady_clock::time_point since() const { return since_; }
    std::string_view ended_by() const { return ended_by_; }
    bool closing() const { return closing_; }

protected:
    void enter(Phase phase) {
        phase_ = phase;
        since_ = std::chrono::steady_clock::now();
    }
    void ends_by(std::string_view why) {
        if (ended_by_.empty()) ended_by_ = why;
    }

    Server& server_;
    bool closing_ = false;  // closed by close(), only its coroutine has yet to notice

private:
    Phase phase_ = Phase::idle;
    std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
    std::string_view ended_by_;
};

template <class Stream>
class Session final : public SessionBase {
public:
    template <class... Args>
    explicit Session(Server& server, Args&&... args)
        : SessionBase(server),
          stream_(std::forward<Args>(args)...),
          in_(server.options_.limits.header_bytes + read_size) {}

    Awaitable<void> run() override;

    void close(std::string_view why) override {
        ends_by(why);
        closing_ = true;
        tcp().close();
    }
    void stop_waiting() override {
        if (waiting_) tcp().cancel();
    }

private:
    static constexpr bool tls = std::is_same_v<Stream, TlsStream>;
    static constexpr std::size_t read_size = 8 * 1024;
    using Parser = http::request_parser<CountedBody>;

    // What reading a request came to: whole, the end of the session, or an HTTP status that says what is
    // wrong with it.
    static constexpr int whole = 0;
    static constexpr int end = -1;

    Awaitable<bool> handshake();
    Awaitable<int> read_request();
    Awaitable<bool> send(std::string_view bytes);
    Awaitable<void> hang_up();
    void compose(const Response& response, bool keep_alive, bool with_body);

    PlainStream& tcp() {
        if constexpr (tls)
            return stream_.next_layer();
        else
            return stream_;
    }
    void expires_after(Milliseconds time) { tcp().expires_after(time); }
    const Limits& limits() const { return server_.options_.limits; }
    void failed(const beast::error_code& ec, std::string_view on_timeout) {
        if (ec == beast::error::timeout)
            ends_by(on_timeout);
        else if (ec == asio::error::eof || ec == asio::ssl::error::stream_truncated ||
                 ec == asio::error::connection_reset || ec == asio::error::broken_pipe)
            ends_by("peer");
        else if (ec == asio::error::operation_aborted && server_.stopping_)
            ends_by("drained");
        else
            ends_by("error");
    }

    Stream stream_;
    bool waiting_ = false;  // for the first byte of a request
    bool served_ = false;
    beast::flat_buffer in_;
    std::optional<Parser> parser_;
    std::string out_;
};

template <class Stream>
Awaitable<void> Session<Stream>::run() {
    if constexpr (tls) {
        if (!co_await handshake()) co_return;
    }
    for (;;) {
        const int outcome = co_await read_request();
        if (outcome == end) {
            if (ended_by() == "drained" && !closing_) co_await hang_up();
            co_return;
        }
        Response response;
        bool keep_alive = false;
        bool with_body = true;
        if (outcome == whole) {
            const auto& message = parser_->get();
            const auto content_type = message[http::field::content_type];
            Request request;
            request.method = std::string_view(message.method_string().data(), message.method_string().size());
            request.target = std::string_view(message.target().data(), message.target().size());
            request.content_type = std::string_view(content_type.data(), content_type.size());
            request.body = message.body().text;
            keep_alive = message.keep_alive();
            with_body = message.method() != http::verb::head;
            enter(Phase::answering);
            response = server_.handle(request);
        } else {
            response.status = outcome;
            response.body = fmt::format("{}\n", http::obsolete_reason(static_cast<http::status>(outcome)));
            if (outcome == 413)
                response.body = fmt::format("the body is larger than {} bytes\n", limits().body_bytes);
            if (outcome == 503) {
                response.body = "too many bytes of request bodies in flight; retry\n";
                response.headers.emplace_back("Retry-After", "1");
            }
        }
        parser_.reset();  // gives the body back, before a client that never reads can hold it
        keep_alive = keep_alive && !server_.draining_;
        if (server_.options_.metrics != nullptr) server_.options_.metrics->http_request(response.status);
        enter(Phase::answering);
        compose(response, keep_alive, with_body);
        if (!co_await send(out_)) co_return;
        served_ = true;
        if (!keep_alive) {
            ends_by(server_.draining_ ? "drained" : "closed");
            co_await hang_up();
            co_return;
        }
        constexpr std::size_t kept = 32 * 1024;
        if (out_.capacity() > kept) std::string().swap(out_);
        if (in_.size() == 0 && in_.capacity() > 2 * read_size) in_.shrink_to_fit();
    }
}

template <class Stream>
Awaitable<bool> Session<Stream>::handshake() {
    expires_after(limits().handshake);
    auto [ec] = co_await stream_.async_handshake(asio::ssl::stream_base::server, no_throw);
    if (!ec) co_return true;
    if (ec.category() == asio::error::get_ssl_category()) {
        ends_by("handshake");
        if (ERR_GET_REASON(static_cast<unsigned long>(ec.value())) == SSL_R_HTTP_REQUEST) {
            static constexpr std::string_view hint =
                "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 32\r\nConnection: "
                "close\r\n\r\n"
                "this port speaks HTTPS, not HTTP";
            expires_after(limits().close);
            co_await asio::async_write(tcp(), asio::buffer(hint), no_throw);
        }
    } else {
        failed(ec, "timeout");
    }
    if (server_.options_.log != nullptr && server_.options_.log->enabled(telemetry::Level::debug))
        server_.options_.log->debug("TLS handshake failed", {{"error", ec.message()}});
    co_return false;
}

template <class Stream>
Awaitable<int> Session<Stream>::read_request() {
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(limits().header_bytes));
    parser_->body_limit(limits().body_bytes);
    parser_->eager(false);  // stops behind the header
    parser_->get().body().budget = &server_.budget_;
    enter(Phase::idle);
    bool grace = false;
    bool has_data = in_.size() > 0;
    waiting_ = !has_data;
    if (waiting_)
        expires_after(server_.stopping_ ? limits().close : limits().idle);
    else
        expires_after(limits().request);
    for (;;) {
        if (has_data) {
            beast::error_code ec;
            const bool in_header = !parser_->is_header_done();
            const std::size_t used = parser_->put(in_.data(), ec);
            in_.consume(used);
            if (ec == http::error::header_limit) co_return 431;
            if (ec == http::error::body_limit) co_return 413;
            if (ec == asio::error::no_buffer_space) co_return 503;
            if (ec && ec != http::error::need_more) co_return 400;
            if (parser_->is_done()) co_return whole;
            if (in_header && parser_->is_header_done()) {
                parser_->eager(true);
                enter(Phase::receiving);
                const auto expect = parser_->get()[http::field::expect];
                if (!expect.empty() && parser_->get().version() >= 11) {
                    if (!beast::iequals(expect, "100-continue")) co_return 417;
                    if (in_.size() == 0 && !co_await send("HTTP/1.1 100 Continue\r\n\r\n")) co_return end;
                }
                expires_after(limits().request);
                has_data = in_.size() > 0;
                continue;
            }
            if (!ec && in_.size() > 0) continue;
        }
        const std::size_t wanted =
            phase() == Phase::receiving ? in_.max_size() : std::max(in_.capacity(), in_.size() + read_size);
        const std::size_t room = std::min(wanted, in_.max_size()) - in_.size();
        if (room == 0) co_return 400;  // a chunk's header without an end
        auto [ec, n] = co_await stream_.async_read_some(in_.prepare(room), no_throw);
        if (ec == asio::error::operation_aborted && waiting_ && !served_ && !closing_ && server_.stopping_ &&
            !grace) {
            grace = true;  // a connection that was just made: its request may be on the way
            expires_after(limits().close);
            has_data = false;
            continue;
        }
        if (ec) {
            failed(ec, waiting_ ? (server_.stopping_ ? "drained" : "idle") : "timeout");
            waiting_ = false;
            co_return end;
        }
        in_.commit(n);
        has_data = true;
        if (waiting_) {
            waiting_ = false;
            expires_after(limits().request);
        }
    }
}

template <class Stream>
Awaitable<bool> Session<Stream>::send(std::string_view bytes) {
    expires_after(limits().answer);
    auto [ec, n] = co_await asio::async_write(stream_, asio::buffer(bytes), no_throw);
    if (ec) failed(ec, "timeout");
    co_return !ec;
}

// Says that no more comes, and takes what the peer may still be sending for a moment: closing on unread bytes
// would reset the connection, and the peer could lose the answer.
template <class Stream>
Awaitable<void> Session<Stream>::hang_up() {
    enter(Phase::idle);
    expires_after(limits().close);
    if constexpr (tls) {
        auto [ec] = co_await stream_.async_shutdown(no_throw);
        // Without an error, or at its end, the peer has hung up as well; after a timeout the socket is
        // closed.
        if (!ec || ec == asio::error::eof || ec == asio::ssl::error::stream_truncated ||
            ec == beast::error::timeout)
            co_return;
    }
    beast::error_code ignored;
    tcp().socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    std::size_t left = 4 * limits().body_bytes;
    while (left > 0) {
        auto [ec, n] = co_await tcp().async_read_some(in_.prepare(in_.max_size() - in_.size()), no_throw);
        if (ec) co_return;
        left -= std::min(left, n);
    }
}

template <class Stream>
void Session<Stream>::compose(const Response& response, bool keep_alive, bool with_body) {
    out_.clear();
    const auto reason = http::obsolete_reason(static_cast<http::status>(response.status));
    fmt::format_to(std::back_inserter(out_), "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n",
                   response.status, std::string_view(reason.data(), reason.size()), response.content_type,
                   response.body.size());
    for (const auto& [name, value] : response.headers)
        fmt::format_to(std::back_inserter(out_), "{}: {}\r\n", name, value);
    if (!keep_alive) out_ += "Connection: close\r\n";
    out_ += "\r\n";
    if (with_body) out_ += response.body;
}

}  // namespace keyshepherd::net
