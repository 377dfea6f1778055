// The annotations that a workload asks with. One table holds name, type, default, check and one line of doc:
// the parser, `keyshepherd inject --help-annotations` and the reference page are made from it.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace keyshepherd::inject {

inline constexpr std::string_view annotation_prefix = "keyshepherd.dev/";

enum class Wiring { automatic, envfile, exec, secret, file };
enum class AgentMode { sidecar, init, none };
enum class OnRotate { by_wiring, rollout, restart, signal, none };
enum class OnConflict { keep, replace, deny };

std::string_view text(Wiring wiring);
std::string_view text(AgentMode mode);
std::string_view text(OnRotate on_rotate);

// One field of one secret, by its API path: ai-apis/data/holysheep#api_key.
struct Reference {
    std::string path;
    std::string key;
    auto operator<=>(const Reference&) const = default;
};

// Reads "<path>#<key>". On failure `fault` says what is wrong.
std::optional<Reference> parse_reference(std::string_view text, std::string& fault);

// What wiring exec leaves in a container for the launcher: keyshepherd:<path>#<key>. The webhook of
// Bank-Vaults takes over every value of a pod that begins with vault: or >>vault:
// (https://bank-vaults.dev/docs/mutating-webhook/), so none of those is left there.
inline constexpr std::string_view placeholder_scheme = "keyshepherd:";

// True for a value of an environment entry that asks for wiring: vault:<path>#<key>, or the same with
// keyshepherd:. `vault:8200` and `vault://host` are an application's own business.
bool is_reference(std::string_view value);

// `value` without vault: or keyshepherd: before it.
std::string_view without_scheme(std::string_view value);

struct FileOptions {
    std::string path;         // of secret-<file>, or empty
    std::string key;          // of secret-<file>; empty: all fields as JSON
    std::string content;      // of template-<file>, or empty
    std::string permissions;  // octal, "0444"
};

// What the annotations of one workload say, checked one by one; not yet held against the pod or the
// providers.
struct AnnotationOptions {
    bool asked = false;
    std::vector<std::string> providers;  // empty with `asked`: the default one
    Wiring wiring = Wiring::automatic;
    std::optional<std::vector<std::string>> containers, init_containers;
    std::map<std::string, Reference> variables;  // env-<VAR>
    std::map<std::string, FileOptions> files;    // secret-, template-, perms-<file>
    std::optional<std::string> role, auth_type, auth_path, token_audience, approle_secret;
    std::optional<std::string> vault_address, vault_namespace, ca_secret, tls_server_name;
    std::optional<AgentMode> agent;
    std::optional<std::string> agent_flavor, agent_image;
    OnRotate on_rotate = OnRotate::by_wiring;
    OnConflict on_conflict = OnConflict::keep;
    std::map<std::string, std::vector<std::string>> entrypoints;  // entrypoint-<container>
    std::optional<std::string> cpu_request, cpu_limit, memory_request, memory_limit, log_level;
    std::optional<long> run_as_user, run_as_group;
    // Every name that was given, and the annotation that it came in: itself, or "spec".
    std::map<std::string, std::string> came_in;
};

// What must run in the pod for an annotation to have an effect.
enum class Needs { nothing, agent };

struct Annotation {
    std::string_view name;      // "wiring"; of a family its prefix: "env-"
    std::string_view argument;  // of a family: "VAR"
    std::string_view type;      // "one of auto, envfile, exec, secret, file"
    std::string_view fallback;  // default, as a reader may type it; "" where there is none
    Needs needs;                // `agent`: refused with wiring secret, which runs none
    std::string_view doc;       // one line
    // Puts `value` into `options`; gives "" or what would be right. `argument` is what stands for <VAR>.
    std::string (*read)(AnnotationOptions& options, std::string_view argument, std::string_view value);
};

std::span<const Annotation> annotation_table();

// Annotations that the injector writes itself; never a wish.
bool is_output_annotation(
    std::string_view name);  // name behind the prefix: "injected", "agent-config", "vault-ca"

// What a name behind the prefix, that is in no row of the table, is told; "" for one that is.
std::string meant_by(std::string_view name);

struct AnnotationFault {
    std::string name;  // behind the prefix
    std::string message;
};

// Whether `name`, behind the prefix, is an annotation that has no effect without an agent in the pod.
bool needs_agent(std::string_view name);

// The fault of the annotation `name`, at the place where the user wrote it: inside `spec` it names the
// member.
AnnotationFault fault_of(const AnnotationOptions& options, const std::string& name, std::string message);

// Reads every annotation (names behind the prefix) through the table; all faults at once.
AnnotationOptions read_annotations(const std::map<std::string, std::string>& annotations,
                                   std::vector<AnnotationFault>& faults);

// The reference page: Markdown, made from the table.
std::string annotation_reference();

}  // namespace keyshepherd::inject
