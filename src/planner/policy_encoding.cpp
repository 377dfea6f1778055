#include "policy_encoding.hpp"

#include <cstdint>

namespace keyshepherd::planner {

namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string encoded_base64(std::string_view bytes) {
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t group = 0;
        for (std::size_t k = 0; k < 3; ++k)
            group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U);
        for (std::size_t k = 0; k < 4; ++k)
            text += i + k > bytes.size() ? '=' : alphabet[group >> (18 - 6 * k) & 63];
    }
    return text;
}

}  // namespace

std::optional<std::string> decoded_base64(std::string_view text) {
    std::string bytes;
    std::uint32_t group = 0;
    std::size_t digits = 0;   // in this group of four
    std::size_t padding = 0;  // in the last group
    for (const char c : text) {
        if (c == '\r' || c == '\n') continue;
        if (c == '=') {
            if (digits + padding < 2 || ++padding + digits > 4) return std::nullopt;
            continue;
        }
        const std::size_t value = alphabet.find(c);
        if (value == std::string_view::npos || padding > 0) return std::nullopt;
        group = group << 6 | static_cast<std::uint32_t>(value);
        if (++digits < 4) continue;
        for (const int shift : {16, 8, 0}) bytes += static_cast<char>(group >> shift & 0xff);
        group = 0;
        digits = 0;
    }
    if (digits == 0 && padding == 0) return bytes;
    if (digits + padding != 4) return std::nullopt;
    group <<= 6 * padding;
    for (std::size_t k = 0; k + 1 < digits; ++k) bytes += static_cast<char>(group >> (16 - 8 * k) & 0xff);
    return bytes;
}

std::string for_vault(const std::string& text) {
    return decoded_base64(text) ? encoded_base64(text) : text;
}

}  // namespace keyshepherd::planner
