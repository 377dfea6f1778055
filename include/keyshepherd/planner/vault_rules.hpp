// Finds values that Vault is known to refuse, so that a plan promises no change that Vault would reject.
// Tested with OpenBao 2.7; the implementation quotes its answers. Pure.
#pragma once

#include <keyshepherd/planner/plan.hpp>
#include <keyshepherd/resources/resource.hpp>

#include <vector>

namespace keyshepherd::planner {

// The fields that some servers do not support and that the spec sets to a value other than the default.
std::vector<const resources::Field*> wanted_not_everywhere(const Resource& resource);

// The faults of a mount, policy or role, by field, each with the way out. `observed`: as for plan().
std::vector<resources::Fault> vault_faults(const Resource& resource, const Observation& observed);

// The fields in which a VaultSecretID asks for more than its VaultAppRole allows.
std::vector<resources::Fault> secret_id_faults(const Resource& secret_id, const Resource& role);

// "spec.a: must be x; spec.b: must be y"
std::string text_of(const std::vector<resources::Fault>& faults);

}  // namespace keyshepherd::planner
