#include <keyshepherd/kube/secret.hpp>

#include <openssl/evp.h>

namespace keyshepherd::kube {

std::string secret_value(const Json& secret, std::string_view key) {
    const auto data = secret.is_object() ? secret.find("data") : secret.end();
    if (!secret.is_object() || data == secret.end() || !data->is_object()) return {};
    const auto at = data->find(key);
    if (at == data->end() || !at->is_string()) return {};
    const auto& text = at->get_ref<const std::string&>();
    std::string bytes(text.size() / 4 * 3 + 3, '\0');
    const int size =
        EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                        reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
    if (size < 0) return {};
    bytes.resize(static_cast<std::size_t>(size));
    for (std::size_t i = text.size(); i > 0 && text[i - 1] == '=' && !bytes.empty(); --i) bytes.pop_back();
    return bytes;
}

std::string base64(std::string_view bytes) {
    std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
    const int size =
        EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                        reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
    text.resize(static_cast<std::size_t>(size));
    return text;
}

}  // namespace keyshepherd::kube
