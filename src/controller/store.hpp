// What is known of the custom resources: the last state that the API server told, by kind and name.
#pragma once

#include <keyshepherd/kube/object.hpp>
#include <keyshepherd/resources/resource.hpp>

#include <compare>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace keyshepherd::controller {

using resources::Json;

struct Key {
    const resources::Kind* kind = nullptr;
    std::string ns;
    std::string name;
    auto operator<=>(const Key&) const = default;
};

struct Entry {
    resources::Resource resource;
    std::vector<resources::Fault> faults;
    Json metadata;  // of the object, what a patch or an event has to name
    Json status;
    std::string trigger;  // changes with everything that asks for a reconcile
};

// Immutable once stored: a reconcile keeps the one that it began with.
using EntryPtr = std::shared_ptr<const Entry>;

EntryPtr make_entry(const Json& object);
Key key_of(const Entry& entry);
// The VaultConnection that a resource refers to.
Key connection_of(const resources::Resource& resource);

class Store {
public:
    EntryPtr find(const Key& key) const;
    // True when `entry` asks for a reconcile that the one before did not.
    bool put(EntryPtr entry);
    void erase(const Key& key);

    // Everything that refers to a connection.
    std::vector<Key> dependents(const Key& connection) const;
    // Who is about the same path, of whichever Vault; the oldest first, on a tie the one with the lesser uid.
    std::vector<EntryPtr> claimants(const std::string& path) const;
    std::vector<Key> keys() const;
    std::size_t size() const { return entries_.size(); }

private:
    void forget(const Entry& entry);

    std::map<Key, EntryPtr> entries_;
    std::map<Key, std::set<Key>> dependents_;
    std::map<std::string, std::set<Key>> claims_;  // by path in Vault
};

}  // namespace keyshepherd::controller
