// Reconciles a VaultSecretID: executes the steps of planner/secret_id.hpp with Vault and a Secret.
#pragma once

#include "reconciler.hpp"

#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/planner/secret_id.hpp>

#include <cstddef>
#include <string>

namespace keyshepherd::controller {

class SecretIdReconciler : public Reconciler {
public:
    SecretIdReconciler(Runtime& runtime, Key key, EntryPtr entry);
    ~SecretIdReconciler();
    Task<Again> reconcile();

private:
    using What = planner::SecretIdStep::What;

    EntryPtr rival() const;
    bool moved() const;
    // Reads the current role-id from Vault. Errc::not_found if the role has none.
    Task<result<void>> read_role_id();
    Task<result<void>> look();
    Task<result<void>> look_at_targets();
    Task<result<void>> execute(const planner::SecretIdStep& step);
    Task<result<void>> draw(std::string why);
    Task<result<void>> draw_finalized(std::string why);
    Task<result<void>> enroll();
    Json secret(const std::string& name, Json data) const;
    Task<result<void>> write_secret(std::string& value);
    Task<result<Json>> put_secret(std::string& value);
    Task<result<void>> discard();
    void unsure();
    void tell_time();
    Task<result<void>> restart();
    Task<result<void>> list();
    Task<result<void>> destroy(const planner::SecretIdStep& step);
    Task<result<void>> tell(planner::SecretIdRecord record);
    void tell_revoked(std::size_t tokens);
    Task<Again> remove();
    planner::Judgement judge_removal_at(const std::string& path, const Way& way) const;
    void limit_revocation(const planner::Judgement& granted);
    void tell_left(const std::string& why);
    Task<result<void>> remove_from_vault(const Way& way);
    Task<result<void>> remove_secrets(bool retain);

    const std::string secret_name_;
    const std::string pending_name_;
    const std::string owner_;  // owner in the metadata of issued secret-ids
    std::string role_;         // API path of the role
    std::string role_id_;
    std::string connection_;  // "namespace/name"
    std::string vault_;       // as vault_of() names it
    SessionPtr session_;
    planner::SecretIdRecord record_;
    planner::SecretIdView view_;
    std::string pending_uid_;
    std::string value_;  // the published value
    std::string pending_value_;
    std::string enrolling_;  // why a new secret-id is issued, for the event
    bool revoke_tokens_ = false;
    bool swept_ = false;  // no orphan existed before the secret-id that is being issued
};

}  // namespace keyshepherd::controller
