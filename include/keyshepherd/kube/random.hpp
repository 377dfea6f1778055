// Chance for jitter.
#pragma once

#include <openssl/rand.h>

#include <cstdint>

namespace keyshepherd::kube {

// Uniform in [0, 1): for jitter. One half when there is no randomness to be had.
inline double random_unit() {
    std::uint32_t bits = 0;
    if (RAND_bytes(reinterpret_cast<unsigned char*>(&bits), sizeof(bits)) != 1) return 0.5;
    return static_cast<double>(bits) / 4294967296.0;
}

}  // namespace keyshepherd::kube
