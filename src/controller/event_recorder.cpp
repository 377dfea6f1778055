#include "event_recorder.hpp"

namespace keyshepherd::controller {

namespace {

using namespace std::chrono_literals;
using net::Deadline;
using net::SteadyClock;

constexpr std::size_t most_waiting = 1000;
constexpr unsigned most_attempts = 6;
constexpr std::chrono::milliseconds first_wait = 500ms;  // doubles: 15.5 s in all

bool is_transient(const Error& error) {
    switch (error.code) {
        case Errc::unavailable:
        case Errc::timeout:
        case Errc::throttled:
        case Errc::conflict:
        case Errc::protocol:
        case Errc::unauthorized:  // the token is replaced meanwhile
            return true;
        default:
            return false;
    }
}

}  // namespace

void EventRecorder::record(kube::Json regarding, kube::Event::Type type, std::string reason,
                           std::string action, std::string note) {
    if (waiting_.size() >= most_waiting) {
        log_.debug("cannot create an event", {{"error", "too many events are waiting"}, {"reason", reason}});
        return;
    }
    kube::Event made;
    made.type = type;
    made.reason = std::move(reason);
    made.action = std::move(action);
    made.note = std::move(note);
    waiting_.emplace_back(std::move(regarding), std::move(made));
    told_.notify_one();
}

kube::Task<void> EventRecorder::run(std::function<bool()> busy, std::chrono::milliseconds patience) {
    co_await boost::asio::this_coro::throw_if_cancelled(false);
    while (!co_await net::is_cancelled()) {
        if (waiting_.empty()) {
            co_await told_.wait(SteadyClock::now() + 1h);
            continue;
        }
        for (const Deadline until = SteadyClock::now() + patience; busy() && SteadyClock::now() < until;)
            if (!co_await net::sleep_until(SteadyClock::now() + 100ms)) break;
        if (co_await net::is_cancelled()) break;
        auto [regarding, made] = std::move(waiting_.front());
        waiting_.pop_front();
        const std::string reason = made.reason;
        const auto sent = co_await send(std::move(regarding), std::move(made));
        if (sent || sent.error().code == Errc::cancelled) continue;
        if (is_transient(sent.error()))
            log_.warn("cannot create an event", {{"error", sent.error().message}, {"reason", reason}});
        else  // in a namespace that is being deleted the API server refuses every event
            log_.debug("cannot create an event", {{"error", sent.error().message}, {"reason", reason}});
    }
}

kube::Task<result<void>> EventRecorder::send(kube::Json regarding, kube::Event made) {
    result<void> sent;
    for (unsigned attempt = 0; attempt < most_attempts; ++attempt) {
        if (attempt > 0 && !co_await net::sleep_until(SteadyClock::now() + first_wait * (1 << (attempt - 1))))
            co_return fail(Errc::cancelled, "stopped");
        sent = co_await kube::report(kube_, regarding, made, reporter_, SteadyClock::now() + call_);
        if (sent || !is_transient(sent.error())) break;
    }
    co_return sent;
}

}  // namespace keyshepherd::controller
