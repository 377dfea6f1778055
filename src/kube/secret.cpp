#include <keyshepherd/core/base64.hpp>
#include <keyshepherd/kube/secret.hpp>

namespace keyshepherd::kube {

std::string secret_value(const Json& secret, std::string_view key) {
    const auto data = secret.is_object() ? secret.find("data") : secret.end();
    if (!secret.is_object() || data == secret.end() || !data->is_object()) return {};
    const auto at = data->find(key);
    if (at == data->end() || !at->is_string()) return {};
    return decode_base64(at->get_ref<const std::string&>()).value_or("");
}

}  // namespace keyshepherd::kube
