// One custom resource, read and checked.
#pragma once

#include <keyshepherd/core/result.hpp>
#include <keyshepherd/resources/kind.hpp>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::resources {

using Json = nlohmann::json;

struct Fault {
    std::string field;    // spec.rules[2].path
    std::string message;  // what is wrong, and what would be right
};

struct Resource {
    const Kind* kind = nullptr;
    std::string ns;
    std::string name;
    std::string uid;         // "" in a file
    std::string created_at;  // RFC 3339 in UTC, as Kubernetes writes it: earlier is less
    std::int64_t generation = 0;
    std::string deletion_time;  // RFC 3339; "": it is not being deleted
    bool paused = false;        // annotation keyshepherd.dev/paused: "true"
    bool finalized = false;     // has our finalizer
    bool annotated = false;     // has any annotation
    std::string
        mark;  // annotation keyshepherd.dev/claim: anybody can write one, only a key tells whose it is
    // Out of the status, which only the operator may write.
    std::string claim;  // the Vault and the object in it that this resource was the first to make, or adopted
    std::string role_id;     // of a VaultAppRole
    std::string connection;  // of a VaultSecretID: "namespace/name" of the VaultConnection it was issued by
    std::string rotate_now;  // annotation keyshepherd.dev/rotate-now: any new value rotates
    bool cut_off = false;    // annotation keyshepherd.dev/cut-off: anything but false, no and 0
    // Annotation of a VaultConnection: the cluster_id of a Vault that may take the place of the one before.
    std::string acknowledged_cluster;
    Json spec;  // every field with its default

    std::string text() const;  // "VaultPolicy ai/ai-api"
};

// Field of the status: an HMAC of the operator's over the other facts of Kind::facts. Facts without it are
// not the operator's.
inline constexpr std::string_view seal_field = "seal";
// Label of the ServiceAccounts and Secrets that the operator may log in to Vault with; its value is "true".
inline constexpr std::string_view login_label = "keyshepherd.dev/vault-login";
inline constexpr std::string_view finalizer = "keyshepherd.dev/cleanup";
inline constexpr std::string_view paused_annotation = "keyshepherd.dev/paused";
inline constexpr std::string_view claim_annotation = "keyshepherd.dev/claim";
inline constexpr std::string_view rotate_annotation = "keyshepherd.dev/rotate-now";
inline constexpr std::string_view cut_off_annotation = "keyshepherd.dev/cut-off";
inline constexpr std::string_view acknowledge_annotation = "keyshepherd.dev/acknowledge-cluster-id";
inline constexpr std::string_view reconcile_annotation =
    "keyshepherd.dev/reconcile-at";  // any new value: now

// Whether an object is for us: its group is ours.
bool is_ours(const Json& object);

// Reads one object of a kind of ours; every fault at once, and an unknown field is one. `resource` is whole
// as far as it could be read, also with faults. `default_namespace` is for an object that names none.
struct Reading {
    Resource resource;
    std::vector<Fault> faults;
};
Reading read(const Json& object, std::string_view default_namespace);

inline constexpr std::int64_t longest_duration = std::int64_t{100} * 366 * 24 * 3600;  // in seconds

// Seconds of "90", "1h30m", "250ms" (rounded up) or "2d"; nullopt when it is none of these or beyond 100
// years.
std::optional<std::int64_t> seconds(std::string_view duration);
std::optional<std::int64_t> seconds_of(const Json& duration);

}  // namespace keyshepherd::resources
