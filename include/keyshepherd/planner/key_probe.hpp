// Decides whether and where the operator tests a provider's key: GET <base URL>/models, at an allowed host.
// Pure.
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

// Whether spec.keyProbe.blockRollouts is true: workloads get a version only after it was tested, and never a
// refused one.
bool blocks_rollouts(const Resource& provider);

// The condition KeyValid with the status Unknown.
Condition not_probed(std::string reason, std::string message);

struct ProbeTarget {
    std::string origin;  // https://HOST[:PORT]
    std::string path;    // /v1/models
};

// Whether `text` is HOST or HOST:PORT. HOST is a pattern (core/server_address.hpp).
bool is_probe_host(std::string_view text);

// `hosts`: values for which is_probe_host() is true; HOST alone means port 443. Only https is allowed. The
// error is the condition KeyValid. It contains no part of `base_url`, which may come from a secret.
std::expected<ProbeTarget, Condition> probe_target(std::string_view base_url,
                                                   const std::vector<std::string>& hosts);

// The target that is known before the secret is read. nullopt if spec.keyProbe has no baseURL: the secret
// then contains the address. The error is the condition KeyValid; the operator then does not read the secret.
std::expected<std::optional<ProbeTarget>, Condition> stated_probe_target(
    const Resource& provider, const std::vector<std::string>& hosts);

// The condition KeyValid=False if the API key `value` cannot be sent. A request sends it as a bearer token
// (RFC 6750, section 2.1), so it must be visible ASCII. `field` is its field in the secret. The message
// contains no part of the value.
std::optional<Condition> unsendable_key(std::string_view field, std::string_view value);
// Whether a value ends with a line break, for example after `echo KEY | vault kv put … api_key=-`.
bool ends_with_newline(std::string_view value);
// The message for a field with such a value.
std::string line_break_text(std::string_view field);

// The result of the last test of the key at one path.
struct KeyTrial {
    KeyVersion key;        // the version that was tested
    std::string asked;     // trial_request(); after a change the version counts as not tested
    Condition condition;   // KeyValid for this key alone
    bool refused = false;  // refused, and not accepted since
};
// Trials by trial_name().
using KeyTrials = std::map<std::string, KeyTrial>;

// The name of a trial. Places that read the same field of the same secret share it.
std::string trial_name(const KeyPlace& place);
// The parts of the spec that determine how a key is tested.
std::string trial_request(const Resource& provider, const KeyPlace& place);

// The trial of this version; null if it was not tested.
const KeyTrial* find_trial(const KeyTrials& trials, const Resource& provider, const KeyPlace& place,
                           const KeyVersion& key);
// `before`: the previous trial of the same version, or null. A refused version stays refused until it is
// accepted, also if the provider does not answer later.
KeyTrial next_trial(const KeyTrial* before, KeyVersion key, std::string asked, Condition condition);

// Why workloads must not get this version now: the reason KeyRefused or KeyUntried, and a message. nullopt if
// they may get it, or if the provider does not block rollouts.
struct KeyHold {
    std::string reason;
    std::string message;
};
std::optional<KeyHold> hold(const KeyTrials& trials, const Resource& provider, const KeyPlace& place,
                            const KeyVersion& key);

// The condition KeyValid for all places. `views` contains each of their paths. It is False if a key is
// refused, and True only if every key was accepted in its current version.
Condition key_validity(const Resource& provider, const std::vector<KeyPlace>& places,
                       const std::map<std::string, KeyView>& views, const KeyTrials& trials);

}  // namespace keyshepherd::planner
