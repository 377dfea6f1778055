#include "layout.hpp"
#include "names.hpp"
#include "provider_document.hpp"

#include <keyshepherd/inject/provider.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace keyshepherd::inject {

namespace {

constexpr std::string_view built_in_name = "holysheep";

std::string fault_of(const ProviderDocument& document) {
    return fmt::format("{} {}: {}", document.kind, quoted(document.provider.name),
                       fmt::join(document.faults, "; "));
}

}  // namespace

std::string published_secret(std::string_view kind, std::string_view provider) {
    return fmt::format("{}{}{}", name_prefix, provider, kind == "ClusterAIProvider" ? ".cluster" : "");
}

Catalog Catalog::built_in(std::string vault_address, std::string vault_ca) {
    Catalog catalog;
    catalog.vault_ = {.address = std::move(vault_address),
                      .vault_namespace = "",
                      .ca = std::move(vault_ca),
                      .tls_server_name = ""};
    catalog.built_in_[std::string(built_in_name)].provider = {
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
    KEYSHEPHERD_TRY(ProviderDocument read, read_provider(document, vault_));
    const std::string name = read.provider.name;
    ByName& among = read.kind == "AIProvider" ? namespaced_[read.workload_namespace] : cluster_;
    if (among.contains(name)) read.faults.emplace_back("stands twice; keep one");
    if (!read.faults.empty()) return fail(Errc::invalid, fault_of(read));
    among[name] = {.provider = std::move(read.provider), .overrides = std::move(read.overrides), .fault = ""};
    return {};
}

result<void> Catalog::put(const json::value& document) {
    KEYSHEPHERD_TRY(ProviderDocument read, read_provider(document, vault_));
    const std::string name = read.provider.name;
    Entry entry{.provider = std::move(read.provider), .overrides = std::move(read.overrides), .fault = ""};
    if (!read.faults.empty()) {
        read.provider.name = name;
        entry.fault = fault_of(read);
    }
    const std::string fault = entry.fault;
    (read.kind == "AIProvider" ? namespaced_[read.workload_namespace] : cluster_)[name] = std::move(entry);
    if (!fault.empty()) return fail(Errc::invalid, fault);
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

const Catalog::Entry* Catalog::entry(std::string_view workload_namespace, std::string_view name) const {
    if (const auto own = namespaced_.find(workload_namespace); own != namespaced_.end())
        if (const auto at = own->second.find(name); at != own->second.end()) return &at->second;
    for (const ByName* among : {&cluster_, &built_in_})
        if (const auto at = among->find(name); at != among->end()) return &at->second;
    return nullptr;
}

result<const Provider*> Catalog::find(std::string_view workload_namespace, std::string_view name,
                                      const Labels* labels) const {
    const Entry* const found = entry(workload_namespace, name);
    if (found == nullptr) return fail(Errc::not_found, "is unknown");
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
                    fmt::format("its overrides go by labels of the namespace {} ({}), which are not known",
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
