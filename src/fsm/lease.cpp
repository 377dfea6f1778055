#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/fsm/lease.hpp>

#include <algorithm>
#include <utility>

namespace keyshepherd::fsm {

namespace {

using Json = nlohmann::json;

std::int64_t number_at(const Json& object, const char* name) {
    const Json& found = field_at(object, name);
    return found.is_number_integer() ? found.get<std::int64_t>() : 0;
}

}  // namespace

result<void> LeaseTimes::check() const {
    using std::chrono::milliseconds;
    if (retry <= Duration(0) || stop < Duration(0) || renew <= stop + retry + retry / 5 || duration <= renew)
        return fail(Errc::invalid,
                    "invalid Lease times: the lease duration must exceed the renew deadline, and the renew "
                    "deadline must exceed 1.2 times the retry period plus the time to stop the leader");
    return {};
}

LeaseMachine::LeaseMachine(std::string name, std::string identity, LeaseTimes times)
    : name_(std::move(name)), identity_(std::move(identity)), times_(times) {}

Instant LeaseMachine::end_at() const {
    return renewed_.value_or(Instant{}) + times_.renew;
}
Instant LeaseMachine::stop_at() const {
    return end_at() - times_.stop;
}

bool LeaseMachine::held(Instant now) const {
    return renewed_.has_value() && holder_ == identity_ && now < stop_at();
}

LeaseMachine::Action LeaseMachine::next(Instant now, const std::string& wall) const {
    if (renewed_ && !held(now)) return Stop{};
    if (now < next_attempt_) return Wait{renewed_ ? std::min(next_attempt_, stop_at()) : next_attempt_};
    if (read_first_) return Read{};
    const bool ours = known_ && holder_ == identity_;
    Json spec = {{"holderIdentity", identity_},
                 {"leaseDurationSeconds", times_.duration.count()},
                 {"acquireTime", ours && !acquire_time_.empty() ? acquire_time_ : wall},
                 {"renewTime", wall},
                 {"leaseTransitions", known_ && !ours ? transitions_ + 1 : transitions_}};
    if (!known_)
        return Create{{{"apiVersion", "coordination.k8s.io/v1"},
                       {"kind", "Lease"},
                       {"metadata", {{"name", name_}}},
                       {"spec", std::move(spec)}}};
    return Update{{{"metadata", {{"resourceVersion", resource_version_}}}, {"spec", std::move(spec)}}};
}

void LeaseMachine::take_in(const Json& lease, Instant now) {
    const Json& spec = field_at(lease, "spec");
    known_ = true;
    holder_ = text_at(spec, "holderIdentity");
    acquire_time_ = text_at(spec, "acquireTime");
    transitions_ = number_at(spec, "leaseTransitions");
    resource_version_ = text_at(field_at(lease, "metadata"), "resourceVersion");
    // The holder's own idea of how long it is good for, since versions with different times may run together.
    const std::int64_t seconds = number_at(spec, "leaseDurationSeconds");
    seen_duration_ =
        seconds > 0 ? std::chrono::seconds(std::min<std::int64_t>(seconds, 24 * 3600)) : times_.duration;
    std::string state = spec.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (state == seen_) return;
    seen_ = std::move(state);
    seen_at_ = now;
}

void LeaseMachine::observed(const Json& lease, Instant now) {
    take_in(lease, now);
    const bool free = holder_.empty() || holder_ == identity_ || now >= seen_at_ + seen_duration_;
    read_first_ = !free;
    next_attempt_ = free ? now : now + times_.retry;
}

void LeaseMachine::absent(Instant now) {
    known_ = false;
    if (renewed_)
        holder_ = identity_;  // someone removed it: it is made anew, unless another is quicker
    else
        holder_.clear();
    transitions_ = 0;
    seen_.clear();
    read_first_ = false;
    next_attempt_ = now;
}

void LeaseMachine::written(const Json& lease, Instant sent, Instant now) {
    take_in(lease, now);
    read_first_ = false;
    if (holder_ != identity_) return failed(now);
    renewed_ = sent;
    next_attempt_ = sent + times_.retry;
}

void LeaseMachine::failed(Instant now) {
    read_first_ = true;
    next_attempt_ = now + times_.retry;
}

std::optional<Json> LeaseMachine::release(const std::string& wall) const {
    if (!renewed_ || !known_ || holder_ != identity_) return std::nullopt;
    return Json{{"metadata", {{"resourceVersion", resource_version_}}},
                {"spec",
                 {{"holderIdentity", nullptr},
                  {"leaseDurationSeconds", 1},
                  {"acquireTime", wall},
                  {"renewTime", wall}}}};
}

}  // namespace keyshepherd::fsm
