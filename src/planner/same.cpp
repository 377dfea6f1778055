#include "same.hpp"

#include <keyshepherd/planner/vault_names.hpp>

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace keyshepherd::planner {

namespace {

using resources::Type;

// "10.0.0.1/24" and "10.0.0.0/24" are one network, "10.0.0.1/32" is an address. What is none stays as it is.
std::string network(const std::string& text) {
    const std::size_t slash = text.find('/');
    const std::string address = text.substr(0, slash);
    std::array<unsigned char, 16> bytes{};
    int family = AF_INET;
    if (inet_pton(AF_INET, address.c_str(), bytes.data()) != 1) {
        family = AF_INET6;
        if (inet_pton(AF_INET6, address.c_str(), bytes.data()) != 1) return text;
    }
    const unsigned width = family == AF_INET ? 32 : 128;
    unsigned prefix = width;
    if (slash != std::string::npos) {
        const std::string_view digits = std::string_view(text).substr(slash + 1);
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
        if (error != std::errc{} || end != digits.data() + digits.size() || prefix > width) return text;
    }
    for (unsigned bit = prefix; bit < width; ++bit)
        bytes[bit / 8] = static_cast<unsigned char>(bytes[bit / 8] & ~(0x80U >> (bit % 8)));
    std::array<char, INET6_ADDRSTRLEN> printed{};
    inet_ntop(family, bytes.data(), printed.data(), printed.size());
    return prefix == width ? std::string(printed.data()) : fmt::format("{}/{}", printed.data(), prefix);
}

Json set_of(const Json& list, std::string (*spelling)(const std::string&)) {
    std::vector<std::string> elements;
    for (const Json& element : list)
        if (element.is_string()) elements.push_back(spelling(element.get_ref<const std::string&>()));
    std::ranges::sort(elements);
    elements.erase(std::ranges::unique(elements).begin(), elements.end());
    return elements;
}

}  // namespace

Json canonical(const Field& field, const Json& value) {
    if (value.is_null()) {
        const std::string_view unset = field.server.empty() ? field.fallback : field.server;
        if (unset.empty()) return nullptr;
        return canonical(field, Json::parse(unset));
    }
    switch (field.type) {
        case Type::duration:
            if (const auto number = resources::seconds_of(value)) return *number;
            return value;
        case Type::text_set:
            return set_of(value, [](const std::string& text) { return text; });
        case Type::name_set:
            return set_of(value, [](const std::string& text) { return stored_name(text); });
        case Type::cidr_set:
            return set_of(value, network);
        case Type::integer:
            if (value.is_number_integer()) return value.get<std::int64_t>();
            return value;
        case Type::enumeration:
            // Vault keeps default-service as service, and default-batch as batch.
            if (field.vault == "token_type" && value.is_string()) {
                const auto& text = value.get_ref<const std::string&>();
                if (text.empty()) return "default";
                if (text.starts_with("default-")) return text.substr(8);
            }
            if (value.is_string() && value.get_ref<const std::string&>().empty())
                return canonical(field, nullptr);
            return value;
        default:
            return value;
    }
}

}  // namespace keyshepherd::planner
