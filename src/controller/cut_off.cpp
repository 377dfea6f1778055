// The emergency brake of a VaultAppRole: everything that the role ever issued is refused from one request on,
// and then taken away piece by piece. A login by AppRole belongs to an entity whose alias is the role-id;
// while that is disabled no login succeeds and no token of it is good
// (https://openbao.org/docs/concepts/identity/).
#include "vault_object_reconciler.hpp"

#include <keyshepherd/planner/cut_off.hpp>
#include <keyshepherd/reconcile/failpoint.hpp>
#include <keyshepherd/reconcile/secret_id.hpp>

#include <fmt/format.h>

namespace keyshepherd::controller {

using planner::Truth;
using namespace std::chrono_literals;

namespace {
constexpr std::string_view entity_disabled = "EntityDisabled";  // reason of Ready
}  // namespace

// The entity's id; "" when nobody has ever logged in.
Task<result<std::string>> VaultObjectReconciler::disable_entity(vault::Client& vault) {
    // Not the one in the status: logins belong to the entity of the role-id that Vault has now.
    KEYSHEPHERD_CO_TRY(const auto answer, co_await vault.read(vault_path_ + "/role-id", runtime_.soon()));
    const std::string role_id = answer ? answer->value("role_id", "") : resource().role_id;
    KEYSHEPHERD_CO_TRY(const auto mounts, co_await vault.read("sys/auth", runtime_.soon()));
    const std::string mount = resource().spec.at("mount").get<std::string>() + "/";
    if (!mounts || !mounts->contains(mount) || role_id.empty()) co_return std::string();
    const Json alias = {{"alias_name", role_id},
                        {"alias_mount_accessor", (*mounts)[mount].value("accessor", "")}};
    KEYSHEPHERD_CO_TRY(const auto found,
                       co_await vault.write("identity/lookup/entity", alias, runtime_.soon()));
    if (!found.data.is_object()) co_return std::string();
    const planner::RoleEntity entity = planner::role_entity(found.data, role_id);
    if (entity.shared)
        runtime_.log.warn("did not disable the identity entity, because it belongs to another role",
                          {{"namespace", key_.ns}, {"name", key_.name}, {"vaultPath", vault_path_}});
    if (entity.id.empty() || entity.shared) co_return std::string();
    const Json disabled = {{"disabled", true}};
    KEYSHEPHERD_CO_CHECK(co_await vault.write("identity/entity/id/" + entity.id, disabled, runtime_.soon()));
    co_return entity.id;
}

// Destroys every secret-id of the role and revokes every token. Gives how many of each.
Task<result<VaultObjectReconciler::Swept>> VaultObjectReconciler::sweep(const Way& way) {
    vault::Client& vault = way.session->vault;
    Swept swept;
    const auto all = co_await reconcile::list_accessors(vault, vault_path_, runtime_.soon());
    if (!all && all.error().code != Errc::not_found) co_return std::unexpected(all.error());
    if (all)
        for (const std::string& accessor : *all) {
            KEYSHEPHERD_CO_CHECK(
                co_await reconcile::destroy_secret_id(vault, vault_path_, accessor, runtime_.soon()));
            runtime_.destroyed.add(vault_of(way.connection->resource), {vault_path_, accessor});
            ++swept.secret_ids;
        }
    KEYSHEPHERD_CO_TRY(swept.tokens,
                       co_await way.session->tokens.revoke(vault, vault_path_, "", "", runtime_.soon()));
    co_return swept;
}

// Enables the entity again, after everything that the role issued is destroyed. A token that was not revoked
// becomes valid again with its entity. The entity therefore stays disabled when the list of tokens was not
// complete (an error), or when the role may have issued batch tokens, which no list names (false). A person
// who enables the entity after the condition named this risk ends the cut-off as well.
Task<result<bool>> VaultObjectReconciler::end_cut_off(const Way& way) {
    const std::string entity = entry_->status.value("cutOffEntity", "");
    vault::Client& vault = way.session->vault;
    KEYSHEPHERD_CO_CHECK(co_await sweep(way));
    if (entity.empty() || entity == "none") co_return true;
    KEYSHEPHERD_CO_TRY(const auto mounts, co_await vault.read("sys/auth", runtime_.soon()));
    const auto role = co_await vault.read(vault_path_, runtime_.soon());
    if (!role && role.error().code != Errc::not_found) co_return std::unexpected(role.error());
    const std::string mount = resource().spec.at("mount").get<std::string>() + "/";
    const Json of_mount = mounts ? mounts->value(mount, Json()) : Json();
    const Json of_role =
        role && *role ? **role : Json({{"token_type", resource().spec.value("tokenType", "")}});
    const bool batch_tokens = planner::may_issue_batch_tokens(of_role, of_mount);
    if (batch_tokens && planner::ready_reason(entry_->status) == entity_disabled) {
        const Json by_id = {{"id", entity}};
        KEYSHEPHERD_CO_TRY(const auto found,
                           co_await vault.write("identity/lookup/entity", by_id, runtime_.soon()));
        if (found.data.is_object() && !found.data.value("disabled", true)) co_return true;
    }
    const Json change = {{"disabled", batch_tokens}};
    const auto done = co_await vault.write("identity/entity/id/" + entity, change, runtime_.soon());
    if (!done && done.error().code == Errc::not_found) co_return true;  // a person has deleted it
    if (!done) co_return std::unexpected(done.error());
    co_return !batch_tokens;
}

// Why a cut-off may neither begin nor end, when that is so.
std::string VaultObjectReconciler::cut_off_refusal(const Way& way, bool owner) const {
    if (!owner) return fmt::format("this resource did not create or adopt {}", vault_path_);
    return fmt::format(
        "{} does not grant namespace {} the right revokeTokens; add it to grants[].rights, and update the "
        "operator's policy with the output of `keyshepherd plan --policy-for-operator`",
        way.connection->resource.text(), key_.ns);
}

Task<Again> VaultObjectReconciler::cut_off(const Way& way, const planner::Judgement& judgement, bool owner) {
    const std::string before = entry_->status.value("cutOffEntity", "");
    if (!resource().cut_off) {
        if (!judgement.rights.revoke_tokens || !owner)
            co_return co_await refuse(
                "NotGranted",
                fmt::format(
                    "cannot end the cut-off of {}: {}. Until then, Vault refuses all logins to the role",
                    vault_path_, cut_off_refusal(way, owner)),
                resync());
        const auto ended = co_await end_cut_off(way);
        if (!ended) co_return co_await failed(way.connection, ended.error());
        if (!*ended) {
            co_return co_await refuse(
                std::string(entity_disabled),
                fmt::format("{0} may have issued batch tokens, which Vault cannot list or revoke. The "
                            "identity entity {1} stays disabled, because these batch tokens would be valid "
                            "again if it were enabled. After the last batch token has expired, enable the "
                            "entity: vault write identity/entity/id/{1} disabled=false",
                            vault_path_, before),
                resync());
        }
        StatusUpdate update{
            .ready = Truth::unknown, .reason = "CutOffEnds", .message = "the operator is restoring the role"};
        update.gone = {"cutOffEntity"};
        const StatusWrite status = co_await runtime_.report(key_, entry_, std::move(update));
        if (!status.written) co_return status.retry;
        event(kube::Event::Type::normal, "CutOffEnds", "Enable",
              fmt::format("{}: logins are possible again", vault_path_));
        for (const Key& dependent : runtime_.store.dependents(key_)) runtime_.wake(dependent);
        co_return milliseconds(0);
    }
    if (!judgement.rights.revoke_tokens || !owner) {
        co_return co_await refuse(
            "NotGranted", fmt::format("{}: {}", resources::cut_off_annotation, cut_off_refusal(way, owner)));
    }
    const auto entity = co_await disable_entity(way.session->vault);
    if (!entity) co_return co_await failed(way.connection, entity.error());
    failpoint("cut-off");
    // In the status from here on: what was disabled can be enabled again.
    StatusUpdate update{
        .ready = Truth::no,
        .reason = "CutOff",
        .message =
            "Vault refuses all logins and tokens of the role; to end this, remove the annotation "
            "keyshepherd.dev/cut-off"};
    update.changed = before.empty();
    update.facts = {{"cutOffEntity", entity->empty() ? (before.empty() ? "none" : before) : *entity}};
    const StatusWrite status = co_await runtime_.report(key_, entry_, std::move(update));
    if (!status.written) co_return status.retry;
    const auto swept = co_await sweep(way);
    if (!swept) co_return co_await failed(way.connection, swept.error());
    if (swept->secret_ids + swept->tokens > 0 || before.empty()) {
        event(kube::Event::Type::warning, "CutOff", "Revoke",
              fmt::format("{}: destroyed {} secret-ids and revoked {} tokens", vault_path_, swept->secret_ids,
                          swept->tokens));
        runtime_.log.warn("cut off a role", {{"namespace", key_.ns},
                                             {"name", key_.name},
                                             {"vaultPath", vault_path_},
                                             {"secretIDs", swept->secret_ids},
                                             {"tokens", swept->tokens}});
        for (const Key& dependent : runtime_.store.dependents(key_)) runtime_.wake(dependent);
    }
    outcome = "changed";
    co_return resync();
}

}  // namespace keyshepherd::controller
