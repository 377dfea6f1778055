#include <keyshepherd/planner/delivery.hpp>
#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/planner/key_probe.hpp>
#include <keyshepherd/planner/operator_policy.hpp>
#include <keyshepherd/planner/plan.hpp>
#include <keyshepherd/planner/vault_names.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string_view>
#include <utility>

namespace keyshepherd::planner {

namespace {

// In the order in which people write them.
constexpr std::array<const char*, 6> capabilities = {"create", "read", "update", "delete", "list", "sudo"};

using Needs = std::map<std::string, std::set<std::string>>;  // path → capabilities

// What vault::Client asks about its own token. The policy `default` has these too, but a login may be without
// it.
void add_own_token(Needs& needs) {
    needs["auth/token/lookup-self"].insert("read");
    needs["auth/token/renew-self"].insert("update");
    needs["auth/token/revoke-self"].insert("update");
}

// Vault looks whether the object is there before it judges a POST to a role; what lies below sys/ it takes
// for an update at all times (https://developer.hashicorp.com/vault/docs/concepts/policies#create).
bool is_told_from_an_update(const std::string& path, const Resource& resource) {
    return path.starts_with("auth/") && path == claim(resource);
}

// The role that a connection logs in by, whose policies the operator keeps resources from touching
// (reconcile/vault_object.hpp). No resource names the role of an AppRole login.
void add_login_role(const Resource& connection, Needs& needs) {
    const Json& auth = connection.spec.at("auth");
    for (const char* method : {"kubernetes", "jwt"})
        if (const auto login = auth.find(method); login != auth.end())
            needs[role_path(login->value("mount", method), login->at("role").get<std::string>())].insert(
                "read");
}

void add(const Resource& resource, Needs& needs) {
    for (const std::string& path : reads(resource)) needs[path].insert("read");
    for (const Request& request : requests_ever(resource)) {
        std::set<std::string>& allowed = needs[request.path];
        if (request.method == "DELETE") {
            allowed.insert("delete");
        } else {
            allowed.insert("update");
            if (is_told_from_an_update(request.path, resource)) allowed.insert("create");
        }
        // https://developer.hashicorp.com/vault/docs/concepts/policies#root-protected-api-endpoints
        if (request.path.starts_with("sys/auth/")) allowed.insert("sudo");
    }
}

// StatusUpdate the secret-ids of a role, and destroying them (reconcile/secret_id.hpp).
void add_destroying(const std::string& role, Needs& needs) {
    needs[role + "/secret-id"].insert("list");
    needs[role + "/secret-id-accessor/lookup"].insert("update");
    needs[role + "/secret-id-accessor/destroy"].insert("update");
}

void add_secret_id(const std::string& role, Needs& needs) {
    add_destroying(role, needs);
    needs[role + "/role-id"].insert("read");
    needs[role + "/custom-secret-id"].insert("update");
    needs[role + "/secret-id/lookup"].insert("update");
}

// reconcile/token_index.hpp, and what keyshepherd.dev/cut-off does. An entity's id is known only when
// somebody has logged in.
void add_revocation(const std::string& role, Needs& needs) {
    add_destroying(role, needs);
    needs["auth/token/accessors"].insert({"list", "sudo"});
    needs["auth/token/lookup-accessor"].insert("update");
    needs["auth/token/revoke-accessor"].insert("update");
    needs["sys/auth"].insert("read");
    needs["identity/lookup/entity"].insert("update");
    needs["identity/entity/id/*"].insert("update");
}

using NamespacedName = std::pair<std::string_view, std::string_view>;
using Roles = std::multimap<NamespacedName, const Resource*>;

Roles roles_of(std::span<const Resource> resources) {
    Roles roles;
    for (const Resource& resource : resources)
        if (resource.kind->id == resources::KindId::vault_approle)
            roles.emplace(NamespacedName(resource.ns, resource.name), &resource);
    return roles;
}

// What kinds ask for beyond reads() and their plans.
void add_beyond_plans(const Resource& resource, const Roles& roles, Needs& needs) {
    if (resource.kind->id == resources::KindId::vault_approle &&
        (resource.cut_off || resource.spec.value("revokeTokens", false)))
        add_revocation(claim(resource), needs);
    if (resource.kind->id != resources::KindId::vault_secret_id) return;
    const auto name = resource.spec.at("appRoleRef").at("name").get<std::string>();
    const auto [begin, end] = roles.equal_range(NamespacedName(resource.ns, name));
    for (auto role = begin; role != end; ++role) add_secret_id(claim(*role->second), needs);
}

// A version is asked for at every place, and nowhere else: whether a mount is of KV version 2 is told by the
// path. The key itself is read where it is published, and to be tried. Where the secret holds the base URL,
// only the secret tells whether its host is allowed.
void add_provider(const Resource& provider, const std::vector<std::string>& probe_hosts, Needs& needs) {
    const bool is_published = delivers(provider);
    const bool is_tried = probes(provider) && stated_probe_target(provider, probe_hosts).has_value();
    const std::vector<KeyPlace> places = key_places(provider);
    for (const KeyPlace& place : places) {
        const auto metadata = metadata_path(place.path);
        if (place.elsewhere) continue;
        if (!metadata) {
            if (is_published) needs[place.path].insert("read");  // as of KV version 1
            continue;
        }
        needs[*metadata].insert("read");
        if (is_published || is_tried) needs[place.path].insert("read");
    }
}

}  // namespace

std::string operator_policy(std::span<const Resource> resources,
                            const std::vector<std::string>& probe_hosts) {
    Needs needs;
    add_own_token(needs);
    const Roles roles = roles_of(resources);
    for (const Resource& resource : resources) {
        if (needs_mounts(resource)) needs["sys/mounts"].insert("read");
        if (!resource.kind->in_vault) {
            add_provider(resource, probe_hosts, needs);
            continue;
        }
        if (resource.kind->id == resources::KindId::vault_connection) {
            add_login_role(resource, needs);
            continue;
        }
        add(resource, needs);
        add_beyond_plans(resource, roles, needs);
    }
    Json rules = Json::array();
    for (const auto& [path, allowed] : needs) {
        Json list = Json::array();
        for (const char* capability : capabilities)
            if (allowed.contains(capability)) list.push_back(capability);
        rules.push_back({{"path", path}, {"capabilities", std::move(list)}});
    }
    return policy_text({{"rules", std::move(rules)}});
}

}  // namespace keyshepherd::planner
