// Reconciles a VaultConnection: logs in, checks the Vault, reports and removes leftovers.
#pragma once

#include "reconciler.hpp"

#include <cstdint>
#include <optional>
#include <vector>

namespace keyshepherd::controller {

class ConnectionReconciler : public Reconciler {
public:
    using Reconciler::Reconciler;
    Task<Again> reconcile();

private:
    std::vector<Key> in_use() const;
    bool revokes_tokens() const;
    // Lets the next reconcile log in again, at most once a minute.
    void renew_session(const result<SessionPtr>& session);
    Task<void> look_for_restore(SessionPtr session);
    Task<result<bool>> destroy_again(SessionPtr session, DestroyedSecretIds::Destroyed one);
    // Reports clocks that differ, in `update` and in a metric.
    void tell_of_clocks(std::optional<std::int64_t> ahead_of_vault, StatusUpdate& update);
    // Reports in `update` which resources are in Vault without a grant.
    void tell_of_ungranted(StatusUpdate& update);
    // Removes what deleted resources left in this Vault if the connection grants it, and reports the rest in
    // `update`.
    Task<result<void>> remove_leftovers(SessionPtr session, StatusUpdate& update);
    // Succeeds if nothing is left in Vault, or if the operator may not remove it.
    Task<result<void>> remove_leftover(SessionPtr session, Leftover leftover, bool may_revoke);
};

}  // namespace keyshepherd::controller
