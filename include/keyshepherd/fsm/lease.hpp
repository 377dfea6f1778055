// Leader election with a coordination.k8s.io Lease, after client-go: who holds it, and until when that is
// safe. Pure: the caller tells the time, reads and writes the Lease.
//
// Guarantees: 1. Only times of our own clock decide: a rival's Lease has expired when we saw it unchanged for
// its whole duration, and not when its renewTime says so. 2. Our own is safe until the moment a write that
// succeeded was SENT, plus `renew`; a rival can acquire no earlier than the moment it arrived, plus
// `duration`, which is later. 3. Every write names the resourceVersion it was decided on, so that of two
// candidates one loses. 4. A write whose fate is unknown counts as not done.
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
    std::chrono::seconds duration{15};          // a rival waits as long after the last renewal it saw
    Duration renew = std::chrono::seconds(10);  // without a renewal for so long, the work must have ended
    Duration retry = std::chrono::seconds(2);   // between attempts
    Duration stop = std::chrono::seconds(2);    // how long before the end of `renew` the work is told to stop

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
    struct Stop {};  // lost, or not renewed in time: the work must stop now, and the machine is done
    using Action = std::variant<Wait, Read, Create, Update, Stop>;

    LeaseMachine(std::string name, std::string identity, LeaseTimes times);

    // What to do at `now`. `wall` is the time to write, as RFC 3339 with microseconds.
    Action next(Instant now, const std::string& wall) const;

    // The Lease as it was read or written back; `sent` is when that request was sent. A write of ours that
    // succeeded makes us the holder.
    void observed(const nlohmann::json& lease, Instant now);
    void absent(Instant now);
    void written(const nlohmann::json& lease, Instant sent, Instant now);
    // A read or a write failed, or its fate is unknown.
    void failed(Instant now);

    // The patch that gives a held Lease back; nullopt when it is not held.
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
