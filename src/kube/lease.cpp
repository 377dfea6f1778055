#include <keyshepherd/kube/event.hpp>
#include <keyshepherd/kube/lease.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <utility>

namespace keyshepherd::kube {

namespace {

namespace asio = boost::asio;
using fsm::LeaseMachine;

const Resource leases{"coordination.k8s.io", "v1", "leases", true};

std::string wall_time() {
    return micro_time(std::chrono::system_clock::now());
}

// The work while it runs. Its completion keeps this alive, so that it may outlast the one who started it.
struct Work {
    explicit Work(const net::Executor& executor, std::function<Task<void>()> function)
        : run(std::move(function)), ended(executor) {}

    std::function<Task<void>()> run;  // owns the captures of a coroutine that is a lambda
    asio::cancellation_signal cancel;
    net::Timer ended;  // cancelled when the work ends
    bool started = false;
    bool done = false;
    std::exception_ptr thrown;
};

Task<void> run(std::shared_ptr<Work> work) {
    co_await work->run();
}

bool is_cancellation(const std::exception_ptr& thrown) {
    try {
        std::rethrow_exception(thrown);
    } catch (const boost::system::system_error& error) {
        return error.code() == asio::error::operation_aborted;
    } catch (...) {
        return false;
    }
}

void start(const net::Executor& executor, const std::shared_ptr<Work>& work) {
    work->started = true;
    asio::co_spawn(executor, run(work),
                   asio::bind_cancellation_slot(work->cancel.slot(), [work](std::exception_ptr thrown) {
                       work->done = true;
                       work->thrown = std::move(thrown);
                       work->ended.cancel();
                   }));
}

// False when we are cancelled.
Task<bool> wait(const std::shared_ptr<Work>& work, Deadline until) {
    if (work->done) co_return true;
    work->ended.expires_at(until);
    co_await work->ended.async_wait(net::no_throw);
    const auto state = co_await asio::this_coro::cancellation_state;
    co_return state.cancelled() == asio::cancellation_type::none;
}

[[noreturn]] void end_the_process() {
    std::fputs("keyshepherd: the leader did not stop before the Lease expired; exiting\n", stderr);
    std::_Exit(1);
}

class Leader {
public:
    Leader(Client& client, LeaseRef ref, std::string identity, fsm::LeaseTimes times, LeaseHooks hooks)
        : client_(client),
          ref_{leases, std::move(ref.ns), std::move(ref.name)},
          times_(times),
          hooks_(std::move(hooks)),
          machine_(ref_.name, std::move(identity), times) {}

    Task<result<void>> lead(std::function<Task<void>()> function) {
        const auto executor = co_await asio::this_coro::executor;
        co_await asio::this_coro::throw_if_cancelled(false);
        const auto work = std::make_shared<Work>(executor, std::move(function));
        const Error why = co_await stand(work);
        // From here on nothing is cut short: the work is joined and the lease given back.
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        if (work->started) {
            if (!co_await join(work))
                co_return fail(Errc::internal, "the leader did not stop before the Lease expired");
            if (hooks_.changed) hooks_.changed(false);
        }
        co_await release();
        if (work->thrown && !(is_cancellation(work->thrown) && cancelled_work_))
            std::rethrow_exception(work->thrown);
        if (work->done && !cancelled_work_) co_return result<void>();
        co_return std::unexpected(why);
    }

private:
    // Until the work ends, the lease is lost, or we are cancelled.
    Task<Error> stand(const std::shared_ptr<Work>& work) {
        for (;;) {
            const auto state = co_await asio::this_coro::cancellation_state;
            if (state.cancelled() != asio::cancellation_type::none)
                co_return Error(Errc::cancelled, "stopped leading");
            if (work->done) co_return Error(Errc::cancelled, "the leader stopped on its own");
            const auto now = SteadyClock::now();
            if (machine_.held(now) && !work->started) {
                if (hooks_.changed) hooks_.changed(true);
                start(co_await asio::this_coro::executor, work);
            }
            const LeaseMachine::Action action = machine_.next(now, wall_time());
            if (const auto* pause = std::get_if<LeaseMachine::Wait>(&action)) {
                co_await wait(work, pause->until);
            } else if (std::get_if<LeaseMachine::Read>(&action) != nullptr) {
                auto lease = co_await client_.get(ref_, deadline(now));
                if (lease)
                    machine_.observed(*lease, SteadyClock::now());
                else if (lease.error().code == Errc::not_found)
                    machine_.absent(SteadyClock::now());
                else
                    failed(lease.error());
            } else if (const auto* make = std::get_if<LeaseMachine::Create>(&action)) {
                auto lease = co_await client_.create(leases, ref_.ns, make->lease, deadline(now));
                if (lease)
                    machine_.written(*lease, now, SteadyClock::now());
                else
                    failed(lease.error());
            } else if (const auto* update = std::get_if<LeaseMachine::Update>(&action)) {
                auto lease = co_await client_.patch(ref_, merge(update->merge_patch), deadline(now));
                if (lease)
                    machine_.written(*lease, now, SteadyClock::now());
                else
                    failed(lease.error());
            } else {
                co_return Error(Errc::unavailable,
                                "the Lease was not renewed in time, or another replica holds it");
            }
        }
    }

    // True when the work has ended by the moment it must have.
    Task<bool> join(const std::shared_ptr<Work>& work) {
        if (!work->done) {
            cancelled_work_ = true;
            work->cancel.emit(asio::cancellation_type::terminal);
        }
        while (!work->done && SteadyClock::now() < machine_.end_at()) co_await wait(work, machine_.end_at());
        if (work->done) co_return true;
        if (hooks_.stuck)
            hooks_.stuck();
        else
            end_the_process();
        co_return false;
    }

    Task<void> release() {
        const Deadline until = SteadyClock::now() + times_.retry;
        for (;;) {
            const auto patch = machine_.release(wall_time());
            if (!patch) co_return;
            auto released = co_await client_.patch(ref_, merge(*patch), until);
            if (released) co_return;
            // A renewal that was cut short may have arrived all the same: then the Lease is ours, in a later
            // version.
            if (released.error().code == Errc::conflict && SteadyClock::now() < until) {
                if (auto lease = co_await client_.get(ref_, until)) {
                    machine_.observed(*lease, SteadyClock::now());
                    continue;
                }
            }
            // It runs out by itself.
            if (hooks_.failed) hooks_.failed(released.error());
            co_return;
        }
    }

    static Patch merge(const Json& body) {
        Patch patch;
        patch.kind = Patch::Kind::merge;
        patch.body = body;
        return patch;
    }

    // While we hold it, no call may keep us from stopping in time.
    Deadline deadline(Deadline now) const {
        const Deadline usual = now + times_.renew / 2;
        return machine_.held(now) ? std::min(usual, machine_.stop_at()) : usual;
    }

    void failed(const Error& error) {
        machine_.failed(SteadyClock::now());
        if (hooks_.failed && error.code != Errc::cancelled) hooks_.failed(error);
    }

    Client& client_;
    ObjectRef ref_;
    fsm::LeaseTimes times_;
    LeaseHooks hooks_;
    LeaseMachine machine_;
    bool cancelled_work_ = false;
};

Task<result<void>> lead_alone(std::unique_ptr<Leader> leader, std::function<Task<void>()> work) {
    co_return co_await leader->lead(std::move(work));
}

}  // namespace

Task<result<void>> lead(Client& client, LeaseRef ref, std::string identity, fsm::LeaseTimes times,
                        std::function<Task<void>()> work, LeaseHooks hooks) {
    if (auto sound = times.check(); !sound) co_return std::unexpected(std::move(sound).error());
    if (identity.empty()) co_return fail(Errc::invalid, "leader election requires an identity");
    auto leader =
        std::make_unique<Leader>(client, std::move(ref), std::move(identity), times, std::move(hooks));
    // A coroutine of its own: that it goes on after a cancellation must not be true of its caller.
    const auto executor = co_await asio::this_coro::executor;
    co_return co_await asio::co_spawn(executor, lead_alone(std::move(leader), std::move(work)),
                                      asio::use_awaitable_t<net::Executor>{});
}

}  // namespace keyshepherd::kube
