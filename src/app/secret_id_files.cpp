#include "secret_id_files.hpp"

#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/net/wiped.hpp>
#include <keyshepherd/planner/read_back.hpp>
#include <keyshepherd/reconcile/failpoint.hpp>

#include <fmt/format.h>

namespace keyshepherd::app {

using planner::SecretIdFacts;
using planner::SecretIdRecord;
using planner::SecretState;
using resources::Json;

namespace {

constexpr int most_steps = 30;
constexpr const char* role_id_file = "role_id";
constexpr const char* secret_id_file = "secret_id";
constexpr const char* pending_file = ".pending";
constexpr const char* state_file = ".state.json";

}  // namespace

SecretIdFiles::SecretIdFiles(SecretIdVault& vault, const SecretFiles& files,
                             const resources::Resource& resource, SecretIdRole role, bool apply)
    : vault_(vault),
      files_(files),
      resource_(resource),
      role_(std::move(role)),
      apply_(apply),
      owner_(fmt::format("files:{}/{}/{}", files.owner, resource.ns, resource.name)),
      place_(fmt::format("{}/{}/{}", files.folder, resource.ns, resource.spec.value("secretName", ""))) {
    view_.list_wanted = role_.is_there;  // every run is the first look of its process
}

SecretIdFiles::~SecretIdFiles() {
    net::wipe(value_);
    net::wipe(pending_value_);
}

net::Task<result<planner::Plan>> SecretIdFiles::run() {
    KEYSHEPHERD_CO_CHECK(co_await look());
    if (plan_.verdict == planner::Verdict::refused) co_return std::move(plan_);
    KEYSHEPHERD_CO_CHECK(co_await finish_revocation());
    const bool first = record_.accessor.empty() && view_.secret == SecretState::absent;
    for (int steps = 0;; ++steps) {
        view_.now = vault_.client.server_time();
        const Step step = planner::next_step(resource_, owner_, record_, view_);
        if (step.what == Step::What::refuse) {
            refuse(
                fmt::format("{} contains a secret-id that this resource did not issue, so it is not "
                            "overwritten; set another spec.secretName",
                            place_));
            co_return std::move(plan_);
        }
        if (step.what == Step::What::rest) break;
        if (steps == most_steps)
            co_return fail(
                Errc::internal,
                fmt::format("the secret-id did not reach a stable state in {} steps; run the command again",
                            most_steps));
        KEYSHEPHERD_CO_CHECK(co_await execute(step));
        // What comes after a new one depends on what Vault says of it.
        if (step.what == Step::What::draw && !apply_) break;
    }
    if (plan_.changes.empty() && state_text() != written_state_)
        note(state_file, nullptr, "restored from Vault");
    if (apply_) KEYSHEPHERD_CO_CHECK(save());
    if (!plan_.changes.empty()) plan_.verdict = first ? planner::Verdict::create : planner::Verdict::update;
    co_return std::move(plan_);
}

void SecretIdFiles::refuse(std::string message) {
    plan_ = {.verdict = planner::Verdict::refused, .reason = "Conflict", .message = std::move(message)};
}

void SecretIdFiles::note(std::string field, Json before, Json after) {
    plan_.changes.push_back({std::move(field), std::move(before), std::move(after)});
}

// ---- what is there

result<void> SecretIdFiles::read_state(const std::string& text) {
    const Json state = Json::parse(text, nullptr, false);
    if (!state.is_object())
        return fail(Errc::invalid, fmt::format("{}/{} is not valid JSON; move the file away and run again: "
                                               "apply restores its content from Vault",
                                               place_, state_file));
    written_state_ = text;
    const std::string whose = text_at(state, "owner");
    if (whose != owner_) {
        refuse(
            fmt::format("{} belongs to {}, not to {}; set another spec.secretName, --secrets-dir or --owner",
                        place_, whose, owner_));
        return result<void>();
    }
    const std::string role = text_at(state, "role");
    if (const std::string ours = vault_.name + " " + role_.path; role != ours) {
        refuse(
            fmt::format("{} contains a secret-id of {}, not of {}; set another --secrets-dir. If this is the "
                        "same Vault at another address, move {} away: apply restores its content from Vault",
                        place_, role, ours, state_file));
        return result<void>();
    }
    if (const auto status = state.find("status"); status != state.end())
        record_ = planner::secret_id_record(*status);
    if (const auto revoking = state.find("revoking"); revoking != state.end())
        revoking_ = {text_at(*revoking, "accessor"), text_at(*revoking, "issue")};
    return result<void>();
}

result<void> SecretIdFiles::read_files() {
    const std::string name = resource_.spec.value("secretName", "");
    if (apply_) {
        KEYSHEPHERD_TRY(folder_, SecretFolder::make(files_.folder, resource_.ns, name));
    } else {
        KEYSHEPHERD_TRY(folder_, SecretFolder::find(files_.folder, resource_.ns, name));
    }
    if (!folder_) return result<void>();
    KEYSHEPHERD_TRY(const auto state, folder_->read(state_file));
    if (state) KEYSHEPHERD_TRY_CHECK(read_state(state->text));
    if (plan_.verdict == planner::Verdict::refused) return result<void>();
    KEYSHEPHERD_TRY(const auto role_id, folder_->read(role_id_file));
    KEYSHEPHERD_TRY(auto secret_id, folder_->read(secret_id_file));
    KEYSHEPHERD_TRY(auto pending, folder_->read(pending_file));
    if (secret_id) {
        const bool as_it_should_be =
            secret_id->is_ours && role_id && role_id->is_ours && role_id->text == role_.role_id;
        view_.secret = as_it_should_be ? SecretState::ours : SecretState::stale;
        value_ = secret_id->text;
        net::wipe(secret_id->text);
    } else if (role_id && !state) {
        view_.secret = SecretState::foreign;
    }
    if (pending) {
        view_.pending = true;
        if (pending->is_ours) pending_value_ = pending->text;
        net::wipe(pending->text);
    }
    return result<void>();
}

net::Task<result<void>> SecretIdFiles::look() {
    if (role_.is_there) {
        KEYSHEPHERD_CO_TRY(const auto answer,
                           co_await vault_.client.read(role_.path + "/role-id", vault_.soon()));
        if (!answer) co_return fail(Errc::not_found, role_.path + " does not exist in Vault");
        if (role_.role_id.empty()) role_.role_id = text_at(*answer, "role_id");
        if (role_.role_id.empty()) co_return fail(Errc::protocol, role_.path + ": Vault returned no role_id");
    }
    KEYSHEPHERD_CO_CHECK(read_files());
    if (plan_.verdict == planner::Verdict::refused || view_.secret == SecretState::foreign)
        co_return result<void>();
    if (role_.is_there) KEYSHEPHERD_CO_CHECK(co_await ask());
    if (!written_state_.empty()) co_return result<void>();
    // Nothing says whose the files are but Vault.
    if (view_.secret != SecretState::absent) {
        if (!view_.published || view_.published->owner != owner_) view_.secret = SecretState::foreign;
    } else if (view_.pending) {
        view_.pending_foreign = true;
    }
    co_return result<void>();
}

net::Task<result<void>> SecretIdFiles::ask() {
    if (!value_.empty()) {
        KEYSHEPHERD_CO_TRY(view_.published, co_await reconcile::find_secret_id(vault_.client, role_.path,
                                                                               value_, vault_.soon()));
    }
    if (view_.pending && !pending_value_.empty()) {
        view_.pending_is_published = pending_value_ == value_;
        if (!view_.pending_is_published) {
            KEYSHEPHERD_CO_TRY(
                view_.pending_facts,
                co_await reconcile::find_secret_id(vault_.client, role_.path, pending_value_, vault_.soon()));
        }
    }
    if (written_state_.empty()) {
        KEYSHEPHERD_CO_TRY(const auto all, co_await list());
        record_ =
            planner::read_back(resource_, owner_, view_.published ? view_.published->accessor : "", all);
    }
    co_return result<void>();
}

net::Task<result<std::vector<SecretIdFacts>>> SecretIdFiles::list() {
    co_return co_await vault_.secret_ids.of(vault_.client, role_.path, owner_, vault_.began, vault_.soon());
}

// ---- what is done

net::Task<result<void>> SecretIdFiles::execute(const Step& step) {
    using What = Step::What;
    switch (step.what) {
        case What::draw:
            plan_.reason = apply_ ? "Issued" : "Issue";
            plan_.message = step.why;
            note("secret_id_accessor", record_.accessor.empty() ? Json() : Json(record_.accessor), "(new)");
            co_return apply_ ? draw() : result<void>();
        case What::enroll:
            co_return co_await enroll();
        case What::publish:
            if (!issuing_ && view_.pending_facts) {
                plan_.reason = apply_ ? "Published" : "Publish";
                plan_.message = step.why;
                note("secret_id_accessor", record_.accessor.empty() ? Json() : Json(record_.accessor),
                     view_.pending_facts->accessor);
            }
            if (apply_) KEYSHEPHERD_CO_CHECK(publish(pending_value_));
            failpoint("publish");
            view_.secret = SecretState::ours;
            view_.published = view_.pending_facts;
            view_.pending_is_published = true;
            co_return result<void>();
        case What::discard:
            if (!issuing_) note(pending_file, "an unfinished secret-id", nullptr);
            if (apply_) KEYSHEPHERD_CO_CHECK(remove(pending_file));
            failpoint("discard");
            net::wipe(pending_value_);
            view_.pending = view_.pending_is_published = false;
            view_.pending_facts.reset();
            co_return result<void>();
        case What::mend:
            note("files", "changed", "restored");
            if (apply_) KEYSHEPHERD_CO_CHECK(publish(value_));
            view_.secret = SecretState::ours;
            co_return result<void>();
        case What::record: {
            const auto before = planner::fields(record_);
            if (step.record.accessor == record_.accessor)
                for (const auto& [name, after] : planner::fields(step.record))
                    if (const std::string& was = before.at(name); was != after)
                        note(name, was.empty() ? Json() : Json(was), after.empty() ? Json() : Json(after));
            KEYSHEPHERD_CO_CHECK(record(step.record));
            failpoint("record");
            co_return result<void>();
        }
        case What::list: {
            KEYSHEPHERD_CO_TRY(view_.all, co_await list());
            co_return result<void>();
        }
        case What::destroy:
            co_return co_await destroy(step);
        case What::restart:  // there is nothing to restart: view_.restarted stays true
        case What::refuse:
        case What::rest:
        case What::delay:  // a run issues one at most, so it needs no interval
            break;
    }
    co_return result<void>();
}

result<void> SecretIdFiles::draw() {
    KEYSHEPHERD_TRY_CHECK(save());  // from here on the folder is ours
    failpoint("claim");
    KEYSHEPHERD_TRY(pending_value_, reconcile::draw(reconcile::secret_id_bytes));
    KEYSHEPHERD_TRY_CHECK(write(pending_file, pending_value_));
    failpoint("draw");
    view_.pending = view_.drawn = issuing_ = true;
    view_.pending_is_published = false;
    view_.pending_facts.reset();
    return result<void>();
}

net::Task<result<void>> SecretIdFiles::enroll() {
    view_.drawn = false;  // whatever comes of it, it is not sent again
    KEYSHEPHERD_CO_TRY(const std::string issue, reconcile::draw(reconcile::issue_bytes));
    auto facts = co_await reconcile::enroll_secret_id(vault_.client, role_.path,
                                                      planner::secret_id_request(resource_, owner_, issue),
                                                      pending_value_, vault_.soon());
    if (!facts) co_return std::unexpected(facts.error());
    failpoint("enroll");
    plan_.changes.back().after = facts->accessor;
    view_.pending_facts = *std::move(facts);
    co_return result<void>();
}

// Only where the plan is carried out, for which the folder was made.
result<void> SecretIdFiles::write(const char* name, const std::string& text) {
    if (!folder_) return fail(Errc::internal, place_ + " is not open for writing");
    return folder_->write(name, text);
}

result<void> SecretIdFiles::remove(const char* name) {
    if (!folder_) return fail(Errc::internal, place_ + " is not open for writing");
    return folder_->remove(name);
}

// The secret-id last: whoever waits for it finds both.
result<void> SecretIdFiles::publish(std::string& value) {
    KEYSHEPHERD_TRY_CHECK(write(role_id_file, role_.role_id));
    failpoint("role_id");
    KEYSHEPHERD_TRY_CHECK(write(secret_id_file, value));
    if (&value != &value_) {
        net::wipe(value_);
        value_ = value;
    }
    return result<void>();
}

net::Task<result<void>> SecretIdFiles::destroy(const Step& step) {
    if (plan_.message.empty()) {
        plan_.reason = apply_ ? "Destroyed" : "Destroy";
        plan_.message = step.why;
    }
    for (const std::string& accessor : step.accessors) {
        note("secret_id_accessor", accessor, nullptr);
        if (apply_) {
            if (role_.revoke_tokens) {
                KEYSHEPHERD_CO_TRY(const auto facts, co_await reconcile::find_accessor(
                                                         vault_.client, role_.path, accessor, vault_.soon()));
                // Once it is destroyed, Vault does not say any more which tokens are of it.
                if (facts && !facts->issue.empty()) {
                    revoking_ = {accessor, facts->issue};
                    KEYSHEPHERD_CO_CHECK(save());
                }
            }
            KEYSHEPHERD_CO_CHECK(
                co_await reconcile::destroy_secret_id(vault_.client, role_.path, accessor, vault_.soon()));
            failpoint("destroy");
            KEYSHEPHERD_CO_CHECK(co_await finish_revocation());
        }
        if (view_.all)
            std::erase_if(*view_.all, [&](const SecretIdFacts& each) { return each.accessor == accessor; });
    }
    co_return record(step.record);
}

net::Task<result<void>> SecretIdFiles::finish_revocation() {
    if (!revoking_) co_return result<void>();
    if (!apply_) {
        note("tokens", fmt::format("tokens of secret-id {}", revoking_->accessor), nullptr);
        co_return result<void>();
    }
    // A process may have died between writing it down and destroying it.
    KEYSHEPHERD_CO_CHECK(
        co_await reconcile::destroy_secret_id(vault_.client, role_.path, revoking_->accessor, vault_.soon()));
    KEYSHEPHERD_CO_TRY(
        const std::size_t revoked,
        co_await vault_.tokens.revoke(vault_.client, role_.path, owner_, revoking_->issue, vault_.soon()));
    failpoint("revoke");
    if (revoked > 0) note("tokens", revoked, nullptr);
    revoking_.reset();
    co_return save();
}

// ---- .state.json

std::string SecretIdFiles::state_text() const {
    Json state = {{"owner", owner_}, {"role", vault_.name + " " + role_.path}, {"status", Json::object()}};
    for (const auto& [name, value] : planner::fields(record_))
        if (!value.empty()) state["status"][name] = value;
    if (revoking_) state["revoking"] = {{"accessor", revoking_->accessor}, {"issue", revoking_->issue}};
    return state.dump(2) + "\n";
}

result<void> SecretIdFiles::record(const SecretIdRecord& record) {
    record_ = record;
    return apply_ ? save() : result<void>();
}

result<void> SecretIdFiles::save() {
    std::string text = state_text();
    if (text == written_state_) return result<void>();
    KEYSHEPHERD_TRY_CHECK(write(state_file, text));
    written_state_ = std::move(text);
    return result<void>();
}

}  // namespace keyshepherd::app
