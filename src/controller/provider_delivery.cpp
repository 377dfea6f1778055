#include "provider_reconciler.hpp"

#include <keyshepherd/core/base64.hpp>
#include <keyshepherd/core/time.hpp>
#include <keyshepherd/kube/client.hpp>
#include <keyshepherd/kube/secret.hpp>
#include <keyshepherd/net/wiped.hpp>
#include <keyshepherd/reconcile/failpoint.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <utility>

namespace keyshepherd::controller {

using planner::DeliveryStep;
using planner::FoundSecret;
using planner::KeyPlace;
using planner::KeyView;

// What Vault holds at one path: read once in a reconcile, if a Secret needs it.
struct ProviderReconciler::KeyData {
    Json fields;
    planner::KeyVersion key;
    planner::Delivered fault;  // why there is nothing to publish

    KeyData() = default;
    ~KeyData() { net::wipe(fields); }
    KeyData(const KeyData&) = delete;
    KeyData& operator=(const KeyData&) = delete;
};

namespace {

// The values by variable, as a Secret has them.
Json secret_data(const KeyPlace& place, const Json& fields) {
    Json data = Json::object();
    for (const auto& [variable, key] : place.variables) {
        auto value = planner::carried_value(fields, key);
        if (!value) continue;
        data[variable] = encode_base64(*value);
        net::wipe(*value);
    }
    return data;
}

bool has_values(const Json& secret, const KeyPlace& place, const Json& fields) {
    Json wanted = secret_data(place, fields);
    const auto data = secret.find("data");
    const bool same = data != secret.end() && *data == wanted;
    net::wipe(wanted);
    return same;
}

}  // namespace

Task<result<void>> ProviderReconciler::deliver(const Way& way) {
    const planner::Deliveries wanted =
        planner::deliveries(resource(), places_, runtime_.workloads.all(),
                            [this](const std::string& ns) { return runtime_.namespaces.labels(ns); });
    std::set<std::string> kept = wanted.unsure;
    for (const auto& [ns, place] : wanted.places) kept.insert(ns);
    not_selected_ = wanted.not_selected.size();
    KEYSHEPHERD_CO_CHECK(co_await withdraw(std::move(kept), runtime_.options.secret_grace));
    std::map<std::string, KeyData> data;
    for (const auto& [ns, place] : wanted.places)
        KEYSHEPHERD_CO_CHECK(co_await deliver_to(ns, places_[place], way, data));
    co_return result<void>();
}

Task<result<void>> ProviderReconciler::deliver_to(std::string ns, const KeyPlace& place, const Way& way,
                                                  std::map<std::string, KeyData>& data) {
    const std::string name = planner::delivered_secret(resource());
    planner::Delivered& outcome_here = delivered_[ns];
    if (!runtime_.may_use_secrets(ns)) {
        outcome_here = {"SecretsNotAllowed", Runtime::no_secrets(ns)};
        co_return result<void>();
    }
    const KeyView& view = views_.at(place.path);
    if (!view.version) {
        outcome_here = {planner::delivery_reason(view.reason), view.message};
        co_return result<void>();
    }
    const auto as_left = [&](const std::string& version) {
        const auto& published = runtime_.providers[key_].published;
        const auto at = published.find(ns);
        return at != published.end() && at->second.resource_version == version &&
               at->second.key.version == view.version->version &&
               at->second.source == source_of(place, *view.version) &&
               at->second.variables == place.variables;
    };
    const auto tell_warning = [&] { outcome_here.warning = runtime_.providers[key_].published[ns].warning; };
    if (as_left(runtime_.secrets.version(ns, name))) {
        tell_warning();
        co_return result<void>();
    }

    auto secret = co_await runtime_.kube.get({kube::secrets, ns, name}, runtime_.soon());
    if (!secret && secret.error().code != Errc::not_found) {
        if (secret.error().code == Errc::cancelled) co_return std::unexpected(secret.error());
        outcome_here = {"NotRead", fmt::format("cannot read the Secret: {}", secret.error().message)};
        deliver_again_ = true;
        co_return result<void>();
    }
    std::optional<FoundSecret> found;
    if (secret) found = planner::read_secret(*secret, resource());
    runtime_.secrets.expect(ns, name, key_, found ? found->resource_version : "");
    if (found && as_left(found->resource_version)) {
        tell_warning();
        kube::wipe(*secret);
        co_return result<void>();
    }
    if (planner::next_step(found, *view.version, source_of(place, *view.version), false) ==
        DeliveryStep::refuse) {
        kube::wipe(*secret);
        runtime_.providers[key_].published.erase(ns);
        outcome_here = {"Conflict", fmt::format("Secret {}/{} was not created by the operator and is not "
                                                "overwritten; move its data to a Secret with another name",
                                                ns, name)};
        co_return result<void>();
    }
    // A Secret that has another version keeps it while this one must not reach the workloads.
    const auto is_held = [&](const planner::KeyVersion& next) {
        if (!found || found->key.version == 0 || found->fixed ||
            (found->key.version == next.version && found->source == source_of(place, next)))
            return false;
        const auto held = planner::hold(runtime_.providers[key_].trials, resource(), place, next);
        if (!held) return false;
        outcome_here = {held->reason, fmt::format("the Secret keeps the earlier key: {}", held->message)};
        return true;
    };
    if (is_held(*view.version)) {
        kube::wipe(*secret);
        co_return result<void>();
    }
    const auto [read, fresh] = data.try_emplace(place.path);
    if (fresh) {
        const auto done = co_await read_data(place, way, read->second);
        if (!done) {
            if (secret) kube::wipe(*secret);
            co_return done;
        }
    }
    const KeyData& key = read->second;
    outcome_here = key.fault;
    if (outcome_here.reason.empty() && key.key.version < view.version->version) {
        outcome_here = {"NotRead",
                        fmt::format("{}: the latest version is {}, but Vault returned version {}; a Vault "
                                    "node returned outdated data, and the operator tries again",
                                    place.path, view.version->version, key.key.version)};
        deliver_again_ = true;
    }
    // What was read may be newer than what was tried.
    if (outcome_here.reason.empty() && is_held(key.key)) deliver_again_ = true;
    for (const auto& [variable, field] : place.variables) {
        if (!outcome_here.reason.empty()) break;
        auto value = planner::carried_value(key.fields, field);
        if (value)
            net::wipe(*value);
        else
            outcome_here = {
                "KeyMissing",
                fmt::format(
                    "{}: the field {} is missing, empty, or cannot be used as an environment variable",
                    place.path, field)};
    }
    const bool same = secret && outcome_here.reason.empty() && has_values(*secret, place, key.fields);
    if (secret) kube::wipe(*secret);
    if (!outcome_here.reason.empty()) co_return result<void>();

    const std::string warning = planner::key_warning(key.fields, place.key);
    outcome_here.warning = warning;
    const std::string source = source_of(place, key.key);
    const DeliveryStep step = planner::next_step(found, key.key, source, same);
    if (step == DeliveryStep::rest) {
        runtime_.providers[key_].published[ns] = {found->resource_version, found->key, source,
                                                  place.variables, warning};
        co_return result<void>();
    }
    // With other variables it is the provider that was changed.
    const bool repaired = found && found->key.version == key.key.version && found->source == source &&
                          found->key.created > 0 &&
                          std::ranges::equal(found->variables, place.variables | std::views::keys);
    planner::KeyVersion delivered = key.key;
    const auto& before = runtime_.providers[key_].published;
    if (const auto at = before.find(ns); at == before.end())
        delivered.created = planner::delivered_since(found, delivered, source).value_or(0);
    else if (at->second.key.version == delivered.version && at->second.source == source)
        delivered.created = at->second.key.created;  // whatever became of the Secret since
    else
        delivered.created = 0;  // also where somebody has deleted the one with the key before
    const auto written = co_await write_secret(ns, step, found, place, delivered, source, key.fields);
    if (written) {
        runtime_.providers[key_].published[ns].warning = warning;
        if (!warning.empty())
            event(kube::Event::Type::warning, "TrailingNewline", "Publish",
                  fmt::format("{}: {}", place.path, warning));
        failpoint("published");
        runtime_.log.info("published a key in a Secret", {{"kind", key_.kind->name},
                                                          {"namespace", ns},
                                                          {"name", key_.name},
                                                          {"secret", name},
                                                          {"version", key.key.version}});
        event(repaired ? kube::Event::Type::warning : kube::Event::Type::normal,
              repaired ? "SecretRepaired" : "SecretPublished", "Publish",
              fmt::format("Secret {}/{} {} {} of the key", ns, name,
                          repaired ? "was changed; the operator restored" : "contains",
                          planner::version_text(key.key)));
        co_return result<void>();
    }
    if (written.error().code == Errc::cancelled) co_return written;
    // What the API server says of a Secret that it finds invalid may tell of its values.
    outcome_here = {"NotWritten",
                    fmt::format("cannot write the Secret: {}", written.error().code == Errc::invalid
                                                                   ? "the API server rejected it as invalid"
                                                                   : written.error().message)};
    // What is refused stays so until a person, or the end of the namespace, changes that.
    if (written.error().code != Errc::forbidden && written.error().code != Errc::invalid)
        deliver_again_ = true;
    co_return result<void>();
}

Task<result<void>> ProviderReconciler::read_unversioned(std::string path, const Way& way, KeyData& into) {
    const auto fault_of = [&](const Error& error) -> result<void> {
        if (planner::concerns_connection(error) || error.code == Errc::cancelled)
            return std::unexpected(error);
        const StatusUpdate what = planner::status_update_of(error);
        into.fault = {what.reason, what.message};
        return {};
    };
    // Vault lets a login ask this about each mount on which it may do anything.
    KEYSHEPHERD_CO_TRY(const std::string mount_path, vault::path({"sys/internal/ui/mounts/" + path}));
    const auto mount = co_await way.session->vault.read(mount_path, runtime_.soon());
    if (!mount) co_return fault_of(mount.error());
    if (const auto unreadable = planner::unreadable_mount(path, mount->value_or(Json()))) {
        into.fault = {unreadable->reason, unreadable->message};
        co_return result<void>();
    }
    KEYSHEPHERD_CO_TRY(const std::string encoded, vault::path({path}));
    auto answer = co_await way.session->vault.read(encoded, runtime_.soon());
    if (!answer) co_return fault_of(answer.error());
    if (*answer) into.fields = std::move(**answer);
    if (!into.fields.is_object()) {
        into.fault = {"KeyNotFound", fmt::format("{} does not exist in Vault", path)};
        co_return result<void>();
    }
    into.key = {.version = 1, .created = 0, .digest = runtime_.signer.fingerprint(path, into.fields)};
    if (into.key.digest.empty())
        into.fault = {"NotVersioned", fmt::format("{}: the operator has not read its HMAC key yet", path)};
    co_return result<void>();
}

Task<result<KeyView>> ProviderReconciler::look_at_unversioned(std::string path, const Way& way) {
    KeyData data;
    KEYSHEPHERD_CO_CHECK(co_await read_unversioned(std::move(path), way, data));
    if (!data.fault.reason.empty())
        co_return KeyView{.version = {}, .reason = data.fault.reason, .message = data.fault.message};
    co_return KeyView{.version = data.key};
}

Task<result<void>> ProviderReconciler::read_data(const KeyPlace& place, const Way& way, KeyData& into) {
    if (!planner::metadata_path(place.path)) {
        KEYSHEPHERD_CO_CHECK(co_await read_unversioned(place.path, way, into));
        if (into.fault.reason.empty())
            views_.at(place.path).version = into.key;
        else
            into.fault.reason = planner::delivery_reason(into.fault.reason);
        co_return result<void>();
    }
    KEYSHEPHERD_CO_TRY(const std::string encoded, vault::path({place.path}));
    auto answer = co_await way.session->vault.read(encoded, runtime_.soon());
    if (!answer) {
        const StatusUpdate what = planner::status_update_of(answer.error());
        if (planner::concerns_connection(answer.error()) || answer.error().code == Errc::cancelled)
            co_return std::unexpected(answer.error());
        into.fault = {planner::delivery_reason(what.reason), what.message};
        co_return result<void>();
    }
    Json content = answer->value_or(Json::object());
    const Json told = content.value("metadata", Json::object());
    if (content.contains("data")) into.fields = std::move(content["data"]);
    net::wipe(content);
    if (*answer) net::wipe(**answer);
    const auto version = planner::version_of(told);
    if (!into.fields.is_object() || !version) {
        into.fault = {
            "KeyMissing",
            fmt::format("{}: the secret has no version in Vault; write the key to Vault", place.path)};
        co_return result<void>();
    }
    into.key = *version;
    // It may be newer than what was looked at before: then the workloads are rolled for this one. Or older,
    // from a node of Vault's that is behind: then they wait.
    if (auto& looked = views_.at(place.path).version; into.key.version > looked->version) looked = into.key;
    co_return result<void>();
}

// Over nothing but what was looked at: with its uid and version in the request, another one of that name is
// never written.
Task<result<void>> ProviderReconciler::write_secret(std::string ns, DeliveryStep step,
                                                    std::optional<FoundSecret> found, const KeyPlace& place,
                                                    planner::KeyVersion delivered, std::string source,
                                                    const Json& fields) {
    const std::string name = planner::delivered_secret(resource());
    if (step == DeliveryStep::replace) {
        KEYSHEPHERD_CO_CHECK(co_await runtime_.kube.remove({kube::secrets, ns, name}, {.uid = found->uid},
                                                           kube::Propagation::background, runtime_.soon()));
        runtime_.secrets.unmade(ns, name);
    }
    Json body;
    body["metadata"] =
        planner::secret_metadata(resource(), delivered, source, found ? found->other_owners : Json::array());
    body["data"] = secret_data(place, fields);
    result<Json> written;
    if (step == DeliveryStep::write) {
        planner::erase_absent_annotations(body["metadata"]);
        body["metadata"]["uid"] = found->uid;
        body["metadata"]["resourceVersion"] = found->resource_version;
        for (const std::string& variable : found->variables)
            if (!body["data"].contains(variable)) body["data"][variable] = nullptr;
        written = co_await runtime_.kube.patch({kube::secrets, ns, name},
                                               {.kind = kube::Patch::Kind::merge, .body = std::move(body)},
                                               runtime_.soon());
    } else {
        body["apiVersion"] = "v1";
        body["kind"] = "Secret";
        body["type"] = "Opaque";
        body["metadata"]["name"] = name;
        written = co_await runtime_.kube.create(kube::secrets, ns, std::move(body), runtime_.soon());
    }
    if (!written) co_return std::unexpected(written.error());
    const kube::Metadata metadata = kube::metadata(*written);
    kube::wipe(*written);
    outcome = "changed";
    runtime_.secrets.made(ns, name);
    runtime_.secrets.expect(ns, name, key_, metadata.resource_version);
    runtime_.providers[key_].published[ns] = {metadata.resource_version, delivered, std::move(source),
                                              place.variables};
    if (delivered.created == 0)
        co_return co_await date_secret(std::move(ns), metadata.uid, metadata.resource_version);
    co_return result<void>();
}

// A workload that was created before the Secret was written, by the API server's clock, may have begun with
// the key before. When that was is known only from the answer, so a second write adds it. An operator that
// dies between the two leaves a Secret without the time, which its successor writes again.
Task<result<void>> ProviderReconciler::date_secret(std::string ns, std::string uid, std::string version) {
    const std::string name = planner::delivered_secret(resource());
    const std::int64_t since = runtime_.server_time();
    {
        // Another version than any Secret has: the next look writes the time if this one cannot.
        auto& published = runtime_.providers[key_].published[ns];
        published.key.created = since;
        published.resource_version = "undated";
    }
    failpoint("published-undated");
    runtime_.secrets.writing(ns, name, key_);
    auto dated = co_await runtime_.kube.patch(
        {kube::secrets, ns, name},
        {.kind = kube::Patch::Kind::merge, .body = planner::date_patch(uid, version, since)},
        runtime_.soon());
    const std::string now = dated ? kube::metadata(*dated).resource_version : version;
    runtime_.secrets.expect(ns, name, key_, now);
    if (!dated) co_return std::unexpected(dated.error());
    kube::wipe(*dated);
    runtime_.providers[key_].published[ns].resource_version = now;
    co_return result<void>();
}

Task<result<void>> ProviderReconciler::withdraw(std::set<std::string> but, std::chrono::seconds grace) {
    const std::string name = planner::delivered_secret(resource());
    if (key_.kind->namespaced) {
        if (!but.contains(key_.ns) && runtime_.secrets.exists(key_.ns, name))
            KEYSHEPHERD_CO_CHECK(co_await withdraw_from(key_.ns, grace));
        co_return result<void>();
    }
    for (const std::string& ns : runtime_.secrets.namespaces_with(name))
        if (!but.contains(ns)) KEYSHEPHERD_CO_CHECK(co_await withdraw_from(ns, grace));
    co_return result<void>();
}

Task<result<void>> ProviderReconciler::withdraw_from(std::string ns, std::chrono::seconds grace) {
    const std::string name = planner::delivered_secret(resource());
    auto secret = co_await runtime_.kube.get({kube::secrets, ns, name}, runtime_.soon());
    result<void> gone;
    bool stays = false;
    if (secret) {
        const FoundSecret found = planner::read_secret(*secret, resource());
        kube::wipe(*secret);
        if (!found.ours) co_return result<void>();
        const std::int64_t now = runtime_.server_time();
        const auto [step, removed_at] = planner::withdrawal(found, now, grace.count());
        stays = step != planner::Withdrawal::Step::remove;
        if (stays) {
            const milliseconds wait = std::chrono::seconds(removed_at - now);
            next_removal_ = std::min(next_removal_.value_or(wait), wait);
        }
        if (step == planner::Withdrawal::Step::wait)
            runtime_.secrets.expect(ns, name, key_, found.resource_version);
        else if (step == planner::Withdrawal::Step::mark)
            gone = co_await mark_unread(ns, found);
        else
            gone = co_await runtime_.kube.remove(
                {kube::secrets, ns, name}, {.uid = found.uid, .resource_version = found.resource_version},
                kube::Propagation::background, runtime_.soon());
    } else if (secret.error().code != Errc::not_found) {
        gone = std::unexpected(secret.error());
    }
    if (!gone && gone.error().code == Errc::cancelled) co_return gone;
    if (!gone && gone.error().code != Errc::not_found) {
        runtime_.log.warn("cannot delete a Secret", {{"kind", key_.kind->name},
                                                     {"namespace", ns},
                                                     {"name", key_.name},
                                                     {"secret", name},
                                                     {"error", gone.error().message}});
        deliver_again_ = true;
        co_return result<void>();
    }
    if (stays) co_return result<void>();
    runtime_.secrets.release(ns, name, key_);
    runtime_.secrets.unmade(ns, name);
    runtime_.providers[key_].published.erase(ns);
    if (secret) {
        outcome = "changed";
        event(kube::Event::Type::normal, "SecretRemoved", "Remove",
              fmt::format(
                  "deleted Secret {}/{}, because the provider no longer publishes its key in this namespace",
                  ns, name));
    }
    co_return result<void>();
}

// Only what was looked at is marked: with its uid and version in the request.
Task<result<void>> ProviderReconciler::mark_unread(std::string ns, FoundSecret found) {
    const std::string name = planner::delivered_secret(resource());
    runtime_.secrets.writing(ns, name, key_);
    auto marked = co_await runtime_.kube.patch(
        {kube::secrets, ns, name},
        {.kind = kube::Patch::Kind::merge, .body = planner::unread_patch(found, runtime_.server_time())},
        runtime_.soon());
    runtime_.secrets.expect(ns, name, key_,
                            marked ? kube::metadata(*marked).resource_version : found.resource_version);
    if (!marked) co_return std::unexpected(marked.error());
    kube::wipe(*marked);
    outcome = "changed";
    event(kube::Event::Type::normal, "SecretUnread", "Mark",
          fmt::format("workloads no longer use Secret {}/{}; the operator deletes it in {} s", ns, name,
                      runtime_.options.secret_grace.count()));
    co_return result<void>();
}

void ProviderReconciler::tell_of_delivery(StatusUpdate& found) const {
    if (planner::delivers(resource()))
        found.others.push_back(planner::delivery_condition(resource(), delivered_, not_selected_));
    else
        found.gone.insert("SecretPublished");
}

}  // namespace keyshepherd::controller
