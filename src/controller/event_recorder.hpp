// Sends events in the background, in the order in which they were recorded. No decision depends on them, and
// the log contains the same information.
#pragma once

#include <keyshepherd/kube/client.hpp>
#include <keyshepherd/kube/event.hpp>
#include <keyshepherd/net/signal.hpp>
#include <keyshepherd/telemetry/log.hpp>

#include <deque>
#include <functional>
#include <string>
#include <utility>

namespace keyshepherd::controller {

// For one thread, that of `context`.
class EventRecorder {
public:
    EventRecorder(boost::asio::io_context& context, kube::Client& kube, telemetry::Log& log,
                  std::string instance, std::chrono::milliseconds call)
        : kube_(kube),
          log_(log),
          reporter_{"keyshepherd.dev/operator", std::move(instance)},
          call_(call),
          told_(context.get_executor()) {}

    // `regarding` is the object with apiVersion, kind and metadata. Drops the event if too many are queued.
    void record(kube::Json regarding, kube::Event::Type type, std::string reason, std::string action,
                std::string note);

    // Sends events until it is cancelled. While `busy` returns true, delays each event by up to `patience`.
    kube::Task<void> run(std::function<bool()> busy, std::chrono::milliseconds patience);

private:
    // Retries errors that are retryable, with a delay that doubles.
    kube::Task<result<void>> send(kube::Json regarding, kube::Event made);

    kube::Client& kube_;
    telemetry::Log& log_;
    kube::Reporter reporter_;
    std::chrono::milliseconds call_;
    std::deque<std::pair<kube::Json, kube::Event>> waiting_;
    net::Signal told_;
};

}  // namespace keyshepherd::controller
