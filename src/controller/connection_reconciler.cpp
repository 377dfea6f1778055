#include "connection_reconciler.hpp"

#include <keyshepherd/kube/random.hpp>
#include <keyshepherd/planner/clock_skew.hpp>
#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/planner/plan.hpp>
#include <keyshepherd/planner/ungranted.hpp>
#include <keyshepherd/planner/vault_identity.hpp>
#include <keyshepherd/reconcile/secret_id.hpp>
#include <keyshepherd/reconcile/vault_object.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace keyshepherd::controller {

using planner::Truth;
using namespace std::chrono_literals;

Task<Again> ConnectionReconciler::reconcile() {
    if (deleting()) {
        if (!resource().finalized) co_return std::nullopt;
        if (const auto users = in_use(); !users.empty()) {
            co_return co_await report(
                {.ready = Truth::no,
                 .reason = "InUse",
                 .message = fmt::format("still in use by {} {}/{}; the operator deletes the connection after "
                                        "the resources that use it",
                                        users.front().kind->name, users.front().ns, users.front().name)},
                std::nullopt);
        }
        if (!co_await runtime_.remove_finalizer(key_, entry_)) co_return runtime_.retry_in(key_);
        co_return std::nullopt;
    }
    if (!entry_->faults.empty()) co_return co_await invalid();
    StatusUpdate update;
    milliseconds again = 30s;
    // A label that was taken away ends the session, not only the next login.
    const auto allowed = co_await runtime_.sessions.check_login(key_, resource(), runtime_.soon());
    auto session = allowed ? co_await runtime_.sessions.open(key_, resource(), runtime_.soon())
                           : result<SessionPtr>(std::unexpected(allowed.error()));
    auto health = session ? co_await (*session)->vault.health(runtime_.soon())
                          : result<vault::Health>(std::unexpected(session.error()));
    result<void> usable;
    if (!health)
        usable = std::unexpected(health.error());
    else if (!health->usable())
        usable = std::unexpected(vault::unusable(*health));
    else if (usable = runtime_.check_identity(key_, *health); usable)
        usable = co_await runtime_.refresh_reserved(key_, entry_, *session);
    if (!usable && usable.error().code == Errc::cancelled) co_return std::nullopt;
    if (usable) {
        runtime_.queue.forget(key_);
        update = {.ready = Truth::yes, .reason = "Connected", .message = "logged in"};
        update.facts = {{"vaultVersion", health->version},
                        {planner::cluster_id_fact, health->cluster_id},
                        {planner::cluster_of_fact, vault_of(resource())}};
    } else {
        outcome = "error";
        update = planner::status_update_of(usable.error());
        if (const auto other = runtime_.replaced.find(key_); other != runtime_.replaced.end())
            update = {.ready = Truth::no, .reason = "VaultReplaced", .message = other->second};
        again = std::min<milliseconds>(runtime_.retry_in(key_), 5s);
        const bool is_locked = usable.error().detail == Detail::login_locked;
        if (is_locked || usable.error().detail == Detail::login_refused)
            update.message += planner::next_login(resource());
        if (usable.error().code == Errc::unauthorized || usable.error().code == Errc::forbidden) {
            if (!is_locked) update.reason = "AuthFailed";
            renew_session(session);
        }
    }
    tell_of_ungranted(update);
    if (usable) {
        const auto removed = co_await remove_leftovers(*session, update);
        if (!removed && removed.error().code == Errc::cancelled) co_return std::nullopt;
    }
    if (session) tell_of_clocks((*session)->vault.clock_lead(), update);
    const bool recovered = usable && planner::ready_reason(entry_->status) != "Connected";
    const Again next = co_await report(update, again);
    if (usable) co_await look_for_restore(*session);
    if (usable && revokes_tokens() && SteadyClock::now() - (*session)->tokens.refreshed_at() > 50s) {
        // So that a revocation has only the newest to look up. Every deletion wakes us: that is too often.
        const auto known = co_await (*session)->tokens.refresh((*session)->vault, SteadyClock::now() + 60s);
        if (!known && known.error().code != Errc::cancelled)
            runtime_.log.warn(
                "cannot list tokens",
                {{"namespace", key_.ns}, {"name", key_.name}, {"error", known.error().message}});
    }
    if (recovered)
        for (const Key& dependent : runtime_.store.dependents(key_))
            runtime_.wake(dependent, milliseconds(static_cast<long>(2000 * kube::random_unit())));
    co_return next;
}

// Another login may give other policies, or another token. One that Vault refuses is not repeated at every
// look: logins without end would lock the role for everyone, and pile up tokens.
void ConnectionReconciler::renew_session(const result<SessionPtr>& session) {
    if (session && !(*session)->vault.login_refused() && SteadyClock::now() - (*session)->opened > 60s)
        runtime_.sessions.close(key_);
}

void ConnectionReconciler::tell_of_clocks(std::optional<std::int64_t> ahead_of_vault, StatusUpdate& update) {
    const auto ahead_of_api_server = runtime_.clock_lead();
    if (ahead_of_vault) runtime_.clock_leads[key_] = *ahead_of_vault;
    runtime_.report_clocks();
    const auto found = planner::clock_condition({.vault = ahead_of_vault, .api_server = ahead_of_api_server});
    if (!found) {
        update.gone.insert(std::string(planner::clock_skewed));
        return;
    }
    if (runtime_.first_in_a_while(key_, found->type + found->message))
        event(kube::Event::Type::warning, found->type, "Reconcile", found->message);
    update.others.push_back(*found);
}

void ConnectionReconciler::tell_of_ungranted(StatusUpdate& update) {
    if (!planner::is_still_in_vault(entry_->status) && !runtime_.ungranted.contains(key_)) return;
    std::vector<std::string> objects;
    for (const Key& key : runtime_.store.dependents(key_))
        if (const EntryPtr entry = runtime_.find(key);
            entry != nullptr && planner::is_still_in_vault(entry->status) &&
            (entry->resource.deletion_time.empty() || entry->resource.finalized))
            objects.push_back(entry->resource.text());
    if (!objects.empty()) {
        update.others.push_back(planner::ungranted_objects(objects));
        return;
    }
    runtime_.ungranted.erase(key_);
    update.gone.insert(std::string(planner::still_in_vault));
}

Task<result<void>> ConnectionReconciler::remove_leftovers(SessionPtr session, StatusUpdate& update) {
    const std::string condition(planner::left_in_vault);
    std::vector<std::string> left;
    const std::vector<Leftover> all = runtime_.leftovers.of(vault_of(resource()));
    if (!all.empty()) {
        KEYSHEPHERD_CO_TRY(const reconcile::OwnNames reserved,
                           co_await runtime_.reserved(key_, entry_, session));
        for (const Leftover& leftover : all) {
            const auto role = leftover.resource.kind->id == resources::KindId::vault_secret_id
                                  ? planner::role_at(leftover.path, leftover.resource.ns)
                                  : std::optional(leftover.resource);
            if (!role) continue;
            const planner::Judgement granted = judge_removal(*role, resource(), reserved);
            result<void> removed = fail(Errc::forbidden, "not granted");
            if (granted.faults.empty())
                removed = co_await remove_leftover(session, leftover, granted.rights.revoke_tokens);
            if (!removed && removed.error().code == Errc::cancelled) co_return removed;
            if (!removed) left.push_back(leftover.resource.text());
        }
        runtime_.metrics.left_in_vault(runtime_.leftovers.size());
    }
    if (left.empty())
        update.gone.insert(condition);
    else
        update.others.push_back(planner::left_objects(left));
    co_return result<void>();
}

Task<result<void>> ConnectionReconciler::remove_leftover(SessionPtr session, Leftover leftover,
                                                         bool may_revoke) {
    const resources::Resource& of = leftover.resource;
    std::string outcome_text = "was removed";
    const bool is_secret_id = of.kind->id == resources::KindId::vault_secret_id;
    bool claimed = false;
    for (const Key& key : runtime_.store.claimants(leftover.path)) {
        const EntryPtr other = runtime_.find(key);
        const EntryPtr connection =
            other == nullptr ? nullptr : runtime_.find(connection_of(other->resource));
        claimed = claimed || (connection != nullptr && connection->faults.empty() &&
                              vault_of(connection->resource) == leftover.vault);
    }
    if (is_secret_id) {
        const auto all = co_await session->secret_ids.of(session->vault, leftover.path, of.uid,
                                                         SteadyClock::now(), runtime_.soon());
        if (!all && all.error().code != Errc::not_found) co_return std::unexpected(all.error());
        if (all)
            for (const planner::SecretIdFacts& each : *all) {
                KEYSHEPHERD_CO_CHECK(co_await reconcile::destroy_secret_id(session->vault, leftover.path,
                                                                           each.accessor, runtime_.soon()));
                runtime_.destroyed.add(leftover.vault,
                                       {leftover.path, each.accessor,
                                        leftover.revoke_tokens && may_revoke ? of.uid : "", each.issue});
            }
        if (leftover.revoke_tokens && may_revoke) {
            const auto revoked =
                co_await session->tokens.revoke(session->vault, leftover.path, of.uid, "", runtime_.soon());
            if (!revoked) co_return std::unexpected(revoked.error());
        }
    } else if (claimed) {
        outcome_text = "now belongs to another resource";
    } else {
        const planner::Ownership owner{.owner = true, .role_id = of.role_id};
        const auto observed = co_await reconcile::observe(session->vault, of, runtime_.soon());
        if (!observed && observed.error().code != Errc::not_found)
            co_return std::unexpected(observed.error());
        // What somebody has changed since is somebody's.
        const bool as_left =
            observed && planner::plan(of, *observed, owner).verdict == planner::Verdict::in_sync;
        const planner::Plan removal =
            observed ? planner::plan_removal(of, *observed, owner) : planner::Plan();
        if (!removal.requests.empty() && !as_left) {
            outcome_text = "was changed in the meantime and was not removed";
        } else if (const auto done = co_await reconcile::act(session->vault, removal, runtime_.soon());
                   !done) {
            co_return std::unexpected(done.error());
        }
    }
    KEYSHEPHERD_CO_CHECK(co_await runtime_.leftovers.drop(runtime_.kube, of.uid, runtime_.soon()));
    runtime_.log.info(
        "an object of a deleted resource " + outcome_text,
        {{"kind", of.kind->name}, {"namespace", of.ns}, {"name", of.name}, {"vaultPath", leftover.path}});
    event(kube::Event::Type::normal, "LeftoverSettled", "Delete",
          fmt::format("{} of the deleted {} {}", leftover.path, of.text(), outcome_text));
    co_return result<void>();
}

// A snapshot that is restored brings secret-ids back that were destroyed since, and those of deleted
// resources belong to nobody who would look. It also takes tokens away that were given since.
Task<void> ConnectionReconciler::look_for_restore(SessionPtr session) {
    const std::string vault = vault_of(resource());
    bool restored = false;
    for (const auto& each : runtime_.destroyed.samples(vault)) {
        const auto found =
            co_await reconcile::find_accessor(session->vault, each.role, each.accessor, runtime_.soon());
        if (!found && found.error().code == Errc::cancelled) co_return;
        restored = found && found->has_value();
        if (restored) break;
    }
    const bool lost_token = runtime_.lost_tokens.erase(key_) > 0;
    if (!restored && !lost_token) co_return;
    std::size_t destroyed = 0;
    for (const auto& each : runtime_.destroyed.all(vault)) {
        const auto again = co_await destroy_again(session, each);
        if (!again && again.error().code == Errc::cancelled) co_return;
        if (!again && planner::concerns_connection(again.error())) {
            runtime_.lost_tokens.insert(key_);  // the next look goes on
            co_return;
        }
        if (!again) {
            runtime_.log.warn("cannot destroy a secret-id that a restored snapshot brought back",
                              {{"namespace", key_.ns},
                               {"name", key_.name},
                               {"vaultPath", each.role},
                               {"accessor", each.accessor},
                               {"error", again.error().message}});
            continue;
        }
        destroyed += *again ? 1 : 0;
    }
    // What an earlier leader destroyed, each resource finds among those of its role.
    for (const Key& dependent : runtime_.store.dependents(key_)) {
        if (dependent.kind->id == resources::KindId::vault_secret_id)
            runtime_.orphan_scans.suspect(dependent);
        runtime_.wake(dependent, milliseconds(static_cast<long>(2000 * kube::random_unit())));
    }
    runtime_.log.warn(restored ? "Vault was restored"
                               : "Vault may have been restored: it does not know the operator's token",
                      {{"namespace", key_.ns}, {"name", key_.name}, {"destroyedAgain", destroyed}});
    if (restored)
        event(
            kube::Event::Type::warning, "VaultRestored", "Destroy",
            fmt::format(
                "Vault contains secret-ids that the operator had destroyed, so it was probably restored from "
                "a snapshot. The operator destroyed {} of them again and compares all resources with Vault",
                destroyed));
}

// Whether it was there.
Task<result<bool>> ConnectionReconciler::destroy_again(SessionPtr session,
                                                       DestroyedSecretIds::Destroyed one) {
    const auto found =
        co_await reconcile::find_accessor(session->vault, one.role, one.accessor, runtime_.soon());
    if (!found && found.error().code == Errc::not_found) co_return false;
    if (!found) co_return std::unexpected(found.error());
    if (!*found) co_return false;
    KEYSHEPHERD_CO_CHECK(
        co_await reconcile::destroy_secret_id(session->vault, one.role, one.accessor, runtime_.soon()));
    session->secret_ids.forget(one.role, one.accessor);
    if (!one.owner.empty() && !one.issue.empty())
        KEYSHEPHERD_CO_CHECK(
            co_await session->tokens.revoke(session->vault, one.role, one.owner, one.issue, runtime_.soon()));
    co_return true;
}

bool ConnectionReconciler::revokes_tokens() const {
    for (const Key& key : runtime_.store.dependents(key_))
        if (key.kind->id == resources::KindId::vault_approle)
            if (const EntryPtr entry = runtime_.find(key); entry != nullptr && entry->faults.empty() &&
                                                           entry->resource.spec.value("revokeTokens", false))
                return true;
    return false;
}

// Resources that still need the connection to leave Vault in order.
std::vector<Key> ConnectionReconciler::in_use() const {
    std::vector<Key> users;
    const std::string vault = entry_->faults.empty() ? vault_of(resource()) : "";
    for (const Key& key : runtime_.store.dependents(key_))
        if (const EntryPtr entry = runtime_.find(key);
            entry != nullptr && entry->resource.finalized &&
            (!entry->resource.claim.empty() || !entry->resource.connection.empty() ||
             runtime_.owns(entry->resource, vault + " " + planner::claim(entry->resource))))
            users.push_back(key);
    return users;
}

}  // namespace keyshepherd::controller
