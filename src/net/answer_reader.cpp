#include "answer_reader.hpp"

#include <keyshepherd/core/ascii.hpp>

#include <fmt/format.h>

namespace keyshepherd::net {

namespace http = boost::beast::http;

namespace {

constexpr std::uint32_t largest_header = 64 * 1024;

}  // namespace

AnswerReader::AnswerReader(std::shared_ptr<Connection> connection, bool to_head, std::size_t largest_body)
    : connection_(std::move(connection)), to_head_(to_head), largest_body_(largest_body) {
    start();
}

void AnswerReader::start() {
    parser_ = std::make_unique<Parser>();
    parser_->header_limit(largest_header);
    parser_->body_limit(boost::none);  // ours is WipedBody's
    parser_->get().body().limit = largest_body_;
    if (to_head_) parser_->skip(true);
}

Task<result<void>> AnswerReader::header(Deadline deadline) {
    while (!parser_->is_header_done()) {
        auto stepped = co_await step(false, deadline);
        if (!stepped) co_return stepped;
        // 100 Continue and 103 Early Hints come before the answer.
        if (parser_->is_header_done() && status() / 100 == 1 && status() != 101) start();
    }
    co_return result<void>();
}

Task<result<void>> AnswerReader::rest(Deadline deadline) {
    while (!parser_->is_done()) {
        auto stepped = co_await step(true, deadline);
        if (!stepped) co_return stepped;
    }
    co_return result<void>();
}

Task<result<void>> AnswerReader::more(Deadline deadline) {
    return step(true, deadline);
}

Task<result<void>> AnswerReader::step(bool behind_header, Deadline deadline) {
    if (!connection_->reading() && connection_->input().size() > 0) {
        auto& in = connection_->input();
        boost::system::error_code ec;
        parser_->eager(behind_header);
        const std::size_t used = parser_->put(in.data(), ec);
        in.consume(used);
        if (ec == http::error::body_limit)
            co_return fail(Errc::too_large,
                           fmt::format("the response is larger than {} bytes", largest_body_));
        if (ec == http::error::header_limit)
            co_return fail(Errc::too_large,
                           fmt::format("the response header is larger than {} bytes", largest_header));
        if (ec && ec != http::error::need_more)
            co_return fail(Errc::protocol, fmt::format("invalid HTTP response: {}", ec.message()));
        if (used > 0 || (!behind_header && parser_->is_header_done())) co_return result<void>();
    }
    KEYSHEPHERD_CO_TRY(const Filled filled, co_await connection_->fill(deadline));
    if (filled == Filled::bytes) co_return result<void>();
    silent_ = !parser_->got_some();
    if (filled == Filled::end && parser_->got_some()) {
        boost::system::error_code ec;
        parser_->put_eof(ec);
        if (!ec && parser_->is_done()) co_return result<void>();
    }
    co_return fail(Errc::unavailable, fmt::format("{} {}", connection_->reason(),
                                                  silent_ ? "before the response" : "during the response"));
}

bool AnswerReader::reusable() const {
    return parser_->is_done() && parser_->keep_alive() && connection_->input().size() == 0;
}

Answer AnswerReader::take() {
    Answer answer;
    answer.status = status();
    for (const auto& field : parser_->get())
        answer.headers.emplace_back(to_lower({field.name_string().data(), field.name_string().size()}),
                                    std::string(field.value().data(), field.value().size()));
    answer.body = std::move(body());
    return answer;
}

}  // namespace keyshepherd::net
