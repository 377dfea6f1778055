// One connection of a Server, from the handshake to the close.
#pragma once

#include "socket_stream.hpp"

#include <keyshepherd/net/server.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace keyshepherd::net {

namespace beast = boost::beast;
namespace http = beast::http;

template <class T>
using Awaitable = asio::awaitable<T, Executor>;

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

class Session {
public:
    using Clock = std::chrono::steady_clock;

    Session(Server& server, SocketStream stream)
        : server_(server), stream_(std::move(stream)), in_(server.options_.limits.header_bytes + read_size) {}
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    Awaitable<void> run();
    // Ends the session at once; `why` is a reason of keyshepherd_sessions_closed_total.
    void close(std::string_view why) {
        ends_by(why);
        closing_ = true;
        stream_.socket().close();
    }
    // The same when its deadline has passed; it tells the reason itself.
    void expire() {
        expired_ = closing_ = true;
        stream_.socket().close();
    }
    // Interrupts the wait for a next request, when the server stops.
    void stop_waiting() {
        if (waiting_) stream_.socket().cancel();
    }

    Phase phase() const { return phase_; }
    // These two are known while the session waits, which it does whenever another looks.
    Clock::time_point since() const { return since_; }  // the phase
    Clock::time_point deadline() const { return deadline_; }
    std::string_view ended_by() const { return ended_by_; }
    bool closing() const { return closing_; }  // closed by others, only its coroutine has yet to notice

private:
    static constexpr std::size_t read_size = 8 * 1024;
    static constexpr std::size_t head_room = 512;  // what is reserved for an answer's header
    static constexpr int most_reads = 16;          // without giving way
    using Parser = http::request_parser<CountedBody>;

    // What reading a request came to: whole, the end of the session, or an HTTP status that says what is
    // wrong with it.
    static constexpr int whole = 0;
    static constexpr int end = -1;

    Awaitable<bool> handshake();
    Awaitable<int> read_request();
    Awaitable<bool> await_answer(Request& request, Response& response);
    Awaitable<bool> send(std::string_view bytes);
    Awaitable<void> hang_up();
    void compose(const Response& response, bool keep_alive, bool with_body);

    // Neither reads the clock: a phase that is over before the session has to wait needs no time.
    void enter(Phase phase) {
        phase_ = phase;
        since_ = unknown;
    }
    void expires_after(Milliseconds time) {
        allowed_ = time;
        deadline_ = unknown;
    }
    void before_waiting() {
        if (since_ == unknown || deadline_ == unknown) {
            const auto now = Clock::now();
            if (since_ == unknown) since_ = now;
            if (deadline_ == unknown) deadline_ = now + allowed_;
        }
        reads_ = 0;
        server_.look_by(deadline_);
    }
    // To be awaited at once: until the stream may go on, and until all others had their turn.
    auto ready() {
        before_waiting();
        return stream_.wait();
    }
    auto turn() {
        before_waiting();
        return asio::post(stream_.socket().get_executor(), asio::deferred);
    }

    const Limits& limits() const { return server_.options_.limits; }
    void ends_by(std::string_view why) {
        if (ended_by_.empty()) ended_by_ = why;
    }
    void failed(const beast::error_code& ec, std::string_view on_timeout);

    static constexpr Clock::time_point unknown = Clock::time_point::max();

    Server& server_;
    SocketStream stream_;
    Phase phase_ = Phase::idle;
    bool closing_ = false;
    bool expired_ = false;
    bool waiting_ = false;  // for the first byte of a request
    bool served_ = false;
    int reads_ = 0;  // since the last wait
    Milliseconds allowed_{};
    Clock::time_point since_ = Clock::now();
    Clock::time_point deadline_ = unknown;
    std::string_view ended_by_;
    beast::flat_buffer in_;
    std::optional<Parser> parser_;
    std::string out_;
};

}  // namespace keyshepherd::net
