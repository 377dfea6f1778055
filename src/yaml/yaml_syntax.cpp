// yaml-cpp finds the structure; what stands where, and what scalars hold, is read from the source alongside.
//
// yaml-cpp's events carry the start of a node only, accept unterminated quotes and unfold some scalars
// differently from libyaml (and so from goyaml.v2). So every event is matched with the bytes it came from:
// the reader walks over the punctuation that must stand there, decodes the scalar by libyaml's rules and
// notes where it ends. Where the two disagree, the document is refused.
#include "syntax.hpp"

#include <keyshepherd/core/ascii.hpp>
#include <keyshepherd/core/text.hpp>

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <map>
#include <sstream>

namespace keyshepherd::yaml {

namespace {

bool is_blank(char c) {
    return c == ' ' || c == '\t';
}
bool is_break(char c) {
    return c == '\n' || c == '\r';
}

// Without overflow: aliases of aliases grow past any number.
std::size_t added(std::size_t a, std::size_t b) {
    constexpr std::size_t most = std::size_t{1} << 52;
    return std::min(a + b, most);
}

void append_utf8(std::string& out, std::uint32_t c) {
    const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (c >> shift & 0x3f)); };
    if (c < 0x80) {
        out += static_cast<char>(c);
    } else if (c < 0x800) {
        out += static_cast<char>(0xc0 | c >> 6);
        tail(0);
    } else if (c < 0x10000) {
        out += static_cast<char>(0xe0 | c >> 12);
        tail(6);
        tail(0);
    } else {
        out += static_cast<char>(0xf0 | c >> 18);
        tail(12);
        tail(6);
        tail(0);
    }
}

class Builder final : public YAML::EventHandler {
public:
    // `structure`: what yaml-cpp reads, as long as `source`; they differ within plain scalars alone.
    Builder(std::string_view source, std::string_view structure, Syntax& syntax)
        : source_(source), structure_(structure), syntax_(syntax) {}

    void OnDocumentStart(const YAML::Mark&) override {}
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark&, YAML::anchor_t anchor) override;
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override;
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override;
    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value style) override {
        begin_collection(Kind::list, style == YAML::EmitterStyle::Flow, mark, tag, anchor);
    }
    void OnSequenceEnd() override { end_collection(']'); }
    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value style) override {
        begin_collection(Kind::map, style == YAML::EmitterStyle::Flow, mark, tag, anchor);
    }
    void OnMapEnd() override { end_collection('}'); }

    void finish() {
        if (syntax_.root == nullptr) {
            at_ = skip(at_, false);
            Node& node = make(Kind::scalar);
            node.start = node.begin = node.end = at_;
            attach(node);
        }
        at_ = skip(at_, true);
        if (at_ < source_.size()) fault(at_, "unexpected text after the document");
        check_aliases();
    }

private:
    struct Frame {
        Node* node;
        bool flow;
        long indent;         // of a block collection
        bool value = false;  // a map's key was read
    };

    [[noreturn]] static void fault(std::size_t offset, std::string message) {
        throw Fault{Errc::invalid, offset, std::move(message)};
    }
    char look(std::size_t at) const { return at < source_.size() ? source_[at] : '\0'; }
    bool ends_token(std::size_t at) const {
        return at >= source_.size() || is_blank(source_[at]) || is_break(source_[at]);
    }
    bool in_flow() const { return !frames_.empty() && frames_.back().flow; }
    long indent() const { return frames_.empty() ? -1 : frames_.back().indent; }
    // Looks back no further than where it was last asked, so that a long line is not searched again and
    // again.
    std::size_t column(std::size_t at) {
        if (at < line_start_) known_ = line_start_ = 0;
        if (const std::size_t newline = source_.substr(known_, at - std::min(known_, at)).rfind('\n');
            newline != nowhere)
            line_start_ = known_ + newline + 1;
        known_ = std::max(known_, at);
        return at - line_start_;
    }

    // Over white space and comments. A tab where a block could begin is refused, as libyaml does.
    std::size_t skip(std::size_t at, bool tabs) const {
        while (at < source_.size()) {
            const char c = source_[at];
            if (c == '#') {
                at = std::min(source_.find('\n', at), source_.size());
            } else if (is_break(c)) {
                if (!in_flow()) tabs = false;
                ++at;
            } else if (c == '\t' && !tabs && !in_flow()) {
                fault(at, "indent with spaces, not tabs");
            } else if (is_blank(c)) {
                ++at;
            } else {
                break;
            }
        }
        return at;
    }

    // Whether what stands at `at`, behind `from`, can be part of the node that begins at `from`.
    bool belongs(std::size_t from, std::size_t at) {
        if (at >= source_.size()) return false;
        if (in_flow()) return !std::string_view(",]}").contains(source_[at]);
        if (source_.substr(from, at - from).contains('\n')) return static_cast<long>(column(at)) > indent();
        return true;
    }

    Node& make(Kind kind) {
        if (syntax_.nodes.size() >= max_nodes)
            throw Fault{Errc::too_large, at_, fmt::format("more than {} values", max_nodes)};
        Node& node = syntax_.nodes.emplace_back();
        node.kind = kind;
        return node;
    }

    void arrive();
    void attach(Node& node);
    std::size_t properties(Node& node, int most);
    std::size_t over_name(std::size_t at, const char* what) const;
    void check_tag(std::size_t at, std::size_t end) const {
        const auto of_tag = [](char c) {
            return is_alphanumeric(c) || std::string_view("-_;/?:@&=+$,.!~*'()[]<>").contains(c);
        };
        const std::string_view tag = source_.substr(at, end - at);
        if (!std::ranges::all_of(tag, of_tag)) fault(at, "invalid character in a tag");
        if (!tag.starts_with("!<") && tag.substr(std::min<std::size_t>(2, tag.size())).contains('!'))
            fault(at, "undeclared tag handle");
    }
    void in_step(const YAML::Mark& mark, const Node& node) const {
        if (static_cast<std::size_t>(mark.pos) != node.start)
            fault(node.start, "unsupported YAML syntax; simplify this passage");
    }
    void check_aliases() const;
    void begin_collection(Kind kind, bool flow, const YAML::Mark& mark, const std::string& tag,
                          YAML::anchor_t anchor);
    void end_collection(char bracket);
    void remember(YAML::anchor_t anchor, Node& node) {
        if (anchor != 0) anchors_[anchor] = &node;
    }

    void read_plain(Node& node, std::string_view value);
    void read_single_quoted(Node& node);
    void read_double_quoted(Node& node);
    void read_block_scalar(Node& node);
    // Over the line break at `at`.
    std::size_t over_break(std::size_t at) const {
        return at + (source_.substr(at).starts_with("\r\n") ? 2 : 1);
    }
    // Folds blanks and breaks of a quoted or plain scalar from `at` on. `escaped`: an escaped break came
    // before.
    std::size_t fold(std::size_t at, std::string& text, bool escaped) const;

    std::string_view source_;
    std::string_view structure_;
    Syntax& syntax_;
    std::size_t at_ = 0;  // everything before is read
    bool tabs_ = false;
    std::vector<Frame> frames_;
    std::map<YAML::anchor_t, Node*> anchors_;
    std::size_t line_start_ = 0;  // of the line that holds known_
    std::size_t known_ = 0;
};

// Moves over the punctuation that leads to the next node, and opens its entry.
void Builder::arrive() {
    tabs_ = !frames_.empty();
    if (frames_.empty()) return;
    Frame& frame = frames_.back();
    std::vector<Entry>& entries = frame.node->entries;
    if (frame.node->kind == Kind::list && !frame.flow) {
        const std::size_t dash = skip(at_, true);
        if (look(dash) != '-') fault(dash, "expected '-' before a list item");
        entries.push_back({.begin = dash, .after = dash + 1});
        at_ = dash + 1;
        tabs_ = false;
        return;
    }
    if (frame.node->kind == Kind::map && frame.value) {
        const std::size_t colon = skip(at_, true);
        const bool explicit_key = look(entries.back().begin) == '?' && ends_token(entries.back().begin + 1);
        if (look(colon) != ':') {
            if (!explicit_key && !frame.flow) fault(colon, "expected ':' after a key");
            return;
        }
        // libyaml takes the colon of {a:,} for a part of the plain scalar.
        const Node& key = *entries.back().key;
        if (frame.flow && key.style == Style::plain && key.kind == Kind::scalar && !key.text.empty() &&
            !ends_token(colon + 1))
            fault(colon, "expected a space after ':'");
        entries.back().after = at_ = colon + 1;
        tabs_ = !explicit_key;  // a block may begin on the line of an explicit key's value
        return;
    }
    std::size_t next = skip(at_, true);
    if (frame.flow && !frame.node->bare && !entries.empty()) {
        if (look(next) != ',') fault(next, "expected ',' between two entries");
        next = skip(next + 1, true);
    }
    entries.push_back({.begin = next});
    at_ = next;
    if (frame.node->kind == Kind::map && look(next) == '?' && ends_token(next + 1)) {
        ++at_;
        tabs_ = false;
    }
}

void Builder::attach(Node& node) {
    if (frames_.empty()) {
        syntax_.root = &node;
        return;
    }
    Frame& frame = frames_.back();
    Entry& entry = frame.node->entries.back();
    if (frame.node->kind == Kind::list) {
        entry.value = &node;
    } else {
        (frame.value ? entry.value : entry.key) = &node;
        frame.value = !frame.value;
    }
}

// Reads up to `most` of a tag and an anchor; returns where the content may begin.
std::size_t Builder::properties(Node& node, int most) {
    std::size_t next = skip(at_, tabs_);
    node.start = next;
    for (bool tagged = false, anchored = false; most > 0 && belongs(at_, next); --most) {
        const char c = look(next);
        if ((c != '!' || tagged) && (c != '&' || anchored)) break;
        std::size_t end = next + 1;
        if (c == '!' && look(end) == '<') {
            end = source_.find('>', end);
            if (end == nowhere || !ends_token(end + 1)) fault(next, "the tag is not terminated");
            node.tag = source_.substr(next + 2, end - next - 2);
            ++end;
        } else if (c == '&') {
            end = over_name(end, "the anchor name is missing or invalid");
        } else {
            while (!ends_token(end)) ++end;
            const std::string_view word = source_.substr(next, end - next);
            node.tag = word.starts_with("!!") ? fmt::format("tag:yaml.org,2002:{}", word.substr(2)) : word;
        }
        if (c == '!') check_tag(next, end);
        (c == '!' ? tagged : anchored) = true;
        at_ = end;
        tabs_ = true;
        next = skip(end, true);
    }
    return next;
}

// The names of anchors that libyaml takes; yaml-cpp takes more.
std::size_t Builder::over_name(std::size_t at, const char* what) const {
    std::size_t end = at;
    const auto of_name = [](char c) { return is_alphanumeric(c) || c == '-' || c == '_'; };
    while (end < source_.size() && of_name(source_[end])) ++end;
    if (end == at || (!ends_token(end) && !std::string_view("?:,]}%@`").contains(look(end)))) fault(at, what);
    return end;
}

void Builder::OnNull(const YAML::Mark&, YAML::anchor_t anchor) {
    arrive();
    Node& node = make(Kind::scalar);
    const std::size_t before = at_;
    const std::size_t next = properties(node, 2);
    const bool any = at_ != before;
    node.anchored = anchor != 0;
    node.begin = node.end = at_;
    if (belongs(at_, next)) {
        for (const std::string_view word : {"null", "Null", "NULL", "~"}) {
            if (!source_.substr(next).starts_with(word)) continue;
            node.begin = next;
            node.end = at_ = next + word.size();
            node.text = word;
            break;
        }
    }
    if (!any) node.start = node.begin;
    if (in_flow() && frames_.back().node->kind == Kind::list && node.start == node.end)
        fault(at_, "expected a list item");
    remember(anchor, node);
    attach(node);
}

void Builder::OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) {
    arrive();
    Node& node = make(Kind::alias);
    node.start = node.begin = skip(at_, tabs_);
    in_step(mark, node);
    if (!belongs(at_, node.begin)) fault(node.begin, "the value must be indented");
    if (look(node.begin) != '*') fault(node.begin, "unsupported YAML syntax; simplify this passage");
    const std::size_t end = over_name(node.begin + 1, "the alias name is missing or invalid");
    const auto target = anchors_.find(anchor);
    if (target == anchors_.end()) fault(node.begin, "the alias refers to an unknown anchor");
    if (std::ranges::any_of(frames_, [&](const Frame& frame) { return frame.node == target->second; }))
        fault(node.begin, "the alias refers to a value that contains it");
    node.target = target->second;
    node.visits = added(1, node.target->visits);
    node.aliased = node.target->visits;
    node.end = at_ = end;
    attach(node);
}

void Builder::OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       const std::string& value) {
    arrive();
    Node& node = make(Kind::scalar);
    node.begin = properties(node, 2);
    in_step(mark, node);
    node.anchored = anchor != 0;
    const char c = look(node.begin);
    const bool here = belongs(at_, node.begin);
    if (here && c == '"') {
        read_double_quoted(node);
    } else if (here && c == '\'') {
        read_single_quoted(node);
    } else if (here && (c == '|' || c == '>') && !in_flow()) {
        read_block_scalar(node);
    } else if (value.empty()) {
        node.begin = node.end = at_;
    } else if (!here) {
        fault(node.begin, "the value must be indented");
    } else {
        read_plain(node, value);
    }
    at_ = node.end;
    remember(anchor, node);
    attach(node);
}

void Builder::begin_collection(Kind kind, bool flow, const YAML::Mark& mark, const std::string& tag,
                               YAML::anchor_t anchor) {
    arrive();
    Node& node = make(kind);
    node.begin = properties(node, (anchor != 0 ? 1 : 0) + (tag != "?" && !tag.empty() ? 1 : 0));
    if (flow && !belongs(at_, node.begin)) fault(node.begin, "the value must be indented");
    at_ = node.begin;
    in_step(mark, node);
    node.anchored = anchor != 0;
    flow = flow || in_flow();
    const bool bracket = flow && look(node.begin) == (kind == Kind::list ? '[' : '{');
    node.style = flow ? Style::flow : Style::block;
    node.bare = node.style == Style::flow && !bracket;
    if (node.bare && kind == Kind::list) fault(node.begin, "a block list is not allowed inside brackets");
    const long inner = static_cast<long>(column(node.begin));
    if (bracket) ++at_;
    remember(anchor, node);
    attach(node);
    frames_.push_back({.node = &node, .flow = flow, .indent = inner});
    if (frames_.size() > max_depth)
        throw Fault{Errc::too_large, node.begin, fmt::format("nested more than {} levels deep", max_depth)};
}

void Builder::end_collection(char bracket) {
    Node& node = *frames_.back().node;
    if (node.style == Style::flow && !node.bare) {
        at_ = skip(at_, true);
        if (look(at_) == ',' && !node.entries.empty()) at_ = skip(at_ + 1, true);
        if (look(at_) != bracket) fault(at_, fmt::format("expected '{}'", bracket));
        ++at_;
    }
    node.end = at_;
    for (const Entry& entry : node.entries)
        for (const Node* part : {entry.key, entry.value}) {
            if (part == nullptr) continue;
            node.visits = added(node.visits, part->visits);
            node.aliased = added(node.aliased, part->aliased);
        }
    frames_.pop_back();
}

// The rule of goyaml.v2 (decode.go, allowedAliasRatio), held against the whole document before any of it is
// expanded: of up to 400,000 visits 99 % may come from aliases, of 4,000,000 and more 10 %. So what a
// document expands to is at most a hundred times what was written.
void Builder::check_aliases() const {
    constexpr double low = 400'000, high = 4'000'000;
    const auto visits = static_cast<double>(syntax_.root->visits);
    const auto aliased = static_cast<double>(syntax_.root->aliased);
    const double allowed = 0.99 - 0.89 * (std::clamp(visits, low, high) - low) / (high - low);
    if (aliased <= 100 || visits <= 1'000 || aliased / visits <= allowed) return;
    const Node* most = syntax_.root;
    for (const Node& node : syntax_.nodes)
        if (node.kind == Kind::alias && (most->kind != Kind::alias || node.aliased > most->aliased))
            most = &node;
    throw Fault{Errc::too_large, most->start,
                "excessive aliasing, which kubectl rejects; replace aliases with their values, or split the "
                "document"};
}

// The value that yaml-cpp found tells where a plain scalar ends: it has no escapes.
void Builder::read_plain(Node& node, std::string_view value) {
    std::size_t at = node.begin;
    if (in_flow() && look(at) == ':') fault(at, "an unquoted string inside brackets cannot start with ':'");
    for (std::size_t i = 0; i < value.size();) {
        const char c = value[i];
        if (is_blank(c) || is_break(c)) {
            while (i < value.size() && (is_blank(value[i]) || is_break(value[i]))) ++i;
            const std::size_t end = fold(at, node.text, false);
            if (end == at) fault(at, "unsupported YAML syntax; simplify this passage");
            at = end;
            continue;
        }
        if (at >= structure_.size() || structure_[at] != c)
            fault(at, "unsupported YAML syntax; simplify this passage");
        node.text += source_[at];
        ++i;
        ++at;
    }
    node.end = at;
}

std::size_t Builder::fold(std::size_t at, std::string& text, bool escaped) const {
    std::string blanks;
    std::size_t breaks = 0;
    bool broken = escaped;
    while (at < source_.size() && (is_blank(source_[at]) || is_break(source_[at]))) {
        if (is_blank(source_[at])) {
            if (!broken) blanks += source_[at];
            ++at;
        } else {
            ++breaks;
            broken = true;
            at = over_break(at);
        }
    }
    if (!broken) {
        text += blanks;
    } else if (escaped) {
        text.append(breaks, '\n');  // libyaml: the escaped break is not the leading one
    } else if (breaks == 1) {
        text += ' ';
    } else {
        text.append(breaks - 1, '\n');
    }
    return at;
}

void Builder::read_single_quoted(Node& node) {
    node.style = Style::quoted;
    std::size_t at = node.begin + 1;
    while (at < source_.size()) {
        const char c = source_[at];
        if (c == '\'' && look(at + 1) == '\'') {
            node.text += c;
            at += 2;
        } else if (c == '\'') {
            node.end = at + 1;
            return;
        } else if (is_blank(c) || is_break(c)) {
            at = fold(at, node.text, false);
        } else {
            node.text += c;
            ++at;
        }
    }
    fault(node.begin, "the closing quote is missing");
}

void Builder::read_double_quoted(Node& node) {
    node.style = Style::quoted;
    std::size_t at = node.begin + 1;
    while (at < source_.size()) {
        const char c = source_[at];
        if (c == '"') {
            node.end = at + 1;
            return;
        }
        if (is_blank(c) || is_break(c)) {
            at = fold(at, node.text, false);
            continue;
        }
        if (c != '\\') {
            node.text += c;
            ++at;
            continue;
        }
        const char escape = look(++at);
        if (is_break(escape)) {
            at = fold(over_break(at), node.text, true);
            continue;
        }
        ++at;
        constexpr std::string_view from = "0abt\tnvfre \"'\\";  // not \/, as goyaml.v2
        constexpr std::string_view to("\0\a\b\t\t\n\v\f\r\x1b \"'\\", 14);
        if (const std::size_t simple = from.find(escape); simple != nowhere && at <= source_.size()) {
            node.text += to[simple];
        } else if (escape == 'N' || escape == '_') {
            append_utf8(node.text, escape == 'N' ? 0x85 : 0xa0);
        } else if (escape == 'L' || escape == 'P') {
            append_utf8(node.text, escape == 'L' ? 0x2028 : 0x2029);
        } else if (escape == 'x' || escape == 'u' || escape == 'U') {
            const std::size_t length = escape == 'x' ? 2 : escape == 'u' ? 4 : 8;
            std::uint32_t code = 0;
            for (std::size_t i = 0; i < length; ++i, ++at) {
                const char digit = static_cast<char>(look(at) | 0x20);
                const bool letter = digit >= 'a' && digit <= 'f';
                if (!letter && (look(at) < '0' || look(at) > '9')) fault(at, "expected a hexadecimal digit");
                code = code << 4 | static_cast<std::uint32_t>(letter ? digit - 'a' + 10 : look(at) - '0');
            }
            if ((code >= 0xd800 && code < 0xe000) || code > 0x10ffff)
                fault(at, "the escape sequence is not a valid character");
            append_utf8(node.text, code);
        } else {
            fault(at, "unknown escape sequence in a quoted string");
        }
    }
    fault(node.begin, "the closing quote is missing");
}

// yaml_parser_scan_block_scalar of libyaml.
void Builder::read_block_scalar(Node& node) {
    node.style = Style::block_scalar;
    const bool literal = source_[node.begin] == '|';
    std::size_t at = node.begin + 1;
    char chomp = ' ';
    long increment = 0;
    while (!ends_token(at)) {
        const char c = source_[at];
        if ((c == '+' || c == '-') && chomp == ' ') {
            chomp = c;
        } else if (c >= '1' && c <= '9' && increment == 0) {
            increment = c - '0';
        } else {
            fault(at, "unexpected character after | or >");
        }
        ++at;
    }
    node.end = at;
    const std::size_t header = source_.find('\n', at);
    if (header == nowhere) return;
    at = header + 1;

    long width = increment == 0 ? 0 : increment + std::max(indent(), 0L);
    std::size_t pending = 0;  // breaks of blank lines
    const auto columns = [&](std::size_t line) { return static_cast<long>(at - line); };
    std::size_t line = at;
    long widest = 0;
    const auto blank_lines = [&] {
        while (true) {
            line = at;
            while (look(at) == ' ' && (width == 0 || columns(line) < width)) ++at;
            widest = std::max(widest, columns(line));
            if (look(at) == '\t' && (width == 0 || columns(line) < width))
                fault(at, "indent with spaces, not tabs");
            if (at >= source_.size() && at > line) ++pending;  // a last line of spaces
            if (at >= source_.size() || !is_break(source_[at])) return;
            ++pending;
            at = over_break(at);
        }
    };
    blank_lines();
    if (width == 0) width = std::max({widest, indent() + 1, 1L});
    bool leading_blank = false;
    bool leading_break = false;
    while (at < source_.size() && columns(line) == width) {
        const bool blank = is_blank(source_[at]);
        if (leading_break) {
            if (!literal && !leading_blank && !blank) {
                if (pending == 0) node.text += ' ';
            } else {
                node.text += '\n';
            }
        }
        node.text.append(pending, '\n');
        pending = 0;
        leading_blank = blank;
        const std::size_t end = std::min(source_.find_first_of("\r\n", at), source_.size());
        node.text += source_.substr(at, end - at);
        node.end = at = end;
        leading_break = true;  // the end of the text is one too, as kubectl reads line by line
        if (end == source_.size()) break;
        at = over_break(at);
        blank_lines();
    }
    if (chomp != '-' && leading_break) node.text += '\n';
    if (chomp == '+') {
        node.text.append(pending, '\n');
        // Up to the last blank line, without its own break.
        for (; pending > 0; --pending) {
            const std::size_t next = source_.find('\n', source_.find('\n', node.end) + 1);
            node.end =
                next == nowhere ? source_.size() : next - (next > 0 && source_[next - 1] == '\r' ? 1 : 0);
        }
    }
}

// What libyaml's reader lets through, and line breaks that yaml-cpp does not know.
void check_characters(std::string_view source) {
    for (std::size_t i = 0; i < source.size();) {
        const auto lead = static_cast<unsigned char>(source[i]);
        const std::size_t length = lead < 0x80 ? 1 : sequence_length(source.substr(i));
        if (length == 0) throw Fault{Errc::invalid, i, "invalid UTF-8"};
        const std::uint32_t code = lead < 0x80 ? lead : character_of(source.substr(i, length));
        if (code == '\r' && !source.substr(i + 1).starts_with('\n'))
            throw Fault{Errc::invalid, i, "carriage return without a line feed"};
        if (code == 0x85 || code == 0x2028 || code == 0x2029)
            throw Fault{
                Errc::invalid, i,
                fmt::format("U+{:04X} is a line break in YAML 1.1; write it as an escape sequence", code)};
        if ((code < 0x20 && code != '\t' && code != '\n' && code != '\r') || (code >= 0x7f && code < 0xa0) ||
            code == 0xfffe || code == 0xffff || (code == 0xfeff && (i == 0 || source[i - 1] == '\n')))
            throw Fault{Errc::invalid, i, fmt::format("control character U+{:04X} is not allowed", code)};
        i += length;
    }
}

Syntax parse(std::string_view source, std::string_view structure) {
    Syntax syntax;
    syntax.source = source;
    Builder builder(source, structure, syntax);
    Fault fault;
    try {
        std::istringstream stream{std::string(structure)};
        YAML::Parser parser(stream);
        parser.HandleNextDocument(builder);
        builder.finish();
        return syntax;
    } catch (const YAML::Exception& error) {
        const std::size_t offset = error.mark.is_null() ? 0 : static_cast<std::size_t>(error.mark.pos);
        const bool open_quote = error.msg == "illegal EOF in scalar";
        fault = {Errc::invalid, std::min(offset, source.size()),
                 open_quote ? "the closing quote is missing" : error.msg};
    } catch (const Fault& found) {
        fault = found;
    }
    fault.item = item_at(syntax, fault.offset);
    throw Fault(fault);
}

}  // namespace

Syntax parse_yaml(std::string_view source) {
    check_characters(source);
    Fault first;
    try {
        return parse(source, source);
    } catch (const Fault& fault) {
        if (fault.code == Errc::too_large) throw;
        first = fault;
    }
    const std::string masked = mask_flow_colons(source);
    if (masked == source) throw Fault(first);
    try {
        return parse(source, masked);
    } catch (const Fault& fault) {
        throw Fault(fault.code == Errc::too_large || fault.offset > first.offset ? fault : first);
    }
}

}  // namespace keyshepherd::yaml
