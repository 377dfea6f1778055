#include <keyshepherd/core/fnv.hpp>
#include <keyshepherd/json/value.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

namespace keyshepherd::json {

namespace {

// Boost.JSON reads 1e400 as an infinity, which JSON cannot say again.
bool is_finite(const value& v) {
    switch (v.kind()) {
        case bj::kind::double_:
            return std::isfinite(v.get_double());
        case bj::kind::array:
            for (const value& element : v.get_array())
                if (!is_finite(element)) return false;
            return true;
        case bj::kind::object:
            for (const auto& member : v.get_object())
                if (!is_finite(member.value())) return false;
            return true;
        default:
            return true;
    }
}

}  // namespace

result<void> scan(std::string_view text, Limits limits) {
    std::size_t depth = 0;
    std::size_t nodes = 1;
    const char* const bytes = text.data();
    const std::size_t size = text.size();
    for (std::size_t i = 0; i < size; ++i) {
        switch (bytes[i]) {
            case '"':
                for (++i; i < size && bytes[i] != '"'; ++i)
                    if (bytes[i] == '\\') ++i;
                break;
            case '[':
            case '{':
                if (++depth > limits.depth)
                    return fail(Errc::too_large,
                                fmt::format("nested more than {} levels deep", limits.depth));
                [[fallthrough]];
            case ',':
                if (++nodes > limits.nodes)
                    return fail(Errc::too_large, fmt::format("more than {} values", limits.nodes));
                break;
            case ']':
            case '}':
                if (depth > 0) --depth;
                break;
            default:
                break;
        }
    }
    return {};
}

result<value> parse(std::string_view text, bj::storage_ptr storage, Limits limits) {
    // Every value takes a byte, so that a short text cannot hold too many; its depth the parser counts, too.
    const bool may_be_too_large = text.size() >= limits.nodes;
    if (may_be_too_large)
        if (const auto within = scan(text, limits); !within) return std::unexpected(within.error());
    unsigned char stack[BOOST_JSON_STACK_BUFFER_SIZE];
    bj::parser parser({}, {.max_depth = limits.depth}, stack);
    parser.reset(std::move(storage));  // the constructor's storage is only the parser's own stack
    bj::error_code error;
    const std::size_t read = parser.write_some(text.data(), text.size(), error);
    if (!error && read < text.size()) error = bj::error::extra_data;
    if (error) {
        // A limit that the text passes anywhere is named before what makes it no JSON.
        if (const auto within = scan(text, limits); !within) return std::unexpected(within.error());
        return fail(Errc::invalid, fmt::format("invalid JSON at byte {}: {}", read, error.message()));
    }
    value parsed = parser.release();
    if (!is_finite(parsed)) return fail(Errc::invalid, "invalid JSON: a number is too large");
    return parsed;
}

std::string escape(std::string_view token) {
    std::string out;
    out.reserve(token.size() + 4);
    for (const char c : token) {
        if (c == '~') {
            out += "~0";
        } else if (c == '/') {
            out += "~1";
        } else {
            out += c;
        }
    }
    return out;
}

const value* at(const value& root, std::string_view pointer) {
    bj::error_code error;
    return root.find_pointer(pointer, error);
}

const value* member(const object& members, std::string_view name) {
    constexpr std::size_t few = 18;  // up to so many Boost.JSON walks them, too, in three calls
    if (members.size() > few) return members.if_contains(name);
    for (const auto& m : members)
        if (std::string_view(m.key()) == name) return &m.value();
    return nullptr;
}

const value* find(const value& root, std::initializer_list<std::string_view> path) {
    const value* at = &root;
    for (const std::string_view step : path) {
        const object* members = at->if_object();
        if (members == nullptr) return nullptr;
        at = member(*members, step);
        if (at == nullptr) return nullptr;
    }
    return at->is_null() ? nullptr : at;
}

value* find(value& root, std::initializer_list<std::string_view> path) {
    return const_cast<value*>(find(static_cast<const value&>(root), path));
}

const object* find_object(const value& root, std::initializer_list<std::string_view> path) {
    const value* v = find(root, path);
    return v == nullptr ? nullptr : v->if_object();
}

const array* find_array(const value& root, std::initializer_list<std::string_view> path) {
    const value* v = find(root, path);
    return v == nullptr ? nullptr : v->if_array();
}

std::string_view find_text(const value& root, std::initializer_list<std::string_view> path) {
    const value* v = find(root, path);
    const bj::string* text = v == nullptr ? nullptr : v->if_string();
    return text == nullptr ? std::string_view() : std::string_view(*text);
}

bool equal(const value& a, const value& b) {
    if (a.kind() != b.kind()) {
        // int64 and uint64 hold the same number where both can.
        if (a.is_int64() && b.is_uint64())
            return a.get_int64() >= 0 && static_cast<std::uint64_t>(a.get_int64()) == b.get_uint64();
        if (a.is_uint64() && b.is_int64()) return equal(b, a);
        return false;
    }
    switch (a.kind()) {
        case bj::kind::object: {
            const object& x = a.get_object();
            const object& y = b.get_object();
            if (x.size() != y.size()) return false;
            for (const auto& member : x) {
                const value* other = y.if_contains(member.key());
                if (other == nullptr || !equal(member.value(), *other)) return false;
            }
            return true;
        }
        case bj::kind::array: {
            const array& x = a.get_array();
            const array& y = b.get_array();
            if (x.size() != y.size()) return false;
            for (std::size_t i = 0; i < x.size(); ++i)
                if (!equal(x[i], y[i])) return false;
            return true;
        }
        default:
            return a == b;
    }
}

value sorted(const value& v) {
    if (const array* list = v.if_array()) {
        array out(v.storage());
        for (const value& element : *list) out.push_back(sorted(element));
        return out;
    }
    const object* members = v.if_object();
    if (members == nullptr) return v;
    std::vector<std::string_view> names;
    for (const auto& member : *members) names.emplace_back(member.key());
    std::sort(names.begin(), names.end());
    object out(v.storage());
    for (const std::string_view name : names) out.emplace(name, sorted(members->at(name)));
    return out;
}

namespace {

// splitmix64's finaliser: https://prng.di.unimi.it/splitmix64.c (public domain).
std::uint64_t mix(std::uint64_t x) {
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9U;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebU;
    x ^= x >> 31;
    return x;
}

std::uint64_t hash(std::string_view text, std::uint64_t seed) {
    return mix(fnv1a(text, seed));
}

std::uint64_t hash(const value& v) {
    switch (v.kind()) {
        case bj::kind::null:
            return mix(1);
        case bj::kind::bool_:
            return mix(v.get_bool() ? 2 : 3);
        case bj::kind::int64:
            return mix((static_cast<std::uint64_t>(v.get_int64()) + 0x9e3779b97f4a7c15U) ^
                       (v.get_int64() < 0 ? 4 : 0));
        case bj::kind::uint64:
            return mix(v.get_uint64() + 0x9e3779b97f4a7c15U);
        case bj::kind::double_:
            return mix(std::bit_cast<std::uint64_t>(v.get_double() == 0 ? 0.0 : v.get_double()) ^ 5);
        case bj::kind::string:
            return hash(v.get_string(), 6);
        case bj::kind::array: {
            std::uint64_t h = 7;
            for (const value& element : v.get_array()) h = mix(h * 31 + hash(element));
            return h;
        }
        case bj::kind::object: {
            std::uint64_t h = 8;  // a sum, so that the order of members does not matter
            for (const auto& member : v.get_object())
                h += mix(hash(member.key(), 9) * 3 + hash(member.value()));
            return mix(h);
        }
    }
    return 0;
}

}  // namespace

std::string fingerprint(const value& v) {
    return fmt::format("{:016x}", hash(v));
}

}  // namespace keyshepherd::json
