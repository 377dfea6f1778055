#include <keyshepherd/json/editor.hpp>
#include <keyshepherd/json/writer.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <stdexcept>

namespace keyshepherd::json {

namespace {

struct Place {
    value* parent;
    std::string_view token;  // as it stands in the pointer
};

std::string unescape(std::string_view token) {
    std::string out;
    out.reserve(token.size());
    for (std::size_t i = 0; i < token.size(); ++i) {
        if (token[i] == '~' && i + 1 < token.size()) {
            out += token[++i] == '1' ? '/' : '~';
        } else {
            out += token[i];
        }
    }
    return out;
}

std::size_t index_of(std::string_view token) {
    std::size_t index = 0;
    if (token.empty() || token.size() > 9 || (token.size() > 1 && token.front() == '0'))
        throw std::logic_error("not an array index");
    for (const char c : token) {
        if (c < '0' || c > '9') throw std::logic_error("not an array index");
        index = index * 10 + static_cast<std::size_t>(c - '0');
    }
    return index;
}

// The member's name that a token stands for; `buffer` holds it where the token is escaped.
std::string_view name_of(std::string_view token, std::string& buffer) {
    if (token.find('~') == std::string_view::npos) return token;
    buffer = unescape(token);
    return buffer;
}

value* member_of(object& members, std::string_view token) {
    std::string buffer;
    return const_cast<value*>(member(members, name_of(token, buffer)));
}

Place locate(value& document, std::string_view pointer) {
    value* at = &document;
    std::string_view rest = pointer;
    while (true) {
        if (!rest.starts_with('/')) throw std::logic_error(fmt::format("not a JSON Pointer: {}", pointer));
        rest.remove_prefix(1);
        std::size_t slash = 0;  // tokens are short: a loop is shorter than a call
        bool escaped = false;
        for (; slash < rest.size() && rest[slash] != '/'; ++slash) escaped |= rest[slash] == '~';
        const std::string_view token = rest.substr(0, slash);
        if (slash == rest.size()) return {at, token};
        rest.remove_prefix(slash);
        value* next = nullptr;
        if (object* members = at->if_object())
            next = escaped ? member_of(*members, token) : const_cast<value*>(member(*members, token));
        else if (array* elements = at->if_array())
            next = elements->if_contains(index_of(token));
        if (next == nullptr) throw std::logic_error(fmt::format("no value at '{}' of {}", token, pointer));
        at = next;
    }
}

// What stands at `place`; nullptr for a member that is not there.
value* at_place(Place place) {
    if (object* members = place.parent->if_object()) return member_of(*members, place.token);
    return &place.parent->as_array().at(index_of(place.token));
}

}  // namespace

std::string& Editor::begin(std::string_view op, std::string_view pointer) {
    if (operations_.empty()) {
        operations_.reserve(24 << 10);
        write(operations_, R"([{"op":")", op, R"(","path":")", Inside{pointer});
    } else {
        write(operations_, R"(,{"op":")", op, R"(","path":")", Inside{pointer});
    }
    return operations_;
}

void Editor::record(std::string_view op, std::string_view pointer, const value& v) {
    write(begin(op, pointer), R"(","value":)");
    append_value(operations_, v);
    write(operations_, "}");
}

std::string Editor::take() && {
    operations_ += operations_.empty() ? "[]" : "]";
    return std::move(operations_);
}

void Editor::set(std::string_view pointer, value v) {
    const Place place = locate(document_, pointer);
    value* there = at_place(place);
    if (there != nullptr && equal(*there, v)) return;
    record(there == nullptr ? "add" : "replace", pointer, v);
    if (there != nullptr) {
        *there = std::move(v);
    } else {
        std::string buffer;
        place.parent->as_object()[name_of(place.token, buffer)] = std::move(v);
    }
}

void Editor::insert_json(std::string_view pointer, std::size_t index, std::string_view json) {
    insert_at(pointer, index, json);
}

void Editor::append_json(std::string_view pointer, std::string_view json) {
    insert_at(pointer, std::nullopt, json);
}

value Editor::parsed(std::string_view json) const {
    if (patch_only_) return value(nullptr, document_.storage());
    bj::parse_options options;
    options.max_depth = Limits().depth;  // what a document may have
    return bj::parse(json, document_.storage(), options);
}

void Editor::insert_at(std::string_view pointer, std::optional<std::size_t> index, std::string_view json) {
    const Place place = locate(document_, pointer);
    value* list = at_place(place);
    value v = parsed(json);
    if (list == nullptr || list->is_null()) {
        write(begin(list == nullptr ? "add" : "replace", pointer), R"(","value":[)", json, "]}");
        array first(document_.storage());
        first.push_back(std::move(v));
        if (list != nullptr) {
            *list = std::move(first);
        } else {
            std::string buffer;
            place.parent->as_object()[name_of(place.token, buffer)] = std::move(first);
        }
        return;
    }
    array& elements = list->as_array();
    const std::size_t before = index.value_or(elements.size());
    if (before > elements.size()) throw std::logic_error("insertion past the end");
    write(begin("add", pointer), "/", before, R"(","value":)", json, "}");
    elements.insert(elements.begin() + before, std::move(v));
}

void Editor::insert_each(std::string_view pointer, std::span<const Insertion> insertions) {
    if (insertions.empty()) return;
    value* list = at_place(locate(document_, pointer));
    const std::size_t before = list == nullptr || list->is_null() ? 0 : list->as_array().size();
    for (std::size_t i = 0; i < insertions.size(); ++i)
        if (insertions[i].index > before + i || (i > 0 && insertions[i].index <= insertions[i - 1].index))
            throw std::logic_error("insertion indexes must ascend without gaps");
    insert_at(pointer, insertions.front().index, insertions.front().json);
    if (insertions.size() == 1) return;
    array& elements = at_place(locate(document_, pointer))->get_array();
    array merged(document_.storage());
    merged.reserve(before + insertions.size());
    auto kept = elements.begin();
    for (const Insertion& insertion : insertions.subspan(1)) {
        while (merged.size() < insertion.index) merged.push_back(std::move(*kept++));
        write(begin("add", pointer), "/", insertion.index, R"(","value":)", insertion.json, "}");
        merged.push_back(parsed(insertion.json));
    }
    while (kept != elements.end()) merged.push_back(std::move(*kept++));
    elements = std::move(merged);
}

void Editor::remove_each(std::string_view pointer, std::span<const std::size_t> indexes) {
    if (indexes.empty()) return;
    value* list = at_place(locate(document_, pointer));
    array* const elements = list == nullptr ? nullptr : list->if_array();
    if (elements == nullptr || indexes.back() >= elements->size() ||
        std::adjacent_find(indexes.begin(), indexes.end(), std::greater_equal()) != indexes.end())
        throw std::logic_error("indexes must ascend and stay within the array");
    for (std::size_t i = indexes.size(); i > 0; --i)
        write(begin("remove", pointer), "/", indexes[i - 1], "\"}");
    auto to = elements->begin() + indexes.front();
    auto removed = indexes.begin();
    for (std::size_t i = indexes.front(); i < elements->size(); ++i) {
        if (removed != indexes.end() && *removed == i)
            ++removed;
        else
            *to++ = std::move((*elements)[i]);
    }
    elements->erase(to, elements->end());
}

void Editor::remove(std::string_view pointer) {
    const Place place = locate(document_, pointer);
    if (array* list = place.parent->if_array()) {
        const std::size_t index = index_of(place.token);
        if (index >= list->size()) throw std::logic_error("removal past the end");
        write(begin("remove", pointer), "\"}");
        list->erase(list->begin() + index);
        return;
    }
    object& members = place.parent->as_object();
    std::string buffer;
    const std::string_view name = name_of(place.token, buffer);
    const auto member = members.find(name);
    if (member == members.end()) throw std::logic_error("removal of a missing member");
    write(begin("remove", pointer), "\"}");
    // A stable erase: the order of the other members is the user's.
    object kept(members.storage());
    kept.reserve(members.size());
    for (auto& other : members)
        if (other.key() != name) kept.emplace(other.key(), std::move(other.value()));
    members = std::move(kept);
}

}  // namespace keyshepherd::json
