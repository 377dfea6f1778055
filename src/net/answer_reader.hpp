// Reads one answer from a Connection, by Beast's parser.
#pragma once

#include "connection.hpp"

#include <keyshepherd/net/client.hpp>

#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/http/parser.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <string>

namespace keyshepherd::net {

// A body that is wiped, up to a limit.
class WipedBody {
public:
    struct value_type {
        std::string text;
        std::size_t limit = std::numeric_limits<std::size_t>::max();

        value_type() = default;
        value_type(const value_type&) = delete;
        value_type& operator=(const value_type&) = delete;
        ~value_type() { wipe(text); }
    };

    class reader {
    public:
        template <bool is_request, class Fields>
        reader(boost::beast::http::header<is_request, Fields>&, value_type& body) : body_(body) {}

        void init(const boost::optional<std::uint64_t>& length, boost::beast::error_code& ec) {
            ec = {};
            announced_ = static_cast<std::size_t>(length.value_or(0));
            if (announced_ > body_.limit) ec = boost::beast::http::error::body_limit;
        }

        template <class Buffers>
        std::size_t put(const Buffers& buffers, boost::beast::error_code& ec) {
            ec = {};
            std::size_t total = 0;
            for (const boost::asio::const_buffer part : boost::beast::buffers_range_ref(buffers)) {
                if (part.size() > body_.limit - body_.text.size()) {
                    ec = boost::beast::http::error::body_limit;
                    return total;
                }
                // Room is made for what is only announced up to a point, and for all of it once that much
                // has come.
                const bool trusted = announced_ <= trusted_size || body_.text.size() >= trusted_size;
                append_wiping(body_.text, {static_cast<const char*>(part.data()), part.size()},
                              trusted ? announced_ : 0);
                total += part.size();
            }
            return total;
        }

        void finish(boost::beast::error_code& ec) { ec = {}; }

    private:
        static constexpr std::size_t trusted_size = 64 * 1024;
        value_type& body_;
        std::size_t announced_ = 0;
    };
};

class AnswerReader {
public:
    // `to_head`: of a HEAD, whose answer has no body.
    AnswerReader(std::shared_ptr<Connection> connection, bool to_head, std::size_t largest_body);

    // Until the header is there; until all of it is. Errors' messages are the reason alone.
    Task<result<void>> header(Deadline deadline);
    Task<result<void>> rest(Deadline deadline);
    // A bit more of the body. timeout and cancelled leave it as it was.
    Task<result<void>> more(Deadline deadline);

    bool done() const { return parser_->is_done(); }
    // The connection ended before a byte of the answer came.
    bool silent() const { return silent_; }
    bool reusable() const;
    int status() const { return static_cast<int>(parser_->get().result_int()); }
    // The body so far, for who takes it away.
    std::string& body() { return parser_->get().body().text; }
    void limit_body(std::size_t bytes) { parser_->get().body().limit = bytes; }
    // With the body, which is no longer here then.
    Answer take();
    Connection& connection() { return *connection_; }

private:
    using Parser = boost::beast::http::response_parser<WipedBody>;

    void start();
    Task<result<void>> step(bool behind_header, Deadline deadline);

    std::shared_ptr<Connection> connection_;
    bool to_head_;
    std::size_t largest_body_;
    std::unique_ptr<Parser> parser_;
    bool silent_ = false;
};

}  // namespace keyshepherd::net
