// The condition that reports clocks that differ. Pure.
#pragma once

#include <keyshepherd/planner/status.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace keyshepherd::planner {

inline constexpr std::int64_t tolerated_skew = 30;  // seconds
inline constexpr std::string_view clock_skewed = "ClockSkewed";

// Seconds by which the local clock is ahead of a server's clock (negative: behind); nullopt if not known.
struct ClockLeads {
    std::optional<std::int64_t> vault;
    std::optional<std::int64_t> api_server;
};

// "more than 30 s ahead of Vault's and more than 30 s behind the API server's"; "" if no difference is larger
// than tolerated_skew. The text has no exact numbers, which would change with every measurement.
std::string skew_text(const ClockLeads& leads);
// The condition ClockSkewed of a VaultConnection; nullopt if skew_text() is "".
std::optional<Condition> clock_condition(const ClockLeads& leads);

}  // namespace keyshepherd::planner
