#include "reserved_names.hpp"

#include <keyshepherd/planner/plan.hpp>

#include <fmt/format.h>

#include <utility>

namespace keyshepherd::controller {

bool ReservedNames::put(const Key& connection, const std::string& vault, reconcile::OwnNames names) {
    const auto at = logins_.find(connection);
    if (at != logins_.end() && at->second.vault == vault) {
        if (at->second.names == names) return false;
        at->second.names = std::move(names);
        return true;
    }
    const bool moved = erase(connection);
    by_vault_[vault].insert(connection);
    const bool adds = !names.policies.empty() || !names.roles.empty();
    logins_.emplace(connection, Login{vault, std::move(names)});
    return moved || adds;
}

bool ReservedNames::erase(const Key& connection) {
    const auto at = logins_.find(connection);
    if (at == logins_.end()) return false;
    const auto vault = by_vault_.find(at->second.vault);
    vault->second.erase(connection);
    if (vault->second.empty()) by_vault_.erase(vault);
    logins_.erase(at);
    return true;
}

bool ReservedNames::has(const Key& connection, const std::string& vault) const {
    const auto at = logins_.find(connection);
    return at != logins_.end() && at->second.vault == vault;
}

std::string ReservedNames::vault(const Key& connection) const {
    const auto at = logins_.find(connection);
    return at == logins_.end() ? std::string() : at->second.vault;
}

reconcile::OwnNames ReservedNames::of(const std::string& vault) const {
    reconcile::OwnNames all;
    for (const Key& connection : connections(vault)) {
        const reconcile::OwnNames& names = logins_.at(connection).names;
        all.policies.insert(names.policies.begin(), names.policies.end());
        all.roles.insert(names.roles.begin(), names.roles.end());
    }
    return all;
}

std::vector<Key> ReservedNames::connections(const std::string& vault) const {
    const auto at = by_vault_.find(vault);
    if (at == by_vault_.end()) return {};
    return {at->second.begin(), at->second.end()};
}

namespace {

// Refuses a role that a connection logs in with.
planner::Judgement without_login_roles(planner::Judgement judgement, const resources::Resource& resource,
                                       const reconcile::OwnNames& reserved) {
    if (const std::string claim = planner::claim(resource);
        judgement.faults.empty() && reserved.roles.contains(claim))
        judgement.faults.push_back(
            {"spec.name",
             fmt::format("{} is reserved: the operator logs in with this role; set another name", claim)});
    return judgement;
}

}  // namespace

planner::Judgement judge(const resources::Resource& resource, const resources::Resource& connection,
                         const reconcile::OwnNames& reserved, const planner::Mounts& mounts) {
    return without_login_roles(planner::judge(resource, connection, reserved.policies, mounts), resource,
                               reserved);
}

planner::Judgement judge_removal(const resources::Resource& resource, const resources::Resource& connection,
                                 const reconcile::OwnNames& reserved) {
    return without_login_roles(planner::judge_removal(resource, connection, reserved.policies), resource,
                               reserved);
}

}  // namespace keyshepherd::controller
