#include "answer_reader.hpp"
#include "connection.hpp"
#include "resolver.hpp"

#include <keyshepherd/core/ascii.hpp>
#include <keyshepherd/net/client.hpp>
#include <keyshepherd/net/signal.hpp>

#include <boost/asio/ssl.hpp>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <list>

namespace keyshepherd::net {

namespace asio = boost::asio;
namespace ssl = asio::ssl;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t largest_line = 16 * 1024 * 1024;

result<void> trust(ssl::context& context, std::string_view pem) {
    ERR_clear_error();
    X509_STORE* const store = SSL_CTX_get_cert_store(context.native_handle());
    const std::unique_ptr<BIO, decltype(&BIO_free)> in(
        BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &BIO_free);
    int count = 0;
    for (;;) {
        const std::unique_ptr<X509, decltype(&X509_free)> each(
            PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr), &X509_free);
        if (!each) break;
        X509_STORE_add_cert(store, each.get());
        ++count;
    }
    const unsigned long last = ERR_peek_last_error();
    ERR_clear_error();
    const bool at_end = ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
    if (count == 0 || !at_end) return fail(Errc::invalid, "the CA must contain valid PEM certificates only");
    return {};
}

result<ssl::context> make_context(const ClientTls& tls) {
    ssl::context context(ssl::context::tls_client);
    SSL_CTX* const handle = context.native_handle();
    SSL_CTX_set_min_proto_version(handle, TLS1_2_VERSION);
    SSL_CTX_set_options(handle, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_set_session_cache_mode(handle, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(handle, SSL_MODE_RELEASE_BUFFERS);
    static constexpr unsigned char http11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    SSL_CTX_set_alpn_protos(handle, http11, sizeof(http11));
    // As Go does it: what is in the CA file is trusted, root or not.
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(handle), X509_V_FLAG_PARTIAL_CHAIN);
    boost::system::error_code ec;
    context.set_verify_mode(ssl::verify_peer, ec);
    if (tls.ca.empty()) {
        context.set_default_verify_paths(ec);
    } else if (auto trusted = trust(context, tls.ca); !trusted) {
        return std::unexpected(std::move(trusted).error());
    }
    if (tls.certificate.empty()) return context;
    // Else OpenSSL would ask for the password of an encrypted key on the terminal.
    context.set_password_callback([](std::size_t, ssl::context::password_purpose) { return std::string(); },
                                  ec);
    context.use_certificate_chain(asio::buffer(tls.certificate), ec);
    if (ec) return fail(Errc::invalid, fmt::format("invalid PEM client certificate: {}", ec.message()));
    context.use_private_key(asio::buffer(tls.key), ssl::context::pem, ec);
    if (ec)
        return fail(Errc::invalid,
                    fmt::format("invalid private key for the client certificate: {}", ec.message()));
    return context;
}

bool is_token(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) {
        return is_alphanumeric(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
    });
}

bool is_visible(std::string_view text, char from) {
    return std::ranges::all_of(text, [from](char c) { return (c >= from && c != 0x7f) || c < 0; });
}

}  // namespace

std::string_view Answer::header(std::string_view lower_case_name) const {
    for (const auto& [name, value] : headers)
        if (name == lower_case_name) return value;
    return {};
}

std::optional<std::chrono::seconds> retry_after(std::string_view header, std::chrono::seconds longest) {
    std::int64_t seconds = 0;
    const auto [end, error] = std::from_chars(header.data(), header.data() + header.size(), seconds);
    if (error != std::errc{} || end != header.data() + header.size()) return std::nullopt;
    return std::chrono::seconds(std::clamp<std::int64_t>(seconds, 0, longest.count()));
}

class Client::Pool : public std::enable_shared_from_this<Pool> {
public:
    Pool(asio::io_context& context, Origin origin, const ClientTls& tls, ClientLimits limits, Resolve resolve)
        : executor_(context.get_executor()),
          origin_(std::move(origin)),
          name_(tls.server_name.empty() ? origin_.host : tls.server_name),
          limits_(limits),
          resolver_(executor_, origin_.host, std::move(resolve)),
          freed_(executor_) {
        std::from_chars(origin_.port.data(), origin_.port.data() + origin_.port.size(), port_);
        if (!origin_.tls) return;
        auto made = make_context(tls);
        if (made)
            tls_.emplace(std::move(*made));
        else
            fault_ = std::move(made).error();
    }

    Task<result<Answer>> send(Call call);
    Task<result<Stream>> open(Call call);

    // No new use of any connection: those that idle are closed.
    void shut() {
        shut_ = true;
        for (auto& each : idle_) each.connection->close();
        idle_.clear();
    }
    const Origin& origin() const { return origin_; }

private:
    struct Idle {
        std::shared_ptr<Connection> connection;
        Deadline until;
    };

    // One of limits_.connections.
    class Place {
    public:
        explicit Place(std::shared_ptr<Pool> pool) : pool_(std::move(pool)) { ++pool_->in_use_; }
        Place(Place&&) = default;
        Place& operator=(Place&&) = delete;
        ~Place() {
            if (!pool_) return;
            --pool_->in_use_;
            pool_->freed_.notify_one();
        }

    private:
        std::shared_ptr<Pool> pool_;
    };

    // Closes a connection whose call did not come to its end.
    struct Held {
        std::shared_ptr<Connection> connection;

        explicit Held(std::shared_ptr<Connection> connection_) : connection(std::move(connection_)) {}
        Held(const Held&) = delete;
        Held& operator=(const Held&) = delete;
        ~Held() {
            if (connection) connection->close();
        }
    };

    struct Tried {
        result<Answer> answer;
        bool again = false;  // nothing of it reached the server, or nothing that matters
    };

    Error about(Error error) const {
        error.message = fmt::format("{}: {}", origin_.text(), error.message);
        return error;
    }
    // What is to be sent; wipes the call.
    result<std::shared_ptr<Outgoing>> compose(Call& call) const;
    Task<result<Place>> place(Deadline deadline);
    std::shared_ptr<Connection> take_idle();
    void keep(std::shared_ptr<Connection> connection);
    Task<result<std::shared_ptr<Connection>>> connect(Deadline deadline);
    Task<Tried> exchange(std::shared_ptr<Connection> connection, std::string method,
                         std::shared_ptr<Outgoing> out, Deadline deadline);

    Executor executor_;
    Origin origin_;
    std::string name_;
    std::uint16_t port_ = 0;
    ClientLimits limits_;
    std::optional<ssl::context> tls_;
    std::optional<Error> fault_;
    Resolver resolver_;
    std::size_t in_use_ = 0;
    Signal freed_;
    std::list<Idle> idle_;  // the last used first
    bool shut_ = false;
};

result<std::shared_ptr<Outgoing>> Client::Pool::compose(Call& call) const {
    const struct Wiped {
        Call& call;
        ~Wiped() {
            for (auto& [name, value] : call.headers) wipe(value);
            wipe(call.body);
        }
    } wiped{call};
    if (fault_) return std::unexpected(*fault_);
    if (SteadyClock::now() >= call.deadline) return fail(Errc::timeout, "the deadline has passed");
    if (!is_token(call.method) || !call.target.starts_with('/') || !is_visible(call.target, '!'))
        return fail(Errc::invalid, "invalid HTTP method or request target");
    std::string host = origin_.text();
    host.erase(0, host.find("://") + 3);
    std::string first = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\n", call.method, call.target, host);
    if (!call.body.empty() || call.method == "POST" || call.method == "PUT" || call.method == "PATCH")
        first += fmt::format("Content-Length: {}\r\n", call.body.size());
    std::size_t size = first.size() + 2;
    for (const auto& [name, value] : call.headers) {
        if (!is_token(name) || !is_visible(value, ' '))
            return fail(Errc::invalid, fmt::format("invalid value of header '{}'", name));
        size += name.size() + value.size() + 4;
    }
    auto out = std::make_shared<Outgoing>();
    out->head.reserve(size);  // one piece of memory, so that one is to be wiped
    out->head += first;
    for (const auto& [name, value] : call.headers) {
        out->head += name;
        out->head += ": ";
        out->head += value;
        out->head += "\r\n";
    }
    out->head += "\r\n";
    out->body = std::move(call.body);
    return out;
}

Task<result<Client::Pool::Place>> Client::Pool::place(Deadline deadline) {
    while (in_use_ >= limits_.connections) {
        const Wake wake = co_await freed_.wait(deadline);
        if (wake == Wake::notified) continue;
        if (wake == Wake::cancelled) co_return fail(Errc::cancelled, "cancelled");
        co_return fail(Errc::timeout,
                       fmt::format("all {} connections were in use until the deadline", limits_.connections));
    }
    co_return Place(shared_from_this());
}

std::shared_ptr<Connection> Client::Pool::take_idle() {
    const Deadline now = SteadyClock::now();
    while (!idle_.empty()) {
        const Idle found = std::move(idle_.front());
        idle_.pop_front();
        if (found.connection->resume() && now < found.until) return found.connection;
        found.connection->close();
    }
    return nullptr;
}

void Client::Pool::keep(std::shared_ptr<Connection> connection) {
    const Deadline now = SteadyClock::now();
    while (!idle_.empty() && (idle_.back().until <= now || idle_.size() >= limits_.connections)) {
        idle_.back().connection->close();
        idle_.pop_back();
    }
    Connection* const raw = connection.get();
    const bool kept = !shut_ && connection->idle([weak = weak_from_this(), raw] {
        if (const auto pool = weak.lock())
            pool->idle_.remove_if([raw](const Idle& each) { return each.connection.get() == raw; });
        raw->close();
    });
    if (kept)
        idle_.push_front({std::move(connection), now + limits_.idle});
    else
        connection->close();
}

Task<result<std::shared_ptr<Connection>>> Client::Pool::connect(Deadline deadline) {
    deadline = std::min<Deadline>(deadline, SteadyClock::now() + limits_.connect);
    KEYSHEPHERD_CO_TRY(const auto addresses, co_await resolver_.addresses(deadline));
    Error last(Errc::unavailable, "no address found");
    for (std::size_t i = 0; i < addresses.size(); ++i) {
        // The first of several may be one that swallows packets.
        const Deadline now = SteadyClock::now();
        const auto share = (deadline - now) / static_cast<int>(addresses.size() - i);
        const Deadline until = std::max(std::min(deadline, now + 250ms), now + share);
        auto connection = std::make_shared<Connection>(executor_, tls_ ? &*tls_ : nullptr);
        Held held(connection);
        auto made = co_await connection->connect({addresses[i], port_}, until);
        if (made && tls_) made = co_await connection->handshake(name_, until);
        if (made) {
            held.connection = nullptr;
            co_return connection;
        }
        last = std::move(made).error();
        if (last.code == Errc::cancelled) break;
    }
    resolver_.distrust();
    co_return std::unexpected(std::move(last));
}

Task<Client::Pool::Tried> Client::Pool::exchange(std::shared_ptr<Connection> connection, std::string method,
                                                 std::shared_ptr<Outgoing> out, Deadline deadline) {
    Held held(connection);
    const bool repeatable =
        method == "GET" || method == "HEAD" || method == "LIST" || method == "PUT" || method == "DELETE";
    auto written = co_await connection->write(out, deadline);
    if (!written && written.error().code != Errc::unavailable)
        co_return Tried{std::unexpected(std::move(written).error())};
    const bool unsent = !written && connection->written() == 0;
    AnswerReader reader(connection, method == "HEAD", limits_.answer_bytes);
    // Also after a failed write: the answer may say why.
    auto read = co_await reader.header(deadline);
    if (read) read = co_await reader.rest(deadline);
    if (!read) {
        Error error = std::move(written ? read : written).error();
        co_return Tried{std::unexpected(std::move(error)), reader.silent() && (repeatable || unsent)};
    }
    Tried tried{reader.take()};
    if (written && reader.reusable()) {
        held.connection = nullptr;
        keep(std::move(connection));
    }
    co_return tried;
}

Task<result<Answer>> Client::Pool::send(Call call) {
    co_await asio::this_coro::throw_if_cancelled(false);
    // A cancellation that came before this call would not be seen by what it waits for.
    if (co_await is_cancelled()) co_return fail(Errc::cancelled, "cancelled");
    const std::string method = call.method;
    const Deadline deadline = call.deadline;
    auto out = compose(call);
    if (!out) co_return std::unexpected(about(std::move(out).error()));
    auto place_taken = co_await place(deadline);
    if (!place_taken) co_return std::unexpected(about(std::move(place_taken).error()));
    if (auto idle = take_idle()) {
        Tried tried = co_await exchange(std::move(idle), method, *out, deadline);
        if (tried.answer) co_return std::move(tried.answer);
        // The others are likely as dead: each of them would cost a deadline.
        if (tried.answer.error().code == Errc::timeout) {
            for (auto& each : idle_) each.connection->close();
            idle_.clear();
        }
        if (!tried.again) co_return std::unexpected(about(std::move(tried.answer).error()));
    }
    auto connected = co_await connect(deadline);
    if (!connected) co_return std::unexpected(about(std::move(connected).error()));
    Tried tried = co_await exchange(std::move(*connected), method, *out, deadline);
    if (!tried.answer) co_return std::unexpected(about(std::move(tried.answer).error()));
    co_return std::move(tried.answer);
}

namespace {

class BodyLines final : public Lines {
public:
    BodyLines(std::unique_ptr<AnswerReader> reader, std::string origin)
        : reader_(std::move(reader)), origin_(std::move(origin)) {}
    ~BodyLines() override { reader_->connection().close(); }

    Task<result<std::optional<std::string>>> next(Deadline deadline) override {
        co_await asio::this_coro::throw_if_cancelled(false);
        for (;;) {
            std::string& text = reader_->body();
            if (const auto end = text.find('\n', looked_); end != std::string::npos) {
                std::string line = text.substr(begin_, end - begin_);
                begin_ = looked_ = end + 1;
                if (begin_ == text.size()) {
                    text.clear();
                    begin_ = looked_ = 0;
                }
                co_return std::optional(std::move(line));
            }
            text.erase(0, begin_);
            begin_ = 0;
            looked_ = text.size();
            if (text.size() > largest_line)
                co_return fail(Errc::too_large,
                               fmt::format("{}: a line is longer than {} bytes", origin_, largest_line));
            if (reader_->done()) {
                if (text.empty()) co_return std::optional<std::string>();
                looked_ = 0;
                co_return std::optional(std::exchange(text, {}));
            }
            if (auto read = co_await reader_->more(deadline); !read) {
                read.error().message = fmt::format("{}: {}", origin_, read.error().message);
                co_return std::unexpected(std::move(read).error());
            }
        }
    }

private:
    std::unique_ptr<AnswerReader> reader_;
    std::string origin_;
    std::size_t begin_ = 0;   // of the next line, in the reader's body
    std::size_t looked_ = 0;  // up to here is no end of it
};

}  // namespace

Task<result<Stream>> Client::Pool::open(Call call) {
    co_await asio::this_coro::throw_if_cancelled(false);
    if (co_await is_cancelled()) co_return fail(Errc::cancelled, "cancelled");
    const Deadline deadline = call.deadline;
    auto out = compose(call);
    if (!out) co_return std::unexpected(about(std::move(out).error()));
    auto connected = co_await connect(deadline);
    if (!connected) co_return std::unexpected(about(std::move(connected).error()));
    Held held(*connected);
    auto written = co_await (*connected)->write(*out, deadline);
    if (!written) co_return std::unexpected(about(std::move(written).error()));
    auto reader = std::make_unique<AnswerReader>(*connected, false, limits_.answer_bytes);
    auto read = co_await reader->header(deadline);
    if (read && reader->status() != 200) read = co_await reader->rest(deadline);
    if (!read) co_return std::unexpected(about(std::move(read).error()));
    Stream stream;
    if (reader->status() == 200) {
        reader->limit_body(std::numeric_limits<std::size_t>::max());
        stream.answer = reader->take();
        stream.lines = std::make_unique<BodyLines>(std::move(reader), origin_.text());
        held.connection = nullptr;
    } else {
        stream.answer = reader->take();
    }
    co_return stream;
}

Client::Client(asio::io_context& context, Origin origin, ClientTls tls, ClientLimits limits, Resolve resolve)
    : pool_(std::make_shared<Pool>(context, std::move(origin), tls, limits, std::move(resolve))) {
    wipe(tls.key);
}

Client::~Client() {
    pool_->shut();
}

Task<result<Answer>> Client::send(Call call) {
    return pool_->send(std::move(call));
}

Task<result<Stream>> Client::open(Call call) {
    return pool_->open(std::move(call));
}

const Origin& Client::origin() const {
    return pool_->origin();
}

}  // namespace keyshepherd::net
