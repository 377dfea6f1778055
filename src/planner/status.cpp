#include <keyshepherd/core/text.hpp>
#include <keyshepherd/planner/status.hpp>

#include <algorithm>

namespace keyshepherd::planner {

namespace {

const char* text(Truth truth) {
    switch (truth) {
        case Truth::yes:
            return "True";
        case Truth::no:
            return "False";
        case Truth::unknown:
            return "Unknown";
    }
    return "";
}

const Json* condition(const Json& status, std::string_view type) {
    const auto list = status.is_object() ? status.find("conditions") : status.end();
    if (list == status.end() || !list->is_array()) return nullptr;
    for (const Json& each : *list)
        if (each.is_object() && each.value("type", "") == type) return &each;
    return nullptr;
}

Json made(const Json& before, std::string_view type, Truth truth, const std::string& reason,
          const std::string& message, std::int64_t generation, std::string_view now) {
    const Json* old = condition(before, type);
    const bool same = old != nullptr && old->value("status", "") == text(truth);
    return {{"type", type},
            {"status", text(truth)},
            {"reason", reason},
            {"message", printable(message)},
            {"observedGeneration", generation},
            {"lastTransitionTime", same ? (*old)["lastTransitionTime"] : Json(now)}};
}

}  // namespace

Json status_after(const Json& before, const StatusUpdate& update, std::int64_t generation,
                  std::string_view now) {
    Json status = before.is_object() ? before : Json::object();
    Json conditions = Json::array();
    conditions.push_back(made(before, "Ready", update.ready, update.reason, update.message, generation, now));
    if (update.synced) {
        conditions.push_back(made(before, "Synced", *update.synced ? Truth::yes : Truth::no,
                                  *update.synced ? "Equal" : update.reason,
                                  *update.synced ? "" : update.message, generation, now));
    } else if (const Json* old = condition(before, "Synced")) {
        conditions.push_back(*old);
    }
    if (update.drifted) {
        if (*update.drifted || condition(before, "Drifted") != nullptr)
            conditions.push_back(made(before, "Drifted", *update.drifted ? Truth::yes : Truth::no,
                                      *update.drifted ? "DriftDetected" : "Equal",
                                      *update.drifted ? update.message : "", generation, now));
    } else if (const Json* old = condition(before, "Drifted")) {
        conditions.push_back(*old);
    }
    for (const Condition& each : update.others)
        conditions.push_back(made(before, each.type, each.truth, each.reason, each.message, generation, now));
    if (const auto held = status.find("conditions"); held != status.end() && held->is_array())
        for (const Json& each : *held) {
            const std::string type = each.is_object() ? each.value("type", "") : std::string();
            if (type.empty() || type == "Ready" || type == "Synced" || type == "Drifted" ||
                update.gone.contains(type) ||
                std::ranges::find(update.others, type, &Condition::type) != update.others.end())
                continue;
            conditions.push_back(each);
        }
    status["conditions"] = std::move(conditions);
    status["observedGeneration"] = generation;
    for (const auto& [name, value] : update.facts) {
        if (!value.empty()) status[name] = value;
    }
    for (const auto& [name, count] : update.counts) status[name] = count;
    for (const std::string& name : update.gone) status.erase(name);
    if (update.changed) status["lastChange"] = now;
    return status;
}

Json sealed_facts(const resources::Kind& kind, const Json& status) {
    Json facts = Json::object();
    if (!status.is_object() || std::ranges::find(kind.facts, resources::seal_field) == kind.facts.end())
        return facts;
    for (const std::string_view name : kind.facts) {
        if (name == resources::seal_field) continue;
        const auto at = status.find(name);
        if (at != status.end() && *at != "") facts[std::string(name)] = *at;
    }
    return facts;
}

Json without_facts(const resources::Kind& kind, Json status) {
    if (status.is_object())
        for (const std::string_view name : kind.facts) status.erase(std::string(name));
    return status;
}

Condition status_not_trusted(const resources::Kind& kind, const Json& status) {
    std::string names;
    for (const auto& [name, value] : sealed_facts(kind, status).items())
        names += (names.empty() ? "" : ", ") + name;
    return {
        .type = std::string(status_trusted),
        .truth = Truth::no,
        .reason = "NotWrittenHere",
        .message = "status." + names +
                   ": the operator ignores these fields, because it did not write them for this resource in "
                   "this cluster. They were copied, restored or edited. To manage an object that already "
                   "exists in Vault, set "
                   "adoptionPolicy to IfEqual or Adopt, and add the right adopt to the connection's grants"};
}

std::string ready_reason(const Json& status) {
    const Json* ready = condition(status, "Ready");
    return ready == nullptr ? std::string() : ready->value("reason", "");
}

StatusUpdate status_update_of(const Error& error) {
    StatusUpdate update{.ready = Truth::no, .reason = "Failed", .message = error.message};
    switch (error.code) {
        case Errc::unavailable:
        case Errc::timeout:
        case Errc::protocol:
            update.ready = Truth::unknown;
            update.reason = error.detail == Detail::sealed ? "VaultSealed" : "VaultUnavailable";
            if (error.detail == Detail::unknown_ca || error.detail == Detail::other_name) {
                update.ready = Truth::no;
                update.reason = "CertificateNotTrusted";
                update.message +=
                    error.detail == Detail::unknown_ca
                        ? "; set spec.ca of the VaultConnection to the CA that signed Vault's certificate, "
                          "in PEM format"
                        : "; set spec.tlsServerName of the VaultConnection to a name in Vault's certificate";
            }
            break;
        case Errc::throttled:
            update.ready = Truth::unknown;
            update.reason = "Throttled";
            break;
        case Errc::unauthorized:
            update.reason = error.detail == Detail::login_locked ? "LoginLocked" : "AuthFailed";
            break;
        case Errc::forbidden:
            update.reason = "PermissionDenied";
            break;
        case Errc::disallowed:
            update.reason = "AddressNotAllowed";
            break;
        case Errc::unlabeled:
            update.reason = "LoginNotLabeled";
            break;
        case Errc::not_found:
            update.reason = "MountNotFound";
            break;
        case Errc::invalid:
        case Errc::too_large:
            update.reason = "InvalidSpec";
            break;
        case Errc::conflict:
            update.reason = "Conflict";
            break;
        case Errc::gone:
        case Errc::cancelled:
        case Errc::internal:
            break;
    }
    return update;
}

std::string next_login(const resources::Resource& connection) {
    const Json& auth = connection.spec.at("auth");
    const auto role = auth.find("appRole");
    if (role == auth.end()) return {};
    return "; the operator retries the login when Secret " + connection.ns + "/" +
           role->value("secretName", "") + " or the VaultConnection changes, or after 5 to 20 minutes";
}

bool concerns_connection(const Error& error) {
    return error.code == Errc::unauthorized || error.code == Errc::unlabeled ||
           error.detail == Detail::unknown_ca || error.detail == Detail::other_name ||
           status_update_of(error).ready == Truth::unknown;
}

}  // namespace keyshepherd::planner
