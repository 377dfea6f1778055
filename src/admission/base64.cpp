#include "base64.hpp"

#include <array>
#include <cstdint>
#include <cstring>

namespace keyshepherd::admission {

namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Two characters for every twelve bits: a patch of 7 KB is the longest text of an answer.
constexpr auto pairs = [] {
    std::array<std::array<char, 2>, 4096> table{};
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = {alphabet[i >> 6], alphabet[i & 63]};
    return table;
}();

void encode(char* to, std::string_view bytes) {
    const auto* from = reinterpret_cast<const unsigned char*>(bytes.data());
    std::size_t left = bytes.size();
    for (; left >= 3; left -= 3, from += 3, to += 4) {
        const std::uint32_t group =
            static_cast<std::uint32_t>(from[0]) << 16 | static_cast<std::uint32_t>(from[1]) << 8 | from[2];
        std::memcpy(to, pairs[group >> 12].data(), 2);
        std::memcpy(to + 2, pairs[group & 4095].data(), 2);
    }
    if (left == 0) return;
    const std::uint32_t group = static_cast<std::uint32_t>(from[0]) << 16 |
                                (left == 2 ? static_cast<std::uint32_t>(from[1]) << 8 : 0);
    std::memcpy(to, pairs[group >> 12].data(), 2);
    to[2] = left == 2 ? alphabet[group >> 6 & 63] : '=';
    to[3] = '=';
}

}  // namespace

void append_base64(std::string& out, std::string_view bytes) {
    const std::size_t start = out.size();
    const std::size_t end = start + (bytes.size() + 2) / 3 * 4;
    out.resize_and_overwrite(end, [&](char* buffer, std::size_t) {
        encode(buffer + start, bytes);
        return end;
    });
}

}  // namespace keyshepherd::admission
