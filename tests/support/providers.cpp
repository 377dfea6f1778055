#include "providers.hpp"

#include <keyshepherd/provider/provider.hpp>

namespace keyshepherd::test {

result<void> add_provider(inject::Catalog& catalog, std::string_view document) {
    KEYSHEPHERD_TRY(auto declared, provider::read(resources::Json::parse(document), catalog.installation()));
    return catalog.add(std::move(declared));
}

result<void> put_provider(inject::Catalog& catalog, std::string_view document) {
    KEYSHEPHERD_TRY(auto declared, provider::read(resources::Json::parse(document), catalog.installation()));
    return catalog.put(std::move(declared));
}

}  // namespace keyshepherd::test
