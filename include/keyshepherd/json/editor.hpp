// Edits a JSON document in place; every edit is one RFC 6902 operation, so that patch and result cannot
// differ.
//
//     Editor edit(document);
//     edit.insert("/spec/volumes", 0, volume);      // no list yet: one add of [volume]
//     std::string patch = std::move(edit).take();
//
// Pointers are RFC 6901 and must lead to an existing parent: anything else is a fault of the caller and
// throws std::logic_error. Not for use by two threads at once; the document outlives the editor.
#pragma once

#include <keyshepherd/json/value.hpp>

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace keyshepherd::json {

// One element for Editor::insert_each.
struct Insertion {
    std::size_t index;  // its place in the finished list
    std::string json;   // the text of one value
};

class Editor {
public:
    explicit Editor(value& document) : document_(document) {}

    // From here on, only the patch is whole: what insert_json puts into the document is null, which spares
    // building a tree that nobody reads. Positions stay right.
    void patch_only() { patch_only_ = true; }

    // Adds or replaces a member, or replaces an element. An equal value is no operation.
    void set(std::string_view pointer, value v);
    // Inserts into the list at `pointer` before `index`. An absent or null list becomes [v] in one operation.
    void insert(std::string_view pointer, std::size_t index, const value& v) {
        insert_json(pointer, index, bj::serialize(v));
    }
    void append(std::string_view pointer, const value& v) { append_json(pointer, bj::serialize(v)); }
    // The same with the text of one value, which goes into the patch as it is.
    void insert_json(std::string_view pointer, std::size_t index, std::string_view json);
    void append_json(std::string_view pointer, std::string_view json);
    void remove(std::string_view pointer);

    // The same for many elements of one list: one operation an element, but the list is rebuilt only once, so
    // that the cost is linear. Indexes ascend. insert_each records the first element first, remove_each the
    // last. No elements is no operation.
    void insert_each(std::string_view pointer, std::span<const Insertion> insertions);
    void remove_each(std::string_view pointer, std::span<const std::size_t> indexes);

    value& document() { return document_; }
    bool changed() const { return !operations_.empty(); }
    // The patch, a JSON list of operations.
    std::string take() &&;

private:
    // Begins one operation, up to and with its pointer.
    std::string& begin(std::string_view op, std::string_view pointer);
    void record(std::string_view op, std::string_view pointer, const value& v);
    void insert_at(std::string_view pointer, std::optional<std::size_t> index, std::string_view json);
    value parsed(std::string_view json) const;

    value& document_;
    std::string operations_;  // the patch, but for its last bracket
    bool patch_only_ = false;
};

}  // namespace keyshepherd::json
