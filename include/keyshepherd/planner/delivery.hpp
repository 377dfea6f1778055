// Decides which Secrets contain a provider's key, and what to do about each of them. Pure.
#pragma once

#include <keyshepherd/planner/rotation.hpp>
#include <keyshepherd/planner/status.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace keyshepherd::planner {

// The label of every Secret that the operator creates; its watch selects by this label.
inline constexpr const char* managed_label = "app.kubernetes.io/managed-by";
inline constexpr const char* managed_label_value = "keyshepherd-operator";

// Whether spec.delivery.secret is true.
bool delivers(const Resource& provider);
std::string delivered_secret(const Resource& provider);

struct Deliveries {
    std::map<std::string, std::size_t> places;  // by namespace that needs the Secret: index in key_places()
    std::set<std::string>
        unsure;  // namespaces whose key depends on unknown labels: their Secret stays as it is
    std::set<std::string> not_selected;  // namespaces with readers that the namespaceSelector does not select
};
// For an AIProvider its own namespace; for a ClusterAIProvider the namespaces of workloads that read its
// Secret.
Deliveries deliveries(const Resource& provider, const std::vector<KeyPlace>& places,
                      const std::map<std::string, Workload>& workloads,
                      const std::function<const inject::Labels*(const std::string& ns)>& labels);

// An existing Secret with the provider's Secret name, without its values.
struct FoundSecret {
    std::string uid;
    std::string resource_version;
    bool ours = false;   // the owner, or the label and the provider's UID, show that the operator created it
    bool fixed = false;  // immutable or of another type, so it must be replaced
    bool described = false;         // label, annotations and owner are as expected for a Secret with readers
    std::int64_t unread_since = 0;  // since when it has no reader, in seconds since 1970; 0: it has readers
    KeyVersion key;      // from its annotations; `created`: workloads that started later have this key
    std::string source;  // from its annotations: key_source()
    std::set<std::string> variables;
    Json other_owners = Json::array();
};
FoundSecret read_secret(const Json& secret, const Resource& provider);

// The origin of a key. Equal version numbers are different keys if their origins differ, or if the versions
// of a path were deleted and started again. `key` comes from Vault; `connection` is "namespace/name".
std::string key_source(std::string_view connection, std::string_view path, const KeyVersion& key);

// The time after which new workloads start with `key`, if this is known before the Secret is written: if the
// Secret did not exist, no workload started without it, and if it already has the key, it records since when.
// nullopt: until the Secret is written, workloads may start with the previous key.
std::optional<std::int64_t> delivered_since(const std::optional<FoundSecret>& found, const KeyVersion& key,
                                            const std::string& source);

enum class DeliveryStep { rest, create, write, replace, refuse };
// `same_values`: the Secret has exactly the values in Vault.
DeliveryStep next_step(const std::optional<FoundSecret>& found, const KeyVersion& key,
                       const std::string& source, bool same_values);

// The metadata of the Secret, without name and namespace. `delivered.created` is the time after which new
// workloads start with the key; 0 if it is not known before the Secret is written, and then it is left out.
Json secret_metadata(const Resource& provider, const KeyVersion& delivered, const std::string& source,
                     Json other_owners);

// Turns `metadata` into a merge patch that also removes absent annotations.
void erase_absent_annotations(Json& metadata);

// What to do about a Secret without readers. It stays for `grace` seconds after its last reader is gone,
// because pods of the old template may still restart a container. An annotation records since when it has no
// reader, so that a restart of the operator does not extend this time.
struct Withdrawal {
    enum class Step { mark, wait, remove };
    Step step = Step::wait;
    std::int64_t removed_at = 0;  // in seconds since 1970
};
// `now` is the API server's time. If `grace` is 0, the Secret is removed at once. Ignores a time in the
// annotation that is in the future.
Withdrawal withdrawal(const FoundSecret& found, std::int64_t now, std::int64_t grace);
// The merge patch that sets the annotation. It contains the UID and resourceVersion.
Json unread_patch(const FoundSecret& found, std::int64_t now);

// The merge patch that adds since when a Secret has its key. It contains the UID and resourceVersion.
Json date_patch(const std::string& uid, const std::string& resource_version, std::int64_t since);

// The value of a variable: a non-empty string, a number or a boolean; nullopt for anything else. The caller
// must wipe it.
std::optional<std::string> carried_value(const Json& data, const std::string& key);

// Why a namespace does not have the newest key; the reason is empty if it has it.
struct Delivered {
    std::string reason = {};  // KeyMissing, Denied, Conflict, …
    std::string message = {};
    std::string warning = {};  // what is suspicious about its key
};
// What is suspicious about the API key in the secret, or "". The text contains no part of the value.
std::string key_warning(const Json& data, const std::string& key);
// The condition SecretPublished. `not_selected` is the number of namespaces with readers that delivery does
// not select. Anyone can create such a workload, so the condition mentions them, but they are not a failure.
Condition delivery_condition(const Resource& provider, const std::map<std::string, Delivered>& namespaces,
                             std::size_t not_selected = 0);
// The reason of SecretPublished if Ready has this reason for a key that cannot be read.
std::string delivery_reason(std::string_view reason);

}  // namespace keyshepherd::planner
