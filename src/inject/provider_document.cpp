#include "provider_document.hpp"

#include "names.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

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

    const json::array* array(const json::object& members, std::string_view path, std::string_view name) {
        const json::value* v = members.if_contains(name);
        if (v == nullptr || v->is_null()) return nullptr;
        if (const auto* a = v->if_array()) return a;
        fault(path, name, "must be a list");
        return nullptr;
    }

    void fault(std::string_view path, std::string_view name, std::string_view what) {
        faults_.push_back(fmt::format("{}.{} {}", path, name, what));
    }
    void fault(std::string whole) { faults_.push_back(std::move(whole)); }

private:
    std::vector<std::string>& faults_;
};

bool is_login(std::string_view text) {
    return text == "kubernetes" || text == "approle";
}
bool is_audience(std::string_view text) {
    return !text.empty();
}

bool is_label_text(std::string_view text) {
    return !text.empty() && text.size() <= 317 && text.find_first_of(" \t\n\"\\") == std::string_view::npos;
}

std::vector<Variable> read_variables(Reader& read, const json::array& list, std::string_view above) {
    std::vector<Variable> variables;
    std::set<std::string> names;
    for (std::size_t i = 0; i < list.size(); ++i) {
        const std::string path = fmt::format("{}.variables[{}]", above, i);
        const json::object* entry = list[i].if_object();
        if (entry == nullptr) {
            read.fault(path + " must be an object {name, key}");
            continue;
        }
        read.known(*entry, path, {"name", "key"});
        Variable variable{
            read.text(*entry, path, "name", is_variable_name, "a variable such as HOLYSHEEP_API_KEY"),
            read.text(*entry, path, "key", is_vault_key, "a field of the secret such as api_key")};
        if (Reader::absent(*entry, "name") || Reader::absent(*entry, "key"))
            read.fault(path + " must have both name and key");
        if (!variable.name.empty() && !names.insert(variable.name).second)
            read.fault(path, "name", "stands twice in the list");
        variables.push_back(std::move(variable));
    }
    return variables;
}

Connection read_vault(Reader& read, const json::object& vault, const std::string& path) {
    read.known(vault, path, {"address", "namespace", "caBundle", "tlsServerName"});
    Connection connection{
        .address = read.text(vault, path, "address", is_url, "an address such as https://vault.example:8200"),
        .vault_namespace =
            read.text(vault, path, "namespace", is_vault_path, "a Vault namespace such as team/ai"),
        .ca =
            read.text(vault, path, "caBundle", is_certificates,
                      "a PEM certificate, or several, and nothing else: it is published with every workload"),
        .tls_server_name = read.text(vault, path, "tlsServerName", is_dns_subdomain, "a host name")};
    if (Reader::absent(vault, "address")) read.fault(path, "address", "must be given");
    return connection;
}

Login read_login(Reader& read, const json::object& auth, const std::string& path, const std::string& role) {
    Login login;
    read.known(auth, path, {"type", "path", "role", "audience", "secretName"});
    const auto take = [](std::string& into, std::string text) {
        if (!text.empty()) into = std::move(text);
    };
    take(login.type, read.text(auth, path, "type", is_login, "kubernetes or approle"));
    login.path = "auth/" + login.type;
    take(login.path, read.text(auth, path, "path", is_vault_path, "a mount such as auth/kubernetes"));
    login.role = role;
    take(login.role, read.text(auth, path, "role", is_vault_name, "the name of a role"));
    take(login.audience, read.text(auth, path, "audience", is_audience, "an audience"));
    login.secret = read.text(auth, path, "secretName", is_dns_subdomain, "the name of a Secret");
    return login;
}

// What a provider and an override of it both have; what is absent leaves `provider` as it is.
void read_parts(Reader& read, const json::object& from, const std::string& path, Provider& provider) {
    if (!Reader::absent(from, "path"))
        provider.path =
            read.text(from, path, "path", is_vault_path, "an API path such as ai-apis/data/holysheep");
    if (!Reader::absent(from, "variables")) {
        const json::array* variables = from.at("variables").if_array();
        if (variables == nullptr || variables->empty())
            read.fault(path, "variables", "must be a list with at least one {name, key}; the API key first");
        else
            provider.variables = read_variables(read, *variables, path);
    }
    if (const json::object* vault = read.object(from, path, "vault"))
        provider.vault = read_vault(read, *vault, path + ".vault");
    if (const json::object* auth = read.object(from, path, "auth"))
        provider.login = read_login(read, *auth, path + ".auth", provider.name);
}

void read_match_labels(Reader& read, const json::object& labels, const std::string& path,
                       Selector& selector) {
    for (const auto& member : labels) {
        const auto* value = member.value().if_string();
        if (value == nullptr)
            read.fault(path, member.key(), "must be a text; quote it");
        else
            selector.push_back({.key = std::string(member.key()),
                                .op = Requirement::Operator::in,
                                .values = {std::string(*value)}});
    }
}

void read_match_expression(Reader& read, const json::object& expression, const std::string& path,
                           Selector& selector) {
    using enum Requirement::Operator;
    constexpr std::array<std::pair<std::string_view, Requirement::Operator>, 4> operators = {
        {{"In", in}, {"NotIn", not_in}, {"Exists", exists}, {"DoesNotExist", does_not_exist}}};
    read.known(expression, path, {"key", "operator", "values"});
    Requirement requirement{.key = read.text(expression, path, "key", is_label_text, "the name of a label")};
    if (Reader::absent(expression, "key")) read.fault(path, "key", "must be given");
    const json::value* given = expression.if_contains("operator");
    const auto at = std::ranges::find_if(operators, [&](const auto& each) {
        return given != nullptr && given->is_string() && given->get_string() == each.first;
    });
    if (at == operators.end())
        return read.fault(path, "operator", "must be In, NotIn, Exists or DoesNotExist");
    requirement.op = at->second;
    if (const json::array* values = read.array(expression, path, "values"))
        for (const json::value& value : *values) {
            if (const auto* text = value.if_string())
                requirement.values.emplace_back(*text);
            else
                read.fault(path, "values", "must be texts; quote them");
        }
    const bool with_values = requirement.op == in || requirement.op == not_in;
    if (with_values && requirement.values.empty())
        read.fault(path, "values", fmt::format("must have at least one value for {}", at->first));
    if (!with_values && !requirement.values.empty())
        read.fault(path, "values", fmt::format("must be absent: {} has none", at->first));
    selector.push_back(std::move(requirement));
}

Selector read_selector(Reader& read, const json::object& from, const std::string& path) {
    Selector selector;
    read.known(from, path, {"matchLabels", "matchExpressions"});
    if (const json::object* labels = read.object(from, path, "matchLabels"))
        read_match_labels(read, *labels, path + ".matchLabels", selector);
    if (const json::array* expressions = read.array(from, path, "matchExpressions"))
        for (std::size_t i = 0; i < expressions->size(); ++i) {
            const std::string place = fmt::format("{}.matchExpressions[{}]", path, i);
            if (const json::object* expression = (*expressions)[i].if_object())
                read_match_expression(read, *expression, place, selector);
            else
                read.fault(place + " must be an object {key, operator, values}");
        }
    return selector;
}

void read_override(Reader& read, const json::object& from, const std::string& path,
                   ProviderDocument& document) {
    read.known(from, path, {"namespaceSelector", "path", "variables", "vault", "auth"});
    Override override_{.namespaces = {}, .provider = document.provider};
    if (const json::object* selector = read.object(from, path, "namespaceSelector"))
        override_.namespaces = read_selector(read, *selector, path + ".namespaceSelector");
    // One for every namespace would hide the provider itself: more likely its labels were forgotten.
    if (override_.namespaces.empty())
        read.fault(path, "namespaceSelector",
                   "must have matchLabels or matchExpressions; what is for every namespace is the provider "
                   "itself");
    read_parts(read, from, path, override_.provider);
    if (!Reader::absent(from, "vault"))  // where the operator does not look
        override_.provider.secret.clear();
    if (std::ranges::all_of(std::array{"path", "variables", "vault", "auth"},
                            [&](const char* part) { return Reader::absent(from, part); }))
        read.fault(path + " must have path, variables, vault or auth: what it is to replace");
    document.overrides.push_back(std::move(override_));
}

void read_spec(Reader& read, const json::object& spec, ProviderDocument& document) {
    const bool cluster = document.kind == "ClusterAIProvider";
    if (cluster)
        read.known(spec, "spec",
                   {"vault", "path", "variables", "auth", "overrides", "connectionRef", "resyncPeriod",
                    "keyProbe", "delivery"});
    else
        read.known(
            spec, "spec",
            {"vault", "path", "variables", "auth", "connectionRef", "resyncPeriod", "keyProbe", "delivery"});
    read_parts(read, spec, "spec", document.provider);
    if (Reader::absent(spec, "path"))
        read.fault("spec", "path", "must be given: it must be an API path such as ai-apis/data/holysheep");
    if (Reader::absent(spec, "variables"))
        read.fault("spec", "variables", "must be a list with at least one {name, key}; the API key first");
    // What these say is the operator's business.
    if (const json::object* connection = read.object(spec, "spec", "connectionRef"))
        read.known(*connection, "spec.connectionRef", {"name", "namespace"});
    if (const json::object* probe = read.object(spec, "spec", "keyProbe"))
        read.known(*probe, "spec.keyProbe", {"enabled", "baseURL", "baseURLKey", "interval"});
    if (const json::object* delivery = read.object(spec, "spec", "delivery")) {
        if (cluster)
            read.known(*delivery, "spec.delivery", {"secret", "namespaceSelector"});
        else
            read.known(*delivery, "spec.delivery", {"secret"});
        if (const json::object* selector = read.object(*delivery, "spec.delivery", "namespaceSelector")) {
            document.provider.secret_namespaces =
                read_selector(read, *selector, "spec.delivery.namespaceSelector");
            if (document.provider.secret_namespaces.empty())
                read.fault("spec.delivery", "namespaceSelector",
                           "must have matchLabels or matchExpressions; leave it out for every namespace");
        }
        const json::value* asked = delivery->if_contains("secret");
        // Without a connection the operator sees no key that it could publish.
        if (asked != nullptr && *asked == json::value(true) && !Reader::absent(spec, "connectionRef"))
            document.provider.secret = published_secret(document.kind, document.provider.name);
    }
    const json::array* overrides = cluster ? read.array(spec, "spec", "overrides") : nullptr;
    for (std::size_t i = 0; overrides != nullptr && i < overrides->size(); ++i) {
        const std::string path = fmt::format("spec.overrides[{}]", i);
        if (const json::object* from = (*overrides)[i].if_object())
            read_override(read, *from, path, document);
        else
            read.fault(path + " must be an object");
    }
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

result<ProviderDocument> read_provider(const json::value& document, const Connection& vault) {
    const std::string_view kind = json::find_text(document, {"kind"});
    const std::string_view version = json::find_text(document, {"apiVersion"});
    const bool cluster = kind == "ClusterAIProvider";
    if (version != "keyshepherd.dev/v1alpha1" || (kind != "AIProvider" && !cluster))
        return fail(Errc::invalid,
                    fmt::format("is {} {}; give AIProvider or ClusterAIProvider of keyshepherd.dev/v1alpha1",
                                quoted(version), quoted(kind)));
    ProviderDocument found;
    Reader read(found.faults);
    found.kind = cluster ? "ClusterAIProvider" : "AIProvider";
    Provider& provider = found.provider;
    provider.name = json::find_text(document, {"metadata", "name"});
    provider.vault = vault;
    provider.login.path = "auth/kubernetes";
    provider.login.role = provider.name;
    if (!cluster) found.workload_namespace = json::find_text(document, {"metadata", "namespace"});
    if (!is_dns_label(provider.name))
        read.fault("metadata", "name", "must be a name such as holysheep (RFC 1123 label)");
    for (const std::string_view word :
         {"true", "t", "1", "false", "f", "0"})  // the annotation inject reads these as yes and no
        if (provider.name == word)
            read.fault("metadata", "name",
                       "must be a name that is neither a yes nor a no, such as holysheep");
    if (!cluster && !is_dns_label(found.workload_namespace))
        read.fault("metadata", "namespace", "must be given for an AIProvider; a ClusterAIProvider has none");
    if (const json::object* spec = json::find_object(document, {"spec"}))
        read_spec(read, *spec, found);
    else
        read.fault("spec must be an object");
    return found;
}

}  // namespace keyshepherd::inject
