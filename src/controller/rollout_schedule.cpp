#include "rollout_schedule.hpp"

#include <algorithm>
#include <utility>

namespace keyshepherd::controller {

void RolloutSchedule::want(const std::set<std::string>& ids, Time now, std::chrono::milliseconds within,
                           const std::function<double()>& unit) {
    std::erase_if(turns_, [&](const auto& turn) { return !ids.contains(turn.first); });
    std::vector<std::string> fresh;
    for (const std::string& id : ids)
        if (!turns_.contains(id)) fresh.push_back(id);
    if (fresh.empty()) return;
    // One share of the time each, and a turn in the first half of it: there is always a pause between two.
    const auto share = within / static_cast<long>(fresh.size());
    for (std::size_t i = 0; i < fresh.size(); ++i) {
        const double part = i == 0 ? 0 : unit() / 2;
        const std::chrono::milliseconds late(
            static_cast<long>(static_cast<double>(share.count()) * (static_cast<double>(i) + part)));
        turns_.emplace(std::move(fresh[i]), now + late);
    }
}

std::vector<std::string> RolloutSchedule::due(Time now) const {
    std::vector<std::pair<Time, std::string>> waiting;
    for (const auto& [id, turn] : turns_)
        if (turn <= now) waiting.emplace_back(turn, id);
    std::ranges::sort(waiting);
    std::vector<std::string> ids;
    for (auto& [turn, id] : waiting) ids.push_back(std::move(id));
    return ids;
}

std::optional<RolloutSchedule::Time> RolloutSchedule::next() const {
    const auto first = std::ranges::min_element(turns_, {}, [](const auto& turn) { return turn.second; });
    return first == turns_.end() ? std::nullopt : std::optional(first->second);
}

}  // namespace keyshepherd::controller
