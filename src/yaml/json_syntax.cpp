// Where the parts of a JSON text stand. What the text means is json::parse's business, and so is whether it
// is JSON: this reader only has to find the structure of texts that are.
#include "syntax.hpp"

#include <fmt/format.h>

namespace keyshepherd::yaml {

namespace {

class Reader {
public:
    Reader(std::string_view source, std::size_t at, Syntax& syntax)
        : source_(source), at_(at), syntax_(syntax) {}

    const Node& read(std::size_t depth) {
        if (depth > max_depth)
            throw Fault{Errc::too_large, at_, fmt::format("nested more than {} levels deep", max_depth)};
        if (syntax_.nodes.size() >= max_nodes)
            throw Fault{Errc::too_large, at_, fmt::format("more than {} values", max_nodes)};
        skip();
        Node& node = syntax_.nodes.emplace_back();
        node.start = node.begin = at_;
        const char c = look();
        if (c == '{' || c == '[') {
            node.kind = c == '{' ? Kind::map : Kind::list;
            node.style = Style::flow;
            collection(node, c == '{' ? '}' : ']', depth);
        } else if (c == '"') {
            node.style = Style::quoted;
            text(node);
        } else {
            while (at_ < source_.size() && !std::string_view(" \t\r\n,]}:\"[{").contains(source_[at_])) ++at_;
            if (at_ == node.begin) fault("expected a value");
            node.text = source_.substr(node.begin, at_ - node.begin);
        }
        node.end = at_;
        return node;
    }

    std::size_t at() const { return at_; }

private:
    [[noreturn]] void fault(std::string message) const {
        throw Fault{Errc::invalid, at_, std::move(message)};
    }
    char look() const { return at_ < source_.size() ? source_[at_] : '\0'; }
    void skip() {
        while (at_ < source_.size() && std::string_view(" \t\r\n").contains(source_[at_])) ++at_;
    }
    void expect(char c) {
        skip();
        if (look() != c) fault(fmt::format("expected '{}'", c));
        ++at_;
    }

    void collection(Node& node, char bracket, std::size_t depth) {
        ++at_;
        for (skip(); look() != bracket; skip()) {
            if (!node.entries.empty()) expect(',');
            skip();
            Entry entry{.begin = at_};
            if (node.kind == Kind::map) {
                if (look() != '"') fault("expected a key in double quotes");
                entry.key = &read(depth + 1);
                expect(':');
                entry.after = at_;
            }
            entry.value = &read(depth + 1);
            node.entries.push_back(entry);
        }
        ++at_;
    }

    void text(Node& node) {
        const std::size_t from = at_++;
        while (look() != '"') {
            if (at_ >= source_.size()) {
                at_ = from;
                fault("the closing quote is missing");
            }
            at_ += look() == '\\' ? 2 : 1;
        }
        ++at_;
        auto decoded = json::parse(source_.substr(from, at_ - from));
        if (!decoded) {
            at_ = from;
            fault("the quoted string is not valid JSON");
        }
        node.text = decoded->as_string();
    }

    std::string_view source_;
    std::size_t at_;
    Syntax& syntax_;
};

}  // namespace

Syntax parse_json(std::string_view source, std::size_t& at) {
    Syntax syntax;
    syntax.source = source;
    syntax.format = Format::json;
    Reader reader(source, at, syntax);
    syntax.root = &reader.read(1);
    at = reader.at();
    return syntax;
}

}  // namespace keyshepherd::yaml
