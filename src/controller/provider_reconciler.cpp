#include "provider_reconciler.hpp"

#include "key_probe.hpp"
#include "rollout.hpp"

#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/kube/client.hpp>
#include <keyshepherd/kube/random.hpp>
#include <keyshepherd/net/wiped.hpp>
#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/provider/provider.hpp>
#include <keyshepherd/reconcile/failpoint.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <utility>

namespace keyshepherd::controller {

using planner::KeyPlace;
using planner::KeyVersion;
using planner::KeyView;
using planner::Need;
using planner::Truth;
using planner::Workload;
using namespace std::chrono_literals;

namespace {

// Who may not be patched is tried again only now and then: a person has to bind a role first.
constexpr int refused_rounds = 10;
// Rollouts wait while keys are tried: for one try, and for all tries of one look but the last.
constexpr milliseconds probe_time = 5s;
// Of the status: the version of the provider's own key that was refused.
const std::string refused_version = "refusedKeyVersion";

const resources::Kind* const provider_kind = &resources::kind_of(resources::KindId::ai_provider);
const resources::Kind* const cluster_provider_kind =
    &resources::kind_of(resources::KindId::cluster_ai_provider);

Json reference_to(const Workload& workload) {
    return {{"apiVersion", "apps/v1"},
            {"kind", workload.kind},
            {"metadata", {{"name", workload.name}, {"namespace", workload.ns}, {"uid", workload.uid}}}};
}

}  // namespace

Task<Again> ProviderReconciler::reconcile() {
    if (deleting()) co_return std::nullopt;
    if (resource().paused) {
        co_return co_await report(
            {.ready = Truth::unknown, .reason = "Paused", .message = "keyshepherd.dev/paused is true"},
            std::nullopt);
    }
    if (!entry_->faults.empty()) {
        co_return co_await refuse_all("InvalidSpec", joined(entry_->faults));
    }
    if (const auto faults = provider::disallowed(resource(), runtime_.options.providers); !faults.empty()) {
        co_return co_await refuse_all("NotAllowed", joined(faults));
    }
    if (const std::string taken = name_taken_by(); !taken.empty()) {
        co_return co_await refuse_all(
            "NameTaken", fmt::format("not used, because {} has the same name; rename this AIProvider, or "
                                     "start the operator and the webhook with --allow-provider-shadowing",
                                     taken));
    }
    if (!planner::delivers(resource()))
        if (const auto withdrawn = co_await withdraw({}, 0s); !withdrawn) co_return std::nullopt;
    const Key through = connection_of(resource());
    if (through.kind == nullptr) {
        runtime_.metrics.forget_key(key_.name, key_.ns);
        StatusUpdate declared{
            .ready = Truth::yes,
            .reason = "Declared",
            .message = "spec.connectionRef is not set, so the operator does not watch the key",
            .gone = {"keyVersion", "users", "stale", "skipped", refused_version, "KeyValid"}};
        if (planner::delivers(resource()))
            declared.others.push_back(
                {.type = "SecretPublished",
                 .truth = Truth::no,
                 .reason = "NoConnection",
                 .message = "spec.delivery.secret requires spec.connectionRef, which is not set"});
        else
            declared.gone.insert("SecretPublished");
        co_return co_await report(std::move(declared),
                                  deliver_again_ ? Again(runtime_.retry_in(key_)) : std::nullopt);
    }
    // Before any request for a key: it is the operator's token that would read it. Where the answer depends
    // on what is mounted, that is asked first.
    if (const EntryPtr connection = runtime_.find(through);
        connection != nullptr && connection->faults.empty() && !planner::needs_mounts(resource()))
        if (const auto judgement = planner::judge(resource(), connection->resource, {});
            !judgement.faults.empty()) {
            // The connection's next state wakes us.
            const Again next = co_await refuse_all("NotGranted", joined(judgement.faults));
            co_return deliver_again_ ? sooner(next, runtime_.retry_in(key_)) : next;
        }
    const auto reached = co_await way(through);
    if (!reached)
        co_return reached.error().again || !deliver_again_ ? reached.error().again
                                                           : Again(runtime_.retry_in(key_));
    if (planner::needs_mounts(resource())) {
        const planner::Mounts mounts = co_await mounts_for(resource(), reached->session);
        if (const auto judgement =
                judge(resource(), reached->connection->resource, reached->reserved, mounts);
            !judgement.faults.empty()) {
            const Again next = co_await refuse_all("NotGranted", joined(judgement.faults));
            co_return sooner(next, resync());
        }
    }
    if (!runtime_.workloads.synced() || (!key_.kind->namespaced && !runtime_.namespaces.synced()))
        co_return 500ms;

    places_ = planner::key_places(resource());
    if (const auto looked = co_await look(*reached); !looked)
        co_return co_await failed(reached->connection, looked.error());
    // Before any workload can get the key: one that is refused is kept from them.
    if (!planner::probes(resource())) {
        runtime_.providers[key_].trials.clear();
    } else if (const auto tried = co_await try_keys(*reached); !tried) {
        co_return co_await failed(reached->connection, tried.error());
    }
    // Before any rollout: whoever is rolled reads the Secret.
    if (planner::delivers(resource()))
        if (const auto delivered = co_await deliver(*reached); !delivered)
            co_return co_await failed(reached->connection, delivered.error());
    if (!deliver_again_) runtime_.queue.forget(key_);
    const KeyView& own = views_.at(places_.back().path);
    if (own.version && own.version->digest.empty())
        runtime_.metrics.key_version(key_.name, key_.ns, own.version->version);
    else
        runtime_.metrics.forget_key(key_.name, key_.ns);
    sort_users();
    const auto rolled = co_await roll_due();
    if (!rolled) co_return std::nullopt;  // we no longer lead
    sort_users();
    StatusUpdate found = status_update();
    tell_of_delivery(found);
    report_validity(found);
    const Again next_write = co_await report(std::move(found), std::nullopt);
    milliseconds again = resync();
    const auto not_later_than = [&](Deadline at) {
        again = std::clamp(std::chrono::ceil<milliseconds>(at - SteadyClock::now()), 10ms, again);
    };
    const ProviderMemory& memory = runtime_.providers[key_];
    if (const auto next = memory.schedule.next()) not_later_than(*next);
    for (const auto& [name, at] : memory.next_trial)
        if (memory.trials.contains(name)) not_later_than(at);
    if (try_again_) again = std::min<milliseconds>(again, 1s);
    if (next_removal_) again = std::min(again, *next_removal_);
    if (deliver_again_) again = std::min(again, runtime_.retry_in(key_));
    co_return sooner(again, next_write);
}

Task<result<void>> ProviderReconciler::look(const Way& way) {
    // What is within the error of the measurement is no difference.
    const std::int64_t lead = way.session->vault.server_time() - runtime_.server_time();
    vault_lead_ = std::abs(lead) > 2 ? lead : 0;
    for (const KeyPlace& place : places_) {
        if (place.elsewhere || views_.contains(place.path)) continue;
        const auto metadata = planner::metadata_path(place.path);
        if (!metadata && planner::delivers(resource())) {
            KEYSHEPHERD_CO_TRY(views_[place.path], co_await look_at_unversioned(place.path, way));
            continue;
        }
        if (!metadata) {
            views_[place.path] = {
                .version = {},
                .reason = "NotVersioned",
                .message = fmt::format("{}: not the path of a KV version 2 secret (<mount>/data/<name>), so "
                                       "the operator does not restart workloads for a new key",
                                       place.path)};
            continue;
        }
        KEYSHEPHERD_CO_TRY(const std::string encoded, vault::path({*metadata}));
        const auto answer = co_await way.session->vault.read(encoded, runtime_.soon());
        if (answer) {
            views_[place.path] =
                planner::read_key(place.path, answer->value_or(Json()), way.session->vault.server_time());
            continue;
        }
        const StatusUpdate what = planner::status_update_of(answer.error());
        if (planner::concerns_connection(answer.error()) || answer.error().code == Errc::cancelled)
            co_return std::unexpected(answer.error());
        views_[place.path] = {.version = {}, .reason = what.reason, .message = what.message};
    }
    co_return result<void>();
}

bool ProviderReconciler::is_for(const std::string& ns) const {
    if (key_.kind->namespaced) return ns == key_.ns;
    return !runtime_.options.providers.may_shadow || !runtime_.store.contains({provider_kind, ns, key_.name});
}

std::string ProviderReconciler::name_taken_by() const {
    if (!key_.kind->namespaced || runtime_.options.providers.may_shadow) return "";
    if (runtime_.store.contains({cluster_provider_kind, "", key_.name}))
        return fmt::format("ClusterAIProvider {}", key_.name);
    return key_.name == inject::built_in_provider ? "the built-in provider" : "";
}

std::string ProviderReconciler::source_of(const KeyPlace& place, const KeyVersion& key) const {
    const Key connection = connection_of(resource());
    return planner::key_source(kube::key(connection.ns, connection.name), place.path, key);
}

void ProviderReconciler::sort_users() {
    ProviderMemory& memory = runtime_.providers[key_];
    users_ = skipped_ = 0;
    stale_.clear();
    std::set<std::string> ids;
    const std::string secret = planner::delivered_secret(resource());
    for (const auto& [id, workload] : runtime_.workloads.all()) {
        if (!workload.providers.contains(key_.name) || !is_for(workload.ns)) continue;
        ++users_;
        const auto place = planner::place_of(places_, workload.ns, runtime_.namespaces.labels(workload.ns));
        if (!place || places_[*place].elsewhere) continue;
        const std::string& path = places_[*place].path;
        const std::optional<KeyVersion>& version = views_.at(path).version;
        if (!version) continue;
        const std::string record = planner::rotation_record(path, *version);
        std::int64_t since = version->created - vault_lead_;  // the workload's times are the API server's
        // Nobody knows with which value of KV version 1 an agent began.
        if (!version->digest.empty() && !workload.secrets.contains(secret)) {
            ++skipped_;
            continue;
        }
        if (workload.secrets.contains(secret)) {
            // What begins now reads what the Secret has now.
            const auto published = memory.published.find(workload.ns);
            if (published == memory.published.end() || published->second.key.version != version->version ||
                published->second.source != source_of(places_[*place], *version)) {
                stale_.emplace(id, Stale{workload, *version, record});
                continue;
            }
            since = published->second.key.created;
        }
        const auto rolled = memory.rolled.find(id);
        const Need needs = rolled != memory.rolled.end() && rolled->second == record
                               ? Need::none
                               : planner::need(workload, key_.name, path, *version, since);
        if (needs == Need::none) {
            memory.refused.erase(id);
            continue;
        }
        if (needs == Need::skip) {
            ++skipped_;
            continue;
        }
        const auto refused = memory.refused.find(id);
        if (refused != memory.refused.end() && refused->second == record) ++skipped_;
        stale_.emplace(id, Stale{workload, *version, record,
                                 needs == Need::roll_if_older ? std::optional(since) : std::nullopt});
        if (!planner::hold(memory.trials, resource(), places_[*place], *version)) ids.insert(id);
    }
    memory.schedule.want(ids, SteadyClock::now(), runtime_.options.rollout_spread, kube::random_unit);
    std::erase_if(memory.refused, [&](const auto& each) { return !stale_.contains(each.first); });
    std::erase_if(memory.rolled,
                  [&](const auto& each) { return !runtime_.workloads.all().contains(each.first); });
}

Task<result<void>> ProviderReconciler::roll_due() {
    for (std::string& id : runtime_.providers[key_].schedule.due(SteadyClock::now())) {
        if (!stale_.contains(id)) continue;
        KEYSHEPHERD_CO_CHECK(co_await roll(std::move(id)));
    }
    co_return result<void>();
}

// The annotation on the template is the record: it is written over nothing but what was looked at, so that
// neither a restart nor another leader rolls a version twice, or an older one.
Task<result<void>> ProviderReconciler::roll(std::string id) {
    const auto [workload, key, record, unless_after] = stale_.at(id);
    if (unless_after) {
        const auto since = co_await template_since(workload);
        if (!since && since.error().code == Errc::cancelled) co_return std::unexpected(since.error());
        ProviderMemory& known = runtime_.providers[key_];
        // Nothing of the template has started: what starts gets the key.
        if (since && !*since) {
            known.schedule.put_off(id, SteadyClock::now() + 1s);
            co_return result<void>();
        }
        if (since && **since > *unless_after) {
            known.rolled[id] = record;
            co_return result<void>();
        }
        // Without the right to look it is taken to be as old as the workload.
        if (!since && since.error().code != Errc::forbidden) {
            known.schedule.put_off(
                id, SteadyClock::now() + (since.error().code == Errc::not_found ? 300ms : 5000ms));
            co_return result<void>();
        }
    }
    const auto rolled = co_await roll_out(runtime_.kube, workload.ns, workload.kind, workload.name,
                                          planner::rotation_annotation(key_.name), record, runtime_.soon(),
                                          workload.resource_version);
    ProviderMemory& memory = runtime_.providers[key_];
    if (rolled) {
        failpoint("rolled");
        outcome = "changed";
        runtime_.workloads.rolled(id, key_.name, record);
        memory.rolled[id] = record;
        runtime_.metrics.rotation_rollout(key_.name, "rolled");
        runtime_.events.record(
            reference_to(workload), kube::Event::Type::normal, "KeyRotated", "Rollout",
            fmt::format("restarted to use {} of the {} key", planner::version_text(key), key_.name));
        runtime_.log.info("restarted a workload for a new key", {{"kind", workload.kind},
                                                                 {"namespace", workload.ns},
                                                                 {"name", workload.name},
                                                                 {"provider", key_.name},
                                                                 {"version", key.version}});
        co_return result<void>();
    }
    switch (rolled.error().code) {
        case Errc::cancelled:
            co_return rolled;
        case Errc::not_found:  // the watch tells of it
        case Errc::conflict:   // likewise of what it is now
            memory.schedule.put_off(id, SteadyClock::now() + 300ms);
            co_return result<void>();
        case Errc::forbidden:
        case Errc::invalid:
            memory.schedule.put_off(id, SteadyClock::now() + refused_rounds * resync());
            if (std::exchange(memory.refused[id], record) == record) co_return result<void>();
            runtime_.metrics.rotation_rollout(key_.name, "refused");
            runtime_.events.record(
                reference_to(workload), kube::Event::Type::warning, "RolloutRefused", "Rollout",
                fmt::format("not restarted for {} of the {} key: {}", planner::version_text(key), key_.name,
                            rolled.error().message));
            break;
        default:
            memory.schedule.put_off(id, SteadyClock::now() + 5s);
            runtime_.metrics.rotation_rollout(key_.name, "error");
            break;
    }
    runtime_.log.warn("cannot restart a workload for a new key", {{"kind", workload.kind},
                                                                  {"namespace", workload.ns},
                                                                  {"name", workload.name},
                                                                  {"provider", key_.name},
                                                                  {"version", key.version},
                                                                  {"error", rolled.error().message}});
    co_return result<void>();
}

StatusUpdate ProviderReconciler::status_update() const {
    const ProviderMemory& memory = runtime_.providers[key_];
    StatusUpdate found{.ready = Truth::yes, .reason = "KeySeen"};
    for (const auto& [path, view] : views_) {
        if (!view.version && found.ready == Truth::yes) {
            found.ready = Truth::no;
            found.reason = view.reason;
        }
        found.message += fmt::format("{}{}", found.message.empty() ? "" : "; ",
                                     view.version ? planner::seen_text(path, *view.version) : view.message);
    }
    if (std::ranges::any_of(places_, &KeyPlace::elsewhere))
        found.message += "; the operator does not watch keys of overrides with another Vault";
    const auto refused = std::ranges::count_if(stale_, [&](const auto& each) {
        const auto at = memory.refused.find(each.first);
        return at != memory.refused.end() && at->second == each.second.record;
    });
    found.counts = {{"users", users_},
                    {"stale", static_cast<std::int64_t>(stale_.size()) - refused},
                    {"skipped", skipped_}};
    if (const auto& own = views_.at(places_.back().path).version; own && own->digest.empty())
        found.counts["keyVersion"] = own->version;
    else
        found.gone.insert("keyVersion");
    return found;
}

Task<result<std::optional<std::int64_t>>> ProviderReconciler::template_since(const Workload& workload) {
    const std::string ns = workload.ns;
    const kube::Resource made = workload.kind == "Deployment"
                                    ? kube::Resource{"apps", "v1", "replicasets", true}
                                    : kube::Resource{"apps", "v1", "controllerrevisions", true};
    KEYSHEPHERD_CO_TRY(const Json object, co_await get_workload(runtime_.kube, ns, workload.kind,
                                                                workload.name, runtime_.soon()));
    kube::ListOptions options;
    options.label_selector = planner::label_selector(object);
    std::vector<Json> history;
    do {
        KEYSHEPHERD_CO_TRY(kube::Page page, co_await runtime_.kube.list(made, ns, options, runtime_.soon()));
        std::ranges::move(page.items, std::back_inserter(history));
        options.continue_token = page.continue_token;
    } while (!options.continue_token.empty());
    co_return planner::template_since(object, history);
}

Task<result<void>> ProviderReconciler::try_keys(const Way& way) {
    const Deadline until = SteadyClock::now() + probe_time;
    std::vector<const KeyPlace*> due;
    std::set<std::string> names;
    const auto untried = [&](const KeyPlace& place) {
        return planner::find_trial(runtime_.providers[key_].trials, resource(), place,
                                   *views_.at(place.path).version) == nullptr;
    };
    for (const KeyPlace& place : places_) {
        if (place.elsewhere || !views_.at(place.path).version) continue;
        const std::string name = planner::trial_name(place);
        if (!names.insert(name).second) continue;
        if (untried(place) || SteadyClock::now() >= runtime_.providers[key_].next_trial[name])
            due.push_back(&place);
    }
    std::erase_if(runtime_.providers[key_].trials,
                  [&](const auto& each) { return !names.contains(each.first); });
    std::erase_if(runtime_.providers[key_].next_trial,
                  [&](const auto& each) { return !names.contains(each.first); });
    std::ranges::partition(due, untried, [](const KeyPlace* place) -> const KeyPlace& { return *place; });
    for (const KeyPlace* place : due) {
        // The others are for the next look: one provider must not keep a worker.
        if (SteadyClock::now() >= until) {
            try_again_ = true;
            break;
        }
        KEYSHEPHERD_CO_TRY(auto condition, co_await try_key(*place, way));
        if (condition)
            record_trial(*place, *std::move(condition));
        else
            try_again_ = true;
    }
    co_return result<void>();
}

void ProviderReconciler::record_trial(const KeyPlace& place, planner::Condition condition) {
    ProviderMemory& memory = runtime_.providers[key_];
    const std::string name = planner::trial_name(place);
    const KeyVersion& key = *views_.at(place.path).version;
    const planner::KeyTrial* before = planner::find_trial(memory.trials, resource(), place, key);
    // An operator that led before has told of it.
    planner::KeyTrial told;
    told.refused = before == nullptr && &place == &places_.back() && key.digest.empty() &&
                   entry_->status.is_object() &&
                   entry_->status.value(refused_version, Json()) == Json(key.version);
    if (told.refused) before = &told;
    const bool was_refused = before != nullptr && before->refused;
    memory.trials[name] =
        planner::next_trial(before, key, planner::trial_request(resource(), place), std::move(condition));
    const auto interval =
        resources::seconds_of(resource().spec.at("keyProbe").value("interval", Json("10m"))).value_or(600);
    memory.next_trial[name] = SteadyClock::now() + std::chrono::seconds(std::max<std::int64_t>(interval, 1));
    const planner::KeyTrial& trial = memory.trials[name];
    if (trial.refused && !was_refused)
        event(kube::Event::Type::warning, trial.condition.reason, "Probe",
              fmt::format("{}: {}: {}", place.path, planner::version_text(key), trial.condition.message));
}

Task<result<std::optional<planner::Condition>>> ProviderReconciler::try_key(const KeyPlace& place,
                                                                            const Way& way) {
    using Tried = std::optional<planner::Condition>;
    const std::string path = place.path;
    const std::string field = place.key;
    if (!views_.at(path).version->digest.empty())
        co_return Tried(planner::not_probed("NoKey",
                                            "the operator tests only keys of KV version 2; move the key, or "
                                            "set spec.keyProbe.enabled: false"));
    const auto& hosts = runtime_.options.probe_hosts;
    auto stated = planner::stated_probe_target(resource(), hosts);
    if (!stated) co_return Tried(stated.error());
    std::optional<planner::ProbeTarget> target = *std::move(stated);
    const auto encoded = vault::path({path});
    if (!encoded) co_return Tried(planner::not_probed("NoKey", encoded.error().message));
    auto secret = co_await way.session->vault.read(*encoded, runtime_.soon());
    if (!secret) {
        const Error& error = secret.error();
        if (planner::concerns_connection(error) || error.code == Errc::cancelled)
            co_return std::unexpected(error);
        if (error.code == Errc::not_found) co_return Tried();
        co_return Tried(planner::not_probed(planner::status_update_of(error).reason, error.message));
    }
    if (!*secret) co_return Tried();
    std::string key;
    std::string base_url;
    const auto of_secret = [&](const char* name) {
        const auto at = (*secret)->find(name);
        return at == (*secret)->end() ? nullptr : &*at;
    };
    const Json* metadata = of_secret("metadata");
    const auto given = planner::version_of(metadata == nullptr ? Json() : *metadata);
    if (const Json* data = of_secret("data"); data != nullptr && data->is_object()) {
        key = text_at(*data, field);
        if (!target) base_url = text_at(*data, text_at(resource().spec.at("keyProbe"), "baseURLKey"));
    }
    kube::wipe(**secret);
    // It may be newer than what was looked at; then this one counts. Or a node of Vault is behind.
    auto& looked = views_.at(path).version;
    if (given && given->version > looked->version) looked = given;
    if (!given || *given != *looked) {
        net::wipe(key);
        net::wipe(base_url);
        co_return Tried();
    }
    if (auto unsendable = planner::unsendable_key(field, key)) {
        net::wipe(key);
        net::wipe(base_url);
        co_return Tried(*std::move(unsendable));
    }
    if (!target) {
        auto found = planner::probe_target(base_url, hosts);
        net::wipe(base_url);
        if (!found) {
            net::wipe(key);
            co_return Tried(found.error());
        }
        target = *std::move(found);
    }
    co_return Tried(
        co_await probe_key(runtime_.context, *std::move(target), std::move(key),
                           SteadyClock::now() + std::min<milliseconds>(runtime_.options.call, probe_time)));
}

void ProviderReconciler::report_validity(StatusUpdate& found) {
    const ProviderMemory& memory = runtime_.providers[key_];
    found.gone.insert(refused_version);
    if (!planner::probes(resource())) {
        found.gone.insert("KeyValid");
        runtime_.metrics.key_validity_unknown(key_.name, key_.ns);
        return;
    }
    const auto& own = views_.at(places_.back().path).version;
    const planner::KeyTrial* trial =
        own ? planner::find_trial(memory.trials, resource(), places_.back(), *own) : nullptr;
    if (trial != nullptr && trial->refused) {
        found.counts[refused_version] = own->version;
        found.gone.erase(refused_version);
    }
    planner::Condition validity = planner::key_validity(resource(), places_, views_, memory.trials);
    if (validity.truth == Truth::unknown)
        runtime_.metrics.key_validity_unknown(key_.name, key_.ns);
    else
        runtime_.metrics.key_valid(key_.name, key_.ns, validity.truth == Truth::yes);
    found.others.push_back(std::move(validity));
}

Task<Again> ProviderReconciler::refuse_all(std::string reason, std::string message) {
    outcome = "refused";
    runtime_.metrics.forget_key(key_.name, key_.ns);
    runtime_.providers.erase(key_);
    StatusUpdate refused{.ready = Truth::no,
                         .reason = std::move(reason),
                         .message = std::move(message),
                         .gone = {"keyVersion", "users", "stale", "skipped", refused_version, "KeyValid"}};
    if (planner::delivers(resource()))
        refused.others.push_back({.type = "SecretPublished",
                                  .truth = Truth::no,
                                  .reason = refused.reason,
                                  .message = "published Secrets are not changed"});
    co_return co_await report(std::move(refused), std::nullopt);
}

}  // namespace keyshepherd::controller
