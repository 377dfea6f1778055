// One connection of a Client, plain or TLS.
//
// Invariants: 1. What an operation of the socket works on belongs to the connection, and the operation holds
// the connection; so a wait for it may be given up at any time. 2. While a read is pending nobody touches
// input().
// 3. A read that outlives a wait stays pending: the next fill() takes what it brought, and an idle connection
// learns at once that the peer has closed.
#pragma once

#include <keyshepherd/core/result.hpp>
#include <keyshepherd/net/signal.hpp>
#include <keyshepherd/net/wiped.hpp>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core/flat_buffer.hpp>

#include <functional>
#include <memory>
#include <string>

namespace keyshepherd::net {

// A request's bytes; shared with a write that may outlive the call.
struct Outgoing {
    std::string head;
    std::string body;

    Outgoing() = default;
    Outgoing(const Outgoing&) = delete;
    Outgoing& operator=(const Outgoing&) = delete;
    ~Outgoing() {
        wipe(head);
        wipe(body);
    }
};

enum class Filled {
    bytes,
    end,     // the peer closed as it should
    broken,  // reset, or closed without saying so in TLS
};

class Connection : public std::enable_shared_from_this<Connection> {
public:
    using Buffer = boost::beast::basic_flat_buffer<WipingAllocator<char>>;

    // `tls`: null for a plain one.
    Connection(const Executor& executor, boost::asio::ssl::context* tls);

    // These three close the connection when they fail. The message is the reason alone.
    Task<result<void>> connect(boost::asio::ip::tcp::endpoint to, Deadline deadline);
    // `name`: what the certificate must be for, a name or an address.
    Task<result<void>> handshake(const std::string& name, Deadline deadline);
    Task<result<void>> write(std::shared_ptr<const Outgoing> out, Deadline deadline);

    // More bytes in input(), or the end. timeout and cancelled leave the connection as it was.
    Task<result<Filled>> fill(Deadline deadline);
    bool reading() const { return reading_; }
    // Not while reading().
    Buffer& input() { return in_; }
    // Why it ended, after Filled::broken.
    const std::string& reason() const { return reason_; }
    // Of the request that was written last, to the transport.
    std::size_t written() const { return written_; }

    // Wipes input() and calls `on_event` once, when the peer sends or closes. False: it has closed already.
    bool idle(std::function<void()> on_event);
    // Takes it back to work. False: it has ended meanwhile, or there is something to read that nobody asked
    // for.
    bool resume();

    void close();

private:
    using Socket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, Executor>;
    using TlsSocket = boost::asio::ssl::stream<Socket&>;

    struct Step {
        bool done = false;
        boost::system::error_code ec;
    };

    Task<result<void>> finish(std::shared_ptr<Step> step, Deadline deadline);
    auto completion(std::shared_ptr<Step> step);
    void start_read();

    Socket socket_;
    std::unique_ptr<TlsSocket> tls_;  // null: plain
    Signal changed_;
    Buffer in_;
    bool reading_ = false;
    bool arrived_ = false;  // a read ended that no fill() has taken yet
    boost::system::error_code read_error_;
    std::string reason_;
    std::size_t written_ = 0;
    std::function<void()> on_event_;
};

}  // namespace keyshepherd::net
