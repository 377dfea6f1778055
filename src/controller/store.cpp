#include "store.hpp"

#include <keyshepherd/planner/plan.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace keyshepherd::controller {

namespace {

Json pick(const Json& object, std::initializer_list<const char*> names) {
    Json picked = Json::object();
    for (const char* name : names)
        if (const auto at = object.find(name); at != object.end()) picked[name] = *at;
    return picked;
}

}  // namespace

EntryPtr make_entry(const Json& object) {
    auto entry = std::make_shared<Entry>();
    resources::Reading reading = resources::read(object, "");
    entry->resource = std::move(reading.resource);
    entry->faults = std::move(reading.faults);
    const Json metadata = object.value("metadata", Json::object());
    entry->metadata = {{"apiVersion", object.value("apiVersion", "")},
                       {"kind", object.value("kind", "")},
                       {"metadata", pick(metadata, {"name", "namespace", "uid", "resourceVersion",
                                                    "finalizers", "deletionTimestamp"})}};
    entry->status = object.value("status", Json::object());
    const Json annotations = metadata.value("annotations", Json::object());
    entry->trigger = fmt::format("{} {} {} {} {}", entry->resource.uid, entry->resource.generation,
                                 entry->resource.deletion_time, entry->resource.paused,
                                 annotations.value(std::string(resources::reconcile_annotation), ""));
    return entry;
}

Key key_of(const Entry& entry) {
    return {entry.resource.kind, entry.resource.ns, entry.resource.name};
}

Key connection_of(const resources::Resource& resource) {
    const auto ref = resource.spec.is_object() ? resource.spec.find("connectionRef") : resource.spec.end();
    if (ref == resource.spec.end() || !ref->is_object()) return {};
    return {resources::find_kind("VaultConnection"), ref->value("namespace", resource.ns),
            ref->value("name", "")};
}

EntryPtr Store::find(const Key& key) const {
    const auto at = entries_.find(key);
    return at == entries_.end() ? nullptr : at->second;
}

void Store::forget(const Entry& entry) {
    if (const auto at = dependents_.find(connection_of(entry.resource)); at != dependents_.end()) {
        at->second.erase(key_of(entry));
        if (at->second.empty()) dependents_.erase(at);
    }
    if (!entry.faults.empty()) return;
    if (const auto at = claims_.find(planner::claim(entry.resource)); at != claims_.end()) {
        at->second.erase(key_of(entry));
        if (at->second.empty()) claims_.erase(at);
    }
}

bool Store::put(EntryPtr entry) {
    const Key key = key_of(*entry);
    EntryPtr& held = entries_[key];
    const bool asks = held == nullptr || held->trigger != entry->trigger;
    if (held != nullptr) forget(*held);
    if (const Key connection = connection_of(entry->resource); connection.kind != nullptr)
        dependents_[connection].insert(key);
    if (entry->faults.empty() && !planner::claim(entry->resource).empty())
        claims_[planner::claim(entry->resource)].insert(key);
    held = std::move(entry);
    return asks;
}

void Store::erase(const Key& key) {
    const auto at = entries_.find(key);
    if (at == entries_.end()) return;
    forget(*at->second);
    entries_.erase(at);
}

std::vector<Key> Store::dependents(const Key& connection) const {
    const auto at = dependents_.find(connection);
    return at == dependents_.end() ? std::vector<Key>()
                                   : std::vector<Key>(at->second.begin(), at->second.end());
}

std::vector<EntryPtr> Store::claimants(const std::string& path) const {
    std::vector<EntryPtr> found;
    if (const auto at = claims_.find(path); at != claims_.end())
        for (const Key& key : at->second) found.push_back(entries_.at(key));
    std::ranges::sort(found, {}, [](const EntryPtr& entry) {
        return std::pair(entry->resource.created_at, entry->resource.uid);
    });
    return found;
}

std::vector<Key> Store::keys() const {
    std::vector<Key> all;
    all.reserve(entries_.size());
    for (const auto& [key, entry] : entries_) all.push_back(key);
    return all;
}

}  // namespace keyshepherd::controller
