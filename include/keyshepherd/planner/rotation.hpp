// Which workloads a new version of a provider's key has to reach. Pure.
#pragma once

#include <keyshepherd/inject/selector.hpp>
#include <keyshepherd/resources/resource.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::planner {

using resources::Json;
using resources::Resource;

// An injected Deployment, StatefulSet or DaemonSet, as much of it as counts here.
struct Workload {
    std::string kind;
    std::string ns;
    std::string name;
    std::string uid;
    std::string resource_version;
    std::int64_t created = 0;            // seconds since 1970
    std::set<std::string> providers;     // names
    bool rolls = true;                   // a new key reaches it by a rollout, and by nothing else
    std::set<std::string> secrets = {};  // that its variables are read from, by wiring secret
    std::map<std::string, std::string>
        told;  // by provider, the record of its last rollout: rotation_record()
    // By provider, the path that the agent reads the variables from. Absent where the template does not say:
    // for the wirings file and secret.
    std::map<std::string, std::string> reads = {};

    // Whether it differs in what counts here.
    bool means_the_same(const Workload& other) const;
};

// Nothing where the object is not injected, or is being deleted. `default_provider` is what the annotation
// inject means by "true".
std::optional<Workload> read_workload(const Json& object, const std::string& default_provider);

// Of the pod template: what restarts it for this provider. Not below keyshepherd.dev/, where the webhook
// takes it for a wish.
std::string rotation_annotation(std::string_view provider);

struct RolloutState {
    bool told = false;  // the template has the value
    bool out = false;   // and every pod is of it
};

// Of a Deployment, StatefulSet or DaemonSet.
RolloutState rollout_state(const Json& workload, const std::string& annotation, const std::string& value);

// A place in Vault that a provider's key is read from, by the namespaces that read it there.
struct KeyPlace {
    inject::Selector namespaces;                        // empty: all that no place before it takes
    std::string path;                                   // API path, as the agents read it
    std::map<std::string, std::string> variables = {};  // by name, the field of the secret
    std::string key = {};                               // the field that holds the API key
    bool elsewhere = false;  // in another Vault than the provider's own, where the operator does not look
};
// In the order in which they are tried; the last one is the provider's own.
std::vector<KeyPlace> key_places(const Resource& provider);
// Nothing where the answer depends on labels that are not known (`labels` null).
std::optional<std::size_t> place_of(const std::vector<KeyPlace>& places, std::string_view ns,
                                    const inject::Labels* labels);

// Where the versions of a secret of KV version 2 are told: ai-apis/metadata/holysheep for
// ai-apis/data/holysheep. Nothing for a path that cannot be one of version 2.
std::optional<std::string> metadata_path(std::string_view path);

struct KeyVersion {
    std::int64_t version = 0;
    std::int64_t created = 0;  // seconds since 1970
    // KV version 1 has no versions. An HMAC of the secret's values stands for one: then `version` is 1 and
    // `created` 0. Empty for KV version 2.
    std::string digest = {};
    bool operator==(const KeyVersion&) const = default;
};
// "version 3", or "the current value" for KV version 1.
std::string version_text(const KeyVersion& key);
// What the metadata of a KV version 2 read says:
// https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2 `metadata` is `data.metadata` of the answer.
// Nothing if it names no version.
std::optional<KeyVersion> version_of(const Json& metadata);
// What the condition Ready says about a key.
std::string seen_text(std::string_view path, const KeyVersion& key);
// What Vault says of a key. Without a version, `reason` and `message` are of the condition Ready.
struct KeyView {
    std::optional<KeyVersion> version;
    std::string reason = {};
    std::string message = {};
};
// `metadata`: the data of Vault's answer, null where there is none. `now` in seconds since 1970: a deletion
// may be set for later.
KeyView read_key(std::string_view path, const Json& metadata, std::int64_t now);

// Why a path without a /data/ segment is not read, or nothing if it is on a mount of KV version 1. `mount` is
// the data of sys/internal/ui/mounts/<path>. A read of another engine may create a lease, as
// database/creds/<role> does.
std::optional<KeyView> unreadable_mount(std::string_view path, const Json& mount);

// The value of rotation_annotation(): "<version> <time> <digest>". The time is when Vault created the
// version; a key of KV version 1 has the HMAC of its values in that place. The digest stands for the path, so
// that version 3 of one path is not taken for version 3 of another, nor for version 3 of a path whose
// versions were deleted and begun again. Earlier releases wrote the version alone.
std::string rotation_record(std::string_view path, const KeyVersion& key);

enum class Need {
    none,           // it has the version, or began with it
    roll,           // its template reads another key
    roll_if_older,  // only if template_since() is not after `since`
    skip,           // it has an older one, and is not to be rolled
};
// Whether a workload has to be rolled to get `key`, which is at `path`. `since` is the time from which on a
// pod that starts gets it, in seconds since 1970. A workload that was created in that very second may have
// begun with the key before.
Need need(const Workload& workload, const std::string& provider, std::string_view path, const KeyVersion& key,
          std::int64_t since);

// The time before which no pod of the workload's present template started, in seconds since 1970: its
// controller created the ReplicaSet or the ControllerRevision for it then. A workload that exists for long
// may have a new template, for example because it was injected today. `workload` is the Deployment,
// StatefulSet or DaemonSet, `history` the ReplicaSets or ControllerRevisions of its namespace. Nothing: the
// controller has not seen the template yet.
std::optional<std::int64_t> template_since(const Json& workload, const std::vector<Json>& history);
// spec.selector of a workload, as the query parameter labelSelector spells it
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#api).
std::string label_selector(const Json& workload);

}  // namespace keyshepherd::planner
