// Tests a provider's key at the address that planner/key_probe.hpp selects, and at no other address.
#pragma once

#include <keyshepherd/net/client.hpp>
#include <keyshepherd/planner/key_probe.hpp>

#include <string>

namespace keyshepherd::controller {

// The condition KeyValid for an answer. Does not follow redirects: they are answers like any other. Pure.
planner::Condition probe_verdict(const net::Origin& origin, int status);

// Tests `key`, which must have passed planner::unsendable_key(), and wipes it. The condition also reports
// errors. Its message contains nothing of the key or the answer. Must run on the thread of `context`.
net::Task<planner::Condition> probe_key(boost::asio::io_context& context, planner::ProbeTarget target,
                                        std::string key, net::Deadline deadline);

}  // namespace keyshepherd::controller
