#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/core/server_address.hpp>
#include <keyshepherd/resources/network.hpp>
#include <keyshepherd/resources/resource.hpp>

#include <boost/regex.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

namespace keyshepherd::resources {

namespace {

constexpr std::size_t most_faults = 50;

// Every pattern of the tables, compiled once; only read afterwards.
const boost::regex& compiled(std::string_view pattern) {
    static const auto table = [] {
        std::map<std::string_view, boost::regex> patterns;
        auto add = [&patterns](auto&& self, std::span<const Field> fields) -> void {
            for (const Field& field : fields) {
                if (!field.pattern.empty())
                    patterns.try_emplace(field.pattern, std::string(field.pattern), boost::regex::ECMAScript);
                self(self, field.members);
            }
        };
        for (const Kind& kind : kinds()) add(add, kind.spec);
        return patterns;
    }();
    return table.at(pattern);
}

// Unicode code points, as maxLength of a schema counts them (JSON Schema).
std::size_t characters(std::string_view text) {
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](unsigned char c) { return (c & 0xC0U) != 0x80U; }));
}

class Reader {
public:
    explicit Reader(std::vector<Fault>& faults) : faults_(faults) {}

    Json members(std::span<const Field> fields, const Json& given, const std::string& path) {
        Json read = Json::object();
        if (!given.is_object()) {
            fault(path, "must be an object");
            return read;
        }
        for (const auto& [name, unused] : given.items())
            if (find_field(fields, name) == nullptr)
                fault(path + "." + name, "is unknown" + near(fields, name));
        for (const Field& field : fields) {
            const auto at = given.find(field.name);
            const std::string place = path + "." + std::string(field.name);
            if (at == given.end() || at->is_null()) {
                if (field.required) fault(place, fmt::format("is required: {}", field.doc));
                if (!field.fallback.empty()) read[std::string(field.name)] = fallback(field);
                continue;
            }
            read[std::string(field.name)] = value(field, *at, place);
        }
        return read;
    }

    void fault(std::string field, std::string message) {
        if (faults_.size() < most_faults) faults_.push_back({std::move(field), std::move(message)});
    }

private:
    Json fallback(const Field& field) {
        Json value = Json::parse(field.fallback);
        return field.type == Type::object ? members(field.members, value, {}) : value;
    }

    static std::string near(std::span<const Field> fields, const std::string& name) {
        std::vector<std::string_view> names;
        for (const Field& field : fields) {
            if (std::ranges::equal(field.name, name, {}, ::tolower, ::tolower))
                return fmt::format("; did you mean {}?", field.name);
            names.push_back(field.name);
        }
        return fmt::format("; known fields are {}", fmt::join(names, ", "));
    }

    Json value(const Field& field, const Json& given, const std::string& path) {
        switch (field.type) {
            case Type::boolean:
                if (!given.is_boolean()) fault(path, "must be true or false");
                return given.is_boolean() ? given : Json(false);
            case Type::integer: {
                if (!given.is_number_integer()) {
                    fault(path, "must be an integer");
                    return field.min;
                }
                const auto number = given.get<std::int64_t>();
                if (number < field.min || number > std::min<long>(field.max, 2'000'000'000))
                    fault(path, fmt::format("must be between {} and {}", field.min,
                                            std::min<long>(field.max, 2'000'000'000)));
                return given;
            }
            case Type::duration:
                // The API server takes no number here either.
                if (given.is_number_unsigned())
                    fault(path, fmt::format("must be a string with a unit, such as \"{}s\"", given.dump()));
                else if (given.is_number())
                    fault(path, fmt::format("must be {}", field.expected));
                else if (const auto seconds = seconds_of(given); !seconds)
                    fault(path, fmt::format("must be {}, and at most 100 years", field.expected));
                else if (*seconds < field.min && !(field.zero_too && *seconds == 0))
                    fault(path,
                          fmt::format("must be at least {}s{}", field.min, field.zero_too ? ", or 0" : ""));
                return given;
            case Type::text:
            case Type::enumeration:
                text(field, given, path);
                return given.is_string() ? given : Json("");
            case Type::text_list:
            case Type::text_set:
            case Type::name_set:
            case Type::cidr_set:
            case Type::object_list:
                return list(field, given, path);
            case Type::text_map:
                if (!given.is_object()) {
                    fault(path, "must be an object with string values");
                    return Json::object();
                }
                if (std::cmp_greater(given.size(), field.max))
                    fault(path, fmt::format("must have at most {} entries", field.max));
                return members_of_map(field, given, path);
            case Type::object:
                return members(field.members, given, path);
        }
        return {};
    }

    // The API server drops a null among the members of a map, and so does this.
    Json members_of_map(const Field& field, const Json& given, const std::string& path) {
        Json read = Json::object();
        for (const auto& [key, element] : given.items()) {
            if (element.is_null()) continue;
            text(field, element, path + "." + key);
            if (element.is_string()) read[key] = element;
        }
        return read;
    }

    Json list(const Field& field, const Json& given, const std::string& path) {
        Json read = Json::array();
        if (!given.is_array()) {
            fault(path, "must be a list");
            return read;
        }
        const auto size = static_cast<long>(given.size());
        if (size < field.min)
            fault(path, field.min == 1 ? std::string("must not be empty")
                                       : fmt::format("must have at least {} elements", field.min));
        if (size > field.max) {
            fault(path, fmt::format("must have at most {} elements", field.max));
            return read;
        }
        std::set<std::string> seen;
        for (std::size_t i = 0; i < given.size(); ++i) {
            const std::string place = fmt::format("{}[{}]", path, i);
            if (field.type == Type::object_list) {
                read.push_back(members(field.members, given[i], place));
            } else {
                text(field, given[i], place);
                if (!given[i].is_string()) continue;
                // The pattern leaves open which texts with a colon are IPv6 addresses.
                if (field.type == Type::cidr_set && !canonical_network(given[i].get<std::string>()) &&
                    (faults_.empty() || faults_.back().field != place))
                    fault(place, fmt::format("must be {}", field.expected));
                // The API server refuses a repetition in a list of type set.
                if (field.type != Type::text_list && !seen.insert(given[i].get<std::string>()).second)
                    fault(place, "is a duplicate; remove it");
                read.push_back(given[i]);
            }
        }
        return read;
    }

    void text(const Field& field, const Json& given, const std::string& path) {
        if (!given.is_string()) return fault(path, "must be a string; put it in quotes");
        const auto& text = given.get_ref<const std::string&>();
        const long most = field.max_length != 0 ? field.max_length : 512;
        if (std::cmp_greater(characters(text), most))
            return fault(path, fmt::format("must have at most {} characters", most));
        if (!field.values.empty() && std::ranges::find(field.values, text) == field.values.end())
            return fault(path, fmt::format("must be one of {}", fmt::join(field.values, ", ")));
        if (text.ends_with('/') && !field.pattern.empty() &&
            !boost::regex_match(text, compiled(field.pattern)) &&
            boost::regex_match(text.begin(), text.end() - 1, compiled(field.pattern)))
            return fault(path, "must not end with '/'");
        if ((!field.pattern.empty() && !boost::regex_match(text, compiled(field.pattern))) ||
            (field.server_address && !parse_server_address(text)))
            fault(path, fmt::format("must be {}", field.expected));
    }

    std::vector<Fault>& faults_;
};

// RFC 1123, section 2.1.
bool is_label(std::string_view text) {
    static const boost::regex label("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", boost::regex::ECMAScript);
    return boost::regex_match(text.begin(), text.end(), label);
}

// As the API server checks them, for files that it has not seen.
void check_names(const Resource& resource, const Json& metadata, Reader& reader) {
    static const boost::regex subdomain{std::string(dns_subdomain), boost::regex::ECMAScript};
    static const boost::regex label{std::string(dns_label), boost::regex::ECMAScript};
    for (const char* field : {"name", "namespace"})
        if (metadata.is_object() && metadata.contains(field) && !metadata[field].is_string())
            return reader.fault(fmt::format("metadata.{}", field), "must be a string; put it in quotes");
    if (resource.name.empty())
        reader.fault("metadata.name", "is required");
    else if (resource.name.size() > longest_dns_subdomain || !boost::regex_match(resource.name, subdomain))
        reader.fault("metadata.name",
                     "must be an RFC 1123 subdomain: at most 253 lower-case letters, digits, '-' and '.', "
                     "and each part between dots must start and end with a letter or digit");
    if (!resource.ns.empty() &&
        (resource.ns.size() > longest_dns_label || !boost::regex_match(resource.ns, label)))
        reader.fault("metadata.namespace",
                     "must be an RFC 1123 label: at most 63 lower-case letters, digits and '-', starting and "
                     "ending with a letter or digit");
}

// Kubernetes refuses them. An unquoted `rotate-now: 1` or `paused: true` would go unheeded.
void check_texts(const Json& metadata, const char* field, Reader& reader) {
    const auto at = metadata.is_object() ? metadata.find(field) : metadata.end();
    if (!metadata.is_object() || at == metadata.end() || at->is_null()) return;
    const std::string place = fmt::format("metadata.{}", field);
    if (!at->is_object()) return reader.fault(place, "must be an object with string values");
    for (const auto& [name, value] : at->items())
        if (!value.is_string() && !value.is_null())
            reader.fault(fmt::format("{}.{}", place, name), "must be a string; put it in quotes");
}

void check_secret_id(const Json& spec, Reader& reader) {
    const auto seconds = [&](const char* field) {
        return seconds_of(spec.value(field, Json("0"))).value_or(0);
    };
    if (spec.value("secretName", "").ends_with("-pending"))
        reader.fault("spec.secretName",
                     "must not end with -pending: the operator uses that suffix for its own Secrets. Set "
                     "another name; the default is the name of the resource");
    if (seconds("maxOverlap") < seconds("overlap"))
        reader.fault("spec.maxOverlap", "must be at least spec.overlap");
    if (spec.contains("rotationPeriod") && seconds("rotationPeriod") < 1)
        reader.fault("spec.rotationPeriod",
                     "must be at least 1s; remove it to rotate after two thirds of the TTL");
    if (seconds("ttl") > 0 && seconds("rotationPeriod") >= seconds("ttl"))
        reader.fault(
            "spec.rotationPeriod",
            "must be shorter than spec.ttl, so that the rotation happens before the secret-id expires");
}

// Vault refuses it for any other: "tuning of user lockout configuration for auth type … not allowed".
void check_user_lockout(const Json& spec, Reader& reader) {
    static constexpr std::array<std::string_view, 3> types = {"approle", "userpass", "ldap"};
    if (!spec.at("config").contains("userLockoutConfig")) return;
    if (spec.value("engine", "") != "Auth" || std::ranges::find(types, spec.value("type", "")) == types.end())
        reader.fault("spec.config.userLockoutConfig",
                     "requires engine: Auth and type approle, userpass or ldap; remove it for other mounts");
}

void check_mount(const Json& spec, Reader& reader) {
    const std::string type = spec.value("type", "");
    const Json version = spec.at("options").value("version", Json());
    if ((type == "kv-v1" || type == "kv-v2") && version.is_string() &&
        version.get<std::string>() != type.substr(4))
        reader.fault("spec.options.version", fmt::format("contradicts spec.type: {}; remove it", type));
    if (spec.at("config").value("tokenType", "") != "default-service" && spec.value("engine", "") != "Auth")
        reader.fault("spec.config.tokenType", "requires engine: Auth; remove it for secrets engines");
    check_user_lockout(spec, reader);
}

void check_variables(const Json& from, const std::string& path, Reader& reader) {
    if (!from.contains("variables")) return;
    std::set<std::string> names;
    const Json& variables = from["variables"];
    for (std::size_t i = 0; i < variables.size(); ++i)
        if (!names.insert(variables[i].value("name", "")).second)
            reader.fault(fmt::format("{}.variables[{}].name", path, i), "is a duplicate; remove it");
}

// `instead`: what to do for every namespace.
void check_selector(const Json& selector, const std::string& path, std::string_view instead, Reader& reader) {
    const Json labels = selector.value("matchLabels", Json::object());
    const Json expressions = selector.value("matchExpressions", Json::array());
    if (labels.empty() && expressions.empty())
        reader.fault(path, fmt::format("must have matchLabels or matchExpressions; {}", instead));
    for (std::size_t i = 0; i < expressions.size(); ++i) {
        const auto op = expressions[i].value("operator", "");
        const bool takes_values = op == "In" || op == "NotIn";
        const bool has_values = !expressions[i].value("values", Json::array()).empty();
        if (takes_values != has_values)
            reader.fault(fmt::format("{}.matchExpressions[{}].values", path, i),
                         takes_values ? fmt::format("must have at least one value for {}", op)
                                      : fmt::format("must not be set: {} does not allow values", op));
    }
}

// The rules of the kinds' CEL expressions (kind.cpp), for documents that no API server has seen.
void check_provider(const Json& spec, Reader& reader) {
    check_variables(spec, "spec", reader);
    const Json delivery = spec.value("delivery", Json::object());
    if (delivery.contains("namespaceSelector"))
        check_selector(delivery["namespaceSelector"], "spec.delivery.namespaceSelector",
                       "remove the selector to select all namespaces", reader);
    const Json overrides = spec.value("overrides", Json::array());
    for (std::size_t i = 0; i < overrides.size(); ++i) {
        const std::string path = fmt::format("spec.overrides[{}]", i);
        check_variables(overrides[i], path, reader);
        check_selector(overrides[i].at("namespaceSelector"), path + ".namespaceSelector",
                       "to change all namespaces, change the provider itself", reader);
        static constexpr std::array<const char*, 4> parts = {"path", "variables", "vault", "auth"};
        if (std::ranges::none_of(parts, [&](const char* part) { return overrides[i].contains(part); }))
            reader.fault(path, "must set at least one of path, variables, vault and auth");
    }
}

void check_whole(const Resource& resource, Reader& reader) {
    const Json& spec = resource.spec;
    if (resource.kind->id == KindId::vault_mount) check_mount(spec, reader);
    // sys/mounts/x/tune is not a mount at x/tune, but the settings of x.
    if (resource.kind->id == KindId::vault_mount && ("/" + spec.value("path", "") + "/").contains("/tune/"))
        reader.fault("spec.path",
                     "must not have a segment `tune`, which Vault's API uses for the settings of a mount");
    if (resource.kind->named_in_annotation) {
        check_provider(spec, reader);
        static constexpr std::array<std::string_view, 6> words = {"true", "t", "1", "false", "f", "0"};
        if (std::ranges::find(words, resource.name) != words.end() || !is_label(resource.name))
            reader.fault("metadata.name",
                         "must be an RFC 1123 label such as holysheep, and not true, t, 1, false, f or 0: "
                         "workloads refer to it in an annotation");
    }
    if (resource.kind->id == KindId::vault_policy && spec.contains("rules") == spec.contains("hcl"))
        reader.fault("spec", "set either rules or hcl, but not both");
    if (resource.kind->id == KindId::vault_connection && spec.contains("auth") && spec["auth"].size() != 1)
        reader.fault("spec.auth", "set exactly one of kubernetes, jwt, appRole and token");
    if (resource.kind->id == KindId::vault_secret_id) check_secret_id(spec, reader);
    if (resource.kind->id == KindId::vault_approle && spec.value("revokeTokens", false) &&
        spec.value("tokenType", "").contains("batch"))
        reader.fault("spec.revokeTokens", "batch tokens cannot be revoked; set tokenType: service");
    if (resource.kind->id == KindId::vault_connection && spec.value("address", "").starts_with("http://"))
        for (const char* of_tls : {"ca", "tlsServerName"})
            if (spec.contains(of_tls))
                reader.fault(
                    fmt::format("spec.{}", of_tls),
                    "requires an https:// address; change spec.address to https://, or remove this field");
    if (resource.kind->id == KindId::vault_approle && spec.value("bindSecretID", true) == false &&
        spec.value("secretIDBoundCIDRs", Json::array()).empty() &&
        spec.value("tokenBoundCIDRs", Json::array()).empty())
        reader.fault("spec.bindSecretID",
                     "must not be false without secretIDBoundCIDRs or tokenBoundCIDRs; Vault requires at "
                     "least one constraint on a login");
}

}  // namespace

std::string Resource::text() const {
    if (kind != nullptr && !kind->namespaced) return fmt::format("{} {}", kind->name, name);
    return fmt::format("{} {}/{}", kind == nullptr ? "?" : kind->name, ns, name);
}

bool is_ours(const Json& object) {
    return text_at(object, "apiVersion").starts_with(std::string(group) + "/");
}

Reading read(const Json& object, std::string_view default_namespace) {
    Reading reading;
    Resource& resource = reading.resource;
    Reader reader(reading.faults);
    static const Json none = Json::object();
    const auto found = object.is_object() ? object.find("metadata") : object.end();
    const Json& metadata = object.is_object() && found != object.end() ? *found : none;
    if (metadata.is_object()) {
        resource.name = text_at(metadata, "name");
        resource.ns = text_at(metadata, "namespace");
        resource.uid = text_at(metadata, "uid");
        resource.created_at = text_at(metadata, "creationTimestamp");
        if (const auto at = metadata.find("generation"); at != metadata.end() && at->is_number_integer())
            resource.generation = at->get<std::int64_t>();
        resource.deletion_time = text_at(metadata, "deletionTimestamp");
        if (const auto at = metadata.find("annotations"); at != metadata.end() && at->is_object()) {
            resource.annotated = true;
            resource.mark = text_at(*at, claim_annotation);
            resource.paused = text_at(*at, paused_annotation) == "true";
            resource.rotate_now = text_at(*at, rotate_annotation);
            resource.acknowledged_cluster = text_at(*at, acknowledge_annotation);
            // An emergency brake is not the place to insist on a spelling.
            const std::string cut_off = text_at(*at, cut_off_annotation);
            resource.cut_off = !cut_off.empty() && cut_off != "false" && cut_off != "no" && cut_off != "0";
        }
        if (const auto at = metadata.find("finalizers"); at != metadata.end() && at->is_array())
            resource.finalized = std::ranges::find(*at, Json(finalizer)) != at->end();
    }
    if (const auto status = object.is_object() ? object.find("status") : object.end();
        status != object.end() && status->is_object()) {
        resource.claim = text_at(*status, "claim");
        resource.role_id = text_at(*status, "roleID");
        resource.connection = text_at(*status, "connection");
    }
    if (resource.ns.empty()) resource.ns = default_namespace;
    const std::string kind = text_at(object, "kind");
    resource.kind = find_kind(kind);
    if (resource.kind == nullptr) {
        std::vector<std::string_view> names;
        for (const Kind& known : kinds()) names.push_back(known.name);
        reader.fault("kind", fmt::format("{} is unknown; known kinds are {}", kind, fmt::join(names, ", ")));
        return reading;
    }
    if (!resource.kind->namespaced) resource.ns.clear();
    check_names(resource, metadata, reader);
    check_texts(metadata, "annotations", reader);
    check_texts(metadata, "labels", reader);
    if (text_at(object, "apiVersion") != fmt::format("{}/{}", group, version))
        reader.fault("apiVersion", fmt::format("must be {}/{}", group, version));
    const auto spec = object.find("spec");
    if (spec == object.end()) {
        reader.fault("spec", "is required");
        return reading;
    }
    resource.spec = reader.members(resource.kind->spec, *spec, "spec");
    if (resource.kind->id == KindId::vault_kubernetes_role &&
        !resource.spec.contains("boundServiceAccountNamespaces"))
        resource.spec["boundServiceAccountNamespaces"] = Json::array({resource.ns});
    if (resource.kind->id == KindId::vault_secret_id && !resource.spec.contains("secretName"))
        resource.spec["secretName"] = resource.name;
    if (reading.faults.empty()) check_whole(resource, reader);
    return reading;
}

}  // namespace keyshepherd::resources
