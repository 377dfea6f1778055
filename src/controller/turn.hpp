// One reconcile of one resource. The caller owns the turn until reconcile() returns, and uses it once.
#pragma once

#include "runtime.hpp"

#include <keyshepherd/planner/delivery.hpp>
#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/planner/plan.hpp>
#include <keyshepherd/planner/rotation.hpp>
#include <keyshepherd/planner/secret_id.hpp>
#include <keyshepherd/planner/status.hpp>
#include <keyshepherd/planner/ungranted.hpp>

#include <expected>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace keyshepherd::controller {

// The parts of a reconcile that all kinds share.
class Turn {
public:
    Turn(Runtime& runtime, Key key, EntryPtr entry);

    const char* outcome = "success";  // for the metric: success, changed, refused, error

protected:
    // The connection and session that reach Vault for this resource.
    struct Way {
        EntryPtr connection;
        SessionPtr session;
        reconcile::OwnNames reserved;  // names that no resource may use
    };
    // Vault cannot be reached. The status already reports it; `again` is the result of the reconcile.
    struct NoWay {
        Again again;
    };
    Task<std::expected<Way, NoWay>> way(Key through);
    // Another connection to the same Vault that grants a deletion, for a resource whose own connection cannot
    // log in any more, for example because its ServiceAccount was deleted with the namespace. nullopt if no
    // such connection can log in.
    Task<std::optional<Way>> way_by_another(Key through);
    // The mounts in Vault if the grants of the resource depend on them, otherwise none.
    Task<planner::Mounts> mounts_for(const resources::Resource& of, SessionPtr session);

    bool deleting() const { return !entry_->resource.deletion_time.empty(); }
    const resources::Resource& resource() const { return entry_->resource; }
    milliseconds period() const;  // resyncPeriod
    milliseconds resync() const;
    // Writes the status. Returns `next`. If the write failed, returns the time of the retry if that is
    // sooner.
    Task<Again> report(Finding finding, Again next);
    // Reports Ready=False with this reason.
    Task<Again> refuse(std::string reason, std::string message, Again next = std::nullopt,
                       std::optional<bool> synced = std::nullopt);
    // Reports that the connection does not grant the resource, before any request to Vault. `left` describes
    // what the resource still has in Vault.
    Task<Again> refuse_ungranted(std::string message, std::optional<planner::Condition> left,
                                 Again next = std::nullopt);
    // Queues the connection, whose status names resources that are in Vault without a grant.
    void tell_connection();
    void event(kube::Event::Type type, std::string reason, std::string action, std::string note);
    // Reports that spec or annotations are invalid.
    Task<Again> invalid();
    // Reports an error of Vault or of the connection. `connection` may be null.
    Task<Again> failed(EntryPtr connection, Error error);
    // Handles a deletion that is not possible now. After the connection's deletionTimeout, removes the
    // finalizer and records what the resource left in Vault.
    Task<Again> wait_or_orphan(EntryPtr connection, std::string why);
    // Records what the resource leaves in Vault. Errc::invalid if there is nothing to record. `connection`
    // may be null.
    Task<result<void>> record_leftover(EntryPtr connection);
    // Removes the finalizer.
    Task<Again> let_go();

    static std::string joined(const std::vector<resources::Fault>& faults);

    std::string vault_path_;  // path of the object in Vault, for messages
    Runtime& runtime_;
    const Key key_;
    const EntryPtr entry_;  // the resource when the reconcile began
    const bool asked_;      // a change asked for this reconcile, not only the resync period
};

class ConnectionTurn : public Turn {
public:
    using Turn::Turn;
    Task<Again> reconcile();

private:
    std::vector<Key> in_use() const;
    bool revokes_tokens() const;
    // Lets the next reconcile log in again, at most once a minute.
    void renew_session(const result<SessionPtr>& session);
    Task<void> look_for_restore(SessionPtr session);
    Task<result<bool>> destroy_again(SessionPtr session, DestroyedSecretIds::Destroyed one);
    // Reports clocks that differ, in `finding` and in a metric.
    void tell_of_clocks(std::optional<std::int64_t> ahead_of_vault, Finding& finding);
    // Reports in `finding` which resources are in Vault without a grant.
    void tell_of_ungranted(Finding& finding);
    // Removes what deleted resources left in this Vault if the connection grants it, and reports the rest in
    // `finding`.
    Task<result<void>> remove_leftovers(SessionPtr session, Finding& finding);
    // Succeeds if nothing is left in Vault, or if the operator may not remove it.
    Task<result<void>> remove_leftover(SessionPtr session, Leftover leftover, bool may_revoke);
};

// Mounts, policies and roles.
class VaultObjectTurn : public Turn {
public:
    using Turn::Turn;
    Task<Again> reconcile();

private:
    Task<EntryPtr> owner(std::string vault);
    // The age of a snapshot that matches the last result. nullopt if the object itself has to be read.
    // Nothing is decided, written or reported from a snapshot.
    Task<std::optional<milliseconds>> confirmed(const Way& way, const planner::Standing& standing);
    // The time until the next reconcile if nothing changes. `age` is that of a matching snapshot.
    Again rest(std::optional<milliseconds> age = std::nullopt);
    Task<Again> converge(const Way& way, const planner::Observation& observed,
                         const planner::Standing& standing, std::string claim);
    void report_role_id(const std::string& role_id);
    void wake_refused();
    bool removes() const;
    std::string removal_refusal(const Way& way) const;
    Task<Again> remove(const Way& way, planner::Observation observed, planner::Standing standing);
    // The annotation keyshepherd.dev/cut-off of a VaultAppRole.
    struct Swept {
        std::size_t secret_ids = 0;
        std::size_t tokens = 0;
    };
    Task<Again> cut_off(const Way& way, const planner::Judgement& judgement, bool owner);
    std::string cut_off_refusal(const Way& way, bool owner) const;
    Task<result<Swept>> sweep(const Way& way);
    Task<result<bool>> end_cut_off(const Way& way);
    Task<result<std::string>> disable_entity(vault::Client& vault);
};

class SecretIdTurn : public Turn {
public:
    SecretIdTurn(Runtime& runtime, Key key, EntryPtr entry);
    ~SecretIdTurn();
    Task<Again> reconcile();

private:
    using What = planner::SecretIdStep::What;

    EntryPtr rival() const;
    bool moved() const;
    // Reads the current role-id from Vault. Errc::not_found if the role has none.
    Task<result<void>> read_role_id();
    Task<result<void>> look();
    Task<result<void>> look_at_targets();
    Task<result<void>> take(const planner::SecretIdStep& step);
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

// Watches the version of a provider's key, and restarts the workloads that need a new one.
class ProviderTurn : public Turn {
public:
    using Turn::Turn;
    Task<Again> reconcile();

private:
    // Reads the version at each path. An error means that Vault is unavailable or refuses the login.
    Task<result<void>> look(const Way& way);
    // Finds the workloads that use the provider, and those that need a new version.
    void sort_users();
    // The provider that is used instead of this AIProvider because it has the same name; "" if there is none.
    std::string name_taken_by() const;
    // Whether the name means this provider in that namespace.
    bool is_for(const std::string& ns) const;
    std::string source_of(const planner::KeyPlace& place, const planner::KeyVersion& key) const;
    Task<result<void>> roll_due();
    Task<result<void>> roll(std::string id);
    Finding finding() const;
    // Implements spec.delivery.secret (provider_delivery.cpp): removes Secrets that are not wanted, and
    // writes the newest key to the others. An error is Vault's, or a cancellation.
    Task<result<void>> deliver(const Way& way);
    struct KeyData;
    Task<result<void>> deliver_to(std::string ns, const planner::KeyPlace& place, const Way& way,
                                  std::map<std::string, KeyData>& data);
    Task<result<void>> read_data(const planner::KeyPlace& place, const Way& way, KeyData& into);
    // Reads a secret of KV version 1. First checks the mount's engine, because reading a path of another
    // engine may create a lease.
    Task<result<void>> read_unversioned(std::string path, const Way& way, KeyData& into);
    Task<result<planner::KeyView>> look_at_unversioned(std::string path, const Way& way);
    Task<result<void>> write_secret(std::string ns, planner::DeliveryStep step,
                                    std::optional<planner::FoundSecret> found, const planner::KeyPlace& place,
                                    planner::KeyVersion delivered, std::string source, const Json& fields);
    // Records in the Secret, just written as `version`, since when it has its key.
    Task<result<void>> date_secret(std::string ns, std::string uid, std::string version);
    // Removes the Secret from all namespaces except `but`, `grace` after its last reader.
    Task<result<void>> withdraw(std::set<std::string> but, std::chrono::seconds grace);
    Task<result<void>> withdraw_from(std::string ns, std::chrono::seconds grace);
    Task<result<void>> mark_unread(std::string ns, planner::FoundSecret found);
    void tell_of_delivery(Finding& found) const;
    // Tests each key whose version was not tested yet, and the others when their interval has passed. An
    // error is Vault's, or a cancellation.
    Task<result<void>> try_keys(const Way& way);
    // nullopt if Vault does not return this version yet.
    Task<result<std::optional<planner::Condition>>> try_key(const planner::KeyPlace& place, const Way& way);
    void record_trial(const planner::KeyPlace& place, planner::Condition condition);
    // Adds the condition KeyValid.
    void report_validity(Finding& found);
    // When the current template of a workload was first run (planner::template_since()).
    Task<result<std::optional<std::int64_t>>> template_since(const planner::Workload& workload);
    Task<Again> refuse_all(std::string reason, std::string message);

    struct Stale {
        planner::Workload workload;
        planner::KeyVersion key;
        std::string record;  // of the rollout that delivers the key
        // Do not restart the workload if its template is younger: pods that start later get the key.
        std::optional<std::int64_t> unless_after = {};
    };
    std::vector<planner::KeyPlace> places_;
    std::map<std::string, planner::KeyView> views_;  // by path
    std::map<std::string, Stale> stale_;             // workloads to restart, by id
    std::int64_t vault_lead_ = 0;  // seconds by which Vault's clock is ahead of the API server's
    std::int64_t users_ = 0;
    std::int64_t skipped_ = 0;
    std::map<std::string, planner::Delivered> delivered_;  // by namespace
    std::size_t not_selected_ = 0;              // namespaces with readers that delivery does not select
    std::optional<milliseconds> next_removal_;  // of a Secret without readers
    bool deliver_again_ = false;                // the API server refused a write
    bool try_again_ = false;                    // some key was not tested yet
};

}  // namespace keyshepherd::controller
