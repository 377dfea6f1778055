// A patch is applied to a Tree over the source, and the differences become edits of the text. Nothing of that
// has to be trusted: the new text is read back and compared with what RFC 6902 makes of the JSON. Where an
// edit of the text does not come out right (an anchor within a replaced part, a block scalar without its last
// line break), the next of three ways is taken: with every alias expanded, and at last the whole document
// printed anew, without its comments.
#include "tree.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <span>

namespace keyshepherd::yaml {

namespace {

std::optional<std::size_t> index_of(std::string_view token) {
    std::size_t index = 0;
    if (token.empty() || token.size() > 7) return std::nullopt;
    for (const char c : token) {
        if (c < '0' || c > '9') return std::nullopt;
        index = index * 10 + static_cast<std::size_t>(c - '0');
    }
    return index;
}

}  // namespace

bool Tree::is_map() const {
    if (node == nullptr) return fresh.is_object();
    return (node->kind == Kind::alias ? node->target : node)->kind == Kind::map;
}

bool Tree::is_list() const {
    if (node == nullptr) return fresh.is_array();
    return (node->kind == Kind::alias ? node->target : node)->kind == Kind::list;
}

void Tree::open() {
    if (opened) return;
    opened = true;
    if (node == nullptr) {
        if (fresh.is_object()) {
            for (auto& member : fresh.get_object()) {
                members.push_back({.key = std::string(member.key()), .value = {}});
                members.back().value.fresh = std::move(member.value());
            }
            fresh = json::object();
        } else {
            for (json::value& element : fresh.get_array()) {
                members.emplace_back();
                members.back().value.fresh = std::move(element);
            }
            fresh = json::array();
        }
        return;
    }
    if (node->kind == Kind::alias || has_merge(*node)) {
        if (node->kind == Kind::alias) node = node->target;
        in_place = false;
        touched = true;
    }
    if (has_merge(*node)) {
        Budget budget;
        for (MemberOf& member : members_of(*node, budget)) {
            members.push_back({.key = std::move(member.key), .value = {}});
            members.back().value.node = member.value;
        }
        return;
    }
    for (const Entry& entry : node->entries) {
        members.push_back({.key = entry.key == nullptr ? "" : key_of(*entry.key),
                           .value = {},
                           .entry = in_place ? &entry : nullptr});
        members.back().value.node = entry.value;
        members.back().value.in_place = in_place;
    }
}

Member* Tree::find(std::string_view token) {
    if (is_map()) {
        open();
        constexpr std::size_t few = 16;
        if (members.size() <= few) {
            const auto member = std::ranges::find(members, token, &Member::key);
            return member == members.end() ? nullptr : &*member;
        }
        while (index.size() < members.size()) index.try_emplace(members[index.size()].key, index.size());
        const auto place = index.find(token);
        return place == index.end() ? nullptr : &members[place->second];
    }
    if (!is_list()) return nullptr;
    open();
    const auto place = index_of(token);
    return place && *place < members.size() ? &members[*place] : nullptr;
}

namespace {

struct Operation {
    std::string_view name;
    std::string_view path;
    std::vector<std::string> tokens;
    const json::value* value = nullptr;
};

[[noreturn]] void refuse(const Operation& operation, std::string_view why) {
    throw Fault{Errc::invalid, 0,
                fmt::format("patch operation {} {} failed: {}", operation.name, operation.path, why)};
}

std::vector<Operation> operations_of(const json::array& patch) {
    std::vector<Operation> operations;
    for (const json::value& entry : patch) {
        Operation operation{
            .name = json::find_text(entry, {"op"}), .path = json::find_text(entry, {"path"}), .tokens = {}};
        if (operation.name != "add" && operation.name != "replace" && operation.name != "remove")
            refuse(operation, "only add, replace and remove are supported");
        if (entry.is_object()) operation.value = entry.get_object().if_contains("value");
        if (operation.name != "remove" && operation.value == nullptr)
            refuse(operation, "the operation has no value");
        std::string_view rest = operation.path;
        while (rest.starts_with('/')) {
            rest.remove_prefix(1);
            const std::size_t slash = std::min(rest.find('/'), rest.size());
            std::string token;
            for (std::size_t i = 0; i < slash; ++i) {
                const bool escape = rest[i] == '~' && i + 1 < slash;
                token += escape ? (rest[++i] == '1' ? '/' : '~') : rest[i];
            }
            operation.tokens.push_back(std::move(token));
            rest.remove_prefix(slash);
        }
        if (!rest.empty()) refuse(operation, "the path is not a JSON Pointer");
        operations.push_back(std::move(operation));
    }
    return operations;
}

std::size_t insertion_index(const Operation& operation, std::size_t size) {
    const std::string& token = operation.tokens.back();
    if (token == "-") return size;
    const auto index = index_of(token);
    if (!index) refuse(operation, "the last path segment is not an array index");
    if (*index > size) refuse(operation, "the index is past the end of the array");
    return *index;
}

Tree brought(const json::value& value) {
    Tree tree;
    tree.fresh = value;
    tree.touched = true;
    return tree;
}

// Equal for kubectl: a whole number may come back as an integer.
bool means_the_same(const json::value& a, const json::value& b) {
    if (a.is_object() && b.is_object()) {
        if (a.get_object().size() != b.get_object().size()) return false;
        return std::ranges::all_of(a.get_object(), [&](const auto& member) {
            const json::value* other = b.get_object().if_contains(member.key());
            return other != nullptr && means_the_same(member.value(), *other);
        });
    }
    if (a.is_array() && b.is_array()) return std::ranges::equal(a.get_array(), b.get_array(), means_the_same);
    if (a.is_number() && b.is_number() && a.is_double() != b.is_double())
        return a.to_number<double>() == b.to_number<double>();
    return json::equal(a, b);
}

// Makes `tree` mean `to` and leaves alone what does already; whether that changed anything.
bool converge(Tree& tree, const json::value& to) {
    bool changed = false;
    if (tree.is_map() && to.is_object()) {
        tree.open();
        changed = std::erase_if(tree.members,
                                [&](const Member& m) { return !to.get_object().contains(m.key); }) > 0;
        tree.index.clear();
        for (const auto& member : to.get_object()) {
            if (Member* own = tree.find(member.key()); own != nullptr) {
                changed = converge(own->value, member.value()) || changed;
            } else {
                tree.members.push_back({.key = std::string(member.key()), .value = brought(member.value())});
                changed = true;
            }
        }
    } else if (tree.is_list() && to.is_array() &&
               (tree.open(), tree.members.size() == to.get_array().size())) {
        for (std::size_t i = 0; i < tree.members.size(); ++i)
            changed = converge(tree.members[i].value, to.get_array()[i]) || changed;
    } else if (tree.is_map() || tree.is_list() || to.is_structured() ||
               !means_the_same(scalar_of(tree), to)) {
        tree = brought(to);
        changed = true;
    }
    tree.touched = tree.touched || changed;
    return changed;
}

// What `operation` changes a member of, opened.
Tree& parent_of(Tree& root, const Operation& operation) {
    Tree* at = &root;
    for (std::size_t i = 0; i + 1 < operation.tokens.size(); ++i) {
        Member* member = at->find(operation.tokens[i]);
        if (member == nullptr) refuse(operation, "the path does not exist");
        at->touched = true;
        at = &member->value;
    }
    if (!at->is_map() && !at->is_list()) refuse(operation, "the path does not exist");
    at->open();
    at->touched = true;
    return *at;
}

void apply_to(Tree& root, const Operation& operation) {
    if (operation.tokens.empty()) {
        if (operation.name == "remove") refuse(operation, "the root of a document cannot be removed");
        root = brought(*operation.value);
        return;
    }
    Tree* const at = &parent_of(root, operation);
    if (operation.name == "add" && at->is_list()) {
        const std::size_t index = insertion_index(operation, at->members.size());
        at->members.insert(at->members.begin() + static_cast<std::ptrdiff_t>(index),
                           Member{.key = {}, .value = brought(*operation.value)});
        return;
    }
    Member* member = at->find(operation.tokens.back());
    if (member == nullptr) {
        if (operation.name != "add") refuse(operation, "the path does not exist");
        at->members.push_back({.key = operation.tokens.back(), .value = brought(*operation.value)});
    } else if (operation.name == "remove") {
        at->members.erase(at->members.begin() + (member - at->members.data()));
        at->index.clear();
    } else {
        converge(member->value, *operation.value);
    }
}

json::value& parent_of(json::value& root, const Operation& operation) {
    json::value* at = &root;
    for (std::size_t i = 0; i + 1 < operation.tokens.size(); ++i)
        at = at->is_object() ? &at->get_object().at(operation.tokens[i])
                             : &at->as_array().at(std::stoul(operation.tokens[i]));
    return *at;
}

// The same on JSON: what the new text has to mean.
void apply_to(json::value& root, const Operation& operation) {
    if (operation.tokens.empty()) {
        root = *operation.value;
        return;
    }
    json::value* const at = &parent_of(root, operation);
    const std::string& last = operation.tokens.back();
    if (at->is_object()) {
        if (operation.name == "remove") {
            at->get_object().erase(last);
        } else {
            at->get_object()[last] = *operation.value;
        }
        return;
    }
    json::array& list = at->as_array();
    if (operation.name == "add") {
        list.insert(list.begin() + static_cast<std::ptrdiff_t>(insertion_index(operation, list.size())),
                    *operation.value);
    } else if (operation.name == "remove") {
        list.erase(list.begin() + static_cast<std::ptrdiff_t>(std::stoul(last)));
    } else {
        list.at(std::stoul(last)) = *operation.value;
    }
}

using Operations = std::span<const Operation>;

// How many operations, from the first on, add elements to one list at ascending places, or remove elements of
// one list at descending places: what json::Editor makes of many elements. At least 1.
std::size_t run_of(Operations operations) {
    const Operation& first = operations.front();
    const bool adds = first.name == "add";
    if (first.tokens.empty() || (!adds && first.name != "remove")) return 1;
    const auto parent = [](const Operation& operation) {
        return operation.path.substr(0, operation.path.rfind('/'));
    };
    auto last = index_of(first.tokens.back());
    std::size_t size = 1;
    for (; last && size < operations.size(); ++size) {
        const Operation& next = operations[size];
        if (next.name != first.name || next.tokens.size() != first.tokens.size() ||
            parent(next) != parent(first))
            break;
        const auto index = index_of(next.tokens.back());
        if (!index || (adds ? *index <= *last : *index >= *last)) break;
        last = index;
    }
    return size;
}

// Applies such a run in one pass; false, and no change, where a place is past the end. `make` makes an
// element.
template <class List, class Make>
bool apply_run(List& list, Operations run, const Make& make) {
    const auto place = [](const Operation& operation) { return *index_of(operation.tokens.back()); };
    List changed;
    if (run.front().name == "add") {
        for (std::size_t i = 0; i < run.size(); ++i)
            if (place(run[i]) > list.size() + i) return false;
        changed.reserve(list.size() + run.size());
        auto kept = list.begin();
        for (const Operation& operation : run) {
            while (changed.size() < place(operation)) changed.push_back(std::move(*kept++));
            changed.push_back(make(operation));
        }
        while (kept != list.end()) changed.push_back(std::move(*kept++));
    } else {
        if (place(run.front()) >= list.size()) return false;
        changed.reserve(list.size() - run.size());
        auto next = run.rbegin();  // the places in ascending order
        for (std::size_t i = 0; i < list.size(); ++i) {
            if (next != run.rend() && place(*next) == i)
                ++next;
            else
                changed.push_back(std::move(list[i]));
        }
    }
    list = std::move(changed);
    return true;
}

bool apply_run(Tree& root, Operations run) {
    Tree& at = parent_of(root, run.front());
    return at.is_list() && apply_run(at.members, run, [](const Operation& operation) {
               return Member{.key = {}, .value = brought(*operation.value)};
           });
}

bool apply_run(json::value& root, Operations run) {
    json::array* const list = parent_of(root, run.front()).if_array();
    return list != nullptr &&
           apply_run(*list, run, [](const Operation& operation) { return *operation.value; });
}

// Root: Tree or json::value.
template <class Root>
void apply_all(Root& root, Operations operations) {
    while (!operations.empty()) {
        const std::size_t size = run_of(operations);
        if (size == 1 || !apply_run(root, operations.first(size)))
            for (const Operation& operation : operations.first(size)) apply_to(root, operation);
        operations = operations.subspan(size);
    }
}

// An edit of the text that cannot be made in place; the next way is taken.
struct Unsupported {};

class Editing {
public:
    explicit Editing(const Syntax& syntax) : source_(syntax.source), manner_(manner_of(syntax)) {}

    // In ascending order.
    std::vector<Edit> of(Tree& root) {
        if (root.touched) {
            if (root.in_place && can_edit(root)) {
                collection(root, nowhere);
            } else {
                const Node* node = root.node;
                if (!root.in_place || node == nullptr) throw Unsupported();
                edit(node->start, node->end, whole(root));
            }
        }
        return sorted();
    }

    // The document printed anew.
    std::string whole(Tree& root) {
        if (manner_.format == Format::json)
            return flow_text(root, manner_, source_, source_.contains('\n') ? 0 : nowhere);
        std::vector<std::string> lines = block_lines(root, manner_, source_);
        if (lines.front() == "|" || lines.front() == "|-") throw Unsupported();
        return join(lines, 0, 0);
    }

private:
    void edit(std::size_t begin, std::size_t end, std::string text) {
        edits_.push_back({begin, end, std::move(text)});
    }

    // Of edits that begin at one place, the inner comes before the outer, as they were made.
    std::vector<Edit> sorted() {
        std::vector<std::pair<std::size_t, std::size_t>> order;  // begin, index
        for (std::size_t i = 0; i < edits_.size(); ++i) order.emplace_back(edits_[i].begin, i);
        std::ranges::sort(order);
        std::vector<Edit> ascending;
        for (const auto& [begin, index] : order) {
            if (!ascending.empty() && begin < ascending.back().end) throw Unsupported();
            ascending.push_back(std::move(edits_[index]));
        }
        return ascending;
    }

    std::size_t line_start(std::size_t at) const {
        const std::size_t newline = at == 0 ? nowhere : source_.rfind('\n', at - 1);
        return newline == nowhere ? 0 : newline + 1;
    }
    // Before the line break.
    std::size_t line_end(std::size_t at) const {
        const std::size_t newline = std::min(source_.find('\n', at), source_.size());
        return newline > at && source_[newline - 1] == '\r' ? newline - 1 : newline;
    }
    std::size_t column(std::size_t at) const { return at - line_start(at); }
    bool alone(std::size_t at) const {
        return source_.substr(line_start(at), column(at)).find_first_not_of(' ') == nowhere;
    }
    std::size_t indent_of_line(std::size_t at) const {
        const std::size_t from = line_start(at);
        return std::min(source_.find_first_not_of(' ', from), source_.size()) - from;
    }
    std::string join(const std::vector<std::string>& lines, std::size_t indent, std::size_t from) const {
        std::string out;
        for (std::size_t i = from; i < lines.size(); ++i) {
            if (i > from) out += manner_.newline;
            if (!lines[i].empty() && (i > from || from > 0)) out += std::string(indent, ' ');
            out += lines[i];
        }
        return out;
    }
    static std::size_t end_of(const Entry& entry) {
        std::size_t end = entry.key == nullptr ? entry.begin : entry.key->end;
        if (entry.after != nowhere) end = std::max(end, entry.after);
        return std::max(end, entry.value->end);
    }

    bool can_edit(const Tree& tree) const {
        return tree.in_place && tree.opened && !tree.node->bare &&
               std::ranges::any_of(tree.members,
                                   [](const Member& member) { return member.entry != nullptr; });
    }

    // `header_end`: behind the key or dash that the collection hangs on; nowhere at the root.
    void collection(Tree& tree, std::size_t header_end) {
        if (tree.node->style == Style::flow) {
            flow(tree);
        } else {
            block(tree, header_end);
        }
    }

    void block(Tree& tree, std::size_t header_end) {
        const Node& node = *tree.node;
        const bool map = node.kind == Kind::map;
        const std::size_t width = column(node.entries.front().begin);
        const auto first_kept =
            std::ranges::find_if(tree.members, [](const Member& m) { return m.entry != nullptr; });

        std::vector<std::string> pending;
        const auto add = [&](Member& member) {
            Tree one;
            one.fresh = map ? json::value(json::object()) : json::value(json::array());
            one.opened = true;
            one.members.push_back(std::move(member));
            std::ranges::move(block_lines(one, manner_, source_), std::back_inserter(pending));
        };
        const auto insert_behind = [&](std::size_t end) {
            if (pending.empty()) return;
            edit(end, end,
                 manner_.newline + std::string(pending.front().empty() ? 0 : width, ' ') +
                     join(pending, width, 0));
            pending.clear();
        };

        // What comes before the first that stays, and what goes there.
        const Entry& front = node.entries.front();
        const bool shared = !alone(front.begin);
        std::size_t at = static_cast<std::size_t>(first_kept->entry - node.entries.data());
        for (auto member = tree.members.begin(); member != first_kept; ++member) add(*member);
        if (shared) {
            if (at > 0 || !pending.empty()) {
                std::string text = join(pending, width, 0);
                if (!pending.empty()) text += manner_.newline + std::string(width, ' ');
                edit(front.begin, first_kept->entry->begin, std::move(text));
                pending.clear();
            }
        } else {
            if (header_end != nowhere) {
                insert_behind(line_end(header_end));
            } else if (!pending.empty()) {
                edit(line_start(front.begin), line_start(front.begin),
                     std::string(width, ' ') + join(pending, width, 0) + manner_.newline);
                pending.clear();
            }
            for (std::size_t i = 0; i < at; ++i) drop_lines(node.entries[i]);
        }

        for (auto member = first_kept; member != tree.members.end();) {
            const Entry& entry = *member->entry;
            if (member->value.touched) value(*member, entry, width, map);
            for (++member; member != tree.members.end() && member->entry == nullptr; ++member) add(*member);
            insert_behind(line_end(end_of(entry)));
            const std::size_t next = member == tree.members.end()
                                         ? node.entries.size()
                                         : static_cast<std::size_t>(member->entry - node.entries.data());
            for (++at; at < next; ++at) drop_lines(node.entries[at]);
        }
    }

    void drop_lines(const Entry& entry) {
        const std::size_t from = line_start(entry.begin);
        const std::size_t end = line_end(end_of(entry));
        if (!alone(entry.begin)) throw Unsupported();
        if (from > 0) {
            edit(from - (from > 1 && source_[from - 2] == '\r' ? 2 : 1), end, "");
        } else {
            edit(0, std::min(source_.find('\n', end), source_.size() - 1) + 1, "");
        }
    }

    // The value of a block entry that stays.
    void value(Member& member, const Entry& entry, std::size_t width, bool map) {
        Tree& tree = member.value;
        if (entry.after == nowhere) throw Unsupported();
        if (can_edit(tree)) {
            // Behind its tag and anchor, if they stand on a line of their own.
            std::size_t header = entry.after;
            if (tree.node->start < tree.node->begin && tree.node->style == Style::block)
                header = source_.find_last_not_of(" \t\r\n", tree.node->begin - 1);
            collection(tree, header);
            return;
        }
        const Node& old = *entry.value;
        const std::vector<std::string> lines = block_lines(tree, manner_, source_);
        const bool below = map && begins_below(tree);
        const std::size_t indent = width + (!map ? 2 : tree.is_list() ? manner_.list_offset : manner_.step);
        if (!below && lines.size() == 1 && old.start < old.end && old.style != Style::block &&
            old.style != Style::block_scalar) {
            edit(old.start, old.end, lines.front());  // what stands around it stays
            return;
        }
        const std::size_t end = end_of(entry);
        edit(entry.after, end, below ? "" : ' ' + lines.front());
        std::string rest;
        for (std::size_t i = below ? 0 : 1; i < lines.size(); ++i)
            rest += manner_.newline + (lines[i].empty() ? "" : std::string(indent, ' ')) + lines[i];
        if (!rest.empty()) edit(line_end(end), line_end(end), std::move(rest));
    }

    void flow(Tree& tree) {
        const Node& node = *tree.node;
        const Entry& front = node.entries.front();
        const bool lines = source_.substr(node.begin, front.begin - node.begin).contains('\n');
        const std::size_t width = lines ? indent_of_line(front.begin) : nowhere;
        const auto text_of = [&](Member& member) {
            const std::string text = flow_text(member.value, manner_, source_, width);
            return node.kind == Kind::map ? flow_key(member.key, manner_) + manner_.colon + text : text;
        };
        const std::string separator = lines ? "," + manner_.newline + std::string(width, ' ') : manner_.comma;
        const auto first_kept =
            std::ranges::find_if(tree.members, [](const Member& m) { return m.entry != nullptr; });
        std::size_t at = static_cast<std::size_t>(first_kept->entry - node.entries.data());
        if (at > 0) edit(front.begin, first_kept->entry->begin, "");
        for (auto member = tree.members.begin(); member != first_kept; ++member)
            edit(first_kept->entry->begin, first_kept->entry->begin, text_of(*member) + separator);
        for (auto member = first_kept; member != tree.members.end();) {
            const Entry& entry = *member->entry;
            if (member->value.touched) {
                if (can_edit(member->value)) {
                    collection(member->value, nowhere);
                } else {
                    const Node& old = *entry.value;
                    if (old.start == old.end) throw Unsupported();
                    const std::size_t indent = lines ? indent_of_line(old.start) : nowhere;
                    edit(old.start, old.end, flow_text(member->value, manner_, source_, indent));
                }
            }
            const std::size_t end = end_of(entry);
            for (++member; member != tree.members.end() && member->entry == nullptr; ++member)
                edit(end, end, separator + text_of(*member));
            const std::size_t next = member == tree.members.end()
                                         ? node.entries.size()
                                         : static_cast<std::size_t>(member->entry - node.entries.data());
            if (next > at + 1) edit(end, end_of(node.entries[next - 1]), "");
            at = next;
        }
    }

    std::string_view source_;
    Manner manner_;
    std::vector<Edit> edits_;
};

// Opens every alias and merge, so that the text has none left that is used.
void expand(Tree& tree) {
    if (!tree.is_map() && !tree.is_list()) {
        if (tree.node != nullptr && tree.node->kind == Kind::alias) {
            tree.node = tree.node->target;
            tree.in_place = false;
            tree.touched = true;
        }
        return;
    }
    tree.open();
    for (Member& member : tree.members) {
        expand(member.value);
        tree.touched = tree.touched || member.value.touched;
    }
}

void out_of_place(Tree& tree) {
    tree.in_place = false;
    for (Member& member : tree.members) out_of_place(member.value);
}

}  // namespace

Manner manner_of(const Syntax& syntax) {
    Manner manner{.format = syntax.format};
    const std::string_view source = syntax.source;
    if (source.contains("\r\n")) manner.newline = "\r\n";
    const auto column = [&](std::size_t at) {
        const std::size_t newline = at == 0 ? nowhere : source.rfind('\n', at - 1);
        return newline == nowhere ? at : at - newline - 1;
    };
    bool step = false;
    bool offset = false;
    bool colon = false;
    if (syntax.format == Format::json) manner.step = 4;
    for (const Node& node : syntax.nodes) {
        if (node.kind != Kind::map) continue;
        for (const Entry& entry : node.entries) {
            const Node& inner = *entry.value;
            if (node.style == Style::flow && entry.after != nowhere && !colon) {
                colon = true;
                if (syntax.format == Format::json && entry.after < source.size() &&
                    !std::string_view(" \t\r\n").contains(source[entry.after])) {
                    manner.colon = ":";
                    manner.comma = ",";
                }
            }
            if (inner.entries.empty() ||
                !source.substr(entry.begin, inner.entries.front().begin - entry.begin).contains('\n'))
                continue;
            const std::size_t outer = column(entry.begin);
            const std::size_t width = column(inner.entries.front().begin);
            if (inner.style != node.style || width < outer) continue;
            if (inner.style == Style::block && inner.kind == Kind::list) {
                if (!offset) manner.list_offset = width - outer;
                offset = true;
            } else if (!step && width > outer) {
                manner.step = width - outer;
                step = true;
            }
        }
    }
    return manner;
}

std::string edited(std::string_view source, const std::vector<Edit>& edits) {
    std::string out;
    std::size_t at = 0;
    for (const Edit& edit : edits) {
        out += source.substr(at, edit.begin - at);
        out += edit.text;
        at = edit.end;
    }
    out += source.substr(at);
    return out;
}

result<std::vector<Edit>> edits(const Document& document, const json::array& patch) {
    if (patch.empty()) return std::vector<Edit>();
    const std::string_view source = document.source;
    std::string reason;  // of the first way that failed by a fault
    try {
        const Syntax syntax = parse_document(source);
        const std::vector<Operation> operations = operations_of(patch);
        std::optional<json::value> want;
        enum { as_it_stands, expanded, anew };
        for (const int way : {as_it_stands, expanded, anew}) {
            Tree root;
            root.node = syntax.root;
            root.in_place = true;
            if (way != as_it_stands) expand(root);
            apply_all(root, operations);
            if (!want) {
                want = value_of(syntax);
                apply_all(*want, operations);
            }
            try {
                Editing editing(syntax);
                std::vector<Edit> made;
                if (way == anew) {
                    out_of_place(root);
                    made.push_back({0, source.size(), editing.whole(root) + manner_of(syntax).newline});
                } else {
                    made = editing.of(root);
                }
                const std::string text = edited(source, made);
                const Syntax again = parse_document(text);
                if ((again.format == Format::json || syntax.format == Format::yaml) &&
                    means_the_same(value_of(again), *want))
                    return made;
            } catch (const Unsupported&) {
            } catch (const Fault& fault) {
                // Larger than read() takes in whatever way it is printed.
                if (fault.code == Errc::too_large && way == as_it_stands)
                    return fail(Errc::too_large, fmt::format("line {}: the patched document is too large: "
                                                             "{}; put fewer objects into one document",
                                                             document.line, fault.message));
                if (reason.empty()) reason = ": " + fault.message;
            }
        }
    } catch (const Fault& fault) {
        return fail(fault.code, fmt::format("line {}: {}", document.line, fault.message));
    }
    return fail(Errc::internal, fmt::format("line {}: the patched document cannot be written as YAML{}",
                                            document.line, reason));
}

result<std::string> apply(const Document& document, const json::array& patch) {
    KEYSHEPHERD_TRY(const std::vector<Edit> made, edits(document, patch));
    return edited(document.source, made);
}

}  // namespace keyshepherd::yaml
