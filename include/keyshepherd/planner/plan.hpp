// Compares a resource with Vault, and computes the requests that make Vault match the resource. Pure: reads()
// returns the paths to read, and plan() turns their contents into requests. The operator, `plan` and `apply`
// use this.
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

// What was read from Vault: API paths (below /v1/) with the "data" of each answer, or nullopt if it was
// absent.
using Observation = std::map<std::string, std::optional<Json>, std::less<>>;

// The paths that plan() needs.
std::vector<std::string> reads(const Resource& resource);

// Whether plan() has to know which parameters the server supports. This is so if the spec sets one that some
// servers ignore, and the object, which would show it, is absent from `observed`.
bool needs_parameters(const Resource& resource, const Observation& observed);
// The key of an Observation for the list of parameters that a write to claim() accepts.
std::string parameters_key(const Resource& resource);

// The API path of the object in Vault that the resource manages, as Vault spells it. Two resources with the
// same claim on the same Vault conflict. "" for a VaultConnection.
std::string claim(const Resource& resource);

struct FieldChange {
    std::string field;  // Vault's name; fields below config have a dot
    Json before;        // null if it was absent
    Json after;         // null if it is removed
};

struct Request {
    std::string method;  // POST or DELETE
    std::string path;
    Json body;
};

enum class Verdict {
    in_sync,  // matches, or is to be deleted and absent
    create,
    update,
    remove,
    refused,  // `reason` says why; no request is sent
};

struct Plan {
    Verdict verdict = Verdict::in_sync;
    std::vector<FieldChange> changes = {};  // by field; for a create all fields
    std::vector<Request> requests = {};     // in order
    std::string reason = {};   // reason of the condition, if refused: AdoptionRefused, TypeMismatch,
                               // FixedInVault, VaultRefuses
    std::string message = {};  // a sentence that says how to recover
    std::string role_id = {};  // role-id of a VaultAppRole, if it was read
};

struct Ownership {
    bool owner = false;        // this resource created or adopted the object
    bool may_adopt = false;    // the connection's grants have the right adopt
    std::string role_id = {};  // last known role-id of a VaultAppRole
};

Plan plan(const Resource& resource, const Observation& observed, const Ownership& ownership);
// The plan for a deleted resource, according to its deletionPolicy. Only an owner removes its object. Refused
// if another object is in its place.
Plan plan_removal(const Resource& resource, const Observation& observed, const Ownership& ownership);

// Whether every parameter with Handling::unset has its default value in `held`, Vault's answer for an object
// of that kind.
bool has_unset_parameters(const resources::Kind& kind, const Json& held);

// The object in `observed` as JSON, or "" if it is absent. Equal texts mean equal states.
std::string state_of(const Resource& resource, const Observation& observed);

// Every request that plan() and plan_removal() could return for the resource, for any state of Vault. Only
// methods and paths are meaningful, not bodies.
std::vector<Request> requests_ever(const Resource& resource);

// An HCL string literal with quotes. Escapes characters that would end the string or start an interpolation.
std::string hcl_string(std::string_view text);
// The policy as Vault stores it: `hcl` unchanged, or decoded once if it is base64; otherwise from the rules.
std::string policy_text(const Json& policy_spec);
// Whether two policies differ only in white space, comments, trailing commas and the order of lists.
bool same_policy(std::string_view a, std::string_view b);
// "path a/*: read list → read, path b: absent → deny"; "policy" if a policy is more than a list of paths.
std::string policy_difference(std::string_view before, std::string_view after);

// A summary in one line: "token_ttl: 3600 → 60, token_policies: ai-api more → ai-api".
std::string summary(const std::vector<FieldChange>& changes);

}  // namespace keyshepherd::planner
