#include "store.hpp"

#include <keyshepherd/planner/plan.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <tuple>
#include <type_traits>

namespace keyshepherd::controller {

namespace {

Json pick(const Json& object, std::initializer_list<const char*> names) {
    Json picked = Json::object();
    for (const char* name : names)
        if (const auto at = object.find(name); at != object.end()) picked[name] = *at;
    return picked;
}

// Of the object; 0 when it is no number, as it always is since Kubernetes 1.35.
std::uint64_t version_of(const Json& object) {
    const std::string text = kube::metadata(object).resource_version;
    std::uint64_t version = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), version);
    return ec == std::errc() && end == text.data() + text.size() ? version : 0;
}

}  // namespace

EntryPtr make_entry(const Json& object) {
    auto entry = std::make_shared<Entry>();
    resources::Reading reading = resources::read(object, "");
    entry->resource = std::move(reading.resource);
    entry->faults = std::move(reading.faults);
    static const Json none = Json::object();
    const auto found = object.find("metadata");
    const Json& metadata = found != object.end() && found->is_object() ? *found : none;
    entry->metadata = {{"apiVersion", object.value("apiVersion", "")},
                       {"kind", object.value("kind", "")},
                       {"metadata", pick(metadata, {"name", "namespace", "uid", "resourceVersion",
                                                    "finalizers", "deletionTimestamp"})}};
    entry->status = object.value("status", Json::object());
    const auto notes = metadata.find("annotations");
    const Json& annotations = notes != metadata.end() && notes->is_object() ? *notes : none;
    entry->trigger =
        fmt::format("{} {} {} {} {} {} {} {}", entry->resource.uid, entry->resource.generation,
                    entry->resource.deletion_time, entry->resource.paused, entry->resource.cut_off,
                    entry->resource.rotate_now, entry->resource.acknowledged_cluster,
                    annotations.value(std::string(resources::reconcile_annotation), ""));
    return entry;
}

Key key_of(const Entry& entry) {
    return {entry.resource.kind, entry.resource.ns, entry.resource.name};
}

Key connection_of(const resources::Resource& resource) {
    if (!resource.connection.empty()) {
        auto [ns, name] = kube::split_key(resource.connection);
        return {&resources::kind_of(resources::KindId::vault_connection), std::move(ns), std::move(name)};
    }
    const auto ref = resource.spec.is_object() ? resource.spec.find("connectionRef") : resource.spec.end();
    if (ref == resource.spec.end() || !ref->is_object()) return {};
    return {&resources::kind_of(resources::KindId::vault_connection), ref->value("namespace", resource.ns),
            ref->value("name", "")};
}

Key role_of(const resources::Resource& resource) {
    const auto ref = resource.spec.is_object() ? resource.spec.find("appRoleRef") : resource.spec.end();
    if (ref == resource.spec.end() || !ref->is_object()) return {};
    return {&resources::kind_of(resources::KindId::vault_approle), resource.ns, ref->value("name", "")};
}

EntryPtr Store::find(const Key& key) const {
    const auto at = entries_.find(key);
    if (at == entries_.end()) return nullptr;
    return at->second.whole != nullptr ? at->second.whole : unpack(key, at->second);
}

namespace {

// Everything of an entry that its packed text holds, in this order. Key and UID are kept beside the text.
auto packed_fields(auto& entry) {
    auto& resource = entry.resource;
    return std::tie(resource.spec, entry.status, entry.metadata, resource.created_at, resource.generation,
                    resource.paused, resource.finalized, resource.claim, resource.role_id,
                    resource.deletion_time, resource.annotated, resource.mark, resource.connection,
                    resource.rotate_now, resource.cut_off, resource.acknowledged_cluster);
}

template <class Field>
void take_part(Json& part, Field& field) {
    if constexpr (std::is_same_v<Field, Json>)
        field = std::move(part);
    else
        field = part.get<Field>();
}

}  // namespace

EntryPtr Store::unpack(const Key& key, const Kept& kept) {
    Json parts = Json::parse(kept.text);
    auto entry = std::make_shared<Entry>();
    resources::Resource& resource = entry->resource;
    resource.kind = key.kind;
    resource.ns = key.ns;
    resource.name = key.name;
    resource.uid = kept.uid;
    std::apply([part = parts.begin()](auto&... field) mutable { (take_part(*part++, field), ...); },
               packed_fields(*entry));
    return entry;
}

void Store::forget(const Key& key, const Kept& kept) {
    for (const Key& on : kept.refers) {
        const auto at = dependents_.find(on);
        if (at == dependents_.end()) continue;
        at->second.erase(key);
        if (at->second.empty()) dependents_.erase(at);
    }
    if (const auto at = claims_.find(kept.claim); at != claims_.end()) {
        at->second.erase(key);
        if (at->second.empty()) claims_.erase(at);
    }
}

bool Store::put(EntryPtr entry) {
    if (const auto leaving = leaving_.find(entry->resource.ns);
        leaving != leaving_.end() && entry->resource.deletion_time.empty() &&
        entry->resource.created_at <= leaving->second) {  // a later one is in another namespace of that name
        auto leaves = std::make_shared<Entry>(*entry);
        leaves->resource.deletion_time = leaving->second;
        leaves->trigger += " with its namespace";
        entry = std::move(leaves);
    }
    const resources::Resource& resource = entry->resource;
    const Key key = key_of(*entry);
    Kept& held = entries_[key];
    const bool asks = held.trigger != entry->trigger;
    Kept kept;
    kept.trigger = entry->trigger;
    for (Key on : {connection_of(resource), role_of(resource)})
        if (on.kind != nullptr) kept.refers.push_back(std::move(on));
    if (entry->faults.empty()) kept.claim = planner::claim(resource);
    kept.uid = resource.uid;
    kept.version = version_of(entry->metadata);
    if (held.refers != kept.refers || held.claim != kept.claim) {
        forget(key, held);
        for (const Key& on : kept.refers) dependents_[on].insert(key);
        if (!kept.claim.empty()) claims_[kept.claim].insert(key);
    }
    if (entry->faults.empty() && !kept.refers.empty()) {
        Json parts = Json::array();
        std::apply([&parts](const auto&... field) { (parts.push_back(field), ...); }, packed_fields(*entry));
        kept.text = parts.dump();
        kept.text.shrink_to_fit();
    } else {
        kept.whole = std::move(entry);
    }
    held = std::move(kept);
    return asks;
}

std::vector<Key> Store::namespace_leaves(const std::string& ns, const std::string& deletion_time) {
    if (deletion_time.empty()) {
        leaving_.erase(ns);
        return {};
    }
    if (!leaving_.insert_or_assign(ns, deletion_time).second) return {};
    std::vector<Key> leaving;
    for (const Key& key : keys()) {
        if (key.ns != ns) continue;
        auto entry = std::make_shared<Entry>(*find(key));
        entry->trigger = entries_.at(key).trigger;
        if (put(std::move(entry))) leaving.push_back(key);
    }
    return leaving;
}

bool Store::is_old_news(const Key& key, const Json& object) const {
    const auto at = entries_.find(key);
    if (at == entries_.end() || at->second.version == 0) return false;
    const std::uint64_t version = version_of(object);
    return version != 0 && version <= at->second.version && kube::metadata(object).uid == at->second.uid;
}

void Store::erase(const Key& key) {
    const auto at = entries_.find(key);
    if (at == entries_.end()) return;
    forget(key, at->second);
    entries_.erase(at);
}

std::vector<Key> Store::dependents(const Key& connection) const {
    const auto at = dependents_.find(connection);
    return at == dependents_.end() ? std::vector<Key>()
                                   : std::vector<Key>(at->second.begin(), at->second.end());
}

std::vector<Key> Store::claimants(const std::string& path) const {
    const auto at = claims_.find(path);
    if (at == claims_.end()) return {};
    std::vector<Key> found(at->second.begin(), at->second.end());
    if (found.size() > 1)
        std::ranges::sort(found, {}, [this](const Key& key) {
            const EntryPtr entry = find(key);
            return std::pair(entry->resource.created_at, entry->resource.uid);
        });
    return found;
}

std::vector<Key> Store::named(const resources::Kind& kind, const std::string& name) const {
    std::vector<Key> found;
    for (const auto& [key, unused] : entries_)
        if (key.kind == &kind && key.name == name) found.push_back(key);
    return found;
}

std::vector<Key> Store::keys(const resources::Kind* kind) const {
    std::vector<Key> all;
    for (auto at = entries_.lower_bound({kind, "", ""}); at != entries_.end() && at->first.kind == kind; ++at)
        all.push_back(at->first);
    return all;
}

std::vector<Key> Store::keys() const {
    std::vector<Key> all;
    all.reserve(entries_.size());
    for (const auto& [key, entry] : entries_) all.push_back(key);
    return all;
}

}  // namespace keyshepherd::controller
