// Whether and where the operator tries a provider's key: GET <base URL>/models, at an allowed host. Pure.
#pragma once

#include <keyshepherd/planner/status.hpp>
#include <keyshepherd/resources/resource.hpp>

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::planner {

using resources::Resource;

// Whether spec.keyProbe.enabled is true.
bool probes(const Resource& provider);

// The condition KeyValid with the status Unknown.
Condition not_probed(std::string reason, std::string message);

struct ProbeTarget {
    std::string origin;  // https://HOST[:PORT]
    std::string path;    // /v1/models
};

// Whether `text` is HOST or HOST:PORT. The host is a pattern of core/server_address.hpp.
bool is_probe_host(std::string_view text);

// `hosts`: each as of is_probe_host(); HOST alone means port 443. Only https. The error is the condition
// KeyValid; it holds no part of `base_url`, which may come from a secret.
std::expected<ProbeTarget, Condition> probe_target(std::string_view base_url,
                                                   const std::vector<std::string>& hosts);

// What is known before the secret is read. The value is empty when spec.keyProbe has no baseURL: the secret
// holds the address then. With an error, which is the condition KeyValid, the operator does not read the
// secret.
std::expected<std::optional<ProbeTarget>, Condition> stated_probe_target(
    const Resource& provider, const std::vector<std::string>& hosts);

}  // namespace keyshepherd::planner
