// FNV-1a with 64 bits (RFC 9923): the same in every process.
#pragma once

#include <cstdint>
#include <string_view>

namespace keyshepherd {

constexpr std::uint64_t fnv1a(std::string_view text, std::uint64_t seed = 0) {
    std::uint64_t hash = 0xcbf29ce484222325U ^ seed;
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    return hash;
}

}  // namespace keyshepherd
