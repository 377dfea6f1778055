// Scalars by the rules of go.yaml.in/yaml/v2 (resolve.go, decode.go) and sigs.k8s.io/yaml
// (convertToJSONableObject).
#include "syntax.hpp"

#include <keyshepherd/core/base64.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

namespace keyshepherd::yaml {

namespace {

constexpr std::string_view standard = "tag:yaml.org,2002:";

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// strconv.ParseInt / ParseUint with base 0 on text without underscores.
template <class Integer>
std::optional<Integer> parse_integer(std::string_view text, int base = 0) {
    bool negative = false;
    if (!text.empty() && (text[0] == '+' || text[0] == '-')) {
        if constexpr (!std::is_signed_v<Integer>) return std::nullopt;
        negative = text[0] == '-';
        text.remove_prefix(1);
    }
    if (text.empty()) return std::nullopt;
    if (base == 0) {
        base = 10;
        if (text[0] == '0') {
            const char letter = text.size() >= 3 ? static_cast<char>(text[1] | 0x20) : '0';
            base = letter == 'x' ? 16 : letter == 'b' ? 2 : 8;
            text.remove_prefix(letter == 'x' || letter == 'b' || letter == 'o' ? 2 : 1);
            if (text.empty()) return Integer{0};
        }
    }
    if (text[0] == '-') return std::nullopt;  // std::from_chars would take a second sign
    std::uint64_t magnitude = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), magnitude, base);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    if constexpr (std::is_signed_v<Integer>) {
        constexpr std::uint64_t top = std::uint64_t{1} << 63;
        if (magnitude > (negative ? top : top - 1)) return std::nullopt;
        return static_cast<Integer>(negative ? 0 - magnitude : magnitude);
    } else {
        return magnitude;
    }
}

// [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?
bool looks_like_float(std::string_view text) {
    std::size_t i = 0;
    const auto digits = [&] {
        const std::size_t from = i;
        while (i < text.size() && is_digit(text[i])) ++i;
        return i - from;
    };
    const auto sign = [&] {
        if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    };
    sign();
    const std::size_t whole = digits();
    if (i < text.size() && text[i] == '.') {
        ++i;
        if (digits() == 0 && whole == 0) return false;
    } else if (whole == 0) {
        return false;
    }
    if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
        ++i;
        sign();
        if (digits() == 0) return false;
    }
    return i == text.size();
}

// strconv.ParseFloat on text that looks_like_float; nothing when it is out of range. Underflow is zero.
std::optional<double> parse_float(std::string_view text) {
    if (text.starts_with('+')) text.remove_prefix(1);
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc()) return number;
    if (error != std::errc::result_out_of_range) return std::nullopt;
    const std::size_t e = text.find_first_of("eE");
    const std::string_view mantissa = text.substr(0, e);
    const bool tiny = (e != nowhere && text.substr(e + 1).starts_with('-')) ||
                      mantissa.find_first_of("123456789") > mantissa.find('.');
    if (!tiny) return std::nullopt;
    return text.starts_with('-') ? -0.0 : 0.0;
}

// Go's literals take an underscore between two digits, and nowhere else.
std::optional<std::string> without_separators(std::string_view text) {
    for (std::size_t i = 0; i < text.size(); ++i)
        if (text[i] == '_' &&
            (i == 0 || i + 1 == text.size() || !is_digit(text[i - 1]) || !is_digit(text[i + 1])))
            return std::nullopt;
    std::string plain(text);
    std::erase(plain, '_');
    return plain;
}

struct Word {
    std::string_view text;
    int meaning;  // 0 false, 1 true, 2 null, 3 infinity, 4 -infinity, 5 not a number
};
constexpr auto words = std::to_array<Word>({
    {"y", 1},     {"Y", 1},     {"yes", 1},   {"Yes", 1},   {"YES", 1},   {"true", 1},  {"True", 1},
    {"TRUE", 1},  {"on", 1},    {"On", 1},    {"ON", 1},    {"n", 0},     {"N", 0},     {"no", 0},
    {"No", 0},    {"NO", 0},    {"false", 0}, {"False", 0}, {"FALSE", 0}, {"off", 0},   {"Off", 0},
    {"OFF", 0},   {"", 2},      {"~", 2},     {"null", 2},  {"Null", 2},  {"NULL", 2},  {".nan", 5},
    {".NaN", 5},  {".NAN", 5},  {".inf", 3},  {".Inf", 3},  {".INF", 3},  {"+.inf", 3}, {"+.Inf", 3},
    {"+.INF", 3}, {"-.inf", 4}, {"-.Inf", 4}, {"-.INF", 4},
});

// time.Parse by the four layouts of goyaml.v2, as far as it matters: what is no date is refused as
// !!timestamp only.
bool looks_like_timestamp(std::string_view text) {
    std::size_t i = 0;
    const auto digits = [&](std::size_t least, std::size_t most) {
        const std::size_t from = i;
        while (i < text.size() && i - from < most && is_digit(text[i])) ++i;
        return i - from >= least;
    };
    const auto literal = [&](std::string_view any) {
        if (i == text.size() || !any.contains(text[i])) return false;
        ++i;
        return true;
    };
    if (!digits(4, 4) || !literal("-") || !digits(1, 2) || !literal("-") || !digits(1, 2)) return false;
    if (i == text.size()) return true;
    const char between = text[i];
    if (!literal("Tt ") || !digits(1, 2) || !literal(":") || !digits(1, 2) || !literal(":") || !digits(1, 2))
        return false;
    if (literal(".") && !digits(1, 9)) return false;
    if (between == ' ') return i == text.size();
    if (literal("Z")) return i == text.size();
    return literal("+-") && digits(2, 2) && literal(":") && digits(2, 2) && i == text.size();
}

}  // namespace

Scalar resolve_plain(std::string_view text) {
    const auto word = std::ranges::find(words, text, &Word::text);
    if (word != words.end()) {
        switch (word->meaning) {
            case 2:
                return std::monostate();
            case 3:
                return std::numeric_limits<double>::infinity();
            case 4:
                return -std::numeric_limits<double>::infinity();
            case 5:
                return std::numeric_limits<double>::quiet_NaN();
            default:
                return word->meaning == 1;
        }
    }
    const char first = text[0];
    if (first == '.') {
        if (const auto plain = without_separators(text); plain && looks_like_float(*plain))
            if (const auto number = parse_float(*plain)) return *number;
    } else if (is_digit(first) || first == '+' || first == '-') {
        std::string plain(text);
        std::erase(plain, '_');
        if (const auto number = parse_integer<std::int64_t>(plain)) return *number;
        if (const auto number = parse_integer<std::uint64_t>(plain)) return *number;
        if (looks_like_float(plain))
            if (const auto number = parse_float(plain)) return *number;
        if (plain.starts_with("0b")) {
            if (const auto number = parse_integer<std::int64_t>(std::string_view(plain).substr(2), 2))
                return *number;
        }
    }
    return std::string(text);
}

Scalar resolve(const Node& node) {
    if (node.tag.empty() && node.style != Style::plain) return node.text;
    if (node.tag.empty()) return resolve_plain(node.text);
    if (!node.tag.starts_with(standard)) return node.text;
    const std::string_view tag = std::string_view(node.tag).substr(standard.size());
    if (tag == "binary") {
        auto bytes = decode_base64(node.text);
        if (!bytes) throw Fault{Errc::invalid, node.start, "the !!binary value is not valid base64"};
        return *std::move(bytes);
    }
    constexpr auto known = std::to_array<std::string_view>({"bool", "int", "float", "null", "timestamp"});
    if (std::ranges::find(known, tag) == known.end()) return node.text;  // !!str too

    Scalar found = resolve_plain(node.text);
    if (tag == "float") {
        if (const auto* number = std::get_if<std::int64_t>(&found)) return static_cast<double>(*number);
        if (std::holds_alternative<double>(found)) return found;
    }
    const bool fits = (tag == "bool" && std::holds_alternative<bool>(found)) ||
                      (tag == "int" && (std::holds_alternative<std::int64_t>(found) ||
                                        std::holds_alternative<std::uint64_t>(found))) ||
                      (tag == "null" && std::holds_alternative<std::monostate>(found)) ||
                      (tag == "timestamp" && looks_like_timestamp(node.text));
    if (!fits) throw Fault{Errc::invalid, node.start, fmt::format("the value is not a valid !!{}", tag)};
    return found;
}

std::string key_of(const Node& key) {
    const Node& node = key.kind == Kind::alias ? *key.target : key;
    if (node.kind != Kind::scalar) throw Fault{Errc::invalid, key.start, "a key cannot be a list or a map"};
    const Scalar scalar = resolve(node);
    if (const auto* text = std::get_if<std::string>(&scalar)) return *text;
    if (const auto* flag = std::get_if<bool>(&scalar)) return *flag ? "true" : "false";
    if (const auto* number = std::get_if<std::int64_t>(&scalar)) return fmt::format("{}", *number);
    if (const auto* number = std::get_if<double>(&scalar)) {
        // strconv.FormatFloat(x, 'g', -1, 32)
        const float single = static_cast<float>(*number);
        if (std::isnan(single)) return ".nan";
        if (std::isinf(single)) return single > 0 ? ".inf" : "-.inf";
        std::array<char, 64> buffer;
        const auto print = [&](std::chars_format format) {
            const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), single, format).ptr;
            return std::string(buffer.data(), end);
        };
        const std::string scientific = print(std::chars_format::scientific);
        const int exponent = std::atoi(scientific.c_str() + scientific.find('e') + 1);
        return exponent < -4 || exponent >= 6 ? scientific : print(std::chars_format::fixed);
    }
    throw Fault{
        Errc::invalid, key.start,
        std::holds_alternative<std::monostate>(scalar) ? "a key cannot be null" : "the key is out of range"};
}

}  // namespace keyshepherd::yaml
