#include "resolver.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <fmt/format.h>
#include <netdb.h>

#include <algorithm>
#include <mutex>
#include <system_error>
#include <thread>

namespace keyshepherd::net {

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

constexpr auto fresh_for = 10s;
// How long a name that was known before may take.
constexpr auto patience = 2s;

result<Resolver::Addresses> resolve_by_system(const std::string& name) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* found = nullptr;
    if (const int code = getaddrinfo(name.c_str(), nullptr, &hints, &found); code != 0)
        return fail(Errc::unavailable, gai_strerror(code));
    Resolver::Addresses addresses;
    for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
        asio::ip::tcp::endpoint endpoint;
        if (each->ai_addrlen > endpoint.capacity()) continue;
        std::copy_n(reinterpret_cast<const char*>(each->ai_addr), each->ai_addrlen,
                    reinterpret_cast<char*>(endpoint.data()));
        endpoint.resize(each->ai_addrlen);
        addresses.push_back(endpoint.address());
    }
    freeaddrinfo(found);
    return addresses;
}

}  // namespace

// Between the Resolver and its thread. `owner` is changed by the Resolver's thread under the lock, so that
// the thread posts only while the context lives.
struct Resolver::Shared {
    std::mutex mutex;
    Resolver* owner = nullptr;
};

Resolver::Resolver(const Executor& executor, std::string host, Resolve resolve)
    : executor_(executor),
      host_(std::move(host)),
      resolve_(resolve ? std::move(resolve) : Resolve(resolve_by_system)),
      changed_(executor),
      shared_(std::make_shared<Shared>()) {
    shared_->owner = this;
    boost::system::error_code ec;
    if (const auto address = asio::ip::make_address(host_, ec); !ec)
        good_ = {address};
    else if (host_ == "localhost")
        good_ = {asio::ip::address_v4::loopback(), asio::ip::address_v6::loopback()};
    if (!good_.empty()) resolve_ = nullptr;
}

Resolver::~Resolver() {
    const std::lock_guard lock(shared_->mutex);
    shared_->owner = nullptr;
}

void Resolver::start() {
    running_ = true;
    try {
        std::thread([shared = shared_, resolve = resolve_, host = host_] {
            result<Addresses> found = fail(Errc::unavailable, "name resolution failed");
            try {
                found = resolve(host);
            } catch (const std::exception&) {
            }
            const std::lock_guard lock(shared->mutex);
            if (shared->owner == nullptr) return;
            asio::post(shared->owner->executor_, [shared, found = std::move(found)]() mutable {
                if (shared->owner != nullptr) shared->owner->finished(std::move(found));
            });
        }).detach();
    } catch (const std::system_error& e) {
        finished(
            fail(Errc::unavailable, fmt::format("cannot start a resolver thread: {}", e.code().message())));
    }
}

void Resolver::finished(result<Addresses> found) {
    running_ = false;
    ++round_;
    failure_.reset();
    if (found && found->empty()) found = fail(Errc::unavailable, "no address found");
    if (found) {
        good_ = std::move(*found);
        fresh_until_ = SteadyClock::now() + fresh_for;
    } else {
        failure_ = std::move(found).error();
    }
    changed_.notify_all();
}

Task<result<Resolver::Addresses>> Resolver::addresses(Deadline deadline) {
    if (!resolve_ || SteadyClock::now() < fresh_until_) co_return good_;
    const unsigned before = round_;
    if (!running_) start();
    const Deadline until = good_.empty() ? deadline : std::min(deadline, SteadyClock::now() + patience);
    while (round_ == before) {
        const Wake wake = co_await changed_.wait(until);
        if (wake == Wake::cancelled) co_return fail(Errc::cancelled, "cancelled");
        if (wake == Wake::notified || round_ != before) continue;
        if (!good_.empty() && SteadyClock::now() < deadline) co_return good_;
        co_return fail(Errc::timeout, fmt::format("timed out while resolving '{}'", host_));
    }
    if (!failure_) co_return good_;
    if (!good_.empty()) co_return good_;
    co_return fail(Errc::unavailable, fmt::format("cannot resolve '{}': {}", host_, failure_->message));
}

}  // namespace keyshepherd::net
