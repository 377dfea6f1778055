#include <keyshepherd/planner/grants.hpp>
#include <keyshepherd/planner/plan.hpp>
#include <keyshepherd/planner/vault_names.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>

namespace keyshepherd::planner {

namespace {

using resources::Json;
using resources::KindId;

// What lies below these could widen what its holder may do.
constexpr std::array<std::string_view, 3> powerful_words = {"sys", "auth", "identity"};
// A mount that lies deeper is not looked for: the cost of a rule stays linear in its length.
constexpr std::size_t deepest_mount = 8;

// A status holds no more than these, and no message grows with the grants.
constexpr std::size_t most_faults = 50;
constexpr std::size_t most_shown = 10;

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

bool matches(const std::string& glob, const std::string& name) {
    return glob.ends_with('*') ? name.starts_with(glob.substr(0, glob.size() - 1)) : glob == name;
}

// Names of policies and roles are in lower case in Vault, paths of mounts as they were given.
bool any_name(const std::vector<std::string>& globs, const std::string& name) {
    return std::ranges::any_of(
        globs, [&](const std::string& glob) { return matches(stored_name(glob), stored_name(name)); });
}

std::vector<Grant> grants_for(const std::string& ns, const Resource& connection) {
    const bool own = ns == connection.ns;
    // A dot, which no namespace has in its name: with a hyphen `dev` would have what belongs to `dev-prod`.
    const std::vector<std::string> by_namespace = {ns + ".*"};
    std::vector<Grant> grants;
    const auto stated = connection.spec.find("grants");
    if (stated == connection.spec.end()) {
        if (own) grants.push_back({by_namespace, {}, {}, by_namespace, {}});
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

// The paths of a resource that grants bound; views of its spec.
std::vector<std::string_view> bounded_paths(const Resource& resource) {
    std::vector<std::string_view> paths;
    const auto add = [&paths](const Json& object) {
        if (const auto path = object.find("path"); path != object.end())
            paths.push_back(path->get_ref<const std::string&>());
    };
    if (resource.kind->id == KindId::vault_policy) {
        if (const auto rules = resource.spec.find("rules"); rules != resource.spec.end())
            for (const Json& rule : *rules) add(rule);
    } else if (!resource.kind->in_vault) {
        add(resource.spec);
        if (const auto overrides = resource.spec.find("overrides"); overrides != resource.spec.end())
            for (const Json& each : *overrides) add(each);
    }
    return paths;
}

// Whether Vault itself keeps what is at this mount.
bool is_vaults_own_mount(const std::string& mount, bool is_auth) {
    const std::string first = mount.substr(0, mount.find('/'));
    return first == "sys" || first == "identity" || first == "cubbyhole" || (is_auth && first == "token");
}

bool carries_power(const std::string& policy, const std::set<std::string>& reserved) {
    return policy == "root" || policy == "default-ceiling" || reserved.contains(policy);
}

// Whether one grant, alone, allows all of a resource: what two allow together was meant by neither. What
// reserved_faults() refuses is not looked at again.
class Judge {
public:
    Judge(const Resource& resource, const Resource& connection, const std::set<std::string>& reserved,
          const Mounts& mounts, const Grant& grant, const std::string& ns)
        : resource_(resource),
          connection_(connection),
          reserved_(reserved),
          mounts_(mounts),
          grant_(grant),
          ns_(ns) {}

    Judgement run_removal() && {
        judgement_.rights = grant_.rights;
        const KindId kind = resource_.kind->id;
        if (kind == KindId::vault_mount) {
            mount("path");
        } else if (kind == KindId::vault_policy) {
            name();
        } else if (kind == KindId::vault_approle || kind == KindId::vault_kubernetes_role) {
            name();
            mount("mount");
            not_the_login();
        }
        return std::move(judgement_);
    }

    Judgement run() && {
        judgement_.rights = grant_.rights;
        const KindId kind = resource_.kind->id;
        if (kind == KindId::vault_mount) mount("path");
        if (kind == KindId::vault_policy) policy();
        if (kind == KindId::vault_approle || kind == KindId::vault_kubernetes_role) role();
        if (kind == KindId::ai_provider || kind == KindId::cluster_ai_provider) provider();
        if (kind == KindId::vault_approle && resource_.spec.value("revokeTokens", false) &&
            !grant_.rights.revoke_tokens)
            fault("spec.revokeTokens",
                  fmt::format(
                      "{} does not grant namespace {} the right revokeTokens; add it to grants[].rights",
                      connection_.text(), ns_));
        return std::move(judgement_);
    }

private:
    void fault(std::string field, std::string message) {
        judgement_.faults.push_back({std::move(field), std::move(message)});
    }
    bool is_full() const { return judgement_.faults.size() >= most_faults; }
    void not_granted(std::string field, const std::string& what, const std::vector<std::string>& allowed) {
        const auto shown = std::span(allowed).first(std::min(allowed.size(), most_shown));
        fault(std::move(field),
              fmt::format(
                  "{} is not granted to namespace {} by {}; allowed: {}{}", what, ns_, connection_.text(),
                  allowed.empty() ? "none" : fmt::format("{}", fmt::join(shown, ", ")),
                  allowed.size() > most_shown ? fmt::format(", … ({} in total)", allowed.size()) : ""));
    }
    void name() {
        const auto name = resource_.spec.at("name").get<std::string>();
        if (!any_name(grant_.names, name)) not_granted("spec.name", name, grant_.names);
    }

    void mount(const char* field) {
        const auto mount = resource_.spec.at(field).get<std::string>();
        const std::string place = std::string("spec.") + field;
        if (is_vaults_own_mount(mount, resource_.spec.value("engine", "Auth") == "Auth")) return;
        if (std::ranges::none_of(grant_.mounts,
                                 [&](const std::string& glob) { return matches(glob, mount); }))
            not_granted(place, "mount " + mount, grant_.mounts);
    }

    void policy() {
        name();
        if (resource_.spec.contains("hcl")) {
            if (!grant_.rights.hcl)
                fault("spec.hcl",
                      fmt::format("{} does not grant namespace {} the right hcl; use rules instead",
                                  connection_.text(), ns_));
            return;
        }
        const Json& rules = resource_.spec.at("rules");
        for (std::size_t i = 0; i < rules.size() && !is_full(); ++i)
            rule(rules[i], fmt::format("spec.rules[{}]", i));
    }

    void rule(const Json& rule, const std::string& place) {
        const auto path = rule.at("path").get<std::string>();
        if (path.contains("+*")) return fault(place + ".path", "must not contain +*, which Vault rejects");
        const auto allowed = texts(rule, "capabilities");
        if (std::ranges::find(allowed, "sudo") != allowed.end() && !grant_.rights.hcl)
            fault(place + ".capabilities",
                  "sudo requires the right hcl, which is not granted; remove sudo, or add hcl to "
                  "grants[].rights");
        if (allowed == std::vector<std::string>{"deny"}) return;  // takes away, wherever it is
        reach(path, place + ".path");
    }

    void reach(const std::string& path, const std::string& place) {
        const auto powerful = powerful_segment(path, mounts_);
        if (powerful && std::ranges::none_of(grant_.paths, [&](const std::string& granted) {
                return names_segment(granted, *powerful) && covers(granted, path);
            }))
            return fault(place, power_text(path, *powerful));
        if (std::ranges::none_of(grant_.paths, [&](const std::string& p) { return covers(p, path); }))
            not_granted(place, path, grant_.paths);
    }

    // Why a path that may reach sys/, auth/ or identity/ is refused, with the way out.
    std::string power_text(const std::string& path, const PowerfulSegment& powerful) const {
        if (powerful.index == 0)
            return fmt::format("{} matches {}/, which no path in the grants allows", path, powerful.word);
        return fmt::format(
            "{} {} {}/ in a child namespace, which no path in the grants allows, because no known secrets "
            "engine is mounted at the start of the path{}; create the mount first, or use a path that starts "
            "with a mount",
            path, powerful.by_letter ? "matches" : "may match", powerful.word,
            mounts_.unknown.empty() ? "" : fmt::format(" (sys/mounts: {})", mounts_.unknown));
    }

    // The operator reads with its own token what a provider names, also a tenant's.
    void provider() {
        reach(resource_.spec.at("path").get<std::string>(), "spec.path");
        const Json overrides = resource_.spec.value("overrides", Json::array());
        for (std::size_t i = 0; i < overrides.size() && !is_full(); ++i)
            if (const auto path = overrides[i].find("path"); path != overrides[i].end())
                reach(path->get<std::string>(), fmt::format("spec.overrides[{}].path", i));
    }

    // Who may write that role may log in as the operator. Of an AppRole login only the role-id is known.
    bool is_the_connections_login() const {
        const Json& auth = connection_.spec.at("auth");
        return std::ranges::any_of(std::array{"kubernetes", "jwt"}, [&](const char* method) {
            const auto login = auth.find(method);
            return login != auth.end() && login->at("mount") == resource_.spec.at("mount") &&
                   stored_name(login->at("role").get<std::string>()) ==
                       stored_name(resource_.spec.at("name").get<std::string>());
        });
    }

    void not_the_login() {
        if (is_the_connections_login())
            fault("spec.name", fmt::format("{} is reserved: {} logs in with this role; set another name",
                                           claim(resource_), connection_.text()));
    }

    void role() {
        name();
        mount("mount");
        not_the_login();
        // Vault knows an AppRole's identity by its role-id: another role's would bring that role's entity.
        if (const auto id = resource_.spec.find("roleID"); id != resource_.spec.end())
            if (const auto role_id = id->get<std::string>(); std::ranges::none_of(
                    grant_.names, [&](const std::string& glob) { return matches(glob, role_id); }))
                not_granted("spec.roleID", "role-id " + role_id, grant_.names);
        const Json& policies = resource_.spec.at("tokenPolicies");
        for (std::size_t i = 0; i < policies.size() && !is_full(); ++i) {
            const auto policy = policies[i].get<std::string>();
            const std::string place = fmt::format("spec.tokenPolicies[{}]", i);
            if (carries_power(stored_name(policy), reserved_)) continue;
            if (stored_name(policy) != "default" && !any_name(grant_.policies, policy))
                not_granted(place, "policy " + policy, grant_.policies);
        }
    }

    static bool names_segment(std::string_view granted, const PowerfulSegment& powerful);

    const Resource& resource_;
    const Resource& connection_;
    const std::set<std::string>& reserved_;
    const Mounts& mounts_;
    const Grant& grant_;
    const std::string& ns_;  // whose grant it is
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

std::optional<PowerfulSegment> powerful_segment(std::string_view acl_path, const Mounts& mounts) {
    const Path path = parse(acl_path);
    std::size_t end = 0;  // of everything before the segment, which has no pattern in it: `+` may be a word
    for (std::size_t i = 0; i < path.segments.size(); ++i) {
        if (i > 0 && i <= deepest_mount && mounts.paths.contains(acl_path.substr(0, end)))
            return std::nullopt;
        const std::string_view segment = path.segments[i];
        const bool is_open = path.open && i + 1 == path.segments.size();
        for (const std::string_view word : powerful_words) {
            if (is_open ? word.starts_with(segment) : segment == word || segment == "+")
                return PowerfulSegment{i, word, !is_open && segment == word};
        }
        end += segment.size() + (i > 0 ? 1 : 0);
    }
    if (!path.open) return std::nullopt;
    return PowerfulSegment{path.segments.size(), powerful_words.front(), false};
}

// Whether the granted path has the same word, as a whole segment, at the same place. What comes behind it is
// then in that word's own paths.
bool Judge::names_segment(std::string_view granted, const PowerfulSegment& powerful) {
    const Path grant = parse(granted);
    const std::size_t i = powerful.index;
    return powerful.by_letter && i < grant.segments.size() && grant.segments[i] == powerful.word &&
           (i + 1 < grant.segments.size() || !grant.open);
}

bool needs_mounts(const Resource& resource) {
    return std::ranges::any_of(bounded_paths(resource), [](std::string_view path) {
        const auto powerful = powerful_segment(path, {});
        return powerful && powerful->index > 0;
    });
}

Mounts assumed_mounts(const Resource& resource) {
    Mounts assumed{.unknown = "not read, because this command does not contact Vault"};
    for (const std::string_view path : bounded_paths(resource)) {
        const Path parsed = parse(path);
        const bool holds_word = std::ranges::any_of(parsed.segments, [](std::string_view segment) {
            return std::ranges::find(powerful_words, segment) != powerful_words.end();
        });
        if (!holds_word && parsed.segments.size() > 1 && parsed.segments.front() != "+")
            assumed.paths.emplace(parsed.segments.front());
    }
    return assumed;
}

namespace {

// What is reserved of the object itself: its mount, or the name of a policy.
std::vector<resources::Fault> reserved_objects(const Resource& resource,
                                               const std::set<std::string>& reserved) {
    std::vector<resources::Fault> faults;
    const KindId kind = resource.kind->id;
    const bool is_role = kind == KindId::vault_approle || kind == KindId::vault_kubernetes_role;
    if (kind == KindId::vault_mount || is_role) {
        const char* field = is_role ? "mount" : "path";
        const auto mount = resource.spec.at(field).get<std::string>();
        if (is_vaults_own_mount(mount, is_role || resource.spec.value("engine", "") == "Auth"))
            faults.push_back({fmt::format("spec.{}", field),
                              fmt::format("{} is a built-in mount of Vault; set another path", mount)});
    }
    if (kind == KindId::vault_policy) {
        const std::string name = stored_name(resource.spec.at("name").get<std::string>());
        if (name == "default" || carries_power(name, reserved))
            faults.push_back({"spec.name", fmt::format("{} is reserved: it is a built-in policy, or a policy "
                                                       "of the login that writes it; set another name",
                                                       name)});
    }
    return faults;
}

Judgement nothing_granted(const std::string& ns, const Resource& connection) {
    return {.faults = {{"spec.connectionRef",
                        fmt::format("{} has no grant for namespace {}; add one to spec.grants",
                                    connection.text(), ns)}},
            .rights = {}};
}

}  // namespace

std::vector<resources::Fault> reserved_faults(const Resource& resource,
                                              const std::set<std::string>& reserved) {
    std::vector<resources::Fault> faults = reserved_objects(resource, reserved);
    const KindId kind = resource.kind->id;
    if (kind == KindId::vault_approle || kind == KindId::vault_kubernetes_role) {
        const Json& policies = resource.spec.at("tokenPolicies");
        for (std::size_t i = 0; i < policies.size(); ++i)
            if (const auto& policy = policies[i].get_ref<const std::string&>();
                carries_power(stored_name(policy), reserved))
                faults.push_back({fmt::format("spec.tokenPolicies[{}]", i),
                                  fmt::format("{} is reserved: it is a built-in policy, or a policy of the "
                                              "login that writes the role; remove it",
                                              policy)});
    }
    return faults;
}

Judgement judge_removal(const Resource& resource, const Resource& connection,
                        const std::set<std::string>& reserved) {
    const std::string& ns = resource.kind->namespaced ? resource.ns : connection.ns;
    if (auto never = reserved_objects(resource, reserved); !never.empty())
        return {.faults = std::move(never), .rights = {}};
    Judgement allowed;
    std::optional<Judgement> nearest;
    const Mounts mounts;  // no path is looked at
    bool granted = false;
    for (const Grant& grant : grants_for(ns, connection)) {
        Judgement judgement = Judge(resource, connection, reserved, mounts, grant, ns).run_removal();
        if (judgement.faults.empty()) {
            granted = true;
            allowed.rights.adopt |= judgement.rights.adopt;
            allowed.rights.hcl |= judgement.rights.hcl;
            allowed.rights.revoke_tokens |= judgement.rights.revoke_tokens;
        } else if (!nearest) {
            nearest = std::move(judgement);
        }
    }
    if (granted) return allowed;
    if (nearest) {
        nearest->rights = {};
        return *std::move(nearest);
    }
    return nothing_granted(ns, connection);
}

std::optional<Resource> role_at(std::string_view path, std::string ns) {
    constexpr std::string_view auth = "auth/";
    constexpr std::string_view role = "/role/";
    const std::size_t at = path.rfind(role);
    if (!path.starts_with(auth) || at == std::string_view::npos || at <= auth.size()) return std::nullopt;
    Resource resource;
    resource.kind = &resources::kind_of(KindId::vault_approle);
    resource.ns = std::move(ns);
    resource.spec = {{"mount", path.substr(auth.size(), at - auth.size())},
                     {"name", path.substr(at + role.size())}};
    return resource;
}

Judgement judge(const Resource& resource, const Resource& connection, const std::set<std::string>& reserved,
                const Mounts& mounts) {
    const std::vector<resources::Fault> never = reserved_faults(resource, reserved);
    std::optional<Judgement> nearest;  // what is least in the way is told
    // What is in no namespace belongs to whoever runs the cluster, and uses the connection as its own
    // namespace does.
    const std::string& ns = resource.kind->namespaced ? resource.ns : connection.ns;
    for (const Grant& grant : grants_for(ns, connection)) {
        Judgement judgement = Judge(resource, connection, reserved, mounts, grant, ns).run();
        judgement.faults.insert(judgement.faults.begin(), never.begin(), never.end());
        if (judgement.faults.empty()) return judgement;
        if (!nearest || judgement.faults.size() < nearest->faults.size()) nearest = std::move(judgement);
    }
    if (nearest) return *std::move(nearest);
    return nothing_granted(ns, connection);
}

}  // namespace keyshepherd::planner
