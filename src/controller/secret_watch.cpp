#include "secret_watch.hpp"

#include <keyshepherd/kube/client.hpp>

namespace keyshepherd::controller {

void SecretWatch::expect(const std::string& ns, const std::string& name, const Key& owner,
                         std::string version) {
    const std::string key = kube::key(ns, name);
    Expected& expected = expected_[key][owner];
    // The watch may be quicker than the answer to our own request.
    const bool another = expected.told && (version.empty() || *expected.told != version);
    expected = {.version = std::move(version)};
    of_[owner].insert(key);
    if (another) wake_(owner);
}

void SecretWatch::writing(const std::string& ns, const std::string& name, const Key& owner) {
    const std::string key = kube::key(ns, name);
    expected_[key][owner].writing = true;
    of_[owner].insert(key);
}

void SecretWatch::claim(const std::string& ns, const std::string& name, const Key& owner) {
    const std::string key = kube::key(ns, name);
    expected_[key].try_emplace(owner);
    of_[owner].insert(key);
}

std::vector<Key> SecretWatch::claimants(const std::string& ns, const std::string& name) const {
    std::vector<Key> all;
    if (const auto at = expected_.find(kube::key(ns, name)); at != expected_.end())
        for (const auto& [owner, version] : at->second) all.push_back(owner);
    return all;
}

bool SecretWatch::exists(const std::string& ns, const std::string& name) const {
    return known_.contains(kube::key(ns, name));
}

std::string SecretWatch::version(const std::string& ns, const std::string& name) const {
    const auto at = known_.find(kube::key(ns, name));
    return at == known_.end() ? std::string() : at->second;
}

std::set<std::string> SecretWatch::namespaces_with(const std::string& name) const {
    std::set<std::string> all;
    for (const auto& [key, version] : known_)
        if (auto [ns, own] = kube::split_key(key); own == name) all.insert(std::move(ns));
    return all;
}

void SecretWatch::release(const std::string& ns, const std::string& name, const Key& owner) {
    const std::string key = kube::key(ns, name);
    if (const auto at = of_.find(owner); at != of_.end()) {
        at->second.erase(key);
        if (at->second.empty()) of_.erase(at);
    }
    if (const auto at = expected_.find(key); at != expected_.end()) {
        at->second.erase(owner);
        if (at->second.empty()) expected_.erase(at);
    }
}

void SecretWatch::forget(const Key& owner) {
    const auto at = of_.find(owner);
    if (at == of_.end()) return;
    for (const std::string& key : at->second) {
        const auto expected = expected_.find(key);
        if (expected == expected_.end()) continue;
        expected->second.erase(owner);
        // Who waited for it may have it now.
        for (const auto& [other, version] : expected->second) wake_(other);
        if (expected->second.empty()) expected_.erase(expected);
    }
    of_.erase(at);
}

void SecretWatch::changed(const std::string& key, const std::string& version) {
    const auto at = expected_.find(key);
    if (at == expected_.end()) return;
    for (auto& [owner, expected] : at->second) {
        if (expected.writing)
            expected.told = version;
        else if (version.empty() || expected.version != version)
            wake_(owner);
    }
}

void SecretWatch::replaced(std::vector<kube::Json> objects, const std::vector<std::string>& gone) {
    for (kube::Json& object : objects) applied(std::move(object));
    for (const std::string& key : gone) removed(key, nullptr);
}

void SecretWatch::applied(kube::Json object) {
    const kube::Metadata metadata = kube::metadata(object);
    kube::wipe(object);
    const std::string key = kube::key(metadata.ns, metadata.name);
    known_[key] = metadata.resource_version;
    changed(key, metadata.resource_version);
}

void SecretWatch::removed(const std::string& key, kube::Json last_state) {
    kube::wipe(last_state);
    known_.erase(key);
    changed(key, "");
}

}  // namespace keyshepherd::controller
