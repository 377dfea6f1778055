// Random documents for the tests of yaml: a JSON value, and a text that a person could have written for it.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace keyshepherd::yaml::testing {

using Json = nlohmann::ordered_json;

// splitmix64: https://prng.di.unimi.it/splitmix64.c (public domain). The same in every standard library.
class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::size_t below(std::size_t n) {
        std::uint64_t x = state_ += 0x9e3779b97f4a7c15U;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
        return static_cast<std::size_t>((x ^ (x >> 31)) % n);
    }
    bool chance(std::size_t percent) { return below(100) < percent; }
    template <class List>
    const auto& pick(const List& list) {
        return list[below(std::size(list))];
    }

private:
    std::uint64_t state_;
};

// Texts that something in YAML 1.1 takes for something else.
inline const std::vector<std::string>& tricky_texts() {
    static const std::vector<std::string> texts = {
        "plain",
        "two words",
        "yes",
        "No",
        "on",
        "y",
        "N",
        "true",
        "True",
        "tRUE",
        "null",
        "NULL",
        "~",
        "",
        " ",
        " lead",
        "trail ",
        "012",
        "08",
        "0x1F",
        "0b1",
        "0o7",
        "1e3",
        "1.0",
        ".5",
        "5.",
        ".inf",
        "-.inf",
        ".nan",
        "+1",
        "-1",
        "1_000",
        "100m",
        "64Mi",
        "12:30:45",
        "2001-01-01",
        "1,000",
        "=",
        "<<",
        "-",
        "--",
        "--flag=x",
        "-flag",
        "- x",
        "? x",
        "?",
        ":",
        "a: b",
        "a:",
        "a:b",
        ":a",
        "#x",
        "a #b",
        "a#b",
        "&a",
        "*a",
        "!t",
        "!!int 3",
        "%x",
        "@x",
        "`x`",
        "[x",
        "{x}",
        "}",
        "]",
        ",",
        "|",
        ">",
        "'",
        "''",
        "it's",
        "\"",
        "say \"x\"",
        "\\",
        "C:\\new",
        "multi\nline",
        "multi\nline\n",
        "two\n\nbreaks\n\n",
        "\n",
        "\nlead",
        "x\n ",
        "  in\nout",
        "out\n  in\nout\n",
        "tab\there",
        "\ttab",
        "line\n\ttab",
        "cr\rhere",
        "crlf\r\nhere",
        "a\001b",
        "del\x7f",
        "nel\xc2\x85x",
        "ls\xe2\x80\xa8x",
        "bom\xef\xbb\xbfx",
        "\xc3\xa9t\xc3\xa9",
        "\xf0\x9f\x8e\x89 party",
        "\xd0\xba\xd0\xbb\xd1\x8e\xd1\x87",
        "---",
        "--- x",
        "...",
        "a\n---\nb",
        "a\n...\n",
        "{\"json\":[1,\"two\"]}",
        "{\"it's\":1}",
        "$(VAR)",
        "img/x:1.2.3",
        "http://h/?q=1&r=2#f",
        "keyshepherd.dev/inject",
        std::string(700, 'x'),
        std::string(90, ' '),
        "a \n b",
        "x\n\n\ny\n",
    };
    return texts;
}

class Generator {
public:
    explicit Generator(std::uint64_t seed) : random(seed) {}

    Random random;

    std::string text() {
        return random.chance(40) ? words_[random.below(words_.size())] : random.pick(tricky_texts());
    }
    std::string key() {
        return random.chance(70) ? words_[random.below(words_.size())]
                                 : random.pick(tricky_texts()).substr(0, 300);
    }

    Json scalar() {
        switch (random.below(8)) {
            case 0:
                return nullptr;
            case 1:
                return random.chance(50);
            case 2:
                return static_cast<std::int64_t>(random.below(100'000)) - 500;
            case 3:
                return random.chance(50) ? 0.25 : 1.5e-7;
            case 4:
                return random.chance(50) ? Json(18446744073709551615U) : Json(-9223372036854775807);
            default:
                return text();
        }
    }

    Json value(int depth) {
        const std::size_t kind = depth <= 0 ? 0 : random.below(5);
        if (kind < 2) return scalar();
        if (kind == 2) {
            Json list = Json::array();
            for (std::size_t n = random.below(4); n > 0; --n) list.push_back(value(depth - 1));
            return list;
        }
        return map(depth);
    }
    Json map(int depth) {
        Json map = Json::object();
        for (std::size_t n = random.below(5); n > 0; --n) map[key()] = value(depth - 1);
        return map;
    }

    // A text for `value`: block and flow, quotes of every kind, comments, odd indentation.
    std::string write(const Json& value) {
        newline_ = random.chance(8) ? "\r\n" : "\n";
        std::string out = random.chance(50) ? "# top" + newline_ : "";
        if (value.is_structured() && !value.empty() && random.chance(93)) {
            block(value, 0, out);
        } else {
            out += flow(value) + newline_;
        }
        if (random.chance(10)) out.resize(out.size() - newline_.size());
        return out;
    }

private:
    std::string comment() { return random.chance(15) ? "  # " + words_[random.below(words_.size())] : ""; }

    std::string quoted(const std::string& text) {
        std::string out = Json(text).dump(-1, ' ', random.chance(10) && !text.contains('\xf0'));
        // What JSON lets stand raw and YAML does not.
        for (const auto& [raw, escape] : {std::pair<std::string, std::string>("\x7f", "\\x7f"),
                                          {"\xc2\x85", "\\N"},
                                          {"\xe2\x80\xa8", "\\L"},
                                          {"\xef\xbb\xbf", "\\ufeff"}})
            for (std::size_t at = 0; (at = out.find(raw, at)) != std::string::npos;)
                out.replace(at, raw.size(), escape);
        return out;
    }

    std::string scalar_text(const Json& value) {
        if (value.is_null()) return random.chance(50) ? "null" : "~";
        if (value.is_boolean()) return value.get<bool>() ? (random.chance(50) ? "true" : "yes") : "false";
        if (value.is_number_float()) return value == 0.25 ? "0.250" : "1.5e-7";
        if (value.is_number()) {
            if (value.is_number_unsigned() && random.chance(10)) {
                char buffer[32];
                std::snprintf(buffer, sizeof buffer, "0x%llX",
                              static_cast<unsigned long long>(value.get<std::uint64_t>()));
                return buffer;
            }
            return value.dump();
        }
        const std::string text = value.get<std::string>();
        const bool word = !text.empty() &&
                          text.find_first_not_of("abcdefghijklmnopqrstuvwxyz") == std::string::npos &&
                          text != "y" && text != "yes" && text != "on" && text != "null" && text != "true";
        if (word && random.chance(70)) return text;
        const bool printable = text.find_first_of("\n\r\t\001\x7f") == std::string::npos &&
                               !text.contains("\xc2\x85") && !text.contains("\xe2\x80\xa8") &&
                               !text.contains("\xef\xbb\xbf");
        if (printable && random.chance(40)) {
            std::string out = "'";
            for (const char c : text) out += c == '\'' ? "''" : std::string(1, c);
            return out + "'";
        }
        return quoted(text);
    }

    std::string flow(const Json& value) {
        if (!value.is_structured()) return scalar_text(value);
        const std::string lead = random.chance(20) ? newline_ + "        " : random.chance(30) ? " " : "";
        std::string out(1, value.is_object() ? '{' : '[');
        bool first = true;
        for (const auto& [key, member] : value.items()) {
            if (!first) out += ", ";
            first = false;
            out += lead;
            if (value.is_object()) out += scalar_text(key) + ": ";
            out += flow(member);
        }
        if (random.chance(10) && !value.empty()) out += ",";
        return out + lead + (value.is_object() ? '}' : ']');
    }

    // REQUIRES: a collection that is not empty.
    void block(const Json& value, std::size_t indent, std::string& out) {
        const std::string spaces(indent, ' ');
        bool first = true;
        for (const auto& [key, member] : value.items()) {
            if (!first && random.chance(8))
                out += spaces + "# about " + words_[random.below(words_.size())] + newline_;
            if (!first && random.chance(5)) out += newline_;
            // The first member of a map in a list stands behind the dash.
            if (!first || !inline_) out += spaces;
            inline_ = false;
            first = false;
            if (value.is_array()) {
                out += '-';
            } else {
                out += key.size() < 200 || !random.chance(50) ? scalar_text(key) : quoted(key);
                out += ':';
            }
            if (!member.is_structured() || member.empty() || random.chance(12)) {
                scalar_or_flow(member, indent, value.is_array(), out);
            } else if (value.is_array() && random.chance(80)) {
                out += ' ';
                inline_ = true;
                block(member, indent + 2, out);
            } else {
                out += comment() + newline_;
                const bool dashes_at_key = value.is_object() && member.is_array() && random.chance(50);
                block(member, indent + (dashes_at_key ? 0 : 2), out);
            }
        }
    }

    void scalar_or_flow(const Json& value, std::size_t indent, bool, std::string& out) {
        if (value.is_null() && random.chance(40)) {
            out += comment() + newline_;
            return;
        }
        if (value.is_string() && newline_ == "\n" && random.chance(70)) {
            const std::string text = value.get<std::string>();
            const bool simple = text == "multi\nline" || text == "multi\nline\n" ||
                                text == "out\n  in\nout\n" || text == "two\n\nbreaks\n\n" ||
                                text == "x\n\n\ny\n";
            if (simple) {
                out += text.ends_with("\n\n") ? " |+" : text.ends_with('\n') ? " |" : " |-";
                out += comment() + "\n";
                std::string line;
                for (const char c : text.ends_with('\n') ? text : text + "\n") {
                    if (c == '\n') {
                        out += (line.empty() ? "" : std::string(indent + 2, ' ')) + line + "\n";
                        line.clear();
                    } else {
                        line += c;
                    }
                }
                return;
            }
        }
        out += ' ' + flow(value) + comment() + newline_;
    }

    std::string newline_ = "\n";
    bool inline_ = false;
    const std::vector<std::string> words_ = {"name",       "spec",   "env", "value", "metadata",
                                             "containers", "labels", "app", "image"};
};

}  // namespace keyshepherd::yaml::testing
