#include "key_probe.hpp"

#include <keyshepherd/net/wiped.hpp>

#include <fmt/format.h>

#include <utility>

namespace keyshepherd::controller {

using planner::Condition;
using planner::not_probed;
using planner::Truth;

namespace {

// A list of models may be long; what counts is the answer's status.
constexpr std::size_t answer_bytes = 1024 * 1024;

}  // namespace

Condition probe_verdict(const net::Origin& origin, int status) {
    if (status >= 200 && status < 300)
        return {.type = "KeyValid",
                .truth = Truth::yes,
                .reason = "KeyAccepted",
                .message = fmt::format("{} accepted the key", origin.text())};
    if (status == 401 || status == 403)
        return {.type = "KeyValid",
                .truth = Truth::no,
                .reason = "KeyRefused",
                .message = fmt::format("{} rejected the key: HTTP status {}", origin.text(), status)};
    return not_probed("UnexpectedAnswer", fmt::format("{} returned HTTP status {}", origin.text(), status));
}

net::Task<Condition> probe_key(boost::asio::io_context& context, planner::ProbeTarget target, std::string key,
                               net::Deadline deadline) {
    auto origin = net::Origin::parse(target.origin);
    if (!origin) {
        net::wipe(key);
        co_return not_probed("NoAddress", origin.error().message);
    }
    net::Call call{.method = "GET", .target = std::move(target.path), .deadline = deadline};
    std::string bearer;
    bearer.reserve(7 + key.size());
    bearer.append("Bearer ").append(key);
    net::wipe(key);
    call.headers.reserve(2);
    call.headers.emplace_back("Authorization", std::move(bearer));
    call.headers.emplace_back("Accept", "application/json");
    net::Client client(context, *origin, {}, {.connections = 1, .answer_bytes = answer_bytes});
    const auto answer = co_await client.send(std::move(call));
    if (answer) co_return probe_verdict(*origin, answer->status);
    if (answer.error().code == Errc::too_large)
        co_return not_probed("UnexpectedAnswer", fmt::format("the response of {} has more than {} bytes",
                                                             origin->text(), answer_bytes));
    co_return not_probed("Unreachable", answer.error().message);
}

}  // namespace keyshepherd::controller
