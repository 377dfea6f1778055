#include <keyshepherd/core/ascii.hpp>
#include <keyshepherd/planner/vault_names.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace keyshepherd::planner {

namespace {

std::string_view without(std::string_view text, std::string_view around) {
    const auto first = text.find_first_not_of(around);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(around) - first + 1);
}

}  // namespace

std::string stored_name(std::string_view name) {
    return to_lower(without(name, " \t\r\n"));
}

std::string role_path(std::string_view mount, std::string_view name) {
    return fmt::format("auth/{}/role/{}", mount, stored_name(name));
}

std::string stored_namespace(std::string_view name) {
    const std::string_view stored = without(name, "/");
    return std::string(stored == "root" ? std::string_view() : stored);
}

}  // namespace keyshepherd::planner
