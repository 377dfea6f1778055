// Whether and where the operator tries a provider's key: GET <base URL>/models, at an allowed host. Pure.
#pragma once

#include <keyshepherd/planner/rotation.hpp>
#include <keyshepherd/planner/status.hpp>
#include <keyshepherd/resources/resource.hpp>

#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::planner {

using resources::Resource;

// Whether spec.keyProbe.enabled is true.
bool probes(const Resource& provider);

// Whether spec.keyProbe.blockRollouts is true: workloads get a version only after it was tried, and none that
// was refused.
bool blocks_rollouts(const Resource& provider);

// The condition KeyValid with the status Unknown.
Condition not_probed(std::string reason, std::string message);

struct ProbeTarget {
    std::string origin;  // https://HOST[:PORT]
    std::string path;    // /v1/models
};

// Whether `text` is HOST or HOST:PORT. The host is a pattern of core/server_address.hpp.
bool is_probe_host(std::string_view text);

// `hosts`: each as of is_probe_host(); HOST alone means port 443. Only https. The error is the condition
// KeyValid; it holds no part of `base_url`, which may come from a secret.
std::expected<ProbeTarget, Condition> probe_target(std::string_view base_url,
                                                   const std::vector<std::string>& hosts);

// What is known before the secret is read. The value is empty when spec.keyProbe has no baseURL: the secret
// holds the address then. With an error, which is the condition KeyValid, the operator does not read the
// secret.
std::expected<std::optional<ProbeTarget>, Condition> stated_probe_target(
    const Resource& provider, const std::vector<std::string>& hosts);

// Why `value`, the API key, cannot be sent in a header of a request; the condition KeyValid with the status
// False. A request carries it as a bearer token (RFC 6750, section 2.1), so it is visible ASCII. `field` is
// its field in the secret. The message holds no part of the value.
std::optional<Condition> unsendable_key(std::string_view field, std::string_view value);
// Whether a text ends with a line break, as `echo KEY | vault kv put … api_key=-` leaves it.
bool ends_with_newline(std::string_view value);
// What to tell about the field that holds such a text.
std::string line_break_text(std::string_view field);

// What the last try of the key at one place came to.
struct KeyTrial {
    KeyVersion key;        // the version that was tried
    std::string asked;     // how: trial_request(); one that was tried otherwise counts as untried
    Condition condition;   // KeyValid of this key alone
    bool refused = false;  // it was refused, and was not accepted since
};
// Trials by trial_name().
using KeyTrials = std::map<std::string, KeyTrial>;

// One for each key: places that read the same field of the same secret share it.
std::string trial_name(const KeyPlace& place);
// All of the spec that decides how a key is tried.
std::string trial_request(const Resource& provider, const KeyPlace& place);

// The trial of this very version; null: it was not tried.
const KeyTrial* find_trial(const KeyTrials& trials, const Resource& provider, const KeyPlace& place,
                           const KeyVersion& key);
// `before`: what was known of the same version, or null. A version that was refused stays so until it is
// accepted: that the provider does not answer says nothing for it.
KeyTrial next_trial(const KeyTrial* before, KeyVersion key, std::string asked, Condition condition);

// Why workloads must not get this version now: KeyRefused or KeyUntried, as a reason and a message. Nothing
// where the provider does not block rollouts.
struct KeyHold {
    std::string reason;
    std::string message;
};
std::optional<KeyHold> hold(const KeyTrials& trials, const Resource& provider, const KeyPlace& place,
                            const KeyVersion& key);

// The condition KeyValid over all places. `views` holds each of their paths. It is False if one key is
// refused, and True only if every key was accepted in its present version.
Condition key_validity(const Resource& provider, const std::vector<KeyPlace>& places,
                       const std::map<std::string, KeyView>& views, const KeyTrials& trials);

}  // namespace keyshepherd::planner
