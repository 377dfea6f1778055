#include "support/golden.hpp"

#include "support/providers.hpp"

#include <keyshepherd/yaml/yaml.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <stdexcept>

namespace keyshepherd::golden {

namespace {

std::string read(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error(fmt::format("cannot read {}", path.string()));
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

json::value read_yaml(const std::filesystem::path& path) {
    auto documents = yaml::read(read(path));
    if (!documents) throw std::runtime_error(fmt::format("{}: {}", path.string(), documents.error().message));
    if (documents->size() != 1)
        throw std::runtime_error(fmt::format("{}: one document is expected", path.string()));
    return documents->front().json;
}

Case load(const std::filesystem::path& folder) {
    Case c;
    c.name = folder.filename().string();
    c.folder = folder;
    const std::set<std::string> known = {"input.yaml", "old.yaml",    "case.yaml",
                                         "patch.json", "result.json", "providers.yaml"};
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        if (!known.contains(entry.path().filename().string()))
            throw std::runtime_error(fmt::format("{}: unknown file", entry.path().string()));
    c.input = json::bj::serialize(read_yaml(folder / "input.yaml"));
    if (std::filesystem::exists(folder / "old.yaml"))
        c.old = json::bj::serialize(read_yaml(folder / "old.yaml"));
    c.expect = to_nlohmann(read_yaml(folder / "case.yaml"));
    for (const auto& [key, value] : c.expect.items())
        if (!std::set<std::string>{"about", "settings", "verdict", "reason", "assert", "absent", "warnings",
                                   "faults", "server"}
                 .contains(key))
            throw std::runtime_error(fmt::format("{}: unknown member {} in case.yaml", c.name, key));
    const nlohmann::json settings = c.expect.value("settings", nlohmann::json::object());
    bool shadowing = false;
    for (const auto& [key, value] : settings.items()) {
        if (key == "kubernetes") {
            c.settings.kubernetes = parse_kubernetes_version(value.get<std::string>()).value();
        } else if (key == "lowestKubelet") {
            c.settings.lowest_kubelet = parse_kubernetes_version(value.get<std::string>()).value();
        } else if (key == "allowedVaultAddresses") {
            c.settings.allowed_vault_addresses = value.get<std::vector<std::string>>();
        } else if (key == "allowedTokenAudiences") {
            c.settings.allowed_token_audiences = value.get<std::vector<std::string>>();
        } else if (key == "providerShadowing") {
            shadowing = value.get<bool>();
        } else if (key == "agentFlavor") {
            c.settings.agent_flavor = value.get<std::string>();
        } else if (key == "baoImage") {
            c.settings.bao_image = value.get<std::string>();
        } else {
            throw std::runtime_error(fmt::format("{}: unknown setting {}", c.name, key));
        }
    }
    c.catalog = inject::Catalog::built_in("https://vault.example:8200",
                                          "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
                                          c.settings.allowed_token_audiences.front(), shadowing);
    if (std::filesystem::exists(folder / "providers.yaml")) {
        auto documents = yaml::read(read(folder / "providers.yaml"));
        if (!documents) throw std::runtime_error(fmt::format("{}: {}", c.name, documents.error().message));
        for (const auto& document : *documents)
            if (auto added = test::add_provider(c.catalog, json::bj::serialize(document.json)); !added)
                throw std::runtime_error(fmt::format("{}: {}", c.name, added.error().message));
    }
    return c;
}

}  // namespace

std::vector<Case> cases() {
    std::vector<Case> all;
    for (const auto& entry :
         std::filesystem::directory_iterator(std::filesystem::path(KEYSHEPHERD_TESTS) / "golden/inject"))
        if (entry.is_directory()) all.push_back(load(entry.path()));
    std::sort(all.begin(), all.end(), [](const Case& a, const Case& b) { return a.name < b.name; });
    return all;
}

nlohmann::json operations(const inject::Outcome& outcome) {
    return outcome.patch.empty() ? nlohmann::json::array() : nlohmann::json::parse(outcome.patch);
}

nlohmann::json to_nlohmann(const json::value& v) {
    return nlohmann::json::parse(json::bj::serialize(v));
}

}  // namespace keyshepherd::golden
