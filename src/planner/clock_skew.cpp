#include <keyshepherd/planner/clock_skew.hpp>

#include <fmt/format.h>

#include <cstdlib>

namespace keyshepherd::planner {

namespace {

void add(std::string& text, const std::optional<std::int64_t>& lead, std::string_view whose) {
    if (!lead || std::abs(*lead) <= tolerated_skew) return;
    text += fmt::format("{}more than {} s {} {}", text.empty() ? "" : " and ", tolerated_skew,
                        *lead < 0 ? "behind" : "ahead of", whose);
}

}  // namespace

std::string skew_text(const ClockLeads& leads) {
    std::string text;
    add(text, leads.vault, "Vault's");
    add(text, leads.api_server, "the API server's");
    return text;
}

std::optional<Condition> clock_condition(const ClockLeads& leads) {
    const std::string text = skew_text(leads);
    if (text.empty()) return std::nullopt;
    return Condition{
        .type = std::string(clock_skewed),
        .truth = Truth::yes,
        .reason = "ClocksDiffer",
        .message = fmt::format("the operator's clock is {}. Correct the wrong clock. Secret-ids expire and "
                               "rotate by Vault's clock, but the operator checks certificates by its own "
                               "clock. See the metric keyshepherd_clock_skew_seconds for the exact skew",
                               text)};
}

}  // namespace keyshepherd::planner
