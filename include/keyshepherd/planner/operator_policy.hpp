// The smallest Vault policy under which the operator can do all that resources ask of it. Pure: it follows
// from what the planner would read and send, so that it cannot fall behind the planner.
#pragma once

#include <keyshepherd/resources/resource.hpp>

#include <span>
#include <string>
#include <vector>

namespace keyshepherd::planner {

using resources::Resource;

// The policy's text, as policy_text() spells one, for a login that manages `resources`: every path that is
// read, written or, where deletionPolicy is Delete, removed for one of them, and what a login asks about its
// own token. Each path once, in the order of the alphabet. A VaultSecretID counts where its VaultAppRole is
// among them; a provider for what is read of its key. Which connection a resource refers to, and what the
// grants of that make of it, is not looked at here.
// `probe_hosts`: the operator's --probe-host. Without one that a provider's keyProbe may use, the operator
// does not read the key to try it.
std::string operator_policy(std::span<const Resource> resources,
                            const std::vector<std::string>& probe_hosts = {});

}  // namespace keyshepherd::planner
