#include <keyshepherd/resources/network.hpp>

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace keyshepherd::resources {

namespace {

constexpr std::size_t ipv4_bytes = 4;
constexpr std::size_t ipv6_bytes = 16;
constexpr std::array<unsigned char, ipv6_bytes - ipv4_bytes> mapped_prefix = {0, 0, 0, 0, 0,    0,
                                                                              0, 0, 0, 0, 0xff, 0xff};

// OpenBao drops a leading zero group of an address that has all eight (0:1:2:3:4:5:6:7 becomes
// :1:2:3:4:5:6:7).
std::string printed_ipv6(const std::array<unsigned char, ipv6_bytes>& bytes) {
    std::array<char, INET6_ADDRSTRLEN> buffer{};
    inet_ntop(AF_INET6, bytes.data(), buffer.data(), buffer.size());
    std::string text(buffer.data());
    if (text.starts_with("0:") && !text.contains("::")) text.replace(0, 2, "::");
    return text;
}

}  // namespace

std::optional<std::string> canonical_network(std::string_view text, bool keep_host_prefix) {
    const std::size_t slash = text.find('/');
    const std::string address(text.substr(0, slash));
    std::array<unsigned char, ipv6_bytes> bytes{};
    std::size_t size = ipv4_bytes;
    if (inet_pton(AF_INET, address.c_str(), bytes.data()) != 1) {
        size = ipv6_bytes;
        if (inet_pton(AF_INET6, address.c_str(), bytes.data()) != 1) return std::nullopt;
    }
    unsigned prefix = static_cast<unsigned>(size * 8);
    if (slash != std::string_view::npos) {
        const std::string_view digits = text.substr(slash + 1);
        unsigned given = 0;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), given);
        if (error != std::errc{} || end != digits.data() + digits.size() || given > prefix)
            return std::nullopt;
        prefix = given;
    }
    for (unsigned bit = prefix; bit < size * 8; ++bit)
        bytes[bit / 8] = static_cast<unsigned char>(bytes[bit / 8] & ~(0x80U >> (bit % 8)));
    constexpr unsigned mapped_bits = mapped_prefix.size() * 8;
    if (size == ipv6_bytes && prefix >= mapped_bits &&
        std::equal(mapped_prefix.begin(), mapped_prefix.end(), bytes.begin())) {
        std::copy_n(bytes.begin() + mapped_prefix.size(), ipv4_bytes, bytes.begin());
        size = ipv4_bytes;
        prefix -= mapped_bits;
    }
    std::string printed;
    if (size == ipv6_bytes)
        printed = printed_ipv6(bytes);
    else
        printed = fmt::format("{}.{}.{}.{}", bytes[0], bytes[1], bytes[2], bytes[3]);
    if (prefix == size * 8 && !keep_host_prefix) return printed;
    return fmt::format("{}/{}", printed, prefix);
}

}  // namespace keyshepherd::resources
