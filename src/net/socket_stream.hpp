// The bytes of a connection, over TLS or plain, without a copy between OpenSSL and the socket.
//
// Every operation is tried at once and waits for nothing. One that needs the peer ends with would_block; the
// caller waits on wait(), and calls it again with the same bytes. That is less than Asio's AsyncStream, which
// would have to post each completion, and it is all that one coroutine a connection needs. Because an
// operation that never blocks never lets others run, the caller also gives way from time to time.
//
// Invariants: 1. OpenSSL works on the descriptor of an open socket only: after socket().close() every
// operation ends with operation_aborted, since the number may be another connection's by then. 2. SIGPIPE is
// ignored by the process (OpenSSL writes with write()).
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/error.hpp>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <memory>
#include <new>

namespace keyshepherd::net {

namespace asio = boost::asio;

class SocketStream {
public:
    using Socket = asio::basic_stream_socket<asio::ip::tcp, asio::io_context::executor_type>;
    using error_code = boost::system::error_code;

    // `tls`: null for plain; counted, so it may be replaced while this lives. Throws std::bad_alloc.
    SocketStream(Socket socket, SSL_CTX* tls) : socket_(std::move(socket)) {
        error_code ec;
        socket_.non_blocking(true, ec);
        if (tls == nullptr) return;
        ssl_.reset(SSL_new(tls));
        if (ssl_ == nullptr || SSL_set_fd(ssl_.get(), socket_.native_handle()) != 1) {
            ERR_clear_error();
            throw std::bad_alloc();
        }
        SSL_set_accept_state(ssl_.get());
        SSL_set_mode(ssl_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }

    Socket& socket() { return socket_; }
    bool is_tls() const { return ssl_ != nullptr; }
    // After the handshake. A peer whose certificate does not verify has had none.
    bool peer_is_verified() const {
        return ssl_ != nullptr && SSL_get0_peer_certificate(ssl_.get()) != nullptr &&
               SSL_get_verify_result(ssl_.get()) == X509_V_OK;
    }
    // Whether bytes have come that read() has not given out, as far as is known without asking the system.
    bool has_input() const { return ssl_ != nullptr && SSL_has_pending(ssl_.get()) == 1; }

    void handshake(error_code& ec) {
        tls(ec, [this] { return SSL_do_handshake(ssl_.get()); });
    }

    std::size_t read(asio::mutable_buffer into, error_code& ec) {
        if (ssl_ == nullptr)
            return plain(ec, asio::socket_base::wait_read, [&] { return read_plain(into, ec); });
        const int n = tls(ec, [&] { return SSL_read(ssl_.get(), into.data(), capped(into.size())); });
        return static_cast<std::size_t>(std::max(n, 0));
    }

    // May write less than all of it.
    std::size_t write(asio::const_buffer from, error_code& ec) {
        if (ssl_ == nullptr)
            return plain(ec, asio::socket_base::wait_write, [&] { return write_plain(from, ec); });
        const int n = tls(ec, [&] { return SSL_write(ssl_.get(), from.data(), capped(from.size())); });
        return static_cast<std::size_t>(std::max(n, 0));
    }

    // Sends a close_notify, and ends once the peer's has come.
    void shutdown(error_code& ec) {
        tls(ec, [this] {
            const int sent = SSL_shutdown(ssl_.get());
            return sent == 0 ? SSL_shutdown(ssl_.get()) : sent;
        });
    }

    // Below TLS.
    std::size_t read_plain(asio::mutable_buffer into, error_code& ec) {
        return socket_.read_some(asio::buffer(into), ec);
    }
    std::size_t write_plain(asio::const_buffer from, error_code& ec) {
        return socket_.write_some(asio::buffer(from), ec);
    }

    // For what the last operation could not go on without; at first, and after read_plain(), for input.
    auto wait() { return socket_.async_wait(wants_, asio::as_tuple(asio::deferred)); }

private:
    struct Free {
        void operator()(SSL* ssl) const { SSL_free(ssl); }
    };

    static int capped(std::size_t size) {
        return static_cast<int>(std::min<std::size_t>(size, std::numeric_limits<int>::max()));
    }

    template <class Operation>
    std::size_t plain(error_code& ec, asio::socket_base::wait_type side, Operation operation) {
        const std::size_t n = operation();
        wants_ = ec == asio::error::would_block ? side : asio::socket_base::wait_read;
        return n;
    }

    template <class Operation>
    int tls(error_code& ec, Operation operation) {
        ec = {};
        wants_ = asio::socket_base::wait_read;
        if (!socket_.is_open()) {
            ec = asio::error::operation_aborted;
            return -1;
        }
        ERR_clear_error();
        errno = 0;
        const int n = operation();
        if (n > 0) return n;
        const int system = errno;
        switch (SSL_get_error(ssl_.get(), n)) {
            case SSL_ERROR_WANT_READ:
                ec = asio::error::would_block;
                break;
            case SSL_ERROR_WANT_WRITE:
                ec = asio::error::would_block;
                wants_ = asio::socket_base::wait_write;
                break;
            case SSL_ERROR_ZERO_RETURN:
                ec = asio::error::eof;
                break;
            case SSL_ERROR_SYSCALL:
                ec = system == 0 ? error_code(asio::ssl::error::stream_truncated)
                                 : error_code(system, asio::error::get_system_category());
                break;
            default:
                ec = error_code(static_cast<int>(ERR_get_error()), asio::error::get_ssl_category());
        }
        ERR_clear_error();
        return n;
    }

    Socket socket_;
    std::unique_ptr<SSL, Free> ssl_;
    asio::socket_base::wait_type wants_ = asio::socket_base::wait_read;
};

}  // namespace keyshepherd::net
