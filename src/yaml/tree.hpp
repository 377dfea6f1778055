// A document while it is edited: parts that stand in the source and parts that a patch brought, side by side.
#pragma once

#include "syntax.hpp"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace keyshepherd::yaml {

struct Member;

// Opened (its members listed) only where an edit leads through it.
struct Tree {
    const Node* node = nullptr;  // where the content comes from; else it is `fresh`
    bool in_place = false;       // the source's text at `node` is this very value
    bool touched = false;        // something at or below it differs from the source
    bool opened = false;
    json::value fresh;
    std::vector<Member> members;
    // Of a long map's members, by key; made by find(). Whoever takes members out clears it.
    std::map<std::string, std::size_t, std::less<>> index;

    bool is_map() const;
    bool is_list() const;
    void open();  // REQUIRES: is_map() or is_list()
    Member* find(std::string_view token);
};

struct Member {
    std::string key;  // of a map's
    Tree value;
    const Entry* entry = nullptr;  // where it stands, if it does
};

// REQUIRES: neither is_map() nor is_list(). Of a JSON document's numbers and texts, as YAML takes them.
json::value scalar_of(const Tree& tree);

// How a document is written, so that what is added looks like it.
struct Manner {
    Format format = Format::yaml;
    std::string newline = "\n";
    std::size_t step = 2;         // of a map within a map
    std::size_t list_offset = 0;  // of a list's dashes from its key
    std::string colon = ": ";     // within braces
    std::string comma = ", ";
};
Manner manner_of(const Syntax& syntax);

// Block style, one line an element, without the indentation of the whole. The first line of a scalar or of an
// empty collection follows its key or dash; so does a list's or a map's behind a dash.
std::vector<std::string> block_lines(Tree& tree, const Manner& manner, std::string_view source);
std::string block_key(std::string_view key);
// Whether block_lines() begins on a line of its own behind a key.
bool begins_below(Tree& tree);

// Within braces. `indent`: of the line that it begins on, for one member a line; nowhere: all on one line.
std::string flow_text(Tree& tree, const Manner& manner, std::string_view source, std::size_t indent);
std::string flow_key(std::string_view key, const Manner& manner);
std::string quoted(std::string_view text);

}  // namespace keyshepherd::yaml
