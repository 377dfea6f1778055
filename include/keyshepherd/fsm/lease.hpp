// Leader election with a coordination.k8s.io Lease, as in client-go: who holds the Lease, and until when.
// Pure: the caller passes the time, and reads and writes the Lease.
//
// Guarantees: 1. Only the local clock decides. The Lease of another holder has expired if it stayed unchanged
// for its whole duration; its renewTime does not matter. 2. The own Lease is safe until `renew` after the
// last successful write was SENT. Another candidate can acquire it at the earliest `duration` after that
// write arrived, which is later. 3. Every write contains the resourceVersion that was read, so one of two
// candidates loses. 4. A write without an answer counts as failed.
#pragma once

#include <keyshepherd/core/result.hpp>
#include <keyshepherd/fsm/backoff.hpp>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

namespace keyshepherd::fsm {

struct LeaseTimes {
    std::chrono::seconds duration{15};  // how long other candidates wait after the last renewal that they saw
    Duration renew = std::chrono::seconds(10);  // without a renewal, the work must end within this time
    Duration retry = std::chrono::seconds(2);   // between attempts
    Duration stop = std::chrono::seconds(2);  // the work is told to stop this long before the end of `renew`

    // Errc::invalid unless duration > renew > stop + 1.2 * retry, and all are positive.
    result<void> check() const;
};

class LeaseMachine {
public:
    struct Wait {
        Instant until;
    };
    struct Read {};
    struct Create {
        nlohmann::json lease;
    };
    struct Update {
        nlohmann::json merge_patch;  // carries metadata.resourceVersion
    };
    struct Stop {};  // lost or not renewed in time: the work must stop now; the machine has ended
    using Action = std::variant<Wait, Read, Create, Update, Stop>;

    LeaseMachine(std::string name, std::string identity, LeaseTimes times);

    // The next action. `wall` is the time for the Lease, in RFC 3339 with microseconds.
    Action next(Instant now, const std::string& wall) const;

    // The Lease that was read or returned by a write; `sent` is when the request was sent. A successful write
    // makes this process the holder.
    void observed(const nlohmann::json& lease, Instant now);
    void absent(Instant now);
    void written(const nlohmann::json& lease, Instant sent, Instant now);
    // A read or write failed or got no answer.
    void failed(Instant now);

    // The patch that releases a held Lease; nullopt if it is not held.
    std::optional<nlohmann::json> release(const std::string& wall) const;

    bool held(Instant now) const;  // the work may run
    Instant stop_at() const;       // when the work must be told to stop; meaningless unless held
    Instant end_at() const;        // when it must have ended
    const std::string& holder() const { return holder_; }  // as last seen; may be empty

private:
    void take_in(const nlohmann::json& lease, Instant now);

    std::string name_;
    std::string identity_;
    LeaseTimes times_;
    Instant next_attempt_{};  // not before
    bool read_first_ = true;  // what we know of the Lease may be old
    bool known_ = false;      // there is one
    std::string holder_;
    std::string acquire_time_;
    std::string resource_version_;
    std::string seen_;  // what tells one state of the Lease from the next
    Instant seen_at_{};
    Duration seen_duration_{};
    std::int64_t transitions_ = 0;
    std::optional<Instant> renewed_;  // when the last write that succeeded was sent
};

}  // namespace keyshepherd::fsm
