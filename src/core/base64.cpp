#include <keyshepherd/core/base64.hpp>

#include <array>
#include <cstdint>
#include <cstring>

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace keyshepherd {

namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Two characters for every twelve bits: a patch of 7 KB is the longest text of an answer.
constexpr auto pairs = [] {
    std::array<std::array<char, 2>, 4096> table{};
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = {alphabet[i >> 6], alphabet[i & 63]};
    return table;
}();

#ifdef __x86_64__
// 24 bytes become 32 characters at a time: https://arxiv.org/abs/1704.00605 (Muła and Lemire). A twelfth of
// the instructions of the loop below. Gives how many bytes are done; the rest is the loop's.
[[gnu::target("avx2")]] std::size_t encode_avx2(char* to, const unsigned char* from, std::size_t size) {
    const __m256i spread = _mm256_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10,  //
                                            1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
    // What to add to six bits for their character: 0 for 26…51, 1…10 for a digit each, 11 and 12 for '+' and
    // '/', 13 for 0…25.
    const __m256i distance = _mm256_setr_epi8(71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 65, 0, 0,
                                              71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 65, 0, 0);
    std::size_t done = 0;
    for (; size - done >= 28; done += 24, to += 32) {  // the second half reads four bytes past its twelve
        auto half = [&](std::size_t at) {
            return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + done + at));
        };
        const __m256i in = _mm256_shuffle_epi8(_mm256_set_m128i(half(12), half(0)), spread);
        const __m256i odd = _mm256_mulhi_epu16(_mm256_and_si256(in, _mm256_set1_epi32(0x0fc0fc00)),
                                               _mm256_set1_epi32(0x04000040));
        const __m256i even = _mm256_mullo_epi16(_mm256_and_si256(in, _mm256_set1_epi32(0x003f03f0)),
                                                _mm256_set1_epi32(0x01000010));
        const __m256i six_bits = _mm256_or_si256(odd, even);
        const __m256i upper =
            _mm256_and_si256(_mm256_cmpgt_epi8(_mm256_set1_epi8(26), six_bits), _mm256_set1_epi8(13));
        const __m256i kind = _mm256_or_si256(_mm256_subs_epu8(six_bits, _mm256_set1_epi8(51)), upper);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                            _mm256_add_epi8(six_bits, _mm256_shuffle_epi8(distance, kind)));
    }
    return done;
}
#endif

void encode(char* to, std::string_view bytes) {
    const auto* from = reinterpret_cast<const unsigned char*>(bytes.data());
    std::size_t left = bytes.size();
#ifdef __x86_64__
    static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
    if (has_avx2 && left >= 28) {
        const std::size_t done = encode_avx2(to, from, left);
        from += done;
        to += done / 3 * 4;
        left -= done;
    }
#endif
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

constexpr std::uint8_t no_digit = 0xff;
constexpr auto digits_by_character = [] {
    std::array<std::uint8_t, 256> table{};
    table.fill(no_digit);
    for (std::size_t i = 0; i < alphabet.size(); ++i)
        table[static_cast<unsigned char>(alphabet[i])] = static_cast<std::uint8_t>(i);
    return table;
}();

}  // namespace

void append_base64(std::string& out, std::string_view bytes) {
    const std::size_t start = out.size();
    const std::size_t end = start + (bytes.size() + 2) / 3 * 4;
    out.resize_and_overwrite(end, [&](char* buffer, std::size_t) {
        encode(buffer + start, bytes);
        return end;
    });
}

std::string encode_base64(std::string_view bytes) {
    std::string text;
    append_base64(text, bytes);
    return text;
}

namespace {

// Appends to `bytes`; false if `text` is not base64.
bool decode(std::string_view text, std::string& bytes) {
    std::uint32_t group = 0;
    std::size_t digits = 0;   // in this group of four
    std::size_t padding = 0;  // in the last group
    for (const char c : text) {
        if (c == '\r' || c == '\n') continue;
        if (c == '=') {
            if (digits + padding < 2 || ++padding + digits > 4) return false;
            continue;
        }
        const std::uint8_t digit = digits_by_character[static_cast<unsigned char>(c)];
        if (digit == no_digit || padding > 0) return false;
        group = group << 6 | digit;
        if (++digits < 4) continue;
        for (const int shift : {16, 8, 0}) bytes += static_cast<char>(group >> shift & 0xff);
        group = 0;
        digits = 0;
    }
    if (digits == 0 && padding == 0) return true;
    if (digits + padding != 4) return false;
    group <<= 6 * padding;
    for (std::size_t k = 0; k + 1 < digits; ++k) bytes += static_cast<char>(group >> (16 - 8 * k) & 0xff);
    return true;
}

}  // namespace

std::optional<std::string> decode_base64(std::string_view text) {
    std::string bytes;
    bytes.reserve(text.size() / 4 * 3 + 3);  // a string that grows leaves copies behind
    if (decode(text, bytes)) return bytes;
    explicit_bzero(bytes.data(), bytes.size());
    return std::nullopt;
}

}  // namespace keyshepherd
