#include "operator_policy_text.hpp"

#include <keyshepherd/core/text.hpp>
#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/planner/key_probe.hpp>
#include <keyshepherd/planner/operator_policy.hpp>

#include <fmt/format.h>

#include <optional>
#include <set>

namespace keyshepherd::app {

namespace {

// The first thing that is refused of the resource. Which policies are the operator's own and what is mounted
// is not known without a login; the operator refuses what depends on it.
std::optional<resources::Fault> refusal(const resources::Resource& resource, const GivenResources& given) {
    auto faults = permission(resource, given, {}, planner::assumed_mounts(resource)).faults;
    if (faults.empty()) return std::nullopt;
    return std::move(faults.front());
}

std::string left_out_text(const resources::Resource& resource, const resources::Fault& fault) {
    return fmt::format("skipped {}: {}: {}", resource.text(), fault.field, fault.message);
}

}  // namespace

OperatorPolicyText operator_policy_text(const GivenResources& given,
                                        const std::vector<std::string>& probe_hosts) {
    OperatorPolicyText made;
    std::map<ConnectionName, std::vector<resources::Resource>> asked;
    for (const auto& [name, connection] : given.connections) asked[name].push_back(connection);
    std::set<const resources::Resource*> left_out;
    // A VaultSecretID comes behind its role, whose connection is its own.
    for (const FileResource& file : given.resources) {
        if (is_secret_id(file.resource)) {
            const resources::Resource* role = role_of(file.resource, given);
            if (role != nullptr && !left_out.contains(role))
                asked[connection_of(*role)].push_back(file.resource);
            else
                made.warnings.push_back(fmt::format(
                    "skipped {}: spec.appRoleRef.name: VaultAppRole {}/{} {}", file.resource.text(),
                    file.resource.ns, file.resource.spec.at("appRoleRef").value("name", ""),
                    role == nullptr ? "is not in the given files" : "was skipped, too"));
            continue;
        }
        if (const auto fault = refusal(file.resource, given)) {
            made.warnings.push_back(left_out_text(file.resource, *fault));
            left_out.insert(&file.resource);
            continue;
        }
        asked[connection_of(file.resource)].push_back(file.resource);
    }
    for (const resources::Resource& provider : given.providers) {
        if (const auto fault = refusal(provider, given)) {
            made.warnings.push_back(left_out_text(provider, *fault));
            continue;
        }
        asked[connection_of(provider)].push_back(provider);
        if (!planner::probes(provider)) continue;
        if (const auto target = planner::stated_probe_target(provider, probe_hosts); !target)
            made.warnings.push_back(fmt::format("the operator will not test the key of {}: spec.keyProbe: {}",
                                                provider.text(), target.error().message));
    }
    // A tenant decides how long a deleted resource stays, by a finalizer, and what it names: the operator
    // needs rights only for what it made itself and may still remove.
    for (const resources::Resource& resource : given.leaving) {
        const resources::Resource* bearer = is_secret_id(resource) ? role_of(resource, given) : &resource;
        if (bearer == nullptr || bearer->claim.empty()) continue;
        const auto connection = given.connections.find(connection_of(*bearer));
        if (connection == given.connections.end()) continue;
        if (const auto faults = planner::judge_removal(*bearer, connection->second, {}).faults;
            !faults.empty()) {
            made.warnings.push_back(left_out_text(resource, faults.front()));
            continue;
        }
        asked[connection->first].push_back(resource);
    }
    for (const auto& [name, resources] : asked) {
        if (!made.text.empty()) made.text += '\n';
        if (asked.size() > 1) {
            const auto at = given.connections.find(name);
            const std::string vault_namespace =
                at == given.connections.end() ? "" : at->second.spec.value("vaultNamespace", "");
            made.text += printable(fmt::format(
                             "# VaultConnection {}/{}{}", name.first, name.second,
                             vault_namespace.empty() ? "" : ", Vault namespace " + vault_namespace)) +
                         "\n";
        }
        made.text += planner::operator_policy(resources, probe_hosts);
    }
    if (asked.empty())
        made.warnings.push_back(
            "no policy printed: the operator needs no access to Vault for the given resources");
    if (asked.size() > 1)
        made.warnings.push_back(
            fmt::format("the resources use {} connections; the output contains one policy for each "
                        "connection, below a comment with the name of the connection",
                        asked.size()));
    return made;
}

}  // namespace keyshepherd::app
