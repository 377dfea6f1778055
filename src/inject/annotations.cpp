#include "limits.hpp"
#include "names.hpp"
#include "quantity.hpp"
#include "wiring_rules.hpp"

#include <keyshepherd/core/server_address.hpp>
#include <keyshepherd/inject/annotations.hpp>
#include <keyshepherd/json/value.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

namespace keyshepherd::inject {

namespace {

using std::string;
using std::string_view;

template <class Enum>
struct Choice {
    string_view text;
    Enum value;
};

constexpr std::array wirings = {Choice{"auto", Wiring::automatic}, Choice{"envfile", Wiring::envfile},
                                Choice{"exec", Wiring::exec}, Choice{"secret", Wiring::secret},
                                Choice{"file", Wiring::file}};
constexpr std::array agents = {Choice{"sidecar", AgentMode::sidecar}, Choice{"init", AgentMode::init},
                               Choice{"none", AgentMode::none}};
constexpr std::array conflicts = {Choice{"keep", OnConflict::keep}, Choice{"replace", OnConflict::replace},
                                  Choice{"deny", OnConflict::deny}};
constexpr std::array rotations = {Choice{"rollout", OnRotate::rollout}, Choice{"restart", OnRotate::restart},
                                  Choice{"none", OnRotate::none}};

template <class Enum, std::size_t N>
string choose(const std::array<Choice<Enum>, N>& choices, string_view value, Enum& into) {
    string known;
    for (const auto& choice : choices) {
        if (choice.text == value) {
            into = choice.value;
            return "";
        }
        known += known.empty() ? "" : ", ";
        known += choice.text;
    }
    return fmt::format("invalid value {}: must be one of {}", quoted(value), known);
}

// Comma list of names, blanks around them dropped.
string read_names(string_view value, std::vector<string>& names) {
    std::vector<string> into;
    std::set<string_view> seen;
    std::size_t at = 0;
    while (at <= value.size()) {
        const std::size_t comma = std::min(value.find(',', at), value.size());
        string_view name = value.substr(at, comma - at);
        while (name.starts_with(' ')) name.remove_prefix(1);
        while (name.ends_with(' ')) name.remove_suffix(1);
        if (!is_dns_label(name))
            return fmt::format(
                "invalid value {}: must be container names separated by commas, such as app,worker",
                quoted(value));
        if (seen.insert(name).second) into.emplace_back(name);
        at = comma + 1;
    }
    names = std::move(into);
    return "";
}

string read_names(string_view value, std::optional<std::vector<string>>& into) {
    std::vector<string> names;
    string fault = read_names(value, names);
    if (fault.empty()) into = std::move(names);
    return fault;
}

string read_text(std::optional<string>& into, string_view value, bool good, string_view right) {
    if (!good) return fmt::format("invalid value {}: must be {}", quoted(value), right);
    into = string(value);
    return "";
}

// Of a path that is right but for a slash at its end, which `vault` and `bao` take on the command line.
string slash_fault(string_view path, string_view right) {
    if (!path.ends_with('/') || !is_vault_path(path.substr(0, path.size() - 1))) return "";
    return fmt::format("invalid path {}: remove the trailing '/'; use {}", quoted(path), right);
}

string read_path(std::optional<string>& into, string_view value, string_view right) {
    if (string fault = slash_fault(value, right); !fault.empty()) return fault;
    return read_text(into, value, is_vault_path(value), right);
}

string read_quantity(std::optional<string>& into, string_view value) {
    if (value == "none") {
        into = "none";
        return "";
    }
    const auto quantity = parse_quantity(value);
    if (!quantity)
        return fmt::format("invalid value {}: must be a Kubernetes quantity such as 100m or 64Mi, or none",
                           quoted(value));
    into = quantity->canonical;
    return "";
}

string read_id(std::optional<long>& into, string_view value) {
    long id = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), id);
    if (error != std::errc{} || end != value.data() + value.size() || id < 1 || id > 2147483647)
        return fmt::format(
            "invalid value {}: must be a number from 1 to 2147483647; the agent does not run as root (0)",
            quoted(value));
    into = id;
    return "";
}

string read_inject(AnnotationOptions& w, string_view, string_view value) {
    // The spellings of Go's strconv.ParseBool, which users of other injectors are used to.
    for (const string_view yes : {"true", "True", "TRUE", "t", "T", "1"})
        if (value == yes) {
            w.asked = true;
            return "";
        }
    for (const string_view no : {"false", "False", "FALSE", "f", "F", "0"})
        if (value == no) {
            w.asked = false;
            return "";
        }
    std::vector<string> names;
    if (!read_names(value, names).empty())
        return fmt::format(
            "invalid value {}: must be \"true\", \"false\", or provider names such as holysheep",
            quoted(value));
    w.asked = true;
    w.providers = std::move(names);
    return "";
}

string read_variable(AnnotationOptions& w, string_view variable, string_view value) {
    if (!is_variable_name(variable))
        return fmt::format(
            "invalid variable name {}: use letters, digits and '_', and do not start with a digit",
            quoted(variable));
    string fault;
    auto reference = parse_reference(without_scheme(value), fault);
    if (!reference) return fault;
    w.variables[string(variable)] = *reference;
    return "";
}

string read_secret_file(AnnotationOptions& w, string_view file, string_view value) {
    if (!is_file_name(file))
        return fmt::format("invalid file name {}: use letters, digits, '.', '_' and '-'", quoted(file));
    string fault;
    const bool whole = value.find('#') == string_view::npos;
    auto reference = parse_reference(whole ? string(value) + "#x" : string(value), fault);
    if (!reference) return fault;
    w.files[string(file)].path = reference->path;
    w.files[string(file)].key = whole ? "" : reference->key;
    return "";
}

string read_template_file(AnnotationOptions& w, string_view file, string_view value) {
    if (!is_file_name(file))
        return fmt::format("invalid file name {}: use letters, digits, '.', '_' and '-'", quoted(file));
    if (value.empty()) return "must not be empty; set it to a Vault Agent template";
    w.files[string(file)].content = string(value);
    return "";
}

string read_permissions(AnnotationOptions& w, string_view file, string_view value) {
    const bool good = value.size() == 4 && value[0] == '0' &&
                      std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '7'; });
    if (!good)
        return fmt::format("invalid value {}: must be a four-digit octal mode such as 0444", quoted(value));
    if (std::none_of(value.begin() + 1, value.end(), [](char c) { return c >= '4'; }))
        return fmt::format("invalid value {}: no user could read the file; set a read bit, such as in 0444",
                           quoted(value));
    w.files[string(file)].permissions = string(value);
    return "";
}

string read_on_rotate(AnnotationOptions& w, string_view, string_view value) {
    if (value.starts_with("signal:") && value.size() > 7) {
        w.on_rotate = OnRotate::signal;
        return "";
    }
    return choose(rotations, value, w.on_rotate).empty()
               ? ""
               : fmt::format("invalid value {}: must be rollout, restart, signal:NAME or none",
                             quoted(value));
}

string read_entrypoint(AnnotationOptions& w, string_view container, string_view value) {
    if (!is_dns_label(container)) return fmt::format("invalid container name {}", quoted(container));
    const string_view right = "must be a JSON array of strings such as [\"/app\", \"serve\"]";
    auto list = json::parse(value);
    if (!list) return fmt::format("{}; {}", list.error().message, right);
    std::vector<string> words;
    if (const json::array* elements = list->if_array())
        for (const json::value& element : *elements) {
            const auto* word = element.if_string();
            if (word == nullptr) return fmt::format("contains an element that is not a string: {}", right);
            words.emplace_back(*word);
        }
    if (words.empty()) return fmt::format("invalid value {}: {}", quoted(value), right);
    w.entrypoints[string(container)] = std::move(words);
    return "";
}

string read_log_level(AnnotationOptions& w, string_view, string_view value) {
    for (const string_view level : {"trace", "debug", "info", "warn", "error"})
        if (value == level) {
            w.log_level = string(value);
            return "";
        }
    return fmt::format("invalid value {}: must be one of trace, debug, info, warn, error", quoted(value));
}

string read_spec(AnnotationOptions&, string_view, string_view) {
    return "";
}  // taken apart before the table is walked

constexpr auto table = std::to_array<Annotation>({
    {"inject", "", "`true`, `false`, or provider names", "", Needs::nothing,
     "Enables injection; `true` selects the default provider", read_inject},
    {"wiring", "", "one of auto, envfile, exec, secret, file", "auto", Needs::nothing,
     "How the process receives the variables",
     [](AnnotationOptions& w, string_view, string_view v) { return choose(wirings, v, w.wiring); }},
    {"containers", "", "container names", "all", Needs::nothing,
     "Containers that receive the provider's variables",
     [](AnnotationOptions& w, string_view, string_view v) { return read_names(v, w.containers); }},
    {"init-containers", "", "container names", "none", Needs::nothing,
     "Init containers that receive the provider's variables",
     [](AnnotationOptions& w, string_view, string_view v) { return read_names(v, w.init_containers); }},
    {"env-", "VAR", "path#key", "", Needs::nothing, "Additional variable read from Vault", read_variable},
    {"secret-", "file", "path or path#key", "", Needs::agent,
     "Additional file in `/keyshepherd/files`: one field of the secret, or all fields as JSON",
     read_secret_file},
    {"template-", "file", "Vault Agent template", "", Needs::agent,
     "Additional file in `/keyshepherd/files`, rendered from your own template", read_template_file},
    {"perms-", "file", "octal mode", "0444", Needs::agent, "Mode of an additional file", read_permissions},
    {"role", "", "text", "provider's", Needs::agent, "Vault role for the Kubernetes login",
     [](AnnotationOptions& w, string_view, string_view v) {
         return read_text(w.role, v, is_vault_name(v), "a Vault role name");
     }},
    {"auth-type", "", "kubernetes or approle", "provider's", Needs::agent,
     "Auth method that the agent logs in with",
     [](AnnotationOptions& w, string_view, string_view v) {
         return read_text(w.auth_type, v, v == "kubernetes" || v == "approle", "kubernetes or approle");
     }},
    {"auth-path", "", "path", "auth/<auth-type>", Needs::agent, "Path of the auth method",
     [](AnnotationOptions& w, string_view, string_view v) {
         return read_path(w.auth_path, v, "an auth method path such as auth/kubernetes");
     }},
    {"token-audience", "", "text", "vault", Needs::agent,
     "Audience of the projected ServiceAccount token; the installation must allow it",
     [](AnnotationOptions& w, string_view, string_view v) {
         return read_text(w.token_audience, v, !v.empty() && v.size() <= 253, "an audience such as vault");
     }},
    {"approle-secret", "", "name", "provider's", Needs::agent,
     "Secret that contains `role_id` and `secret_id` for the AppRole login",
     [](AnnotationOptions& w, string_view, string_view v) {
         return read_text(w.approle_secret, v, is_dns_subdomain(v), "a Secret name");
     }},
    {"vault-address", "", "URL", "provider's", Needs::agent,
     "Address of Vault or OpenBao; the installation must allow it",
     [](AnnotationOptions& w, string_view, string_view v) {
         return read_text(w.vault_address, v, parse_server_address(v).has_value(),
                          "an address such as https://vault.example:8200, without user or path");
     }},
    {"vault-namespace", "", "path", "provider's", Needs::agent, "Vault namespace",
     [](AnnotationOptions& w, string_view, string_view v) {
         return read_path(w.vault_namespace, v, "a namespace such as team/ai");
     }},
    {"ca-secret", "", "name", "provider's CA", Needs::agent,
     "Secret that contains Vault's CA certificate as `ca.crt`",
     [](AnnotationOptions& w, string_view, string_view v) {
         return read_text(w.ca_secret, v, is_dns_subdomain(v), "a Secret name");
     }},
    {"tls-server-name", "", "name", "provider's", Needs::agent,
     "Server name to expect in Vault's certificate",
     [](AnnotationOptions& w, string_view, string_view v) {
         return read_text(w.tls_server_name, v, is_dns_subdomain(v), "a host name");
     }},
    {"agent", "", "one of sidecar, init, none", "none for wiring secret, otherwise sidecar", Needs::nothing,
     "`sidecar` runs the agent next to the application, `init` runs it once before the application starts, "
     "`none` runs no agent",
     [](AnnotationOptions& w, string_view, string_view v) { return choose(agents, v, w.agent.emplace()); }},
    {"agent-flavor", "", "vault or bao", "installation's", Needs::agent,
     "Agent to run: Vault Agent or OpenBao Agent",
     [](AnnotationOptions& w, string_view,
        string_view v) { return read_text(w.agent_flavor, v, v == "vault" || v == "bao", "vault or bao"); }},
    {"agent-image", "", "image", "installation's", Needs::agent, "Agent image, with a tag or a digest",
     [](AnnotationOptions& w, string_view, string_view v) {
         return read_text(w.agent_image, v, is_image(v), image_example);
     }},
    {"on-rotate", "", "rollout, restart, signal:NAME or none", "none for wiring file, otherwise rollout",
     Needs::nothing,
     "What happens to running pods when the key changes; `rollout` lets the operator restart the workload",
     read_on_rotate},
    {"on-conflict", "", "one of keep, replace, deny", "keep", Needs::nothing,
     "What to do with a variable that the container already sets",
     [](AnnotationOptions& w, string_view, string_view v) { return choose(conflicts, v, w.on_conflict); }},
    {"entrypoint-", "container", "JSON array", "", Needs::nothing,
     "Entrypoint of the image; wiring `exec` needs it for a container without `command`", read_entrypoint},
    {"agent-cpu-request", "", "quantity or none", "installation's", Needs::agent, "CPU request of the agent",
     [](AnnotationOptions& w, string_view, string_view v) { return read_quantity(w.cpu_request, v); }},
    {"agent-cpu-limit", "", "quantity or none", "installation's", Needs::agent, "CPU limit of the agent",
     [](AnnotationOptions& w, string_view, string_view v) { return read_quantity(w.cpu_limit, v); }},
    {"agent-memory-request", "", "quantity or none", "installation's", Needs::agent,
     "Memory request of the agent",
     [](AnnotationOptions& w, string_view, string_view v) { return read_quantity(w.memory_request, v); }},
    {"agent-memory-limit", "", "quantity or none", "installation's", Needs::agent,
     "Memory limit of the agent",
     [](AnnotationOptions& w, string_view, string_view v) { return read_quantity(w.memory_limit, v); }},
    {"agent-run-as-user", "", "number", "installation's", Needs::agent, "User ID that the agent runs as",
     [](AnnotationOptions& w, string_view, string_view v) { return read_id(w.run_as_user, v); }},
    {"agent-run-as-group", "", "number", "installation's", Needs::agent, "Group ID that the agent runs as",
     [](AnnotationOptions& w, string_view, string_view v) { return read_id(w.run_as_group, v); }},
    {"log-level", "", "one of trace, debug, info, warn, error", "info", Needs::agent,
     "Log level of the agent", read_log_level},
    {"spec", "", "JSON object", "", Needs::nothing,
     "Any of these annotations except `inject`, in one JSON object; allows names longer than 63 characters",
     read_spec},
});

const Annotation* find_annotation(string_view name, string_view& argument) {
    for (const Annotation& a : table) {
        argument = "";
        if (a.argument.empty() ? a.name == name : (name.starts_with(a.name) && name.size() > a.name.size())) {
            argument = a.argument.empty() ? "" : name.substr(a.name.size());
            return &a;
        }
    }
    return nullptr;
}

// Levenshtein's distance, for "did you mean".
std::size_t distance(string_view a, string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t up = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
            diagonal = up;
        }
    }
    return row[b.size()];
}

// `suggest`: whether to look for the name that was meant, which costs as much as reading a hundred
// annotations.
string unknown(string_view name, bool suggest = true) {
    string_view nearest;
    std::size_t best = std::min<std::size_t>(4, name.size() / 3 + 1);
    constexpr std::size_t longest_name = 63;  // of an annotation, behind its prefix
    for (const Annotation& a : !suggest || name.size() > longest_name ? std::span<const Annotation>()
                                                                      : std::span<const Annotation>(table))
        if (const std::size_t d = distance(name, a.name); d < best) {
            best = d;
            nearest = a.name;
        }
    if (!nearest.empty())
        return fmt::format("unknown annotation; did you mean {}{}?", annotation_prefix, nearest);
    return "unknown annotation; `keyshepherd inject --help-annotations` lists all annotations";
}

}  // namespace

string_view text(Wiring wiring) {
    for (const auto& choice : wirings)
        if (choice.value == wiring) return choice.text;
    return "";
}

string_view text(AgentMode mode) {
    for (const auto& choice : agents)
        if (choice.value == mode) return choice.text;
    return "";
}

string_view text(OnRotate on_rotate) {
    for (const auto& choice : rotations)
        if (choice.value == on_rotate) return choice.text;
    return on_rotate == OnRotate::signal ? "signal" : "";
}

std::optional<Reference> parse_reference(string_view text, string& fault) {
    const std::size_t hash = text.find('#');
    if (hash == string_view::npos) {
        fault = "must name a field; use path#key, such as ai-apis/data/holysheep#api_key";
        return std::nullopt;
    }
    Reference reference{string(text.substr(0, hash)), string(text.substr(hash + 1))};
    fault = slash_fault(reference.path, "an API path such as ai-apis/data/holysheep");
    if (!fault.empty()) return std::nullopt;
    if (!is_vault_path(reference.path)) {
        fault =
            "invalid path before '#': use an API path such as ai-apis/data/holysheep, without a leading, "
            "trailing or double '/', without '..', without \" \\ ` { } ? % *, and without a space at either "
            "end of a segment";
        return std::nullopt;
    }
    if (!is_vault_key(reference.key)) {
        fault = "must have one field name after '#', such as api_key";
        return std::nullopt;
    }
    return reference;
}

string_view without_scheme(string_view value) {
    for (const string_view scheme : {string_view("vault:"), placeholder_scheme})
        if (value.starts_with(scheme)) return value.substr(scheme.size());
    return value;
}

bool is_reference(string_view value) {
    const string_view reference = without_scheme(value);
    if (reference.size() == value.size() || reference.starts_with("//")) return false;
    value = reference;
    const std::size_t slash = value.find_first_of("/#");
    if (slash == string_view::npos) return false;
    // host:port/path, and what the transit engine gives out (vault:v1:<base64>), are an application's own.
    const string_view first = value.substr(0, slash);
    const auto digits = [](string_view t) {
        return !t.empty() && t.find_first_not_of("0123456789") == string_view::npos;
    };
    const bool port = value[slash] == '/' && digits(first);
    const std::size_t colon = first.find(':');
    const bool ciphertext =
        colon != string_view::npos && first.starts_with('v') && digits(first.substr(1, colon - 1));
    return !port && !ciphertext;
}

std::span<const Annotation> annotation_table() {
    return table;
}

bool needs_agent(string_view name) {
    string_view argument;
    const Annotation* annotation = find_annotation(name, argument);
    return annotation != nullptr && annotation->needs == Needs::agent;
}

AnnotationFault fault_of(const AnnotationOptions& options, const string& name, string message) {
    const auto came_in = options.came_in.find(name);
    if (came_in == options.came_in.end() || came_in->second == name) return {name, std::move(message)};
    return {came_in->second, fmt::format("member \"{}\": {}", name, message)};
}

bool is_output_annotation(string_view name) {
    return name == "injected" || name == "agent-config" || name == "vault-ca";
}

string meant_by(string_view name) {
    string_view argument;
    return find_annotation(name, argument) != nullptr ? "" : unknown(name);
}

AnnotationOptions read_annotations(const std::map<string, string>& annotations,
                                   std::vector<AnnotationFault>& faults) {
    AnnotationOptions options;
    std::map<string, std::pair<string, string>> all;  // name → value, annotation it came in
    for (const auto& [name, value] : annotations) all[name] = {value, name};
    if (const auto spec = annotations.find("spec"); spec != annotations.end()) {
        auto parsed = json::parse(spec->second);
        const json::object* members = parsed ? parsed->if_object() : nullptr;
        if (members == nullptr) {
            faults.push_back({"spec", fmt::format("must be a JSON object such as {{\"role\": \"ai\"}}{}",
                                                  parsed ? "" : " (" + parsed.error().message + ")")});
        } else {
            for (const auto& member : *members) {
                const string name(member.key());
                const auto* value = member.value().if_string();
                if (value == nullptr) {
                    faults.push_back({"spec", fmt::format("member \"{}\": must be a string", name)});
                } else if (name == "inject" || name == "spec") {
                    faults.push_back(
                        {"spec", fmt::format("member \"{0}\": not allowed in spec; use the annotation {1}{0}",
                                             name, annotation_prefix)});
                } else if (const auto other = all.find(name);
                           other != all.end() && other->second.first != *value) {
                    faults.push_back(
                        {"spec",
                         fmt::format(
                             "member \"{}\": conflicts with the annotation of that name; remove one of them",
                             name)});
                } else {
                    all[name] = {string(*value), "spec"};
                }
            }
        }
    }
    for (const auto& [name, given] : all) {
        const auto& [value, source] = given;
        string_view argument;
        const Annotation* annotation = find_annotation(name, argument);
        string fault = annotation == nullptr ? unknown(name, faults.size() < most_faults)
                                             : annotation->read(options, argument, value);
        options.came_in[name] = source;
        if (!fault.empty()) faults.push_back(fault_of(options, name, std::move(fault)));
    }
    for (const auto& [file, wish] : options.files) {
        const bool tried =
            all.contains("secret-" + file) || all.contains("template-" + file);  // and refused above
        if (wish.path.empty() && wish.content.empty()) {
            if (tried) continue;
            faults.push_back(fault_of(
                options, "perms-" + file,
                fmt::format("no annotation renders this file; add secret-{0} or template-{0}", file)));
        } else if (!wish.path.empty() && !wish.content.empty()) {
            faults.push_back(fault_of(
                options, "template-" + file,
                fmt::format("conflicts with secret-{}, which renders the same file; remove one of them",
                            file)));
        }
    }
    return options;
}

string annotation_reference() {
    string page =
        "# Annotations\n\n"
        "`hack/generate.sh` generates this page from the tables in `src/inject`; do not edit it.\n\n"
        "Set an annotation on the workload or on its pod template; the pod template takes precedence. Every "
        "name has the\n"
        "prefix `keyshepherd.dev/`. Wiring `secret` runs no agent, so it rejects annotations that need one "
        "and variables\n"
        "that do not come from a provider.\n\n"
        "| annotation | value | default | needs an agent | meaning |\n"
        "|---|---|---|---|---|\n";
    for (const Annotation& a : table)
        page +=
            fmt::format("| `{}{}` | {} | {} | {} | {} |\n", a.name,
                        a.argument.empty() ? "" : fmt::format("<{}>", a.argument), a.type,
                        a.fallback.empty() ? "–" : a.fallback, a.needs == Needs::agent ? "yes" : "no", a.doc);
    return page + "\n" + wiring_rules_reference();
}

}  // namespace keyshepherd::inject
