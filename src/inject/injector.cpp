#include "agent.hpp"
#include "env_index.hpp"
#include "layout.hpp"
#include "limits.hpp"
#include "marker.hpp"
#include "names.hpp"
#include "plan.hpp"

#include <keyshepherd/core/build.hpp>
#include <keyshepherd/inject/injector.hpp>
#include <keyshepherd/json/editor.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace keyshepherd::inject {

namespace {

using json::array;
using json::object;
using json::value;

const std::string base = "/spec/template";

// Of the annotations of ours that a user writes.
std::size_t bytes_asked_in(const object& annotations) {
    std::size_t bytes = 0;
    for (const auto& member : annotations) {
        const std::string_view key = member.key();
        if (!key.starts_with(annotation_prefix) || is_output_annotation(key.substr(annotation_prefix.size())))
            continue;
        const auto* text = member.value().if_string();
        bytes += key.size() + (text == nullptr ? 0 : text->size());
    }
    return bytes;
}

// The workload's annotations of ours, its template's over its own. `outcome` takes what is wrong with them.
Source collect(const value& workload, Outcome* outcome = nullptr) {
    Source source;
    auto take = [&](const object* annotations, std::string_view place) {
        if (annotations == nullptr) return;
        if (const std::size_t bytes = bytes_asked_in(*annotations); bytes > annotation_bytes) {
            if (outcome != nullptr)
                outcome->refuse(
                    std::string(place),
                    fmt::format("{} bytes of {}* annotations exceed the limit of {} bytes for all "
                                "annotations of an object; shorten them or split the workload",
                                bytes, annotation_prefix, annotation_bytes));
            return;
        }
        for (const auto& member : *annotations) {
            const std::string_view key = member.key();
            if (!key.starts_with(annotation_prefix)) continue;
            const std::string name(key.substr(annotation_prefix.size()));
            const auto* text = member.value().if_string();
            if (is_output_annotation(name)) continue;
            if (text == nullptr) {
                if (outcome != nullptr)
                    outcome->refuse(fmt::format("{}[{}]", place, key.substr(0, 100)),
                                    "must be a string; quote the value, as in \"true\"");
                continue;
            }
            const auto known = source.values.find(name);
            if (known != source.values.end() && known->second != *text && outcome != nullptr)
                outcome->warnings.push_back(
                    fmt::format("the workload and its pod template set {} to different values; the pod "
                                "template takes precedence",
                                clipped(key)));
            source.values[name] = *text;
            // The API server, which checks names after us, allows 63 characters behind the prefix.
            source.fields[name] = key.size() <= 100 ? fmt::format("{}[{}]", place, key)
                                                    : fmt::format("{}[{}…]", place, key.substr(0, 100));
        }
    };
    take(json::find_object(workload, {"metadata", "annotations"}), "metadata.annotations");
    take(json::find_object(workload, {"spec", "template", "metadata", "annotations"}),
         "spec.template.metadata.annotations");
    return source;
}

std::string_view marker_text(const value& workload) {
    return json::find_text(workload,
                           {"spec", "template", "metadata", "annotations", "keyshepherd.dev/injected"});
}

std::optional<Marker> marker_of(const value& workload) {
    return parse_marker(marker_text(workload));
}

// Whether the template has a container or a volume of ours.
bool has_own_parts(const value& workload) {
    for (const std::string_view list : {"initContainers", "containers", "volumes"})
        if (const array* elements = json::find_array(workload, {"spec", "template", "spec", list}))
            for (const value& element : *elements)
                if (is_own_name(json::find_text(element, {"name"}))) return true;
    return false;
}

// The template without its marker.
value unmarked(value pod_template) {
    if (value* annotations = json::find(pod_template, {"metadata", "annotations"});
        annotations != nullptr && annotations->is_object())
        annotations->get_object().erase(fmt::format("{}injected", annotation_prefix));
    return pod_template;
}

// Somebody wrote an annotation of ours and would be surprised that nothing happens.
void warn_of_the_unasked(const Source& source, std::vector<std::string>& warnings) {
    if (source.values.empty()) return;
    constexpr std::size_t most = 3;
    std::string names;
    std::size_t named = 0;
    for (const auto& [name, wish] : source.values) {
        if (named++ == most) break;
        names += fmt::format("{}{}{}", names.empty() ? "" : ", ", annotation_prefix, name.substr(0, 63));
    }
    if (source.values.size() > most) names += ", …";
    warnings.push_back(fmt::format("no effect without {}inject: {}", annotation_prefix, names));
    for (const auto& [name, wish] : source.values)
        if (warnings.size() > most)
            break;
        else if (const std::string meant = meant_by(name); !meant.empty())
            warnings.push_back(fmt::format("{}{}: {}", annotation_prefix, name.substr(0, 63), meant));
}

// The template as the user gave it, apart: with what the marker names taken out.
value users_template(const value& pod_template, const Marker& marker) {
    object spec(pod_template.storage());
    spec["template"] = pod_template;
    object workload(pod_template.storage());
    workload["spec"] = std::move(spec);
    value scratch(std::move(workload));
    json::Editor edit(scratch);
    strip(edit, base, marker);
    return scratch.at("spec").at("template");
}

std::string fingerprint_of(const value& users, const Source& source) {
    std::string text = json::fingerprint(users);
    object asked(users.storage());
    for (const auto& [name, wish] : source.values) asked[name] = wish;
    return text + json::fingerprint(asked);
}

// What the API server would refuse, and the editor could not work on, in a review made by hand.
void check_shape(const value& pod_template, Outcome& outcome) {
    // `at` gives the field of `parent`; it is made only for a fault.
    auto expect = [&](const value& parent, std::string_view member, bool list, auto&& at) {
        const value* v = json::find(parent, {member});
        if (v != nullptr && !(list ? v->is_array() : v->is_object()))
            outcome.refuse(fmt::format("{}.{}", at(), member), list ? "must be a list" : "must be an object");
    };
    auto of_template = [] { return "spec.template"; };
    auto of_metadata = [] { return "spec.template.metadata"; };
    auto of_spec = [] { return "spec.template.spec"; };
    const value* spec = json::find(pod_template, {"spec"});
    if (spec == nullptr) return;
    expect(pod_template, "metadata", false, of_template);
    if (const value* metadata = json::find(pod_template, {"metadata"}))
        expect(*metadata, "annotations", false, of_metadata);
    for (const std::string_view list : {"initContainers", "containers"}) {
        const array* elements = json::find_array(*spec, {list});
        for (std::size_t i = 0; elements != nullptr && i < elements->size(); ++i) {
            auto at = [&] { return fmt::format("spec.template.spec.{}[{}]", list, i); };
            if (!(*elements)[i].is_object()) {
                outcome.refuse(at(), "must be an object");
                continue;
            }
            for (const std::string_view member : {"env", "volumeMounts", "command"})
                expect((*elements)[i], member, true, at);
        }
    }
    expect(*spec, "initContainers", true, of_spec);
    expect(*spec, "volumes", true, of_spec);
}

bool is_windows(const value& pod) {
    if (json::find_text(pod, {"os", "name"}) == "windows") return true;
    return json::find_text(pod, {"nodeSelector", "kubernetes.io/os"}) == "windows";
}

// Puts a plan into the workload that `edit` holds, and notes everything in `marker`.
class Application {
public:
    Application(json::Editor& edit, const Plan& plan, const Settings& settings, Marker& marker)
        : edit_(edit),
          plan_(plan),
          settings_(settings),
          marker_(marker),
          storage_(edit.document().storage()) {}

    void run() {
        const PodParts parts = parts_of(plan_, settings_);
        note_made(json::find(edit_.document(), {"spec", "template"}), "metadata", "metadata");
        if (const value* metadata = json::find(edit_.document(), {"spec", "template", "metadata"});
            metadata == nullptr)
            edit_.set(base + "/metadata", object(storage_));
        note_made(json::find(edit_.document(), {"spec", "template", "metadata"}), "annotations",
                  "annotations");
        if (!parts.agent_config.empty()) annotate("agent-config", parts.agent_config);
        if (!parts.vault_ca.empty()) annotate("vault-ca", parts.vault_ca);

        for (const ContainerPlan& container : plan_.containers) wire(container);

        const value* pod = json::find(edit_.document(), {"spec", "template", "spec"});
        if (!parts.init_containers.empty()) note_made(pod, "initContainers", "initContainers");
        for (std::size_t i = 0; i < parts.init_containers.size(); ++i)
            edit_.insert_json("/spec/template/spec/initContainers", i, parts.init_containers[i].json);
        marker_.init_containers = names_of(parts.init_containers);
        for (const Part& container : parts.containers)
            edit_.append_json("/spec/template/spec/containers", container.json);
        marker_.containers = names_of(parts.containers);
        if (!parts.volumes.empty()) note_made(pod, "volumes", "volumes");
        for (const Part& volume : parts.volumes)
            edit_.append_json("/spec/template/spec/volumes", volume.json);
        marker_.volumes = names_of(parts.volumes);
    }

    void annotate(std::string_view name, std::string_view text) {
        if (json::find(edit_.document(), {"spec", "template", "metadata", "annotations"}) == nullptr) {
            object first(storage_);
            first[std::string(annotation_prefix).append(name)] = text;
            edit_.set("/spec/template/metadata/annotations", std::move(first));
        } else {
            const std::string pointer = "/spec/template/metadata/annotations/keyshepherd.dev~1";
            edit_.set(pointer + std::string(name), value(text, storage_));
        }
    }

private:
    static std::vector<std::string> names_of(const std::vector<Part>& parts) {
        std::vector<std::string> names;
        names.reserve(parts.size());
        for (const Part& part : parts) names.emplace_back(part.name);
        return names;
    }

    void note_made(const value* parent, std::string_view member, std::string_view label) {
        const value* there =
            parent == nullptr || !parent->is_object() ? nullptr : json::member(parent->get_object(), member);
        if (there == nullptr)
            marker_.made.emplace_back(label);
        else if (there->is_null())
            marker_.made_of_null.emplace_back(label);
    }

    // What was written where a user's entry may have the same form: then only the value tells whose it is.
    void keep_value(const Plan& plan, const std::string& variable, const std::string& name) {
        if (plan.wiring == Wiring::envfile) return;
        if (plan.wiring == Wiring::secret) {
            marker_.values[name] = plan.variables.at(variable).secret;
            return;
        }
        const value entry = json::bj::parse(env_entry(plan, variable));
        marker_.values[name] = json::find_text(entry, {"value"});
    }

    // What stands there is replaced where it stands; what is added goes first, since $(VAR) in a later entry
    // expands.
    void wire_env(const ContainerPlan& c, const std::string& at, const array* env) {
        if (c.variables.empty()) return;
        std::vector<std::optional<std::size_t>> places;
        {
            const EnvIndex index(env);
            places.reserve(c.variables.size());
            for (const std::string& variable : c.variables) places.push_back(index.last(name_of(variable)));
        }
        std::map<std::string, value>* noted = nullptr;  // by variable; made for the first of them
        const auto note = [&](const std::string& name) -> value& {
            if (noted == nullptr) noted = &marker_.env[c.list][c.name];
            return (*noted)[name];
        };
        std::vector<json::Insertion> added;
        for (std::size_t i = 0; i < c.variables.size(); ++i) {
            const std::string& variable = c.variables[i];
            const std::string name = name_of(variable);
            std::string entry_text = env_entry(plan_, variable);
            if (!places[i]) {
                keep_value(plan_, variable, name);
                note(name) = nullptr;
                added.push_back({added.size(), std::move(entry_text)});
                continue;
            }
            const value& original = (*env)[*places[i]];
            value entry = json::bj::parse(entry_text, storage_);
            if (json::equal(original, entry)) continue;  // wiring exec: written so by a user
            keep_value(plan_, variable, name);
            value& written = note(name);
            // A literal may be the key itself, so it is not written down anywhere: a reference and valueFrom
            // are.
            written = json::sorted(original);
            if (!is_reference(json::find_text(original, {"value"}))) written.as_object().erase("value");
            edit_.set(fmt::format("{}/{}", at, *places[i]), std::move(entry));
        }
        edit_.insert_each(at, added);
    }

    // The entry that carries `variable`.
    std::string name_of(const std::string& variable) const {
        return plan_.wiring == Wiring::file ? variable + "_FILE" : variable;
    }

    void wire(const ContainerPlan& c) {
        const std::string at = fmt::format("{}/spec/{}/{}", base, c.list, c.index);
        const std::string env_at = at + "/env", mounts_at = at + "/volumeMounts";
        // Stays where it is: nothing is inserted beside it before the last container is wired.
        const value& container = *json::at(edit_.document(), at);
        auto label = [&](std::string_view member) { return fmt::format("{}/{}/{}", c.list, c.name, member); };
        auto note = [&](std::string_view member) {
            if (json::find(container, {member}) == nullptr) note_made(&container, member, label(member));
        };
        if (!c.variables.empty()) note("env");
        wire_env(c, env_at, json::find_array(container, {"env"}));
        if (c.wrap || !c.files_folder.empty()) {
            note("volumeMounts");
            marker_.mounted.push_back(c.name);
        }
        if (c.wrap) {
            edit_.append_json(mounts_at, mount(bin_volume, bin_folder));
            edit_.append_json(mounts_at, mount(env_volume, env_folder, c.env_folder));
        }
        if (!c.files_folder.empty())
            edit_.append_json(mounts_at, mount(files_volume, files_folder, c.files_folder));
        if (c.wrap) {
            if (c.entrypoint.empty()) {
                // Before the command's own words, which stay as they are spelt.
                edit_.insert_each(at + "/command", launcher_words());
            } else {
                array command(storage_);
                command.emplace_back(launcher);
                command.emplace_back("--");
                for (const std::string& word : c.entrypoint) command.emplace_back(word);
                note("command");
                edit_.set(at + "/command", std::move(command));
                marker_.entrypoints.push_back(c.name);
            }
            marker_.wrapped.push_back(c.name);
        }
    }

    json::Editor& edit_;
    const Plan& plan_;
    const Settings& settings_;
    Marker& marker_;
    json::bj::storage_ptr storage_;
};

std::size_t bytes_of_annotations(const value& workload) {
    std::size_t bytes = 0;
    if (const object* annotations =
            json::find_object(workload, {"spec", "template", "metadata", "annotations"}))
        for (const auto& member : *annotations)
            bytes +=
                member.key().size() + (member.value().is_string() ? member.value().get_string().size() : 0);
    return bytes;
}

Outcome untouched(SkipReason reason, Outcome outcome = {}) {
    outcome.verdict = Verdict::untouched;
    outcome.reason = text(reason);
    return outcome;
}

Outcome settle(Verdict verdict, json::Editor&& edit, Outcome outcome) {
    if (!edit.changed()) return untouched(SkipReason::unchanged, std::move(outcome));
    outcome.verdict = verdict;
    outcome.patch = std::move(edit).take();
    return outcome;
}

Outcome deny(Outcome outcome) {
    if (outcome.unnamed_faults > 0)
        outcome.faults.push_back(
            {"metadata", fmt::format("{} more errors are not shown", outcome.unnamed_faults)});
    outcome.verdict = Verdict::denied;
    outcome.patch.clear();
    return outcome;
}

}  // namespace

void Outcome::refuse(std::string field, std::string message) {
    if (faults.size() < most_faults)
        faults.push_back({std::move(field), std::move(message)});
    else
        ++unnamed_faults;
}

Outcome inject(json::value& workload, const Workload& about, const Catalog& catalog,
               const Settings& settings) {
    if (about.kind != "Deployment") return untouched(SkipReason::kind);
    if (std::find(settings.own_namespaces.begin(), settings.own_namespaces.end(), about.workload_namespace) !=
        settings.own_namespaces.end())
        return untouched(SkipReason::excluded_namespace);
    const std::optional<Marker> own_marker = marker_of(workload);
    const std::optional<Marker> stored = about.old == nullptr ? std::nullopt : marker_of(*about.old);
    const std::optional<Marker>& marker =
        own_marker ? own_marker : stored;  // one that was edited away is not forgotten
    const bool has_unreadable_marker = !marker && !marker_text(workload).empty() && has_own_parts(workload);
    Outcome outcome;
    const Source source = collect(workload, &outcome);
    if (!outcome.faults.empty()) return deny(std::move(outcome));
    if (!source.values.contains("inject") && !marker && !has_unreadable_marker) {
        warn_of_the_unasked(source, outcome.warnings);
        return untouched(SkipReason::not_asked, std::move(outcome));
    }
    const value* pod = json::find(workload, {"spec", "template", "spec"});
    const array* containers = pod == nullptr ? nullptr : json::find_array(*pod, {"containers"});
    if (containers == nullptr || containers->empty())
        return untouched(SkipReason::no_containers);  // the API server says why

    std::vector<AnnotationFault> annotation_faults;
    const AnnotationOptions options = read_annotations(source.values, annotation_faults);
    const bool inject_is_wrong = std::any_of(annotation_faults.begin(), annotation_faults.end(),
                                             [](const auto& f) { return f.name == "inject"; });
    const bool asked = options.asked || inject_is_wrong;
    if (!asked && !marker && !has_unreadable_marker)
        return untouched(SkipReason::opted_out, std::move(outcome));
    if (asked && is_windows(*pod)) {
        outcome.warnings.emplace_back("nothing was injected: the agent does not support Windows pods");
        return untouched(SkipReason::windows, std::move(outcome));
    }
    const value& pod_template = *json::find(workload, {"spec", "template"});
    const value* old_template = about.old == nullptr ? nullptr : json::find(*about.old, {"spec", "template"});
    const bool same_wishes = old_template != nullptr && collect(*about.old).values == source.values;
    if ((asked || has_unreadable_marker) && same_wishes && json::equal(pod_template, *old_template))
        return untouched(SkipReason::unchanged);
    if (has_unreadable_marker) {
        outcome.faults.push_back({"spec.template.metadata.annotations[keyshepherd.dev/injected]",
                                  unreadable(marker_text(workload))});
        return deny(std::move(outcome));
    }
    check_shape(pod_template, outcome);
    if (outcome.faults.empty() && old_template != nullptr) check_shape(*old_template, outcome);
    if (!outcome.faults.empty()) return deny(std::move(outcome));
    if (!asked) {
        json::Editor edit(workload);
        strip(edit, base, *marker);
        if (!edit.changed()) return untouched(SkipReason::opted_out, std::move(outcome));
        for (const auto& [list, by_container] : marker->env)
            for (const auto& [container, variables] : by_container)
                for (const auto& [variable, original] : variables)
                    if (is_forgotten(original))
                        outcome.warnings.push_back(
                            fmt::format("set {} in container {} again: injection replaced its value, and "
                                        "keyshepherd keeps no copy",
                                        variable, container));
        return settle(Verdict::removed, std::move(edit), std::move(outcome));
    }
    for (const AnnotationFault& f : annotation_faults) outcome.refuse(source.field(f.name), f.message);
    if (about.old != nullptr) {
        // The user changed nothing: what is stored stays, whoever injected it and however this request mixed
        // it up.
        if (same_wishes && marker && stored && holds(*old_template, *stored)) {
            value as_given = users_template(pod_template, *marker);
            forget(as_given, *stored);
            if (json::equal(as_given, users_template(*old_template, *stored))) {
                json::Editor edit(workload);
                strip(edit, base, *marker);
                replay(edit, base, *old_template, *stored);
                outcome.faults.clear();
                return settle(Verdict::injected, std::move(edit), std::move(outcome));
            }
        }
        // A whole template of an earlier revision (kubectl rollout undo) is itself again, not a new one.
        if (own_marker && marker && holds(pod_template, *marker) &&
            marker->inputs == fingerprint_of(users_template(pod_template, *marker), source))
            return untouched(SkipReason::unchanged);
    }

    const std::optional<value> before = marker ? std::optional<value>(workload) : std::nullopt;
    json::Editor edit(workload);
    if (marker) strip(edit, base, *marker);
    const value& users = *json::find(workload, {"spec", "template"});
    const Plan plan =
        decide(*json::find(users, {"spec"}), options, source, about, catalog, settings, outcome);
    if (!outcome.faults.empty()) return deny(std::move(outcome));
    if (plan.containers.empty()) {
        if (!marker) return untouched(SkipReason::nothing_to_wire, std::move(outcome));
        return settle(Verdict::removed, std::move(edit), std::move(outcome));
    }
    if (json::find_text(users, {"metadata", "annotations", "vault.hashicorp.com/agent-inject"}) == "true")
        outcome.warnings.emplace_back(
            "vault.hashicorp.com/agent-inject makes another injector add a second agent; remove it to run "
            "one agent");

    Marker fresh;
    fresh.by = version();
    fresh.wiring = text(plan.wiring);
    fresh.inputs = fingerprint_of(users, source);
    const bool replaced = std::any_of(plan.containers.begin(), plan.containers.end(),
                                      [](const ContainerPlan& c) { return !c.replaced.empty(); });
    if (about.patch_only && !before && !replaced) edit.patch_only();
    Application application(edit, plan, settings, fresh);
    application.run();
    if (replaced)
        fresh.inputs =
            fingerprint_of(users_template(*json::find(workload, {"spec", "template"}), fresh), source);
    std::string text_of_marker = fresh.text();
    if (stored) {
        // Another spelling of the same wish, `true` or the provider's name, rolls nothing: the stored marker
        // stays.
        fresh.by = stored->by;
        fresh.inputs = stored->inputs;
        const std::string_view kept = marker_text(*about.old);
        if (fresh.text() == kept &&
            json::equal(*json::find(workload, {"spec", "template"}), unmarked(*old_template)))
            text_of_marker = kept;
    }
    application.annotate("injected", text_of_marker);

    if (bytes_of_annotations(workload) > annotation_bytes) {
        outcome.faults.push_back(
            {"spec.template.metadata.annotations",
             fmt::format(
                 "with the agent configuration and the CA, the annotations would have {} bytes, but "
                 "Kubernetes allows {}; shorten the templates, or put the CA in a Secret and set {}ca-secret",
                 bytes_of_annotations(workload), annotation_bytes, annotation_prefix)});
        return deny(std::move(outcome));
    }
    if (before && json::equal(*before, workload)) return untouched(SkipReason::unchanged, std::move(outcome));
    return settle(Verdict::injected, std::move(edit), std::move(outcome));
}

}  // namespace keyshepherd::inject
