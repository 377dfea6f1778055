#include "marker.hpp"

#include "layout.hpp"
#include "limits.hpp"
#include "names.hpp"

#include <keyshepherd/core/build.hpp>
#include <keyshepherd/inject/annotations.hpp>
#include <keyshepherd/json/writer.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

namespace keyshepherd::inject {

namespace {

using json::array;
using json::object;
using json::value;

constexpr int schema = 1;
constexpr json::Limits marker_limits{.depth = 20};

std::vector<std::string> words_of(const value& root, std::string_view member) {
    std::vector<std::string> words;
    if (const array* list = json::find_array(root, {member}))
        for (const value& word : *list)
            if (const auto* text = word.if_string()) words.emplace_back(*text);
    return words;
}

using Names = std::set<std::string_view>;

Names names_of(const array* elements) {
    Names names;
    if (elements != nullptr)
        for (const value& element : *elements) names.insert(json::find_text(element, {"name"}));
    return names;
}

bool reads_our_file(const value& entry) {
    return json::find_text(entry, {"valueFrom", "fileKeyRef", "volumeName"}) == env_volume;
}

bool by_secret(const Marker& marker) {
    return marker.wiring == text(Wiring::secret);
}

using Originals = std::map<std::string, value>;  // by variable

// What the marker says of one container; nullptr: nothing.
const Originals* originals_of(const Marker& marker, const std::string& list, const std::string& container) {
    const auto of_list = marker.env.find(list);
    if (of_list == marker.env.end()) return nullptr;
    const auto variables = of_list->second.find(container);
    return variables == of_list->second.end() ? nullptr : &variables->second;
}

// What stood in place of the entry: nullptr where the marker says nothing about it.
const value* original_of(const Originals* originals, const value& entry) {
    if (originals == nullptr) return nullptr;
    const auto original = originals->find(std::string(json::find_text(entry, {"name"})));
    return original == originals->end() ? nullptr : &original->second;
}

// An entry whose form a user's may have, too, is ours when the marker has it with this very value.
bool is_ours(const value& entry, const value* original, const Marker& marker) {
    if (reads_our_file(entry)) return true;
    if (original == nullptr) return false;
    const auto written = marker.values.find(std::string(json::find_text(entry, {"name"})));
    if (written == marker.values.end()) return false;
    if (!by_secret(marker)) return written->second == json::find_text(entry, {"value"});
    return written->second.starts_with(name_prefix) &&
           written->second == json::find_text(entry, {"valueFrom", "secretKeyRef", "name"});
}

bool is_ours(const value& mount) {
    return is_own_name(json::find_text(mount, {"name"}));
}

bool is_wrapped(const array* command) {
    return command != nullptr && command->size() > 2 && (*command)[0] == value(launcher) &&
           (*command)[1] == value("--");
}

bool carries_ours(const value& container, const Marker& marker) {
    if (is_wrapped(json::find_array(container, {"command"}))) return true;
    const array* mounts = json::find_array(container, {"volumeMounts"});
    if (mounts != nullptr &&
        std::any_of(mounts->begin(), mounts->end(), [](const value& m) { return is_ours(m); }))
        return true;
    const array* env = json::find_array(container, {"env"});
    static const value nothing;
    return env != nullptr && std::any_of(env->begin(), env->end(), [&](const value& entry) {
               return reads_our_file(entry) || (by_secret(marker) && is_ours(entry, &nothing, marker));
           });
}

// Under which name the marker knows each container that carries something of ours and that it does not know
// by its own: renamed where just one such name is left over, a copy otherwise (""). By list.
std::map<std::string, std::map<std::string, std::string>> renamed(const value& pod_template,
                                                                  const Marker& marker) {
    std::map<std::string, std::map<std::string, std::string>> all;
    for (const std::string list : {"initContainers", "containers"}) {
        std::set<std::string> known(marker.mounted.begin(), marker.mounted.end());
        if (const auto of_list = marker.env.find(list); of_list != marker.env.end())
            for (const auto& [container, variables] : of_list->second) known.insert(container);
        std::set<std::string> left_over = known;
        for (const std::string_view any : {"initContainers", "containers"})
            if (const array* elements = json::find_array(pod_template, {"spec", any}))
                for (const value& container : *elements)
                    left_over.erase(std::string(json::find_text(container, {"name"})));
        std::vector<std::string> unknown;
        if (const array* elements = json::find_array(pod_template, {"spec", list}))
            for (const value& container : *elements) {
                std::string name(json::find_text(container, {"name"}));
                if (!is_own_name(name) && !known.contains(name) && carries_ours(container, marker))
                    unknown.push_back(std::move(name));
            }
        for (const std::string& name : unknown)
            all[list][name] = unknown.size() == 1 && left_over.size() == 1 ? *left_over.begin() : "";
    }
    return all;
}

// The name by which the marker knows a container: its own, unless it is in `of_list` of renamed().
std::string known_name(const std::map<std::string, std::map<std::string, std::string>>& new_names,
                       const std::string& list, const value& container) {
    std::string name(json::find_text(container, {"name"}));
    if (const auto of_list = new_names.find(list); of_list != new_names.end())
        if (const auto known = of_list->second.find(name); known != of_list->second.end())
            return known->second;
    return name;
}

// What takes our part out of an entry of `env`.
struct Undo {
    enum class Step { nothing, remove_entry, remove_member, restore };
    Step step = Step::nothing;
    std::string_view member = {};     // of remove_member: a pointer below the entry
    const value* original = nullptr;  // of restore
};

Undo undo_of(const value& entry, const value* original, const Marker& marker) {
    using enum Undo::Step;
    if (!entry.is_object() || !is_ours(entry, original, marker)) return {};
    const object* from = json::find_object(entry, {"valueFrom"});
    const bool of_file = reads_our_file(entry), of_secret = !of_file && by_secret(marker);
    // A later apply brought a source or a value of the user's own, which stays.
    if (from != nullptr && from->size() > 1 && (of_file || of_secret))
        return {.step = remove_member,
                .member = of_file ? "/valueFrom/fileKeyRef" : "/valueFrom/secretKeyRef"};
    if (from != nullptr && entry.get_object().contains("value"))
        return {.step = remove_member, .member = of_file || of_secret ? "/valueFrom" : "/value"};
    if (original == nullptr || original->is_null()) return {.step = remove_entry};
    return {.step = restore, .original = original};
}

// By name alone, whatever the marker lists: two injections may have been merged into one object.
void remove_own(json::Editor& edit, const std::string& pointer) {
    const value* list = json::at(edit.document(), pointer);
    const array* elements = list == nullptr ? nullptr : list->if_array();
    std::vector<std::size_t> own;
    for (std::size_t i = 0; elements != nullptr && i < elements->size(); ++i)
        if (is_own_name(json::find_text((*elements)[i], {"name"}))) own.push_back(i);
    edit.remove_each(pointer, own);
}

// Puts the elements of `stored` that remove_own() takes out where they stand in it.
void insert_own(json::Editor& edit, const std::string& pointer, const array& stored) {
    std::vector<json::Insertion> own;
    for (std::size_t i = 0; i < stored.size(); ++i)
        if (is_own_name(json::find_text(stored[i], {"name"})))
            own.push_back({i, json::bj::serialize(stored[i])});
    edit.insert_each(pointer, own);
}

// The lists of names in a marker, to be looked up.
struct Listed {
    explicit Listed(const Marker& marker)
        : made(marker.made.begin(), marker.made.end()),
          made_of_null(marker.made_of_null.begin(), marker.made_of_null.end()),
          entrypoints(marker.entrypoints.begin(), marker.entrypoints.end()) {}
    Names made, made_of_null, entrypoints;
};

// `name`: under which the marker knows the container; "" for a copy, which is known by its values alone.
void strip_container(json::Editor& edit, const std::string& pointer, const std::string& list,
                     const std::string& name, const Marker& marker, const Listed& listed) {
    const value& container = *json::at(edit.document(), pointer);
    static const value nothing;

    if (const array* env = json::find_array(container, {"env"})) {
        const Originals* originals = name.empty() ? nullptr : originals_of(marker, list, name);
        std::vector<std::size_t> removed;
        for (std::size_t i = 0; i < env->size(); ++i) {
            const Undo undo =
                undo_of((*env)[i], name.empty() ? &nothing : original_of(originals, (*env)[i]), marker);
            if (undo.step == Undo::Step::remove_entry)
                removed.push_back(i);
            else if (undo.step == Undo::Step::remove_member)
                edit.remove(fmt::format("{}/env/{}{}", pointer, i, undo.member));
            else if (undo.step == Undo::Step::restore)
                edit.set(fmt::format("{}/env/{}", pointer, i), *undo.original);
        }
        edit.remove_each(pointer + "/env", removed);
    }

    if (json::find_array(container, {"volumeMounts"}) != nullptr) remove_own(edit, pointer + "/volumeMounts");

    if (const array* command = json::find_array(container, {"command"}); is_wrapped(command)) {
        const std::string label = fmt::format("{}/{}/command", list, name);
        if (listed.entrypoints.contains(name) && listed.made.contains(label)) {
            edit.remove(pointer + "/command");
        } else if (listed.entrypoints.contains(name)) {
            edit.set(pointer + "/command",
                     listed.made_of_null.contains(label) ? value(nullptr) : value(array()));
        } else {
            constexpr std::array<std::size_t, 2> head = {0, 1};
            edit.remove_each(pointer + "/command", head);
        }
    }
}

// Lists that became empty and were not there before go, too.
void unmake(json::Editor& edit, const std::string& parent, std::string_view member, const std::string& label,
            const Listed& listed) {
    const value* root = json::at(edit.document(), parent);
    const object* members = root == nullptr ? nullptr : root->if_object();
    const value* made = members == nullptr ? nullptr : members->if_contains(member);
    if (made == nullptr) return;
    const bool empty =
        (made->is_array() && made->get_array().empty()) || (made->is_object() && made->get_object().empty());
    if (!empty) return;
    const std::string pointer = fmt::format("{}/{}", parent, member);
    if (listed.made_of_null.contains(label)) {
        edit.set(pointer, nullptr);
    } else if (listed.made.contains(label)) {
        edit.remove(pointer);
    }
}

}  // namespace

std::string Marker::text() const {
    std::string out;
    out.reserve(1 << 10);
    json::Writer w(out);
    auto list = [&](std::string_view name, const std::vector<std::string>& words) {
        if (words.empty()) return;
        w.key(name).array();
        for (const std::string& word : words) w.text(word);
        w.end_array();
    };
    w.object().key("v").number(schema).member("by", by).member("in", inputs).member("wiring", wiring);
    list("initContainers", init_containers);
    list("containers", containers);
    list("volumes", volumes);
    if (!env.empty()) {
        w.key("env").object();
        for (const auto& [list_name, by_container] : env) {
            w.name(list_name).object();
            for (const auto& [container, variables] : by_container) {
                w.name(container).object();
                for (const auto& [variable, original] : variables) {
                    w.name(variable);
                    if (original.is_null()) {
                        w.null();
                    } else {
                        w.raw(json::bj::serialize(original));
                    }
                }
                w.end_object();
            }
            w.end_object();
        }
        w.end_object();
    }
    if (!values.empty()) {
        w.key("values").object();
        for (const auto& [name, given] : values) w.name(name).text(given);
        w.end_object();
    }
    list("mounted", mounted);
    list("wrapped", wrapped);
    list("entrypoints", entrypoints);
    list("made", made);
    list("madeOfNull", made_of_null);
    w.end_object();
    return out;
}

std::vector<json::Insertion> launcher_words() {
    return {{.index = 0, .json = fmt::format("\"{}\"", launcher)}, {.index = 1, .json = "\"--\""}};
}

std::optional<Marker> parse_marker(std::string_view text) {
    if (text.empty() || text.size() > annotation_bytes) return std::nullopt;
    const auto parsed = json::parse(text, {}, marker_limits);
    if (!parsed || !parsed->is_object()) return std::nullopt;
    const value* version = json::find(*parsed, {"v"});
    if (version == nullptr || *version != value(schema)) return std::nullopt;
    Marker m;
    m.by = json::find_text(*parsed, {"by"});
    m.inputs = json::find_text(*parsed, {"in"});
    m.wiring = json::find_text(*parsed, {"wiring"});
    m.init_containers = words_of(*parsed, "initContainers");
    m.containers = words_of(*parsed, "containers");
    m.volumes = words_of(*parsed, "volumes");
    m.mounted = words_of(*parsed, "mounted");
    m.wrapped = words_of(*parsed, "wrapped");
    m.entrypoints = words_of(*parsed, "entrypoints");
    m.made = words_of(*parsed, "made");
    m.made_of_null = words_of(*parsed, "madeOfNull");
    if (const object* written = json::find_object(*parsed, {"values"}))
        for (const auto& member : *written)
            if (const auto* was = member.value().if_string()) m.values[member.key()] = *was;
    if (const object* lists = json::find_object(*parsed, {"env"}))
        for (const auto& list : *lists)
            if (const object* named = list.value().if_object())
                for (const auto& container : *named)
                    if (const object* entries = container.value().if_object())
                        for (const auto& entry : *entries)
                            if (entry.value().is_null() || entry.value().is_object())
                                m.env[list.key()][container.key()][entry.key()] = entry.value();
    return m;
}

std::string unreadable(std::string_view text) {
    const std::string way_out =
        "remove everything named keyshepherd-… from the manifest and run kubectl replace -f FILE";
    const auto parsed = json::parse(text.substr(0, annotation_bytes + 1), {}, marker_limits);
    const value* version = parsed ? json::find(*parsed, {"v"}) : nullptr;
    const auto* later = version == nullptr ? nullptr : version->if_int64();
    if (later == nullptr || *later <= schema)
        return fmt::format(
            "the annotation is damaged, so keyshepherd cannot separate the injected parts from yours; return "
            "to an earlier revision (kubectl rollout undo), or {}",
            way_out);
    return fmt::format(
        "keyshepherd {} wrote the annotation with schema {}, but keyshepherd {} supports only schema {}; "
        "upgrade keyshepherd, or {}",
        quoted(json::find_text(*parsed, {"by"})), *later, keyshepherd::version(), schema, way_out);
}

void strip(json::Editor& edit, const std::string& base, const Marker& marker) {
    const std::string spec = base + "/spec";
    for (const std::string_view list : {"/initContainers", "/containers", "/volumes"})
        remove_own(edit, spec + std::string(list));
    const Listed listed(marker);
    const value* pod_template = json::at(edit.document(), base);
    const auto new_names =
        pod_template == nullptr ? decltype(renamed({}, marker))() : renamed(*pod_template, marker);
    for (const std::string list : {"initContainers", "containers"}) {
        const value* pod = json::at(edit.document(), spec);
        const array* elements = pod == nullptr ? nullptr : json::find_array(*pod, {list});
        const std::size_t size = elements == nullptr ? 0 : elements->size();
        for (std::size_t i = 0; i < size; ++i) {
            if (!(*elements)[i].is_object()) continue;
            const std::string pointer = fmt::format("{}/{}/{}", spec, list, i);
            const std::string name = known_name(new_names, list, (*elements)[i]);
            strip_container(edit, pointer, list, name, marker, listed);
            for (const std::string_view member : {"env", "volumeMounts"})
                unmake(edit, pointer, member, fmt::format("{}/{}/{}", list, name, member), listed);
        }
    }
    for (const std::string_view member : {"initContainers", "volumes"})
        unmake(edit, spec, member, std::string(member), listed);

    const std::string annotations = base + "/metadata/annotations";
    for (const std::string_view name : {"agent-config", "vault-ca", "injected"}) {
        const value* all = json::at(edit.document(), annotations);
        const std::string key = fmt::format("{}{}", annotation_prefix, name);
        if (all != nullptr && all->is_object() && all->get_object().contains(key))
            edit.remove(fmt::format("{}/{}", annotations, json::escape(key)));
    }
    unmake(edit, base + "/metadata", "annotations", "annotations", listed);
    unmake(edit, base, "metadata", "metadata", listed);
}

void replay(json::Editor& edit, const std::string& base, const json::value& stored, const Marker& marker) {
    const std::string spec = base + "/spec";
    const auto new_names = renamed(stored, marker);
    static const value nothing;
    // Both lists are equal but for what strip() takes out, so that places are found by counting.
    for (const std::string list : {"initContainers", "containers"}) {
        const array* from = json::find_array(stored, {"spec", list});
        std::size_t users = 0;
        for (std::size_t i = 0; from != nullptr && i < from->size(); ++i) {
            const value& c = (*from)[i];
            if (is_own_name(json::find_text(c, {"name"}))) continue;
            const std::string at = fmt::format("{}/{}/{}", spec, list, users++);
            const std::string name = known_name(new_names, list, c);
            if (const array* env = json::find_array(c, {"env"})) {
                const Originals* originals = name.empty() ? nullptr : originals_of(marker, list, name);
                std::vector<json::Insertion> insertions;
                for (std::size_t e = 0; e < env->size(); ++e) {
                    const value& entry = (*env)[e];
                    const Undo undo =
                        undo_of(entry, name.empty() ? &nothing : original_of(originals, entry), marker);
                    if (undo.step == Undo::Step::remove_entry)
                        insertions.push_back({e, json::bj::serialize(entry)});
                    else if (undo.step != Undo::Step::nothing)
                        edit.set(fmt::format("{}/env/{}", at, e - insertions.size()), entry);
                }
                edit.insert_each(at + "/env", insertions);
            }
            if (const array* mounts = json::find_array(c, {"volumeMounts"}))
                insert_own(edit, at + "/volumeMounts", *mounts);
            if (const array* command = json::find_array(c, {"command"}); is_wrapped(command)) {
                const array* own = json::find_array(*json::at(edit.document(), at), {"command"});
                if (own != nullptr &&
                    std::equal(command->begin() + 2, command->end(), own->begin(), own->end(),
                               [](const value& a, const value& b) { return json::equal(a, b); }))
                    edit.insert_each(at + "/command", launcher_words());
                else
                    edit.set(at + "/command", *command);
            }
        }
    }
    for (const std::string_view list : {"initContainers", "containers", "volumes"})
        if (const array* from = json::find_array(stored, {"spec", list}))
            insert_own(edit, fmt::format("{}/{}", spec, list), *from);

    if (json::find(*json::at(edit.document(), base), {"metadata"}) == nullptr)
        edit.set(base + "/metadata", object());
    if (json::find(*json::at(edit.document(), base), {"metadata", "annotations"}) == nullptr)
        edit.set(base + "/metadata/annotations", object());
    for (const std::string_view name : {"agent-config", "vault-ca", "injected"}) {
        const std::string key = fmt::format("{}{}", annotation_prefix, name);
        if (const value* text = json::find(stored, {"metadata", "annotations", key}))
            edit.set(fmt::format("{}/metadata/annotations/{}", base, json::escape(key)), *text);
    }
}

bool is_forgotten(const json::value& original) {
    return original.is_object() && !original.get_object().contains("value") &&
           !original.get_object().contains("valueFrom");
}

void forget(json::value& pod_template, const Marker& marker) {
    for (const auto& [list, by_container] : marker.env) {
        value* elements = json::find(pod_template, {"spec", list});
        if (elements == nullptr || !elements->is_array()) continue;
        for (value& container : elements->get_array()) {
            const auto variables = by_container.find(std::string(json::find_text(container, {"name"})));
            value* env = json::find(container, {"env"});
            if (variables == by_container.end() || env == nullptr || !env->is_array()) continue;
            for (value& entry : env->get_array()) {
                const auto original = variables->second.find(std::string(json::find_text(entry, {"name"})));
                if (!entry.is_object() || original == variables->second.end() ||
                    !original->second.is_object() || original->second.get_object().contains("value"))
                    continue;
                if (!is_reference(json::find_text(entry, {"value"}))) entry.as_object().erase("value");
            }
        }
    }
}

bool holds(const json::value& pod_template, const Marker& marker) {
    auto all = [&](std::string_view list, const std::vector<std::string>& names) {
        if (names.empty()) return true;
        const Names there = names_of(json::find_array(pod_template, {"spec", list}));
        return std::ranges::all_of(names, [&](const std::string& name) { return there.contains(name); });
    };
    if (!all("initContainers", marker.init_containers) || !all("containers", marker.containers) ||
        !all("volumes", marker.volumes))
        return false;
    if (!by_secret(marker) &&
        json::find_text(pod_template, {"metadata", "annotations", "keyshepherd.dev/agent-config"}).empty())
        return false;
    std::size_t wired = 0, wrapped = 0, mounted = 0;
    for (const std::string list : {"initContainers", "containers"}) {
        const array* elements = json::find_array(pod_template, {"spec", list});
        for (std::size_t i = 0; elements != nullptr && i < elements->size(); ++i) {
            const value& c = (*elements)[i];
            const std::string name(json::find_text(c, {"name"}));
            if (is_own_name(name)) continue;
            wrapped += is_wrapped(json::find_array(c, {"command"})) ? 1 : 0;
            if (const array* mounts = json::find_array(c, {"volumeMounts"}))
                mounted +=
                    std::any_of(mounts->begin(), mounts->end(), [](const value& m) { return is_ours(m); })
                        ? 1
                        : 0;
            const Originals* originals = originals_of(marker, list, name);
            if (const array* env = json::find_array(c, {"env"}))
                for (const value& entry : *env)
                    wired += is_ours(entry, original_of(originals, entry), marker) ? 1 : 0;
        }
    }
    std::size_t entries = 0;
    for (const auto& [list, by_container] : marker.env)
        for (const auto& [container, variables] : by_container) entries += variables.size();
    return wired >= entries && wrapped >= marker.wrapped.size() && mounted >= marker.mounted.size();
}

}  // namespace keyshepherd::inject
