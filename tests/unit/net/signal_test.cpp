#include "support/event_loop.hpp"

#include <keyshepherd/net/signal.hpp>

namespace keyshepherd::net {
namespace {

using test::in;
using namespace std::chrono_literals;

class SignalTest : public test::EventLoop {
protected:
    Signal signal_{context_.get_executor()};
};

TEST_F(SignalTest, WakesTheOneThatWaitsLongest) {
    const auto one = start(signal_.wait(in(5s)));
    const auto two = start(signal_.wait(in(5s)));
    run_for(5ms);
    signal_.notify_one();
    EXPECT_EQ(finish(one), Wake::notified);
    EXPECT_FALSE(two->value);
    signal_.notify_all();
    EXPECT_EQ(finish(two), Wake::notified);
    EXPECT_FALSE(signal_.awaited());
}

TEST_F(SignalTest, DoesNotWakeOneTwice) {
    const auto one = start(signal_.wait(in(5s)));
    const auto two = start(signal_.wait(in(5s)));
    run_for(5ms);
    signal_.notify_one();
    signal_.notify_one();
    EXPECT_EQ(finish(one), Wake::notified);
    EXPECT_EQ(finish(two), Wake::notified);
}

TEST_F(SignalTest, KeepsNothingForThoseThatComeLater) {
    signal_.notify_all();
    EXPECT_EQ(run(signal_.wait(in(5ms))), Wake::deadline);
}

TEST_F(SignalTest, IsCancelled) {
    const auto one = start(signal_.wait(in(5s)));
    run_for(5ms);
    one->cancel.emit(boost::asio::cancellation_type::terminal);
    EXPECT_EQ(finish(one), Wake::cancelled);
}

Task<Wake> wait_twice(Signal& signal) {
    co_await signal.wait(in(5s));
    co_return co_await signal.wait(in(5s));
}

TEST_F(SignalTest, StaysCancelled) {
    const auto one = start(wait_twice(signal_));
    run_for(5ms);
    one->cancel.emit(boost::asio::cancellation_type::terminal);
    const auto from = SteadyClock::now();
    EXPECT_EQ(finish(one), Wake::cancelled);
    EXPECT_LT(SteadyClock::now() - from, 1s);
}

}  // namespace
}  // namespace keyshepherd::net
