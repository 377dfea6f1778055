#include "same.hpp"

#include <keyshepherd/planner/vault_names.hpp>
#include <keyshepherd/resources/network.hpp>

#include <algorithm>

namespace keyshepherd::planner {

namespace {

using resources::Type;

// What is no network stays as it is.
std::string network(const std::string& text) {
    return resources::canonical_network(text).value_or(text);
}

std::string network_with_prefix(const std::string& text) {
    return resources::canonical_network(text, true).value_or(text);
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
            // Of a role Vault keeps default-service as service, and default-batch as batch; of a mount it
            // does not.
            if (field.vault == "token_type" && field.fallback == R"("default")" && value.is_string()) {
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

Json sent(const Field& field, const Json& value) {
    switch (field.type) {
        case Type::duration:
            return resources::seconds_of(value).value_or(0);
        case Type::cidr_set:
            return set_of(value, field.host_prefix ? network_with_prefix : network);
        default:
            return value;
    }
}

}  // namespace keyshepherd::planner
