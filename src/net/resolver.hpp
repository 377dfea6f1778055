// The addresses of one host. getaddrinfo cannot be interrupted and may take half a minute: it runs on a
// thread of its own, one at a time, that a wait does not depend on.
#pragma once

#include <keyshepherd/net/client.hpp>
#include <keyshepherd/net/signal.hpp>

#include <memory>
#include <string>
#include <vector>

namespace keyshepherd::net {

class Resolver {
public:
    using Addresses = std::vector<boost::asio::ip::address>;

    Resolver(const Executor& executor, std::string host, Resolve resolve);
    ~Resolver();
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;

    // At once for an address and for "localhost", and for a name that was resolved a moment ago. When a name
    // cannot be resolved now, or not soon, the last good addresses.
    Task<result<Addresses>> addresses(Deadline deadline);
    // The last addresses led nowhere: ask anew next time.
    void distrust() { fresh_until_ = {}; }

private:
    struct Shared;

    void start();
    void finished(result<Addresses> found);

    Executor executor_;
    std::string host_;
    Resolve resolve_;
    Signal changed_;
    std::shared_ptr<Shared> shared_;
    bool running_ = false;
    Addresses good_;
    Deadline fresh_until_{};
    unsigned round_ = 0;  // of the thread's answers
    std::optional<Error> failure_;
};

}  // namespace keyshepherd::net
