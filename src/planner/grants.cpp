#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/planner/plan.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <functional>

namespace keyshepherd::planner {

namespace {

using resources::Json;

// What lies below these could widen what its holder may do.
constexpr std::array<std::string_view, 3> powerful = {"sys", "auth", "identity"};

struct Grant {
    std::vector<std::string> names, mounts, paths, policies;
    Rights rights;
};

std::vector<std::string> texts(const Json& object, const char* field) {
    std::vector<std::string> list;
    if (const auto at = object.find(field); at != object.end())
        for (const Json& element : *at) list.push_back(element.get<std::string>());
    return list;
}

std::string lower(std::string text) {
    std::ranges::transform(text, text.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

bool matches(const std::string& glob, const std::string& name) {
    if (glob.ends_with('*')) return lower(name).starts_with(lower(glob.substr(0, glob.size() - 1)));
    return lower(glob) == lower(name);
}

bool any_matches(const std::vector<std::string>& globs, const std::string& name) {
    return std::ranges::any_of(globs, [&](const std::string& glob) { return matches(glob, name); });
}

std::vector<Grant> grants_for(const std::string& ns, const Resource& connection) {
    const bool own = ns == connection.ns;
    const std::vector<std::string> by_namespace = {ns + "-*"};
    std::vector<Grant> grants;
    const auto stated = connection.spec.find("grants");
    if (stated == connection.spec.end()) {
        if (own) grants.push_back({by_namespace, {"*"}, {"*"}, by_namespace, {}});
        return grants;
    }
    for (const Json& grant : *stated) {
        const auto namespaces = texts(grant, "namespaces");
        if (std::ranges::find(namespaces, ns) == namespaces.end() &&
            std::ranges::find(namespaces, "*") == namespaces.end())
            continue;
        Grant made{texts(grant, "names"),
                   texts(grant, "mounts"),
                   texts(grant, "paths"),
                   texts(grant, "policies"),
                   {}};
        if (!grant.contains("names")) made.names = by_namespace;
        if (!grant.contains("mounts") && own) made.mounts = {"*"};
        if (!grant.contains("policies")) made.policies = made.names;
        for (const std::string& right : texts(grant, "rights")) {
            made.rights.adopt |= right == "adopt";
            made.rights.hcl |= right == "hcl";
            made.rights.revoke_tokens |= right == "revokeTokens";
        }
        grants.push_back(std::move(made));
    }
    return grants;
}

class Judge {
public:
    Judge(const Resource& resource, const Resource& connection, const std::set<std::string>& reserved)
        : resource_(resource),
          connection_(connection),
          reserved_(reserved),
          grants_(grants_for(resource.ns, connection)) {}

    Judgement run() && {
        if (grants_.empty()) {
            fault("spec.connectionRef",
                  fmt::format("{} grants namespace {} nothing", connection_.text(), resource_.ns));
            return std::move(judgement_);
        }
        for (const Grant& grant : grants_) {
            judgement_.rights.adopt |= grant.rights.adopt;
            judgement_.rights.hcl |= grant.rights.hcl;
            judgement_.rights.revoke_tokens |= grant.rights.revoke_tokens;
        }
        const std::string_view kind = resource_.kind->name;
        if (kind == "VaultMount") mount("path");
        if (kind == "VaultPolicy") policy();
        if (kind == "VaultAppRole" || kind == "VaultKubernetesRole") role();
        return std::move(judgement_);
    }

private:
    void fault(std::string field, std::string message) {
        judgement_.faults.push_back({std::move(field), std::move(message)});
    }
    bool granted(std::vector<std::string> Grant::* list, const std::string& value) const {
        return std::ranges::any_of(grants_,
                                   [&](const Grant& grant) { return any_matches(grant.*list, value); });
    }
    std::string listed(std::vector<std::string> Grant::* list) const {
        std::vector<std::string> all;
        for (const Grant& grant : grants_) all.insert(all.end(), (grant.*list).begin(), (grant.*list).end());
        return all.empty() ? "nothing" : fmt::format("{}", fmt::join(all, ", "));
    }
    bool has_power(const std::string& policy) const {
        return policy == "root" || policy == "default-ceiling" || reserved_.contains(policy);
    }

    void name() {
        const auto name = resource_.spec.at("name").get<std::string>();
        if (!granted(&Grant::names, name))
            fault("spec.name", fmt::format("{} is not granted to namespace {} by {}; it may be {}", name,
                                           resource_.ns, connection_.text(), listed(&Grant::names)));
    }

    void mount(const char* field) {
        const auto mount = resource_.spec.at(field).get<std::string>();
        const std::string first = mount.substr(0, mount.find('/'));
        if (first == "sys" || first == "identity" || first == "cubbyhole" ||
            (first == "token" && resource_.spec.value("engine", "Auth") == "Auth"))
            return fault(std::string("spec.") + field, fmt::format("{} is Vault's own", mount));
        if (!granted(&Grant::mounts, mount))
            fault(std::string("spec.") + field,
                  fmt::format("mount {} is not granted to namespace {} by {}; it may be {}", mount,
                              resource_.ns, connection_.text(), listed(&Grant::mounts)));
    }

    void policy() {
        name();
        const std::string own = lower(resource_.spec.at("name").get<std::string>());
        if (own == "default" || has_power(own))
            fault("spec.name", fmt::format("{} is never written: it is Vault's own or the operator's", own));
        if (resource_.spec.contains("hcl")) {
            if (!judgement_.rights.hcl)
                fault("spec.hcl", fmt::format("{} grants namespace {} no right hcl; give rules instead",
                                              connection_.text(), resource_.ns));
            return;
        }
        const Json& rules = resource_.spec.at("rules");
        for (std::size_t i = 0; i < rules.size(); ++i) rule(rules[i], fmt::format("spec.rules[{}]", i));
    }

    void rule(const Json& rule, const std::string& place) {
        const auto path = rule.at("path").get<std::string>();
        if (path.contains("+*")) return fault(place + ".path", "holds +*, which Vault refuses");
        const auto allowed = texts(rule, "capabilities");
        if (std::ranges::find(allowed, "sudo") != allowed.end() && !judgement_.rights.hcl)
            fault(place + ".capabilities", "sudo is not granted; it needs the right hcl");
        if (allowed == std::vector<std::string>{"deny"}) return;  // takes away, wherever it is
        std::vector<std::string> paths;
        for (const Grant& grant : grants_) paths.insert(paths.end(), grant.paths.begin(), grant.paths.end());
        for (const std::string_view segment : powerful) {
            if (!reaches(path, segment)) continue;
            const std::string below = std::string(segment) + "/";
            if (std::ranges::none_of(
                    paths, [&](const std::string& p) { return p.starts_with(below) && covers(p, path); }))
                return fault(place + ".path",
                             fmt::format("{} reaches {}, which no path of the grants names", path, below));
        }
        if (std::ranges::none_of(paths, [&](const std::string& p) { return covers(p, path); }))
            fault(place + ".path", fmt::format("{} is not granted to namespace {} by {}; it may be {}", path,
                                               resource_.ns, connection_.text(), listed(&Grant::paths)));
    }

    void role() {
        name();
        mount("mount");
        const Json& policies = resource_.spec.at("tokenPolicies");
        for (std::size_t i = 0; i < policies.size(); ++i) {
            const auto policy = policies[i].get<std::string>();
            const std::string place = fmt::format("spec.tokenPolicies[{}]", i);
            if (has_power(lower(policy)))
                fault(place, fmt::format("{} is never given to a role: it is Vault's own or the operator's",
                                         policy));
            else if (lower(policy) != "default" && !granted(&Grant::policies, policy))
                fault(place, fmt::format("policy {} is not granted to namespace {} by {}; it may be {}",
                                         policy, resource_.ns, connection_.text(), listed(&Grant::policies)));
        }
    }

    const Resource& resource_;
    const Resource& connection_;
    const std::set<std::string>& reserved_;
    std::vector<Grant> grants_;
    Judgement judgement_;
};

struct Path {
    std::vector<std::string_view> segments;  // the last one without the glob's star
    bool open = false;                       // ends with *
};

Path parse(std::string_view text) {
    Path path;
    if (text.ends_with('*')) {
        path.open = true;
        text.remove_suffix(1);
    }
    while (true) {
        const std::size_t slash = text.find('/');
        path.segments.push_back(text.substr(0, slash));
        if (slash == std::string_view::npos) return path;
        text.remove_prefix(slash + 1);
    }
}

}  // namespace

bool covers(std::string_view outer, std::string_view inner) {
    const Path out = parse(outer);
    const Path in = parse(inner);
    for (std::size_t i = 0; i < out.segments.size(); ++i) {
        if (i >= in.segments.size()) return false;
        const std::string_view o = out.segments[i];
        const std::string_view n = in.segments[i];
        const bool in_ends_open = in.open && i + 1 == in.segments.size();
        if (out.open && i + 1 == out.segments.size()) {
            // Any ending of the prefix `o`. A `+` of the inner one may be anything, so only the empty prefix
            // takes it.
            if (n == "+" && !in_ends_open) return o.empty() || o == "+";
            return o != "+" && n.starts_with(o);  // Vault refuses `+*`
        }
        if (in_ends_open) return false;  // it may go on beyond this segment
        if (o == "+") {
            if (n.empty()) return false;
            continue;
        }
        if (n != o) return false;
    }
    return in.segments.size() == out.segments.size() && !in.open;
}

bool reaches(std::string_view acl_path, std::string_view segment) {
    const Path path = parse(acl_path);
    const std::string_view first = path.segments.front();
    if (path.segments.size() > 1) return first == "+" || first == segment;
    return path.open && std::string_view(segment).starts_with(first);
}

Judgement judge(const Resource& resource, const Resource& connection, const std::set<std::string>& reserved) {
    return Judge(resource, connection, reserved).run();
}

}  // namespace keyshepherd::planner
