// Coroutines of one io_context, run by one thread: nothing in them needs a lock.
#pragma once

#include <keyshepherd/core/result.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/wait_traits.hpp>

#include <chrono>

namespace keyshepherd::net {

using Executor = boost::asio::io_context::executor_type;
template <class T>
using Task = boost::asio::awaitable<T, Executor>;
using SteadyClock = std::chrono::steady_clock;
using Deadline = SteadyClock::time_point;
using Timer = boost::asio::basic_waitable_timer<SteadyClock, boost::asio::wait_traits<SteadyClock>, Executor>;

// Completion as a tuple that starts with the error code: nothing throws.
inline constexpr boost::asio::as_tuple_t<boost::asio::use_awaitable_t<Executor>> no_throw{};

// Waits until `at`; false when it was cancelled.
inline Task<bool> sleep_until(Deadline at) {
    Timer timer(co_await boost::asio::this_coro::executor, at);
    auto [ec] = co_await timer.async_wait(no_throw);
    co_return !ec;
}

}  // namespace keyshepherd::net
