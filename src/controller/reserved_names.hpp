// The names in each Vault that carry the operator's own power: the policies of its logins, and the roles that
// it logs in by. A resource must not touch those of any connection to the same Vault: who may write the
// policy of another connection's login has that connection's rights. Pure.
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
    // What the login of `connection` to `vault` (as vault_of() gives it) is known to have. What was known
    // before stays while a connection cannot log in. True: the names that are reserved in a Vault are others
    // now.
    bool put(const Key& connection, const std::string& vault, reconcile::OwnNames names);
    // The connection is gone.
    bool erase(const Key& connection);
    // Whether the names of the connection, to this Vault, were asked for; also in vain.
    bool has(const Key& connection, const std::string& vault) const;
    // The Vault of the connection; "": nothing is known of it.
    std::string vault(const Key& connection) const;
    // Those of all connections to the Vault.
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

// As planner::judge(), which knows the login of `connection` alone: a role that any connection to the Vault
// logs in by is refused too.
planner::Judgement judge(const resources::Resource& resource, const resources::Resource& connection,
                         const reconcile::OwnNames& reserved, const planner::Mounts& mounts = {});

// As planner::judge_removal(), and likewise with the roles of every connection to the Vault.
planner::Judgement judge_removal(const resources::Resource& resource, const resources::Resource& connection,
                                 const reconcile::OwnNames& reserved);

}  // namespace keyshepherd::controller
