#include <keyshepherd/core/time.hpp>
#include <keyshepherd/inject/agent_config.hpp>
#include <keyshepherd/inject/annotations.hpp>
#include <keyshepherd/json/value.hpp>
#include <keyshepherd/planner/rotation.hpp>
#include <keyshepherd/provider/provider.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace keyshepherd::planner {

namespace {

constexpr std::string_view rotation_prefix = "rotation.keyshepherd.dev/";
constexpr const char* agent_config_annotation = "keyshepherd.dev/agent-config";

const Json& at(const Json& object, std::initializer_list<const char*> names) {
    static const Json none;
    const Json* found = &object;
    for (const char* name : names) {
        if (!found->is_object()) return none;
        const auto next = found->find(name);
        if (next == found->end()) return none;
        found = &*next;
    }
    return *found;
}

std::string text(const Json& object, std::initializer_list<const char*> names) {
    const Json& found = at(object, names);
    return found.is_string() ? found.get<std::string>() : std::string();
}

std::int64_t number(const Json& object, std::initializer_list<const char*> names, std::int64_t otherwise) {
    const Json& found = at(object, names);
    return found.is_number_integer() ? found.get<std::int64_t>() : otherwise;
}

std::map<std::string, std::string> variables_of(const inject::Provider& provider) {
    std::map<std::string, std::string> variables;
    for (const inject::Variable& each : provider.variables) variables.emplace(each.name, each.key);
    return variables;
}

std::string key_field_of(const inject::Provider& provider) {
    return provider.variables.empty() ? std::string() : provider.variables.front().key;
}

std::string digest_of_path(std::string_view path) {
    return json::fingerprint(json::value(path));
}

// Whether the record was written for a key at another path. One of an earlier release does not say.
bool names_another_path(std::string_view record, std::string_view path) {
    const std::size_t digest = record.rfind(' ');
    return digest != std::string_view::npos && record.substr(digest + 1) != digest_of_path(path);
}

}  // namespace

bool Workload::means_the_same(const Workload& other) const {
    return uid == other.uid && created == other.created && providers == other.providers &&
           rolls == other.rolls && secrets == other.secrets && told == other.told && reads == other.reads;
}

std::optional<Workload> read_workload(const Json& object, const std::string& default_provider) {
    const Json& notes = at(object, {"spec", "template", "metadata", "annotations"});
    const std::string marker = text(notes, {"keyshepherd.dev/injected"});
    if (marker.empty() || !text(object, {"metadata", "deletionTimestamp"}).empty()) return std::nullopt;
    const Json injected = Json::parse(marker, nullptr, false);
    Workload workload{.kind = text(object, {"kind"}),
                      .ns = text(object, {"metadata", "namespace"}),
                      .name = text(object, {"metadata", "name"}),
                      .uid = text(object, {"metadata", "uid"}),
                      .resource_version = text(object, {"metadata", "resourceVersion"}),
                      .created = seconds_since_epoch(text(object, {"metadata", "creationTimestamp"})),
                      .providers = {},
                      .told = {}};
    // The template's annotations go over the workload's own, as in the webhook.
    std::map<std::string, std::string> wishes;
    for (const Json* annotations : {&at(object, {"metadata", "annotations"}), &notes}) {
        if (!annotations->is_object()) continue;
        for (const auto& [key, value] : annotations->items()) {
            if (!value.is_string()) continue;
            if (annotations == &notes && key.starts_with(rotation_prefix))
                workload.told[key.substr(rotation_prefix.size())] = value.get<std::string>();
            if (!key.starts_with(inject::annotation_prefix)) continue;
            std::string name = key.substr(inject::annotation_prefix.size());
            if (!inject::is_output_annotation(name))
                wishes.insert_or_assign(std::move(name), value.get<std::string>());
        }
    }
    std::vector<inject::AnnotationFault> faults;  // the webhook has told of them
    const inject::AnnotationOptions asked = inject::read_annotations(wishes, faults);
    if (!asked.asked) return std::nullopt;
    workload.providers.insert(asked.providers.begin(), asked.providers.end());
    if (workload.providers.empty()) workload.providers.insert(default_provider);
    const std::string wiring = text(injected, {"wiring"});
    workload.rolls = asked.on_rotate == inject::OnRotate::by_wiring
                         ? wiring != inject::text(inject::Wiring::file)
                         : asked.on_rotate == inject::OnRotate::rollout;
    if (wiring == inject::text(inject::Wiring::envfile) || wiring == inject::text(inject::Wiring::exec))
        workload.reads = inject::provider_paths(text(notes, {agent_config_annotation}));
    if (wiring == inject::text(inject::Wiring::secret))
        if (const Json& values = at(injected, {"values"}); values.is_object())
            for (const Json& secret : values)
                if (secret.is_string()) workload.secrets.insert(secret.get<std::string>());
    return workload;
}

std::string rotation_annotation(std::string_view provider) {
    return fmt::format("{}{}", rotation_prefix, provider);
}

std::vector<KeyPlace> key_places(const Resource& provider) {
    const inject::Declaration declared = provider::declare({.resource = provider, .faults = {}}, {});
    std::vector<KeyPlace> places;
    for (const inject::Override& each : declared.overrides)
        places.push_back({.namespaces = each.namespaces,
                          .path = each.provider.path,
                          .variables = variables_of(each.provider),
                          .key = key_field_of(each.provider),
                          .elsewhere = each.own_vault});
    places.push_back({.namespaces = {},
                      .path = declared.provider.path,
                      .variables = variables_of(declared.provider),
                      .key = key_field_of(declared.provider)});
    return places;
}

std::optional<std::size_t> place_of(const std::vector<KeyPlace>& places, std::string_view ns,
                                    const inject::Labels* labels) {
    for (std::size_t i = 0; i < places.size(); ++i) switch (inject::match(places[i].namespaces, ns, labels)) {
            case inject::Match::yes:
                return i;
            case inject::Match::unknown:
                return std::nullopt;
            case inject::Match::no:
                break;
        }
    return std::nullopt;
}

std::optional<std::string> metadata_path(std::string_view path) {
    constexpr std::string_view data = "/data/";
    const std::size_t found = path.find(data);
    if (found == std::string_view::npos || found == 0) return std::nullopt;
    return fmt::format("{}/metadata/{}", path.substr(0, found), path.substr(found + data.size()));
}

KeyView read_key(std::string_view path, const Json& metadata, std::int64_t now) {
    const Json& current = at(metadata, {"current_version"});
    const std::int64_t version = current.is_number_integer() ? current.get<std::int64_t>() : 0;
    const Json& state = at(metadata, {"versions", std::to_string(version).c_str()});
    if (version < 1 || !state.is_object())
        return {
            .version = {},
            .reason = "KeyNotFound",
            .message = fmt::format("{}: the secret has no version in Vault; write the key to Vault", path)};
    const std::int64_t deleted = seconds_since_epoch(text(state, {"deletion_time"}));
    if (at(state, {"destroyed"}) == Json(true) || (deleted != 0 && deleted <= now))
        return {.version = {},
                .reason = "KeyDeleted",
                .message = fmt::format("{}: the latest version, {}, is deleted", path, version)};
    return {.version = KeyVersion{version, seconds_since_epoch(text(state, {"created_time"}))}};
}

std::optional<KeyVersion> version_of(const Json& metadata) {
    const std::int64_t version = number(metadata, {"version"}, 0);
    if (version < 1) return std::nullopt;
    return KeyVersion{version, seconds_since_epoch(text(metadata, {"created_time"}))};
}

std::string version_text(const KeyVersion& key) {
    return key.digest.empty() ? fmt::format("version {}", key.version) : "the current value";
}

std::string seen_text(std::string_view path, const KeyVersion& key) {
    if (key.digest.empty()) return fmt::format("{}: {}", path, version_text(key));
    return fmt::format(
        "{}: KV version 1 has no versions, so a new value restarts only workloads with the wiring secret",
        path);
}

std::optional<KeyView> unreadable_mount(std::string_view path, const Json& mount) {
    const std::string type = text(mount, {"type"});
    const std::string version = text(mount, {"options", "version"});
    // A mount of type kv without the option is of version 1
    // (https://developer.hashicorp.com/vault/docs/secrets/kv/kv-v1).
    if (type == "kv" && (version.empty() || version == "1")) return std::nullopt;
    return KeyView{
        .version = {},
        .reason = "NotVersioned",
        .message =
            type == "kv"
                ? fmt::format("{}: the mount has KV version {}; use a path of the form <mount>/data/<name>",
                              path, version)
                : fmt::format("{}: only KV secrets can be published", path)};
}

std::string rotation_record(std::string_view path, const KeyVersion& key) {
    return fmt::format("{} {} {}", key.version, key.digest.empty() ? rfc3339(key.created) : key.digest,
                       digest_of_path(path));
}

Need need(const Workload& workload, const std::string& provider, std::string_view path, const KeyVersion& key,
          std::int64_t since) {
    const Need due = workload.rolls ? Need::roll : Need::skip;
    const auto told = workload.told.find(provider);
    const std::string_view record = told == workload.told.end() ? std::string_view() : told->second;
    if (record == rotation_record(path, key)) return Need::none;
    if (const auto reads = workload.reads.find(provider);
        reads != workload.reads.end() && reads->second != path)
        return due;
    if (key.digest.empty() && record == std::to_string(key.version)) return Need::none;
    if (names_another_path(record, path)) return due;
    if (workload.created > since) return Need::none;
    return due == Need::roll ? Need::roll_if_older : due;
}

namespace {

bool is_owned_by(const Json& object, const std::string& uid) {
    const Json& owners = at(object, {"metadata", "ownerReferences"});
    return owners.is_array() && std::ranges::any_of(owners, [&](const Json& owner) {
               return text(owner, {"uid"}) == uid && at(owner, {"controller"}) == Json(true);
           });
}

// The label that the Deployment controller adds to what it makes of a template.
Json without_hash(Json pod_template) {
    if (pod_template.is_object() && at(pod_template, {"metadata", "labels"}).is_object())
        pod_template["metadata"]["labels"].erase("pod-template-hash");
    return pod_template;
}

}  // namespace

std::optional<std::int64_t> template_since(const Json& workload, const std::vector<Json>& history) {
    const std::string uid = text(workload, {"metadata", "uid"});
    const bool is_deployment = text(workload, {"kind"}) == "Deployment";
    // The newest ControllerRevision is of the template that the controller saw last.
    if (!is_deployment && number(workload, {"status", "observedGeneration"}, 0) <
                              number(workload, {"metadata", "generation"}, 0))
        return std::nullopt;
    const Json wanted = is_deployment ? without_hash(at(workload, {"spec", "template"})) : Json();
    std::optional<std::int64_t> since;
    std::int64_t newest = -1;
    for (const Json& each : history) {
        if (uid.empty() || !is_owned_by(each, uid)) continue;
        const std::int64_t created = seconds_since_epoch(text(each, {"metadata", "creationTimestamp"}));
        if (is_deployment) {
            if (without_hash(at(each, {"spec", "template"})) == wanted)
                since = std::min(since.value_or(created), created);
        } else if (const std::int64_t revision = number(each, {"revision"}, 0); revision > newest) {
            newest = revision;
            since = created;
        }
    }
    return since;
}

std::string label_selector(const Json& workload) {
    std::string selector;
    const auto add = [&selector](const std::string& requirement) {
        selector += (selector.empty() ? "" : ",") + requirement;
    };
    if (const Json& labels = at(workload, {"spec", "selector", "matchLabels"}); labels.is_object())
        for (const auto& [name, value] : labels.items())
            if (value.is_string()) add(fmt::format("{}={}", name, value.get<std::string>()));
    const Json& expressions = at(workload, {"spec", "selector", "matchExpressions"});
    if (!expressions.is_array()) return selector;
    for (const Json& each : expressions) {
        const std::string name = text(each, {"key"});
        const std::string op = text(each, {"operator"});
        std::string values;
        if (const Json& list = at(each, {"values"}); list.is_array())
            for (const Json& value : list)
                if (value.is_string()) values += (values.empty() ? "" : ",") + value.get<std::string>();
        if (op == "Exists") add(name);
        if (op == "DoesNotExist") add("!" + name);
        if (op == "In") add(fmt::format("{} in ({})", name, values));
        if (op == "NotIn") add(fmt::format("{} notin ({})", name, values));
    }
    return selector;
}

RolloutState rollout_state(const Json& object, const std::string& annotation, const std::string& value) {
    RolloutState state;
    state.told =
        at(object, {"spec", "template", "metadata", "annotations", annotation.c_str()}) == Json(value);
    if (!state.told ||
        number(object, {"status", "observedGeneration"}, 0) < number(object, {"metadata", "generation"}, 0))
        return state;
    if (object.value("kind", "") == "DaemonSet") {
        const auto wanted = number(object, {"status", "desiredNumberScheduled"}, 0);
        state.out = number(object, {"status", "updatedNumberScheduled"}, 0) >= wanted &&
                    number(object, {"status", "numberAvailable"}, 0) >= wanted;
        return state;
    }
    const auto wanted = number(object, {"spec", "replicas"}, 1);
    // No pod of the old template is left, and as many as are wanted of the new one serve.
    state.out = number(object, {"status", "updatedReplicas"}, 0) >= wanted &&
                number(object, {"status", "replicas"}, 0) <= wanted &&
                number(object, {"status", "availableReplicas"}, 0) >= wanted;
    return state;
}

}  // namespace keyshepherd::planner
