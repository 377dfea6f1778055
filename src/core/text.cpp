#include <keyshepherd/core/text.hpp>

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
    if (line.size() <= longest) return line;
    line.resize(beginning(line, longest).size());
    return line + "…";
}

}  // namespace keyshepherd
