// The DOM of the admission path is Boost.JSON: one arena a request, members in the order they came in.
#pragma once

#include <keyshepherd/core/result.hpp>

#include <boost/json.hpp>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace keyshepherd::json {

namespace bj = boost::json;
using bj::array;
using bj::object;
using bj::value;

// What a parser may be made to hold. Where a text is long enough to pass the number of nodes, the scan runs
// over the raw bytes before any tree is built, since a tree of 7 MiB of `[],` takes some 200 MB and blocks
// its thread for hundreds of milliseconds.
struct Limits {
    std::size_t depth = 100;
    std::size_t nodes = 300'000;
};

// Checks `text` against `limits` in one pass, without memory; Errc::too_large names the limit that is passed.
// Says nothing about whether the text is JSON.
result<void> scan(std::string_view text, Limits limits = {});

// Parses within `limits`, as scan() has them. Errc::invalid gives the byte offset and never repeats the text:
// it may hold a secret.
result<value> parse(std::string_view text, bj::storage_ptr storage = {}, Limits limits = {});

// RFC 6901: escapes one reference token.
std::string escape(std::string_view token);

// The member of that name, or nullptr.
const value* member(const object& members, std::string_view name);

// Walks object members by name; nullptr where a step is absent, null, or no object.
const value* find(const value& root, std::initializer_list<std::string_view> path);
value* find(value& root, std::initializer_list<std::string_view> path);
const object* find_object(const value& root, std::initializer_list<std::string_view> path);
const array* find_array(const value& root, std::initializer_list<std::string_view> path);
// The text at `path`, or "" where there is none.
std::string_view find_text(const value& root, std::initializer_list<std::string_view> path);

// RFC 6901: what `pointer` leads to, or nullptr.
const value* at(const value& root, std::string_view pointer);

// Equal as JSON: members in any order, elements in theirs. 1 and 1.0 differ.
bool equal(const value& a, const value& b);

// The same value with the members of every object in the order of their names.
value sorted(const value& v);

// Sixteen hexadecimal digits that are the same for equal() values in every process and version. Not
// cryptographic.
std::string fingerprint(const value& v);

}  // namespace keyshepherd::json
