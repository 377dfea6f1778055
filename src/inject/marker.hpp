// The marker: what was injected, on the pod template, so that it travels with `kubectl rollout undo`. It is a
// hint: whoever owns the workload can write it, so nothing outside our own names is ever touched for its
// sake.
#pragma once

#include <keyshepherd/json/editor.hpp>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace keyshepherd::inject {

struct Marker {
    std::string by;      // version that injected
    std::string inputs;  // fingerprint of what the user gave: template and annotations
    std::string wiring;
    // By list ("containers", "initContainers"), by container, by variable: what stood there. Null: nothing
    // did.
    std::map<std::string, std::map<std::string, std::map<std::string, json::value>>> env;
    std::map<std::string, std::string>
        values;  // of entries whose form a user's may have too: by name, what was written, or the Secret
    std::vector<std::string> init_containers, containers, volumes;  // names
    std::vector<std::string> wrapped;      // containers whose command runs through the launcher
    std::vector<std::string> entrypoints;  // of these, the ones that had no command
    std::vector<std::string> mounted;      // containers with mounts of ours
    // Lists and objects that were made, as pointers below the template; "null" ones stood there as null.
    std::vector<std::string> made, made_of_null;

    std::string text() const;  // JSON, deterministic
};

// What wiring exec puts before a container's command: the launcher and `--`.
std::vector<json::Insertion> launcher_words();

// Nothing where `text` is no marker of a schema that this version knows.
std::optional<Marker> parse_marker(std::string_view text);

// Why `text`, which is there and no marker of that kind, is none, and the way out.
std::string unreadable(std::string_view text);

// Takes everything that the marker names out of the template at `base` (a pointer such as /spec/template).
// What a person put into our entries since then stays.
void strip(json::Editor& edit, const std::string& base, const Marker& marker);

// Puts what `strip` would take out of `stored` into the template at `base`, which is what it would leave of
// it.
void replay(json::Editor& edit, const std::string& base, const json::value& stored, const Marker& marker);

// Whether the marker's `original` of an entry is one whose value was not written down.
bool is_forgotten(const json::value& original);

// Takes the values out of the entries whose value was not written down: what `strip` makes of them.
void forget(json::value& pod_template, const Marker& marker);

// Whether every container and volume that the marker names is there.
bool holds(const json::value& pod_template, const Marker& marker);

}  // namespace keyshepherd::inject
