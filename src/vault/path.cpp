#include <keyshepherd/core/ascii.hpp>
#include <keyshepherd/vault/answer.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace keyshepherd::vault {

namespace {

bool is_dots(std::string_view part) {
    return part.empty() || part == "." || part == "..";
}

// Calls f for each part between slashes, until it says false.
template <class F>
bool each_part(std::string_view text, F f) {
    for (;;) {
        const auto slash = text.find('/');
        if (!f(text.substr(0, slash))) return false;
        if (slash == std::string_view::npos) return true;
        text.remove_prefix(slash + 1);
    }
}

}  // namespace

result<std::string> path(std::initializer_list<std::string_view> segments) {
    std::string all;
    for (const std::string_view segment : segments) {
        const bool good = each_part(segment, [&](std::string_view part) {
            if (is_dots(part)) return false;
            if (!all.empty()) all += '/';
            all += percent_encode(part);
            return std::ranges::none_of(part, [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; });
        });
        if (!good)
            return fail(Errc::invalid,
                        "a name in Vault must not be empty, '.' or '..', start or end with '/', or contain "
                        "control characters");
    }
    return all;
}

bool is_safe_path(std::string_view path) {
    const auto query = path.find('?');
    const bool printable =
        std::ranges::all_of(path, [](char c) { return c > ' ' && c < 0x7f && c != '#' && c != '\\'; });
    return printable &&
           each_part(path.substr(0, query), [](std::string_view part) { return !is_dots(part); });
}

}  // namespace keyshepherd::vault
