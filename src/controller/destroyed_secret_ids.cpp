#include "destroyed_secret_ids.hpp"

#include <utility>

namespace keyshepherd::controller {

void DestroyedSecretIds::add(const std::string& vault, Destroyed one) {
    Known& known = by_vault_[vault];
    if (!known.accessors.insert(one.accessor).second) return;  // what is destroyed again keeps its place
    known.in_order.push_back(std::move(one));
    if (known.in_order.size() <= most) return;
    known.accessors.erase(known.in_order.front().accessor);
    known.in_order.pop_front();
}

std::vector<DestroyedSecretIds::Destroyed> DestroyedSecretIds::samples(const std::string& vault) const {
    std::vector<Destroyed> chosen = all(vault);
    if (chosen.size() <= newest + others) return chosen;
    const std::size_t older = chosen.size() - newest;
    for (std::size_t i = 0; i < others; ++i) chosen[newest + i] = chosen[newest + i * older / others];
    chosen.resize(newest + others);
    return chosen;
}

std::vector<DestroyedSecretIds::Destroyed> DestroyedSecretIds::all(const std::string& vault) const {
    const auto at = by_vault_.find(vault);
    if (at == by_vault_.end()) return {};
    return {at->second.in_order.rbegin(), at->second.in_order.rend()};
}

}  // namespace keyshepherd::controller
