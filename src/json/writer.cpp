#include <keyshepherd/json/writer.hpp>

#include <boost/json/serialize.hpp>

#include <array>
#include <bit>
#include <cstring>
#include <utility>

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

char* put_escaped(char* to, char c) {
    constexpr std::string_view digits = "0123456789abcdef";
    const char escape = escapes[static_cast<unsigned char>(c)];
    if (escape == 0) {
        *to++ = c;
        return to;
    }
    *to++ = '\\';
    *to++ = escape;
    if (escape != 'u') return to;
    *to++ = '0';
    *to++ = '0';
    *to++ = digits[static_cast<unsigned char>(c) >> 4];
    *to++ = digits[c & 15];
    return to;
}

using Block = unsigned char __attribute__((ext_vector_type(16)));
using Mask = bool __attribute__((ext_vector_type(16)));

// How many bytes of `block` stand as they are, before the first that does not.
std::size_t plain_bytes(Block block) {
    const Mask escaped = __builtin_convertvector((block < 0x20) | (block == '"') | (block == '\\'), Mask);
    return static_cast<std::size_t>(std::countr_zero(std::bit_cast<std::uint16_t>(escaped)));
}

}  // namespace

namespace pieces {

char* put(char* to, Inside inside) {
    const char* from = inside.value.data();
    const char* const end = from + inside.value.size();
    while (static_cast<std::size_t>(end - from) >= sizeof(Block)) {
        Block block;
        std::memcpy(&block, from, sizeof block);
        std::memcpy(to, &block, sizeof block);  // what is behind the plain bytes is written over
        const std::size_t plain = plain_bytes(block);
        from += plain;
        to += plain;
        if (plain == sizeof block) continue;
        // Escapes of an inner text come in twos: \\\".
        do to = put_escaped(to, *from++);
        while (from != end && escapes[static_cast<unsigned char>(*from)] != 0);
    }
    while (from != end) to = put_escaped(to, *from++);
    return to;
}

}  // namespace pieces

void append_text(std::string& out, std::string_view value) {
    write(out, Text{value});
}

void append_value(std::string& out, const boost::json::value& value) {
    switch (value.kind()) {
        case boost::json::kind::null:
            return write(out, "null");
        case boost::json::kind::bool_:
            return write(out, value.get_bool());
        case boost::json::kind::int64:
            return write(out, value.get_int64());
        case boost::json::kind::uint64:
            return write(out, value.get_uint64());
        case boost::json::kind::double_:
            return write(out, std::string_view(boost::json::serialize(value)));
        case boost::json::kind::string:
            return write(out, Text{value.get_string()});
        case boost::json::kind::array: {
            write(out, "[");
            bool first = true;
            for (const auto& element : value.get_array()) {
                if (!std::exchange(first, false)) write(out, ",");
                append_value(out, element);
            }
            return write(out, "]");
        }
        case boost::json::kind::object: {
            write(out, "{");
            bool first = true;
            for (const auto& member : value.get_object()) {
                if (!std::exchange(first, false)) write(out, ",");
                write(out, Text{member.key()}, ":");
                append_value(out, member.value());
            }
            return write(out, "}");
        }
    }
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
    comma_ ? write(out_, ",\"", name, "\":") : write(out_, "\"", name, "\":");
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
    separate();
    write(out_, value);
    return *this;
}

Writer& Writer::raw(std::string_view json) {
    separate();
    out_ += json;
    return *this;
}

}  // namespace keyshepherd::json
