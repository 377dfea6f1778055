// Watches the Secrets that the operator created, so that it can repair an edited or deleted one at once.
// Stores only the name and version of a Secret.
#pragma once

#include "store.hpp"

#include <keyshepherd/kube/object.hpp>
#include <keyshepherd/planner/delivery.hpp>

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace keyshepherd::controller {

class SecretWatch {
public:
    static constexpr const char* label = planner::managed_label;
    static constexpr const char* label_value = planner::managed_label_value;
    static constexpr const char* selector = "app.kubernetes.io/managed-by=keyshepherd-operator";

    explicit SecretWatch(std::function<void(const Key&)> wake) : wake_(std::move(wake)) {}

    // Wakes `owner` if the Secret is not in this version. If `version` is "", any version is accepted.
    void expect(const std::string& ns, const std::string& name, const Key& owner, std::string version);
    // `owner` is about to write the Secret. It is not woken until it calls expect() with the new version.
    void writing(const std::string& ns, const std::string& name, const Key& owner);
    // Registers `owner` for a Secret that it has not read yet.
    void claim(const std::string& ns, const std::string& name, const Key& owner);
    // All owners that registered for the Secret. At most one of them may write it.
    std::vector<Key> claimants(const std::string& ns, const std::string& name) const;
    // Whether the Secret may exist.
    bool exists(const std::string& ns, const std::string& name) const;
    // The version from the watch; "" if it is not known.
    std::string version(const std::string& ns, const std::string& name) const;
    // The namespaces with a known Secret of this name.
    std::set<std::string> namespaces_with(const std::string& name) const;
    void made(const std::string& ns, const std::string& name) { known_.try_emplace(kube::key(ns, name)); }
    void unmade(const std::string& ns, const std::string& name) { known_.erase(kube::key(ns, name)); }
    // `owner` no longer needs the Secret.
    void release(const std::string& ns, const std::string& name, const Key& owner);
    void forget(const Key& owner);
    // The number of remembered Secrets and owners; 0 if no owner is registered.
    std::size_t remembered() const { return expected_.size() + of_.size(); }

    // Events from the watch of one or all namespaces (kube::Sink).
    void replaced(std::vector<kube::Json> objects, const std::vector<std::string>& gone);
    void applied(kube::Json object);
    void removed(const std::string& key, kube::Json last_state);

private:
    void changed(const std::string& key, const std::string& version);

    std::function<void(const Key&)> wake_;
    struct Expected {
        std::string version;
        bool writing = false;
        std::optional<std::string> told = {};  // the last version from the watch while the owner writes
    };
    std::map<std::string, std::map<Key, Expected>> expected_;  // by "namespace/name" and owner
    std::map<Key, std::set<std::string>> of_;
    std::map<std::string, std::string> known_;  // by "namespace/name": version
};

}  // namespace keyshepherd::controller
