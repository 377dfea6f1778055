#include <keyshepherd/core/time.hpp>
#include <keyshepherd/inject/provider.hpp>
#include <keyshepherd/planner/delivery.hpp>
#include <keyshepherd/planner/key_probe.hpp>
#include <keyshepherd/provider/provider.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace keyshepherd::planner {

namespace {

constexpr const char* provider_annotation = "keyshepherd.dev/provider-uid";
constexpr const char* version_annotation = "keyshepherd.dev/key-version";
constexpr const char* since_annotation = "keyshepherd.dev/key-since";
constexpr const char* source_annotation = "keyshepherd.dev/key-source";
constexpr const char* unread_annotation = "keyshepherd.dev/unread-since";
constexpr std::size_t most_namespaces = 5;  // in one message

std::int64_t number(const std::string& text) {
    std::int64_t value = 0;
    for (const char c : text) {
        if (c < '0' || c > '9' || value > 1'000'000'000'000) return 0;
        value = 10 * value + (c - '0');
    }
    return value;
}

std::string text(const Json& object, const char* name) {
    const auto at = object.is_object() ? object.find(name) : object.end();
    return object.is_object() && at != object.end() && at->is_string() ? at->get<std::string>()
                                                                       : std::string();
}

}  // namespace

bool delivers(const Resource& provider) {
    const auto delivery = provider.spec.is_object() ? provider.spec.find("delivery") : provider.spec.end();
    return provider.spec.is_object() && delivery != provider.spec.end() && delivery->is_object() &&
           delivery->contains("secret") && delivery->at("secret") == Json(true);
}

std::string delivered_secret(const Resource& provider) {
    return inject::published_secret(provider.kind->name, provider.name);
}

Deliveries deliveries(const Resource& provider, const std::vector<KeyPlace>& places,
                      const std::map<std::string, Workload>& workloads,
                      const std::function<const inject::Labels*(const std::string& ns)>& labels) {
    Deliveries all;
    if (!delivers(provider)) return all;
    if (provider.kind->namespaced) {
        all.places[provider.ns] = places.size() - 1;
        return all;
    }
    const std::string name = delivered_secret(provider);
    const inject::Selector selector =
        provider::declare({.resource = provider, .faults = {}}, {}).provider.secret_namespaces;
    for (const auto& [id, workload] : workloads) {
        if (!workload.secrets.contains(name) || all.places.contains(workload.ns)) continue;
        const auto selected = inject::match(selector, workload.ns, labels(workload.ns));
        if (selected == inject::Match::no) {
            all.not_selected.insert(workload.ns);
            continue;
        }
        const auto place = selected == inject::Match::unknown
                               ? std::nullopt
                               : place_of(places, workload.ns, labels(workload.ns));
        if (!place)
            all.unsure.insert(workload.ns);
        else if (!places[*place].elsewhere)
            all.places[workload.ns] = *place;
    }
    return all;
}

FoundSecret read_secret(const Json& secret, const Resource& provider) {
    const Json& metadata = secret.at("metadata");
    FoundSecret found;
    found.uid = text(metadata, "uid");
    found.resource_version = text(metadata, "resourceVersion");
    const Json labels = metadata.value("labels", Json::object());
    const Json notes = metadata.value("annotations", Json::object());
    bool owned = false;
    for (const Json& owner : metadata.value("ownerReferences", Json::array()))
        if (text(owner, "uid") == provider.uid)
            owned = true;
        else
            found.other_owners.push_back(owner);
    const bool labelled = text(labels, managed_label) == managed_label_value;
    const bool stamped = text(notes, provider_annotation) == provider.uid;
    found.ours = owned || (labelled && stamped);
    found.fixed = secret.value("immutable", false) || text(secret, "type") != "Opaque";
    found.key = {.version = number(text(notes, version_annotation)),
                 .created = seconds_since_epoch(text(notes, since_annotation))};
    found.source = text(notes, source_annotation);
    found.unread_since = seconds_since_epoch(text(notes, unread_annotation));
    found.described = owned && labelled && stamped && found.key.version > 0 && found.key.created > 0 &&
                      !notes.contains(unread_annotation);
    // By reference: a copy of the values would stay in memory.
    if (const auto data = secret.find("data"); data != secret.end())
        for (const auto& [variable, value] : data->items()) found.variables.insert(variable);
    return found;
}

std::string key_source(std::string_view connection, std::string_view path, const KeyVersion& key) {
    return fmt::format("{} {} {}", connection, path, key.digest.empty() ? rfc3339(key.created) : key.digest);
}

std::optional<std::int64_t> delivered_since(const std::optional<FoundSecret>& found, const KeyVersion& key,
                                            const std::string& source) {
    if (!found) return key.created;
    const bool same = found->key.version == key.version && found->source == source;
    return same && found->key.created > 0 ? std::optional(found->key.created) : std::nullopt;
}

DeliveryStep next_step(const std::optional<FoundSecret>& found, const KeyVersion& key,
                       const std::string& source, bool same_values) {
    if (!found) return DeliveryStep::create;
    if (!found->ours) return DeliveryStep::refuse;
    if (found->fixed) return DeliveryStep::replace;
    const bool same = same_values && found->key.version == key.version && found->source == source;
    return same && found->described ? DeliveryStep::rest : DeliveryStep::write;
}

Json secret_metadata(const Resource& provider, const KeyVersion& delivered, const std::string& source,
                     Json other_owners) {
    other_owners.push_back({{"apiVersion", fmt::format("{}/{}", resources::group, resources::version)},
                            {"kind", provider.kind->name},
                            {"name", provider.name},
                            {"uid", provider.uid}});
    Json annotations = {{provider_annotation, provider.uid},
                        {version_annotation, std::to_string(delivered.version)},
                        {source_annotation, source}};
    if (delivered.created > 0) annotations[since_annotation] = rfc3339(delivered.created);
    return {{"labels", {{managed_label, managed_label_value}}},
            {"annotations", std::move(annotations)},
            {"ownerReferences", std::move(other_owners)}};
}

void erase_absent_annotations(Json& metadata) {
    for (const char* name : {since_annotation, unread_annotation})
        metadata.at("annotations").emplace(name, nullptr);
}

Withdrawal withdrawal(const FoundSecret& found, std::int64_t now, std::int64_t grace) {
    using enum Withdrawal::Step;
    if (grace <= 0) return {.step = remove, .removed_at = now};
    if (found.unread_since == 0 || found.unread_since > now) return {.step = mark, .removed_at = now + grace};
    const std::int64_t end = found.unread_since + grace;
    return {.step = now >= end ? remove : wait, .removed_at = end};
}

Json unread_patch(const FoundSecret& found, std::int64_t now) {
    return {{"metadata",
             {{"uid", found.uid},
              {"resourceVersion", found.resource_version},
              {"annotations", {{unread_annotation, rfc3339(now)}}}}}};
}

Json date_patch(const std::string& uid, const std::string& resource_version, std::int64_t since) {
    return {{"metadata",
             {{"uid", uid},
              {"resourceVersion", resource_version},
              {"annotations", {{since_annotation, rfc3339(since)}}}}}};
}

std::optional<std::string> carried_value(const Json& data, const std::string& key) {
    const auto at = data.is_object() ? data.find(key) : data.end();
    if (!data.is_object() || at == data.end()) return std::nullopt;
    if (at->is_number() || at->is_boolean()) return at->dump();
    if (!at->is_string()) return std::nullopt;
    const auto& value = at->get_ref<const std::string&>();
    if (value.empty() || value.contains('\0')) return std::nullopt;
    return value;
}

std::string key_warning(const Json& data, const std::string& key) {
    const auto at = data.is_object() ? data.find(key) : data.end();
    if (!data.is_object() || at == data.end() || !at->is_string() ||
        !ends_with_newline(at->get_ref<const std::string&>()))
        return {};
    return line_break_text(key);
}

Condition delivery_condition(const Resource& provider, const std::map<std::string, Delivered>& namespaces,
                             std::size_t not_selected) {
    Condition condition{.type = "SecretPublished", .truth = Truth::yes, .reason = "Published"};
    const std::string left_out =
        not_selected == 0
            ? ""
            : fmt::format("; the namespaceSelector does not select {} namespace{} with workloads that use it",
                          not_selected, not_selected == 1 ? "" : "s");
    const std::string secret = fmt::format("Secret {}", delivered_secret(provider));
    const auto all = namespaces.size();
    const auto there = static_cast<std::size_t>(
        std::ranges::count_if(namespaces, [](const auto& each) { return each.second.reason.empty(); }));
    if (there == all) {
        condition.message = provider.kind->namespaced ? secret + " contains the current key"
                            : all == 0 ? secret + " is not published, because no workload uses it"
                                       : fmt::format("{} contains the current key in {} namespace{}", secret,
                                                     all, all == 1 ? "" : "s");
        std::set<std::string> warnings;
        for (const auto& [ns, delivered] : namespaces)
            if (!delivered.warning.empty() && warnings.insert(delivered.warning).second)
                condition.message += "; " + delivered.warning;
        condition.message += left_out;
        return condition;
    }
    condition.truth = Truth::no;
    condition.reason.clear();
    condition.message =
        provider.kind->namespaced
            ? secret
            : fmt::format("{} contains the current key in {} of {} namespaces", secret, there, all);
    std::size_t told = 0;
    for (const auto& [ns, delivered] : namespaces) {
        if (delivered.reason.empty()) continue;
        // What only a person can mend goes before what may pass.
        if (condition.reason.empty() || delivered.reason == "Conflict") condition.reason = delivered.reason;
        if (told++ == most_namespaces) condition.message += "; …";
        if (told > most_namespaces) continue;
        condition.message += provider.kind->namespaced ? fmt::format(": {}", delivered.message)
                                                       : fmt::format("; {}: {}", ns, delivered.message);
    }
    condition.message += left_out;
    return condition;
}

std::string delivery_reason(std::string_view reason) {
    if (reason == "KeyNotFound" || reason == "KeyDeleted") return "KeyMissing";
    if (reason == "PermissionDenied") return "Denied";
    return std::string(reason);
}

}  // namespace keyshepherd::planner
