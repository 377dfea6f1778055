// What `plan --policy-for-operator` prints.
#pragma once

#include "given_resources.hpp"

#include <string>
#include <vector>

namespace keyshepherd::app {

struct OperatorPolicyText {
    std::string text;  // one policy a VaultConnection; with several, a comment before each says whose it is
    std::vector<std::string> warnings;
};

// What a connection's grants refuse is left out with a warning: the operator never asks Vault for it.
// `probe_hosts`: the operator's --probe-host. A provider whose key it does not try is warned of.
OperatorPolicyText operator_policy_text(const GivenResources& given,
                                        const std::vector<std::string>& probe_hosts);

}  // namespace keyshepherd::app
