// What is known of the custom resources: the last state that the API server told, by kind and name. Thousands
// lie here at rest: each is kept as one text, and read back when it is looked at.
#pragma once

#include <keyshepherd/kube/object.hpp>
#include <keyshepherd/resources/resource.hpp>

#include <compare>
#include <cstdint>
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

// Whose turn it is in the queue: namespaces take turns.
struct NamespaceOf {
    const std::string& operator()(const Key& key) const { return key.ns; }
};

struct Entry {
    resources::Resource resource;
    std::vector<resources::Fault> faults;
    Json metadata;  // of the object, what a patch or an event has to name
    Json status;
    // The status has facts that this operator did not write; status and resource are without them. Only
    // Runtime::find() knows.
    bool untrusted = false;
    std::string trigger;  // changes with everything that asks for a reconcile; only as make_entry() gives it
};

// Immutable: a reconcile keeps the one that it began with.
using EntryPtr = std::shared_ptr<const Entry>;

EntryPtr make_entry(const Json& object);
Key key_of(const Entry& entry);
// The VaultConnection that a resource refers to; of a VaultSecretID the one that it was issued by, if it was.
Key connection_of(const resources::Resource& resource);
// The VaultAppRole of a VaultSecretID.
Key role_of(const resources::Resource& resource);

class Store {
public:
    EntryPtr find(const Key& key) const;
    bool contains(const Key& key) const { return entries_.contains(key); }
    // True when `entry` asks for a reconcile that the one before did not.
    bool put(EntryPtr entry);
    void erase(const Key& key);
    // With a namespace that is being deleted, since `deletion_time` (RFC 3339), everything in it is; "": it
    // is not. Gives those whose state is another by that.
    std::vector<Key> namespace_leaves(const std::string& ns, const std::string& deletion_time);
    // Whether what is held is this state of the object or a later one: a patch's answer overtakes the watch.
    bool is_old_news(const Key& key, const Json& object) const;

    // Everything that refers to a connection, or to a role.
    std::vector<Key> dependents(const Key& on) const;
    // Who is about the same path, of whichever Vault; the oldest first, on a tie the one with the lesser uid.
    std::vector<Key> claimants(const std::string& path) const;
    std::vector<Key> keys() const;
    // Those of a kind that have a name, in whichever namespace.
    std::vector<Key> named(const resources::Kind& kind, const std::string& name) const;
    std::vector<Key> keys(const resources::Kind* kind) const;
    std::size_t size() const { return entries_.size(); }

private:
    struct Kept {
        std::string trigger;
        std::string text;         // what unpack() reads back, unless `whole` is there
        EntryPtr whole;           // a connection, which every resource looks at, and what has faults
        std::vector<Key> refers;  // the connection, and of a VaultSecretID its role
        std::string claim;        // "" of what has faults
        std::string uid;
        std::uint64_t version = 0;  // 0: not known to be a number
    };

    static EntryPtr unpack(const Key& key, const Kept& kept);
    void forget(const Key& key, const Kept& kept);

    std::map<Key, Kept> entries_;
    std::map<Key, std::set<Key>> dependents_;
    std::map<std::string, std::set<Key>> claims_;  // by path in Vault
    std::map<std::string, std::string> leaving_;   // namespaces: deletion time
};

}  // namespace keyshepherd::controller
