// The life of one secret-id, as decisions: what is known goes in, the next step comes out. Pure.
//
// Every step is one effect, and each is decided on what was read, never on what was done before: so a process
// that dies between any two of them is followed by one that goes on. What this rests on:
//
// - A value is registered at most once, by the process that drew it. One that was destroyed would register
//   again (custom-secret-id), so a value found in the pending Secret that Vault does not know is thrown away.
// - Before the next secret-id is drawn, the status names the one that is published. So whatever is replaced
//   is known, and at most one is in overlap.
// - Everything that we issue carries our owner's mark in its metadata; what carries it and is neither
//   published, pending nor in overlap is an orphan.
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

// What Vault says of a secret-id (role/<name>/secret-id/lookup, …/secret-id-accessor/lookup).
struct SecretIdFacts {
    std::string accessor;
    std::string created;  // as Vault writes it, to the nanosecond
    // Seconds since 1970; 0: never. An expired one is listed until Vault tidies; OpenBao 2.7.2 lets it log in
    // no more, others may.
    std::int64_t expires = 0;
    std::string owner;  // who had it issued, out of its metadata; "" is not of ours
    std::string terms;  // what it was asked for with, out of its metadata
    std::string issue;  // tells it from the others of its owner, out of its metadata
};
// Errc::protocol of `data` that is none.
result<SecretIdFacts> secret_id_facts(const Json& data);

// What is asked of Vault; metadata is a JSON text of texts (Vault's documentation of AppRole), shown in the
// audit log and on every token.
// `issue` is of the caller's making, for this one alone.
Json secret_id_request(const Resource& resource, std::string_view owner, std::string_view issue);
// Changes with everything in the spec that only a new secret-id can bring about.
std::string secret_id_terms(const Resource& resource);

// What the status keeps. Times are RFC 3339 in UTC.
struct SecretIdRecord {
    std::string accessor;  // of the published one
    std::string role_id;   // published with it; "": the caller does not record it
    std::string issued_at;
    std::string expires_at;     // "": never
    std::string next_rotation;  // "": never
    std::string previous;       // accessor of the one in overlap
    std::string rotated_at;     // when `previous` was replaced
    std::string overlap_until;
    std::string rollout;     // what the targets are restarted for; "": nothing
    std::string rotate_now;  // the annotation's value that was obeyed
    std::string secret_uid;  // of the Secret that we made
    bool operator==(const SecretIdRecord&) const = default;
};
SecretIdRecord secret_id_record(const Json& status);
// Every field that differs from "" stands under its name; the others are to go.
std::map<std::string, std::string> fields(const SecretIdRecord& record);

// The Secret with the resource's name for it.
enum class SecretState {
    absent,
    ours,
    stale,    // ours, with a good secret_id; role_id, labels or owner are not as they should be
    fixed,    // ours, but immutable or of another type: has to be made anew
    foreign,  // somebody else's: never written
};

struct SecretIdView {
    std::int64_t now = 0;         // seconds since 1970, by Vault's clock, as all times of a secret-id
    std::int64_t last_issue = 0;  // when this process last issued one for the resource, likewise; 0: never
    SecretState secret = SecretState::absent;
    std::string secret_uid;
    std::string role_id;  // of the role, as Vault says now; "": the record does not keep it
    std::optional<SecretIdFacts> published;  // of the value in the Secret; none: Vault does not know it
    bool pending_foreign = false;            // somebody else's has its name
    bool pending = false;                    // a pending Secret is there
    bool pending_is_published = false;       // with the value that the Secret has
    bool drawn = false;                      // its value was drawn by this process, and not yet sent to Vault
    std::optional<SecretIdFacts> pending_facts;
    bool restarted = true;                          // the targets were told of record.rollout
    bool rolled_out = true;                         // … and are out
    bool refused = false;                           // one of them cannot be told
    std::optional<std::vector<SecretIdFacts>> all;  // every one of the role; none: not listed
    bool list_wanted = false;
    // A registration that nobody waits for any more may arrive until then: before, a list proves nothing.
    std::int64_t unsure_until = 0;
};

struct SecretIdStep {
    enum class What {
        refuse,   // the Secret, or the pending one, is somebody else's
        draw,     // a new value, into the pending Secret
        enroll,   // the pending value, with Vault
        publish,  // the pending value, as the Secret
        discard,  // the pending Secret
        mend,     // the Secret, with the value that it has
        record,   // `record`, in the status
        restart,  // the targets, for record.rollout
        list,     // all accessors of the role
        destroy,  // `accessors`
        rest,     // until `at`
        delay,    // no pair is good, and the next one may be issued `at`
    };
    What what = What::rest;
    std::string why = {};  // for people; of draw, delay, publish, destroy
    SecretIdRecord record = {};
    std::vector<std::string> accessors = {};
    std::int64_t at = 0;  // seconds since 1970; 0: not before the resync
};

// `owner` as secret_id_request() was given it. An orphan younger than `grace` seconds may be one whose
// registration is under way elsewhere. Two issues are at least `interval` seconds apart, or half the time
// between two rotations where that is shorter: whatever is wrong, it does not issue without end.
SecretIdStep next_step(const Resource& resource, std::string_view owner, const SecretIdRecord& record,
                       const SecretIdView& view, std::int64_t grace = 30, std::int64_t interval = 0);

}  // namespace keyshepherd::planner
