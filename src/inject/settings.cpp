#include "names.hpp"
#include "quantity.hpp"

#include <keyshepherd/core/server_address.hpp>
#include <keyshepherd/inject/settings.hpp>

#include <fmt/format.h>

namespace keyshepherd::inject {

namespace {

constexpr int oldest_skew = 3;  // https://kubernetes.io/releases/version-skew-policy/

class Check {
public:
    void image(std::string_view flag, std::string_view name) {
        if (!is_image(name))
            fault(flag, fmt::format("invalid value {}: must be {}", quoted(name), image_example));
    }

    void id(std::string_view flag, long number) {
        if (number < 1 || number > 2147483647)
            fault(flag, fmt::format("invalid value {}: must be a number from 1 to 2147483647; the agent does "
                                    "not run as root (0)",
                                    number));
    }

    void resource(std::string_view what, std::string_view request, std::string_view limit,
                  std::string_view such_as) {
        const auto lower = quantity(fmt::format("--agent-{}-request", what), request, such_as);
        const auto upper = quantity(fmt::format("--agent-{}-limit", what), limit, such_as);
        if (lower && upper && lower->milli > upper->milli)
            fault(
                fmt::format("--agent-{}-request", what),
                fmt::format("{} exceeds --agent-{}-limit, which is {}; raise the limit or lower the request",
                            lower->canonical, what, upper->canonical));
    }

    void allowed_address(std::string_view pattern) {
        if (const auto checked = check_address_pattern(pattern); !checked)
            fault(
                "--allowed-vault-address",
                fmt::format(
                    "invalid value {}: {}; a * matches part of one label, as in https://*.vault.example:8200",
                    quoted(pattern), checked.error().message));
    }

    void audiences(const std::vector<std::string>& allowed) {
        if (allowed.empty())
            fault("--allowed-token-audience", "must not be empty; omit the flag to use vault");
        for (const std::string& audience : allowed)
            if (!is_audience(audience))
                fault("--allowed-token-audience",
                      fmt::format("invalid value {}: must be an audience such as vault", quoted(audience)));
    }

    void versions(const KubernetesVersion& server, const KubernetesVersion& kubelet) {
        if (kubelet > server) {
            fault("--min-kubelet-version",
                  fmt::format("kubelet {} is newer than API server {}, which Kubernetes does not support; "
                              "set the version of the oldest node, or correct --kubernetes-version",
                              kubelet.text(), server.text()));
        } else if (kubelet.major < server.major || kubelet.minor < server.minor - oldest_skew) {
            fault("--min-kubelet-version",
                  fmt::format(
                      "kubelet {} is more than {} minor versions older than API server {}, which Kubernetes "
                      "does not support; set the version of the oldest node, or correct --kubernetes-version",
                      kubelet.text(), oldest_skew, server.text()));
        }
    }

    std::vector<std::string> take() && { return std::move(faults_); }

private:
    std::optional<Quantity> quantity(std::string_view flag, std::string_view text, std::string_view such_as) {
        if (text == "none") return std::nullopt;
        auto read = parse_quantity(text);
        if (!read)
            fault(flag, fmt::format("invalid value {}: must be a Kubernetes quantity such as {}, or none",
                                    quoted(text), such_as));
        return read;
    }

    void fault(std::string_view flag, std::string_view what) {
        faults_.push_back(fmt::format("{}: {}", flag, what));
    }

    std::vector<std::string> faults_;
};

}  // namespace

std::vector<std::string> faults_of(const Settings& settings) {
    Check check;
    check.versions(settings.kubernetes, settings.lowest_kubelet);
    for (const std::string& address : settings.allowed_vault_addresses) check.allowed_address(address);
    check.audiences(settings.allowed_token_audiences);
    if (!settings.image.empty()) check.image("--image", settings.image);
    check.image("--bao-image", settings.bao_image);
    check.image("--vault-image", settings.vault_image);
    check.resource("cpu", settings.agent.cpu_request, settings.agent.cpu_limit, "100m");
    check.resource("memory", settings.agent.memory_request, settings.agent.memory_limit, "64Mi");
    check.id("--agent-run-as-user", settings.agent_user);
    check.id("--agent-run-as-group", settings.agent_group);
    return std::move(check).take();
}

}  // namespace keyshepherd::inject
