#include "sweeps.hpp"

#include <algorithm>
#include <functional>
#include <string>

namespace keyshepherd::controller {

void Sweeps::start_over(std::int64_t now, std::int64_t grace) {
    done_.clear();
    unsure_.clear();
    suspected_.clear();
    started_over_ = net::SteadyClock::now();
    sure_from_ = now + grace;
    spread_ = grace;
}

void Sweeps::forget(const Key& owner) {
    done_.erase(owner);
    unsure_.erase(owner);
    suspected_.erase(owner);
}

void Sweeps::finish(const Key& owner) {
    forget(owner);
    done_.insert(owner);
}

void Sweeps::suspect(const Key& owner) {
    done_.erase(owner);
    suspected_.insert_or_assign(owner, net::SteadyClock::now());
}

void Sweeps::unsure(const Key& owner, std::int64_t until) {
    suspect(owner);
    unsure_[owner] = until;
}

std::int64_t Sweeps::unsure_until(const Key& owner) const {
    const auto at = unsure_.find(owner);
    const auto after = static_cast<std::int64_t>(std::hash<std::string>{}(owner.ns + '/' + owner.name) %
                                                 static_cast<std::size_t>(spread_ + 1));
    return std::max(at == unsure_.end() ? 0 : at->second, sure_from_ + after);
}

Deadline Sweeps::fresh_from(const Key& owner, std::int64_t now) const {
    const auto at = suspected_.find(owner);
    const std::chrono::seconds sure_for(std::max<std::int64_t>(now - unsure_until(owner), 0));
    return std::max<Deadline>(at == suspected_.end() ? started_over_ : at->second,
                              net::SteadyClock::now() - sure_for);
}

}  // namespace keyshepherd::controller
