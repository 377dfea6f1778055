// Providers for a catalog, out of their documents.
#pragma once

#include <keyshepherd/inject/provider.hpp>

#include <string_view>

namespace keyshepherd::test {

// `document` is JSON of an AIProvider or ClusterAIProvider.
result<void> add_provider(inject::Catalog& catalog, std::string_view document);
result<void> put_provider(inject::Catalog& catalog, std::string_view document);

}  // namespace keyshepherd::test
