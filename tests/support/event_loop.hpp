// Runs coroutines in a test, and plays peers that do not behave.
#pragma once

#include <keyshepherd/net/task.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace keyshepherd::test {

using namespace std::chrono_literals;

inline net::Deadline in(std::chrono::milliseconds time) {
    return net::SteadyClock::now() + time;
}

// A coroutine that was started, and what came of it.
template <class T>
struct Started {
    std::optional<T> value;
    std::exception_ptr exception;
    boost::asio::cancellation_signal cancel;
};

// One context and its end: at the end of a test nothing may be left waiting.
class EventLoop : public testing::Test {
protected:
    template <class T>
    std::shared_ptr<Started<T>> start(net::Task<T> task) {
        auto started = std::make_shared<Started<T>>();
        boost::asio::co_spawn(context_, std::move(task),
                              boost::asio::bind_cancellation_slot(
                                  started->cancel.slot(), [started](std::exception_ptr e, T value) {
                                      started->exception = e;
                                      started->value.emplace(std::move(value));
                                  }));
        return started;
    }
    template <class T>
    T finish(const std::shared_ptr<Started<T>>& started) {
        const net::Deadline until = in(60s);
        context_.restart();
        while (!started->value && net::SteadyClock::now() < until) context_.run_one_for(1s);
        EXPECT_TRUE(started->value) << "a coroutine does not end";
        if (started->exception) std::rethrow_exception(started->exception);
        return std::move(started->value).value();
    }
    template <class T>
    T run(net::Task<T> task) {
        return finish(start(std::move(task)));
    }
    void run_for(std::chrono::milliseconds time) {
        context_.restart();
        const net::Deadline until = in(time);
        while (net::SteadyClock::now() < until) {
            context_.restart();
            if (context_.run_one_until(until) == 0) std::this_thread::sleep_until(until);
        }
    }
    void run_steps(int count) {
        context_.restart();
        for (int i = 0; i < count; ++i) context_.run_one_for(20ms);
    }
    // Called when everything that the test made is gone.
    void expect_nothing_left() {
        context_.restart();
        context_.run_for(5s);
        EXPECT_TRUE(context_.stopped()) << "something still waits";
    }
    void TearDown() override { expect_nothing_left(); }

    boost::asio::io_context context_{1};
};

// A peer that does what a script says, one script a connection (the last one is for all that follow), or
// answers every request by a function.
class Peer {
    static auto ended(int* running) {
        return [running](const std::exception_ptr&) { --*running; };
    }

public:
    struct Step {
        enum Kind {
            take,
            say,
            pause,
            reset,
            hold
        } kind;  // take: a request; hold: until the other side closes
        std::string text = {};
        std::chrono::milliseconds time{0};
    };
    using Script = std::vector<Step>;

    static Step take() { return {Step::take}; }
    static Step say(std::string text) { return {Step::say, std::move(text)}; }
    static Step pause(std::chrono::milliseconds time) { return {Step::pause, {}, time}; }
    static Step reset() { return {Step::reset}; }
    static Step hold() { return {Step::hold}; }
    static Step ok(std::string_view body) {
        return say("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
                   std::string(body));
    }

    Peer(boost::asio::io_context& context, std::vector<Script> scripts)
        : scripts_(std::move(scripts)),
          acceptor_(context.get_executor(), {boost::asio::ip::address_v4::loopback(), 0}) {
        boost::asio::co_spawn(context, accept(), ended(&running_));
        ++running_;
    }
    ~Peer() {
        boost::system::error_code ignored;
        acceptor_.close(ignored);
        for (Socket* each : open_) each->close(ignored);
        auto& context = static_cast<boost::asio::io_context&>(acceptor_.get_executor().context());
        context.restart();
        while (running_ > 0 && context.run_one_for(5s) > 0) {
        }
    }

    struct Reply {
        std::string text;  // empty: close
        std::chrono::milliseconds after{0};
    };
    using Respond = std::function<Reply(const std::string& request)>;

    Peer(boost::asio::io_context& context, Respond respond) : Peer(context, std::vector<Script>{{}}) {
        respond_ = std::move(respond);
    }

    std::string port() const { return std::to_string(acceptor_.local_endpoint().port()); }
    std::size_t connections() const { return connections_; }
    std::size_t most_at_once() const { return most_; }
    const std::vector<std::string>& requests() const { return requests_; }

private:
    using Socket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, net::Executor>;

    net::Task<void> accept() {
        for (;;) {
            auto [ec, socket] = co_await acceptor_.async_accept(net::no_throw);
            if (ec) co_return;
            const std::size_t number = std::min(connections_++, scripts_.size() - 1);
            ++running_;
            boost::asio::co_spawn(acceptor_.get_executor(), serve(std::move(socket), scripts_[number]),
                                  ended(&running_));
        }
    }

    net::Task<void> serve(Socket socket, Script script) {
        open_.push_front(&socket);
        most_ = std::max(most_, open_.size());
        std::string in;
        while (respond_ && co_await take_request(socket, in)) {
            const Reply reply = respond_(requests_.back());
            if (reply.after > 0ms) co_await net::sleep_until(net::SteadyClock::now() + reply.after);
            if (reply.text.empty()) break;
            auto [ec, n] =
                co_await boost::asio::async_write(socket, boost::asio::buffer(reply.text), net::no_throw);
            if (ec) break;
        }
        for (const Step& step : script) {
            bool going = true;
            if (step.kind == Step::take) {
                going = co_await take_request(socket, in);
            } else if (step.kind == Step::say) {
                auto [ec, n] =
                    co_await boost::asio::async_write(socket, boost::asio::buffer(step.text), net::no_throw);
                going = !ec;
            } else if (step.kind == Step::pause) {
                co_await net::sleep_until(net::SteadyClock::now() + step.time);
            } else if (step.kind == Step::reset) {
                socket.set_option(boost::asio::socket_base::linger(true, 0));
            } else {
                char rest[4096];
                for (;;) {
                    auto [ec, n] = co_await socket.async_read_some(boost::asio::buffer(rest), net::no_throw);
                    if (ec) break;
                }
            }
            if (!going) break;
        }
        open_.remove(&socket);
        boost::system::error_code ignored;
        socket.close(ignored);
    }

    net::Task<bool> take_request(Socket& socket, std::string& in) {
        auto [ec, head] = co_await boost::asio::async_read_until(socket, boost::asio::dynamic_buffer(in),
                                                                 "\r\n\r\n", net::no_throw);
        if (ec) co_return false;
        std::size_t length = 0;
        if (const auto at = in.find("Content-Length: "); at < head)
            std::from_chars(in.data() + at + 16, in.data() + head, length);
        while (in.size() < head + length) {
            char more[4096];
            auto [error, n] = co_await socket.async_read_some(boost::asio::buffer(more), net::no_throw);
            if (error) co_return false;
            in.append(more, n);
        }
        requests_.push_back(in.substr(0, head + length));
        in.erase(0, head + length);
        co_return true;
    }

    std::vector<Script> scripts_;
    Respond respond_;
    boost::asio::basic_socket_acceptor<boost::asio::ip::tcp, net::Executor> acceptor_;
    std::list<Socket*> open_;
    std::vector<std::string> requests_;
    std::size_t connections_ = 0;
    std::size_t most_ = 0;
    int running_ = 0;
};

}  // namespace keyshepherd::test
