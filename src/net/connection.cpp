#include "connection.hpp"

#include <fmt/format.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace keyshepherd::net {

namespace asio = boost::asio;

namespace {

constexpr std::size_t read_size = 16 * 1024;
constexpr std::size_t largest_header = 64 * 1024;

}  // namespace

Connection::Connection(const Executor& executor, asio::ssl::context* tls)
    : socket_(executor), changed_(executor), in_(largest_header + read_size) {
    if (tls != nullptr) tls_ = std::make_unique<TlsSocket>(socket_, *tls);
}

auto Connection::completion(std::shared_ptr<Step> step) {
    return [self = shared_from_this(), step = std::move(step)](boost::system::error_code ec, auto&&...) {
        step->done = true;
        step->ec = ec;
        self->changed_.notify_all();
    };
}

Task<result<void>> Connection::finish(std::shared_ptr<Step> step, Deadline deadline) {
    co_await asio::this_coro::throw_if_cancelled(false);
    const auto self = shared_from_this();
    while (!step->done) {
        const Wake wake = co_await changed_.wait(deadline);
        if (wake == Wake::notified) continue;
        close();
        if (wake == Wake::cancelled) co_return fail(Errc::cancelled, "cancelled");
        co_return fail(Errc::timeout, "timed out while waiting for the response");
    }
    if (step->ec) {
        close();
        co_return fail(Errc::unavailable, step->ec.message());
    }
    co_return result<void>();
}

Task<result<void>> Connection::connect(asio::ip::tcp::endpoint to, Deadline deadline) {
    boost::system::error_code ec;
    socket_.open(to.protocol(), ec);
    if (ec) co_return fail(Errc::unavailable, ec.message());
    auto step = std::make_shared<Step>();
    socket_.async_connect(to, completion(step));
    auto connected = co_await finish(step, deadline);
    if (connected) {
        socket_.set_option(asio::ip::tcp::no_delay(true), ec);
        socket_.set_option(asio::socket_base::keep_alive(true), ec);
    } else if (connected.error().code == Errc::timeout) {
        connected.error().message = "connection timed out";
    }
    co_return connected;
}

// What would mend a certificate that was not accepted, where that is a setting of ours.
// https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
Detail certificate_detail(long verdict) {
    switch (verdict) {
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        case X509_V_ERR_CERT_UNTRUSTED:
            return Detail::unknown_ca;
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
            return Detail::other_name;
        default:
            return Detail::none;
    }
}

Task<result<void>> Connection::handshake(const std::string& name, Deadline deadline) {
    SSL* const ssl = tls_->native_handle();
    boost::system::error_code no_address;
    asio::ip::make_address(name, no_address);
    bool set = false;
    if (no_address) {
        SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        set = SSL_set1_host(ssl, name.c_str()) == 1 && SSL_set_tlsext_host_name(ssl, name.c_str()) == 1;
    } else {
        set = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str()) == 1;
    }
    if (!set) {
        close();
        co_return fail(Errc::invalid, fmt::format("'{}' is not a valid server name for a certificate", name));
    }
    auto step = std::make_shared<Step>();
    tls_->async_handshake(asio::ssl::stream_base::client, completion(step));
    auto shaken = co_await finish(step, deadline);
    if (shaken) co_return shaken;
    if (const long verdict = SSL_get_verify_result(ssl); step->done && verdict != X509_V_OK) {
        shaken.error().message = fmt::format("certificate verify failed: {} (expected server name '{}')",
                                             X509_verify_cert_error_string(verdict), name);
        shaken.error().detail = certificate_detail(verdict);
    } else if (shaken.error().code == Errc::timeout)
        shaken.error().message = "TLS handshake timed out";
    else
        shaken.error().message = fmt::format("TLS handshake failed: {}", shaken.error().message);
    co_return shaken;
}

Task<result<void>> Connection::write(std::shared_ptr<const Outgoing> out, Deadline deadline) {
    written_ = 0;
    const auto self_in_frame = shared_from_this();
    auto step = std::make_shared<Step>();
    auto handler = [self = shared_from_this(), step, out](boost::system::error_code ec, std::size_t n) {
        step->done = true;
        step->ec = ec;
        self->written_ = n;
        self->changed_.notify_all();
    };
    const std::array parts{asio::buffer(out->head), asio::buffer(out->body)};
    if (tls_)
        asio::async_write(*tls_, parts, std::move(handler));
    else
        asio::async_write(socket_, parts, std::move(handler));
    while (!step->done) {
        const Wake wake = co_await changed_.wait(deadline);
        if (wake == Wake::notified) continue;
        close();
        if (wake == Wake::cancelled) co_return fail(Errc::cancelled, "cancelled");
        co_return fail(Errc::timeout, "timed out while sending the request");
    }
    // Not closed: the answer that says why may have come already.
    if (step->ec) co_return fail(Errc::unavailable, step->ec.message());
    co_return result<void>();
}

void Connection::start_read() {
    const std::size_t room = std::min(read_size, in_.max_size() - in_.size());
    reading_ = true;
    auto handler = [self = shared_from_this()](boost::system::error_code ec, std::size_t n) {
        self->reading_ = false;
        self->arrived_ = true;
        self->in_.commit(n);
        self->read_error_ = ec;
        self->changed_.notify_all();
        if (auto on_event = std::exchange(self->on_event_, nullptr)) on_event();
    };
    if (tls_)
        tls_->async_read_some(in_.prepare(room), std::move(handler));
    else
        socket_.async_read_some(in_.prepare(room), std::move(handler));
}

Task<result<Filled>> Connection::fill(Deadline deadline) {
    co_await asio::this_coro::throw_if_cancelled(false);
    const auto self = shared_from_this();
    if (!reading_ && !arrived_) {
        if (in_.size() == in_.max_size())
            co_return fail(Errc::too_large, "the response contains a line that is too long");
        start_read();
    }
    while (!arrived_) {
        const Wake wake = co_await changed_.wait(deadline);
        if (wake == Wake::cancelled) co_return fail(Errc::cancelled, "cancelled");
        if (wake == Wake::deadline && !arrived_)
            co_return fail(Errc::timeout, "timed out while waiting for the response");
    }
    if (!read_error_) {
        arrived_ = false;
        co_return Filled::bytes;
    }
    if (read_error_ == asio::error::eof) {
        reason_ = "the connection was closed";
        co_return Filled::end;
    }
    reason_ = read_error_ == asio::ssl::error::stream_truncated
                  ? "the connection was closed without a TLS shutdown"
                  : read_error_.message();
    co_return Filled::broken;
}

bool Connection::idle(std::function<void()> on_event) {
    if (reading_ || in_.size() > 0 || read_error_ || !socket_.is_open()) return false;
    arrived_ = false;     // an answer that came before its request was wholly written was never waited for
    in_.shrink_to_fit();  // frees it, and freeing wipes
    start_read();
    on_event_ = std::move(on_event);
    return true;
}

bool Connection::resume() {
    on_event_ = nullptr;
    if (arrived_ || !socket_.is_open()) return false;
    // What the loop has not come round to tell yet. A POST that is sent in vain is not sent again.
    char byte = 0;
    return ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
}

void Connection::close() {
    boost::system::error_code ignored;
    socket_.close(ignored);
}

}  // namespace keyshepherd::net
