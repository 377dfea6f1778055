// keyshepherd inject: the webhook's patch on files. Reads everything, decides everything, and only then
// prints.
#include "commands.hpp"
#include "input_files.hpp"
#include "output.hpp"
#include "settings_flags.hpp"
#include "unified_diff.hpp"

#include <keyshepherd/core/text.hpp>
#include <keyshepherd/inject/annotations.hpp>
#include <keyshepherd/inject/injector.hpp>
#include <keyshepherd/yaml/yaml.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <memory>

namespace keyshepherd::app {

namespace {

struct InjectFlags {
    SettingsFlags shared;
    std::vector<std::string> files;
    std::string workload_namespace = "default";
    bool diff = false;
    bool recursive = false;
    bool skip_unreadable = false;
};

struct Target {
    const json::value* object;
    std::string pointer;  // within its document: "", or "/items/3" of a List
};

// The Deployments of a document: itself, or the items of a List.
void collect(const json::value& object, const std::string& pointer, bool untyped_is_deployment,
             std::vector<Target>& targets) {
    const std::string_view kind = json::find_text(object, {"kind"});
    const std::string_view version = json::find_text(object, {"apiVersion"});
    if ((kind == "Deployment" && version == "apps/v1") ||
        (untyped_is_deployment && kind.empty() && version.empty())) {
        if (object.is_object()) targets.push_back({&object, pointer});
        return;
    }
    const bool deployments = kind == "DeploymentList" && version == "apps/v1";
    if (!deployments && !(kind == "List" && version == "v1")) return;
    const json::array* items = json::find_array(object, {"items"});
    for (std::size_t i = 0; items != nullptr && i < items->size(); ++i)
        collect((*items)[i], fmt::format("{}/items/{}", pointer, i), deployments, targets);
}

// Whether somebody who wrote `object` expects it to be injected.
bool asks(const json::value& object) {
    constexpr const char* name = "keyshepherd.dev/inject";
    for (const std::string_view text :
         {json::find_text(object, {"metadata", "annotations", name}),
          json::find_text(object, {"spec", "template", "metadata", "annotations", name}),
          json::find_text(object,
                          {"spec", "jobTemplate", "spec", "template", "metadata", "annotations", name})})
        if (!text.empty() && text != "false") return true;
    return false;
}

// The objects of a document that ask and are nothing that is injected here.
void collect_others(const json::value& object, const std::string& pointer, bool of_deployments,
                    std::vector<Target>& others) {
    const std::string_view kind = json::find_text(object, {"kind"});
    if (const json::array* items = json::find_array(object, {"items"});
        items != nullptr && kind.ends_with("List")) {
        for (std::size_t i = 0; i < items->size(); ++i)
            collect_others((*items)[i], fmt::format("{}/items/{}", pointer, i), kind == "DeploymentList",
                           others);
        return;
    }
    const bool deployment = (kind == "Deployment" && json::find_text(object, {"apiVersion"}) == "apps/v1") ||
                            (of_deployments && kind.empty());
    if (!deployment && asks(object)) others.push_back({&object, pointer});
}

// The labels of every Namespace of a document, so that a provider's overrides find their namespaces.
void collect_namespaces(const json::value& object, inject::Namespaces& namespaces) {
    const std::string_view kind = json::find_text(object, {"kind"});
    if (const json::array* items = json::find_array(object, {"items"});
        items != nullptr && kind.ends_with("List"))
        for (const json::value& item : *items) collect_namespaces(item, namespaces);
    if (kind != "Namespace" || json::find_text(object, {"apiVersion"}) != "v1") return;
    inject::Labels labels;
    if (const json::object* given = json::find_object(object, {"metadata", "labels"}))
        for (const auto& label : *given)
            if (const auto* text = label.value().if_string()) labels.emplace(label.key(), *text);
    namespaces.put(std::string(json::find_text(object, {"metadata", "name"})), std::move(labels));
}

struct Names {
    std::string workload_namespace;
    std::string name;
};

Names names_of(const json::value& object, const std::string& default_namespace) {
    Names names{std::string(json::find_text(object, {"metadata", "namespace"})),
                std::string(json::find_text(object, {"metadata", "name"}))};
    if (names.workload_namespace.empty()) names.workload_namespace = default_namespace;
    if (names.name.empty()) names.name = json::find_text(object, {"metadata", "generateName"});
    if (names.name.empty()) names.name = "(no name)";
    return names;
}

json::array below(const std::string& pointer, const json::array& patch) {
    json::array moved;
    for (const json::value& operation : patch) {
        json::object copy = operation.as_object();
        copy["path"] = pointer + std::string(json::find_text(operation, {"path"}));
        moved.push_back(std::move(copy));
    }
    return moved;
}

struct Outcome {
    std::string text;                      // the documents, or the diff
    std::vector<std::string> diagnostics;  // lines for stderr
    bool failed = false;
};

class Run {
public:
    Run(const InjectFlags& flags, const inject::Catalog& catalog, const inject::Settings& settings,
        const inject::Namespaces& namespaces)
        : flags_(flags), catalog_(catalog), settings_(settings), namespaces_(namespaces) {}

    void file(const InputFile& file, const result<std::vector<yaml::Document>>& documents) {
        ++files_;
        if (!documents) return unreadable(file, documents.error().message);
        if (std::ranges::all_of(*documents, [](const yaml::Document& d) { return d.json.is_null(); }))
            outcome_.diagnostics.push_back(fmt::format("warning: {}: no objects found", file.name));
        UnifiedDiff diff;
        for (std::size_t i = 0; i < documents->size(); ++i) {
            const yaml::Document& document = (*documents)[i];
            std::string label;
            const std::vector<yaml::Edit> edits = inject_into(file, document, label);
            if (flags_.diff) {
                diff.add(document.separator);
                diff.add(document.source, edits, std::move(label));
            } else {
                pieces_.push_back(
                    {document.separator, yaml::edited(document.source, edits), document.format, i == 0});
            }
        }
        if (flags_.diff) outcome_.text += diff.text(file.name);
    }

    Outcome take() && {
        if (unreadable_ > 0 && !flags_.skip_unreadable && files_ > 1)
            outcome_.diagnostics.push_back("error: " + unreadable_hint(unreadable_, files_));
        if (unreadable_ == files_) outcome_.failed = true;
        if (!flags_.diff) outcome_.text = joined();
        return std::move(outcome_);
    }

private:
    // `message` names the place in the file, or says why it cannot be opened.
    void unreadable(const InputFile& file, const std::string& message) {
        ++unreadable_;
        if (!flags_.skip_unreadable) return error(file, message);
        outcome_.diagnostics.push_back(fmt::format("warning: {} {}: file skipped", file.name, message));
    }

    void error(const InputFile& file, const std::string& message) {
        outcome_.failed = true;
        outcome_.diagnostics.push_back(fmt::format("error: {} {}", file.name, message));
    }

    // What changes in the document's source; `label` names the objects that change.
    std::vector<yaml::Edit> inject_into(const InputFile& file, const yaml::Document& document,
                                        std::string& label) {
        if (document.json.is_null()) return {};
        if (!document.json.is_object()) {
            error(file, fmt::format("line {}: not a Kubernetes object; expected a map", document.line));
            return {};
        }
        std::vector<Target> targets;
        collect(document.json, "", false, targets);
        std::vector<Target> others;
        collect_others(document.json, "", false, others);
        for (const Target& other : others) {
            const Names names = names_of(*other.object, flags_.workload_namespace);
            const std::string_view kind = json::find_text(*other.object, {"kind"});
            outcome_.diagnostics.push_back(fmt::format(
                "warning: {}: {}/{}/{}: not injected: this version injects only Deployments of apps/v1",
                file.name, kind.empty() ? "(no kind)" : kind, names.workload_namespace, names.name));
        }
        json::array patch;
        yaml::Lines lines(document);
        for (const Target& target : targets) {
            json::value object = *target.object;
            const Names names = names_of(object, flags_.workload_namespace);
            inject::Outcome outcome;
            try {
                outcome = inject::inject(object,
                                         {.kind = "Deployment",
                                          .workload_namespace = names.workload_namespace,
                                          .namespaces = &namespaces_},
                                         catalog_, settings_);
            } catch (const std::exception& malfunction) {  // ours: it must not hide what is wrong elsewhere
                error(file,
                      fmt::format("line {}: Deployment {}/{}: internal error: {}", lines.at(target.pointer),
                                  names.workload_namespace, names.name, malfunction.what()));
                continue;
            }
            for (const std::string& warning : outcome.warnings)
                outcome_.diagnostics.push_back(fmt::format("warning: {}: Deployment/{}/{}: {}", file.name,
                                                           names.workload_namespace, names.name, warning));
            if (outcome.reason == "namespace" && asks(*target.object))
                outcome_.diagnostics.push_back(fmt::format(
                    "warning: {}: Deployment/{}/{}: not injected: --own-namespace excludes this namespace",
                    file.name, names.workload_namespace, names.name));
            for (const inject::Fault& fault : outcome.faults)
                error(file, fmt::format("line {}: Deployment {}/{}: {}: {}", lines.at(target.pointer),
                                        names.workload_namespace, names.name, fault.field, fault.message));
            if (outcome.patch.empty()) continue;
            if (!label.empty()) label += ", ";
            label += printable(fmt::format("Deployment/{}/{}", names.workload_namespace, names.name));
            for (json::value& operation :
                 below(target.pointer, json::parse(outcome.patch).value().as_array()))
                patch.push_back(std::move(operation));
        }
        if (patch.empty() || outcome_.failed) return {};
        auto edits = yaml::edits(document, patch);
        if (!edits) {
            error(file, edits.error().message);
            return {};
        }
        return std::move(edits).value();
    }

    // kubectl reads JSON values without a '---' between them only in a stream that holds nothing else, and
    // begins with '{': k8s.io/apimachinery/pkg/util/yaml, YAMLOrJSONDecoder.
    bool is_json_stream() const {
        return std::ranges::all_of(pieces_, [](const Piece& piece) {
            return piece.format == yaml::Format::json &&
                   (piece.separator.empty() || piece.separator == byte_order_mark);
        });
    }

    // The documents as they stood in their files, with a '---' line wherever kubectl needs one.
    std::string joined() const {
        const bool json_stream = is_json_stream();
        std::string out;
        for (const Piece& piece : pieces_) {
            const bool leads = &piece == &pieces_.front();
            std::string_view separator = piece.separator;
            if (piece.first_of_file && separator.starts_with(byte_order_mark)) {
                if (leads) out += byte_order_mark;
                separator.remove_prefix(byte_order_mark.size());
            }
            const bool joins_files = piece.first_of_file && !leads;
            if (joins_files && !out.empty() && !out.ends_with('\n')) out += '\n';
            if (joins_files && !out.empty() && separator.starts_with('%')) {
                out += "...\n";
            } else if (!json_stream && !has_separator(separator) &&
                       (joins_files || piece.format == yaml::Format::json)) {
                if (!out.empty() && !out.ends_with('\n') && !out.ends_with(byte_order_mark)) out += '\n';
                out += "---";
                // A value that follows another in its file brings its own line break.
                if (piece.first_of_file || !piece.text.starts_with('\n')) out += '\n';
            }
            out += separator;
            out += piece.text;
        }
        return out;
    }

    static bool has_separator(std::string_view separator) {
        return separator.starts_with("---") || separator.contains("\n---");
    }

    static constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
    const InjectFlags& flags_;
    const inject::Catalog& catalog_;
    const inject::Settings& settings_;
    const inject::Namespaces& namespaces_;
    Outcome outcome_;
    struct Piece {
        std::string separator;
        std::string text;
        yaml::Format format;
        bool first_of_file;
    };
    std::size_t files_ = 0;
    std::size_t unreadable_ = 0;
    std::vector<Piece> pieces_;  // what is printed, in order
};

result<Outcome> run_inject(const InjectFlags& flags) {
    const auto settings = settings_from(flags.shared, 0);
    const auto catalog = catalog_from(flags.shared);
    if (!settings || !catalog)
        return fail(Errc::invalid, joined_faults({settings ? nullptr : &settings.error(),
                                                  catalog ? nullptr : &catalog.error()}));
    KEYSHEPHERD_TRY(const std::vector<InputFile> files, read_inputs(flags.files, flags.recursive));
    std::vector<result<std::vector<yaml::Document>>> documents;
    inject::Namespaces namespaces("add a file with the Namespace and its labels");
    for (const InputFile& file : files) {
        const auto& read = documents.emplace_back(file.fault.empty() ? yaml::read(file.text)
                                                                     : fail(Errc::unavailable, file.fault));
        if (!read) continue;  // said in its turn
        for (const yaml::Document& document : *read) collect_namespaces(document.json, namespaces);
    }
    Run run(flags, *catalog, *settings, namespaces);
    for (std::size_t i = 0; i < files.size(); ++i) run.file(files[i], documents[i]);
    return std::move(run).take();
}

}  // namespace

void add_inject_command(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<InjectFlags>();
    CLI::App* command =
        app.add_subcommand("inject",
                           "Apply the webhook's patch to Deployments in files and print all objects\n\n"
                           "The output keeps comments and formatting. A document loses its comments only if "
                           "its anchors and aliases\n"
                           "prevent an edit in place. Other objects are printed unchanged, with a '---' line "
                           "where kubectl needs one.\n"
                           "If any file or workload has an error, the command prints no objects.");
    command
        ->add_option("-f,--filename", flags->files,
                     "File, directory (*.yaml, *.yml, *.json) or - for standard input (repeatable)")
        ->required()
        ->type_name("FILE");
    command->add_flag("-R,--recursive", flags->recursive, "Read subdirectories, too");
    command->add_flag("--skip-unreadable", flags->skip_unreadable, skip_unreadable_help);
    command->add_flag("--diff", flags->diff, "Print a unified diff instead of the objects");
    command
        ->add_option("-n,--namespace", flags->workload_namespace,
                     "Namespace of objects without metadata.namespace")
        ->envname("KEYSHEPHERD_NAMESPACE")
        ->capture_default_str();
    command->add_flag_callback(
        "--help-annotations", [] { throw CLI::CallForVersion(inject::annotation_reference(), 0); },
        "Print the reference of all workload annotations as Markdown");
    add_settings_flags(*command, flags->shared);

    command->callback([flags, &exit_code] {
        exit_code = 1;
        const auto outcome = run_inject(*flags);
        if (!outcome) {
            print_error(outcome.error().message);
            return;
        }
        for (const std::string& line : outcome->diagnostics) print_diagnostic(line);
        if (outcome->failed || !print_document(outcome->text)) return;
        exit_code = 0;
    });
}

}  // namespace keyshepherd::app
