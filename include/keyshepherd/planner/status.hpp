// What a reconcile came to, as the status of its resource. Pure.
#pragma once

#include <keyshepherd/core/result.hpp>
#include <keyshepherd/resources/resource.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::planner {

using resources::Json;

enum class Truth { yes, no, unknown };

// Beside Ready, Synced and Drifted.
struct Condition {
    std::string type;  // KeyValid
    Truth truth = Truth::unknown;
    std::string reason;
    std::string message = {};
};

struct Finding {
    Truth ready = Truth::unknown;
    // CamelCase, stable: Reconciled, Conflict, PermissionDenied, AddressNotAllowed, VaultUnavailable, …
    std::string reason;
    std::string message = {};
    std::optional<bool> synced = {};                // nothing: Vault was not looked at, what was known stays
    std::optional<bool> drifted = {};               // differs, and is only reported
    bool changed = false;                           // something was written to Vault
    std::map<std::string, std::string> facts = {};  // claim, roleID, vaultVersion, vaultClusterID, …
    std::map<std::string, std::int64_t> counts = {};  // keyVersion, users, …
    std::vector<Condition> others = {};               // what is known of one that is not here stays
    std::set<std::string> gone = {};  // facts, counts and other conditions that hold no longer
};

// The status that follows on `before`. Equal to `before` when there is nothing new: then it is not written.
// A condition's lastTransitionTime moves only with its status
// (https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md).
// `now` is RFC 3339 in UTC.
Json status_after(const Json& before, const Finding& finding, std::int64_t generation, std::string_view now);

inline constexpr std::string_view status_trusted = "StatusTrusted";

// The facts of a status that resources::seal_field covers, by name; those that are absent or empty are left
// out. Empty for a kind that has no seal.
Json sealed_facts(const resources::Kind& kind, const Json& status);
// The status without them and without the seal: what is left when the seal is not the operator's.
Json without_facts(const resources::Kind& kind, Json status);
// The condition StatusTrusted of a status with facts that the operator did not write.
Condition status_not_trusted(const resources::Kind& kind, const Json& status);

// "Reconciled" of the condition Ready, or "".
std::string ready_reason(const Json& status);

// What an error of Vault's means for the resource that met it.
Finding finding_of(const Error& error);
// What comes behind the message of a refused login by a VaultConnection: when the next one is tried.
std::string next_login(const resources::Resource& connection);
// Whether it concerns the connection as a whole (Vault is away, or the login is not possible) and not what
// was asked for.
bool concerns_connection(const Error& error);

}  // namespace keyshepherd::planner
