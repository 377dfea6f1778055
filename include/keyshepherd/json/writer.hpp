// Writes JSON text straight into a string: what is only ever sent needs no tree.
//
//     Writer w(out);
//     w.object().key("name").text(name).key("ports").array().number(443).end_array().end_object();
//
// Commas are put in; that every open has its end is the caller's part.
#pragma once

#include <boost/json/value.hpp>

#include <charconv>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace keyshepherd::json {

class Writer {
public:
    explicit Writer(std::string& out) : out_(out) {}

    Writer& object() { return open('{'); }
    Writer& array() { return open('['); }
    Writer& end_object() { return close('}'); }
    Writer& end_array() { return close(']'); }
    // A name of ours: letters and digits, nothing to escape.
    Writer& key(std::string_view name);
    Writer& name(std::string_view name);   // any name, escaped
    Writer& text(std::string_view value);  // UTF-8
    Writer& number(std::int64_t value);
    Writer& boolean(bool value) { return raw(value ? "true" : "false"); }
    Writer& null() { return raw("null"); }
    Writer& raw(std::string_view json);  // a whole value
    // A member with a text.
    Writer& member(std::string_view name, std::string_view value) { return key(name).text(value); }

private:
    Writer& open(char bracket);
    Writer& close(char bracket);
    void separate() {
        if (comma_) out_ += ',';
        comma_ = true;
    }

    std::string& out_;
    bool comma_ = false;
};

// `value` as a JSON string, appended with its quotes.
void append_text(std::string& out, std::string_view value);

// The JSON of `value`, as boost::json::serialize gives it.
void append_value(std::string& out, const boost::json::value& value);

// Pieces of write(): a JSON string; one that is known to hold nothing to escape; and what stands between the
// quotes of one.
struct Text {
    std::string_view value;
};
struct Plain {
    std::string_view value;
};
struct Inside {
    std::string_view value;
};

// Each piece has the room that it may take at most, and what writes it and gives the end of what is written.
namespace pieces {

template <std::size_t N>
constexpr std::size_t room(const char (&)[N]) {
    return N - 1;
}
constexpr std::size_t room(std::string_view json) {
    return json.size();
}
constexpr std::size_t room(Inside inside) {
    return 6 * inside.value.size();
}
constexpr std::size_t room(Plain plain) {
    return 2 + plain.value.size();
}
constexpr std::size_t room(Text text) {
    return 2 + room(Inside{text.value});
}
constexpr std::size_t room(std::integral auto) {
    return 20;
}

template <std::size_t N>
char* put(char* to, const char (&json)[N]) {
    std::memcpy(to, json, N - 1);
    return to + N - 1;
}
inline char* put(char* to, std::string_view json) {
    return to + json.copy(to, json.size());  // unlike memcpy, of no bytes at no address too
}
inline char* put(char* to, Plain plain) {
    *to++ = '"';
    to = put(to, plain.value);
    *to++ = '"';
    return to;
}
char* put(char* to, Inside inside);
inline char* put(char* to, Text text) {
    *to++ = '"';
    to = put(to, Inside{text.value});
    *to++ = '"';
    return to;
}
inline char* put(char* to, bool value) {
    return put(to, value ? std::string_view("true") : std::string_view("false"));
}
inline char* put(char* to, std::integral auto number) {
    return std::to_chars(to, to + 20, number).ptr;
}

}  // namespace pieces

// Appends JSON with holes in it, in one step:
//
//     write(out, R"({"name":)", Text{name}, R"(,"port":)", port, "}");
//
// Literals and string views go in as they are.
template <class... Pieces>
void write(std::string& out, const Pieces&... piece) {
    const std::size_t start = out.size();
    out.resize_and_overwrite(start + (pieces::room(piece) + ... + 0), [&](char* buffer, std::size_t) {
        char* to = buffer + start;
        ((to = pieces::put(to, piece)), ...);
        return static_cast<std::size_t>(to - buffer);
    });
}

}  // namespace keyshepherd::json
