#include "env_index.hpp"

#include <algorithm>

namespace keyshepherd::inject {

namespace {

constexpr std::size_t few = 16;  // fewer entries are looked through sooner than they are sorted

}  // namespace

EnvIndex::EnvIndex(const json::array* env) {
    if (env == nullptr) return;
    by_name_.reserve(env->size());
    for (std::size_t i = 0; i < env->size(); ++i)
        by_name_.emplace_back(json::find_text((*env)[i], {"name"}), i);
    if (by_name_.size() > few) std::ranges::sort(by_name_);
}

std::optional<std::size_t> EnvIndex::last(std::string_view name) const {
    if (by_name_.size() <= few) {
        for (std::size_t i = by_name_.size(); i > 0; --i)
            if (by_name_[i - 1].first == name) return by_name_[i - 1].second;
        return std::nullopt;
    }
    auto behind = std::ranges::upper_bound(by_name_, name, {}, [](const auto& each) { return each.first; });
    if (behind == by_name_.begin() || (--behind)->first != name) return std::nullopt;
    return behind->second;
}

}  // namespace keyshepherd::inject
