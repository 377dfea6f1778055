#include "vault_object_reconciler.hpp"

#include <keyshepherd/fsm/resync.hpp>
#include <keyshepherd/kube/random.hpp>
#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/planner/ungranted.hpp>
#include <keyshepherd/reconcile/vault_object.hpp>

#include <fmt/format.h>

namespace keyshepherd::controller {

using planner::Truth;
using planner::Verdict;

namespace {

std::string difference(const planner::Plan& plan) {
    return plan.verdict == Verdict::create ? "created" : planner::summary(plan.changes);
}

}  // namespace

Task<Again> VaultObjectReconciler::reconcile() {
    const auto later = runtime_.pop_deferred_status(key_);
    if (deleting() && !resource().finalized) co_return std::nullopt;
    // The emergency brake goes before a pause.
    if (resource().paused && !resource().cut_off && !deleting()) {
        co_return co_await report(
            {.ready = Truth::unknown, .reason = "Paused", .message = "keyshepherd.dev/paused is true"},
            std::nullopt);
    }
    if (!entry_->faults.empty() && !deleting()) co_return co_await invalid();
    if (later && !deleting() && later->generation == resource().generation) {
        co_return co_await report(later->update, later->woken ? milliseconds(0) : rest());
    }

    const auto reached = co_await way(connection_of(resource()));
    if (!reached) co_return reached.error().again;
    // Before anything else leaves for Vault.
    planner::Judgement judgement;
    if (!deleting()) {
        const planner::Mounts mounts = co_await mounts_for(resource(), reached->session);
        judgement = judge(resource(), reached->connection->resource, reached->reserved, mounts);
    }
    const std::string vault = vault_of(reached->connection->resource);
    const std::string claim = vault + " " + vault_path_;
    if (!judgement.faults.empty()) {
        std::optional<planner::Condition> left;
        if (runtime_.owns(resource(), claim)) left = planner::ungranted_object(resource(), vault_path_);
        // A mount that is made by hand wakes nobody.
        const Again next = planner::needs_mounts(resource()) ? rest() : std::nullopt;
        co_return co_await refuse_ungranted(joined(judgement.faults), std::move(left), next);
    }
    const EntryPtr owned_by = deleting() ? nullptr : co_await owner(vault);
    if (owned_by != nullptr) {
        // Woken when that one goes.
        co_return co_await refuse(
            "Conflict", fmt::format("{} already belongs to {}", vault_path_, owned_by->resource.text()),
            std::nullopt, false);
    }
    const bool owns = runtime_.owns(resource(), claim);
    if (deleting()) {
        if (!owns || !removes()) co_return co_await remove(*reached, {}, {.owner = owns});
        if (const std::string refusal = removal_refusal(*reached); !refusal.empty())
            co_return co_await wait_or_orphan(reached->connection, refusal);
    }
    const planner::Ownership ownership{
        .owner = owns, .may_adopt = judgement.rights.adopt, .role_id = resource().role_id};
    if (key_.kind->id == resources::KindId::vault_approle && !deleting() &&
        (resource().cut_off || entry_->status.contains("cutOffEntity"))) {
        const auto settled = co_await cut_off(*reached, judgement, ownership.owner);
        if (resource().cut_off || settled) co_return settled;
    }
    if (const auto age = co_await confirmed(*reached, ownership)) {
        runtime_.queue.forget(key_);
        co_return rest(age);
    }
    auto observed = co_await reconcile::observe(reached->session->vault, resource(), runtime_.soon());
    if (!observed) co_return co_await failed(reached->connection, observed.error());
    if (const auto wait =
            runtime_.recent_writes.doubt(key_, planner::state_of(resource(), *observed), SteadyClock::now()))
        co_return *wait;
    if (deleting()) co_return co_await remove(*reached, *observed, ownership);
    co_return co_await converge(*reached, *observed, ownership, claim);
}

// Whether the deletion of the resource changes anything in Vault, when it owns the object.
bool VaultObjectReconciler::removes() const {
    return resource().spec.value("deletionPolicy", "") == "Delete" || entry_->status.contains("cutOffEntity");
}

// Why the connection does not allow what the deletion would do; "": it does.
std::string VaultObjectReconciler::removal_refusal(const Way& way) const {
    const planner::Judgement granted = judge_removal(resource(), way.connection->resource, way.reserved);
    if (!granted.faults.empty()) return joined(granted.faults);
    if (entry_->status.contains("cutOffEntity") && !granted.rights.revoke_tokens)
        return fmt::format(
            "{} does not grant namespace {} the right revokeTokens, which is required to end the cut-off",
            way.connection->resource.text(), key_.ns);
    return {};
}

Task<std::optional<milliseconds>> VaultObjectReconciler::confirmed(const Way& way,
                                                                   const planner::Ownership& ownership) {
    const bool as_told = ownership.owner && resource().finalized &&
                         planner::ready_reason(entry_->status) == "Reconciled" &&
                         entry_->status.value("observedGeneration", std::int64_t{0}) == resource().generation;
    // A snapshot is younger than any write of ours: until the next look that nobody asked for, more time goes
    // by than a snapshot may be old.
    if (asked_ || deleting() || !as_told) co_return std::nullopt;
    const auto seen =
        co_await way.session->snapshots.observe(resource(), fsm::oldest_answer(period()), runtime_.soon());
    if (!seen || planner::plan(resource(), seen->observed, ownership).verdict != Verdict::in_sync)
        co_return std::nullopt;
    co_return std::chrono::ceil<milliseconds>(seen->age);
}

Again VaultObjectReconciler::rest(std::optional<milliseconds> age) {
    const milliseconds wait =
        age ? std::chrono::floor<milliseconds>(fsm::next_look(period(), *age, kube::random_unit()))
            : resync();
    if (const SessionPtr session = runtime_.sessions.find(connection_of(resource())))
        session->snapshots.expect(resource(), SteadyClock::now() + wait);
    runtime_.rest(key_, wait);
    return std::nullopt;
}

Task<Again> VaultObjectReconciler::converge(const Way& way, const planner::Observation& observed,
                                            const planner::Ownership& ownership, std::string claim) {
    vault::Client& vault = way.session->vault;
    const planner::Plan plan = planner::plan(resource(), observed, ownership);
    if (plan.verdict == Verdict::refused) {
        co_return co_await refuse(plan.reason, plan.message, rest(), false);
    }
    const bool same_generation =
        entry_->status.value("observedGeneration", std::int64_t{0}) == resource().generation;
    const bool drift = ownership.owner && same_generation && plan.verdict != Verdict::in_sync;
    if (drift && resource().spec.value("driftPolicy", "") == "Report") {
        if (planner::ready_reason(entry_->status) != "DriftDetected")
            runtime_.metrics.drift(key_.kind->name, false);
        co_return co_await report({.ready = Truth::yes,
                                   .reason = "DriftDetected",
                                   .message = difference(plan),
                                   .synced = false,
                                   .drifted = true,
                                   .gone = {std::string(planner::still_in_vault)}},
                                  rest());
    }
    std::optional<Runtime::CreationGuard> creating;
    if (!ownership.owner || !resource().finalized) {
        creating.emplace(runtime_);
        // What we are about to make or to take over is written down first: after a crash it is still
        // ours.
        if (!co_await runtime_.own(key_, entry_, way.connection, claim)) {
            outcome = "error";
            co_return runtime_.retry_in(key_);
        }
        const EntryPtr latest = runtime_.find(key_);
        if (latest == nullptr || !latest->resource.deletion_time.empty()) co_return milliseconds(0);
    }
    if (!plan.requests.empty()) {
        auto done = co_await reconcile::act(vault, plan, runtime_.soon());
        if (!done) co_return co_await failed(way.connection, done.error());
        runtime_.recent_writes.wrote(key_, planner::state_of(resource(), observed), SteadyClock::now());
        outcome = "changed";
        if (drift) runtime_.metrics.drift(key_.kind->name, true);
        const char* reason = drift                             ? "DriftRepaired"
                             : plan.verdict == Verdict::create ? "Created"
                                                               : "Updated";
        const std::string what =
            drift && plan.verdict == Verdict::create ? "was missing and was created again" : difference(plan);
        std::string note = fmt::format("{}: {}", vault_path_, what);
        for (const std::string& warning : *done) note += "; Vault warns: " + warning;
        runtime_.log.info("changed an object in Vault", {{"kind", key_.kind->name},
                                                         {"namespace", key_.ns},
                                                         {"name", key_.name},
                                                         {"reason", reason},
                                                         {"vaultPath", vault_path_},
                                                         {"difference", what}});
        event(drift ? kube::Event::Type::warning : kube::Event::Type::normal, reason, "Write", note);
    }
    creating.reset();
    runtime_.queue.forget(key_);
    // What was read before is not what was put back.
    std::string role_id = resource().spec.value("roleID", "");
    if (role_id.empty()) role_id = plan.role_id;
    if (key_.kind->id == resources::KindId::vault_approle && role_id.empty()) {
        const auto answer = co_await vault.read(vault_path_ + "/role-id", runtime_.soon());
        if (answer && *answer) role_id = (*answer)->value("role_id", "");
    }
    const bool other_role_id =
        !resource().role_id.empty() && !role_id.empty() && resource().role_id != role_id;
    if (other_role_id && plan.requests.empty()) report_role_id(role_id);
    // The first of the connection that has tokens revoked: the list of those that are out takes a while.
    if (key_.kind->id == resources::KindId::vault_approle && resource().spec.value("revokeTokens", false) &&
        way.session->tokens.refreshed_at() == std::chrono::steady_clock::time_point())
        runtime_.wake(connection_of(resource()));
    StatusUpdate update{.ready = Truth::yes,
                        .reason = "Reconciled",
                        .message = "Vault matches spec",
                        .synced = true,
                        .drifted = false};
    update.changed = !plan.requests.empty();
    update.gone.insert(std::string(planner::still_in_vault));
    update.facts = {{"claim", claim}, {"roleID", role_id}};
    update.gone.insert(std::string(planner::status_trusted));
    if (key_.kind->id == resources::KindId::vault_mount && (!ownership.owner || update.changed)) {
        way.session->mounts_changed();
        wake_refused();
    }
    // They wait for it, have lost what was issued by it, or publish its role-id.
    if (!ownership.owner || update.changed || other_role_id)
        for (const Key& dependent : runtime_.store.dependents(key_)) runtime_.wake(dependent);
    if (update.changed && runtime_.tell_later(key_, update, resource().generation)) co_return std::nullopt;
    if (planner::is_still_in_vault(entry_->status)) tell_connection();
    co_return co_await report(update, rest());
}

// A role-id that no spec pins is Vault's to give, and was changed there.
void VaultObjectReconciler::report_role_id(const std::string& role_id) {
    runtime_.log.warn(
        "the role-id was changed in Vault",
        {{"kind", key_.kind->name}, {"namespace", key_.ns}, {"name", key_.name}, {"vaultPath", vault_path_}});
    event(kube::Event::Type::warning, "RoleIDChanged", "Read",
          fmt::format("{}: the role-id in Vault is now {} (before: {}). The operator updates the Secrets of "
                      "its VaultSecretIDs. To pin a role-id, set spec.roleID",
                      vault_path_, role_id, resource().role_id));
}

// What was refused may have waited for this mount.
void VaultObjectReconciler::wake_refused() {
    for (const Key& key : runtime_.store.dependents(connection_of(resource())))
        if (const EntryPtr entry = runtime_.find(key);
            entry != nullptr && planner::ready_reason(entry->status) == "NotGranted")
            runtime_.wake(key);
}

Task<Again> VaultObjectReconciler::remove(const Way& way, planner::Observation observed,
                                          planner::Ownership ownership) {
    const planner::Plan plan = planner::plan_removal(resource(), observed, ownership);
    if (ownership.owner && entry_->status.contains("cutOffEntity")) {
        // The entity stays when the role goes: whoever makes that role again would find it disabled.
        const auto ended = co_await end_cut_off(way);
        if (!ended) co_return co_await failed(way.connection, ended.error());
        if (!*ended)
            event(kube::Event::Type::warning, "EntityDisabled", "Delete",
                  fmt::format("{1} may have issued batch tokens, which Vault cannot list or revoke. The "
                              "identity entity {0} stays disabled, because these batch tokens would be valid "
                              "again if it were enabled. After the last batch token has expired, enable the "
                              "entity: vault write identity/entity/id/{0} disabled=false",
                              entry_->status.value("cutOffEntity", ""), vault_path_));
    }
    if (plan.verdict == Verdict::refused) {
        runtime_.log.warn("left an object in Vault", {{"kind", key_.kind->name},
                                                      {"namespace", key_.ns},
                                                      {"name", key_.name},
                                                      {"vaultPath", vault_path_},
                                                      {"reason", plan.message}});
        event(kube::Event::Type::warning, plan.reason, "Delete", plan.message);
    }
    if (auto done = co_await reconcile::act(way.session->vault, plan, runtime_.soon()); !done)
        co_return co_await failed(way.connection, done.error());
    if (!ownership.owner && !resource().claim.empty()) {
        // It was made in another Vault, or under another address of this one.
        runtime_.metrics.orphaned(key_.kind->name);
        runtime_.log.error("left an object in Vault", {{"kind", key_.kind->name},
                                                       {"namespace", key_.ns},
                                                       {"name", key_.name},
                                                       {"claim", resource().claim}});
        event(kube::Event::Type::warning, "Orphaned", "Delete",
              fmt::format("{} was not removed: the connection now uses another Vault", resource().claim));
    }
    if (!plan.requests.empty()) {
        runtime_.recent_writes.wrote(key_, planner::state_of(resource(), observed), SteadyClock::now());
        outcome = "changed";
        runtime_.log.info("removed an object from Vault", {{"kind", key_.kind->name},
                                                           {"namespace", key_.ns},
                                                           {"name", key_.name},
                                                           {"vaultPath", vault_path_}});
    }
    co_return co_await let_go();
}

// Who the object belongs to, when that is not this resource: whoever has made or adopted it; before anybody
// has, the oldest of those who may.
Task<EntryPtr> VaultObjectReconciler::owner(std::string vault) {
    const std::string path = vault_path_;
    const std::string claim = vault + " " + path;
    if (runtime_.owns(resource(), claim)) co_return nullptr;
    std::vector<EntryPtr> older;
    bool before = true;
    for (const Key& claimant : runtime_.store.claimants(path)) {
        if (claimant == key_) {
            before = false;
            continue;
        }
        const EntryPtr other = runtime_.find(claimant);
        if (runtime_.owns(other->resource, claim)) co_return other;
        const EntryPtr connection = runtime_.find(connection_of(other->resource));
        if (before && other->resource.deletion_time.empty() && connection != nullptr &&
            connection->faults.empty() && vault_of(connection->resource) == vault)
            older.push_back(other);
    }
    for (const EntryPtr& other : older) {
        const Key through = connection_of(other->resource);
        const EntryPtr connection = runtime_.find(through);
        if (connection == nullptr) continue;
        auto session = co_await runtime_.sessions.open(through, connection->resource, runtime_.soon());
        if (!session) continue;  // who cannot reach Vault holds up nobody
        const auto reserved = co_await runtime_.reserved(through, connection, *session);
        const planner::Mounts mounts = co_await mounts_for(other->resource, *session);
        if (reserved && judge(other->resource, connection->resource, *reserved, mounts).faults.empty())
            co_return other;
    }
    co_return nullptr;
}

}  // namespace keyshepherd::controller
