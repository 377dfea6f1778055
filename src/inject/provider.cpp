#include "names.hpp"

#include <keyshepherd/inject/provider.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace keyshepherd::inject {

namespace {

// Reads one document strictly: every fault is collected with its path, and an unknown member is a fault.
class Reader {
public:
    explicit Reader(std::vector<std::string>& faults) : faults_(faults) {}

    void known(const json::object& members, std::string_view path,
               std::initializer_list<std::string_view> names) {
        for (const auto& member : members)
            if (std::find(names.begin(), names.end(), member.key()) == names.end())
                fault(path, member.key(), fmt::format("is unknown; known are {}", fmt::join(names, ", ")));
    }

    // Gives "" and no fault where the member is absent.
    std::string text(const json::object& members, std::string_view path, std::string_view name,
                     bool (*good)(std::string_view), std::string_view right) {
        const json::value* v = members.if_contains(name);
        if (v == nullptr || v->is_null()) return "";
        const auto* t = v->if_string();
        if (t != nullptr && good(*t)) return std::string(*t);
        fault(path, name, fmt::format("must be {}", right));
        return "";
    }

    static bool absent(const json::object& members, std::string_view name) {
        const json::value* v = members.if_contains(name);
        return v == nullptr || v->is_null();
    }

    const json::object* object(const json::object& members, std::string_view path, std::string_view name) {
        const json::value* v = members.if_contains(name);
        if (v == nullptr || v->is_null()) return nullptr;
        if (const auto* o = v->if_object()) return o;
        fault(path, name, "must be an object");
        return nullptr;
    }

    void fault(std::string_view path, std::string_view name, std::string_view what) {
        faults_.push_back(fmt::format("{}.{} {}", path, name, what));
    }

private:
    std::vector<std::string>& faults_;
};

constexpr std::string_view built_in_name = "holysheep";

bool is_login(std::string_view text) {
    return text == "kubernetes" || text == "approle";
}
bool is_audience(std::string_view text) {
    return !text.empty();
}

}  // namespace

bool is_vault_address(std::string_view text) {
    return is_url(text);
}

// One or more certificates and nothing else: what stands here is published in an annotation of every
// workload.
bool is_certificates(std::string_view text) {
    constexpr std::string_view begin = "-----BEGIN CERTIFICATE-----", end = "-----END CERTIFICATE-----";
    std::size_t certificates = 0;
    while (true) {
        while (!text.empty() && (text.front() == '\n' || text.front() == '\r' || text.front() == ' '))
            text.remove_prefix(1);
        if (text.empty()) return certificates > 0;
        if (!text.starts_with(begin)) return false;
        const std::size_t close = text.find(end);
        if (close == std::string_view::npos) return false;
        const std::string_view body = text.substr(begin.size(), close - begin.size());
        if (body.find('-') != std::string_view::npos) return false;
        text.remove_prefix(close + end.size());
        ++certificates;
    }
}

Catalog Catalog::built_in(std::string vault_address, std::string vault_ca) {
    Catalog catalog;
    catalog.vault_ = {.address = std::move(vault_address),
                      .vault_namespace = "",
                      .ca = std::move(vault_ca),
                      .tls_server_name = ""};
    catalog.cluster_[std::string(built_in_name)] = {
        .name = std::string(built_in_name),
        .path = "ai-apis/data/holysheep",
        .variables = {{"HOLYSHEEP_API_KEY", "api_key"}, {"HOLYSHEEP_BASE_URL", "base_url"}},
        .vault = catalog.vault_,
        .login = {.type = "kubernetes",
                  .path = "auth/kubernetes",
                  .role = "holysheep",
                  .audience = "vault",
                  .secret = ""},
    };
    return catalog;
}

result<void> Catalog::add(const json::value& document) {
    std::vector<std::string> faults;
    Reader read(faults);
    const std::string_view kind = json::find_text(document, {"kind"});
    const std::string_view version = json::find_text(document, {"apiVersion"});
    if (version != "keyshepherd.dev/v1alpha1" || (kind != "AIProvider" && kind != "ClusterAIProvider"))
        return fail(Errc::invalid,
                    fmt::format("is {} {}; give AIProvider or ClusterAIProvider of keyshepherd.dev/v1alpha1",
                                quoted(version), quoted(kind)));
    Provider provider{.name = std::string(json::find_text(document, {"metadata", "name"})),
                      .path = "",
                      .variables = {},
                      .vault = {},
                      .login = {}};
    const std::string workload_namespace(json::find_text(document, {"metadata", "namespace"}));
    if (!is_dns_label(provider.name))
        read.fault("metadata", "name", "must be a name such as holysheep (RFC 1123 label)");
    for (const std::string_view word :
         {"true", "t", "1", "false", "f", "0"})  // the annotation inject reads these as yes and no
        if (provider.name == word)
            read.fault("metadata", "name",
                       "must be a name that is neither a yes nor a no, such as holysheep");
    if (kind == "AIProvider" && !is_dns_label(workload_namespace))
        read.fault("metadata", "namespace", "must be given for an AIProvider; a ClusterAIProvider has none");

    const json::object* spec = json::find_object(document, {"spec"});
    if (spec == nullptr) return fail(Errc::invalid, "spec must be an object");
    read.known(*spec, "spec", {"vault", "path", "variables", "auth"});
    provider.path =
        read.text(*spec, "spec", "path", is_vault_path, "an API path such as ai-apis/data/holysheep");
    if (Reader::absent(*spec, "path"))
        read.fault("spec", "path", "must be given: it must be an API path such as ai-apis/data/holysheep");

    std::set<std::string> names;
    const json::array* variables = json::find_array(document, {"spec", "variables"});
    if (variables == nullptr || variables->empty()) {
        read.fault("spec", "variables", "must be a list with at least one {name, key}; the API key first");
    } else {
        for (std::size_t i = 0; i < variables->size(); ++i) {
            const std::string path = fmt::format("spec.variables[{}]", i);
            const json::object* entry = (*variables)[i].if_object();
            if (entry == nullptr) {
                faults.push_back(path + " must be an object {name, key}");
                continue;
            }
            read.known(*entry, path, {"name", "key"});
            Variable variable{
                read.text(*entry, path, "name", is_variable_name, "a variable such as HOLYSHEEP_API_KEY"),
                read.text(*entry, path, "key", is_vault_key, "a field of the secret such as api_key")};
            if (Reader::absent(*entry, "name") || Reader::absent(*entry, "key"))
                faults.push_back(path + " must have both name and key");
            if (!variable.name.empty() && !names.insert(variable.name).second)
                read.fault(path, "name", "stands twice in the list");
            provider.variables.push_back(std::move(variable));
        }
    }

    if (const json::object* vault = read.object(*spec, "spec", "vault")) {
        read.known(*vault, "spec.vault", {"address", "namespace", "caBundle", "tlsServerName"});
        provider.vault.address = read.text(*vault, "spec.vault", "address", is_url,
                                           "an address such as https://vault.example:8200");
        provider.vault.vault_namespace =
            read.text(*vault, "spec.vault", "namespace", is_vault_path, "a Vault namespace such as team/ai");
        provider.vault.ca =
            read.text(*vault, "spec.vault", "caBundle", is_certificates,
                      "a PEM certificate, or several, and nothing else: it is published with every workload");
        provider.vault.tls_server_name =
            read.text(*vault, "spec.vault", "tlsServerName", is_dns_subdomain, "a host name");
        if (Reader::absent(*vault, "address")) read.fault("spec.vault", "address", "must be given");
    } else {
        provider.vault = vault_;
    }

    provider.login.role = provider.name;
    if (const json::object* auth = read.object(*spec, "spec", "auth")) {
        read.known(*auth, "spec.auth", {"type", "path", "role", "audience", "secretName"});
        const std::string type = read.text(*auth, "spec.auth", "type", is_login, "kubernetes or approle");
        if (!type.empty()) provider.login.type = type;
        provider.login.path =
            read.text(*auth, "spec.auth", "path", is_vault_path, "a mount such as auth/kubernetes");
        if (const std::string role =
                read.text(*auth, "spec.auth", "role", is_vault_name, "the name of a role");
            !role.empty())
            provider.login.role = role;
        if (const std::string audience =
                read.text(*auth, "spec.auth", "audience", is_audience, "an audience");
            !audience.empty())
            provider.login.audience = audience;
        provider.login.secret =
            read.text(*auth, "spec.auth", "secretName", is_dns_subdomain, "the name of a Secret");
    }
    if (provider.login.path.empty()) provider.login.path = "auth/" + provider.login.type;

    const bool built_in =
        kind == "ClusterAIProvider" && provider.name == built_in_name && !replaced_built_in_;
    const bool twice = kind == "AIProvider" ? namespaced_.contains({workload_namespace, provider.name})
                                            : cluster_.contains(provider.name) && !built_in;
    if (twice) faults.emplace_back("stands twice; keep one");
    if (!faults.empty())
        return fail(Errc::invalid,
                    fmt::format("{} {}: {}", kind, quoted(provider.name), fmt::join(faults, "; ")));
    if (kind == "AIProvider") {
        namespaced_[{workload_namespace, provider.name}] = std::move(provider);
    } else {
        replaced_built_in_ |= built_in;
        const std::string name = provider.name;
        cluster_[name] = std::move(provider);
    }
    return {};
}

const Provider* Catalog::find(std::string_view workload_namespace, std::string_view name) const {
    if (const auto own = namespaced_.find({std::string(workload_namespace), std::string(name)});
        own != namespaced_.end())
        return &own->second;
    const auto shared = cluster_.find(name);
    return shared == cluster_.end() ? nullptr : &shared->second;
}

bool Catalog::has(std::string_view name) const {
    return cluster_.contains(name) || std::any_of(namespaced_.begin(), namespaced_.end(),
                                                  [&](const auto& own) { return own.first.second == name; });
}

std::vector<std::string> Catalog::names(std::string_view workload_namespace) const {
    std::set<std::string> names;
    for (const auto& [name, provider] : cluster_) names.insert(name);
    for (const auto& [key, provider] : namespaced_)
        if (key.first == workload_namespace) names.insert(key.second);
    return {names.begin(), names.end()};
}

}  // namespace keyshepherd::inject
