#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/planner/vault_rules.hpp>
#include <keyshepherd/resources/network.hpp>

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>

namespace keyshepherd::planner {

namespace {

using resources::KindId;
using Faults = std::vector<resources::Fault>;

std::int64_t seconds(const Json& spec, const char* field) {
    const auto at = spec.find(field);
    return at == spec.end() ? 0 : resources::seconds_of(*at).value_or(0);
}

// Where both are limited.
bool is_over(std::int64_t wanted, std::int64_t limit) {
    return wanted > 0 && limit > 0 && wanted > limit;
}

void check_token(const Json& spec, Faults& faults) {
    // "'token_ttl' cannot be greater than 'token_max_ttl'"
    if (is_over(seconds(spec, "tokenTTL"), seconds(spec, "tokenMaxTTL")))
        faults.push_back({"spec.tokenTTL", "must not exceed spec.tokenMaxTTL"});
    const std::string type = text_at(spec, "tokenType");
    if (type != "batch" && type != "default-batch") return;
    // "'token_type' cannot be 'batch' or 'default_batch' when set to generate …"
    if (spec.value("tokenNumUses", std::int64_t{0}) != 0)
        faults.push_back({"spec.tokenNumUses", "must be 0: batch tokens do not support a use limit"});
    if (seconds(spec, "tokenPeriod") != 0)
        faults.push_back({"spec.tokenPeriod", "must be 0: batch tokens cannot be renewed"});
}

// "can not mix \"*\" with values"
void check_star(const Json& spec, const char* field, Faults& faults) {
    const auto at = spec.find(field);
    if (at != spec.end() && at->size() > 1 && std::ranges::find(*at, Json("*")) != at->end())
        faults.push_back({fmt::format("spec.{}", field), "must not contain other names in addition to *"});
}

// Vault answers a write with success and leaves out what it does not know. Of an object that is there Vault
// names every parameter that it knows.
void check_parameters(const Resource& resource, const Observation& observed, Faults& faults) {
    const auto held = observed.find(claim(resource));
    const auto listed = observed.find(parameters_key(resource));
    for (const resources::Field* field : wanted_not_everywhere(resource)) {
        bool is_known = true;
        if (held != observed.end() && held->second)
            is_known = held->second->contains(field->vault);
        else if (listed != observed.end() && listed->second)
            is_known = std::ranges::find(*listed->second, Json(field->vault)) != listed->second->end();
        if (!is_known)
            faults.push_back(
                {fmt::format("spec.{}", field->name),
                 fmt::format("must be {} or not set: this server does not support {} and would ignore it",
                             field->fallback, field->vault)});
    }
}

void check_policy(const Json& spec, Faults& faults) {
    const Json rules = spec.value("rules", Json::array());
    for (std::size_t i = 0; i < rules.size(); ++i) {
        // "max_wrapping_ttl cannot be less than min_wrapping_ttl"
        if (is_over(seconds(rules[i], "minWrappingTTL"), seconds(rules[i], "maxWrappingTTL")))
            faults.push_back(
                {fmt::format("spec.rules[{}].minWrappingTTL", i), "must not exceed maxWrappingTTL"});
        // "invalid use of wildcards ('+*' is forbidden)"
        if (text_at(rules[i], "path").contains("+*"))
            faults.push_back({fmt::format("spec.rules[{}].path", i),
                              "must not contain +*; use + for one segment, or a trailing * for any suffix"});
    }
}

// The mount in whose place, or over which, `path` would lie; "": none. "path is already in use at …"
std::string mount_in_use(const Json& mounts, const std::string& path) {
    const std::string wanted = path + "/";
    if (!mounts.is_object() || mounts.contains(wanted)) return "";
    for (const auto& [name, unused] : mounts.items())
        if (wanted.starts_with(name) || name.starts_with(wanted)) return name;
    return "";
}

void check_mount(const Json& spec, const Observation& observed, Faults& faults) {
    static constexpr std::array<std::string_view, 5> built_in = {"audit", "auth", "cubbyhole", "identity",
                                                                 "sys"};
    const std::string path = text_at(spec, "path");
    const bool is_secret = text_at(spec, "engine") != "Auth";
    const std::string first = path.substr(0, path.find('/'));
    // "cannot mount \"sys/\""
    if (is_secret && std::ranges::find(built_in, first) != built_in.end())
        faults.push_back(
            {"spec.path", fmt::format("must not start with {}, which is a built-in mount of Vault", first)});
    if (const auto held = observed.find(is_secret ? "sys/mounts" : "sys/auth");
        held != observed.end() && held->second)
        if (const std::string other = mount_in_use(*held->second, path); !other.empty())
            faults.push_back(
                {"spec.path",
                 fmt::format(
                     "must not be inside another mount, or contain one; it conflicts with the mount {}",
                     other)});
    const Json config = spec.value("config", Json::object());
    // "given default lease TTL greater than given max lease TTL"
    if (is_over(seconds(config, "defaultLeaseTTL"), seconds(config, "maxLeaseTTL")))
        faults.push_back({"spec.config.defaultLeaseTTL", "must not exceed spec.config.maxLeaseTTL"});
    // "invalid version provided: 3"
    const std::string version = text_at(spec.value("options", Json::object()), "version");
    if (text_at(spec, "type") == "kv" && !version.empty() && version != "1" && version != "2")
        faults.push_back({"spec.options.version", "must be \"1\" or \"2\""});
}

struct Network {
    std::array<unsigned char, 16> bytes{};
    int family = AF_INET;
    unsigned prefix = 0;
};

std::optional<Network> network_of(const std::string& text) {
    const auto canonical = resources::canonical_network(text, true);
    if (!canonical) return std::nullopt;
    const std::size_t slash = canonical->find('/');
    const std::string address = canonical->substr(0, slash);
    Network network;
    if (inet_pton(AF_INET, address.c_str(), network.bytes.data()) != 1) {
        network.family = AF_INET6;
        if (inet_pton(AF_INET6, address.c_str(), network.bytes.data()) != 1) return std::nullopt;
    }
    std::from_chars(canonical->data() + slash + 1, canonical->data() + canonical->size(), network.prefix);
    return network;
}

bool lies_in(const Network& inner, const Network& outer) {
    if (inner.family != outer.family || inner.prefix < outer.prefix) return false;
    for (unsigned bit = 0; bit < outer.prefix; ++bit)
        if (((inner.bytes[bit / 8] ^ outer.bytes[bit / 8]) & (0x80U >> (bit % 8))) != 0) return false;
    return true;
}

// "failed to verify subset relationship between CIDR blocks on the role … and … on the secret ID"
void check_networks(const Json& wanted, const Json& allowed, const char* field, const char* of_role,
                    Faults& faults) {
    if (allowed.empty()) return;
    for (const Json& each : wanted) {
        const auto inner = network_of(each.get<std::string>());
        const bool is_within = inner && std::ranges::any_of(allowed, [&](const Json& outer) {
                                   const auto network = network_of(outer.get<std::string>());
                                   return network && lies_in(*inner, *network);
                               });
        if (inner && !is_within)
            faults.push_back({fmt::format("spec.{}", field), fmt::format("{} is not within the role's {}",
                                                                         each.get<std::string>(), of_role)});
    }
}

}  // namespace

std::vector<const resources::Field*> wanted_not_everywhere(const Resource& resource) {
    std::vector<const resources::Field*> wanted;
    for (const resources::Field& field : resource.kind->spec) {
        if (!field.not_everywhere) continue;
        const auto at = resource.spec.find(field.name);
        if (at != resource.spec.end() && *at != Json::parse(field.fallback)) wanted.push_back(&field);
    }
    return wanted;
}

Faults vault_faults(const Resource& resource, const Observation& observed) {
    Faults faults;
    check_parameters(resource, observed, faults);
    const KindId kind = resource.kind->id;
    if (kind == KindId::vault_mount) check_mount(resource.spec, observed, faults);
    if (kind == KindId::vault_policy) check_policy(resource.spec, faults);
    if (kind == KindId::vault_approle || kind == KindId::vault_kubernetes_role)
        check_token(resource.spec, faults);
    if (kind == KindId::vault_kubernetes_role)
        for (const char* field : {"boundServiceAccountNames", "boundServiceAccountNamespaces"})
            check_star(resource.spec, field, faults);
    return faults;
}

Faults secret_id_faults(const Resource& secret_id, const Resource& role) {
    Faults faults;
    const Json& spec = secret_id.spec;
    // "ttl cannot be longer than the role's secret_id_ttl"
    if (is_over(seconds(spec, "ttl"), seconds(role.spec, "secretIDTTL")))
        faults.push_back({"spec.ttl", "must not exceed the role's secretIDTTL"});
    // "num_uses cannot be higher than the role's secret_id_num_uses"
    if (is_over(spec.value("numUses", std::int64_t{0}), role.spec.value("secretIDNumUses", std::int64_t{0})))
        faults.push_back({"spec.numUses", "must not exceed the role's secretIDNumUses"});
    const auto networks = [](const Resource& of, const char* field) {
        return of.spec.value(field, Json::array());
    };
    check_networks(networks(secret_id, "cidrs"), networks(role, "secretIDBoundCIDRs"), "cidrs",
                   "secretIDBoundCIDRs", faults);
    check_networks(networks(secret_id, "tokenBoundCIDRs"), networks(role, "tokenBoundCIDRs"),
                   "tokenBoundCIDRs", "tokenBoundCIDRs", faults);
    return faults;
}

std::string text_of(const Faults& faults) {
    std::string text;
    for (const resources::Fault& fault : faults)
        text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", fault.field, fault.message);
    return text;
}

}  // namespace keyshepherd::planner
