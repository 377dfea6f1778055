#include <keyshepherd/json/editor.hpp>
#include <keyshepherd/json/writer.hpp>

#include <fmt/format.h>

#include <stdexcept>

namespace keyshepherd::json {

namespace {

struct Place {
    value* parent;
    std::string token;  // unescaped
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
        throw std::logic_error("no list index");
    for (const char c : token) {
        if (c < '0' || c > '9') throw std::logic_error("no list index");
        index = index * 10 + static_cast<std::size_t>(c - '0');
    }
    return index;
}

Place locate(value& document, std::string_view pointer) {
    value* at = &document;
    std::string_view rest = pointer;
    while (true) {
        if (!rest.starts_with('/')) throw std::logic_error(fmt::format("no pointer: {}", pointer));
        rest.remove_prefix(1);
        const std::size_t slash = rest.find('/');
        std::string token = unescape(rest.substr(0, slash));
        if (slash == std::string_view::npos) return {at, std::move(token)};
        rest.remove_prefix(slash);
        value* next = at->is_object()  ? at->get_object().if_contains(token)
                      : at->is_array() ? at->get_array().if_contains(index_of(token))
                                       : nullptr;
        if (next == nullptr) throw std::logic_error(fmt::format("nothing at '{}' of {}", token, pointer));
        at = next;
    }
}

std::string text_of(const value& v) {
    const bj::string* text = v.if_string();
    if (text == nullptr) return bj::serialize(v);
    std::string out;
    out.reserve(text->size() + text->size() / 8 + 2);
    append_text(out, *text);
    return out;
}

}  // namespace

void Editor::record(std::string_view op, std::string_view pointer, std::string_view json) {
    if (operations_.empty()) {
        operations_.reserve(12 << 10);
    } else {
        operations_ += ',';
    }
    operations_ += R"({"op":")";
    operations_ += op;
    operations_ += R"(","path":)";
    append_text(operations_, pointer);
    if (!json.empty()) {
        operations_ += R"(,"value":)";
        operations_ += json;
    }
    operations_ += '}';
}

std::string Editor::take() && {
    operations_.insert(operations_.begin(), '[');
    operations_ += ']';
    return std::move(operations_);
}

void Editor::set(std::string_view pointer, value v) {
    Place place = locate(document_, pointer);
    if (array* list = place.parent->if_array()) {
        value& element = list->at(index_of(place.token));
        if (equal(element, v)) return;
        record("replace", pointer, text_of(v));
        element = std::move(v);
        return;
    }
    object& members = place.parent->as_object();
    value* member = members.if_contains(place.token);
    if (member != nullptr && equal(*member, v)) return;
    record(member == nullptr ? "add" : "replace", pointer, text_of(v));
    members[place.token] = std::move(v);
}

void Editor::insert_json(std::string_view pointer, std::size_t index, std::string_view json) {
    Place place = locate(document_, pointer);
    value* list = place.parent->is_object() ? place.parent->get_object().if_contains(place.token)
                                            : &place.parent->as_array().at(index_of(place.token));
    value v = patch_only_ ? value(nullptr, document_.storage()) : bj::parse(json, document_.storage());
    if (list == nullptr || list->is_null()) {
        record(list == nullptr ? "add" : "replace", pointer, fmt::format("[{}]", json));
        array first(document_.storage());
        first.push_back(std::move(v));
        if (list != nullptr) {
            *list = std::move(first);
        } else {
            place.parent->as_object()[place.token] = std::move(first);
        }
        return;
    }
    array& elements = list->as_array();
    if (index > elements.size()) throw std::logic_error("insert past the end");
    record("add", fmt::format("{}/{}", pointer, index), json);
    elements.insert(elements.begin() + index, std::move(v));
}

void Editor::append_json(std::string_view pointer, std::string_view json) {
    Place place = locate(document_, pointer);
    const value* list = place.parent->is_object() ? place.parent->get_object().if_contains(place.token)
                                                  : &place.parent->as_array().at(index_of(place.token));
    insert_json(pointer, list == nullptr || list->is_null() ? 0 : list->as_array().size(), json);
}

void Editor::remove(std::string_view pointer) {
    Place place = locate(document_, pointer);
    if (array* list = place.parent->if_array()) {
        const std::size_t index = index_of(place.token);
        if (index >= list->size()) throw std::logic_error("remove past the end");
        record("remove", pointer, "");
        list->erase(list->begin() + index);
        return;
    }
    object& members = place.parent->as_object();
    const auto member = members.find(place.token);
    if (member == members.end()) throw std::logic_error("remove of an absent member");
    record("remove", pointer, "");
    // A stable erase: the order of the other members is the user's.
    object kept(members.storage());
    kept.reserve(members.size());
    for (auto& other : members)
        if (other.key() != place.token) kept.emplace(other.key(), std::move(other.value()));
    members = std::move(kept);
}

namespace {

const value& at_pointer(value& document, const std::string& pointer) {
    Place place = locate(document, pointer);
    return place.parent->is_object() ? place.parent->get_object().at(place.token)
                                     : place.parent->as_array().at(index_of(place.token));
}

}  // namespace

void converge(Editor& edit, const std::string& pointer, const value& to) {
    const value from = at_pointer(edit.document(), pointer);  // a copy: the document changes below
    if (equal(from, to)) return;
    if (from.is_object() && to.is_object()) {
        for (const auto& member : from.get_object())
            if (!to.get_object().contains(member.key())) edit.remove(pointer + '/' + escape(member.key()));
        for (const auto& member : to.get_object()) {
            const std::string at = pointer + '/' + escape(member.key());
            if (from.get_object().contains(member.key())) {
                converge(edit, at, member.value());
            } else {
                edit.set(at, member.value());
            }
        }
        return;
    }
    if (from.is_array() && to.is_array() && from.get_array().size() == to.get_array().size()) {
        for (std::size_t i = 0; i < to.get_array().size(); ++i)
            converge(edit, fmt::format("{}/{}", pointer, i), to.get_array()[i]);
        return;
    }
    edit.set(pointer, to);
}

}  // namespace keyshepherd::json
