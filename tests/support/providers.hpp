// Providers for a catalog, out of their documents.
#pragma once

#include <keyshepherd/provider/provider.hpp>

#include <string_view>

namespace keyshepherd::test {

// Every https address that the tests use, and the audiences.
inline const provider::Rules test_rules{
    .vault_addresses = {"https://*:443", "https://*:8200", "https://*.example:8200",
                        "https://*.*.example:8200", "https://*.example:443", "http://v"},
    .token_audiences = {"vault", "bao"},
    .may_shadow = false};

// `document` is JSON of an AIProvider or ClusterAIProvider.
result<void> add_provider(inject::Catalog& catalog, std::string_view document,
                          const provider::Rules& rules = test_rules);
result<void> put_provider(inject::Catalog& catalog, std::string_view document,
                          const provider::Rules& rules = test_rules);

}  // namespace keyshepherd::test
