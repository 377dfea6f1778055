#include <keyshepherd/core/time.hpp>

#include <fmt/chrono.h>

#include <algorithm>
#include <ctime>

namespace keyshepherd {

std::int64_t seconds_since_epoch(std::string_view text) {
    std::tm time{};
    const std::string copy(text);
    const char* end = strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%S", &time);
    if (end == nullptr) return 0;
    if (*end == '.') {
        ++end;
        while (*end >= '0' && *end <= '9') ++end;
    }
    const std::tm given = time;
    const std::time_t seconds = timegm(&time);  // makes a day that does not exist one of the next month
    if (given.tm_mday != time.tm_mday) return 0;
    std::int64_t ahead = 0;
    if (const std::string_view zone(end); zone != "Z") {
        const auto digit = [&](std::size_t at) {
            return zone[at] >= '0' && zone[at] <= '9' ? zone[at] - '0' : 60;
        };
        if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':') return 0;
        const int hours = 10 * digit(1) + digit(2);
        const int minutes = 10 * digit(4) + digit(5);
        if (hours > 23 || minutes > 59) return 0;
        ahead = (zone[0] == '-' ? -60 : 60) * (60 * hours + minutes);
    }
    return std::max<std::int64_t>(seconds - ahead, 0);
}

std::int64_t seconds_of_http_date(std::string_view text) {
    std::tm time{};
    const std::string copy(text);
    const char* end = strptime(copy.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &time);
    if (end == nullptr || *end != '\0') return 0;
    return std::max<std::int64_t>(timegm(&time), 0);
}

std::string rfc3339(std::int64_t seconds) {
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

}  // namespace keyshepherd
