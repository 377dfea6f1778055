// The syntax tree of one document: what stands where. Offsets are bytes of the source.
#pragma once

#include <keyshepherd/json/value.hpp>
#include <keyshepherd/yaml/yaml.hpp>

#include <deque>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace keyshepherd::yaml {

constexpr std::size_t max_depth = 100;
constexpr std::size_t max_nodes = 4'000'000;  // a List of some 10,000 small Deployments, injected
constexpr std::size_t max_text = 64U << 20;   // bytes, aliases expanded; etcd takes objects of 1.5 MiB
constexpr std::size_t nowhere = std::string_view::npos;

// Thrown within the module and turned into an Error at its border.
struct Fault {
    Errc code;
    std::size_t offset;
    std::string message;
    bool repeated_key = false;
    std::string item = {};  // of a List: "items[3]"; "" elsewhere
};

enum class Kind { scalar, list, map, alias };
enum class Style { plain, quoted, block_scalar, flow, block };

struct Node;

struct Entry {
    const Node* key = nullptr;  // of a map
    const Node* value = nullptr;
    std::size_t begin = 0;        // of the key, its `?`, the element, or its dash
    std::size_t after = nowhere;  // just behind the `:` or the dash; nowhere if there is none
};

struct Node {
    Kind kind = Kind::scalar;
    Style style = Style::plain;
    std::size_t start = 0;  // with tag and anchor
    std::size_t begin = 0;  // of the content; an absent value has begin == end
    std::size_t end = 0;
    std::string text;  // of a scalar, decoded
    std::string tag;   // as tag:yaml.org,2002:int; "!" for the non-specific one
    bool anchored = false;
    bool bare = false;             // a flow map without braces: [a: b]
    const Node* target = nullptr;  // of an alias
    std::vector<Entry> entries;
    // How many nodes a decoder visits here, and how many of them it visits by way of an alias.
    std::size_t visits = 1;
    std::size_t aliased = 0;
};

struct Syntax {
    std::deque<Node> nodes;  // stable addresses
    const Node* root = nullptr;
    std::string_view source;
    Format format = Format::yaml;
};

// `source` with '_' for each ':' that belongs to a plain scalar for kubectl and not for yaml-cpp:
// [2001:db8::] as [2001:db8:_]. Linear in its size.
std::string mask_flow_colons(std::string_view source);

// Both throw Fault. `parse_json` reads one value from `at` on and moves `at` behind it.
Syntax parse_yaml(std::string_view source);
Syntax parse_json(std::string_view source, std::size_t& at);
// JSON when it starts like JSON and is one JSON value, else YAML.
Syntax parse_document(std::string_view source);

// How much a conversion may still make. Aliases let a short source stand for any amount.
struct Budget {
    std::size_t left = max_nodes;
    std::size_t text_left = max_text;
    // One node, with `text` bytes of its own.
    void spend(std::size_t offset, std::size_t text = 0);
};

struct MemberOf {
    std::string key;
    const Node* value;
};
// The members of a map as kubectl sees them, merge keys followed. Throws Fault on a repeated or an impossible
// key.
std::vector<MemberOf> members_of(const Node& map, Budget& budget, std::size_t depth = 0);
bool has_merge(const Node& map);
std::string key_of(const Node& key);
json::value value_of(const Syntax& syntax);

// What goyaml.v2 makes of a scalar. Throws Fault.
using Scalar = std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string>;
Scalar resolve(const Node& scalar);
Scalar resolve_plain(std::string_view text);

std::size_t line_of(std::string_view source, std::size_t offset);  // from 1
// Which element of the list at `items` of the root holds `offset`: "items[3]"; "": none. The tree may be
// unfinished, and its last elements not read yet: those of a block list are counted by their dashes. Linear.
std::string item_at(const Syntax& syntax, std::size_t offset);
// As Error: "line 3, column 5: items[1]: ...", counting the source's first line as `first_line`, and columns
// in characters from 1.
Error error_of(const Fault& fault, std::string_view source, std::size_t first_line);

}  // namespace keyshepherd::yaml
