// What a server of ours takes and gives. Requests come whole; a handler is a function of the request alone.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace keyshepherd::net {

struct Request {  // views into the session, good until the handler returns
    std::string_view method;
    std::string_view target;  // as sent: path and query
    std::string_view content_type;
    std::string_view body;
    bool client_is_verified = false;  // it has a certificate of a client CA (Certificate)
    bool last = false;                // there is no more waiting: the handler answers with what it knows
};

struct Response {
    int status = 200;
    std::string body;
    std::string_view content_type = "text/plain; charset=utf-8";              // a literal
    std::vector<std::pair<std::string_view, std::string_view>> headers = {};  // literals
    // Not 0: this is no answer yet. The handler is asked anew at every Server::wake(), and for the last time
    // when this has passed, or at once where too many wait; its client waits so long.
    std::chrono::milliseconds wait{0};
};

// Runs on the server's thread and does not wait for anything. What it throws is answered with 500.
using Handler = std::function<Response(const Request&)>;

}  // namespace keyshepherd::net
