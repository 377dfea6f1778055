#include <keyshepherd/kube/client.hpp>

#include <openssl/crypto.h>

namespace keyshepherd::kube {

void wipe(std::string& text) {
    // Up to its capacity: a shorter text may have taken the place of a longer one.
    text.resize(text.capacity());
    OPENSSL_cleanse(text.data(), text.size());
    text.clear();
}

void wipe(Json& json) {
    if (json.is_string()) {
        wipe(json.get_ref<std::string&>());
    } else if (json.is_structured()) {
        for (Json& each : json) wipe(each);
    }
}

}  // namespace keyshepherd::kube
