#include "orphan_scans.hpp"

#include <algorithm>
#include <functional>
#include <string>

namespace keyshepherd::controller {

void OrphanScans::start_over(Deadline now, std::chrono::seconds grace) {
    done_.clear();
    unsure_.clear();
    suspected_.clear();
    started_over_ = now;
    sure_from_ = now + grace;
    spread_ = grace;
}

void OrphanScans::forget(const Key& owner) {
    done_.erase(owner);
    unsure_.erase(owner);
    suspected_.erase(owner);
}

void OrphanScans::finish(const Key& owner) {
    forget(owner);
    done_.insert(owner);
}

void OrphanScans::suspect(const Key& owner) {
    done_.erase(owner);
    suspected_.insert_or_assign(owner, net::SteadyClock::now());
}

void OrphanScans::unsure(const Key& owner, Deadline until) {
    suspect(owner);
    unsure_[owner] = until;
}

Deadline OrphanScans::unsure_until(const Key& owner) const {
    const auto at = unsure_.find(owner);
    const std::chrono::seconds after(std::hash<std::string>{}(owner.ns + '/' + owner.name) %
                                     static_cast<std::size_t>(spread_.count() + 1));
    const Deadline since_start = sure_from_ + after;
    return at == unsure_.end() ? since_start : std::max(at->second, since_start);
}

Deadline OrphanScans::fresh_from(const Key& owner, Deadline now) const {
    const auto at = suspected_.find(owner);
    return std::max(at == suspected_.end() ? started_over_ : at->second, std::min(unsure_until(owner), now));
}

}  // namespace keyshepherd::controller
