// The one reader of AIProvider and ClusterAIProvider documents: the table of kinds checks a document, and
// this turns what was read into what the injector and the operator work with. Pure; any thread.
//
//     KEYSHEPHERD_TRY(auto declaration, provider::read(document, catalog.installation()));
//     KEYSHEPHERD_TRY_CHECK(catalog.add(std::move(declaration)));
#pragma once

#include <keyshepherd/inject/provider.hpp>
#include <keyshepherd/resources/resource.hpp>

namespace keyshepherd::provider {

// Whether `kind` is AIProvider or ClusterAIProvider; null is neither.
bool is_provider(const resources::Kind* kind);

// What a read provider declares. `installation` is the Vault of a provider that names none. A fault of the
// reading, each with its field, becomes Declaration::fault. `reading` is of a provider.
inject::Declaration declare(const resources::Reading& reading, const inject::Connection& installation);

// Reads a document and declares it. Errc::invalid: it is not a provider of keyshepherd.dev/v1alpha1; faults
// in a provider's fields are in the declaration.
result<inject::Declaration> read(const resources::Json& document, const inject::Connection& installation);

}  // namespace keyshepherd::provider
