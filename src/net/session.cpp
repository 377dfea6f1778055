#include "session.hpp"

#include <fmt/format.h>

namespace keyshepherd::net {

void Session::failed(const beast::error_code& ec, std::string_view on_timeout) {
    if (expired_)
        ends_by(on_timeout);
    else if (ec == asio::error::eof || ec == asio::ssl::error::stream_truncated ||
             ec == asio::error::connection_reset || ec == asio::error::broken_pipe)
        ends_by("peer");
    else if (ec == asio::error::operation_aborted && server_.stopping_)
        ends_by("drained");
    else
        ends_by("error");
}

Awaitable<void> Session::run() {
    if (stream_.is_tls() && !co_await handshake()) co_return;
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
            // There is one when a request is whole.
            const auto& message = parser_->get();  // NOLINT(bugprone-unchecked-optional-access)
            const auto content_type = message[http::field::content_type];
            Request request;
            request.method = std::string_view(message.method_string().data(), message.method_string().size());
            request.target = std::string_view(message.target().data(), message.target().size());
            request.content_type = std::string_view(content_type.data(), content_type.size());
            request.body = message.body().text;
            request.client_is_verified = stream_.peer_is_verified();
            keep_alive = message.keep_alive();
            with_body = message.method() != http::verb::head;
            enter(Phase::answering);
            response = server_.handle(request);
            if (response.wait.count() > 0 && !co_await await_answer(request, response)) co_return;
        } else {
            response.status = outcome;
            response.body = fmt::format("{}\n", http::obsolete_reason(static_cast<http::status>(outcome)));
            if (outcome == 413)
                response.body =
                    fmt::format("the request body is larger than {} bytes\n", limits().body_bytes);
            if (outcome == 503) {
                response.body = "request bodies in progress use too much memory; try again\n";
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

Awaitable<bool> Session::handshake() {
    expires_after(limits().handshake);
    beast::error_code ec;
    for (;;) {
        stream_.handshake(ec);
        if (ec == asio::error::would_block)
            std::tie(ec) = co_await ready();
        else
            break;
        if (ec) break;
    }
    if (!ec) co_return true;
    if (ec.category() == asio::error::get_ssl_category()) {
        ends_by("handshake");
        if (ERR_GET_REASON(static_cast<unsigned long>(ec.value())) == SSL_R_HTTP_REQUEST) {
            static constexpr std::string_view hint =
                "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 32\r\nConnection: "
                "close\r\n\r\n"
                "this port speaks HTTPS, not HTTP";
            beast::error_code ignored;  // nothing else was sent, so there is room for it
            stream_.write_plain(asio::buffer(hint), ignored);
        }
    } else {
        failed(ec, "timeout");
    }
    if (server_.options_.log != nullptr && server_.options_.log->enabled(telemetry::Level::debug))
        server_.options_.log->debug("TLS handshake failed", {{"error", ec.message()}});
    co_return false;
}

Awaitable<int> Session::read_request() {
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(limits().header_bytes));
    parser_->body_limit(limits().body_bytes);
    parser_->eager(false);  // stops behind the header
    parser_->get().body().budget = &server_.budget_;
    enter(Phase::idle);
    // A client that sends ahead waits for its turn like all others.
    if (in_.size() > 0 || stream_.has_input()) co_await turn();
    bool grace = false;
    bool has_data = in_.size() > 0;
    // Else nothing is there as a rule, and a look would be in vain.
    bool worth_a_look = has_data || stream_.has_input();
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
        beast::error_code ec;
        std::size_t n = 0;
        for (;;) {
            if (worth_a_look) {
                if (++reads_ > most_reads) co_await turn();
                n = stream_.read(in_.prepare(room), ec);
                if (ec != asio::error::would_block) break;
            }
            worth_a_look = true;
            std::tie(ec) = co_await ready();
            if (ec) break;
        }
        if (ec == asio::error::operation_aborted && waiting_ && !served_ && !closing_ && server_.stopping_ &&
            !grace) {
            grace = true;  // a connection that was just made: its request may be on the way
            expires_after(limits().close);
            has_data = worth_a_look = false;
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

// False when the session was closed meanwhile. Who waits holds a session and a body: where there is not room
// to spare it is answered at once, so that nobody is turned away for it.
Awaitable<bool> Session::await_answer(Request& request, Response& response) {
    constexpr std::size_t share = 4;
    const bool room =
        server_.budget_.used <= server_.budget_.limit / share && server_.waiting_ < limits().sessions / share;
    const auto until = room ? Clock::now() + response.wait : Clock::now();
    expires_after(response.wait + limits().answer);
    before_waiting();
    ++server_.waiting_;
    while (response.wait.count() > 0 && !request.last && !closing_) {
        if (room) co_await server_.news_.wait(until);
        request.last = Clock::now() >= until;
        if (!closing_) response = server_.handle(request);
    }
    --server_.waiting_;
    co_return !closing_;
}

Awaitable<bool> Session::send(std::string_view bytes) {
    expires_after(limits().answer);
    while (!bytes.empty()) {
        beast::error_code ec;
        bytes.remove_prefix(stream_.write(asio::buffer(bytes), ec));
        if (ec == asio::error::would_block) std::tie(ec) = co_await ready();
        if (ec) {
            failed(ec, "timeout");
            co_return false;
        }
    }
    co_return true;
}

// Says that no more comes, and takes what the peer may still be sending for a moment: closing on unread bytes
// would reset the connection, and the peer could lose the answer.
Awaitable<void> Session::hang_up() {
    enter(Phase::idle);
    expires_after(limits().close);
    beast::error_code ec;
    if (stream_.is_tls()) {
        for (;;) {
            stream_.shutdown(ec);
            if (ec != asio::error::would_block) break;
            std::tie(ec) = co_await ready();
            if (ec) break;
        }
        // Without an error, or at its end, the peer has hung up as well.
        if (!ec || ec == asio::error::eof || ec == asio::ssl::error::stream_truncated) co_return;
    }
    stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ec);
    std::size_t left = 4 * limits().body_bytes;
    while (left > 0 && !closing_) {
        if (++reads_ > most_reads) co_await turn();
        const std::size_t n = stream_.read_plain(in_.prepare(in_.max_size() - in_.size()), ec);
        if (ec == asio::error::would_block) std::tie(ec) = co_await ready();
        if (ec) co_return;
        left -= std::min(left, n);
    }
}

void Session::compose(const Response& response, bool keep_alive, bool with_body) {
    const auto reason = http::obsolete_reason(static_cast<http::status>(response.status));
    out_.clear();
    out_.reserve(head_room + (with_body ? response.body.size() : 0));
    out_.append("HTTP/1.1 ").append(fmt::format_int(response.status).c_str()).append(" ").append(reason);
    out_.append("\r\nContent-Type: ").append(response.content_type);
    out_.append("\r\nContent-Length: ").append(fmt::format_int(response.body.size()).c_str());
    for (const auto& [name, value] : response.headers)
        out_.append("\r\n").append(name).append(": ").append(value);
    if (!keep_alive) out_.append("\r\nConnection: close");
    out_.append("\r\n\r\n");
    if (with_body) out_.append(response.body);
}

}  // namespace keyshepherd::net
