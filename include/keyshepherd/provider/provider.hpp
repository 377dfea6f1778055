// The one reader of AIProvider and ClusterAIProvider documents: the table of kinds checks a document, and
// this turns what was read into what the injector and the operator work with. Pure; any thread.
//
//     KEYSHEPHERD_TRY(auto declaration, provider::read(document, catalog.installation(), rules));
//     KEYSHEPHERD_TRY_CHECK(catalog.add(std::move(declaration)));
#pragma once

#include <keyshepherd/inject/provider.hpp>
#include <keyshepherd/resources/resource.hpp>

namespace keyshepherd::provider {

// Whether `kind` is AIProvider or ClusterAIProvider; null is neither.
bool is_provider(const resources::Kind* kind);

// What the installation allows to providers, of both kinds alike.
struct Rules {
    // Where a workload may log in: patterns of core/server_address.hpp, the installation's own Vault among
    // them.
    std::vector<std::string> vault_addresses = {};
    std::vector<std::string> token_audiences = {"vault"};
    bool may_shadow = false;  // an AIProvider takes the place of another provider of its name
};

// Where a provider, or an override of it, sends the workload's token to an address or for an audience that
// the installation does not allow. `provider` has no faults.
std::vector<resources::Fault> disallowed(const resources::Resource& provider, const Rules& rules);

// What a read provider declares. `installation` is the Vault of a provider that names none. A fault of the
// reading, each with its field, becomes Declaration::fault. `reading` is of a provider.
inject::Declaration declare(const resources::Reading& reading, const inject::Connection& installation);

// Reads a document and declares it. Errc::invalid: it is not a provider of keyshepherd.dev/v1alpha1; faults
// in a provider's fields are in the declaration.
// What `rules` do not allow is a fault too.
result<inject::Declaration> read(const resources::Json& document, const inject::Connection& installation,
                                 const Rules& rules);

}  // namespace keyshepherd::provider
