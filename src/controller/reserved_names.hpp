// The names in each Vault that give the operator its rights: the policies of its logins, and the roles that
// it logs in with. A resource must not use the names of any connection to the same Vault, because the right
// to write the policy of another connection's login gives that connection's rights. Pure.
#pragma once

#include "store.hpp"

#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/reconcile/vault_object.hpp>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace keyshepherd::controller {

class ReservedNames {
public:
    // Sets the names of the login of `connection` to `vault` (a name from vault_of()). If a connection cannot
    // log in, its previous names stay. Returns true if the reserved names of a Vault changed.
    bool put(const Key& connection, const std::string& vault, reconcile::OwnNames names);
    // Removes a deleted connection. Returns true if the reserved names of a Vault changed.
    bool erase(const Key& connection);
    // Whether the names of the connection to this Vault were read, or an attempt to read them failed.
    bool has(const Key& connection, const std::string& vault) const;
    // The Vault of the connection; "" if it is not known.
    std::string vault(const Key& connection) const;
    // The names of all connections to the Vault.
    reconcile::OwnNames of(const std::string& vault) const;
    // The connections to the Vault.
    std::vector<Key> connections(const std::string& vault) const;

private:
    struct Login {
        std::string vault;
        reconcile::OwnNames names;
    };
    std::map<Key, Login> logins_;
    std::map<std::string, std::set<Key>> by_vault_;
};

// Like planner::judge(), which knows only the login of `connection`. Also refuses roles that other
// connections to the Vault log in with.
planner::Judgement judge(const resources::Resource& resource, const resources::Resource& connection,
                         const reconcile::OwnNames& reserved, const planner::Mounts& mounts = {});

// Like planner::judge_removal(), also with the roles of all connections to the Vault.
planner::Judgement judge_removal(const resources::Resource& resource, const resources::Resource& connection,
                                 const reconcile::OwnNames& reserved);

}  // namespace keyshepherd::controller
