// Tries a provider's key: GET <base URL>/models with it, at an allowed host, and never anywhere else.
#pragma once

#include <keyshepherd/net/client.hpp>
#include <keyshepherd/planner/status.hpp>

#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::controller {

struct ProbeTarget {
    net::Origin origin;
    std::string path;  // /v1/models
};

// Pure. `base_url` may be a secret's: no piece of it is in the condition that says why it is not tried.
// `hosts`: HOST, which is of port 443, or HOST:PORT. Only https.
std::expected<ProbeTarget, planner::Condition> probe_target(std::string_view base_url,
                                                            const std::vector<std::string>& hosts);

// Pure: what an answer means for the condition KeyValid. Redirects are answers like any other.
planner::Condition probe_verdict(const net::Origin& origin, int status);

// `key` is wiped. Errors are the condition's too; nothing of the key or of the answer is in its message. For
// one thread, that of `context`.
net::Task<planner::Condition> probe_key(boost::asio::io_context& context, ProbeTarget target, std::string key,
                                        net::Deadline deadline);

// KeyValid, not known, and why.
planner::Condition not_probed(std::string reason, std::string message);

}  // namespace keyshepherd::controller
