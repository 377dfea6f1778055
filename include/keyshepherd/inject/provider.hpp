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

// The name of the provider that every installation has.
inline constexpr std::string_view built_in_provider = "holysheep";

// Whether `text` is PEM certificates and nothing else: a CA is published in an annotation of every workload,
// so that a private key beside it must not pass.
bool is_certificates(std::string_view text);

// What a provider is in the namespaces that match, whole.
struct Override {
    Selector namespaces;
    Provider provider;
    bool own_vault = false;  // it names a Vault, which the operator does not look at
};

// One AIProvider or ClusterAIProvider as its document declares it; src/provider makes these.
struct Declaration {
    std::string workload_namespace = {};  // "": a ClusterAIProvider
    Provider provider = {};
    std::vector<Override> overrides = {};
    std::string fault = {};  // why it cannot be used, each fault with its field; "": it can
};

// Every provider a workload can name. Any number of threads may read it while none changes it.
class Catalog {
public:
    // The built-in provider, at `vault_address`, whose workloads' tokens are for `audience`. `may_shadow`: an
    // AIProvider takes the place of a ClusterAIProvider or the built-in provider of its name. Otherwise its
    // name is taken, and it is not used: the key of a workload does not depend on who may write AIProviders
    // in its namespace.
    static Catalog built_in(std::string vault_address, std::string vault_ca = {},
                            std::string audience = "vault", bool may_shadow = false);

    // The Vault of providers that name none.
    const Connection& installation() const { return vault_; }

    // Adds a provider, over a built-in of the same name. Errc::invalid: it has faults, or its name is taken;
    // nothing is added then.
    result<void> add(Declaration declaration);

    // Adds a provider in place of an earlier state of it. One with faults keeps its name: a workload that
    // asks for it gets the fault, neither the earlier state nor another provider of that name.
    // Errc::invalid: it has faults.
    result<void> put(Declaration declaration);
    // Takes out what has that name; `workload_namespace` is empty for a ClusterAIProvider.
    void erase(std::string_view workload_namespace, std::string_view name);

    // What the name means in that namespace: a ClusterAIProvider, else the built-in, else the namespace's own
    // AIProvider, which comes first where it may shadow; then the first of its overrides that matches.
    // `labels` are the namespace's; null: only its name is known. Errc::not_found: nothing. Errc::invalid:
    // its document has faults. Errc::unavailable: an override depends on labels that are not known.
    result<const Provider*> find(std::string_view workload_namespace, std::string_view name,
                                 const Labels* labels = nullptr) const;
    // Whether the namespace has an AIProvider of that name that is not used because the name is taken.
    bool is_overruled(std::string_view workload_namespace, std::string_view name) const;
    // Whether the name means the built-in provider, beside AIProviders.
    bool is_built_in(std::string_view name) const;
    bool has(std::string_view name) const;                                      // in whatever namespace
    std::vector<std::string> names(std::string_view workload_namespace) const;  // sorted; none with faults
    std::size_t usable() const;                                                 // of the documents
    std::size_t faulty() const;

private:
    using ByName = std::map<std::string, Declaration, std::less<>>;

    ByName& among(const std::string& workload_namespace);
    const Declaration* entry(std::string_view workload_namespace, std::string_view name) const;

    const Declaration* own(std::string_view workload_namespace, std::string_view name) const;
    const Declaration* shared(std::string_view name) const;

    Connection vault_;  // the installation's own, for documents that name none
    bool may_shadow_ = false;
    ByName built_in_;
    ByName cluster_;
    std::map<std::string, ByName, std::less<>> namespaced_;
};

}  // namespace keyshepherd::inject
