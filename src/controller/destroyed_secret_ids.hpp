// Secret-ids that this process has destroyed: one that is in Vault again came out of a snapshot that was
// restored, and logs in.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <string>
#include <unordered_set>
#include <vector>

namespace keyshepherd::controller {

// For one thread.
class DestroyedSecretIds {
public:
    struct Destroyed {
        std::string role;  // API path
        std::string accessor;
        // Whose tokens were revoked with it; "" where none were.
        std::string owner = {};
        std::string issue = {};
    };

    // `vault` as vault_of() names it. The oldest are forgotten beyond `most` of one Vault.
    void add(const std::string& vault, Destroyed one);
    // A few to look up often: the newest, and some of the others by the order in which they were destroyed. A
    // snapshot brings back those that were issued before it and destroyed after it, which need not be the
    // newest.
    std::vector<Destroyed> samples(const std::string& vault) const;
    // The newest first.
    std::vector<Destroyed> all(const std::string& vault) const;
    void forget(const std::string& vault) { by_vault_.erase(vault); }

    static constexpr std::size_t most = 10'000;
    static constexpr std::size_t newest = 16;
    static constexpr std::size_t others = 16;

private:
    struct Known {
        std::deque<Destroyed> in_order;  // the oldest first
        std::unordered_set<std::string> accessors;
    };
    std::map<std::string, Known> by_vault_;
};

}  // namespace keyshepherd::controller
