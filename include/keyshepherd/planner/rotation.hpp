// Decides which workloads need a new version of a provider's key. Pure.
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

// The parts of an injected Deployment, StatefulSet or DaemonSet that matter for a rotation.
struct Workload {
    std::string kind;
    std::string ns;
    std::string name;
    std::string uid;
    std::string resource_version;
    std::int64_t created = 0;                 // seconds since 1970
    std::set<std::string> providers;          // names
    bool rolls = true;                        // it gets a new key only by a restart
    std::set<std::string> secrets = {};       // Secrets that its variables are read from (wiring secret)
    std::map<std::string, std::string> told;  // by provider: rotation_record() of its last restart
    // By provider: the path from which the agent reads the variables. Absent for the wirings file and secret,
    // whose templates do not contain it.
    std::map<std::string, std::string> reads = {};

    // Whether the two do not differ in these parts.
    bool means_the_same(const Workload& other) const;
};

// nullopt if the object is not injected or is being deleted. `default_provider` is the provider that the
// value "true" of the annotation inject means.
std::optional<Workload> read_workload(const Json& object, const std::string& default_provider);

// The annotation of the pod template that restarts the workload for this provider. Its prefix is not
// keyshepherd.dev/, because the webhook would read it as an annotation of the user.
std::string rotation_annotation(std::string_view provider);

struct RolloutState {
    bool told = false;  // the template has the value
    bool out = false;   // all pods have this template
};

// Of a Deployment, StatefulSet or DaemonSet.
RolloutState rollout_state(const Json& workload, const std::string& annotation, const std::string& value);

// A path in Vault from which certain namespaces read a provider's key.
struct KeyPlace {
    inject::Selector namespaces;                        // empty: all namespaces that no earlier place selects
    std::string path;                                   // API path, as the agents read it
    std::map<std::string, std::string> variables = {};  // by variable: the field of the secret
    std::string key = {};                               // the field with the API key
    bool elsewhere = false;  // in another Vault than the provider's, which the operator does not read
};
// In the order of precedence; the last one is the provider's own path.
std::vector<KeyPlace> key_places(const Resource& provider);
// nullopt if the result depends on unknown labels (`labels` is null).
std::optional<std::size_t> place_of(const std::vector<KeyPlace>& places, std::string_view ns,
                                    const inject::Labels* labels);

// The metadata path of a KV version 2 secret: ai-apis/metadata/holysheep for ai-apis/data/holysheep. nullopt
// for a path that is not a KV version 2 path.
std::optional<std::string> metadata_path(std::string_view path);

struct KeyVersion {
    std::int64_t version = 0;
    std::int64_t created = 0;  // seconds since 1970
    // KV version 1 has no versions, so an HMAC of the secret's values replaces the version. Then `version` is
    // 1 and `created` is 0. Empty for KV version 2.
    std::string digest = {};
    bool operator==(const KeyVersion&) const = default;
};
// "version 3", or "the current value" for KV version 1.
std::string version_text(const KeyVersion& key);
// The version in `data.metadata` of the answer to a KV version 2 read
// (https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2). nullopt if it contains no version.
std::optional<KeyVersion> version_of(const Json& metadata);
// The message of the condition Ready for a key.
std::string seen_text(std::string_view path, const KeyVersion& key);
// The state of a key in Vault. Without a version, `reason` and `message` are for the condition Ready.
struct KeyView {
    std::optional<KeyVersion> version;
    std::string reason = {};
    std::string message = {};
};
// `metadata`: the data of Vault's answer, or null. `now`: seconds since 1970; a deletion can be scheduled for
// later.
KeyView read_key(std::string_view path, const Json& metadata, std::int64_t now);

// Why a path without a /data/ segment is not read; nullopt if it is on a mount of KV version 1. `mount` is
// the data of sys/internal/ui/mounts/<path>. Reading from another engine may create a lease, as
// database/creds/<role> does.
std::optional<KeyView> unreadable_mount(std::string_view path, const Json& mount);

// The value of rotation_annotation(): "<version> <time> <digest>". The time is when Vault created the
// version; for KV version 1, the HMAC of the values replaces it. The digest of the path distinguishes version
// 3 of one path from version 3 of another. The time distinguishes versions of a path whose versions were
// deleted and started again. Earlier releases wrote only the version.
std::string rotation_record(std::string_view path, const KeyVersion& key);

enum class Need {
    none,           // it has the version, or started with it
    roll,           // its template has another key
    roll_if_older,  // restart if template_since() is not after `since`
    skip,           // it has an older version and must not be restarted
};
// Whether a workload must be restarted to get `key` at `path`. Pods that start after `since` (seconds since
// 1970) get it. A workload that was created in that second may have started with the previous key.
Need need(const Workload& workload, const std::string& provider, std::string_view path, const KeyVersion& key,
          std::int64_t since);

// When the controller created the ReplicaSet or ControllerRevision of the current template, in seconds since
// 1970. No pod of the template started before. An old workload may have a new template, for example because
// it was injected today. `workload` is the Deployment, StatefulSet or DaemonSet, `history` the ReplicaSets or
// ControllerRevisions of its namespace. nullopt if the controller has not handled the template yet.
std::optional<std::int64_t> template_since(const Json& workload, const std::vector<Json>& history);
// spec.selector of a workload in the form of the query parameter labelSelector
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#api).
std::string label_selector(const Json& workload);

}  // namespace keyshepherd::planner
