#include <keyshepherd/core/server_address.hpp>
#include <keyshepherd/planner/key_probe.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

namespace keyshepherd::planner {

namespace {

constexpr std::size_t longest_url = 512;
constexpr std::size_t longest_key = 8 * 1024;
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

bool blocks_rollouts(const Resource& provider) {
    return probes(provider) && provider.spec.at("keyProbe").value("blockRollouts", true);
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
        return std::unexpected(
            not_probed("NoAddress", "the base URL must have the form https://HOST[:PORT][/PATH]"));
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
        return std::unexpected(not_probed(
            "HostNotAllowed", "the operator's --probe-host does not allow the host of the base URL"));
    return ProbeTarget{.origin = std::string(server), .path = fmt::format("{}/models", path)};
}

std::expected<std::optional<ProbeTarget>, Condition> stated_probe_target(
    const Resource& provider, const std::vector<std::string>& hosts) {
    if (hosts.empty())
        return std::unexpected(
            not_probed("HostNotAllowed", "the operator has no --probe-host, so it does not test keys"));
    const Json& probe = provider.spec.at("keyProbe");
    if (!probe.contains("baseURL")) return std::nullopt;
    auto target = probe_target(probe.at("baseURL").get<std::string>(), hosts);
    if (!target) return std::unexpected(std::move(target.error()));
    return *std::move(target);
}

bool ends_with_newline(std::string_view value) {
    return value.ends_with('\n') || value.ends_with('\r');
}

std::string line_break_text(std::string_view field) {
    return fmt::format(
        "the field {} ends with a line break, which an HTTP header cannot contain; write it without one, for "
        "example with printf %s instead of echo",
        field);
}

std::optional<Condition> unsendable_key(std::string_view field, std::string_view value) {
    const auto no = [](std::string reason, std::string message) {
        return Condition{.type = "KeyValid",
                         .truth = Truth::no,
                         .reason = std::move(reason),
                         .message = std::move(message)};
    };
    if (value.empty()) return no("KeyMissing", fmt::format("the field {} is missing or not a string", field));
    if (value.size() > longest_key)
        return no("KeyMalformed", fmt::format("the field {} has more than {} bytes", field, longest_key));
    if (ends_with_newline(value)) return no("KeyMalformed", line_break_text(field));
    if (!std::ranges::all_of(value, [](unsigned char c) { return c > 0x20 && c < 0x7f; }))
        return no("KeyMalformed",
                  fmt::format("the field {} contains a character that an HTTP header cannot contain: a "
                              "space, a control character, or a non-ASCII character",
                              field));
    return std::nullopt;
}

std::string trial_name(const KeyPlace& place) {
    return fmt::format("{} {}", place.path, place.key);
}

std::string trial_request(const Resource& provider, const KeyPlace& place) {
    return fmt::format("{} {}", place.key, provider.spec.value("keyProbe", Json::object()).dump());
}

const KeyTrial* find_trial(const KeyTrials& trials, const Resource& provider, const KeyPlace& place,
                           const KeyVersion& key) {
    const auto at = trials.find(trial_name(place));
    return at != trials.end() && at->second.key == key && at->second.asked == trial_request(provider, place)
               ? &at->second
               : nullptr;
}

KeyTrial next_trial(const KeyTrial* before, KeyVersion key, std::string asked, Condition condition) {
    const bool refused = condition.truth == Truth::no ||
                         (condition.truth == Truth::unknown && before != nullptr && before->refused);
    return {.key = std::move(key),
            .asked = std::move(asked),
            .condition = std::move(condition),
            .refused = refused};
}

std::optional<KeyHold> hold(const KeyTrials& trials, const Resource& provider, const KeyPlace& place,
                            const KeyVersion& key) {
    if (!blocks_rollouts(provider)) return std::nullopt;
    const KeyTrial* trial = find_trial(trials, provider, place, key);
    if (trial == nullptr)
        return KeyHold{"KeyUntried",
                       fmt::format("{}: {} has not been tested yet", place.path, version_text(key))};
    if (!trial->refused) return std::nullopt;
    return KeyHold{"KeyRefused", fmt::format("{0}: the provider rejected {1}; write a valid key to Vault, or "
                                             "set spec.keyProbe.blockRollouts to false",
                                             place.path, version_text(key))};
}

Condition key_validity(const Resource& provider, const std::vector<KeyPlace>& places,
                       const std::map<std::string, KeyView>& views, const KeyTrials& trials) {
    Condition whole{.type = "KeyValid", .truth = Truth::yes, .reason = "KeyAccepted"};
    const auto weight = [](Truth truth) { return truth == Truth::no ? 2 : truth == Truth::unknown ? 1 : 0; };
    std::set<std::string> seen;
    bool held = false;
    for (const KeyPlace& place : places) {
        if (place.elsewhere || !seen.insert(trial_name(place)).second) continue;
        Condition one = not_probed("NoKey", "the key has no version to test; write the key to Vault");
        std::string text = place.path;
        if (const auto& version = views.at(place.path).version) {
            const KeyTrial* trial = find_trial(trials, provider, place, *version);
            one = trial != nullptr ? trial->condition : not_probed("KeyUntried", "not tested yet");
            text += ": " + version_text(*version);
            held = held || (trial != nullptr && trial->refused);
        }
        if (weight(one.truth) > weight(whole.truth)) {
            whole.truth = one.truth;
            whole.reason = one.reason;
        }
        whole.message += fmt::format("{}{}: {}", whole.message.empty() ? "" : "; ", text, one.message);
    }
    if (held && blocks_rollouts(provider))
        whole.message +=
            "; the operator does not restart workloads for a rejected key (spec.keyProbe.blockRollouts)";
    return whole;
}

}  // namespace keyshepherd::planner
