#include <keyshepherd/json/writer.hpp>

#include <array>

namespace keyshepherd::json {

namespace {

// Behind a backslash: the letter of a short escape, 'u' for \u00XX, 0 for a byte that stands as it is.
constexpr auto escapes = [] {
    std::array<char, 256> table{};
    for (std::size_t c = 0; c < 0x20; ++c) table[c] = 'u';
    table['\b'] = 'b';
    table['\f'] = 'f';
    table['\n'] = 'n';
    table['\r'] = 'r';
    table['\t'] = 't';
    table['"'] = '"';
    table['\\'] = '\\';
    return table;
}();

}  // namespace

void append_text(std::string& out, std::string_view value) {
    constexpr std::string_view digits = "0123456789abcdef";
    const std::size_t start = out.size();
    // Room for the worst case, so that the loop only writes: it runs over every byte of a patch twice.
    out.resize_and_overwrite(start + 2 + 6 * value.size(), [&](char* buffer, std::size_t) {
        char* to = buffer + start;
        *to++ = '"';
        for (const char c : value) {
            const char escape = escapes[static_cast<unsigned char>(c)];
            if (escape == 0) {
                *to++ = c;
                continue;
            }
            *to++ = '\\';
            *to++ = escape;
            if (escape != 'u') continue;
            *to++ = '0';
            *to++ = '0';
            *to++ = digits[static_cast<unsigned char>(c) >> 4];
            *to++ = digits[c & 15];
        }
        *to++ = '"';
        return static_cast<std::size_t>(to - buffer);
    });
}

Writer& Writer::open(char bracket) {
    separate();
    out_ += bracket;
    comma_ = false;
    return *this;
}

Writer& Writer::close(char bracket) {
    out_ += bracket;
    comma_ = true;
    return *this;
}

Writer& Writer::key(std::string_view name) {
    separate();
    out_ += '"';
    out_ += name;
    out_ += "\":";
    comma_ = false;
    return *this;
}

Writer& Writer::name(std::string_view name) {
    text(name);
    out_ += ':';
    comma_ = false;
    return *this;
}

Writer& Writer::text(std::string_view value) {
    separate();
    append_text(out_, value);
    return *this;
}

Writer& Writer::number(std::int64_t value) {
    std::array<char, 24> buffer{};
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
    return raw({buffer.data(), end});
}

Writer& Writer::raw(std::string_view json) {
    separate();
    out_ += json;
    return *this;
}

}  // namespace keyshepherd::json
