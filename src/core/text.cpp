#include <keyshepherd/core/text.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>

namespace keyshepherd {

std::string_view beginning(std::string_view text, std::size_t longest) {
    if (text.size() <= longest) return text;
    while (longest > 0 && (static_cast<unsigned char>(text[longest]) & 0xC0U) == 0x80U) --longest;
    return text.substr(0, longest);
}

std::string one_line(std::string_view text, std::size_t longest) {
    std::string line;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte > ' ' && byte != 0x7F)
            line += c;
        else if (!line.empty() && !line.ends_with(' '))
            line += ' ';
    }
    while (line.ends_with(' ')) line.pop_back();
    line = printable(line);
    if (line.size() <= longest) return line;
    line.resize(beginning(line, longest).size());
    return line + "…";
}

std::size_t sequence_length(std::string_view text) {
    const auto byte = [&](std::size_t i) {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
    };
    const auto continues = [&](std::size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
    const unsigned first = byte(0);
    if (first < 0x80) return text.empty() ? 0 : 1;
    if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
    if (first >= 0xE0 && first <= 0xEF) {
        const bool good = continues(1) && continues(2) && !(first == 0xE0 && byte(1) < 0xA0) &&
                          !(first == 0xED && byte(1) > 0x9F);
        return good ? 3 : 0;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        const bool good = continues(1) && continues(2) && continues(3) &&
                          !(first == 0xF0 && byte(1) < 0x90) && !(first == 0xF4 && byte(1) > 0x8F);
        return good ? 4 : 0;
    }
    return 0;
}

char32_t character_of(std::string_view sequence) {
    constexpr std::array<unsigned, 5> first_bits = {0, 0x7F, 0x1F, 0x0F, 0x07};
    char32_t character = static_cast<unsigned char>(sequence[0]) & first_bits.at(sequence.size());
    for (const char c : sequence.substr(1))
        character = (character << 6U) | (static_cast<unsigned char>(c) & 0x3FU);
    return character;
}

bool is_deceptive(char32_t character) {
    struct Range {
        char32_t first, last;
    };
    // C1 controls; soft hyphen; direction marks, embeddings and isolates; zero width; line and paragraph
    // separators; fillers that are drawn as nothing; byte order mark; interlinear marks; tags.
    constexpr std::array<Range, 12> ranges = {{{0x80, 0x9F},
                                               {0xAD, 0xAD},
                                               {0x61C, 0x61C},
                                               {0x115F, 0x1160},
                                               {0x180E, 0x180E},
                                               {0x200B, 0x200F},
                                               {0x2028, 0x202E},
                                               {0x2060, 0x206F},
                                               {0x3164, 0x3164},
                                               {0xFEFF, 0xFEFF},
                                               {0xFFF9, 0xFFFB},
                                               {0xE0000, 0xE007F}}};
    return std::ranges::any_of(
        ranges, [&](const Range& range) { return character >= range.first && character <= range.last; });
}

std::string printable(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const std::size_t length = sequence_length(text);
        const auto first = static_cast<unsigned char>(text.front());
        const std::string_view sequence = text.substr(0, std::max<std::size_t>(length, 1));
        if (first == '\n')
            out += "\\n";
        else if (first == '\r')
            out += "\\r";
        else if (length == 0 || (first < 0x20 && first != '\t') || first == 0x7F)
            fmt::format_to(std::back_inserter(out), "\\x{:02x}", first);
        else if (length > 1 && is_deceptive(character_of(sequence)))
            fmt::format_to(std::back_inserter(out), "\\u{{{:x}}}",
                           static_cast<std::uint32_t>(character_of(sequence)));
        else
            out += sequence;
        text.remove_prefix(sequence.size());
    }
    return out;
}

std::string printable_lines(std::string_view text) {
    std::string out;
    while (true) {
        const std::size_t end = text.find('\n');
        std::string_view line = text.substr(0, end);
        const bool carriage_return = end != std::string_view::npos && line.ends_with('\r');
        if (carriage_return) line.remove_suffix(1);
        out += printable(line);
        if (end == std::string_view::npos) return out;
        out += carriage_return ? "\r\n" : "\n";
        text.remove_prefix(end + 1);
    }
}

}  // namespace keyshepherd
