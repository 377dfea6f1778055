// Not instrumented itself.
#include "steps.hpp"

#include <cstddef>

namespace {

std::uint64_t steps = 0;
constexpr std::size_t bytes_in_a_step = 16;

}  // namespace

extern "C" void __sanitizer_cov_trace_pc() {
    ++steps;
}

// A sanitizer has its own of these, and then only edges count.
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
extern "C" {
__attribute__((no_builtin)) void* memmove(void* to, const void* from, std::size_t size) {
    steps += 1 + size / bytes_in_a_step;
    auto* const out = static_cast<char*>(to);
    const auto* const in = static_cast<const char*>(from);
    if (out <= in)
        for (std::size_t i = 0; i < size; ++i) out[i] = in[i];
    else
        for (std::size_t i = size; i > 0; --i) out[i - 1] = in[i - 1];
    return to;
}
__attribute__((no_builtin)) void* memcpy(void* to, const void* from, std::size_t size) {
    return memmove(to, from, size);
}
__attribute__((no_builtin)) void* memset(void* to, int byte, std::size_t size) {
    steps += 1 + size / bytes_in_a_step;
    for (std::size_t i = 0; i < size; ++i) static_cast<char*>(to)[i] = static_cast<char>(byte);
    return to;
}
__attribute__((no_builtin)) int memcmp(const void* one, const void* other, std::size_t size) {
    const auto* const a = static_cast<const unsigned char*>(one);
    const auto* const b = static_cast<const unsigned char*>(other);
    std::size_t i = 0;
    while (i < size && a[i] == b[i]) ++i;
    steps += 1 + i / bytes_in_a_step;
    return i == size ? 0 : a[i] - b[i];
}
}
#endif

namespace keyshepherd::cost {

std::uint64_t steps_of(const std::function<void()>& work) {
    const std::uint64_t before = steps;
    work();
    return steps - before;
}

}  // namespace keyshepherd::cost
