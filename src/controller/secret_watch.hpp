// Watches the Secrets that the operator has made, so that an edited or a deleted one is mended at once. Of a
// Secret only its name and version are kept.
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

    // `owner` is woken when the Secret is another one than in this version. `version` "": whatever it is.
    void expect(const std::string& ns, const std::string& name, const Key& owner, std::string version);
    // `owner` is about to write it and calls expect() with what came of it: until then it is not woken.
    void writing(const std::string& ns, const std::string& name, const Key& owner);
    // Likewise, of one that was not looked at yet.
    void claim(const std::string& ns, const std::string& name, const Key& owner);
    // Whoever is about the Secret; of two, at most one may have it.
    std::vector<Key> claimants(const std::string& ns, const std::string& name) const;
    // Whether there may be such a Secret.
    bool exists(const std::string& ns, const std::string& name) const;
    // The version of one that the watch has told of; "": none is known.
    std::string version(const std::string& ns, const std::string& name) const;
    // Where one of that name is known.
    std::set<std::string> namespaces_with(const std::string& name) const;
    void made(const std::string& ns, const std::string& name) { known_.try_emplace(kube::key(ns, name)); }
    void unmade(const std::string& ns, const std::string& name) { known_.erase(kube::key(ns, name)); }
    // It is nothing to `owner` any more.
    void release(const std::string& ns, const std::string& name, const Key& owner);
    void forget(const Key& owner);
    // How many Secrets and owners are remembered: none when nobody expects anything.
    std::size_t remembered() const { return expected_.size() + of_.size(); }

    // What a watch of one namespace, or of all, tells (kube::Sink).
    void replaced(std::vector<kube::Json> objects, const std::vector<std::string>& gone);
    void applied(kube::Json object);
    void removed(const std::string& key, kube::Json last_state);

private:
    void changed(const std::string& key, const std::string& version);

    std::function<void(const Key&)> wake_;
    struct Expected {
        std::string version;
        bool writing = false;
        std::optional<std::string> told = {};  // the last version that the watch told of meanwhile
    };
    std::map<std::string, std::map<Key, Expected>> expected_;  // by "namespace/name" and owner
    std::map<Key, std::set<std::string>> of_;
    std::map<std::string, std::string> known_;  // by "namespace/name": version
};

}  // namespace keyshepherd::controller
