#include <keyshepherd/core/build.hpp>

namespace keyshepherd {

std::string_view version() {
    return KEYSHEPHERD_VERSION;
}
std::string_view commit() {
    return KEYSHEPHERD_COMMIT;
}
std::string_view build() {
    return KEYSHEPHERD_BUILD;
}

}  // namespace keyshepherd
