// What is told of a clock that is wrong. Pure.
#pragma once

#include <keyshepherd/planner/status.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace keyshepherd::planner {

inline constexpr std::int64_t tolerated_skew = 30;  // seconds
inline constexpr std::string_view clock_skewed = "ClockSkewed";

// Seconds that this machine's clock is ahead of those of servers (less than 0: behind); nullopt: not known.
struct ClockLeads {
    std::optional<std::int64_t> vault;
    std::optional<std::int64_t> api_server;
};

// "more than 30 s ahead of Vault's and more than 30 s behind the API server's"; "" while neither is off by
// more than tolerated_skew. Without the numbers, which change with every measurement.
std::string skew_text(const ClockLeads& leads);
// The condition ClockSkewed of a VaultConnection; nullopt while skew_text() is "".
std::optional<Condition> clock_condition(const ClockLeads& leads);

}  // namespace keyshepherd::planner
