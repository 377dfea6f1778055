#include <keyshepherd/fsm/bulk_read.hpp>

#include <algorithm>

namespace keyshepherd::fsm {

Look BulkRead::look(Instant now, Duration oldest) {
    expected_.erase(expected_.begin(), expected_.upper_bound(now));
    if (const auto old = age(now); old && *old <= oldest) return Look::kept;
    if (asking_) return now - *asking_ <= oldest ? Look::wait : Look::singly;
    if (now < not_before_ || !pays(now, oldest)) return Look::singly;
    return Look::ask;
}

void BulkRead::expect(Instant at) {
    if (fewest_ > 1) expected_.insert(at);
}

void BulkRead::asked(Instant now) {
    asking_ = now;
}

void BulkRead::answered(Instant now, std::size_t objects) {
    taken_ = asking_;
    objects_ = objects;
    // A server that takes long for it is not kept busy with it.
    if (taken_) not_before_ = now + 3 * (now - *taken_);
    asking_.reset();
}

void BulkRead::failed(Instant now, Duration pause) {
    asking_.reset();
    not_before_ = now + pause;
}

std::optional<Duration> BulkRead::age(Instant now) const {
    return taken_ ? std::optional<Duration>(now - *taken_) : std::nullopt;
}

bool BulkRead::pays(Instant now, Duration oldest) {
    if (fewest_ <= 1) return true;
    // This look is one of them.
    const std::size_t enough = std::max(fewest_, objects_ / 2) - 1;
    std::size_t count = 0;
    for (auto at = expected_.begin(); count < enough && at != expected_.end() && *at <= now + oldest; ++at)
        ++count;
    return count >= enough;
}

}  // namespace keyshepherd::fsm
