#include <keyshepherd/kube/client.hpp>
#include <keyshepherd/net/wiped.hpp>

namespace keyshepherd::kube {

void wipe(std::string& text) {
    net::wipe(text);
}

void wipe(Json& json) {
    net::wipe(json);
}

}  // namespace keyshepherd::kube
