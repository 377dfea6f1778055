// Which Secrets carry a provider's key to those who wire it so, and what is to be done about each. Pure.
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

// Of every Secret that the operator makes; its watch selects by it.
inline constexpr const char* managed_label = "app.kubernetes.io/managed-by";
inline constexpr const char* managed_label_value = "keyshepherd-operator";

// Whether spec.delivery.secret asks for it.
bool delivers(const Resource& provider);
std::string delivered_secret(const Resource& provider);

struct Deliveries {
    std::map<std::string, std::size_t> places;  // by namespace that has to have the Secret: of key_places()
    std::set<std::string>
        unsure;  // what is for them depends on labels that are not known: they keep what they have
    std::set<std::string>
        not_selected;  // with workloads that read the Secret, and not in the namespaceSelector
};
// An AIProvider's own namespace; for a ClusterAIProvider those of the workloads that read its Secret.
Deliveries deliveries(const Resource& provider, const std::vector<KeyPlace>& places,
                      const std::map<std::string, Workload>& workloads,
                      const std::function<const inject::Labels*(const std::string& ns)>& labels);

// A Secret of that name as it was found, without its values.
struct FoundSecret {
    std::string uid;
    std::string resource_version;
    bool ours = false;       // by owner, or by our label and the provider's uid
    bool fixed = false;      // immutable, or of another type: it can only be replaced
    bool described = false;  // label, annotations and owner are those of a Secret that is read
    std::int64_t unread_since =
        0;               // when its last reader was found to be gone, in seconds since 1970; 0: it is read
    KeyVersion key;      // that it says it has; `created`: from when on whoever began has that one
    std::string source;  // that it says it has it from
    std::set<std::string> variables;
    Json other_owners = Json::array();
};
FoundSecret read_secret(const Json& secret, const Resource& provider);

// Where a key is from: two of the same number are two keys when they are from different places, or when the
// versions of a place were begun anew. `key` as Vault tells it; `connection` is "namespace/name".
std::string key_source(std::string_view connection, std::string_view path, const KeyVersion& key);

// The time from which on a workload that is created begins with `key`, where that does not depend on when the
// Secret is written: no workload began without a Secret that was not there, and one that has the key already
// says since when. Nothing: workloads may begin with the key before until the Secret is written.
std::optional<std::int64_t> delivered_since(const std::optional<FoundSecret>& found, const KeyVersion& key,
                                            const std::string& source);

enum class DeliveryStep { rest, create, write, replace, refuse };
// `same_values`: the Secret has what Vault has, and no more.
DeliveryStep next_step(const std::optional<FoundSecret>& found, const KeyVersion& key,
                       const std::string& source, bool same_values);

// All but its name, namespace, type and data. `delivered.created` is the time from which on a workload that
// is created begins with the key. 0: it is not known before the Secret is written, and is left out.
Json secret_metadata(const Resource& provider, const KeyVersion& delivered, const std::string& source,
                     Json other_owners);

// Makes a merge patch of it, which removes the annotations that it leaves out.
void erase_absent_annotations(Json& metadata);

// What to do about a Secret that no workload may read any more. It outlives its last reader by `grace`
// seconds: pods of the old template may still restart a container. Its annotation says since when, so that a
// restart of the operator changes nothing.
struct Withdrawal {
    enum class Step { mark, wait, remove };
    Step step = Step::wait;
    std::int64_t removed_at = 0;  // in seconds since 1970
};
// `now` by the API server's clock. Without `grace` the Secret is removed at once. A time in the annotation
// that lies ahead is not believed.
Withdrawal withdrawal(const FoundSecret& found, std::int64_t now, std::int64_t grace);
// The merge patch that marks it. It says which object and version it is for.
Json unread_patch(const FoundSecret& found, std::int64_t now);

// The merge patch that adds the time since when a Secret has its key. It says which object and version it is
// for.
Json date_patch(const std::string& uid, const std::string& resource_version, std::int64_t since);

// The value that a variable can carry: a text that is not empty, a number or a truth. Nothing otherwise. The
// caller wipes it.
std::optional<std::string> carried_value(const Json& data, const std::string& key);

// Why a namespace has not the newest key; an empty reason: it has it.
struct Delivered {
    std::string reason = {};  // KeyMissing, Denied, Conflict, …
    std::string message = {};
    std::string warning = {};  // what is odd about the key that it has
};
// What is odd about the API key among the fields of the secret; "": nothing. It holds no part of the value.
std::string key_warning(const Json& data, const std::string& key);
// The condition SecretPublished. `not_selected` is how many namespaces have workloads that read the Secret
// and may not have it: anybody can make such a workload, so it is told and does not count as a failure.
Condition delivery_condition(const Resource& provider, const std::map<std::string, Delivered>& namespaces,
                             std::size_t not_selected = 0);
// What the reason of the condition Ready, why a key is not seen, means for its Secret.
std::string delivery_reason(std::string_view reason);

}  // namespace keyshepherd::planner
