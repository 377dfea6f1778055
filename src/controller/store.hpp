// The cache of custom resources: the latest state from the API server, by kind and name. To save memory with
// thousands of resources, each one is stored as text and parsed when it is used.
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

// The group of a key in the queue, which takes the groups in turn.
struct NamespaceOf {
    const std::string& operator()(const Key& key) const { return key.ns; }
};

struct Entry {
    resources::Resource resource;
    std::vector<resources::Fault> faults;
    Json metadata;  // the fields of the object that a patch or an event needs
    Json status;
    // The status had facts without a valid seal. `status` and `resource` do not contain them. Set only by
    // Runtime::find().
    bool untrusted = false;
    std::string trigger;  // changes with everything that asks for a reconcile; set by make_entry()
};

// Immutable, so a reconcile can keep the state that it began with.
using EntryPtr = std::shared_ptr<const Entry>;

EntryPtr make_entry(const Json& object);
Key key_of(const Entry& entry);
// The VaultConnection of a resource. For a VaultSecretID with an issued secret-id, the one that issued it.
Key connection_of(const resources::Resource& resource);
// The VaultAppRole of a VaultSecretID.
Key role_of(const resources::Resource& resource);

class Store {
public:
    EntryPtr find(const Key& key) const;
    bool contains(const Key& key) const { return entries_.contains(key); }
    // True if `entry` needs a reconcile, compared with the previous state.
    bool put(EntryPtr entry);
    void erase(const Key& key);
    // Records that a namespace is being deleted since `deletion_time` (RFC 3339), or not if it is "". The
    // resources of such a namespace count as deleted. Returns the resources whose state changed.
    std::vector<Key> namespace_leaves(const std::string& ns, const std::string& deletion_time);
    // Whether the stored state is this or a later one. The answer of a patch can arrive before the watch
    // event.
    bool is_old_news(const Key& key, const Json& object) const;

    // All resources that refer to a connection or role.
    std::vector<Key> dependents(const Key& on) const;
    // All resources that claim this path, in any Vault: the oldest first, and by uid if they are equally old.
    std::vector<Key> claimants(const std::string& path) const;
    std::vector<Key> keys() const;
    // All resources of a kind with this name, in any namespace.
    std::vector<Key> named(const resources::Kind& kind, const std::string& name) const;
    std::vector<Key> keys(const resources::Kind* kind) const;
    std::size_t size() const { return entries_.size(); }

private:
    struct Kept {
        std::string trigger;
        std::string text;         // for unpack(), unless `whole` is set
        EntryPtr whole;           // of connections, which every reconcile uses, and of invalid resources
        std::vector<Key> refers;  // the connection, and the role of a VaultSecretID
        std::string claim;        // "" if the resource is invalid
        std::string uid;
        // resourceVersion as an integer, or 0 if it is not one. Kubernetes 1.35 and later guarantee an
        // integer.
        std::uint64_t version = 0;
    };

    static EntryPtr unpack(const Key& key, const Kept& kept);
    void forget(const Key& key, const Kept& kept);

    std::map<Key, Kept> entries_;
    std::map<Key, std::set<Key>> dependents_;
    std::map<std::string, std::set<Key>> claims_;  // by path in Vault
    std::map<std::string, std::string> leaving_;   // namespaces: deletion time
};

}  // namespace keyshepherd::controller
