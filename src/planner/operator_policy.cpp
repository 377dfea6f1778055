#include <keyshepherd/planner/operator_policy.hpp>
#include <keyshepherd/planner/plan.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <set>

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
    // What a kind asks for beyond reads() and its plans has its place here. The coming VaultSecretID, on its
    // role: LIST secret-id, read role-id, update custom-secret-id, secret-id/lookup, secret-id/destroy,
    // secret-id-accessor/lookup and secret-id-accessor/destroy; with revokeTokens also list and sudo on
    // auth/token/accessors, update on auth/token/lookup-accessor and auth/token/revoke-accessor.
}

}  // namespace

std::string operator_policy(std::span<const Resource> resources) {
    Needs needs;
    add_own_token(needs);
    for (const Resource& resource : resources) add(resource, needs);
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
