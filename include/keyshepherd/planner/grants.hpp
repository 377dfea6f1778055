// Tenancy: what a connection's grants let a resource of some namespace ask for. Decided before any request
// leaves, since a policy written with the operator's token could own the whole Vault otherwise.
#pragma once

#include <keyshepherd/resources/resource.hpp>

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

// One grant, alone, has to allow all of the resource, and reserved_faults() has to be empty; the rights are
// that grant's.
Judgement judge(const Resource& resource, const Resource& connection, const std::set<std::string>& reserved);

// Whether everything that the ACL path `inner` matches is matched by `outer`, both in the language of Vault's
// policies (https://openbao.org/docs/concepts/policies/): `*` only at the end, `+` for one whole segment.
bool covers(std::string_view outer, std::string_view inner);
// Whether what `acl_path` matches may have `segment` ("sys") first, or has it later on, as the system paths
// of a child namespace have.
bool reaches(std::string_view acl_path, std::string_view segment);

}  // namespace keyshepherd::planner
