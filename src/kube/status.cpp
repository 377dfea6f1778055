// What an answer of the API server that is no 2xx means.
#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/core/text.hpp>
#include <keyshepherd/kube/client.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace keyshepherd::kube {

namespace {

constexpr std::size_t longest_text = 512;
constexpr std::chrono::hours longest_wait{24};

Errc code_of(int status) {
    switch (status) {
        case 400:
        case 413:
        case 422:
            return Errc::invalid;
        case 401:
            return Errc::unauthorized;
        case 403:
            return Errc::forbidden;
        case 404:
            return Errc::not_found;
        case 409:
            return Errc::conflict;
        case 410:
            return Errc::gone;
        case 429:
            return Errc::throttled;
        default:
            return status >= 500 && status <= 599 ? Errc::unavailable : Errc::protocol;
    }
}

std::chrono::seconds retry_after_of(const net::Answer& answer, const Json& status) {
    if (const auto said = net::retry_after(answer.header("retry-after"), longest_wait)) return *said;
    if (!status.is_object()) return {};
    const auto details = status.find("details");
    if (details == status.end() || !details->is_object()) return {};
    const auto given = details->find("retryAfterSeconds");
    if (given == details->end() || !given->is_number_integer()) return {};
    return std::chrono::seconds(
        std::clamp<std::int64_t>(given->get<std::int64_t>(), 0, std::chrono::seconds(longest_wait).count()));
}

}  // namespace

Error error_of(std::string_view subject, const net::Answer& answer, bool quote) {
    const Json parsed = Json::parse(answer.body, nullptr, false);
    const bool is_status = text_at(parsed, "kind") == "Status";
    const std::string reason = is_status ? text_at(parsed, "reason") : "";
    std::string message = fmt::format("{}: {}", subject, answer.status);
    if (!reason.empty()) message += ' ' + one_line(reason, longest_text);
    if (quote) {
        // Not every answer comes from the API server itself: a proxy sends a page.
        const std::string text = one_line(is_status ? text_at(parsed, "message") : answer.body, longest_text);
        if (!text.empty()) message += ": " + text;
    }
    Error error(code_of(answer.status), std::move(message));
    error.retry_after = retry_after_of(answer, parsed);
    if (error.code == Errc::conflict && reason == "AlreadyExists") error.detail = Detail::already_exists;
    return error;
}

bool already_exists(const Error& error) {
    return error.detail == Detail::already_exists;
}

}  // namespace keyshepherd::kube
