// What was written to Vault a moment ago. A node of Vault that lags behind may still answer with what was
// there before (https://openbao.org/docs/internals/high-availability/): that is no drift. Pure.
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

// For one thread.
class RecentWrites {
public:
    // How long after a write an answer with the earlier state is taken for a stale one.
    static constexpr std::chrono::seconds settles_in{5};

    // The object of `key` was written or removed; `before` is what Vault had answered until then, "" that it
    // was absent. It counts for the next resource of the name, too.
    void wrote(const Key& key, const std::string& before, net::Deadline now) {
        if (writes_.size() >= most_) {
            std::erase_if(writes_, [now](const auto& each) { return now >= each.second.settled; });
            most_ = std::max(fewest, 2 * writes_.size());
        }
        writes_.insert_or_assign(key, Write{std::hash<std::string>()(before), now + settles_in});
    }
    // How long to wait before Vault is asked again, since `answered` is the state before the last write.
    // nullopt: the answer is to be believed. Another state than that one is somebody's edit.
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

    // Below it those that have settled are not looked for.
    static constexpr std::size_t fewest = 1024;

private:
    struct Write {
        std::size_t before;  // its hash
        net::Deadline settled;
    };
    std::map<Key, Write> writes_;
    std::size_t most_ = fewest;  // before those that have settled are erased
};

}  // namespace keyshepherd::controller
