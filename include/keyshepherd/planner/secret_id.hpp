// The state machine of one secret-id: next_step() takes what is known and returns the next step. Pure.
//
// Each step has one effect and is decided on freshly read state, never on earlier steps. If a process dies
// between two steps, the next one can continue. Invariants:
//
// - A value is registered at most once, by the process that generated it. Vault would register a destroyed
// value again
//   (custom-secret-id), so a value in the pending Secret that Vault does not know is discarded.
// - The status names the published secret-id before the next one is generated. The replaced one is therefore
// always
//   known, and at most one is in overlap.
// - The metadata of every issued secret-id names its owner. A secret-id of the owner that is not published,
// pending or
//   in overlap is an orphan.
#pragma once

#include <keyshepherd/resources/resource.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::planner {

using resources::Json;
using resources::Resource;

// Vault's data about a secret-id (role/<name>/secret-id/lookup, …/secret-id-accessor/lookup).
struct SecretIdFacts {
    std::string accessor;
    std::string created;  // in Vault's format, with nanoseconds
    // Seconds since 1970; 0: never. Vault lists an expired secret-id until it tidies. OpenBao 2.7.2 refuses
    // its logins; other versions may not.
    std::int64_t expires = 0;
    std::string owner;  // from its metadata; "" if keyshepherd did not issue it
    std::string terms;  // secret_id_terms() of the request, from its metadata
    std::string issue;  // unique among the secret-ids of its owner, from its metadata
};
// Errc::protocol if `data` is not that of a secret-id.
result<SecretIdFacts> secret_id_facts(const Json& data);

// The body of the request that registers a secret-id. Its metadata is a JSON string of strings (Vault's
// AppRole API), which the audit log and every token contain. The caller generates a unique `issue` for each
// secret-id.
Json secret_id_request(const Resource& resource, std::string_view owner, std::string_view issue);
// A digest of the fields of the spec that only a new secret-id can change.
std::string secret_id_terms(const Resource& resource);

// The record in the status. Times are RFC 3339 in UTC.
struct SecretIdRecord {
    std::string accessor;  // of the published secret-id
    std::string role_id;   // published with it; "" if the caller does not record it
    std::string issued_at;
    std::string expires_at;     // "": never
    std::string next_rotation;  // "": never
    std::string previous;       // accessor of the secret-id in overlap
    std::string rotated_at;     // when `previous` was replaced
    std::string overlap_until;
    std::string rollout;     // annotation value that restarts the targets; "" for none
    std::string rotate_now;  // the last handled value of the annotation
    std::string secret_uid;  // UID of the Secret that the operator created
    bool operator==(const SecretIdRecord&) const = default;
};
SecretIdRecord secret_id_record(const Json& status);
// All fields by name. A field with the value "" is removed from the status.
std::map<std::string, std::string> fields(const SecretIdRecord& record);

// The state of the published Secret.
enum class SecretState {
    absent,
    ours,
    stale,    // ours, with a valid secret_id, but role_id, labels or owner differ
    fixed,    // ours, but immutable or of another type, so it must be replaced
    foreign,  // of another owner: never written
};

struct SecretIdView {
    std::int64_t now = 0;         // seconds since 1970 by Vault's clock, as all times here
    std::int64_t last_issue = 0;  // when this process last issued one for the resource; 0: never
    SecretState secret = SecretState::absent;
    std::string secret_uid;
    std::string role_id;                     // of the role in Vault; "" if it is not recorded
    std::optional<SecretIdFacts> published;  // of the value in the Secret; nullopt if Vault does not know it
    bool pending_foreign = false;            // the pending Secret belongs to another owner
    bool pending = false;                    // the pending Secret exists
    bool pending_is_published = false;       // and contains the published value
    bool drawn = false;                      // this process generated its value and has not sent it to Vault
    std::optional<SecretIdFacts> pending_facts;
    bool restarted = true;                          // the targets have the annotation value record.rollout
    bool rolled_out = true;                         // and all their pods are restarted
    bool refused = false;                           // a target could not be patched
    std::optional<std::vector<SecretIdFacts>> all;  // all secret-ids of the role; nullopt if not listed
    bool list_wanted = false;
    // An abandoned registration may arrive in Vault until then, so an earlier list is not complete.
    std::int64_t unsure_until = 0;
};

struct SecretIdStep {
    enum class What {
        refuse,   // the Secret or the pending Secret belongs to another owner
        draw,     // generate a value and write it to the pending Secret
        enroll,   // register the pending value in Vault
        publish,  // write the pending value to the Secret
        discard,  // delete the pending Secret
        mend,     // repair the Secret and keep its value
        record,   // write `record` to the status
        restart,  // restart the targets with record.rollout
        list,     // list all accessors of the role
        destroy,  // destroy `accessors`
        rest,     // nothing to do until `at`
        delay,    // no valid pair; the next one may be issued at `at`
    };
    What what = What::rest;
    std::string why = {};  // message for draw, delay, publish and destroy
    SecretIdRecord record = {};
    std::vector<std::string> accessors = {};
    std::int64_t at = 0;  // seconds since 1970; 0: at the next resync
};

// `owner` is the owner of secret_id_request(). An orphan that is younger than `grace` seconds is not
// destroyed, because another process may be registering it. Two secret-ids are issued at least `interval`
// seconds apart, or half the time between two rotations if that is shorter, so that an error cannot cause
// endless issues.
SecretIdStep next_step(const Resource& resource, std::string_view owner, const SecretIdRecord& record,
                       const SecretIdView& view, std::int64_t grace = 30, std::int64_t interval = 0);

}  // namespace keyshepherd::planner
