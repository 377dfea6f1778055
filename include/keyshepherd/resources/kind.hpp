// The custom resources, described once: the reader, the CustomResourceDefinitions, the reference page and the
// planner's comparison with Vault are made from these tables. Everything here is constant.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

namespace keyshepherd::resources {

inline constexpr std::string_view group = "keyshepherd.dev";
inline constexpr std::string_view version = "v1alpha1";

// What Kubernetes takes for the name of an object and of a namespace
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/).
inline constexpr std::string_view dns_subdomain =
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
inline constexpr std::size_t longest_dns_subdomain = 253;
inline constexpr std::string_view dns_label = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
inline constexpr std::size_t longest_dns_label = 63;

// What a field holds in a resource, and when two values of it mean the same.
enum class Type {
    text,
    boolean,
    integer,
    duration,     // text such as 1h30m, or 90 for seconds; equal when the seconds are
    enumeration,  // one of `values`
    text_list,    // order counts
    text_set,     // order and repetition do not
    name_set,     // the same without regard to case (Vault stores names of policies in lower case)
    cidr_set,     // order and repetition do not count; canonical_network() says which are equal
    text_map,
    object,
    object_list,
};

struct Field {
    std::string_view name;
    Type type = Type::text;
    std::string_view doc;
    std::string_view fallback = {};  // what holds when it is absent, as JSON; "": nothing
    std::string_view pattern = {};   // an anchored regular expression, for text and the elements of lists
    bool server_address = false;     // parse_server_address() of core decides what the pattern leaves open
    std::string_view expected = {};  // what the pattern means, for messages: "an API path such as a/data/b"
    std::span<const std::string_view> values = {};
    long min = 0;  // of an integer, or of the number of elements; of a duration in seconds
    long max = std::numeric_limits<long>::max();
    long max_length = 0;  // of a text, in characters; 0: 512
    bool required = false;
    bool immutable = false;
    bool zero_too = false;  // a duration of 0 is allowed below `min`: it means none of its own
    std::span<const Field> members = {};
    std::string_view vault = {};   // its name in Vault's API; "": not a field there
    std::string_view server = {};  // what Vault answers when it was never set, as JSON; "": `fallback`
    bool create_only = false;      // Vault takes it only in the request that creates the object
    bool not_everywhere = false;   // some servers lack it, and ignore it in a request
    bool host_prefix = false;      // Vault refuses a single address without its prefix length
};

// What the operator does with a parameter of Vault's API that no field of the same meaning stands for.
enum class Handling {
    managed,  // sent, from what `text` names
    unset,    // kept at `value`: another value in Vault is a difference
    ignored,  // neither sent nor compared, for the reason in `text`
};

// A parameter of the request that writes the object in Vault
// (https://openbao.org/api-docs/system/internal-specs-openapi/).
struct Parameter {
    std::string_view name;
    Handling handling = Handling::ignored;
    std::string_view text;
    std::string_view value = "null";  // as JSON; null: the parameter is left out
};

struct PrinterColumn {
    std::string_view name;
    std::string_view path;  // JSONPath below the object
    std::string_view type = "string";
    int priority = 0;  // 1: only with -o wide
};

struct Rule {  // CEL, on the spec
    std::string_view expression;
    std::string_view message;
};

// In the order of kinds().
enum class KindId : std::uint8_t {
    vault_connection,
    vault_mount,
    vault_policy,
    vault_approle,
    vault_kubernetes_role,
    vault_secret_id,
    ai_provider,
    cluster_ai_provider,
};

struct Kind {
    KindId id;
    std::string_view name;    // VaultPolicy
    std::string_view plural;  // vaultpolicies
    std::string_view short_name;
    std::string_view doc;
    std::span<const Field> spec;
    std::span<const PrinterColumn> columns;
    std::span<const Rule> rules = {};
    std::span<const Parameter> parameters = {};     // of Vault's API, beside those of the fields
    std::span<const std::string_view> facts = {};   // texts in the status, beside the conditions
    std::span<const std::string_view> counts = {};  // numbers there
    bool named_in_annotation = false;               // its name stands in `keyshepherd.dev/inject`
    bool namespaced = true;
    bool in_vault = true;  // an object in Vault, which the planner compares; false: only Kubernetes has it
};

// In the order in which they have to be made in Vault; behind them what is not there.
std::span<const Kind> kinds();
const Kind* find_kind(std::string_view name);  // nullptr if there is none
const Kind& kind_of(KindId id);
// What a fact or a count of a status means; "" for a name that no kind has.
std::string_view status_doc(std::string_view name);

// An annotation that the operator, `plan` or `apply` reads on a custom resource.
struct Annotation {
    std::string_view name;
    std::string_view on;  // the kinds
    std::string_view doc;
};
std::span<const Annotation> annotations();
const Field* find_field(std::span<const Field> fields, std::string_view name);

}  // namespace keyshepherd::resources
