// Coroutines that wait until another one of the same thread has changed something.
//
//     while (!ready_)
//         if (co_await changed_.wait(deadline) != Wake::notified) ...
//
// A wait that was notified says only that it is time to look again.
#pragma once

#include <keyshepherd/net/task.hpp>

#include <list>

namespace keyshepherd::net {

enum class Wake { notified, deadline, cancelled };

// Whether the coroutine was asked to stop. Needs throw_if_cancelled(false) in it.
inline Task<bool> is_cancelled() {
    const auto state = co_await boost::asio::this_coro::cancellation_state;
    co_return state.cancelled() != boost::asio::cancellation_type::none;
}

class Signal {
public:
    explicit Signal(const Executor& executor) : executor_(executor) {}
    Signal(const Signal&) = delete;
    Signal& operator=(const Signal&) = delete;

    // The Signal outlives the wait. Turns throw_if_cancelled off in the coroutine.
    Task<Wake> wait(Deadline deadline) {
        co_await boost::asio::this_coro::throw_if_cancelled(false);
        if (co_await is_cancelled()) co_return Wake::cancelled;
        Waiter waiter(waiters_, Timer(executor_, deadline));
        auto [ec] = co_await waiter.timer.async_wait(no_throw);
        if (waiter.notified) co_return Wake::notified;
        co_return ec ? Wake::cancelled : Wake::deadline;
    }
    // The one that waits longest.
    void notify_one() {
        for (Waiter* waiter : waiters_) {
            if (waiter->notified) continue;
            waiter->notified = true;
            waiter->timer.cancel();
            return;
        }
    }
    void notify_all() {
        for (Waiter* waiter : waiters_) {
            waiter->notified = true;
            waiter->timer.cancel();
        }
    }
    bool awaited() const { return !waiters_.empty(); }

private:
    struct Waiter {
        Waiter(std::list<Waiter*>& list_, Timer timer_) : list(list_), timer(std::move(timer_)) {
            at = list.insert(list.end(), this);
        }
        ~Waiter() { list.erase(at); }
        Waiter(const Waiter&) = delete;
        Waiter& operator=(const Waiter&) = delete;

        std::list<Waiter*>& list;
        std::list<Waiter*>::iterator at;
        Timer timer;
        bool notified = false;
    };

    Executor executor_;
    std::list<Waiter*> waiters_;
};

}  // namespace keyshepherd::net
