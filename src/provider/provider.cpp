#include <keyshepherd/core/server_address.hpp>
#include <keyshepherd/core/text.hpp>
#include <keyshepherd/provider/provider.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace keyshepherd::provider {

namespace {

using resources::Json;

// Of a message that goes into logs and the answers to reviews.
constexpr std::size_t longest_fault = 4096;

inject::Selector selector_of(const Json& given) {
    using enum inject::Requirement::Operator;
    inject::Selector selector;
    for (const auto& [key, value] : given.value("matchLabels", Json::object()).items())
        selector.push_back({.key = key, .op = in, .values = {value.get<std::string>()}});
    for (const Json& expression : given.value("matchExpressions", Json::array())) {
        const auto op = expression.at("operator").get<std::string>();
        selector.push_back({.key = expression.at("key").get<std::string>(),
                            .op = op == "In"       ? in
                                  : op == "NotIn"  ? not_in
                                  : op == "Exists" ? exists
                                                   : does_not_exist,
                            .values = expression.value("values", std::vector<std::string>())});
    }
    return selector;
}

std::vector<inject::Variable> variables_of(const Json& given) {
    std::vector<inject::Variable> variables;
    variables.reserve(given.size());
    for (const Json& each : given)
        variables.push_back({each.at("name").get<std::string>(), each.at("key").get<std::string>()});
    return variables;
}

inject::Connection connection_of(const Json& vault) {
    return {.address = vault.at("address").get<std::string>(),
            .vault_namespace = vault.value("namespace", ""),
            .ca = vault.value("caBundle", ""),
            .tls_server_name = vault.value("tlsServerName", "")};
}

inject::Login login_of(const Json& auth, const std::string& provider) {
    inject::Login login;
    login.type = auth.value("type", login.type);
    login.path = auth.value("path", "auth/" + login.type);
    login.role = auth.value("role", provider);
    login.audience = auth.value("audience", login.audience);
    login.secret = auth.value("secretName", "");
    return login;
}

// The parts that a provider and an override of it have in common. An absent part leaves `provider` as it is.
void take_parts(const Json& from, inject::Provider& provider) {
    provider.path = from.value("path", provider.path);
    if (const auto at = from.find("variables"); at != from.end()) provider.variables = variables_of(*at);
    if (const auto at = from.find("vault"); at != from.end()) provider.vault = connection_of(*at);
    if (const auto at = from.find("auth"); at != from.end()) provider.login = login_of(*at, provider.name);
}

// `is_whole`: a provider, as opposed to an override of one.
void check_parts(const Json& from, const std::string& path, bool is_whole, const Rules& rules,
                 std::vector<resources::Fault>& faults) {
    if (const auto vault = from.find("vault"); vault != from.end())
        if (!matches_address(rules.vault_addresses, vault->at("address").get<std::string>()))
            faults.push_back({path + ".vault.address",
                              "is not allowed by this installation; ask an administrator to add the address "
                              "to --allowed-vault-address"});
    const auto auth = from.find("auth");
    if (auth == from.end() && !is_whole) return;  // an override keeps the provider's
    const std::string fallback = inject::Login().audience;
    const std::string audience = auth == from.end() ? fallback : auth->value("audience", fallback);
    if (std::ranges::find(rules.token_audiences, audience) == rules.token_audiences.end())
        faults.push_back({path + ".auth.audience",
                          fmt::format("is {}, but this installation allows only {}; ask an administrator to "
                                      "add the audience to --allowed-token-audience",
                                      audience, fmt::join(rules.token_audiences, ", "))});
}

void take_spec(const resources::Resource& resource, inject::Declaration& declaration) {
    const Json& spec = resource.spec;
    inject::Provider& provider = declaration.provider;
    take_parts(spec, provider);
    const Json delivery = spec.value("delivery", Json::object());
    provider.secret_namespaces = selector_of(delivery.value("namespaceSelector", Json::object()));
    // Without a connection the operator sees no key that it could publish.
    if (delivery.value("secret", false) && spec.contains("connectionRef"))
        provider.secret = inject::published_secret(resource.kind->name, provider.name);
    for (const Json& each : spec.value("overrides", Json::array())) {
        inject::Override made{.namespaces = selector_of(each.at("namespaceSelector")),
                              .provider = provider,
                              .own_vault = each.contains("vault")};
        take_parts(each, made.provider);
        if (made.own_vault) made.provider.secret.clear();  // the operator does not look there
        declaration.overrides.push_back(std::move(made));
    }
}

}  // namespace

bool is_provider(const resources::Kind* kind) {
    return kind != nullptr &&
           (kind->id == resources::KindId::ai_provider || kind->id == resources::KindId::cluster_ai_provider);
}

inject::Declaration declare(const resources::Reading& reading, const inject::Connection& installation) {
    const resources::Resource& resource = reading.resource;
    inject::Declaration declaration;
    declaration.workload_namespace = resource.ns;
    declaration.provider.name = resource.name;
    declaration.provider.vault = installation;
    declaration.provider.login.path = "auth/kubernetes";
    declaration.provider.login.role = resource.name;
    std::string& fault = declaration.fault;
    for (const resources::Fault& each : reading.faults)
        fault += fmt::format("{}{} {}", fault.empty() ? "" : "; ", each.field, each.message);
    if (resource.kind->namespaced && resource.ns.empty())
        fault += fmt::format(
            "{}metadata.namespace is required for an AIProvider; use a ClusterAIProvider for all namespaces",
            fault.empty() ? "" : "; ");
    if (fault.empty())
        take_spec(resource, declaration);
    else
        fault = one_line(fmt::format("{}: {}", resource.text(), fault), longest_fault);
    return declaration;
}

std::vector<resources::Fault> disallowed(const resources::Resource& provider, const Rules& rules) {
    std::vector<resources::Fault> faults;
    check_parts(provider.spec, "spec", true, rules, faults);
    const Json overrides = provider.spec.value("overrides", Json::array());
    for (std::size_t i = 0; i < overrides.size(); ++i)
        check_parts(overrides[i], fmt::format("spec.overrides[{}]", i), false, rules, faults);
    return faults;
}

result<inject::Declaration> read(const Json& document, const inject::Connection& installation,
                                 const Rules& rules) {
    resources::Reading reading = resources::read(document, "");
    if (!resources::is_ours(document) || !is_provider(reading.resource.kind))
        return fail(Errc::invalid, "must be an AIProvider or ClusterAIProvider of keyshepherd.dev/v1alpha1");
    if (reading.faults.empty()) reading.faults = disallowed(reading.resource, rules);
    return declare(reading, installation);
}

}  // namespace keyshepherd::provider
