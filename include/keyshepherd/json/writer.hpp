// Writes JSON text straight into a string: what is only ever sent needs no tree.
//
//     Writer w(out);
//     w.object().key("name").text(name).key("ports").array().number(443).end_array().end_object();
//
// Commas are put in; that every open has its end is the caller's part.
#pragma once

#include <charconv>
#include <cstdint>
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

}  // namespace keyshepherd::json
