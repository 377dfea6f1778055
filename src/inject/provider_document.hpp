// AIProvider and ClusterAIProvider documents, read strictly.
#pragma once

#include <keyshepherd/inject/provider.hpp>

#include <string>
#include <vector>

namespace keyshepherd::inject {

struct ProviderDocument {
    std::string_view kind;           // a literal
    std::string workload_namespace;  // of an AIProvider
    Provider provider;
    std::vector<Override> overrides;
    std::vector<std::string> faults;  // every one, each begins with its field
};

// `vault` is for a document that names none. Errc::invalid: it is no document of a provider.
result<ProviderDocument> read_provider(const json::value& document, const Connection& vault);

}  // namespace keyshepherd::inject
