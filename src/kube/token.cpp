#include "credentials.hpp"

#include <keyshepherd/core/base64.hpp>
#include <keyshepherd/kube/object.hpp>
#include <keyshepherd/kube/token.hpp>

#include <algorithm>

namespace keyshepherd::kube {

std::vector<std::string> token_audiences(std::string_view jwt) {
    const std::size_t first = jwt.find('.');
    const std::size_t second = first == std::string_view::npos ? first : jwt.find('.', first + 1);
    if (second == std::string_view::npos) return {};
    // Base64url without padding (RFC 7515, section 2).
    std::string payload(jwt.substr(first + 1, second - first - 1));
    std::ranges::replace(payload, '-', '+');
    std::ranges::replace(payload, '_', '/');
    payload.append((4 - payload.size() % 4) % 4, '=');
    const auto decoded = decode_base64(payload);
    if (!decoded) return {};
    const Json claims = Json::parse(*decoded, nullptr, false);
    if (!claims.is_object() || !claims.contains("aud")) return {};
    const Json& audience = claims["aud"];
    std::vector<std::string> audiences;
    for (const Json& each : audience.is_array() ? audience : Json::array({audience}))
        if (each.is_string()) audiences.push_back(each.get<std::string>());
    return audiences;
}

std::vector<std::string> api_server_audiences(const Config& config) {
    if (config.token_file.empty()) return token_audiences(config.token);
    Wiped token;
    if (auto read = read_file(config.token_file)) token.text = *std::move(read);
    return token_audiences(token.text);
}

}  // namespace keyshepherd::kube
