#include "event_recorder.hpp"

namespace keyshepherd::controller {

namespace {

using namespace std::chrono_literals;
using net::Deadline;
using net::SteadyClock;

constexpr std::size_t most_waiting = 1000;

}  // namespace

void EventRecorder::record(kube::Json regarding, kube::Event::Type type, std::string reason,
                           std::string action, std::string note) {
    if (waiting_.size() >= most_waiting) {
        log_.debug("event not made", {{"error", "too many wait"}, {"reason", reason}});
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
        const auto sent = co_await kube::report(kube_, std::move(regarding), std::move(made), reporter_,
                                                SteadyClock::now() + call_);
        if (!sent && sent.error().code != Errc::cancelled)
            log_.debug("event not made", {{"error", sent.error().message}});
    }
}

}  // namespace keyshepherd::controller
