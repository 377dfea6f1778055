// Work that only one of several processes does at a time.
//
//     auto ended = co_await lead(client, {"keyshepherd", "operator"}, identity, {}, work, hooks);
//
// No fencing is promised: a write that left us before the Lease was lost may arrive afterwards.
#pragma once

#include <keyshepherd/fsm/lease.hpp>
#include <keyshepherd/kube/client.hpp>

#include <functional>
#include <string>

namespace keyshepherd::kube {

struct LeaseRef {
    std::string ns;
    std::string name;
};

struct LeaseHooks {
    std::function<void(bool leading)> changed = {};  // for logs, metrics and readiness
    std::function<void(const Error&)> failed = {};   // an attempt failed
    // The work did not stop when told to, or the process stood still for too long to tell it: a rival may
    // hold the Lease now or soon. The process must end here: what this does when empty is to write one line
    // to stderr and end it with code 1.
    std::function<void()> stuck = {};
};

// Waits for the Lease, then runs `work` for as long as it holds it. `identity` must be this process' alone.
//   work ends                  the Lease is given back; a value
//   cancelled                  the work is cancelled and joined, the Lease given back; Errc::cancelled
//   the Lease is lost          the work is cancelled and joined by the last renewal + times.renew;
//                              Errc::unavailable. Call it again to stand again.
//   the work does not stop     hooks.stuck(); if that returns, Errc::internal, and the work still runs
//   the times make no sense    Errc::invalid
// An exception out of `work` is passed on once the Lease is given back.
Task<result<void>> lead(Client& client, LeaseRef ref, std::string identity, fsm::LeaseTimes times,
                        std::function<Task<void>()> work, LeaseHooks hooks = {});

}  // namespace keyshepherd::kube
