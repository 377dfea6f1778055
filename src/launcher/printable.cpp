#include "printable.hpp"

namespace keyshepherd::launcher {

namespace {

bool continues(unsigned char c) {
    return (c & 0xC0U) == 0x80;
}

// Length of the UTF-8 character at the front, 0 when there is none (overlong forms and surrogates included).
std::size_t character_length(std::string_view text) {
    auto at = [&](std::size_t i) { return static_cast<unsigned char>(i < text.size() ? text[i] : '\0'); };
    const unsigned char first = at(0);
    if (first < 0x80) return 1;
    if (first >= 0xC2 && first <= 0xDF) return continues(at(1)) ? 2 : 0;
    if (first >= 0xE0 && first <= 0xEF) {
        const bool good = (first != 0xE0 || at(1) >= 0xA0) && (first != 0xED || at(1) < 0xA0);
        return good && continues(at(1)) && continues(at(2)) ? 3 : 0;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        const bool good = (first != 0xF0 || at(1) >= 0x90) && (first != 0xF4 || at(1) < 0x90);
        return good && continues(at(1)) && continues(at(2)) && continues(at(3)) ? 4 : 0;
    }
    return 0;
}

}  // namespace

std::string printable(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const std::size_t length = character_length(text);
        const auto first = static_cast<unsigned char>(text.front());
        const bool c1_control = length == 2 && first == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0;
        if (length == 0)
            out += '?';
        else if (first < 0x20 || first == 0x7F || c1_control)
            out += ' ';
        else
            out += text.substr(0, length);
        text.remove_prefix(length == 0 ? 1 : length);
    }
    return out;
}

std::string shortened(std::string text, std::size_t limit) {
    constexpr std::string_view ellipsis = "…";
    if (text.size() <= limit) return text;
    std::size_t end = limit < ellipsis.size() ? 0 : limit - ellipsis.size();
    while (end > 0 && continues(static_cast<unsigned char>(text[end]))) --end;
    text.resize(end);
    return text += ellipsis;
}

}  // namespace keyshepherd::launcher
