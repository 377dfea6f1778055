// Objects that were recently written to Vault. A standby node may still return the earlier state
// (https://openbao.org/docs/internals/high-availability/), which is not drift. Pure.
#pragma once

#include "store.hpp"

#include <keyshepherd/net/task.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>

namespace keyshepherd::controller {

// Not thread-safe.
class RecentWrites {
public:
    // How long after a write an answer with the earlier state counts as stale.
    static constexpr std::chrono::seconds settles_in{5};

    // Records that the object of `key` was written or removed. `before` is Vault's answer before that, "" if
    // the object was absent. The record also applies to a new resource with the same name.
    void wrote(const Key& key, const std::string& before, net::Deadline now) {
        if (writes_.size() >= most_) {
            std::erase_if(writes_, [now](const auto& each) { return now >= each.second.settled; });
            most_ = std::max(fewest, 2 * writes_.size());
        }
        writes_.insert_or_assign(key, Write{std::hash<std::string>()(before), now + settles_in});
    }
    // The delay before Vault is read again if `answered` is the state before the last write. nullopt if the
    // answer is current. Any other state is an edit by somebody else.
    std::optional<std::chrono::milliseconds> doubt(const Key& key, const std::string& answered,
                                                   net::Deadline now) {
        const auto at = writes_.find(key);
        if (at == writes_.end()) return std::nullopt;
        if (now >= at->second.settled) {
            writes_.erase(at);
            return std::nullopt;
        }
        if (at->second.before != std::hash<std::string>()(answered)) return std::nullopt;
        return std::chrono::ceil<std::chrono::milliseconds>(at->second.settled - now);
    }
    void clear() { writes_.clear(); }
    std::size_t size() const { return writes_.size(); }

    // Below this number, old records are not searched for and removed.
    static constexpr std::size_t fewest = 1024;

private:
    struct Write {
        std::size_t before;  // hash of the earlier state
        net::Deadline settled;
    };
    std::map<Key, Write> writes_;
    std::size_t most_ = fewest;  // number at which old records are removed
};

}  // namespace keyshepherd::controller
