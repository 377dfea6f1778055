#include <keyshepherd/planner/vault_names.hpp>
#include <keyshepherd/reconcile/vault_object.hpp>

#include <algorithm>

namespace keyshepherd::reconcile {

Task<result<planner::Observation>> observe(vault::Client& vault, const planner::Resource& resource,
                                           const planner::Standing& standing, Deadline deadline) {
    planner::Observation observed;
    const std::string role_id = planner::claim(resource) + "/role-id";
    for (const std::string& path : planner::reads(resource)) {
        if (path == role_id) {
            const bool known = !standing.role_id.empty() && !resource.spec.contains("roleID");
            const auto role = observed.find(planner::claim(resource));
            if (known || role == observed.end() || !role->second) continue;
        }
        KEYSHEPHERD_CO_TRY(auto held, co_await vault.read(path, deadline));
        observed.emplace(path, std::move(held));
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

Task<result<std::vector<std::string>>> own_policies(vault::Client& vault, Deadline deadline) {
    KEYSHEPHERD_CO_TRY(const auto token, co_await vault.read("auth/token/lookup-self", deadline));
    std::vector<std::string> policies;
    if (token)
        for (const char* list : {"policies", "identity_policies"})
            for (const auto& policy : token->value(list, nlohmann::json::array()))
                if (policy.is_string() && policy != "default") policies.push_back(policy.get<std::string>());
    co_return policies;
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
    std::string name = origin ? origin->text() : address;
    std::ranges::transform(name, name.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    // A host's name has no case (RFC 4343), a namespace has.
    const std::string stored = planner::stored_namespace(vault_namespace);
    return stored.empty() ? name : name + " " + stored;
}

}  // namespace keyshepherd::reconcile
