// What Vault is known to refuse, whatever its policies allow: found before it is asked, so that a plan
// promises no change that cannot be made. Tried on OpenBao 2.7; the words of its answers stand beside the
// rules. Pure.
#pragma once

#include <keyshepherd/planner/plan.hpp>
#include <keyshepherd/resources/resource.hpp>

#include <vector>

namespace keyshepherd::planner {

// The fields to which the spec gives another value than their default, and which some servers lack.
std::vector<const resources::Field*> wanted_not_everywhere(const Resource& resource);

// Each fault of a mount, a policy or a role by its field, with the way out. `observed` as of plan().
std::vector<resources::Fault> vault_faults(const Resource& resource, const Observation& observed);

// Each fault of a VaultSecretID that asks for more than its VaultAppRole allows.
std::vector<resources::Fault> secret_id_faults(const Resource& secret_id, const Resource& role);

// "spec.a: must be x; spec.b: must be y"
std::string text_of(const std::vector<resources::Fault>& faults);

}  // namespace keyshepherd::planner
