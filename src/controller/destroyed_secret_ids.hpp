// Secret-ids that this process has destroyed. If one exists in Vault again, a snapshot was restored, and the
// secret-id is valid.
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
        // Metadata of the secret-id if its tokens were revoked, otherwise "".
        std::string owner = {};
        std::string issue = {};
    };

    // `vault` is the name from vault_of(). If one Vault has more than `most`, removes the oldest.
    void add(const std::string& vault, Destroyed one);
    // A sample for frequent lookups: the newest, and others spread over the order of destruction. A snapshot
    // restores secret-ids that were issued before and destroyed after it, and these may not be the newest.
    std::vector<Destroyed> samples(const std::string& vault) const;
    // All, the newest first.
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
