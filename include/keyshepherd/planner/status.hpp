// Converts the result of a reconcile to the status of its resource. Pure.
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

// A condition other than Ready, Synced and Drifted.
struct Condition {
    std::string type;  // KeyValid
    Truth truth = Truth::unknown;
    std::string reason;
    std::string message = {};
};

struct StatusUpdate {
    Truth ready = Truth::unknown;
    // CamelCase, stable: Reconciled, Conflict, PermissionDenied, AddressNotAllowed, VaultUnavailable, …
    std::string reason;
    std::string message = {};
    std::optional<bool> synced = {};                  // nullopt: Vault was not read, the condition stays
    std::optional<bool> drifted = {};                 // Vault differs, and driftPolicy is Report
    bool changed = false;                             // Vault was changed
    std::map<std::string, std::string> facts = {};    // claim, roleID, vaultVersion, vaultClusterID, …
    std::map<std::string, std::int64_t> counts = {};  // keyVersion, users, …
    std::vector<Condition> others = {};               // conditions that are not listed stay
    std::set<std::string> gone = {};                  // facts, counts and conditions to remove
};

// The new status. If it equals `before`, it need not be written. The lastTransitionTime of a condition
// changes only with its status
// (https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md).
// `now` is RFC 3339 in UTC.
Json status_after(const Json& before, const StatusUpdate& update, std::int64_t generation,
                  std::string_view now);

inline constexpr std::string_view status_trusted = "StatusTrusted";

// The facts of a status that resources::seal_field covers, by name, without absent and empty ones. Empty for
// a kind without a seal.
Json sealed_facts(const resources::Kind& kind, const Json& status);
// The status without these facts and the seal, for a status whose seal is not valid.
Json without_facts(const resources::Kind& kind, Json status);
// The condition StatusTrusted for a status with facts that the operator did not write.
Condition status_not_trusted(const resources::Kind& kind, const Json& status);

// The reason of the condition Ready, such as "Reconciled", or "".
std::string ready_reason(const Json& status);

// The update for an error of Vault.
StatusUpdate status_update_of(const Error& error);
// The end of the message about a refused login of a VaultConnection: when the operator logs in again.
std::string next_login(const resources::Resource& connection);
// Whether the error concerns the whole connection (Vault is unavailable, or the login fails) and not one
// request.
bool concerns_connection(const Error& error);

}  // namespace keyshepherd::planner
