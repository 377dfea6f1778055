#include "reconciler.hpp"

#include <keyshepherd/core/time.hpp>
#include <keyshepherd/fsm/resync.hpp>
#include <keyshepherd/kube/random.hpp>
#include <keyshepherd/planner/status.hpp>
#include <keyshepherd/planner/ungranted.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

namespace keyshepherd::controller {

using planner::Truth;
using namespace std::chrono_literals;

Reconciler::Reconciler(Runtime& runtime, Key key, EntryPtr entry)
    : vault_path_(planner::claim(entry->resource)),
      runtime_(runtime),
      key_(std::move(key)),
      entry_(std::move(entry)),
      asked_(runtime.take_woken(key_)) {}

Task<std::expected<Reconciler::Way, Reconciler::NoWay>> Reconciler::way(Key through) {
    const EntryPtr connection = runtime_.find(through);
    if (connection == nullptr || !connection->faults.empty()) {
        outcome = "refused";
        const std::string which = fmt::format("VaultConnection {}/{}", through.ns, through.name);
        if (deleting()) {
            if (auto other = co_await way_by_another(through)) co_return *std::move(other);
            co_return std::unexpected(NoWay{co_await wait_or_orphan(nullptr, which + " does not exist")});
        }
        // Its arrival wakes us.
        const Again next = co_await refuse(
            "ConnectionNotFound", which + (connection == nullptr ? " does not exist" : " is invalid"));
        co_return std::unexpected(NoWay{next});
    }
    // Also of a session whose token both Vaults know.
    if (const auto other = runtime_.replaced.find(through); other != runtime_.replaced.end()) {
        const Error why(Errc::unavailable, other->second);
        co_return std::unexpected(NoWay{co_await failed(connection, why)});
    }
    auto session = co_await runtime_.sessions.open(through, connection->resource, runtime_.soon());
    auto reserved = session ? co_await runtime_.reserved(through, connection, *session)
                            : result<reconcile::OwnNames>(std::unexpected(session.error()));
    if (!reserved) {
        if (const Errc code = reserved.error().code;
            deleting() && (code == Errc::unauthorized || code == Errc::unlabeled || code == Errc::forbidden))
            if (auto other = co_await way_by_another(through)) co_return *std::move(other);
        co_return std::unexpected(NoWay{co_await failed(connection, reserved.error())});
    }
    co_return Way{connection, *session, *std::move(reserved)};
}

Task<std::optional<Reconciler::Way>> Reconciler::way_by_another(Key through) {
    const EntryPtr own = runtime_.find(through);
    const std::string vault = own != nullptr && own->faults.empty() ? vault_of(own->resource) : std::string();
    // A secret-id goes with the grant of its role.
    const auto judged = key_.kind->id == resources::KindId::vault_secret_id
                            ? planner::role_at(vault_path_, key_.ns)
                            : std::optional(resource());
    if (!judged) co_return std::nullopt;
    for (const Key& key : runtime_.store.keys(through.kind)) {
        const EntryPtr other = runtime_.find(key);
        if (key == through || other == nullptr || !other->faults.empty()) continue;
        const std::string reached = vault_of(other->resource);
        const bool is_same =
            vault.empty() ? runtime_.owns(resource(), reached + " " + vault_path_) : reached == vault;
        if (!is_same || !planner::judge_removal(*judged, other->resource, {}).faults.empty()) continue;
        const auto session = co_await runtime_.sessions.open(key, other->resource, runtime_.soon());
        if (!session) continue;
        auto reserved = co_await runtime_.reserved(key, other, *session);
        if (!reserved || !judge_removal(*judged, other->resource, *reserved).faults.empty()) continue;
        co_return Way{other, *session, *std::move(reserved)};
    }
    co_return std::nullopt;
}

Task<planner::Mounts> Reconciler::mounts_for(const resources::Resource& of, SessionPtr session) {
    if (!planner::needs_mounts(of)) co_return planner::Mounts();
    co_return co_await session->mounts(runtime_.soon());
}

milliseconds Reconciler::period() const {
    const auto period =
        resources::seconds_of(resource().spec.value("resyncPeriod", Json("5m"))).value_or(300);
    return std::chrono::seconds(std::max<std::int64_t>(period, 1));
}

milliseconds Reconciler::resync() const {
    return std::chrono::floor<milliseconds>(fsm::next_look(period(), kube::random_unit()));
}

Task<Again> Reconciler::report(StatusUpdate update, Again next) {
    const StatusWrite status = co_await runtime_.report(key_, entry_, std::move(update));
    if (!status.written) outcome = "error";
    co_return sooner(next, status.retry);
}

Task<Again> Reconciler::refuse(std::string reason, std::string message, Again next,
                               std::optional<bool> synced) {
    outcome = "refused";
    co_return co_await report(
        {.ready = Truth::no, .reason = std::move(reason), .message = std::move(message), .synced = synced},
        next);
}

Task<Again> Reconciler::refuse_ungranted(std::string message, std::optional<planner::Condition> left,
                                         Again next) {
    outcome = "refused";
    const bool is_left = left.has_value();
    StatusUpdate update{.ready = Truth::no, .reason = "NotGranted", .message = std::move(message)};
    if (left)
        update.others.push_back(*std::move(left));
    else
        update.gone.insert(std::string(planner::still_in_vault));
    const Again again = co_await report(std::move(update), next);
    if (is_left != planner::is_still_in_vault(entry_->status)) tell_connection();
    co_return again;
}

void Reconciler::tell_connection() {
    const Key connection = connection_of(resource());
    if (connection.kind == nullptr) return;  // of a VaultSecretID that has issued nothing
    runtime_.ungranted.insert(connection);
    runtime_.wake(connection);
}

void Reconciler::event(kube::Event::Type type, std::string reason, std::string action, std::string note) {
    runtime_.events.record(entry_->metadata, type, std::move(reason), std::move(action), std::move(note));
}

Task<Again> Reconciler::invalid() {
    co_return co_await refuse("InvalidSpec", joined(entry_->faults));
}

std::string Reconciler::joined(const std::vector<resources::Fault>& faults) {
    std::string text;
    for (const resources::Fault& fault : faults)
        text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", fault.field, fault.message);
    return text;
}

Task<Again> Reconciler::failed(EntryPtr connection, Error error) {
    if (error.code == Errc::cancelled) co_return std::nullopt;
    outcome = "error";
    StatusUpdate update = planner::status_update_of(error);
    const bool away = planner::concerns_connection(error);
    const Key through = connection == nullptr ? connection_of(resource()) : key_of(*connection);
    if (const auto other = runtime_.replaced.find(through); away && other != runtime_.replaced.end()) {
        update.reason = "VaultReplaced";
        update.message = other->second;
    }
    if (error.code == Errc::unlabeled) runtime_.sessions.close(through);
    if (away) runtime_.wake(through);
    if (deleting() && (away || update.reason == "PermissionDenied"))
        co_return co_await wait_or_orphan(connection, error.message);
    if (deleting() && update.reason == "MountNotFound")  // with the mount went what was in it
        co_return co_await let_go();
    if (!away) update.synced = false;
    const auto wait = runtime_.retry_in(key_);
    // What only a person can mend is not asked for again and again.
    co_return co_await report(update, away ? wait : std::max<milliseconds>(wait, 2s));
}

Task<Again> Reconciler::wait_or_orphan(EntryPtr connection, std::string why) {
    const auto timeout =
        connection == nullptr
            ? 300
            : resources::seconds_of(connection->resource.spec.value("deletionTimeout", Json("5m")))
                  .value_or(300);
    const auto left = seconds_since_epoch(resource().deletion_time) + timeout - runtime_.server_time();
    if (left > 0) {
        co_return co_await report(
            {.ready = Truth::no,
             .reason = "DeletionBlocked",
             .message =
                 vault_path_.empty() ? why : fmt::format("{} is still in Vault: {}", vault_path_, why)},
            std::min<milliseconds>(runtime_.retry_in(key_), std::chrono::seconds(left)));
    }
    const auto recorded = co_await record_leftover(connection);
    if (!recorded && recorded.error().code != Errc::invalid) {
        runtime_.log.warn("cannot record an object that is left in Vault",
                          {{"kind", key_.kind->name},
                           {"namespace", key_.ns},
                           {"name", key_.name},
                           {"error", recorded.error().message}});
        // A missing right or a full record does not hold up a namespace for good.
        if (recorded.error().code != Errc::forbidden && recorded.error().code != Errc::too_large)
            co_return runtime_.retry_in(key_);
    }
    const auto gone = co_await runtime_.remove_finalizer(key_, entry_);
    if (!gone) co_return runtime_.retry_in(key_);
    runtime_.metrics.orphaned(key_.kind->name);
    runtime_.log.error("left an object in Vault", {{"kind", key_.kind->name},
                                                   {"namespace", key_.ns},
                                                   {"name", key_.name},
                                                   {"vaultPath", vault_path_},
                                                   {"error", why}});
    // In a namespace that is going no event can be made: it is about the namespace.
    const Json ns = {{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", key_.ns}}}};
    runtime_.events.record(
        ns, kube::Event::Type::warning, "Orphaned", "Delete",
        fmt::format("{} {}/{} was deleted, but {} is still in Vault{}: {}", key_.kind->name, key_.ns,
                    key_.name, vault_path_,
                    recorded ? " (the operator removes it when a connection allows it)" : "", why));
    // Every connection to that Vault tells of it.
    for (const Key& each : runtime_.store.keys(&resources::kind_of(resources::KindId::vault_connection)))
        runtime_.wake(each);
    co_return std::nullopt;
}

Task<result<void>> Reconciler::record_leftover(EntryPtr connection) {
    const bool is_secret_id = key_.kind->id == resources::KindId::vault_secret_id;
    std::string vault;
    if (connection != nullptr && connection->faults.empty()) {
        vault = vault_of(connection->resource);
    } else {
        const std::size_t end = resource().claim.rfind(' ');  // the claim is the Vault and the path
        if (end != std::string::npos) vault = resource().claim.substr(0, end);
    }
    const bool owns = is_secret_id || runtime_.owns(resource(), vault + " " + vault_path_);
    if (vault.empty() || !owns || resource().spec.value("deletionPolicy", "Delete") != "Delete")
        co_return fail(Errc::invalid, "the resource has no object to remove from Vault");
    Leftover leftover(vault, vault_path_, resource(), entry_->status.value("revokeTokens", "") == "true");
    co_return co_await runtime_.leftovers.add(runtime_.kube, std::move(leftover), runtime_.soon());
}

Task<Again> Reconciler::let_go() {
    if (!co_await runtime_.remove_finalizer(key_, entry_)) co_return runtime_.retry_in(key_);
    runtime_.wake(connection_of(resource()));
    co_return std::nullopt;
}

}  // namespace keyshepherd::controller
