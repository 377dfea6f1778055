// Tries a provider's key at the address that planner/key_probe.hpp decides on, and never anywhere else.
#pragma once

#include <keyshepherd/net/client.hpp>
#include <keyshepherd/planner/key_probe.hpp>

#include <string>

namespace keyshepherd::controller {

// Pure: what an answer means for the condition KeyValid. Redirects are answers like any other.
planner::Condition probe_verdict(const net::Origin& origin, int status);

// `key`, of which planner::unsendable_key() says nothing, is wiped. Errors are the condition's too; nothing
// of the key or of the answer is in its message. For one thread, that of `context`.
net::Task<planner::Condition> probe_key(boost::asio::io_context& context, planner::ProbeTarget target,
                                        std::string key, net::Deadline deadline);

}  // namespace keyshepherd::controller
