#pragma once

#include <keyshepherd/net/server.hpp>

namespace keyshepherd::test {

// A Server outlives the last run of its context: runs it until nothing of the Server is left.
inline void end(net::Server& server, boost::asio::io_context& context) {
    server.stop();
    server.close_all();
    context.restart();
    while (server.sessions() > 0 && context.run_one_for(std::chrono::seconds(5)) > 0) continue;
    context.restart();
    context.poll();
}

}  // namespace keyshepherd::test
