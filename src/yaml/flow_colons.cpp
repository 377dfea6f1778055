// Where yaml-cpp and kubectl part over a ':'. Within brackets, libyaml and so goyaml.v2 end a plain scalar at
// a ':' only before white space (yaml_parser_scan_plain_scalar in scannerc.go); yaml-cpp also before ',', ']'
// and '}'. `[2001:db8::]` and `[x, z:]` are lists of texts for kubectl, and lists of maps for yaml-cpp.
//
// This reader knows tokens and nothing else: where quotes, comments and block scalars end, and when brackets
// are open. It is asked only about a document that could not be read as it is, and what it changes is checked
// byte by byte by the Builder, so a document that confuses it is refused as before.
#include "syntax.hpp"

#include <algorithm>

namespace keyshepherd::yaml {

namespace {

bool is_white(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

class Scanner {
public:
    explicit Scanner(std::string_view source) : source_(source), masked_(source) {}

    std::string scan() && {
        while (at_ < source_.size()) {
            if (is_white(look(at_)))
                step();
            else if (look(at_) == '#')
                comment();
            else if (depth_ == 0)
                block_token();
            else
                flow_token();
        }
        return std::move(masked_);
    }

private:
    char look(std::size_t at) const { return at < source_.size() ? source_[at] : '\0'; }
    bool ends_token(std::size_t at) const { return at >= source_.size() || is_white(source_[at]); }
    long column(std::size_t at) const { return static_cast<long>(at - line_start_); }

    void step() {
        if (at_ < source_.size() && source_[at_] == '\n') line_start_ = at_ + 1;
        ++at_;
    }
    void comment() { at_ = std::min(source_.find('\n', at_), source_.size()); }
    void word() {
        while (!ends_token(at_)) ++at_;
    }

    // Over a quoted scalar; with what is left open, to the end.
    void quoted() {
        const char quote = look(at_);
        for (step(); at_ < source_.size(); step()) {
            if (quote == '"' && look(at_) == '\\') {
                step();
            } else if (look(at_) == quote) {
                if (quote == '"' || look(at_ + 1) != quote) return step();
                step();
            }
        }
    }

    void open() {
        ++depth_;
        ++at_;
    }

    void block_token() {
        const char c = look(at_);
        if (c == '[' || c == '{') return open();
        if ((c == '-' || c == '?') && ends_token(at_ + 1)) {
            indent_ = column(at_);
            ++at_;
        } else if (c == ':' && ends_token(at_ + 1)) {
            ++at_;
        } else if (c == '"' || c == '\'') {
            const long begin = column(at_);
            quoted();
            const std::size_t next = std::min(source_.find_first_not_of(' ', at_), source_.size());
            if (look(next) == ':') indent_ = begin;
        } else if (c == '|' || c == '>') {
            block_scalar();
        } else if (c == '&' || c == '*' || c == '!') {
            word();
        } else {
            block_plain();
        }
    }

    // A key, or a text that may go on in lines that are indented further than the collection that holds it.
    void block_plain() {
        const long begin = column(at_);
        const std::size_t first_line = line_start_;
        while (at_ < source_.size()) {
            const char c = look(at_);
            if (c == ':' && ends_token(at_ + 1)) {
                if (line_start_ == first_line) indent_ = begin;
                return;
            }
            if (is_white(c)) {
                while (is_white(look(at_))) step();
                if (look(at_) == '#' || (line_start_ != first_line && column(at_) <= indent_)) return;
            } else {
                ++at_;
            }
        }
    }

    // Its lines are blank, or indented further than the collection that holds it.
    void block_scalar() {
        for (comment(); at_ < source_.size(); comment()) {
            const std::size_t line = at_ + 1;
            const std::size_t text = std::min(source_.find_first_not_of(' ', line), source_.size());
            const bool blank = text == source_.size() || source_[text] == '\n' || source_[text] == '\r';
            if (!blank && static_cast<long>(text - line) <= indent_) return;
            line_start_ = line;
            at_ = text;
        }
    }

    void flow_token() {
        const char c = look(at_);
        if (c == '[' || c == '{') return open();
        if (c == ']' || c == '}') {
            --depth_;
            ++at_;
        } else if (c == ',' || c == '?' || c == ':') {
            ++at_;
        } else if (c == '"' || c == '\'') {
            quoted();
        } else if (c == '!') {
            word();
        } else if (c == '&' || c == '*') {
            ++at_;
            while (!ends_token(at_) && !std::string_view("?:,[]{}").contains(look(at_))) ++at_;
        } else {
            flow_plain();
        }
    }

    void flow_plain() {
        while (at_ < source_.size()) {
            const char c = look(at_);
            if (is_white(c)) {
                while (is_white(look(at_))) step();
                if (look(at_) == '#') return;
                continue;
            }
            if (std::string_view(",?[]{}").contains(c)) return;
            if (c == ':' && ends_token(at_ + 1)) return;
            if (c == ':' && std::string_view(",]}").contains(look(at_ + 1))) masked_[at_] = '_';
            ++at_;
        }
    }

    std::string_view source_;
    std::string masked_;
    std::size_t at_ = 0;
    std::size_t line_start_ = 0;
    std::size_t depth_ = 0;  // of open brackets
    long indent_ = -1;       // of the innermost block collection, as far as the tokens tell
};

}  // namespace

std::string mask_flow_colons(std::string_view source) {
    return Scanner(source).scan();
}

}  // namespace keyshepherd::yaml
