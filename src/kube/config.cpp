#include "credentials.hpp"

#include <keyshepherd/core/base64.hpp>
#include <keyshepherd/core/json_field.hpp>
#include <keyshepherd/kube/client.hpp>
#include <keyshepherd/kube/config.hpp>
#include <keyshepherd/yaml/yaml.hpp>

#include <fmt/format.h>

#include <cstdlib>

namespace keyshepherd::kube {

namespace {

namespace fs = std::filesystem;

bool present(const Json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && !found->is_null() && *found != Json("") && *found != Json(false);
}

// The entry of a list of {name, <what>: {…}}; null when there is none.
const Json* named(const Json& config, const char* list, const std::string& name, const char* what) {
    const auto entries = config.find(list);
    if (entries == config.end() || !entries->is_array()) return nullptr;
    for (const Json& entry : *entries) {
        if (!entry.is_object() || text_at(entry, "name") != name) continue;
        const auto found = entry.find(what);
        return found != entry.end() && found->is_object() ? &*found : nullptr;
    }
    return nullptr;
}

// What stands in `<name>-data`, or in the file that `<name>` names; empty when neither does.
result<std::string> data_or_file(const Json& object, const std::string& name, const fs::path& folder) {
    if (const std::string data = text_at(object, name + "-data"); !data.empty()) {
        auto decoded = decode_base64(data);
        if (!decoded)
            return fail(Errc::invalid, fmt::format("kubeconfig: {}-data is not valid base64", name));
        return *std::move(decoded);
    }
    const std::string file = text_at(object, name);
    if (file.empty()) return std::string();
    const fs::path path = folder / file;
    auto read = read_file(path.string());
    if (!read)
        return fail(Errc::not_found, fmt::format("kubeconfig: {}: cannot read {}", name, path.string()));
    return *std::move(read);
}

result<void> read_server(const Json& cluster, Config& config) {
    const std::string server = text_at(cluster, "server");
    const auto scheme = server.find("://");
    const auto slash = scheme == std::string::npos ? scheme : server.find('/', scheme + 3);
    auto origin = net::Origin::parse(server.substr(0, slash));
    if (!origin) return fail(Errc::invalid, fmt::format("kubeconfig: server: {}", origin.error().message));
    config.origin = *std::move(origin);
    if (slash != std::string::npos) config.path_prefix = server.substr(slash);
    while (config.path_prefix.ends_with('/')) config.path_prefix.pop_back();
    if (config.path_prefix.find_first_of("?#") != std::string::npos)
        return fail(Errc::invalid, "kubeconfig: server: must not contain a query or a fragment");
    return {};
}

result<ExecPlugin> read_plugin(const Json& exec, const fs::path& folder) {
    ExecPlugin plugin;
    plugin.command = text_at(exec, "command");
    if (plugin.command.empty()) return fail(Errc::invalid, "kubeconfig: exec: command is missing");
    // As kubectl: a path with a slash is of the kubeconfig's folder, a bare name of $PATH.
    if (plugin.command.find('/') != std::string::npos) plugin.command = (folder / plugin.command).string();
    plugin.api_version = text_at(exec, "apiVersion");
    if (plugin.api_version != "client.authentication.k8s.io/v1" &&
        plugin.api_version != "client.authentication.k8s.io/v1beta1")
        return fail(
            Errc::invalid,
            fmt::format(
                "kubeconfig: exec: apiVersion {} is not supported; use client.authentication.k8s.io/v1",
                plugin.api_version));
    if (text_at(exec, "interactiveMode") == "Always")
        return fail(
            Errc::invalid,
            "kubeconfig: exec: interactiveMode: Always is not supported; use a plugin that needs no input");
    if (const auto provide = exec.find("provideClusterInfo"); provide != exec.end() && provide->is_boolean())
        plugin.cluster_info = provide->get<bool>();
    if (const auto arguments = exec.find("args"); arguments != exec.end() && arguments->is_array())
        for (const Json& each : *arguments)
            if (each.is_string()) plugin.arguments.push_back(each.get<std::string>());
    if (const auto variables = exec.find("env"); variables != exec.end() && variables->is_array())
        for (const Json& each : *variables)
            if (each.is_object())
                plugin.environment.emplace_back(text_at(each, "name"), text_at(each, "value"));
    return plugin;
}

result<void> read_user(const Json& user, const fs::path& folder, Config& config) {
    for (const char* name : {"username", "password", "auth-provider", "as", "as-uid", "as-groups"})
        if (present(user, name))
            return fail(Errc::invalid, fmt::format("kubeconfig: {} is not supported; use a token, a client "
                                                   "certificate or an exec plugin",
                                                   name));
    KEYSHEPHERD_TRY(config.tls.certificate, data_or_file(user, "client-certificate", folder));
    KEYSHEPHERD_TRY(config.tls.key, data_or_file(user, "client-key", folder));
    if (config.tls.certificate.empty() != config.tls.key.empty())
        return fail(Errc::invalid, "kubeconfig: client-certificate and client-key must be set together");
    config.token = text_at(user, "token");
    if (const std::string file = text_at(user, "tokenFile"); !file.empty())
        config.token_file = (folder / file).string();
    if (const auto exec = user.find("exec"); exec != user.end() && exec->is_object()) {
        KEYSHEPHERD_TRY(config.exec, read_plugin(*exec, folder));
    }
    return {};
}

}  // namespace

result<Config> from_kubeconfig(std::string_view text, const std::filesystem::path& folder) {
    const auto parsed_text = yaml::read(text);
    if (!parsed_text) return fail(parsed_text.error().code, "kubeconfig: " + parsed_text.error().message);
    const std::vector<yaml::Document>& documents = *parsed_text;
    if (documents.size() != 1 || !documents[0].json.is_object())
        return fail(Errc::invalid, "kubeconfig: must be a single YAML document with an object");
    std::string as_json = json::bj::serialize(documents[0].json);
    Json parsed = Json::parse(as_json, nullptr, false);
    wipe(as_json);

    const std::string context_name = text_at(parsed, "current-context");
    const Json* context = named(parsed, "contexts", context_name, "context");
    if (context == nullptr)
        return fail(Errc::invalid,
                    fmt::format("kubeconfig: current-context: context '{}' does not exist", context_name));
    const std::string cluster_name = text_at(*context, "cluster");
    const Json* cluster = named(parsed, "clusters", cluster_name, "cluster");
    if (cluster == nullptr)
        return fail(Errc::invalid, fmt::format("kubeconfig: cluster '{}' does not exist", cluster_name));
    Config config;
    for (const char* name : {"insecure-skip-tls-verify", "proxy-url"})
        if (present(*cluster, name))
            return fail(Errc::invalid, fmt::format("kubeconfig: {} is not supported", name));
    if (auto read = read_server(*cluster, config); !read) return std::unexpected(std::move(read).error());
    KEYSHEPHERD_TRY(config.tls.ca, data_or_file(*cluster, "certificate-authority", folder));
    config.tls.server_name = text_at(*cluster, "tls-server-name");
    const std::string user_name = text_at(*context, "user");
    if (!user_name.empty()) {
        const Json* user = named(parsed, "users", user_name, "user");
        if (user == nullptr)
            return fail(Errc::invalid, fmt::format("kubeconfig: user '{}' does not exist", user_name));
        if (auto read = read_user(*user, folder, config); !read)
            return std::unexpected(std::move(read).error());
    }
    wipe(parsed);
    if (!config.origin.tls && (!config.token.empty() || !config.token_file.empty() || config.exec))
        return fail(Errc::invalid, "kubeconfig: a token requires an https:// server");
    return config;
}

result<Config> in_cluster(const std::filesystem::path& root) {
    const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
    const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
    if (host == nullptr || *host == '\0' || port == nullptr || *port == '\0')
        return fail(Errc::not_found,
                    "this process does not run in a pod: KUBERNETES_SERVICE_HOST is not set");
    Config config;
    config.origin = net::Origin{true, host, port};
    const auto ca = read_file((root / "ca.crt").string());
    if (!ca) return fail(Errc::not_found, fmt::format("cannot read {}", (root / "ca.crt").string()));
    config.tls.ca = *ca;
    config.token_file = (root / "token").string();
    std::error_code ignored;
    if (!fs::exists(config.token_file, ignored))
        return fail(Errc::not_found,
                    fmt::format("{} does not exist; set automountServiceAccountToken: true in the pod",
                                config.token_file));
    if (const auto ns = read_file((root / "namespace").string()); ns) config.pod_namespace = *ns;
    return config;
}

result<Config> load(const std::string& file) {
    fs::path path = file;
    if (path.empty()) {
        if (const char* named_file = std::getenv("KUBECONFIG"); named_file != nullptr) path = named_file;
    }
    if (path.empty()) {
        const char* home = std::getenv("HOME");
        std::error_code ignored;
        if (home != nullptr && fs::exists(fs::path(home) / ".kube/config", ignored))
            path = fs::path(home) / ".kube/config";
    }
    if (path.empty()) {
        auto config = in_cluster();
        if (config || config.error().code != Errc::not_found) return config;
        return fail(
            Errc::not_found,
            fmt::format(
                "no Kubernetes configuration: set --kubeconfig or $KUBECONFIG, or create ~/.kube/config ({})",
                config.error().message));
    }
    auto text = read_file(path.string());
    if (!text) return fail(Errc::not_found, fmt::format("cannot read the kubeconfig {}", path.string()));
    auto config = from_kubeconfig(*text, fs::absolute(path).parent_path());
    wipe(*text);
    if (!config)
        return fail(config.error().code, fmt::format("{}: {}", path.string(), config.error().message));
    return config;
}

}  // namespace keyshepherd::kube
