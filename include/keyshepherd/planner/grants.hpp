// Tenancy: what a connection's grants let a resource of some namespace ask for. Decided before any request
// leaves, since a policy written with the operator's token could own the whole Vault otherwise.
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

// What is refused whatever a connection grants, and also where no connection is looked at: writing `root`,
// `default`, `default-ceiling` or a policy in `reserved`; giving one of them but `default` to a role; and
// mounts of Vault itself. `reserved`: policies of the login that writes, in lower case. Empty: none of it.
std::vector<resources::Fault> reserved_faults(const Resource& resource,
                                              const std::set<std::string>& reserved);

// The secrets engines of a Vault, as far as they are known. Where an engine is mounted there is no child
// namespace, nor below it: Vault and OpenBao refuse both on one path.
struct Mounts {
    std::set<std::string, std::less<>> paths = {};  // without a slash at the end
    std::string unknown = {};                       // why Vault's list was not read; "": it was
};

// One grant, alone, has to allow all of the resource, and reserved_faults() has to be empty; the rights are
// that grant's. A mount that `mounts` does not hold may be a child namespace.
Judgement judge(const Resource& resource, const Resource& connection, const std::set<std::string>& reserved,
                const Mounts& mounts = {});

// Whether the judgement may depend on the mounts that Vault has: a path of the resource could reach the
// system paths of a child namespace.
bool needs_mounts(const Resource& resource);
// What stands for Vault's list where no Vault is asked: the first segment of each path is taken for a mount,
// unless a later segment is sys, auth or identity by letter.
Mounts assumed_mounts(const Resource& resource);

// What a deletion needs, whatever else the spec asks for: the name and the mount of the object in Vault. The
// rights are those of every grant that allows these. `resource` is without faults, or its claim is proven.
Judgement judge_removal(const Resource& resource, const Resource& connection,
                        const std::set<std::string>& reserved);
// The VaultAppRole whose claim() is `path`, as far as judge_removal() and claim() look at it; its own
// resource may be gone. Nothing for what is no path of a role.
std::optional<Resource> role_at(std::string_view path, std::string ns);

// Whether everything that the ACL path `inner` matches is matched by `outer`, both in the language of Vault's
// policies (https://openbao.org/docs/concepts/policies/): `*` only at the end, `+` for one whole segment.
bool covers(std::string_view outer, std::string_view inner);

// A segment of an ACL path that may be sys, auth or identity.
struct PowerfulSegment {
    std::size_t index;      // of the segment; behind the last one where `*` stands for more of them
    std::string_view word;  // that it may be
    bool by_letter;         // it is that word, and no pattern that matches it
};
// The first such segment of what `acl_path` matches, but for what lies in a mount. The system paths of a
// child namespace stand behind its own path, so each segment counts.
std::optional<PowerfulSegment> powerful_segment(std::string_view acl_path, const Mounts& mounts);

}  // namespace keyshepherd::planner
