// One look at one resource. A turn is kept by whoever waits for its reconcile(), and used once.
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

// What all kinds do alike.
class Turn {
public:
    Turn(Runtime& runtime, Key key, EntryPtr entry);

    const char* outcome = "success";  // for the metric: success, changed, refused, error

protected:
    // How Vault is reached for this resource.
    struct Way {
        EntryPtr connection;
        SessionPtr session;
        reconcile::OwnNames reserved;  // what no resource may touch
    };
    // Vault is not reached, which is reported: what the turn comes to.
    struct NoWay {
        Again again;
    };
    Task<std::expected<Way, NoWay>> way(Key through);
    // For a deletion that the connection of the resource can no longer do, such as one whose ServiceAccount
    // went with the namespace: another connection to the same Vault that grants it. nullopt: there is none
    // that can log in.
    Task<std::optional<Way>> way_by_another(Key through);
    // Vault's mounts, where a judgement about the resource may depend on them.
    Task<planner::Mounts> mounts_for(const resources::Resource& of, SessionPtr session);

    bool deleting() const { return !entry_->resource.deletion_time.empty(); }
    const resources::Resource& resource() const { return entry_->resource; }
    milliseconds period() const;  // resyncPeriod
    milliseconds resync() const;
    // Writes the status. Gives `next`, or the time to try again, when that is sooner, if it was not written.
    Task<Again> report(Finding finding, Again next);
    // Likewise, of what is not done: Ready is False for this reason.
    Task<Again> refuse(std::string reason, std::string message, Again next = std::nullopt,
                       std::optional<bool> synced = std::nullopt);
    // Not granted, and before any request. `left`: what the resource has in Vault all the same; none:
    // nothing.
    Task<Again> refuse_ungranted(std::string message, std::optional<planner::Condition> left,
                                 Again next = std::nullopt);
    // The connection's status has to tell of what is not granted and in Vault all the same.
    void tell_connection();
    void event(kube::Event::Type type, std::string reason, std::string action, std::string note);
    // Spec or annotations have faults of their own.
    Task<Again> invalid();
    // Vault, or the way to it, is in trouble. `connection` may be null.
    Task<Again> failed(EntryPtr connection, Error error);
    // A deletion that cannot be done: after the connection's deletionTimeout the resource goes, and what it
    // has in Vault is recorded as left.
    Task<Again> wait_or_orphan(EntryPtr connection, std::string why);
    // Errc::invalid: there is nothing to record. `connection` may be null.
    Task<result<void>> record_leftover(EntryPtr connection);
    // Nothing holds the resource any more.
    Task<Again> let_go();

    static std::string joined(const std::vector<resources::Fault>& faults);

    std::string vault_path_;  // of what the resource is about, for messages
    Runtime& runtime_;
    const Key key_;
    const EntryPtr entry_;  // as it was when the turn began
    const bool asked_;      // for another reason than that time has gone by
};

class ConnectionTurn : public Turn {
public:
    using Turn::Turn;
    Task<Again> reconcile();

private:
    std::vector<Key> in_use() const;
    bool revokes_tokens() const;
    // Lets the next look log in again, once a minute at most.
    void renew_session(const result<SessionPtr>& session);
    Task<void> look_for_restore(SessionPtr session);
    Task<result<bool>> destroy_again(SessionPtr session, DestroyedSecretIds::Destroyed one);
    // Tells in `finding`, and by a metric, of clocks that differ.
    void tell_of_clocks(std::optional<std::int64_t> ahead_of_vault, Finding& finding);
    // Tells in `finding` which resources are not granted, and are in Vault all the same.
    void tell_of_ungranted(Finding& finding);
    // Removes what deleted resources left in this Vault, as far as the connection grants it; `finding` gets
    // the rest.
    Task<result<void>> remove_leftovers(SessionPtr session, Finding& finding);
    // Success: nothing of it is left in Vault any more, or it is not ours to remove.
    Task<result<void>> remove_leftover(SessionPtr session, Leftover leftover, bool may_revoke);
};

// Mounts, policies and roles.
class VaultObjectTurn : public Turn {
public:
    using Turn::Turn;
    Task<Again> reconcile();

private:
    Task<EntryPtr> owner(std::string vault);
    // How old the snapshot is that shows everything as it was found the last time; nullopt: Vault has to be
    // asked about the object. On a snapshot nothing is decided, written or told.
    Task<std::optional<milliseconds>> confirmed(const Way& way, const planner::Standing& standing);
    // Until the next look, when nothing happens. `age`: of the snapshot that has confirmed it.
    Again rest(std::optional<milliseconds> age = std::nullopt);
    Task<Again> converge(const Way& way, const planner::Observation& observed,
                         const planner::Standing& standing, std::string claim);
    void report_role_id(const std::string& role_id);
    void wake_refused();
    bool removes() const;
    std::string removal_refusal(const Way& way) const;
    Task<Again> remove(const Way& way, planner::Observation observed, planner::Standing standing);
    // keyshepherd.dev/cut-off, of a VaultAppRole
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
    // The role-id that a login needs now, out of Vault. Errc::not_found when the role has none.
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
    const std::string owner_;  // of what we issue, in its metadata
    std::string role_;         // API path of the role
    std::string role_id_;
    std::string connection_;  // "namespace/name"
    std::string vault_;       // as vault_of() names it
    SessionPtr session_;
    planner::SecretIdRecord record_;
    planner::SecretIdView view_;
    std::string pending_uid_;
    std::string value_;  // that is published
    std::string pending_value_;
    std::string enrolling_;  // why a new one was drawn, for the event
    bool revoke_tokens_ = false;
    bool swept_ = false;  // nothing was amiss before the one that is being issued
};

// The version of a provider's key, and the workloads that a new one has to reach.
class ProviderTurn : public Turn {
public:
    using Turn::Turn;
    Task<Again> reconcile();

private:
    // Nothing: all places were looked at. Otherwise Vault is away, or the login is refused.
    Task<result<void>> look(const Way& way);
    // Who uses the provider, and which of them a new version has to reach.
    void sort_users();
    // Who is used in place of this AIProvider, since it has the same name; "": it is used.
    std::string name_taken_by() const;
    // Whether workloads of that namespace mean this provider by its name.
    bool is_for(const std::string& ns) const;
    std::string source_of(const planner::KeyPlace& place, const planner::KeyVersion& key) const;
    Task<result<void>> roll_due();
    Task<result<void>> roll(std::string id);
    Finding finding() const;
    // Of spec.delivery.secret, in provider_delivery.cpp: no Secret is where none is wanted, and every other
    // has the newest key. An error is Vault's, or that we are told to stop.
    Task<result<void>> deliver(const Way& way);
    struct KeyData;
    Task<result<void>> deliver_to(std::string ns, const planner::KeyPlace& place, const Way& way,
                                  std::map<std::string, KeyData>& data);
    Task<result<void>> read_data(const planner::KeyPlace& place, const Way& way, KeyData& into);
    // Reads a secret of KV version 1, after it asked which engine the mount has: to read a path of another
    // engine may create a lease.
    Task<result<void>> read_unversioned(std::string path, const Way& way, KeyData& into);
    Task<result<planner::KeyView>> look_at_unversioned(std::string path, const Way& way);
    Task<result<void>> write_secret(std::string ns, planner::DeliveryStep step,
                                    std::optional<planner::FoundSecret> found, const planner::KeyPlace& place,
                                    planner::KeyVersion delivered, std::string source, const Json& fields);
    // Adds since when a Secret has its key, which was just written as `version`.
    Task<result<void>> date_secret(std::string ns, std::string uid, std::string version);
    // Removes the Secret from all namespaces but those, `grace` after its last reader.
    Task<result<void>> withdraw(std::set<std::string> but, std::chrono::seconds grace);
    Task<result<void>> withdraw_from(std::string ns, std::chrono::seconds grace);
    Task<result<void>> mark_unread(std::string ns, planner::FoundSecret found);
    void tell_of_delivery(Finding& found) const;
    // Tries each key whose version was not tried yet, and the others when it is time to. An error is Vault's,
    // or that we are told to stop.
    Task<result<void>> try_keys(const Way& way);
    // Nothing: Vault does not give this version yet.
    Task<result<std::optional<planner::Condition>>> try_key(const planner::KeyPlace& place, const Way& way);
    void record_trial(const planner::KeyPlace& place, planner::Condition condition);
    // Adds the condition KeyValid.
    void report_validity(Finding& found);
    // When the present template of a workload was first run, as planner::template_since() says.
    Task<result<std::optional<std::int64_t>>> template_since(const planner::Workload& workload);
    Task<Again> refuse_all(std::string reason, std::string message);

    struct Stale {
        planner::Workload workload;
        planner::KeyVersion key;
        std::string record;  // of the rollout that brings the key
        // Rolled only if its template is not younger: pods that start later than this get the key.
        std::optional<std::int64_t> unless_after = {};
    };
    std::vector<planner::KeyPlace> places_;
    std::map<std::string, planner::KeyView> views_;  // by path
    std::map<std::string, Stale> stale_;             // that have to be rolled, by id
    std::int64_t vault_lead_ = 0;  // seconds that Vault's clock is ahead of the API server's
    std::int64_t users_ = 0;
    std::int64_t skipped_ = 0;
    std::map<std::string, planner::Delivered> delivered_;  // by namespace
    std::size_t not_selected_ = 0;                         // namespaces with readers that may not have it
    std::optional<milliseconds> next_removal_;             // of a Secret that no workload reads
    bool deliver_again_ = false;                           // the API server was in the way
    bool try_again_ = false;                               // a key is left that was not tried
};

}  // namespace keyshepherd::controller
