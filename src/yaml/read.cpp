#include "syntax.hpp"

#include <keyshepherd/core/text.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>

namespace keyshepherd::yaml {

void Budget::spend(std::size_t offset, std::size_t text) {
    if (left == 0)
        throw Fault{Errc::too_large, offset,
                    fmt::format("more than {} values after alias expansion", max_nodes)};
    if (text > text_left)
        throw Fault{Errc::too_large, offset,
                    fmt::format("more than {} bytes of text after alias expansion", max_text)};
    --left;
    text_left -= text;
}

std::size_t line_of(std::string_view source, std::size_t offset) {
    const std::string_view before = source.substr(0, offset);
    return static_cast<std::size_t>(std::ranges::count(before, '\n')) + 1;
}

std::string item_at(const Syntax& syntax, std::size_t offset) {
    const Node* root = syntax.root;
    if (root == nullptr || root->kind != Kind::map) return "";
    const auto is_items = [](const Entry& entry) {
        return entry.key != nullptr && entry.key->text == "items" && entry.value != nullptr &&
               entry.value->kind == Kind::list;
    };
    const auto member = std::ranges::find_if(root->entries, is_items);
    if (member == root->entries.end()) return "";
    const Node& list = *member->value;
    const bool finished = list.end != 0;
    const auto behind = std::ranges::upper_bound(list.entries, offset, {}, &Entry::begin);
    if (behind == list.entries.begin() || (finished && offset >= list.end)) return "";
    auto index = static_cast<std::size_t>(behind - list.entries.begin()) - 1;
    if (!finished && list.style == Style::block && behind == list.entries.end()) {
        const std::string_view source = syntax.source;
        const std::size_t dash = list.entries.back().begin;
        const std::size_t before = dash == 0 ? nowhere : source.rfind('\n', dash - 1);
        const std::size_t column = dash - (before == nowhere ? 0 : before + 1);
        for (std::size_t line = source.find('\n', dash); line != nowhere && line < offset;
             line = source.find('\n', line + 1)) {
            const std::size_t text = source.find_first_not_of(" \t\r", line + 1);
            if (text == nowhere || text > offset || source[text] == '\n' || source[text] == '#') continue;
            if (text - line - 1 > column) continue;
            if (source[text] != '-') return "";  // behind the list
            ++index;
        }
    }
    return fmt::format("items[{}]", index);
}

Error error_of(const Fault& fault, std::string_view source, std::size_t first_line) {
    const std::string_view before = source.substr(0, fault.offset);
    const std::string_view line = before.substr(before.rfind('\n') + 1);  // npos + 1 is 0
    const auto characters =
        std::ranges::count_if(line, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
    return {fault.code,
            fmt::format("line {}, column {}: {}{}{}", first_line + line_of(source, fault.offset) - 1,
                        characters + 1, fault.item, fault.item.empty() ? "" : ": ", fault.message)};
}

namespace {

bool is_merge(const Node* key) {
    return key->kind == Kind::scalar && key->text == "<<" &&
           ((key->style == Style::plain && key->tag.empty()) || key->tag == "!" ||
            key->tag == "tag:yaml.org,2002:merge");
}

const Node& map_to_merge(const Node& node) {
    const Node& map = node.kind == Kind::alias ? *node.target : node;
    if (map.kind != Kind::map)
        throw Fault{Errc::invalid, node.start, "<< must refer to a map or a list of maps"};
    return map;
}

// A key in a message.
std::string shown(std::string_view key) {
    return key.size() <= 253 ? printable(key) : "...";
}

}  // namespace

bool has_merge(const Node& map) {
    return map.kind == Kind::map && std::ranges::any_of(map.entries, is_merge, &Entry::key);
}

std::vector<MemberOf> members_of(const Node& map, Budget& budget, std::size_t depth) {
    if (depth > max_depth)
        throw Fault{Errc::too_large, map.start, fmt::format("nested more than {} levels deep", max_depth)};
    std::vector<MemberOf> members;
    std::map<std::string, std::size_t> index;
    std::set<std::string> own;
    // The last one wins, as in goyaml.v2: a merge overrides what stands above it.
    const auto assign = [&](std::string key, const Node* value) {
        const auto [at, added] = index.try_emplace(key, members.size());
        if (added) {
            members.push_back({std::move(key), value});
        } else {
            members[at->second].value = value;
        }
    };
    const auto merge = [&](const Node& from) {
        for (MemberOf& member : members_of(map_to_merge(from), budget, depth + 1))
            assign(std::move(member.key), member.value);
    };
    for (const Entry& entry : map.entries) {
        budget.spend(entry.begin, entry.key->text.size());
        if (is_merge(entry.key)) {
            if (entry.value->kind == Kind::list) {
                for (auto element = entry.value->entries.rbegin(); element != entry.value->entries.rend();
                     ++element)
                    merge(*element->value);
            } else {
                merge(*entry.value);
            }
            continue;
        }
        std::string key = key_of(*entry.key);
        if (!own.insert(key).second)
            throw Fault{Errc::invalid, entry.begin,
                        fmt::format("duplicate key \"{}\": kubectl would ignore the first one", shown(key)),
                        true};
        assign(std::move(key), entry.value);
    }
    return members;
}

namespace {

// encoding/json writes a whole number below 1e21 as its shortest digits and zeros; its readers take that for
// an integer.
json::value number_value(double number, std::size_t offset) {
    if (!std::isfinite(number))
        throw Fault{Errc::invalid, offset,
                    ".inf and .nan are not allowed, because JSON cannot represent them"};
    if (number != std::trunc(number) || std::abs(number) >= 1e21) return number;
    std::array<char, 32> buffer{};
    const auto end = std::to_chars(buffer.begin(), buffer.end(), number, std::chars_format::scientific).ptr;
    std::string digits(buffer.begin(), end);
    const std::size_t e = digits.find('e');
    const auto exponent = static_cast<std::size_t>(std::atoi(digits.c_str() + e + 1));
    digits.resize(e);
    const std::size_t sign = number < 0 ? 1 : 0;
    std::erase(digits, '.');
    if (std::signbit(number) && sign == 0) return 0;
    digits.resize(sign + 1 + exponent, '0');
    std::int64_t small = 0;
    if (std::from_chars(digits.data(), digits.data() + digits.size(), small).ec == std::errc()) return small;
    std::uint64_t large = 0;
    if (sign == 0 && std::from_chars(digits.data(), digits.data() + digits.size(), large).ec == std::errc())
        return large;
    return number;
}

// encoding/json puts U+FFFD for what is not UTF-8; only !!binary and \x escapes can bring that.
std::string valid_utf8(const std::string& text) {
    std::string out;
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t length = sequence_length(std::string_view(text).substr(i));
        out += length > 0 ? std::string_view(text).substr(i, length) : "\xef\xbf\xbd";
        i += std::max<std::size_t>(length, 1);
    }
    return out;
}

json::value convert(const Node& at, Budget& budget, std::size_t depth) {
    const Node& node = at.kind == Kind::alias ? *at.target : at;
    budget.spend(at.start, node.text.size());
    if (depth > max_depth)
        throw Fault{Errc::too_large, at.start, fmt::format("nested more than {} levels deep", max_depth)};
    switch (node.kind) {
        case Kind::map: {
            json::object object;
            for (const MemberOf& member : members_of(node, budget))
                object.emplace(member.key, convert(*member.value, budget, depth + 1));
            return object;
        }
        case Kind::list: {
            json::array array;
            array.reserve(node.entries.size());
            for (const Entry& entry : node.entries) array.push_back(convert(*entry.value, budget, depth + 1));
            return array;
        }
        default:
            break;
    }
    return std::visit(
        [&](const auto& scalar) -> json::value {
            using T = std::decay_t<decltype(scalar)>;
            if constexpr (std::is_same_v<T, std::monostate>) {
                return nullptr;
            } else if constexpr (std::is_same_v<T, double>) {
                return number_value(scalar, at.start);
            } else if constexpr (std::is_same_v<T, std::string>) {
                return json::value(node.tag == "tag:yaml.org,2002:binary" ? valid_utf8(scalar) : scalar);
            } else {
                return scalar;
            }
        },
        resolve(node));
}

// json::parse takes the last of two equal keys without a word.
void refuse_repeated_keys(const Node& node) {
    std::set<std::string_view> keys;
    for (const Entry& entry : node.entries) {
        if (entry.key != nullptr && !keys.insert(entry.key->text).second)
            throw Fault{Errc::invalid, entry.begin,
                        fmt::format("duplicate key \"{}\": kubectl would ignore the first one",
                                    shown(entry.key->text)),
                        true};
        refuse_repeated_keys(*entry.value);
    }
}

constexpr std::string_view json_blank = " \t\r\n";
constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

bool starts_like_json(std::string_view source) {
    const std::size_t first = source.find_first_not_of(json_blank);
    return first != nowhere && (source[first] == '{' || source[first] == '[');
}

}  // namespace

json::value value_of(const Syntax& syntax) {
    const Node& root = *syntax.root;
    if (syntax.format == Format::json) {
        const std::string_view text = syntax.source.substr(root.begin, root.end - root.begin);
        auto value = json::parse(text, {}, {.depth = max_depth, .nodes = max_nodes});
        if (!value) throw Fault{value.error().code, root.begin, value.error().message};
        refuse_repeated_keys(root);
        return std::move(value).value();
    }
    Budget budget;
    return convert(root, budget, 1);
}

Syntax parse_document(std::string_view source) {
    if (starts_like_json(source)) {
        try {
            std::size_t at = 0;
            Syntax syntax = parse_json(source, at);
            if (source.find_first_not_of(json_blank, at) == nowhere &&
                json::parse(source.substr(syntax.root->begin, at - syntax.root->begin), {},
                            {.depth = max_depth, .nodes = max_nodes}))
                return syntax;
        } catch (const Fault& fault) {
            if (fault.code == Errc::too_large) throw;
        }
    }
    return parse_yaml(source);
}

namespace {

bool is_separator(std::string_view line, std::string_view mark) {
    return line.starts_with(mark) &&
           (line.size() == mark.size() || std::string_view(" \t\r\n").contains(line[mark.size()]));
}

// Blank, or a comment.
bool is_quiet(std::string_view text) {
    const std::size_t first = text.find_first_not_of(json_blank);
    return first == nowhere || text[first] == '#';
}

struct Chunk {
    std::size_t begin;   // of the separator
    std::size_t source;  // behind it
    std::size_t end;
};

// `---` and `...` at the start of a line end a document wherever they stand, even in quotes and block
// scalars.
std::vector<Chunk> split(std::string_view stream) {
    std::vector<Chunk> chunks{{.begin = 0, .source = 0, .end = 0}};
    std::size_t at = stream.starts_with(byte_order_mark) ? byte_order_mark.size() : 0;
    chunks.back().source = at;
    enum {
        before,
        within,
        behind
    } state = before;  // a document: only comments and directives yet; its text; after `...`
    while (at < stream.size()) {
        const std::size_t newline = stream.find('\n', at);
        const std::size_t next = newline == nowhere ? stream.size() : newline + 1;
        const std::string_view line = stream.substr(at, next - at);
        if (line.starts_with("---")) {
            if (!is_separator(line, "---") || !is_quiet(line.substr(3)))
                throw Fault{
                    Errc::invalid, at,
                    "only a comment may follow '---' on the same line; kubectl rejects anything else"};
            if (state == within) {
                chunks.back().end = at;
                chunks.push_back({.begin = at, .source = next, .end = next});
            } else {
                chunks.back().source = next;
            }
            state = within;
        } else if (is_separator(line, "...")) {
            if (!is_quiet(line.substr(3)))
                throw Fault{Errc::invalid, at, "only a comment may follow '...' on the same line"};
            if (state == behind) {
                chunks.back().source = next;
            } else {
                chunks.back().end = at;
                chunks.push_back({.begin = at, .source = next, .end = next});
            }
            state = behind;
        } else if (state != within && line.starts_with('%')) {
            std::string_view directive = line.substr(0, line.find('#'));
            directive = directive.substr(0, directive.find_last_not_of(json_blank) + 1);
            if (directive != "%YAML 1.1")
                throw Fault{Errc::invalid, at, "unsupported directive; only %YAML 1.1 is supported"};
            if (chunks.back().source < at && state == before &&
                !is_quiet(stream.substr(chunks.back().source, 1)))
                throw Fault{Errc::invalid, at, "a directive must precede the document"};
            chunks.back().source = next;
        } else if (!is_quiet(line)) {
            if (state == behind)
                throw Fault{
                    Errc::invalid, at,
                    "add a '---' line before the text that follows '...'; kubectl would ignore it otherwise"};
            state = within;
        } else if (state == behind) {
            chunks.back().source = next;
        }
        at = next;
    }
    chunks.back().end = stream.size();
    return chunks;
}

// Whether kubectl takes `chunk` for a series of JSON values: only where the stream begins with '{'
// (k8s.io/apimachinery, pkg/util/yaml, GuessJSONStream). It reads one value of a YAML document and drops the
// rest.
bool is_json_stream(std::string_view stream, const Chunk& chunk) {
    const std::string_view before = stream.substr(0, chunk.source);
    const std::size_t first = stream.find_first_not_of(json_blank, chunk.source);
    return (before.empty() || before == byte_order_mark) && first != nowhere && stream[first] == '{';
}

std::size_t first_content(std::string_view source) {
    std::size_t at = 0;
    while (at < source.size()) {
        const std::size_t newline = source.find('\n', at);
        const std::size_t next = newline == nowhere ? source.size() : newline + 1;
        if (!is_quiet(source.substr(at, next - at))) return source.find_first_not_of(json_blank, at);
        at = next;
    }
    return 0;
}

// As value_of(), and a fault names the item of a List.
json::value value_at_place(const Syntax& syntax) {
    try {
        return value_of(syntax);
    } catch (Fault& fault) {
        fault.item = item_at(syntax, fault.offset);
        throw;
    }
}

// Several JSON values one after the other; nothing when this is not JSON.
std::vector<Document> read_json(std::string_view source) {
    std::vector<Document> documents;
    std::size_t at = 0;
    std::size_t line = 1, counted = 0;  // the line of `counted`
    try {
        while (source.find_first_not_of(json_blank, at) != nowhere) {
            const std::size_t from = at;
            const Syntax syntax = parse_json(source, at);
            if (!json::parse(source.substr(syntax.root->begin, at - syntax.root->begin), {},
                             {.depth = max_depth, .nodes = max_nodes}))
                return {};
            // A second value is an object or a list too: `{} foo` is no stream of JSON documents.
            if (syntax.root->style != Style::flow) return {};
            line += line_of(source.substr(counted, syntax.root->begin - counted), nowhere) - 1;
            counted = syntax.root->begin;
            documents.push_back({.json = value_at_place(syntax),
                                 .source = std::string(source.substr(from, at - from)),
                                 .line = line,
                                 .separator = {},
                                 .format = Format::json});
        }
    } catch (const Fault& fault) {
        if (fault.code == Errc::too_large || fault.repeated_key) throw;
        return {};
    }
    if (!documents.empty()) documents.back().source += source.substr(at);
    return documents;
}

}  // namespace

result<std::vector<Document>> read(std::string_view stream) {
    std::vector<Document> documents;
    std::string_view source = stream;
    std::size_t first_line = 1;
    std::size_t counted = 0;  // up to here, line breaks are in first_line
    try {
        for (const Chunk& chunk : split(stream)) {
            first_line += line_of(stream.substr(counted, chunk.source - counted), nowhere) - 1;
            counted = chunk.source;
            source = stream.substr(chunk.source, chunk.end - chunk.source);
            std::vector<Document> read;
            if (starts_like_json(source)) read = read_json(source);
            if (read.size() > 1 && !is_json_stream(stream, chunk))
                throw Fault{Errc::invalid,
                            read.front().source.size() + read[1].source.find_first_not_of(json_blank),
                            "add a '---' line before the second JSON value of this document; kubectl would "
                            "ignore it otherwise"};
            if (read.empty()) {
                const Syntax syntax = parse_yaml(source);
                read.push_back({.json = value_at_place(syntax),
                                .source = std::string(source),
                                .line = line_of(source, first_content(source)),
                                .separator = {},
                                .format = Format::yaml});
            }
            read.front().separator = stream.substr(chunk.begin, chunk.source - chunk.begin);
            for (Document& document : read) {
                document.line += first_line - 1;
                documents.push_back(std::move(document));
            }
        }
    } catch (const Fault& fault) {
        Error error = error_of(fault, source, first_line);
        if (fault.code == Errc::invalid && stream.contains("{{"))
            error.message +=
                "; the file contains '{{': render Helm templates first, for example with `helm template`";
        return std::unexpected(std::move(error));
    }
    return documents;
}

struct Lines::Index {
    explicit Index(std::string_view source) : syntax(parse_document(source)), content(first_content(source)) {
        for (std::size_t at = source.find('\n'); at != nowhere; at = source.find('\n', at + 1))
            breaks.push_back(at);
    }

    std::size_t line(std::size_t offset) const {
        return static_cast<std::size_t>(std::ranges::lower_bound(breaks, offset) - breaks.begin());
    }

    // The entry of `node` that a token of a pointer names, or nullptr.
    const Entry* entry(const Node& node, std::string_view token) {
        if (node.kind == Kind::list) {
            std::size_t index = 0;
            const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), index);
            const bool is_index = error == std::errc() && end == token.data() + token.size();
            return is_index && index < node.entries.size() ? &node.entries[index] : nullptr;
        }
        if (node.kind != Kind::map) return nullptr;
        const auto [members, is_new] = maps.try_emplace(&node);
        if (is_new)
            for (const Entry& each : node.entries)
                members->second.try_emplace(json::escape(key_of(*each.key)), &each);
        const auto found = members->second.find(token);
        return found == members->second.end() ? nullptr : found->second;
    }

    Syntax syntax;
    std::size_t content;              // `document.line` is where the content starts, not the source
    std::vector<std::size_t> breaks;  // every '\n'
    std::map<const Node*, std::map<std::string, const Entry*, std::less<>>> maps;
};

Lines::Lines(const Document& document) : document_(document) {}
Lines::~Lines() = default;

std::size_t Lines::at(std::string_view pointer) {
    try {
        if (!index_) index_ = std::make_unique<Index>(document_.source);
        const Node* node = index_->syntax.root;
        std::size_t offset = node->start;
        while (pointer.starts_with('/')) {
            pointer.remove_prefix(1);
            const std::size_t slash = std::min(pointer.find('/'), pointer.size());
            const Entry* entry =
                index_->entry(node->kind == Kind::alias ? *node->target : *node, pointer.substr(0, slash));
            pointer.remove_prefix(slash);
            if (entry == nullptr) return document_.line;
            offset = entry->begin;
            node = entry->value;
        }
        return document_.line + index_->line(offset) - index_->line(index_->content);
    } catch (const Fault&) {
        return document_.line;
    }
}

}  // namespace keyshepherd::yaml
