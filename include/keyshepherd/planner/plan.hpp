// Compares a resource with what Vault holds, and says what would make Vault equal. Pure: paths to read come
// out, what they held goes in, and requests come out. The operator, `plan` and `apply` all call this.
#pragma once

#include <keyshepherd/resources/resource.hpp>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::planner {

using resources::Json;
using resources::Resource;

// What is read of Vault: API paths (below /v1/) with the "data" that each held, or nothing when it was
// absent.
using Observation = std::map<std::string, std::optional<Json>, std::less<>>;

// The paths that plan() looks at.
std::vector<std::string> reads(const Resource& resource);

// Whether plan() has to know which parameters the server has: the spec asks for one that some servers lack
// and ignore, and the object, which would show it, is absent from `observed`.
bool needs_parameters(const Resource& resource, const Observation& observed);
// Where an Observation holds the names of the parameters that a write to claim() may have, as a list.
std::string parameters_key(const Resource& resource);

// The one object in Vault that the resource is about, as an API path in the spelling that Vault keeps: two
// resources with the same claim on the same Vault are in each other's way. "" for a VaultConnection.
std::string claim(const Resource& resource);

struct FieldChange {
    std::string field;  // as Vault calls it; below config with a dot
    Json before;        // null: it was absent
    Json after;         // null: it goes
};

struct Request {
    std::string method;  // POST or DELETE
    std::string path;
    Json body;
};

enum class Verdict {
    in_sync,  // equal in meaning; also: to be deleted, and not there
    create,
    update,
    remove,
    refused,  // `reason` says why; nothing is sent
};

struct Plan {
    Verdict verdict = Verdict::in_sync;
    std::vector<FieldChange> changes = {};  // field by field; of a create: what it will be
    std::vector<Request> requests = {};     // in order
    std::string reason = {};   // of a refusal, as a condition's reason: AdoptionRefused, TypeMismatch,
                               // FixedInVault, VaultRefuses
    std::string message = {};  // in a sentence, with the way out
    std::string role_id = {};  // of a VaultAppRole, once it was read
};

struct Standing {
    bool owner = false;        // we, by this resource, were the first to make the object
    bool may_adopt = false;    // the connection's grants say so
    std::string role_id = {};  // that a VaultAppRole had when it was last seen
};

Plan plan(const Resource& resource, const Observation& observed, const Standing& standing);
// What deleting the resource asks for, by its deletionPolicy. Only an owner removes anything. Refused: what
// is in the object's place is not what the resource made.
Plan plan_removal(const Resource& resource, const Observation& observed, const Standing& standing);

// Whether `held`, what Vault answers for an object of that kind, leaves every parameter of Handling::unset at
// its value.
bool has_unset_parameters(const resources::Kind& kind, const Json& held);

// The object of the resource as `observed` has it, as JSON; "": it is absent. Equal texts are equal states.
std::string state_of(const Resource& resource, const Observation& observed);

// Every request that plan() and, by its deletionPolicy, plan_removal() could come to for the resource,
// whatever Vault held: methods and paths count, the bodies do not.
std::vector<Request> requests_ever(const Resource& resource);

// A text as a string of HCL, with its quotes: nothing in it ends the string or begins an interpolation.
std::string hcl_string(std::string_view text);
// The policy as Vault stores it: `hcl` byte for byte, decoded once where it is base64, or the rules.
std::string policy_text(const Json& policy_spec);
// Equal but for white space, comments, the order in lists and commas at their end.
bool same_policy(std::string_view a, std::string_view b);
// "path a/*: read list → read, path b: absent → deny"; "policy" for what is more than a list of paths.
std::string policy_difference(std::string_view before, std::string_view after);

// One line for people: "token_ttl: 3600 → 60, token_policies: ai-api more → ai-api".
std::string summary(const std::vector<FieldChange>& changes);

}  // namespace keyshepherd::planner
