#include "secret_id_reconciler.hpp"

#include "rollout.hpp"

#include <keyshepherd/core/base64.hpp>
#include <keyshepherd/core/time.hpp>
#include <keyshepherd/kube/secret.hpp>
#include <keyshepherd/net/wiped.hpp>
#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/planner/ungranted.hpp>
#include <keyshepherd/reconcile/failpoint.hpp>
#include <keyshepherd/reconcile/secret_id.hpp>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

namespace keyshepherd::controller {

using planner::SecretIdRecord;
using planner::SecretState;
using planner::Truth;
using namespace std::chrono_literals;

namespace {

constexpr int most_steps = 30;  // of one reconcile, which needs a dozen at most
constexpr const char* field_manager = "keyshepherd-operator";

Json owner_reference(const resources::Resource& resource) {
    return {{"apiVersion", fmt::format("{}/{}", resources::group, resources::version)},
            {"kind", resource.kind->name},
            {"name", resource.name},
            {"uid", resource.uid},
            {"controller", true}};
}

bool is_owner(const Json& secret, const std::string& uid) {
    const Json& metadata = secret.at("metadata");
    for (const Json& each : metadata.value("ownerReferences", Json::array()))
        if (each.is_object() && each.value("uid", "") == uid) return true;
    return false;
}

// The role-id that is put back where Vault has another; "": none is.
std::string pinned_role_id(const resources::Resource& role) {
    return role.spec.value("driftPolicy", "") == "Report" ? "" : role.spec.value("roleID", "");
}

// Of the pod template: what restarts it for this resource, and for no other.
std::string restart_annotation(const resources::Resource& resource) {
    return planner::rotation_annotation("secret-id-" + resource.uid.substr(0, 8));
}

}  // namespace

SecretIdReconciler::SecretIdReconciler(Runtime& runtime, Key key, EntryPtr entry)
    : Reconciler(runtime, std::move(key), std::move(entry)),
      secret_name_(resource().spec.value("secretName", resource().name)),
      pending_name_(secret_name_ + "-pending"),
      owner_(resource().uid),
      record_(planner::secret_id_record(entry_->status)) {
    role_ = entry_->status.value("vaultPath", "");
    revoke_tokens_ = entry_->status.value("revokeTokens", "") == "true";
    vault_path_ = role_;
}

SecretIdReconciler::~SecretIdReconciler() {
    net::wipe(value_);
    net::wipe(pending_value_);
}

Task<Again> SecretIdReconciler::reconcile() {
    if (deleting()) {
        if (!resource().finalized) co_return std::nullopt;
        co_return co_await remove();
    }
    if (resource().paused) {
        co_return co_await report(
            {.ready = Truth::unknown, .reason = "Paused", .message = "keyshepherd.dev/paused is true"},
            std::nullopt);
    }
    if (!entry_->faults.empty()) co_return co_await invalid();
    if (!runtime_.may_use_secrets(key_.ns))
        co_return co_await refuse("SecretsNotAllowed", Runtime::no_secrets(key_.ns));

    const Key role_key = role_of(resource());
    const EntryPtr role = runtime_.find(role_key);
    const std::string which = fmt::format("VaultAppRole {}/{}", role_key.ns, role_key.name);
    if (role == nullptr || !role->faults.empty() || !role->resource.deletion_time.empty()) {
        // Its next state wakes us.
        co_return co_await refuse("RoleNotFound", which + (role == nullptr         ? " does not exist"
                                                           : !role->faults.empty() ? " is invalid"
                                                                                   : " is being deleted"));
    }
    if (role->status.contains("cutOffEntity")) {
        co_return co_await refuse(
            "CutOff",
            which + " is cut off; to issue secret-ids again, remove its annotation keyshepherd.dev/cut-off");
    }
    const Key through = connection_of(role->resource);
    const auto reached = co_await way(through);
    if (!reached) co_return reached.error().again;
    const EntryPtr connection = reached->connection;
    const planner::Judgement judgement = judge(role->resource, connection->resource, reached->reserved);
    if (!judgement.faults.empty()) {
        std::optional<planner::Condition> left;
        if (const std::string accessor = planner::secret_id_record(entry_->status).accessor;
            !accessor.empty())
            left = planner::ungranted_secret_id(resource(), accessor);
        co_return co_await refuse_ungranted(which + ": " + joined(judgement.faults), std::move(left));
    }
    role_ = planner::claim(role->resource);
    revoke_tokens_ = role->resource.spec.value("revokeTokens", false);
    vault_path_ = role_;
    connection_ = kube::key(through.ns, through.name);
    session_ = reached->session;
    vault_ = vault_of(connection->resource);
    if (!runtime_.owns(role->resource, vault_of(connection->resource) + " " + role_)) {
        // It wakes us when it is.
        co_return co_await refuse("RoleNotReady", which + " has not been created in Vault yet");
    }
    if (const auto read = co_await read_role_id(); !read) {
        if (read.error().code != Errc::not_found) co_return co_await failed(connection, read.error());
        runtime_.wake(role_key);
        co_return co_await refuse("RoleNotReady", which + " does not exist in Vault",
                                  std::max<milliseconds>(runtime_.retry_in(key_), 2s));
    }
    if (!role->resource.role_id.empty() && role_id_ != role->resource.role_id) runtime_.wake(role_key);
    if (const std::string pinned = pinned_role_id(role->resource); !pinned.empty() && role_id_ != pinned) {
        runtime_.wake(role_key);
        co_return co_await refuse("RoleNotReady",
                                  which + " has a role-id in Vault that differs from spec.roleID",
                                  std::max<milliseconds>(runtime_.retry_in(key_), 2s));
    }
    if (const EntryPtr other = rival()) {
        co_return co_await refuse(
            "Conflict",
            fmt::format(
                "{2} already uses Secret {0}/{1}; create a new VaultSecretID with another spec.secretName",
                key_.ns, secret_name_, other->resource.text()),
            resync(), false);
    }
    if (moved()) {
        const auto before = co_await way(connection_of(resource()));
        if (!before) co_return before.error().again;
        const auto granted = judge_removal_at(entry_->status.value("vaultPath", ""), *before);
        const std::string place = std::exchange(role_, entry_->status.value("vaultPath", ""));
        const bool revoke = std::exchange(revoke_tokens_, entry_->status.value("revokeTokens", "") == "true");
        if (!granted.faults.empty()) {
            // What is not granted is not touched, and must not keep the resource from its new place.
            tell_left(joined(granted.faults));
        } else {
            limit_revocation(granted);
            const auto left = co_await remove_from_vault(*before);
            if (!left) co_return co_await failed(before->connection, left.error());
            event(kube::Event::Type::normal, "Destroyed", "Destroy",
                  fmt::format("destroyed the secret-ids of {}: the role is now {}", role_, place));
        }
        role_ = place;
        revoke_tokens_ = revoke;
        SecretIdRecord anew;
        anew.secret_uid = record_.secret_uid;
        anew.rotate_now = record_.rotate_now;
        record_ = std::move(anew);
    }
    if (!resource().finalized && record_.accessor.empty()) {
        // Nothing was ever issued for it, so there is nothing to look for.
        runtime_.orphan_scans.finish(key_);
    } else if (!co_await runtime_.add_finalizer(key_, entry_)) {  // somebody's replace has dropped it
        outcome = "error";
        co_return runtime_.retry_in(key_);
    }
    // A status that is ignored may have named one in overlap, which only a list finds now.
    if (entry_->untrusted) runtime_.orphan_scans.suspect(key_);
    view_.list_wanted = !runtime_.orphan_scans.done(key_);

    result<void> done = co_await look();
    // The one that was registered a moment ago; another value is somebody's edit.
    if (done && !value_.empty() && !view_.published)
        if (const auto wait = runtime_.recent_writes.doubt(key_, value_, SteadyClock::now())) co_return *wait;
    for (int steps = 0; done; ++steps) {
        tell_time();
        const planner::SecretIdStep step =
            planner::next_step(resource(), owner_, record_, view_, runtime_.options.orphan_grace,
                               runtime_.options.issue_interval);
        if (step.what == What::refuse) {
            co_return co_await refuse(
                "Conflict",
                fmt::format("Secret {}/{} was not created for this VaultSecretID and is not overwritten; "
                            "create a new VaultSecretID with another spec.secretName",
                            key_.ns, view_.pending_foreign ? pending_name_ : secret_name_),
                resync(), false);
        }
        if (step.what == What::rest) {
            done = co_await tell(record_);
            if (!done) break;
            runtime_.queue.forget(key_);
            if (step.at == 0) co_return resync();
            const auto left = std::chrono::seconds(std::max<std::int64_t>(step.at - view_.now, 0));
            co_return std::min<milliseconds>(resync(), std::max<milliseconds>(left, 200ms));
        }
        if (step.what == What::delay) {
            co_return co_await refuse(
                "IssueDelayed",
                fmt::format("the operator issues the next secret-id at {}, because at least {} s must pass "
                            "between two secret-ids. Reason for the next secret-id: {}",
                            rfc3339(step.at), runtime_.options.issue_interval, step.why),
                std::chrono::seconds(step.at - view_.now), false);
        }
        if (steps == most_steps) {
            runtime_.log.error("a VaultSecretID did not reach a stable state",
                               {{"namespace", key_.ns}, {"name", key_.name}});
            outcome = "error";
            co_return 30s;
        }
        // What is about to be issued has to be destroyed again one day.
        if (step.what == What::draw && !resource().finalized) {
            if (!connection->resource.finalized && !co_await runtime_.hold(through)) {
                outcome = "error";
                co_return runtime_.retry_in(key_);
            }
            done = co_await draw_finalized(step.why);
        } else {
            done = co_await execute(step);
        }
    }
    if (done.error().code == Errc::conflict || done.error().code == Errc::gone) {
        outcome = "error";
        co_return runtime_.retry_in(key_);  // what we looked at has changed meanwhile
    }
    if (done.error().code == Errc::not_found) {  // the role, or its mount
        runtime_.wake(role_key);
        co_return co_await refuse("RoleNotReady",
                                  fmt::format("{} does not exist in Vault: {}", which, done.error().message),
                                  std::max<milliseconds>(runtime_.retry_in(key_), 2s));
    }
    co_return co_await failed(connection, done.error());
}

// Who has the Secret's name before us: who has published in it, else the older. Null: nobody.
EntryPtr SecretIdReconciler::rival() const {
    const auto rank = [](const Entry& entry) {
        return std::tuple(entry.status.value("secretUID", "").empty(), entry.resource.created_at,
                          entry.resource.uid);
    };
    for (const Key& key : runtime_.secrets.claimants(key_.ns, secret_name_)) {
        if (key == key_) continue;
        const EntryPtr other = runtime_.find(key);
        if (other != nullptr && other->faults.empty() && other->resource.deletion_time.empty() &&
            rank(*other) < rank(*entry_))
            return other;
    }
    return nullptr;
}

// Whether what the status names lies in another role, or another Vault, than what is asked for now.
bool SecretIdReconciler::moved() const {
    const std::string before = entry_->status.value("vaultPath", "");
    return !before.empty() && !resource().connection.empty() &&
           (before != role_ || resource().connection != connection_);
}

Task<result<void>> SecretIdReconciler::read_role_id() {
    KEYSHEPHERD_CO_TRY(const auto answer, co_await session_->vault.read(role_ + "/role-id", runtime_.soon()));
    role_id_ = answer ? answer->value("role_id", "") : "";
    if (role_id_.empty()) co_return fail(Errc::not_found, role_ + " has no role-id");
    view_.role_id = role_id_;
    co_return result<void>();
}

// The Secrets, and what Vault says of the values in them.
Task<result<void>> SecretIdReconciler::look() {
    auto secret = co_await runtime_.kube.get({kube::secrets, key_.ns, secret_name_}, runtime_.soon());
    if (!secret && secret.error().code != Errc::not_found) co_return std::unexpected(secret.error());
    if (secret) {
        const kube::Metadata metadata = kube::metadata(*secret);
        view_.secret_uid = metadata.uid;
        const Json labels = secret->at("metadata").value("labels", Json::object());
        value_ = kube::secret_value(*secret, "secret_id");
        std::string role_id = kube::secret_value(*secret, "role_id");
        const bool owned = is_owner(*secret, resource().uid);
        if (!owned && (record_.secret_uid.empty() || record_.secret_uid != metadata.uid))
            view_.secret = SecretState::foreign;
        else if (secret->value("immutable", false) || secret->value("type", "") != "Opaque")
            view_.secret = SecretState::fixed;
        else if (role_id != role_id_ || !owned ||
                 labels.value(SecretWatch::label, "") != SecretWatch::label_value)
            view_.secret = SecretState::stale;
        else
            view_.secret = SecretState::ours;
        kube::wipe(*secret);
        runtime_.secrets.expect(key_.ns, secret_name_, key_, metadata.resource_version);
    } else {
        runtime_.secrets.expect(key_.ns, secret_name_, key_, "");
    }
    if (view_.secret == SecretState::foreign) co_return result<void>();
    if (runtime_.secrets.exists(key_.ns, pending_name_)) {
        auto pending = co_await runtime_.kube.get({kube::secrets, key_.ns, pending_name_}, runtime_.soon());
        if (!pending && pending.error().code != Errc::not_found) co_return std::unexpected(pending.error());
        if (pending) {
            view_.pending_foreign = !is_owner(*pending, resource().uid);
            view_.pending = !view_.pending_foreign;
            const kube::Metadata metadata = kube::metadata(*pending);
            pending_uid_ = metadata.uid;
            if (view_.pending_foreign)  // it may go
                runtime_.secrets.expect(key_.ns, pending_name_, key_, metadata.resource_version);
            else
                pending_value_ = kube::secret_value(*pending, "secret_id");
            kube::wipe(*pending);
        }
    }
    vault::Client& vault = session_->vault;
    if (!value_.empty()) {
        KEYSHEPHERD_CO_TRY(view_.published,
                           co_await reconcile::find_secret_id(vault, role_, value_, runtime_.soon()));
    }
    if (view_.pending && !pending_value_.empty()) {
        view_.pending_is_published = pending_value_ == value_;
        if (!view_.pending_is_published) {
            KEYSHEPHERD_CO_TRY(view_.pending_facts, co_await reconcile::find_secret_id(
                                                        vault, role_, pending_value_, runtime_.soon()));
        }
    }
    co_return co_await look_at_targets();
}

Task<result<void>> SecretIdReconciler::look_at_targets() {
    view_.restarted = view_.rolled_out = true;
    if (record_.rollout.empty()) co_return result<void>();
    const Json targets = resource().spec.value("rolloutRestartTargets", Json::array());
    for (const Json& target : targets) {
        const auto state =
            co_await look_at_rollout(runtime_.kube, key_.ns, target.at("kind").get<std::string>(),
                                     target.at("name").get<std::string>(), restart_annotation(resource()),
                                     record_.rollout, runtime_.soon());
        if (!state && state.error().code == Errc::cancelled) co_return std::unexpected(state.error());
        if (!state && state.error().code == Errc::not_found) continue;  // whatever starts reads the Secret
        view_.restarted = view_.restarted && state && state->told;
        view_.rolled_out = view_.rolled_out && state && state->out;
    }
    co_return result<void>();
}

Task<result<void>> SecretIdReconciler::execute(const planner::SecretIdStep& step) {
    switch (step.what) {
        case What::draw:
            co_return co_await draw(step.why);
        case What::enroll:
            co_return co_await enroll();
        case What::publish: {
            KEYSHEPHERD_CO_CHECK(co_await write_secret(pending_value_));
            failpoint("publish");
            view_.published = view_.pending_facts;
            view_.pending_is_published = true;
            net::wipe(value_);
            value_ = pending_value_;
            co_return result<void>();
        }
        case What::discard:
            co_return co_await discard();
        case What::mend: {
            KEYSHEPHERD_CO_CHECK(co_await write_secret(value_));
            const bool other_role_id = !record_.role_id.empty() && record_.role_id != role_id_;
            event(kube::Event::Type::warning, "SecretRepaired", "Write",
                  fmt::format("Secret {} {}", secret_name_,
                              other_role_id ? "was updated with the role-id in Vault"
                                            : "was changed; the operator restored it"));
            co_return result<void>();
        }
        case What::record: {
            const bool rotated = !record_.accessor.empty() && step.record.accessor != record_.accessor;
            const bool issued = step.record.accessor != record_.accessor;
            KEYSHEPHERD_CO_CHECK(co_await tell(step.record));
            failpoint("record");
            if (issued && swept_) runtime_.orphan_scans.finish(key_);
            if (issued)
                event(kube::Event::Type::normal, rotated ? "Rotated" : "Issued", "Issue",
                      fmt::format("published secret-id {} in Secret {}{}", record_.accessor, secret_name_,
                                  enrolling_.empty() ? "" : ": " + enrolling_));
            co_return co_await look_at_targets();
        }
        case What::restart:
            co_return co_await restart();
        case What::list:
            co_return co_await list();
        case What::destroy:
            co_return co_await destroy(step);
        case What::refuse:
        case What::rest:
        case What::delay:
            break;
    }
    co_return result<void>();
}

Task<result<void>> SecretIdReconciler::list() {
    // One list does for every resource of the role, unless something has gone amiss since.
    KEYSHEPHERD_CO_TRY(view_.all,
                       co_await session_->secret_ids.of(
                           session_->vault, role_, owner_,
                           runtime_.orphan_scans.fresh_from(key_, SteadyClock::now()), runtime_.soon()));
    bool young = false;
    std::set<std::string> living;
    for (const planner::SecretIdFacts& each : *view_.all) {
        young = young || (each.accessor != record_.accessor && each.accessor != record_.previous);
        living.insert(each.issue);
    }
    if (view_.published) living.insert(view_.published->issue);
    if (revoke_tokens_) {
        // Whoever was killed between destroying a secret-id and revoking its tokens has left them.
        KEYSHEPHERD_CO_TRY(const std::size_t revoked,
                           co_await session_->tokens.revoke_all_but(session_->vault, role_, owner_, living,
                                                                    runtime_.soon()));
        tell_revoked(revoked);
    }
    // An orphan may be too young to be destroyed now, or not there yet.
    if (young || SteadyClock::now() < runtime_.orphan_scans.unsure_until(key_))
        runtime_.orphan_scans.suspect(key_);
    else
        runtime_.orphan_scans.finish(key_);
    co_return result<void>();
}

Task<result<void>> SecretIdReconciler::draw(std::string why) {
    KEYSHEPHERD_CO_TRY(pending_value_, reconcile::draw(reconcile::secret_id_bytes));
    Json body = secret(pending_name_, {{"secret_id", encode_base64(pending_value_)}});
    body["immutable"] = true;
    auto made = co_await runtime_.kube.create(kube::secrets, key_.ns, std::move(body), runtime_.soon());
    if (!made) {
        // One is there that the watch has not told of: the next look sees it.
        if (kube::already_exists(made.error())) runtime_.secrets.made(key_.ns, pending_name_);
        co_return std::unexpected(made.error());
    }
    failpoint("draw");
    pending_uid_ = kube::metadata(*made).uid;
    kube::wipe(*made);
    runtime_.secrets.made(key_.ns, pending_name_);
    view_.pending = view_.drawn = true;
    view_.pending_is_published = false;
    view_.pending_facts.reset();
    enrolling_ = std::move(why);
    co_return result<void>();
}

// The finalizer, where it will be in Vault (it has to be found again also when the role's resource goes
// before anything is published), and the pending Secret beside each other: its value is nobody's before it is
// registered, and without the finalizer it goes with the resource.
Task<result<void>> SecretIdReconciler::draw_finalized(std::string why) {
    using namespace boost::asio::experimental::awaitable_operators;
    const auto finalize = [](SecretIdReconciler& self) -> Task<bool> {
        co_await boost::asio::this_coro::throw_if_cancelled(false);
        const bool held = co_await self.runtime_.add_finalizer(self.key_, self.entry_);
        if (held) failpoint("finalizer");
        co_return held;
    };
    const auto make_pending = [](SecretIdReconciler& self, std::string reason) -> Task<result<void>> {
        co_await boost::asio::this_coro::throw_if_cancelled(false);
        co_return co_await self.draw(std::move(reason));
    };
    const auto place = [](SecretIdReconciler& self) -> Task<bool> {
        co_await boost::asio::this_coro::throw_if_cancelled(false);
        std::map<std::string, std::string> where = {{"connection", self.connection_},
                                                    {"vaultPath", self.role_}};
        co_return co_await self.runtime_.record(self.key_, std::move(where));
    };
    const auto [held, placed, drawn] =
        co_await (finalize(*this) && place(*this) && make_pending(*this, std::move(why)));
    if (!held || !placed) co_return fail(Errc::conflict, "cannot write the finalizer or the status");
    co_return drawn;
}

Task<result<void>> SecretIdReconciler::enroll() {
    view_.drawn = false;  // whatever comes of it, it is not sent again
    KEYSHEPHERD_CO_TRY(const std::string issue, reconcile::draw(reconcile::issue_bytes));
    // Until the status names it, somebody may take away what refers to it.
    swept_ = runtime_.orphan_scans.done(key_);
    runtime_.orphan_scans.suspect(key_);
    runtime_.issued.insert_or_assign(key_, SteadyClock::now());
    auto facts = co_await reconcile::enroll_secret_id(session_->vault, role_,
                                                      planner::secret_id_request(resource(), owner_, issue),
                                                      pending_value_, runtime_.soon());
    if (!facts) {
        // It may be there all the same.
        if (facts.error().code != Errc::invalid && facts.error().code != Errc::not_found) unsure();
        co_return std::unexpected(facts.error());
    }
    failpoint("enroll");
    runtime_.recent_writes.wrote(key_, pending_value_, SteadyClock::now());
    view_.pending_facts = *std::move(facts);
    // The pair has to match: the role may have been created anew since the reconcile began.
    co_return co_await read_role_id();
}

void SecretIdReconciler::unsure() {
    runtime_.orphan_scans.unsure(key_,
                                 SteadyClock::now() + std::chrono::seconds(runtime_.options.orphan_grace));
}

// Vault's clock decides: it wrote the times that are compared.
void SecretIdReconciler::tell_time() {
    view_.now = session_->vault.server_time();
    const auto now = SteadyClock::now();
    const auto seconds_to = [now](Deadline at) {
        return std::chrono::ceil<std::chrono::seconds>(at - now).count();
    };
    view_.unsure_until =
        view_.now + std::max<std::int64_t>(seconds_to(runtime_.orphan_scans.unsure_until(key_)), 0);
    const auto issued = runtime_.issued.find(key_);
    view_.last_issue = issued == runtime_.issued.end() ? 0 : view_.now + seconds_to(issued->second);
}

// A Secret of ours, as it is written; `data` in base64.
Json SecretIdReconciler::secret(const std::string& name, Json data) const {
    return {{"apiVersion", "v1"},
            {"kind", "Secret"},
            {"metadata",
             {{"name", name},
              {"labels", {{SecretWatch::label, SecretWatch::label_value}}},
              {"ownerReferences", Json::array({owner_reference(resource())})}}},
            {"type", "Opaque"},
            {"data", std::move(data)}};
}

// Makes the Secret, or makes it right. With the uid in the request another one of that name is never written.
Task<result<void>> SecretIdReconciler::write_secret(std::string& value) {
    runtime_.secrets.writing(key_.ns, secret_name_, key_);
    auto written = co_await put_secret(value);
    runtime_.secrets.expect(key_.ns, secret_name_, key_,
                            written ? kube::metadata(*written).resource_version : std::string());
    if (!written) co_return std::unexpected(written.error());
    view_.secret = SecretState::ours;
    view_.secret_uid = kube::metadata(*written).uid;
    kube::wipe(*written);
    outcome = "changed";
    co_return result<void>();
}

Task<result<Json>> SecretIdReconciler::put_secret(std::string& value) {
    if (view_.secret == SecretState::fixed) {
        KEYSHEPHERD_CO_CHECK(co_await runtime_.kube.remove({kube::secrets, key_.ns, secret_name_},
                                                           {.uid = view_.secret_uid},
                                                           kube::Propagation::background, runtime_.soon()));
        failpoint("replace");
        view_.secret = SecretState::absent;
    }
    Json body =
        secret(secret_name_, {{"role_id", encode_base64(role_id_)}, {"secret_id", encode_base64(value)}});
    if (view_.secret == SecretState::absent)
        co_return co_await runtime_.kube.create(kube::secrets, key_.ns, std::move(body), runtime_.soon());
    body["metadata"]["uid"] = view_.secret_uid;
    body["metadata"]["namespace"] = key_.ns;
    co_return co_await runtime_.kube.patch({kube::secrets, key_.ns, secret_name_},
                                           {.kind = kube::Patch::Kind::apply,
                                            .body = std::move(body),
                                            .field_manager = field_manager,
                                            .force = true},
                                           runtime_.soon());
}

Task<result<void>> SecretIdReconciler::discard() {
    auto gone = co_await runtime_.kube.remove({kube::secrets, key_.ns, pending_name_}, {.uid = pending_uid_},
                                              kube::Propagation::background, runtime_.soon());
    if (!gone && gone.error().code != Errc::not_found) co_return gone;
    failpoint("discard");
    runtime_.secrets.unmade(key_.ns, pending_name_);
    // A value that was never published: if its registration is still on its way, it becomes an orphan.
    if (!view_.pending_is_published) {
        unsure();
        view_.list_wanted = true;
    }
    net::wipe(pending_value_);
    view_.pending = view_.pending_is_published = false;
    view_.pending_facts.reset();
    co_return result<void>();
}

Task<result<void>> SecretIdReconciler::restart() {
    view_.restarted = true;  // who refuses is asked again at the next look
    for (const Json& target : resource().spec.at("rolloutRestartTargets")) {
        const auto kind = target.at("kind").get<std::string>();
        const auto name = target.at("name").get<std::string>();
        const auto state =
            co_await look_at_rollout(runtime_.kube, key_.ns, kind, name, restart_annotation(resource()),
                                     record_.rollout, runtime_.soon());
        if (state && state->told) continue;
        result<void> told;
        if (!state)
            told = std::unexpected(state.error());
        else
            told = co_await roll_out(runtime_.kube, key_.ns, kind, name, restart_annotation(resource()),
                                     record_.rollout, runtime_.soon());
        failpoint("restart");
        if (!told && told.error().code == Errc::cancelled) co_return told;
        if (!told && told.error().code == Errc::not_found) continue;
        view_.rolled_out = false;
        view_.refused = view_.refused || !told;
        if (told)
            event(kube::Event::Type::normal, "Restarted", "Restart",
                  fmt::format("restarted {} {} to read secret-id {}", kind, name, record_.accessor));
        else if (runtime_.first_in_a_while(key_, fmt::format("{} {} {}", kind, name, record_.rollout)))
            event(kube::Event::Type::warning, "RestartRefused", "Restart",
                  fmt::format("cannot restart {} {}: {}; bind the ClusterRole keyshepherd-operator-restarts "
                              "to the operator in this namespace",
                              kind, name, told.error().message));
    }
    co_return result<void>();
}

Task<result<void>> SecretIdReconciler::destroy(const planner::SecretIdStep& step) {
    for (const std::string& accessor : step.accessors) {
        std::optional<planner::SecretIdFacts> facts;
        if (revoke_tokens_) {
            KEYSHEPHERD_CO_TRY(
                facts, co_await reconcile::find_accessor(session_->vault, role_, accessor, runtime_.soon()));
        }
        KEYSHEPHERD_CO_CHECK(
            co_await reconcile::destroy_secret_id(session_->vault, role_, accessor, runtime_.soon()));
        session_->secret_ids.forget(role_, accessor);
        const std::string issue = facts ? facts->issue : "";
        runtime_.destroyed.add(vault_, {role_, accessor, issue.empty() ? "" : owner_, issue});
        failpoint("destroy");
        if (facts && !facts->issue.empty()) {
            KEYSHEPHERD_CO_TRY(const std::size_t revoked,
                               co_await session_->tokens.revoke(session_->vault, role_, owner_, facts->issue,
                                                                runtime_.soon()));
            tell_revoked(revoked);
        }
        event(kube::Event::Type::normal, "Destroyed", "Destroy",
              fmt::format("destroyed secret-id {}: {}", accessor, step.why));
        runtime_.log.info("destroyed a secret-id", {{"kind", key_.kind->name},
                                                    {"namespace", key_.ns},
                                                    {"name", key_.name},
                                                    {"vaultPath", role_},
                                                    {"accessor", accessor},
                                                    {"why", step.why}});
        if (view_.all)
            std::erase_if(*view_.all,
                          [&](const planner::SecretIdFacts& each) { return each.accessor == accessor; });
    }
    outcome = "changed";
    if (step.record == record_) co_return result<void>();
    KEYSHEPHERD_CO_CHECK(co_await tell(step.record));
    failpoint("forget");
    co_return result<void>();
}

void SecretIdReconciler::tell_revoked(std::size_t tokens) {
    if (tokens == 0) return;
    event(kube::Event::Type::normal, "Revoked", "Revoke",
          fmt::format("revoked {} token{} of the destroyed secret-id", tokens, tokens == 1 ? "" : "s"));
    runtime_.log.info("revoked tokens", {{"kind", key_.kind->name},
                                         {"namespace", key_.ns},
                                         {"name", key_.name},
                                         {"vaultPath", role_},
                                         {"tokens", tokens}});
}

// The status: the record, and that all is well.
Task<result<void>> SecretIdReconciler::tell(SecretIdRecord record) {
    StatusUpdate update{.ready = Truth::yes,
                        .reason = "Published",
                        .message = fmt::format("Secret {} contains the role-id and a valid secret-id of {}",
                                               secret_name_, role_),
                        .synced = true};
    update.changed = record.accessor != record_.accessor;
    update.facts = planner::fields(record);
    update.facts["connection"] = connection_;
    update.facts["vaultPath"] = role_;
    update.facts["revokeTokens"] = revoke_tokens_ ? "true" : "";
    for (const auto& [name, value] : update.facts)
        if (value.empty()) update.gone.insert(name);
    update.gone.insert(std::string(planner::still_in_vault));
    update.gone.insert(std::string(planner::status_trusted));
    const StatusWrite status = co_await runtime_.report(key_, entry_, std::move(update));
    // As a conflict it is tried again, with the wait of this resource's other failures.
    if (!status.written) co_return fail(Errc::conflict, "cannot write the status");
    if (planner::is_still_in_vault(entry_->status)) tell_connection();
    record_ = std::move(record);
    co_return result<void>();
}

// ---- deletion

Task<Again> SecretIdReconciler::remove() {
    const EntryPtr role = runtime_.find(role_of(resource()));
    const bool has_role = role != nullptr && role->faults.empty();
    // Both stand in the status before anything is issued, under the operator's seal.
    Key through = connection_of(resource());
    if (entry_->untrusted && has_role) {
        // Where it was issued is not known; at its role it may have been.
        through = connection_of(role->resource);
        role_ = vault_path_ = planner::claim(role->resource);
    } else if (entry_->untrusted) {
        tell_left(
            "the operator does not know at which role the secret-ids were issued: this operator did not "
            "write the status, and the VaultAppRole does not exist");
    }
    // A wish that came after the last look counts too.
    if (has_role && role->resource.spec.value("revokeTokens", false)) revoke_tokens_ = true;
    const bool retain = resource().spec.value("deletionPolicy", "") == "Retain";
    if (!retain && through.kind != nullptr && !role_.empty()) {
        const auto reached = co_await way(through);
        if (!reached) co_return reached.error().again;
        const planner::Judgement granted = judge_removal_at(role_, *reached);
        if (!granted.faults.empty())
            co_return co_await wait_or_orphan(reached->connection,
                                              "cannot destroy the secret-ids: " + joined(granted.faults));
        limit_revocation(granted);
        if (const auto gone = co_await remove_from_vault(*reached); !gone)
            co_return co_await failed(reached->connection, gone.error());
        outcome = "changed";
    }
    runtime_.secrets.forget(key_);  // what we remove now is no reason to look again
    if (!runtime_.may_use_secrets(key_.ns)) co_return co_await let_go();
    if (const auto gone = co_await remove_secrets(retain); !gone) {
        if (gone.error().code == Errc::cancelled) co_return std::nullopt;
        // With the resource its Secrets go too: the garbage collector has the right that we lack.
        if (gone.error().code == Errc::forbidden && !retain) co_return co_await let_go();
        outcome = "error";
        if (gone.error().code == Errc::forbidden)
            co_return co_await wait_or_orphan(runtime_.find(through), gone.error().message);
        co_return runtime_.retry_in(key_);
    }
    co_return co_await let_go();
}

// What the connection lets the namespace do with the role at a path of Vault's.
planner::Judgement SecretIdReconciler::judge_removal_at(const std::string& path, const Way& way) const {
    const auto role = planner::role_at(path, key_.ns);
    if (!role) return {.faults = {{"status.vaultPath", "is not the path of a role"}}, .rights = {}};
    return judge_removal(*role, way.connection->resource, way.reserved);
}

// Tokens are revoked only where the right is granted now; otherwise it is told that they live on.
void SecretIdReconciler::limit_revocation(const planner::Judgement& granted) {
    if (!revoke_tokens_ || granted.rights.revoke_tokens) return;
    revoke_tokens_ = false;
    if (!runtime_.first_in_a_while(key_, "TokensNotRevoked " + role_)) return;
    event(kube::Event::Type::warning, "TokensNotRevoked", "Revoke",
          fmt::format("tokens of {} stay valid, because the connection no longer grants namespace {} the "
                      "right revokeTokens",
                      role_, key_.ns));
}

// Secret-ids of ours stay valid in Vault.
void SecretIdReconciler::tell_left(const std::string& why) {
    if (!runtime_.first_in_a_while(key_, "Orphaned " + role_)) return;
    runtime_.metrics.orphaned(key_.kind->name);
    runtime_.log.error("left an object in Vault", {{"kind", key_.kind->name},
                                                   {"namespace", key_.ns},
                                                   {"name", key_.name},
                                                   {"vaultPath", role_},
                                                   {"error", why}});
    event(kube::Event::Type::warning, "Orphaned", "Destroy",
          fmt::format("secret-ids{} stay valid in Vault: {}", role_.empty() ? "" : " of " + role_, why));
}

// First what is known, so that no login works any more, and what it issued; then whatever else is ours.
Task<result<void>> SecretIdReconciler::remove_from_vault(const Way& way) {
    vault::Client& vault = way.session->vault;
    for (const std::string& accessor : {record_.accessor, record_.previous}) {
        if (accessor.empty()) continue;
        std::optional<planner::SecretIdFacts> facts;
        if (revoke_tokens_) {
            auto found = co_await reconcile::find_accessor(vault, role_, accessor, runtime_.soon());
            if (!found && found.error().code != Errc::not_found) co_return std::unexpected(found.error());
            if (found) facts = *std::move(found);
        }
        KEYSHEPHERD_CO_CHECK(co_await reconcile::destroy_secret_id(vault, role_, accessor, runtime_.soon()));
        const std::string issue = facts ? facts->issue : "";
        runtime_.destroyed.add(vault_of(way.connection->resource),
                               {role_, accessor, issue.empty() ? "" : owner_, issue});
    }
    failpoint("delete-destroy");
    std::size_t revoked = 0;
    if (revoke_tokens_) {
        KEYSHEPHERD_CO_TRY(revoked,
                           co_await way.session->tokens.revoke(vault, role_, owner_, "", runtime_.soon()));
        failpoint("delete-revoke");
    }
    const auto all =
        co_await way.session->secret_ids.of(vault, role_, owner_, SteadyClock::now(), runtime_.soon());
    if (!all && all.error().code != Errc::not_found) co_return std::unexpected(all.error());
    if (all)
        for (const planner::SecretIdFacts& each : *all) {
            KEYSHEPHERD_CO_CHECK(
                co_await reconcile::destroy_secret_id(vault, role_, each.accessor, runtime_.soon()));
            runtime_.destroyed.add(vault_of(way.connection->resource),
                                   {role_, each.accessor, revoke_tokens_ ? owner_ : "", each.issue});
        }
    failpoint("delete-sweep");
    if (revoke_tokens_ && all && !all->empty()) {
        KEYSHEPHERD_CO_TRY(const std::size_t more,
                           co_await way.session->tokens.revoke(vault, role_, owner_, "", runtime_.soon()));
        revoked += more;
    }
    tell_revoked(revoked);
    runtime_.log.info(
        "removed an object from Vault",
        {{"kind", key_.kind->name}, {"namespace", key_.ns}, {"name", key_.name}, {"vaultPath", role_}});
    co_return result<void>();
}

// Of what is retained only the ties are cut, or the garbage collector would take it.
Task<result<void>> SecretIdReconciler::remove_secrets(bool retain) {
    for (const std::string& name : {secret_name_, pending_name_}) {
        auto secret = co_await runtime_.kube.get({kube::secrets, key_.ns, name}, runtime_.soon());
        if (!secret && secret.error().code == Errc::not_found) continue;
        if (!secret) co_return std::unexpected(secret.error());
        const std::string uid = kube::metadata(*secret).uid;
        const bool ours = is_owner(*secret, resource().uid);
        kube::wipe(*secret);
        if (!ours) continue;
        result<void> done;
        if (retain && name == secret_name_) {
            const Json body = {
                {"metadata",
                 {{"uid", uid}, {"ownerReferences", nullptr}, {"labels", {{SecretWatch::label, nullptr}}}}}};
            const auto patched = co_await runtime_.kube.patch(
                {kube::secrets, key_.ns, name}, {.kind = kube::Patch::Kind::merge, .body = body},
                runtime_.soon());
            if (!patched) done = std::unexpected(patched.error());
        } else {
            done = co_await runtime_.kube.remove({kube::secrets, key_.ns, name}, {.uid = uid},
                                                 kube::Propagation::background, runtime_.soon());
        }
        if (!done && done.error().code != Errc::not_found) co_return done;
        runtime_.secrets.unmade(key_.ns, name);
    }
    co_return result<void>();
}

}  // namespace keyshepherd::controller
