#include <keyshepherd/core/ascii.hpp>
#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/planner/vault_names.hpp>
#include <keyshepherd/reconcile/vault_object.hpp>

#include <algorithm>

namespace keyshepherd::reconcile {

Task<result<planner::Observation>> observe(vault::Client& vault, const planner::Resource& resource,
                                           Deadline deadline) {
    planner::Observation observed;
    const std::string role_id = planner::claim(resource) + "/role-id";
    for (const std::string& path : planner::reads(resource)) {
        if (path == role_id) {
            const auto role = observed.find(planner::claim(resource));
            if (role == observed.end() || !role->second) continue;
        }
        KEYSHEPHERD_CO_TRY(auto held, co_await vault.read(path, deadline));
        observed.emplace(path, std::move(held));
    }
    if (planner::needs_parameters(resource, observed)) {
        KEYSHEPHERD_CO_TRY(auto names, co_await vault.parameters(planner::claim(resource), deadline));
        if (names) observed.emplace(planner::parameters_key(resource), nlohmann::json(*std::move(names)));
    }
    co_return observed;
}

Task<result<std::vector<std::string>>> act(vault::Client& vault, const planner::Plan& plan,
                                           Deadline deadline) {
    std::vector<std::string> warnings;
    for (const planner::Request& request : plan.requests) {
        if (request.method == "DELETE") {
            KEYSHEPHERD_CO_CHECK(co_await vault.remove(request.path, deadline));
            continue;
        }
        KEYSHEPHERD_CO_TRY(auto written, co_await vault.write(request.path, request.body, deadline));
        std::ranges::move(written.warnings, std::back_inserter(warnings));
    }
    co_return warnings;
}

namespace {

void add_policies(const nlohmann::json& object, std::initializer_list<const char*> lists,
                  std::set<std::string>& policies) {
    for (const char* name : lists) {
        const auto list = object.is_object() ? object.find(name) : object.end();
        if (!object.is_object() || list == object.end() || !list->is_array()) continue;
        for (const auto& policy : *list)
            if (policy.is_string()) policies.insert(planner::stored_name(policy.get<std::string>()));
    }
    policies.erase("default");
}

}  // namespace

OwnNames own_names_of(const nlohmann::json& token) {
    OwnNames names;
    add_policies(token, {"policies", "identity_policies"}, names.policies);
    constexpr std::string_view before = "auth/";
    constexpr std::string_view behind = "/login";
    const std::string path = text_at(token, "path");
    if (path.size() <= before.size() + behind.size() || !path.starts_with(before) || !path.ends_with(behind))
        return names;
    const auto meta = token.find("meta");
    if (meta == token.end()) return names;
    // The auth methods kubernetes and jwt call it role, AppRole role_name.
    std::string role = text_at(*meta, "role");
    if (role.empty()) role = text_at(*meta, "role_name");
    if (role.empty()) return names;
    names.roles.insert(planner::role_path(
        std::string_view(path).substr(before.size(), path.size() - before.size() - behind.size()), role));
    return names;
}

Task<result<OwnNames>> own_names(vault::Client& vault, Deadline deadline, bool* may_read_role) {
    KEYSHEPHERD_CO_TRY(const auto token, co_await vault.read("auth/token/lookup-self", deadline));
    OwnNames names = own_names_of(token.value_or(nlohmann::json()));
    if (may_read_role != nullptr && !*may_read_role) co_return names;
    for (const std::string& path : names.roles) {
        const auto role = co_await vault.read(path, deadline);
        if (role && *role) add_policies(**role, {"token_policies", "policies"}, names.policies);
        if (role || role.error().code == Errc::not_found || role.error().code == Errc::invalid) continue;
        if (role.error().code != Errc::forbidden) co_return std::unexpected(role.error());
        if (may_read_role != nullptr) *may_read_role = false;
    }
    co_return names;
}

Task<result<std::vector<std::string>>> own_policies(vault::Client& vault, Deadline deadline) {
    KEYSHEPHERD_CO_TRY(const OwnNames names, co_await own_names(vault, deadline));
    co_return std::vector<std::string>(names.policies.begin(), names.policies.end());
}

Task<planner::Mounts> secret_mounts(vault::Client& vault, Deadline deadline) {
    planner::Mounts mounts;
    const auto listed = co_await vault.read("sys/mounts", deadline);
    if (!listed) {
        mounts.unknown = listed.error().message;
        co_return mounts;
    }
    if (const std::optional<nlohmann::json>& data = *listed; data && data->is_object())
        for (const auto& mount : data->items()) {
            std::string path = mount.key();
            if (path.ends_with('/')) path.pop_back();
            mounts.paths.insert(std::move(path));
        }
    co_return mounts;
}

std::string vault_name(const std::string& address, const std::string& vault_namespace) {
    const auto origin = net::Origin::parse(address);
    const std::string name = to_lower(origin ? origin->text() : address);
    // A host's name has no case (RFC 4343), a namespace has.
    const std::string stored = planner::stored_namespace(vault_namespace);
    return stored.empty() ? name : name + " " + stored;
}

}  // namespace keyshepherd::reconcile
