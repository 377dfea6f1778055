#include "runtime.hpp"

#include <gtest/gtest.h>

namespace keyshepherd::controller {
namespace {

using namespace std::chrono_literals;

class RuntimeTest : public testing::Test {
protected:
    static Options options() {
        Options options;
        options.kubernetes.origin = {.tls = false, .host = "127.0.0.1", .port = "1"};
        return options;
    }
    static Key key(const char* name) {
        return {.kind = resources::find_kind("VaultPolicy"), .ns = "shop", .name = name};
    }
    bool tell_later(const char* name) {
        return runtime_.tell_later(key(name), {.ready = planner::Truth::yes, .reason = "Reconciled"}, 1);
    }
    bool is_due(Deadline now = SteadyClock::now()) { return runtime_.queue.pop(now, 8).has_value(); }

    boost::asio::io_context context_;
    telemetry::Log log_{telemetry::Level::error, telemetry::Format::json};
    const Options options_ = options();
    Runtime runtime_{context_, options_, log_};
};

TEST_F(RuntimeTest, TellsAtOnceWhenNothingElseIsToBeDone) {
    EXPECT_FALSE(tell_later("one"));
    EXPECT_FALSE(runtime_.has_later());
}

TEST_F(RuntimeTest, TellsLaterWhileOthersAreDue) {
    runtime_.queue.add(key("other"), SteadyClock::now());
    EXPECT_TRUE(tell_later("one"));
    EXPECT_FALSE(runtime_.queue_later(SteadyClock::now()));
    EXPECT_TRUE(is_due());
    EXPECT_TRUE(runtime_.queue_later(SteadyClock::now()));
    EXPECT_TRUE(is_due());
    EXPECT_TRUE(runtime_.take_later(key("one")));
    EXPECT_FALSE(runtime_.take_later(key("one")));
}

TEST_F(RuntimeTest, TellsLaterWhileOthersAreTaken) {
    {
        const Runtime::Taking taking(runtime_);
        EXPECT_TRUE(tell_later("one"));
        EXPECT_TRUE(tell_later("two"));
        EXPECT_FALSE(runtime_.queue_later(SteadyClock::now()));
        // But not for ever.
        const Deadline then = SteadyClock::now() + Runtime::longest_later;
        EXPECT_TRUE(runtime_.queue_later(then));
        EXPECT_TRUE(is_due(then));
    }
    EXPECT_TRUE(runtime_.queue_later(SteadyClock::now()));
    EXPECT_TRUE(is_due());
    EXPECT_FALSE(tell_later("three"));
}

}  // namespace
}  // namespace keyshepherd::controller
