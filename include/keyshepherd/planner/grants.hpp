// Tenancy: what a connection's grants allow for a resource of a namespace. Checked before any request is
// sent, because a policy that is written with the operator's token could otherwise give full control of
// Vault.
#pragma once

#include <keyshepherd/resources/resource.hpp>

#include <cstddef>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::planner {

using resources::Resource;

struct Rights {
    bool adopt = false;
    bool hcl = false;
    bool revoke_tokens = false;
};

struct Judgement {
    std::vector<resources::Fault> faults;  // empty: granted
    Rights rights;
};

// What no grant allows, also without a connection: to write `root`, `default`, `default-ceiling` or a policy
// in `reserved`; to assign one of these except `default` to a role; and to manage Vault's own mounts.
// `reserved`: the policies of the login that writes, in lower case. Returns an empty list if the resource is
// allowed.
std::vector<resources::Fault> reserved_faults(const Resource& resource,
                                              const std::set<std::string>& reserved);

// The known secrets engines of a Vault. No child namespace exists at or below the path of a mount, because
// Vault and OpenBao refuse to create both on one path.
struct Mounts {
    std::set<std::string, std::less<>> paths = {};  // without a slash at the end
    std::string unknown = {};                       // why the list could not be read; "" if it was read
};

// A single grant must allow the whole resource, and reserved_faults() must be empty. The rights are those of
// this grant. A path that is not in `mounts` may be a child namespace.
Judgement judge(const Resource& resource, const Resource& connection, const std::set<std::string>& reserved,
                const Mounts& mounts = {});

// Whether the result of judge() may depend on Vault's mounts, because a path of the resource could match
// system paths of a child namespace.
bool needs_mounts(const Resource& resource);
// Replaces Vault's list if no Vault is read: assumes that the first segment of each path is a mount, unless a
// later segment is exactly sys, auth or identity.
Mounts assumed_mounts(const Resource& resource);

// Checks the grants for a deletion, which needs only the name and the mount of the object in Vault. The
// rights are those of all grants that allow these. `resource` must be valid, or its claim must be proven.
Judgement judge_removal(const Resource& resource, const Resource& connection,
                        const std::set<std::string>& reserved);
// A VaultAppRole whose claim() is `path`, with the fields that judge_removal() and claim() use. Its resource
// may no longer exist. nullopt if `path` is not the path of a role.
std::optional<Resource> role_at(std::string_view path, std::string ns);

// Whether the ACL path `outer` matches everything that `inner` matches, both in the syntax of Vault policies
// (https://openbao.org/docs/concepts/policies/): `*` only at the end, `+` for one whole segment.
bool covers(std::string_view outer, std::string_view inner);

// A segment of an ACL path that can match sys, auth or identity.
struct PowerfulSegment {
    std::size_t index;      // of the segment; after the last one if `*` stands for more segments
    std::string_view word;  // the word that it can match
    bool by_letter;         // it is exactly this word, not a pattern that matches it
};
// The first such segment of `acl_path` that is not inside a mount. The system paths of a child namespace
// follow its own path, so every segment is checked.
std::optional<PowerfulSegment> powerful_segment(std::string_view acl_path, const Mounts& mounts);

}  // namespace keyshepherd::planner
