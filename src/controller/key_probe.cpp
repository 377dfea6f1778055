#include "key_probe.hpp"

#include <keyshepherd/core/server_address.hpp>
#include <keyshepherd/net/wiped.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

namespace keyshepherd::controller {

using planner::Condition;
using planner::Truth;

namespace {

constexpr std::size_t longest_url = 512;
constexpr std::size_t longest_key = 8 * 1024;
// A list of models may be long; what counts is the answer's status.
constexpr std::size_t answer_bytes = 1024 * 1024;

bool is_path(std::string_view path) {
    return !path.contains("..") && !path.contains("//") && std::ranges::all_of(path, [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '/' || c == '.' || c == '_' || c == '-' || c == '~';
    });
}

}  // namespace

Condition not_probed(std::string reason, std::string message) {
    return {.type = "KeyValid",
            .truth = Truth::unknown,
            .reason = std::move(reason),
            .message = std::move(message)};
}

std::expected<ProbeTarget, Condition> probe_target(std::string_view base_url,
                                                   const std::vector<std::string>& hosts) {
    constexpr std::string_view scheme = "https://";
    const auto no_address = [] {
        return std::unexpected(not_probed("NoAddress", "the base URL is not https://HOST[:PORT][/PATH]"));
    };
    if (!base_url.starts_with(scheme) || base_url.size() > longest_url) return no_address();
    const std::size_t slash = std::min(base_url.find('/', scheme.size()), base_url.size());
    std::string_view path = base_url.substr(slash);
    while (path.ends_with('/')) path.remove_suffix(1);
    auto origin = net::Origin::parse(base_url.substr(0, slash));
    if (!origin || !is_path(path)) return no_address();
    if (std::ranges::none_of(hosts, [&](const std::string& host) {
            return matches_address(fmt::format("{}{}", scheme, host), base_url.substr(0, slash));
        }))
        return std::unexpected(not_probed(
            "HostNotAllowed", "the base URL's host is none that the operator allows (--probe-host)"));
    return ProbeTarget{*std::move(origin), fmt::format("{}/models", path)};
}

Condition probe_verdict(const net::Origin& origin, int status) {
    if (status >= 200 && status < 300)
        return {.type = "KeyValid",
                .truth = Truth::yes,
                .reason = "KeyAccepted",
                .message = fmt::format("{} takes it", origin.text())};
    if (status == 401 || status == 403)
        return {.type = "KeyValid",
                .truth = Truth::no,
                .reason = "KeyRefused",
                .message = fmt::format("{} answers {}", origin.text(), status)};
    return not_probed("UnexpectedAnswer", fmt::format("{} answers {}", origin.text(), status));
}

net::Task<Condition> probe_key(boost::asio::io_context& context, ProbeTarget target, std::string key,
                               net::Deadline deadline) {
    const bool fits = !key.empty() && key.size() <= longest_key &&
                      std::ranges::all_of(key, [](unsigned char c) { return c > 0x20 && c < 0x7f; });
    if (!fits) {
        net::wipe(key);
        co_return not_probed("NoKey", "the secret has no key that a request can carry");
    }
    net::Call call{.method = "GET", .target = std::move(target.path), .deadline = deadline};
    std::string bearer;
    bearer.reserve(7 + key.size());
    bearer.append("Bearer ").append(key);
    net::wipe(key);
    call.headers.reserve(2);
    call.headers.emplace_back("Authorization", std::move(bearer));
    call.headers.emplace_back("Accept", "application/json");
    net::Client client(context, target.origin, {}, {.connections = 1, .answer_bytes = answer_bytes});
    const auto answer = co_await client.send(std::move(call));
    if (answer) co_return probe_verdict(target.origin, answer->status);
    if (answer.error().code == Errc::too_large)
        co_return not_probed("UnexpectedAnswer", fmt::format("{} answers with more than {} bytes",
                                                             target.origin.text(), answer_bytes));
    co_return not_probed("Unreachable", answer.error().message);
}

}  // namespace keyshepherd::controller
