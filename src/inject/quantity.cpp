#include "quantity.hpp"

#include <array>
#include <cstdint>
#include <utility>

namespace keyshepherd::inject {

namespace {

constexpr std::array<std::string_view, 7> decimal_suffixes = {"", "k", "M", "G", "T", "P", "E"};
constexpr std::array<std::string_view, 7> binary_suffixes = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};

constexpr __int128 most = __int128{INT64_MAX} * 1000;  // the API server caps there

}  // namespace

std::optional<Quantity> parse_quantity(std::string_view text) {
    __int128 digits = 0;
    int fraction = -1;  // digits behind the point; -1 before it
    std::size_t i = 0;
    bool any = false;
    for (; i < text.size(); ++i) {
        if (text[i] == '.' && fraction < 0) {
            fraction = 0;
        } else if (text[i] >= '0' && text[i] <= '9') {
            if (i > 18) return std::nullopt;
            digits = digits * 10 + (text[i] - '0');
            if (fraction >= 0) ++fraction;
            any = true;
        } else {
            break;
        }
    }
    if (!any) return std::nullopt;
    const std::string_view suffix = text.substr(i);
    __int128 milli = digits * 1000;
    bool binary = false;
    if (suffix == "m") {
        milli = digits;
    } else {
        bool known = false;
        for (std::size_t s = 0; s < decimal_suffixes.size() && !known; ++s) {
            const bool decimal = suffix == decimal_suffixes.at(s);
            binary = !decimal && suffix == binary_suffixes.at(s);
            known = decimal || binary;
            if (known)
                for (std::size_t n = 0; n < s; ++n) {
                    milli *= binary ? 1024 : 1000;
                    if (milli > most * 1'000'000)
                        return std::nullopt;  // before it overflows; a fraction may still divide it
                }
        }
        if (!known) return std::nullopt;
    }
    for (; fraction > 0; --fraction) {
        if (milli % 10 != 0) return std::nullopt;
        milli /= 10;
    }
    if (milli > most) return std::nullopt;
    Quantity q{.milli = milli, .canonical = {}};
    auto print = [&](__int128 number, __int128 step, const auto& suffixes) {
        std::size_t s = 0;
        while (number != 0 && number % step == 0 && s + 1 < suffixes.size()) {
            number /= step;
            ++s;
        }
        return std::to_string(static_cast<long long>(number)).append(suffixes.at(s));
    };
    if (milli % 1000 != 0) {
        q.canonical = std::to_string(static_cast<long long>(milli)) + 'm';
    } else if (binary) {
        q.canonical = print(milli / 1000, 1024, binary_suffixes);
    } else {
        q.canonical = print(milli / 1000, 1000, decimal_suffixes);
    }
    return q;
}

}  // namespace keyshepherd::inject
