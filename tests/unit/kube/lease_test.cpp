#include "support/end_server.hpp"
#include "support/event_loop.hpp"

#include <keyshepherd/kube/lease.hpp>
#include <keyshepherd/net/server.hpp>

#include <gtest/gtest.h>

#include <optional>
#include <stdexcept>
#include <tuple>

namespace keyshepherd::kube {
namespace {

using test::in;
using namespace std::chrono_literals;

// Short, and in the same proportions.
const fsm::LeaseTimes times{1s, 700ms, 150ms, 200ms};

// What the API server does with one Lease.
class Leases {
public:
    explicit Leases(boost::asio::io_context& context)
        : context_(context),
          server_(context, [this](const net::Request& request) { return answer(request); }, {}) {
        port_ = std::to_string(server_.listen("127.0.0.1:0")->port());
    }
    ~Leases() { test::end(server_, context_); }
    Config config() const {
        Config config;
        config.origin = {false, "127.0.0.1", port_};
        return config;
    }
    std::string holder() const { return stored ? (*stored)["spec"].value("holderIdentity", "") : ""; }

    std::optional<Json> stored;
    bool away = false;
    int writes = 0;

private:
    net::Response answer(const net::Request& request) {
        if (away) return {503, "{}"};
        const Json body = Json::parse(request.body, nullptr, false);
        if (request.method == "GET") return stored ? reply(200) : net::Response{404, "{}"};
        if (request.method == "POST") {
            if (stored) return {409, "{}"};
            stored = body;
        } else {
            if (!stored) return {404, "{}"};
            if (body["metadata"]["resourceVersion"] != (*stored)["metadata"]["resourceVersion"])
                return {409, "{}"};
            stored->merge_patch(body);
        }
        (*stored)["metadata"]["resourceVersion"] = std::to_string(++writes);
        return reply(200);
    }
    net::Response reply(int status) const {
        net::Response made;
        made.status = status;
        made.body = stored->dump();
        return made;
    }

    boost::asio::io_context& context_;
    net::Server server_;
    std::string port_;
};

struct Record {
    int running = 0;
    int starts = 0;
    int stuck = 0;
    SteadyClock::time_point ended{};
    std::vector<bool> changes;
};

Task<void> work_for(Record& record, std::chrono::milliseconds time) {
    co_await boost::asio::this_coro::throw_if_cancelled(false);
    ++record.starts;
    ++record.running;
    co_await net::sleep_until(SteadyClock::now() + time);
    --record.running;
    record.ended = SteadyClock::now();
}

Task<void> deaf_work(Record& record, std::chrono::milliseconds time) {
    co_await boost::asio::this_coro::reset_cancellation_state(boost::asio::disable_cancellation());
    co_await work_for(record, time);
}

Task<void> failing_work(Record&, std::chrono::milliseconds time) {
    co_await net::sleep_until(SteadyClock::now() + time);
    throw std::runtime_error("the work fails");
}

class LeadTest : public test::EventLoop {
protected:
    using Function = Task<void> (*)(Record&, std::chrono::milliseconds);

    Task<result<void>> candidate(Client& client, std::string name, Record& record,
                                 std::chrono::milliseconds time, Function function = work_for,
                                 fsm::LeaseTimes of = times) {
        LeaseHooks hooks;
        hooks.changed = [&record](bool leading) { record.changes.push_back(leading); };
        hooks.stuck = [&record] { ++record.stuck; };
        return lead(
            client, {"ns", "l"}, std::move(name), of,
            [&record, time, function] { return function(record, time); }, std::move(hooks));
    }
    template <class Condition>
    void run_until(Condition condition) {
        const auto until = in(30s);
        while (!condition() && SteadyClock::now() < until) run_for(5ms);
        EXPECT_TRUE(condition());
    }
};

TEST_F(LeadTest, TwoCandidatesWorkOneAfterTheOther) {
    Leases leases(context_);
    {
        Client a(context_, leases.config());
        Client b(context_, leases.config());
        Record of_a;
        Record of_b;
        const auto first = start(candidate(a, "a", of_a, 1500ms));
        run_until([&] { return of_a.running == 1; });
        const auto second = start(candidate(b, "b", of_b, 10ms));
        run_until([&] {
            EXPECT_LE(of_a.running + of_b.running, 1);
            return of_b.starts == 1;
        });
        const auto handover = SteadyClock::now() - of_a.ended;
        EXPECT_LT(handover, 900ms);  // it was given back, and did not run out
        EXPECT_TRUE(finish(first));
        EXPECT_TRUE(finish(second));
        EXPECT_EQ(of_a.changes, (std::vector<bool>{true, false}));
        EXPECT_EQ(leases.holder(), "");
        EXPECT_EQ((*leases.stored)["spec"]["leaseTransitions"], 1);
        EXPECT_GT(leases.writes, 8);  // it was renewed
    }
}

TEST_F(LeadTest, WorkEndsBeforeARivalMayAcquireWhenTheServerIsAway) {
    Leases leases(context_);
    {
        Client a(context_, leases.config());
        Record record;
        const auto started = start(candidate(a, "a", record, 60s));
        run_until([&] { return record.running == 1; });
        run_for(400ms);
        int writes = leases.writes;
        leases.away = true;
        const auto since = SteadyClock::now();  // no renewal was sent after this
        const auto ended = finish(started);
        ASSERT_FALSE(ended);
        EXPECT_EQ(ended.error().code, Errc::unavailable);
        EXPECT_EQ(record.running, 0);
        EXPECT_LT(record.ended - since, 700ms);
        EXPECT_EQ(leases.writes, writes);
        EXPECT_EQ(leases.holder(), "a");  // could not be given back
    }
}

TEST_F(LeadTest, ARenewalWithoutAnAnswerDoesNotKeepTheWorkFromStopping) {
    const std::string lease =
        R"({"metadata":{"name":"l","resourceVersion":"1"},"spec":{"holderIdentity":"a","leaseDurationSeconds":1}})";
    test::Peer peer(context_,
                    {{test::Peer::take(), test::Peer::say("HTTP/1.1 404 X\r\nContent-Length: 2\r\n\r\n{}"),
                      test::Peer::take(), test::Peer::ok(lease), test::Peer::take(), test::Peer::hold()}});
    Config config;
    config.origin = {false, "127.0.0.1", peer.port()};
    Client a(context_, config);
    Record record;
    // Told to stop after 300 ms, when the call alone could go on for 450 ms from the renewal at 150 ms.
    const auto started = start(candidate(a, "a", record, 60s, work_for, {1s, 900ms, 150ms, 600ms}));
    run_until([&] { return record.running == 1; });
    const auto since = SteadyClock::now();
    run_until([&] { return record.running == 0; });
    EXPECT_LT(SteadyClock::now() - since, 450ms);
    EXPECT_EQ(finish(started).error().code, Errc::unavailable);
}

TEST_F(LeadTest, ARivalThatTookItEndsTheWork) {
    Leases leases(context_);
    {
        Client a(context_, leases.config());
        Record record;
        const auto started = start(candidate(a, "a", record, 60s));
        run_until([&] { return record.running == 1; });
        (*leases.stored)["spec"]["holderIdentity"] = "thief";
        (*leases.stored)["metadata"]["resourceVersion"] = "stolen";
        EXPECT_EQ(finish(started).error().code, Errc::unavailable);
        EXPECT_EQ(record.running, 0);
        EXPECT_EQ(leases.holder(), "thief");
    }
}

TEST_F(LeadTest, ACancelledOneJoinsItsWorkAndGivesTheLeaseBack) {
    Leases leases(context_);
    {
        Client a(context_, leases.config());
        Record record;
        const auto started = start(candidate(a, "a", record, 60s));
        run_until([&] { return record.running == 1; });
        started->cancel.emit(boost::asio::cancellation_type::terminal);
        EXPECT_EQ(finish(started).error().code, Errc::cancelled);
        EXPECT_EQ(record.running, 0);
        EXPECT_EQ(leases.holder(), "");
    }
}

TEST_F(LeadTest, ARenewalThatArrivedUnseenDoesNotKeepTheLease) {
    Leases leases(context_);
    {
        Client a(context_, leases.config());
        Record record;
        const auto started = start(candidate(a, "a", record, 60s));
        run_until([&] { return record.running == 1; });
        (*leases.stored)["metadata"]["resourceVersion"] = "later";
        started->cancel.emit(boost::asio::cancellation_type::terminal);
        EXPECT_EQ(finish(started).error().code, Errc::cancelled);
        EXPECT_EQ(leases.holder(), "");
    }
}

TEST_F(LeadTest, ACandidateThatWaitsCanBeCancelled) {
    Leases leases(context_);
    leases.stored = Json{{"metadata", {{"resourceVersion", "1"}}},
                         {"spec", {{"holderIdentity", "other"}, {"leaseDurationSeconds", 1000}}}};
    {
        Client a(context_, leases.config());
        Record record;
        const auto started = start(candidate(a, "a", record, 60s));
        run_for(300ms);
        started->cancel.emit(boost::asio::cancellation_type::terminal);
        EXPECT_EQ(finish(started).error().code, Errc::cancelled);
        EXPECT_EQ(record.starts, 0);
        EXPECT_EQ(leases.writes, 0);
        EXPECT_TRUE(record.changes.empty());
    }
}

TEST_F(LeadTest, WorkThatDoesNotStopEndsTheProcess) {
    Leases leases(context_);
    {
        Client a(context_, leases.config());
        Record record;
        const auto started = start(candidate(a, "a", record, 3s, deaf_work));
        run_until([&] { return record.running == 1; });
        started->cancel.emit(boost::asio::cancellation_type::terminal);
        const auto since = SteadyClock::now();
        EXPECT_EQ(finish(started).error().code, Errc::internal);
        EXPECT_LT(SteadyClock::now() - since, 900ms);
        EXPECT_EQ(record.stuck, 1);
        EXPECT_EQ(record.running, 1);
        EXPECT_EQ(leases.holder(), "a");  // who still works must not give it back
        run_until([&] { return record.running == 0; });
    }
}

TEST_F(LeadTest, AnExceptionOfTheWorkIsPassedOnOnceTheLeaseIsGivenBack) {
    Leases leases(context_);
    {
        Client a(context_, leases.config());
        Record record;
        EXPECT_THROW(std::ignore = run(candidate(a, "a", record, 10ms, failing_work)), std::runtime_error);
        EXPECT_EQ(leases.holder(), "");
    }
}

Task<bool> goes_on_after(Task<result<void>> task) {
    co_await boost::asio::this_coro::throw_if_cancelled(false);
    auto ended = co_await std::move(task);
    // Its cancellation is the caller's too: what the caller does next is cut short.
    co_return ended.error().code == Errc::cancelled && !co_await net::sleep_until(SteadyClock::now() + 10s);
}

TEST_F(LeadTest, LeavesItsCallersCancellationAsItWas) {
    Leases leases(context_);
    {
        Client a(context_, leases.config());
        Record record;
        const auto started = start(goes_on_after(candidate(a, "a", record, 60s)));
        run_until([&] { return record.running == 1; });
        started->cancel.emit(boost::asio::cancellation_type::terminal);
        run_until([&] { return leases.holder().empty(); });
        run_for(50ms);
        started->cancel.emit(boost::asio::cancellation_type::terminal);
        EXPECT_TRUE(finish(started));
    }
}

TEST_F(LeadTest, TimesAndIdentityHaveToMakeSense) {
    Leases leases(context_);
    {
        Client a(context_, leases.config());
        const auto nothing = []() -> Task<void> { co_return; };
        EXPECT_EQ(run(lead(a, {"ns", "l"}, "a", {1s, 2s, 1s}, nothing)).error().code, Errc::invalid);
        EXPECT_EQ(run(lead(a, {"ns", "l"}, "", {}, nothing)).error().code, Errc::invalid);
        EXPECT_EQ(leases.writes, 0);
    }
}

}  // namespace
}  // namespace keyshepherd::kube
