#include "layout.hpp"
#include "names.hpp"

#include <keyshepherd/inject/provider.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace keyshepherd::inject {

namespace {}  // namespace

std::string published_secret(std::string_view kind, std::string_view provider) {
    return fmt::format("{}{}{}", name_prefix, provider, kind == "ClusterAIProvider" ? ".cluster" : "");
}

// One or more certificates and nothing else: a CA is published in an annotation of every workload.
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

Catalog Catalog::built_in(std::string vault_address, std::string vault_ca, std::string audience,
                          bool may_shadow) {
    Catalog catalog;
    catalog.may_shadow_ = may_shadow;
    catalog.vault_ = {.address = std::move(vault_address),
                      .vault_namespace = "",
                      .ca = std::move(vault_ca),
                      .tls_server_name = ""};
    catalog.built_in_[std::string(built_in_provider)].provider = {
        .name = std::string(built_in_provider),
        .path = "ai-apis/data/holysheep",
        .variables = {{"HOLYSHEEP_API_KEY", "api_key"}, {"HOLYSHEEP_BASE_URL", "base_url"}},
        .vault = catalog.vault_,
        .login = {.type = "kubernetes",
                  .path = "auth/kubernetes",
                  .role = "holysheep",
                  .audience = std::move(audience),
                  .secret = ""},
    };
    return catalog;
}

Catalog::ByName& Catalog::among(const std::string& workload_namespace) {
    return workload_namespace.empty() ? cluster_ : namespaced_[workload_namespace];
}

result<void> Catalog::add(Declaration declaration) {
    if (!declaration.fault.empty()) return fail(Errc::invalid, declaration.fault);
    const std::string name = declaration.provider.name;
    const std::string ns = declaration.workload_namespace;
    if (!among(ns).try_emplace(name, std::move(declaration)).second)
        return fail(Errc::invalid,
                    fmt::format("{}{}: duplicate; keep one",
                                ns.empty() ? "ClusterAIProvider " : fmt::format("AIProvider {}/", ns), name));
    return {};
}

result<void> Catalog::put(Declaration declaration) {
    std::string fault = declaration.fault;
    const std::string name = declaration.provider.name;
    among(declaration.workload_namespace).insert_or_assign(name, std::move(declaration));
    if (!fault.empty()) return fail(Errc::invalid, std::move(fault));
    return {};
}

void Catalog::erase(std::string_view workload_namespace, std::string_view name) {
    const auto take = [name](ByName& among) {
        if (const auto at = among.find(name); at != among.end()) among.erase(at);
    };
    if (workload_namespace.empty()) return take(cluster_);
    const auto own = namespaced_.find(workload_namespace);
    if (own == namespaced_.end()) return;
    take(own->second);
    if (own->second.empty()) namespaced_.erase(own);
}

const Declaration* Catalog::entry(std::string_view workload_namespace, std::string_view name) const {
    const Declaration* const of_namespace = own(workload_namespace, name);
    const Declaration* const of_all = shared(name);
    if (of_all != nullptr && (of_namespace == nullptr || !may_shadow_)) return of_all;
    return of_namespace;
}

const Declaration* Catalog::own(std::string_view workload_namespace, std::string_view name) const {
    const auto in_namespace = namespaced_.find(workload_namespace);
    if (in_namespace == namespaced_.end()) return nullptr;
    const auto at = in_namespace->second.find(name);
    return at == in_namespace->second.end() ? nullptr : &at->second;
}

const Declaration* Catalog::shared(std::string_view name) const {
    for (const ByName* among : {&cluster_, &built_in_})
        if (const auto at = among->find(name); at != among->end()) return &at->second;
    return nullptr;
}

bool Catalog::is_overruled(std::string_view workload_namespace, std::string_view name) const {
    return !may_shadow_ && own(workload_namespace, name) != nullptr && shared(name) != nullptr;
}

bool Catalog::is_built_in(std::string_view name) const {
    return built_in_.contains(name) && !cluster_.contains(name);
}

result<const Provider*> Catalog::find(std::string_view workload_namespace, std::string_view name,
                                      const Labels* labels) const {
    const Declaration* const found = entry(workload_namespace, name);
    if (found == nullptr) return fail(Errc::not_found, "not found");
    if (!found->fault.empty()) return fail(Errc::invalid, found->fault);
    for (const Override& candidate : found->overrides) {
        switch (match(candidate.namespaces, workload_namespace, labels)) {
            case Match::yes:
                return &candidate.provider;
            case Match::no:
                break;
            case Match::unknown:
                // Not the next one: the key of another namespace's stage would be the wrong one.
                return fail(
                    Errc::unavailable,
                    fmt::format("its overrides depend on labels of namespace {} ({}), which are unknown",
                                workload_namespace, labels_of(candidate.namespaces)));
        }
    }
    return &found->provider;
}

bool Catalog::has(std::string_view name) const {
    return cluster_.contains(name) || built_in_.contains(name) ||
           std::ranges::any_of(namespaced_, [&](const auto& own) { return own.second.contains(name); });
}

std::vector<std::string> Catalog::names(std::string_view workload_namespace) const {
    std::set<std::string> names;
    const auto take = [&](const ByName& among) {
        for (const auto& [name, unused] : among)
            if (entry(workload_namespace, name)->fault.empty()) names.insert(name);
    };
    take(built_in_);
    take(cluster_);
    if (const auto own = namespaced_.find(workload_namespace); own != namespaced_.end()) take(own->second);
    return {names.begin(), names.end()};
}

std::size_t Catalog::faulty() const {
    const auto count = [](const ByName& among) {
        return std::ranges::count_if(among, [](const auto& each) { return !each.second.fault.empty(); });
    };
    auto faults = count(cluster_);
    for (const auto& [unused, own] : namespaced_) faults += count(own);
    return static_cast<std::size_t>(faults);
}

std::size_t Catalog::usable() const {
    std::size_t all = cluster_.size();
    for (const auto& [unused, own] : namespaced_) all += own.size();
    return all - faulty();
}

}  // namespace keyshepherd::inject
