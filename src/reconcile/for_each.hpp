// The same request for many things, a few at a time.
#pragma once

#include <keyshepherd/net/signal.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace keyshepherd::reconcile {

using net::Task;

inline constexpr std::size_t most_at_once = 8;

// `call` for each of `items`, a few at a time; the first error ends it.
struct Batch {
    std::vector<std::string> items;
    std::size_t next = 0;
    std::size_t running = 0;
    std::optional<Error> error;
};

template <class Call>
Task<void> work_off(std::shared_ptr<Batch> batch, Call call) {
    while (batch->next < batch->items.size() && !batch->error) {
        const std::string item = batch->items[batch->next++];
        if (result<void> done = co_await call(item); !done && !batch->error) batch->error = done.error();
    }
}

template <class Call>
Task<result<void>> for_each_alone(std::vector<std::string> items, Call call) {
    const auto executor = co_await boost::asio::this_coro::executor;
    const auto batch = std::make_shared<Batch>();
    batch->items = std::move(items);
    const auto joined = std::make_shared<net::Signal>(executor);
    const std::size_t count = std::min(most_at_once, batch->items.size());
    for (std::size_t i = 0; i < count; ++i) {
        ++batch->running;
        boost::asio::co_spawn(executor, work_off(batch, call), [batch, joined](const std::exception_ptr& e) {
            --batch->running;
            if (e && !batch->error) batch->error = Error(Errc::internal, "internal error in a request");
            joined->notify_all();
        });
    }
    // Each call has its deadline, so this ends also when we are cancelled; the calls refer to our caller.
    co_await boost::asio::this_coro::reset_cancellation_state(boost::asio::disable_cancellation());
    while (batch->running > 0) co_await joined->wait(net::SteadyClock::now() + std::chrono::hours(1));
    if (batch->error) co_return std::unexpected(*batch->error);
    co_return result<void>();
}

template <class Call>
Task<result<void>> for_each(std::vector<std::string> items, Call call) {
    // A coroutine of its own: that it goes on after a cancellation must not be true of its caller.
    const auto executor = co_await boost::asio::this_coro::executor;
    co_return co_await boost::asio::co_spawn(executor, for_each_alone(std::move(items), std::move(call)),
                                             boost::asio::use_awaitable_t<net::Executor>{});
}

}  // namespace keyshepherd::reconcile
