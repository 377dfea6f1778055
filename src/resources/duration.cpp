#include <keyshepherd/resources/resource.hpp>

#include <charconv>

namespace keyshepherd::resources {

namespace {

constexpr std::int64_t longest = longest_duration;

struct Unit {
    std::string_view name;
    std::int64_t milliseconds;
};
constexpr Unit units[] = {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};

}  // namespace

std::optional<std::int64_t> seconds(std::string_view duration) {
    std::int64_t total = 0;  // milliseconds
    const bool bare = duration.find_first_not_of("0123456789") == std::string_view::npos;
    if (duration.empty()) return std::nullopt;
    while (!duration.empty()) {
        std::int64_t number = 0;
        const auto [end, error] = std::from_chars(duration.data(), duration.data() + duration.size(), number);
        if (error != std::errc{} || number < 0 || number > longest * 1'000) return std::nullopt;
        duration.remove_prefix(static_cast<std::size_t>(end - duration.data()));
        const Unit* unit = nullptr;
        for (const Unit& u : units)
            if (duration.starts_with(u.name) && (unit == nullptr || u.name.size() > unit->name.size()))
                unit = &u;
        if (bare) {
            if (number > longest) return std::nullopt;
            return number;
        }
        if (unit == nullptr || number > longest * 1'000 / unit->milliseconds) return std::nullopt;
        total += number * unit->milliseconds;
        if (total > longest * 1'000) return std::nullopt;
        duration.remove_prefix(unit->name.size());
    }
    return (total + 999) / 1'000;
}

std::optional<std::int64_t> seconds_of(const Json& duration) {
    if (duration.is_string()) return seconds(std::string_view(duration.get_ref<const std::string&>()));
    if (!duration.is_number_integer()) return std::nullopt;
    const auto number = duration.get<std::int64_t>();
    if (number < 0 || number > longest) return std::nullopt;
    return number;
}

}  // namespace keyshepherd::resources
