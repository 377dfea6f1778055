#include "providers.hpp"

namespace keyshepherd::test {

result<void> add_provider(inject::Catalog& catalog, std::string_view document, const provider::Rules& rules) {
    KEYSHEPHERD_TRY(auto declared,
                    provider::read(resources::Json::parse(document), catalog.installation(), rules));
    return catalog.add(std::move(declared));
}

result<void> put_provider(inject::Catalog& catalog, std::string_view document, const provider::Rules& rules) {
    KEYSHEPHERD_TRY(auto declared,
                    provider::read(resources::Json::parse(document), catalog.installation(), rules));
    return catalog.put(std::move(declared));
}

}  // namespace keyshepherd::test
