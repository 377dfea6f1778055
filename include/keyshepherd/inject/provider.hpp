// An AI provider: where its keys rest in Vault, and the variables that carry them into a workload.
#pragma once

#include <keyshepherd/inject/selector.hpp>
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
    std::string secret = {};  // that the operator publishes with the variables, by their names; "": none
    Selector secret_namespaces = {};  // in which it may be published; empty: in every one
};

// The Secret that carries a provider's variables, in the namespace of whoever reads it. An AIProvider and a
// ClusterAIProvider of one name never have the same: no provider's name has a dot.
std::string published_secret(std::string_view kind, std::string_view provider);

// Whether `text` is http:// or https:// with a host, and holds no user, query or fragment.
bool is_vault_address(std::string_view text);

// Whether `text` is PEM certificates and nothing else: a CA is published in an annotation of every workload,
// so that a private key beside it must not pass.
bool is_certificates(std::string_view text);

// What a provider is in the namespaces that match, whole.
struct Override {
    Selector namespaces;
    Provider provider;
};

// Every provider a workload can name. Any number of threads may read it while none changes it.
class Catalog {
public:
    // The built-in provider `holysheep`, at `vault_address`.
    static Catalog built_in(std::string vault_address, std::string vault_ca = {});

    // Adds one AIProvider or ClusterAIProvider document, over a built-in of the same name.
    // Errc::invalid names the field by its path; nothing is added then.
    result<void> add(const json::value& document);

    // The same for a document that may have been there before, and now is so. One with faults still stands
    // for its name: who asks for it gets the fault, and neither what it was before nor another of that name.
    result<void> put(const json::value& document);
    // Takes out what has that name; `workload_namespace` is empty for a ClusterAIProvider.
    void erase(std::string_view workload_namespace, std::string_view name);

    // What the name means in that namespace: its own AIProvider, else a ClusterAIProvider, else the built-in;
    // then the first of its overrides that matches. `labels` are the namespace's; null: only its name is
    // known. Errc::not_found: nothing. Errc::invalid: its document has faults. Errc::unavailable: an override
    // depends on labels that are not known.
    result<const Provider*> find(std::string_view workload_namespace, std::string_view name,
                                 const Labels* labels = nullptr) const;
    bool has(std::string_view name) const;                                      // in whatever namespace
    std::vector<std::string> names(std::string_view workload_namespace) const;  // sorted; none with faults
    std::size_t usable() const;                                                 // of the documents
    std::size_t faulty() const;

private:
    struct Entry {
        Provider provider;
        std::vector<Override> overrides;
        std::string fault;  // why it cannot be used; "": it can
    };
    using ByName = std::map<std::string, Entry, std::less<>>;

    const Entry* entry(std::string_view workload_namespace, std::string_view name) const;

    Connection vault_;  // the installation's own, for documents that name none
    ByName built_in_;
    ByName cluster_;
    std::map<std::string, ByName, std::less<>> namespaced_;
};

}  // namespace keyshepherd::inject
