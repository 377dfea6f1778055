#include <keyshepherd/core/server_address.hpp>
#include <keyshepherd/planner/key_probe.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

namespace keyshepherd::planner {

namespace {

constexpr std::size_t longest_url = 512;
constexpr std::string_view scheme = "https://";

bool is_path(std::string_view path) {
    return !path.contains("..") && !path.contains("//") && std::ranges::all_of(path, [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '/' || c == '.' || c == '_' || c == '-' || c == '~';
    });
}

}  // namespace

bool probes(const Resource& provider) {
    const auto probe = provider.spec.find("keyProbe");
    return probe != provider.spec.end() && probe->value("enabled", false);
}

Condition not_probed(std::string reason, std::string message) {
    return {.type = "KeyValid",
            .truth = Truth::unknown,
            .reason = std::move(reason),
            .message = std::move(message)};
}

bool is_probe_host(std::string_view text) {
    return check_address_pattern(fmt::format("{}{}", scheme, text)).has_value();
}

std::expected<ProbeTarget, Condition> probe_target(std::string_view base_url,
                                                   const std::vector<std::string>& hosts) {
    const auto no_address = [] {
        return std::unexpected(not_probed("NoAddress", "the base URL is not https://HOST[:PORT][/PATH]"));
    };
    if (!base_url.starts_with(scheme) || base_url.size() > longest_url) return no_address();
    const std::size_t slash = std::min(base_url.find('/', scheme.size()), base_url.size());
    const std::string_view server = base_url.substr(0, slash);
    std::string_view path = base_url.substr(slash);
    while (path.ends_with('/')) path.remove_suffix(1);
    if (!parse_server_address(server) || !is_path(path)) return no_address();
    if (std::ranges::none_of(hosts, [&](const std::string& host) {
            return matches_address(fmt::format("{}{}", scheme, host), server);
        }))
        return std::unexpected(
            not_probed("HostNotAllowed", "the operator's --probe-host does not allow the base URL's host"));
    return ProbeTarget{.origin = std::string(server), .path = fmt::format("{}/models", path)};
}

std::expected<std::optional<ProbeTarget>, Condition> stated_probe_target(
    const Resource& provider, const std::vector<std::string>& hosts) {
    if (hosts.empty())
        return std::unexpected(
            not_probed("HostNotAllowed", "the operator has no --probe-host, so it tries no key"));
    const Json& probe = provider.spec.at("keyProbe");
    if (!probe.contains("baseURL")) return std::nullopt;
    auto target = probe_target(probe.at("baseURL").get<std::string>(), hosts);
    if (!target) return std::unexpected(std::move(target.error()));
    return *std::move(target);
}

}  // namespace keyshepherd::planner
