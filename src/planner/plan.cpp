#include "same.hpp"

#include <keyshepherd/core/base64.hpp>
#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/planner/plan.hpp>
#include <keyshepherd/planner/vault_names.hpp>
#include <keyshepherd/planner/vault_rules.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace keyshepherd::planner {

namespace {

using resources::KindId;
using resources::Type;

// Whether Vault has an object of this kind that plan() compares.
bool is_compared(const Resource& resource) {
    switch (resource.kind->id) {
        case KindId::vault_mount:
        case KindId::vault_policy:
        case KindId::vault_approle:
        case KindId::vault_kubernetes_role:
            return true;
        default:
            return false;
    }
}

std::string mounts_of(const Resource& mount) {
    return text_at(mount.spec, "engine") == "Auth" ? "sys/auth" : "sys/mounts";
}

bool differs(const Field& field, const Json& wanted, const Json& held) {
    if (field.type == Type::text_map) {  // the server adds defaults of its own to a map
        for (const auto& [name, value] : wanted.items())
            if (!held.is_object() || held.value(name, Json()) != value) return true;
        return false;
    }
    return canonical(field, wanted) != canonical(field, held);
}

Json member(const Json& object, std::string_view name) {
    if (!object.is_object()) return nullptr;
    const auto at = object.find(name);
    return at == object.end() ? Json() : *at;
}

// Compares every field that Vault knows; `changes` gets the differences, `body` all that would be written.
void compare(std::span<const Field> fields, const Json& spec, const Json& held, const std::string& prefix,
             std::vector<FieldChange>& changes, Json& body) {
    for (const Field& field : fields) {
        if (field.vault.empty()) continue;
        const std::string name(field.vault);
        const Json wanted = member(spec, field.name);
        if (wanted.is_null()) continue;
        const Json before = member(held, field.vault);
        const bool was_there = !held.is_null();
        const bool different = differs(field, wanted, before);
        // In an update what is left out keeps its value; in a new object it gets the server's own default. A
        // server of an earlier version warns of a parameter that it does not know.
        const bool is_known = member(held, field.vault) != nullptr;
        if (different || (is_known && !field.create_only)) body[name] = sent(field, wanted);
        if (!different) continue;
        changes.push_back(
            {prefix + name, was_there ? canonical(field, before) : Json(), canonical(field, wanted)});
    }
}

// Parameters that no field stands for, and that somebody has set in Vault. `body` gets the values that unset
// them; a null is for those that a write without them unsets.
void compare_unset(const resources::Kind& kind, const Json& held, std::vector<FieldChange>& changes,
                   Json& body) {
    for (const resources::Parameter& parameter : kind.parameters) {
        if (parameter.handling != resources::Handling::unset) continue;
        const Json unset = Json::parse(parameter.value);
        const Json before = member(held, parameter.name);
        if (before.is_null() || before == unset) continue;
        changes.push_back({std::string(parameter.name), before, unset});
        if (!unset.is_null()) body[std::string(parameter.name)] = unset;
    }
}

// What is there already belongs to nobody we know of.
Plan refuse_foreign(const Resource& resource, const Ownership& ownership, std::vector<FieldChange> changes) {
    const std::string policy = text_at(resource.spec, "adoptionPolicy");
    const std::string there = fmt::format("{} already exists in Vault", claim(resource));
    // What it is like is not told to those who could not take it over.
    if (!ownership.may_adopt)
        return {.verdict = Verdict::refused,
                .reason = "AdoptionRefused",
                .message =
                    fmt::format("{} and was not created by this resource; to adopt it, add the right adopt "
                                "to grants[].rights for namespace {} in the VaultConnection{}",
                                there, resource.ns,
                                policy == "Fail" ? ", and set spec.adoptionPolicy to IfEqual or Adopt" : "")};
    const char* way = changes.empty() ? "IfEqual" : "Adopt";
    std::string message =
        fmt::format("{} and {}; to adopt it, set adoptionPolicy: {}", there,
                    changes.empty() ? "matches spec" : "differs from spec: " + summary(changes), way);
    return {.verdict = Verdict::refused,
            .changes = std::move(changes),
            .reason = "AdoptionRefused",
            .message = std::move(message)};
}

bool adoption_stands(const Resource& resource, const Ownership& ownership, bool equal) {
    if (ownership.owner) return true;
    const std::string policy = text_at(resource.spec, "adoptionPolicy");
    if (policy == "Fail" || !ownership.may_adopt) return false;
    return policy == "Adopt" || equal;
}

// What Vault sets only when it creates the object, and has otherwise than the spec: nothing can be sent.
std::optional<Plan> refuse_fixed(const Resource& resource, const FieldChange& change,
                                 std::string_view field) {
    return Plan{
        .verdict = Verdict::refused,
        .changes = {change},
        .reason = "FixedInVault",
        .message = fmt::format(
            "spec.{0}: {1} has {2}: {3}, but spec requires {4}. Vault accepts this setting only when the "
            "object is created. The object was not changed. Set spec.{0}: {3}, or use another name in Vault",
            field, claim(resource), change.field, change.before.dump(), change.after.dump())};
}

// `blocked`: the refusal of an object that is there and that no request makes equal.
Plan decide(const Resource& resource, const Ownership& ownership, bool exists,
            std::vector<FieldChange> changes, std::vector<Request> create, std::vector<Request> update,
            std::optional<Plan> blocked = std::nullopt) {
    if (!exists)
        return {.verdict = Verdict::create, .changes = std::move(changes), .requests = std::move(create)};
    if (blocked && (ownership.owner || ownership.may_adopt)) return *std::move(blocked);
    if (!adoption_stands(resource, ownership, changes.empty()))
        return refuse_foreign(resource, ownership, std::move(changes));
    if (changes.empty()) return {};
    return {.verdict = Verdict::update, .changes = std::move(changes), .requests = std::move(update)};
}

const Json* held_at(const Observation& observed, const std::string& path) {
    const auto at = observed.find(path);
    if (at == observed.end() || !at->second.has_value()) return nullptr;
    return &at->second.value();
}

Plan plan_policy(const Resource& resource, const Observation& observed, const Ownership& ownership) {
    const std::string path = claim(resource);
    const std::string wanted = policy_text(resource.spec);
    const Json* held = held_at(observed, path);
    std::vector<FieldChange> changes;
    // Vault decodes a policy once if it is base64: https://github.com/openbao/openbao, handlePoliciesSet.
    const bool is_base64 = decode_base64(wanted).has_value();
    Json body = {{"policy", is_base64 ? encode_base64(wanted) : wanted}};
    if (held == nullptr) {
        changes.push_back({"policy", nullptr, wanted});
    } else {
        const std::string before = text_at(*held, held->contains("policy") ? "policy" : "rules");
        if (!same_policy(before, wanted)) changes.push_back({"policy", before, wanted});
        compare_unset(*resource.kind, *held, changes, body);
        // Vault refuses a write without the version, and a write that does not name it ends the requirement.
        if (member(*held, "cas_required") == true) {
            body["cas_required"] = true;
            body["cas"] = member(*held, "version");
        }
    }
    const std::vector<Request> write = {{"POST", path, std::move(body)}};
    return decide(resource, ownership, held != nullptr, std::move(changes), write, write);
}

// What a mount holds of it, by the names that Vault is told it by; Vault answers user_lockout_threshold for
// lockout_threshold.
Json held_lockout(const Json& mount) {
    const Json answered = member(member(mount, "config"), "user_lockout_config");
    if (!answered.is_object()) return nullptr;
    Json held = Json::object();
    constexpr std::string_view prefix = "user_";
    for (const auto& [name, value] : answered.items())
        if (name.starts_with(prefix)) held[name.substr(prefix.size())] = value;
    return held;
}

// The spec of a mount as Vault stores it: the types kv-v1 and kv-v2 are kv with a version
// (https://openbao.org/api-docs/system/mounts/#enable-secrets-engine).
Json stored_mount(Json spec) {
    const std::string type = text_at(spec, "type");
    if (type != "kv-v1" && type != "kv-v2") return spec;
    spec["type"] = "kv";
    spec["options"]["version"] = type.substr(4);
    return spec;
}

// The mount in Vault; null: there is none.
Json held_mount(const Resource& resource, const Observation& observed) {
    const Json* all = held_at(observed, mounts_of(resource));
    if (all == nullptr) return nullptr;
    Json held = member(*all, text_at(resource.spec, "path") + "/");
    // A kv engine that says no version is of version 1.
    if (text_at(held.is_object() ? held : Json::object(), "type") == "kv" &&
        member(member(held, "options"), "version").is_null()) {
        if (!member(held, "options").is_object()) held["options"] = Json::object();
        held["options"]["version"] = "1";
    }
    return held;
}

// Why no request turns the mount into what the spec says.
std::optional<Plan> refuse_other_mount(const Resource& resource, const Json& spec, const Json& held) {
    const std::string path = claim(resource);
    const Json type = member(held, "type");
    if (type.is_string() && type != member(spec, "type"))
        return Plan{
            .verdict = Verdict::refused,
            .changes = {{"type", type, member(spec, "type")}},
            .reason = "TypeMismatch",
            .message = fmt::format("spec.type: {0} is a mount of type {1}, but spec requires {2}. Vault "
                                   "cannot change the type of a mount. The mount was not changed. In a new "
                                   "VaultMount, set spec.type: {3}, or another spec.path",
                                   path, type.dump(), member(spec, "type").dump(), type.get<std::string>())};
    if (const Json local = member(held, "local"); !local.is_null() && local != member(spec, "local"))
        return refuse_fixed(resource, {"local", local, member(spec, "local")}, "local");
    if (member(spec, "type") == "kv" && member(member(spec, "options"), "version") == "1" &&
        member(member(held, "options"), "version") == "2")
        return Plan{.verdict = Verdict::refused,
                    .changes = {{"options.version", "2", "1"}},
                    .reason = "TypeMismatch",
                    .message = fmt::format(
                        "spec.options.version: {} is KV version 2, which Vault cannot downgrade to version "
                        "1. The mount was not changed. Set spec.type: kv and spec.options.version: \"2\"",
                        path)};
    return std::nullopt;
}

Plan plan_mount(const Resource& resource, const Observation& observed, const Ownership& ownership) {
    const Json spec = stored_mount(resource.spec);
    const std::string path = claim(resource);
    const std::string type = text_at(spec, "type");
    const Json held = held_mount(resource, observed);
    const auto config_fields = resources::find_field(resource.kind->spec, "config")->members;
    const Json lockout_wanted = member(spec.at("config"), "userLockoutConfig");

    std::vector<FieldChange> changes;
    Json body = {{"type", type}};
    Json config = Json::object();
    if (held.is_null()) changes.push_back({"type", nullptr, type});
    compare(resource.kind->spec, spec, held, "", changes, body);
    compare(config_fields, spec.at("config"), held.is_null() ? Json() : member(held, "config"), "config.",
            changes, config);
    Json lockout = Json::object();
    if (!lockout_wanted.is_null())
        compare(resources::find_field(config_fields, "userLockoutConfig")->members, lockout_wanted,
                held_lockout(held), "config.user_lockout_config.", changes, lockout);

    std::optional<Plan> blocked;
    if (!held.is_null()) {
        blocked = refuse_other_mount(resource, spec, held);
        if (blocked && member(held, "type") != member(spec, "type"))
            changes.insert(changes.begin(), blocked->changes.front());
    }
    Json create = body;
    create["config"] = config;
    Json tune = config;
    tune["description"] = body.value("description", "");
    if (const Json options = body.value("options", Json::object()); !options.empty())
        tune["options"] = options;
    std::vector<Request> first = {{"POST", path, std::move(create)}};
    // Vault takes it only from /tune: a new mount's config may hold it, and it is ignored.
    if (!lockout.empty()) {
        tune["user_lockout_config"] = lockout;
        first.push_back({"POST", path + "/tune", {{"user_lockout_config", std::move(lockout)}}});
    }
    return decide(resource, ownership, !held.is_null(), std::move(changes), std::move(first),
                  {{"POST", path + "/tune", std::move(tune)}}, std::move(blocked));
}

Plan plan_role(const Resource& resource, const Observation& observed, const Ownership& ownership) {
    const std::string path = claim(resource);
    const Json* held = held_at(observed, path);
    std::vector<FieldChange> changes;
    Json body = Json::object();
    compare(resource.kind->spec, resource.spec, held == nullptr ? Json() : *held, "", changes, body);
    std::optional<Plan> blocked;
    if (held != nullptr) {
        compare_unset(*resource.kind, *held, changes, body);
        for (const FieldChange& change : changes)
            for (const Field& field : resource.kind->spec)
                if (field.create_only && field.vault == change.field)
                    blocked = refuse_fixed(resource, change, field.name);
    }
    std::vector<Request> create;
    std::vector<Request> update;
    std::string role_id;
    if (resource.kind->id == KindId::vault_approle) {
        const std::string wanted = text_at(resource.spec, "roleID");
        if (const Json* answer = held_at(observed, path + "/role-id")) role_id = text_at(*answer, "role_id");
        const std::string pinned = !wanted.empty() ? wanted : ownership.role_id;
        if (held != nullptr && !wanted.empty() && !role_id.empty() && wanted != role_id) {
            changes.push_back({"role_id", role_id, wanted});
            update.push_back({"POST", path + "/role-id", {{"role_id", wanted}}});
        }
        Json first = body;
        // A role that has to be made again keeps its role-id: applications have it in their configuration.
        if (!pinned.empty()) first["role_id"] = pinned;
        create.push_back({"POST", path, std::move(first)});
    } else {
        create.push_back({"POST", path, body});
    }
    const bool only_id = changes.size() == 1 && changes.front().field == "role_id";
    if (!only_id) update.insert(update.begin(), {"POST", path, std::move(body)});
    Plan made = decide(resource, ownership, held != nullptr, std::move(changes), std::move(create),
                       std::move(update), std::move(blocked));
    made.role_id = std::move(role_id);
    return made;
}

bool in_vault(const Resource& resource, const Observation& observed) {
    if (resource.kind->id != KindId::vault_mount) return held_at(observed, claim(resource)) != nullptr;
    return !held_mount(resource, observed).is_null();
}

// Vault after somebody else changed all that plan() can put back.
Observation all_changed(const Resource& resource) {
    const Json& spec = resource.spec;
    const std::string path = claim(resource);
    switch (resource.kind->id) {
        case KindId::vault_mount: {
            const Json held = {{"type", stored_mount(spec).at("type")},
                               {"description", text_at(spec, "description") + "."}};
            return {{mounts_of(resource), Json{{text_at(spec, "path") + "/", held}}}};
        }
        case KindId::vault_policy:
            return {{path, Json{{"policy", policy_text(spec) + "\npath \"changed\" {}\n"}}}};
        case KindId::vault_approle:
        case KindId::vault_kubernetes_role: {
            Json held = {{"token_ttl", resources::seconds_of(spec.at("tokenTTL")).value_or(0) + 1},
                         {"local_secret_ids", member(spec, "localSecretIDs")}};
            for (const Field* field : wanted_not_everywhere(resource))
                held[std::string(field->vault)] = nullptr;
            return {{path, held}, {path + "/role-id", Json{{"role_id", text_at(spec, "roleID") + "."}}}};
        }
        default:
            return {};
    }
    return {};
}

std::string brief(const Json& value) {
    if (!value.is_array()) return value.is_null() ? "absent" : value.dump();
    std::string text;
    for (const Json& element : value)
        text +=
            (text.empty() ? "" : " ") + (element.is_string() ? element.get<std::string>() : element.dump());
    return text.empty() ? "none" : text;
}

}  // namespace

bool needs_parameters(const Resource& resource, const Observation& observed) {
    return held_at(observed, claim(resource)) == nullptr && !wanted_not_everywhere(resource).empty();
}

std::string parameters_key(const Resource& resource) {
    return claim(resource) + "?help=1";
}

std::string claim(const Resource& resource) {
    const Json& spec = resource.spec;
    switch (resource.kind->id) {
        case KindId::vault_mount:
            return fmt::format("{}/{}", mounts_of(resource), text_at(spec, "path"));
        case KindId::vault_policy:
            return "sys/policies/acl/" + stored_name(text_at(spec, "name"));
        case KindId::vault_approle:
        case KindId::vault_kubernetes_role:
            return role_path(text_at(spec, "mount"), text_at(spec, "name"));
        default:
            return {};
    }
    return {};
}

std::vector<std::string> reads(const Resource& resource) {
    switch (resource.kind->id) {
        case KindId::vault_mount:
            return {mounts_of(resource)};
        case KindId::vault_policy:
        case KindId::vault_kubernetes_role:
            return {claim(resource)};
        case KindId::vault_approle:
            return {claim(resource), claim(resource) + "/role-id"};
        default:
            return {};
    }
    return {};
}

namespace {

Plan plan_unchecked(const Resource& resource, const Observation& observed, const Ownership& ownership) {
    switch (resource.kind->id) {
        case KindId::vault_mount:
            return plan_mount(resource, observed, ownership);
        case KindId::vault_policy:
            return plan_policy(resource, observed, ownership);
        case KindId::vault_approle:
        case KindId::vault_kubernetes_role:
            return plan_role(resource, observed, ownership);
        default:
            return {};
    }
    return {};
}

}  // namespace

Plan plan(const Resource& resource, const Observation& observed, const Ownership& ownership) {
    Plan made = plan_unchecked(resource, observed, ownership);
    if (made.verdict != Verdict::create && made.verdict != Verdict::update) return made;
    const auto faults = vault_faults(resource, observed);
    if (faults.empty()) return made;
    return {.verdict = Verdict::refused,
            .changes = std::move(made.changes),
            .reason = "VaultRefuses",
            .message = text_of(faults),
            .role_id = std::move(made.role_id)};
}

Plan plan_removal(const Resource& resource, const Observation& observed, const Ownership& ownership) {
    if (!is_compared(resource) || text_at(resource.spec, "deletionPolicy") != "Delete" || !ownership.owner ||
        !in_vault(resource, observed))
        return {};
    // Somebody has made another mount in the place of ours: what is in it is not ours.
    if (resource.kind->id == KindId::vault_mount)
        if (const Json held = held_mount(resource, observed);
            member(held, "type").is_string() &&
            member(held, "type") != stored_mount(resource.spec).at("type"))
            return {
                .verdict = Verdict::refused,
                .reason = "TypeMismatch",
                .message = fmt::format(
                    "{} was not removed: it is a mount of type {}, not the mount that this resource created",
                    claim(resource), member(held, "type").dump())};
    return {.verdict = Verdict::remove, .changes = {}, .requests = {{"DELETE", claim(resource), nullptr}}};
}

std::string state_of(const Resource& resource, const Observation& observed) {
    if (!in_vault(resource, observed)) return {};
    const Json held = resource.kind->id == KindId::vault_mount ? held_mount(resource, observed)
                                                               : *held_at(observed, claim(resource));
    // The role-id of a role is read only now and then, and written by itself.
    const Json* role_id = held_at(observed, claim(resource) + "/role-id");
    return Json::array({held, role_id != nullptr && resource.spec.contains("roleID") ? *role_id : Json()})
        .dump();
}

bool has_unset_parameters(const resources::Kind& kind, const Json& held) {
    std::vector<FieldChange> changes;
    Json body = Json::object();
    compare_unset(kind, held, changes, body);
    return changes.empty();
}

std::vector<Request> requests_ever(const Resource& resource) {
    const Ownership owner{.owner = true};
    const Observation changed = all_changed(resource);
    std::vector<Request> all = plan_unchecked(resource, {}, owner).requests;
    std::ranges::move(plan_unchecked(resource, changed, owner).requests, std::back_inserter(all));
    std::ranges::move(plan_removal(resource, changed, owner).requests, std::back_inserter(all));
    return all;
}

std::string summary(const std::vector<FieldChange>& changes) {
    std::string text;
    for (const FieldChange& change : changes) {
        if (!text.empty()) text += ", ";
        if (change.field == "policy" && change.before.is_string() && change.after.is_string())
            text += policy_difference(change.before.get<std::string>(), change.after.get<std::string>());
        else
            text += fmt::format("{}: {} → {}", change.field, brief(change.before), brief(change.after));
    }
    return text;
}

}  // namespace keyshepherd::planner
