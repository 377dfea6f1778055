// Prints what a patch brings, and copies of what aliases stand for.
#include "tree.hpp"

#include <keyshepherd/core/ascii.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace keyshepherd::yaml {

namespace {

// Safe and read as text by YAML 1.1 and 1.2 parsers alike.
bool can_be_plain(std::string_view text) {
    if (text.empty() || text.size() > 500) return false;
    const char first = text.front();
    const bool digit = first >= '0' && first <= '9';
    if (digit) {  // 100m, 64Mi: quantities only; times, dates and versions are numbers to someone
        const std::size_t unit = std::min(text.find_first_not_of("0123456789"), text.size());
        constexpr std::string_view units[] = {"m", "k", "M", "G", "Ki", "Mi", "Gi", "Ti"};
        return std::ranges::find(units, text.substr(unit)) != std::end(units);
    }
    if (first == '-') {  // --flag, -flag
        const std::size_t name = text.find_first_not_of('-');
        if (name == nowhere || name > 2 || !is_alphanumeric(text[name]) || text[name] <= '9') return false;
    } else if (!is_alphanumeric(first) && !std::string_view("_/$(").contains(first)) {
        return false;
    }
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        const bool inner = i + 1 < text.size() && text[i + 1] != ' ';
        if (is_alphanumeric(c) || std::string_view("_-./$()@=,;+").contains(c)) continue;
        if ((c == ' ' || c == ':') && inner) continue;
        return false;
    }
    return std::holds_alternative<std::string>(resolve_plain(text)) &&
           std::holds_alternative<std::string>(resolve_plain(to_lower(text)));
}

bool needs_escapes(std::string_view text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c < ' ' || c == 0x7f) return true;
        const std::string_view rest = text.substr(i);
        if (c == 0xc2 && rest.size() > 1 && static_cast<unsigned char>(rest[1]) < 0xa0) return true;
        if (rest.starts_with("\xe2\x80\xa8") || rest.starts_with("\xe2\x80\xa9") ||
            rest.starts_with("\xef\xbb\xbf") || rest.starts_with("\xef\xbf\xbe") ||
            rest.starts_with("\xef\xbf\xbf"))
            return true;
    }
    return false;
}

bool can_be_literal(std::string_view text, const Manner& manner) {
    if (!text.contains('\n') || manner.newline != "\n" || text.front() == '\n' || text.front() == ' ' ||
        text.ends_with("\n\n") || text.contains(" \n") || text.ends_with(' '))
        return false;
    std::string lines(text);
    std::erase(lines, '\n');
    return !needs_escapes(lines);
}

std::string number_text(const json::value& value) {
    if (value.is_int64()) return fmt::format("{}", value.get_int64());
    if (value.is_uint64()) return fmt::format("{}", value.get_uint64());
    return fmt::format("{}", value.get_double());
}

// The user's own spelling, where it can stand anywhere: numbers, booleans and plain words.
std::string_view spelling_of(const Tree& tree, std::string_view source, bool flow) {
    if (tree.node == nullptr) return {};
    const Node& node = *tree.node;
    const std::string_view text = source.substr(node.begin, node.end - node.begin);
    if (text.empty() || text.contains('\n') || !node.tag.empty()) return {};
    if (node.style == Style::quoted) return text;
    if (node.style != Style::plain || (flow && text.find_first_of(",[]{}?:") != nowhere)) return {};
    return text;
}

}  // namespace

json::value scalar_of(const Tree& tree) {
    if (tree.node == nullptr) return tree.fresh;
    Syntax leaf;
    leaf.root = tree.node;
    return value_of(leaf);
}

std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        const auto code = static_cast<unsigned char>(c);
        const std::string_view rest = text.substr(i);
        if (c == '"' || c == '\\') {
            out += {'\\', c};
        } else if (c == '\n') {
            out += "\\n";
        } else if (c == '\t') {
            out += "\\t";
        } else if (c == '\r') {
            out += "\\r";
        } else if (code < ' ' || code == 0x7f) {
            out += fmt::format("\\u{:04x}", code);
        } else if (code == 0xc2 && rest.size() > 1 && static_cast<unsigned char>(rest[1]) < 0xa0) {
            out += fmt::format("\\u{:04x}", static_cast<unsigned char>(text[++i]));
        } else if (rest.starts_with("\xe2\x80\xa8") || rest.starts_with("\xe2\x80\xa9")) {
            out += rest[2] == '\xa8' ? "\\u2028" : "\\u2029";
            i += 2;
        } else if (rest.starts_with("\xef\xbb\xbf")) {
            out += "\\ufeff";
            i += 2;
        } else if (rest.starts_with("\xef\xbf\xbe") || rest.starts_with("\xef\xbf\xbf")) {
            out += rest[2] == '\xbe' ? "\\ufffe" : "\\uffff";
            i += 2;
        } else {
            out += c;
        }
    }
    return out += '"';
}

std::string block_key(std::string_view key) {
    return can_be_plain(key) ? std::string(key) : quoted(key);
}

std::string flow_key(std::string_view key, const Manner& manner) {
    const bool plain =
        manner.format == Format::yaml && can_be_plain(key) && std::ranges::all_of(key, is_alphanumeric);
    return plain ? std::string(key) : quoted(key);
}

bool begins_below(Tree& tree) {
    if (!tree.is_map() && !tree.is_list()) return false;
    tree.open();
    return !tree.members.empty();
}

std::vector<std::string> block_lines(Tree& tree, const Manner& manner, std::string_view source) {
    std::vector<std::string> lines;
    if (begins_below(tree)) {
        const bool map = tree.is_map();
        for (Member& member : tree.members) {
            const std::vector<std::string> inner = block_lines(member.value, manner, source);
            const bool below = map && begins_below(member.value);
            std::string first = map ? block_key(member.key) + ':' : "-";
            if (!below) first += ' ' + inner.front();
            lines.push_back(std::move(first));
            const std::size_t indent = !map ? 2 : member.value.is_list() ? manner.list_offset : manner.step;
            for (std::size_t i = below ? 0 : 1; i < inner.size(); ++i)
                lines.push_back(inner[i].empty() ? "" : std::string(indent, ' ') + inner[i]);
        }
        return lines;
    }
    if (tree.is_map()) return {"{}"};
    if (tree.is_list()) return {"[]"};
    if (const std::string_view spelling = spelling_of(tree, source, false); !spelling.empty())
        return {std::string(spelling)};
    const json::value value = scalar_of(tree);
    if (!value.is_string()) {
        if (value.is_null()) return {"null"};
        if (value.is_bool()) return {value.get_bool() ? "true" : "false"};
        return {number_text(value)};
    }
    const std::string_view text = value.get_string();
    if (can_be_plain(text)) return {std::string(text)};
    if (can_be_literal(text, manner)) {
        const bool ended = text.ends_with('\n');
        lines.push_back(ended ? "|" : "|-");
        std::string_view rest = ended ? text.substr(0, text.size() - 1) : text;
        while (true) {
            const std::size_t newline = rest.find('\n');
            lines.emplace_back(rest.substr(0, newline));
            if (newline == nowhere) return lines;
            rest.remove_prefix(newline + 1);
        }
    }
    // As kubectl does: a JSON text within a value stays readable.
    if (!needs_escapes(text) && text.find_first_of("\"\\") != nowhere) {
        std::string single = "'";
        for (const char c : text) {
            if (c == '\'') single += c;
            single += c;
        }
        return {single + '\''};
    }
    return {quoted(text)};
}

std::string flow_text(Tree& tree, const Manner& manner, std::string_view source, std::size_t indent) {
    if (!begins_below(tree)) {
        if (tree.is_map()) return "{}";
        if (tree.is_list()) return "[]";
        if (const std::string_view spelling = spelling_of(tree, source, true); !spelling.empty())
            return std::string(spelling);
        const json::value value = scalar_of(tree);
        if (value.is_string()) return quoted(value.get_string());
        if (value.is_null()) return "null";
        if (value.is_bool()) return value.get_bool() ? "true" : "false";
        return number_text(value);
    }
    const bool lines = indent != nowhere;
    const std::size_t inner = lines ? indent + manner.step : nowhere;
    std::string out(1, tree.is_map() ? '{' : '[');
    bool first = true;
    for (Member& member : tree.members) {
        if (!first) out += lines ? "," : manner.comma;
        first = false;
        if (lines) out += manner.newline + std::string(inner, ' ');
        if (tree.is_map()) out += flow_key(member.key, manner) + manner.colon;
        out += flow_text(member.value, manner, source, inner);
    }
    if (lines) out += manner.newline + std::string(indent, ' ');
    return out += tree.is_map() ? '}' : ']';
}

}  // namespace keyshepherd::yaml
