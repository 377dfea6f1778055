// An AI provider: where its keys rest in Vault, and the variables that carry them into a workload.
#pragma once

#include <keyshepherd/json/value.hpp>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::inject {

struct Variable {
    std::string name;  // HOLYSHEEP_API_KEY
    std::string key;   // api_key, a field of the secret
};

struct Login {
    std::string type = "kubernetes";  // or "approle"
    std::string path;                 // "auth/kubernetes"; empty: auth/<type>
    std::string role;                 // of the Kubernetes auth method
    std::string audience = "vault";   // of the projected token
    std::string secret;               // AppRole: Secret with role_id and secret_id
    bool operator==(const Login&) const = default;
};

struct Connection {
    std::string address;  // https://vault.example:8200
    std::string vault_namespace;
    std::string ca;  // PEM, or empty for the agent image's own roots
    std::string tls_server_name;
    bool operator==(const Connection&) const = default;
};

struct Provider {
    std::string name;
    std::string path;                 // API path: ai-apis/data/holysheep
    std::vector<Variable> variables;  // the key first
    Connection vault;
    Login login;
};

// Whether `text` is http:// or https:// with a host, and holds no user, query or fragment.
bool is_vault_address(std::string_view text);

// Whether `text` is PEM certificates and nothing else: a CA is published in an annotation of every workload,
// so that a private key beside it must not pass.
bool is_certificates(std::string_view text);

// Every provider a workload can name. Immutable once built, so it may be read from any thread.
class Catalog {
public:
    // The built-in provider `holysheep`, at `vault_address`.
    static Catalog built_in(std::string vault_address, std::string vault_ca = {});

    // Adds one AIProvider or ClusterAIProvider document, over a built-in of the same name.
    // Errc::invalid names the field by its path.
    result<void> add(const json::value& document);

    // The namespace's own AIProvider wins over a ClusterAIProvider and the built-in of that name.
    const Provider* find(std::string_view workload_namespace, std::string_view name) const;
    bool has(std::string_view name) const;                                      // in whatever namespace
    std::vector<std::string> names(std::string_view workload_namespace) const;  // sorted

private:
    Connection vault_;  // the installation's own, for documents that name none
    bool replaced_built_in_ = false;
    std::map<std::string, Provider, std::less<>> cluster_;
    std::map<std::pair<std::string, std::string>, Provider> namespaced_;
};

}  // namespace keyshepherd::inject
