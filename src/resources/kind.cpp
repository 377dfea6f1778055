#include <keyshepherd/resources/kind.hpp>
#include <keyshepherd/resources/resource.hpp>

#include <algorithm>
#include <array>

namespace keyshepherd::resources {

namespace {

using enum Type;

// Anchored everywhere: a Kubernetes pattern matches anywhere in the text otherwise.
// RFC 1123, section 2.1, in lower case: labels of 63 characters at most.
constexpr std::string_view host_name =
    "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$";
// No `..`, no empty segment, no leading or trailing slash: nothing that leaves its place in a request's path.
// No segment ends in a dot either.
constexpr std::string_view mount_path =
    "^[A-Za-z0-9_-]([A-Za-z0-9._-]*[A-Za-z0-9_-])?(/[A-Za-z0-9_-]([A-Za-z0-9._-]*[A-Za-z0-9_-])?)*$";
constexpr std::string_view role_name = "^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?$";
constexpr std::string_view policy_name =
    "^[a-z0-9_-]([a-z0-9._-]*[a-z0-9_-])?(/[a-z0-9_-]([a-z0-9._-]*[a-z0-9_-])?)*$";
// An IPv4 or IPv6 address, alone or with a prefix length that its family has (RFC 4632, RFC 4291). Which
// texts with a colon are IPv6 addresses is for the reader.
constexpr std::string_view network =
    "^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\\.(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}"
    "(/(3[0-2]|[12]?[0-9]))?|"
    "[0-9a-fA-F]*:[0-9a-fA-F:.]*(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?)$";
constexpr std::string_view name_glob = "^[A-Za-z0-9_./-]*[*]?$";
// What Vault's ACL knows: `*` at the end, `+` for one segment. Identity templates are for HCL text.
constexpr std::string_view acl_path =
    "^[^/\\s\\x00-\\x1f\\x7f{}*\"\\\\][^\\s\\x00-\\x1f\\x7f{}*\"\\\\]*[*]?$|^[*]$";
constexpr std::string_view duration_text = "^([0-9]+|([0-9]+(ms|s|m|h|d))+)$";
// An http or https URL with no more than a host and a port. Core's parse_server_address() decides the rest,
// such as which IPv6 addresses there are.
constexpr std::string_view server_address =
    "^https?://"
    "([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*|"
    "\\[[0-9A-Fa-f:.]{2,45}\\])"
    "(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?/?$";
constexpr std::string_view address_expected =
    "an address such as https://vault.example:8200, with no user and no path";

// What each pattern means in words, behind "must be".
constexpr std::string_view object_name_expected =
    "the name of a Kubernetes object: lower-case letters, digits, '-' and '.', such as ai-application";
constexpr std::string_view namespace_expected =
    "the name of a namespace: lower-case letters, digits and '-', such as ai";
constexpr std::string_view mount_expected =
    "a path in Vault with no '/' at the start or end and no '.' at the end of a part, such as approle or "
    "team/kv";
constexpr std::string_view role_expected =
    "the name of a role: letters, digits, '.', '_' and '-', such as ai-prod-role";
constexpr std::string_view policy_expected =
    "the name of a policy: lower-case letters, digits, '.', '_', '-' and '/', and no '.' at the end, such as "
    "ai-api";
constexpr std::string_view glob_expected = "a name such as ai-api, or a prefix and a '*', such as ai-*";
constexpr std::string_view acl_expected =
    "a path of a Vault policy with no '/' at the start and '*' only at the end, such as ai-apis/data/*";
constexpr std::string_view duration_expected = "a duration such as 90s, 1h30m or 2d";
constexpr std::string_view cidr_expected = "an IP address or a network, such as 10.0.0.0/8 or fd00::/64";

constexpr std::array<std::string_view, 2> delete_retain = {"Delete", "Retain"};
constexpr std::array<std::string_view, 3> adoption = {"Fail", "IfEqual", "Adopt"};
constexpr std::array<std::string_view, 2> drift = {"Repair", "Report"};

constexpr std::array<Field, 2> connection_ref = {{
    {.name = "name",
     .doc = "Name of the VaultConnection.",
     .pattern = dns_subdomain,
     .expected = object_name_expected,
     .max_length = longest_dns_subdomain,
     .required = true},
    {.name = "namespace",
     .doc = "Namespace of the VaultConnection; absent: the resource's own.",
     .pattern = dns_label,
     .expected = namespace_expected,
     .max_length = longest_dns_label},
}};

constexpr Field connection_field = {
    .name = "connectionRef",
    .type = object,
    .doc = "The VaultConnection to reach Vault by. Its grants decide what may be asked for.",
    .required = true,
    .immutable = true,
    .members = connection_ref};
constexpr Field adoption_field = {
    .name = "adoptionPolicy",
    .type = enumeration,
    .doc =
        "What to do with an object that is already in Vault: Fail refuses it, IfEqual takes it "
        "over when it means the same, Adopt takes it over and makes it equal.",
    .fallback = R"("Fail")",
    .values = adoption};
constexpr Field drift_field = {.name = "driftPolicy",
                               .type = enumeration,
                               .doc = "Whether a difference in Vault is repaired, or only reported.",
                               .fallback = R"("Repair")",
                               .values = drift};
// Seconds. A thousand resources that are looked at more often would be most of an operator's work.
constexpr long shortest_resync = 10;
constexpr Field resync_field = {.name = "resyncPeriod",
                                .type = duration,
                                .doc = "How often Vault is compared, 10s or more; spread by 20 percent.",
                                .fallback = R"("5m")",
                                .pattern = duration_text,
                                .expected = duration_expected,
                                .min = shortest_resync};

constexpr Field deletion_field(std::string_view fallback, std::string_view doc) {
    return {.name = "deletionPolicy",
            .type = enumeration,
            .doc = doc,
            .fallback = fallback,
            .values = delete_retain};
}
constexpr Field object_deletion =
    deletion_field(R"("Delete")", "What happens in Vault when the resource is deleted.");

// ---- VaultConnection

constexpr std::array<Field, 3> account_login(std::string_view mount) {
    return {{
        {.name = "mount",
         .doc = "Path of the auth method.",
         .fallback = mount,
         .pattern = mount_path,
         .expected = mount_expected},
        {.name = "role",
         .doc = "Role to log in with.",
         .pattern = role_name,
         .expected = role_expected,
         .required = true},
        {.name = "serviceAccountName",
         .doc =
             "ServiceAccount in the connection's namespace whose token logs in (TokenRequest). It needs the "
             "label keyshepherd.dev/vault-login: \"true\". The token's audience is the operator's setting, "
             "never the API server's.",
         .pattern = dns_subdomain,
         .expected = object_name_expected,
         .max_length = longest_dns_subdomain,
         .required = true},
    }};
}
constexpr auto kubernetes_login = account_login(R"("kubernetes")");
constexpr auto jwt_login = account_login(R"("jwt")");
constexpr std::array<Field, 2> approle_login = {{
    {.name = "mount",
     .doc = "Path of the auth method.",
     .fallback = R"("approle")",
     .pattern = mount_path,
     .expected = mount_expected},
    {.name = "secretName",
     .doc = "Secret in the connection's namespace with the keys role_id and secret_id. It needs the label "
            "keyshepherd.dev/vault-login: \"true\".",
     .pattern = dns_subdomain,
     .expected = object_name_expected,
     .max_length = longest_dns_subdomain,
     .required = true},
}};
constexpr std::array<Field, 2> token_login = {{
    {.name = "secretName",
     .doc = "Secret in the connection's namespace that holds a token. It needs the label "
            "keyshepherd.dev/vault-login: \"true\".",
     .pattern = dns_subdomain,
     .expected = object_name_expected,
     .max_length = longest_dns_subdomain,
     .required = true},
    {.name = "key",
     .doc = "Its key.",
     .fallback = R"("token")",
     .pattern = "^[-._a-zA-Z0-9]+$",
     .expected = "a key of a Secret: letters, digits, '-', '_' and '.', such as token"},
}};
constexpr std::array<Field, 4> login = {{
    {.name = "kubernetes", .type = object, .doc = "Kubernetes auth method.", .members = kubernetes_login},
    {.name = "jwt",
     .type = object,
     .doc = "JWT auth method that trusts the cluster's issuer.",
     .members = jwt_login},
    {.name = "appRole", .type = object, .doc = "AppRole auth method.", .members = approle_login},
    {.name = "token", .type = object, .doc = "A token out of a Secret.", .members = token_login},
}};

constexpr std::array<std::string_view, 3> right_names = {"adopt", "hcl", "revokeTokens"};
constexpr std::array<Field, 6> grant = {{
    {.name = "namespaces",
     .type = text_set,
     .doc = "Namespaces that may use the connection; * is every one.",
     .pattern = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?|[*])$",
     .expected = "the name of a namespace, such as ai, or *",
     .min = 1,
     .max = 256,
     .max_length = longest_dns_label,
     .required = true},
    {.name = "names",
     .type = text_set,
     .doc = "Names that policies and roles may have; a * at the end is any ending. Absent: <namespace>.*",
     .pattern = name_glob,
     .expected = glob_expected,
     .max = 256},
    {.name = "mounts",
     .type = text_set,
     .doc = "Mounts that may be managed, or may hold the roles. Absent: every one for the connection's own "
            "namespace, none "
            "for another.",
     .pattern = name_glob,
     .expected = glob_expected,
     .max = 256},
    {.name = "paths",
     .type = text_set,
     .doc =
         "What the rules of a policy may reach, in the language of Vault's policies. A rule that may match "
         "sys, auth or identity as any segment needs a path with that word in that place, unless a secrets "
         "engine is mounted where the rule begins: the rest may be a child namespace's.",
     .pattern = acl_path,
     .expected = acl_expected,
     .max = 256},
    {.name = "policies",
     .type = text_set,
     .doc = "Policies that a role may be given; a * at the end is any ending. Absent: as names.",
     .pattern = name_glob,
     .expected = glob_expected,
     .max = 256},
    {.name = "rights",
     .type = text_set,
     .doc = "adopt: take over what is already in Vault. hcl: write policies as text, which no path bounds. "
            "revokeTokens: "
            "revoke what a role issued.",
     .values = right_names,
     .max = 8},
}};

constexpr std::array<Field, 7> connection_spec = {{
    {.name = "address",
     .doc = "Address of Vault or OpenBao.",
     .pattern = server_address,
     .server_address = true,
     .expected = address_expected,
     .required = true},
    {.name = "ca", .doc = "Certificates to trust, in PEM; absent: the system's.", .max_length = 131'072},
    {.name = "tlsServerName",
     .doc = "What Vault's certificate is for; absent: the address's host.",
     .pattern = host_name,
     .expected = "a host name",
     .max_length = longest_dns_subdomain},
    {.name = "vaultNamespace",
     .doc = "Namespace in Vault.",
     .pattern = mount_path,
     .expected = mount_expected,
     .immutable = true},
    {.name = "auth",
     .type = object,
     .doc = "How the operator logs in; exactly one.",
     .required = true,
     .members = login},
    {.name = "grants",
     .type = object_list,
     .doc = "Who may use the connection, and for what. One grant has to allow all of a resource. Absent: "
            "the connection's own namespace, for names that begin with it and a dot, with no mounts and no "
            "paths.",
     .max = 256,
     .members = grant},
    {.name = "deletionTimeout",
     .type = duration,
     .doc = "How long the deletion of a resource waits for a Vault that is away, or for a login; then the "
            "resource goes. The operator removes the object from Vault when a connection to it can, unless "
            "somebody has changed it since. A VaultMount's stays.",
     .fallback = R"("5m")",
     .pattern = duration_text,
     .expected = duration_expected},
}};
constexpr std::array<Rule, 2> connection_rules = {{
    {"[has(self.auth.kubernetes), has(self.auth.jwt), has(self.auth.appRole), "
     "has(self.auth.token)].filter(x, x).size() == 1",
     "auth: give exactly one of kubernetes, jwt, appRole and token"},
    {"!self.address.startsWith('http://') || !(has(self.ca) || has(self.tlsServerName))",
     "ca and tlsServerName: only for an https:// address"},
}};

// ---- VaultMount

constexpr std::array<std::string_view, 2> engines = {"Secret", "Auth"};
constexpr std::array<std::string_view, 2> visibility = {"hidden", "unauth"};
// https://developer.hashicorp.com/vault/api-docs/system/auth#user_lockout_config
constexpr std::array<Field, 4> user_lockout = {{
    {.name = "threshold",
     .type = integer,
     .doc = "Refused logins after which a name is locked; 0: the server's, which is 5.",
     .fallback = "0",
     .vault = "lockout_threshold"},
    {.name = "duration",
     .type = duration,
     .doc = "How long a name stays locked; 0: the server's, which is 15m.",
     .fallback = R"("0")",
     .pattern = duration_text,
     .expected = duration_expected,
     .vault = "lockout_duration"},
    {.name = "counterReset",
     .type = duration,
     .doc = "Time without a refused login after which the count begins again; 0: the server's, which is 15m.",
     .fallback = R"("0")",
     .pattern = duration_text,
     .expected = duration_expected,
     .vault = "lockout_counter_reset_duration"},
    {.name = "disable",
     .type = boolean,
     .doc = "Locks no name.",
     .fallback = "false",
     .vault = "lockout_disable"},
}};
constexpr std::array<std::string_view, 4> mount_token_types = {"default-service", "default-batch", "service",
                                                               "batch"};
constexpr Field mount_texts(std::string_view name, std::string_view doc, std::string_view vault) {
    return {.name = name,
            .type = text_set,
            .doc = doc,
            .fallback = "[]",
            .max = 64,
            .max_length = 256,
            .vault = vault};
}
constexpr std::array<Field, 9> mount_config = {{
    {.name = "defaultLeaseTTL",
     .type = duration,
     .doc = "Life of a lease or token that names none; 0: the server's.",
     .fallback = R"("0")",
     .pattern = duration_text,
     .expected = duration_expected,
     .vault = "default_lease_ttl"},
    {.name = "maxLeaseTTL",
     .type = duration,
     .doc = "Longest life of a lease or token; 0: the server's.",
     .fallback = R"("0")",
     .pattern = duration_text,
     .expected = duration_expected,
     .vault = "max_lease_ttl"},
    {.name = "listingVisibility",
     .type = enumeration,
     .doc = "Whether the mount is listed for those who are not logged in.",
     .fallback = R"("hidden")",
     .values = visibility,
     .vault = "listing_visibility",
     .server = R"("hidden")"},
    {.name = "tokenType",
     .type = enumeration,
     .doc = "Type of the tokens that an auth method issues; a role may override the two that begin with "
            "default. Only for engine Auth.",
     .fallback = R"("default-service")",
     .values = mount_token_types,
     .vault = "token_type"},
    mount_texts("passthroughRequestHeaders", "Headers of a request that the mount's plugin receives.",
                "passthrough_request_headers"),
    mount_texts("allowedResponseHeaders", "Headers that the mount's plugin may set in its answers.",
                "allowed_response_headers"),
    mount_texts("auditNonHMACRequestKeys",
                "Fields of requests that the audit log holds in plain text, without an HMAC.",
                "audit_non_hmac_request_keys"),
    mount_texts("auditNonHMACResponseKeys",
                "Fields of answers that the audit log holds in plain text, without an HMAC.",
                "audit_non_hmac_response_keys"),
    {.name = "userLockoutConfig",
     .type = object,
     .doc =
         "When repeated refused logins lock a user's name, or the role of an AppRole; for the auth methods "
         "approle, userpass and ldap. Absent: left as it is.",
     .members = user_lockout},
}};
constexpr std::array<Field, 12> mount_spec = {{
    connection_field,
    {.name = "path",
     .doc = "Path of the mount.",
     .pattern = mount_path,
     .expected = mount_expected,
     .max_length = 256,
     .required = true,
     .immutable = true},
    {.name = "engine",
     .type = enumeration,
     .doc = "Whether it is a secrets engine or an auth method.",
     .fallback = R"("Secret")",
     .values = engines,
     .immutable = true},
    {.name = "type",
     .doc = "Its type: kv, approle, kubernetes, …; kv-v1 and kv-v2 are kv with options.version 1 and 2.",
     .pattern = "^[a-z0-9][a-z0-9_-]*$",
     .expected = "the name of a plugin in Vault: lower-case letters, digits, '_' and '-', such as kv",
     .required = true,
     .immutable = true},
    {.name = "description", .doc = "For people.", .fallback = R"("")", .vault = "description"},
    {.name = "options",
     .type = text_map,
     .doc = "Options of the type; kv has version: \"2\".",
     .fallback = "{}",
     .max = 16,
     .vault = "options"},
    {.name = "config",
     .type = object,
     .doc = "What can be tuned.",
     .fallback = "{}",
     .members = mount_config},
    {.name = "local",
     .type = boolean,
     .doc = "Not replicated.",
     .fallback = "false",
     .immutable = true,
     .vault = "local"},
    deletion_field(
        R"("Retain")",
        "What happens in Vault when the resource is deleted. Delete destroys everything in the mount."),
    adoption_field,
    drift_field,
    resync_field,
}};

constexpr std::array<Rule, 3> mount_rules = {{
    {"!(self.type in ['kv-v1', 'kv-v2']) || !has(self.options) || !('version' in self.options) || "
     "self.type == 'kv-v' + self.options['version']",
     "options.version: differs from the version in type; leave it out"},
    {"!has(self.config) || !has(self.config.tokenType) || self.config.tokenType == 'default-service' || "
     "(has(self.engine) && self.engine == 'Auth')",
     "config.tokenType: only for engine Auth"},
    {"!has(self.config) || !has(self.config.userLockoutConfig) || (has(self.engine) && self.engine == 'Auth' "
     "&& "
     "self.type in ['approle', 'userpass', 'ldap'])",
     "config.userLockoutConfig: only for engine Auth of type approle, userpass or ldap"},
}};

constexpr std::array<Parameter, 13> mount_parameters = {{
    {"type", Handling::managed, "`type`"},
    {"config", Handling::managed, "`config`, when the mount is made"},
    {"user_lockout_config", Handling::managed, "`config.userLockoutConfig`"},
    {"plugin_name", Handling::ignored, "An old name of `type`."},
    {"plugin_version", Handling::ignored,
     "Which version of a plugin runs is up to whoever upgrades Vault's plugins."},
    {"override_pinned_version", Handling::ignored, "Goes with `plugin_version`; HashiCorp Vault only."},
    {"seal_wrap", Handling::ignored, "How Vault encrypts its storage: changes nothing that clients see."},
    {"external_entropy_access", Handling::ignored,
     "Where random bytes come from: changes nothing that clients see."},
    {"force_no_cache", Handling::ignored, "A cache in Vault's memory: changes nothing that clients see."},
    {"allowed_managed_keys", Handling::ignored, "Managed keys; HashiCorp Vault Enterprise only."},
    {"identity_token_key", Handling::ignored,
     "The key of plugin identity tokens, which no supported engine uses; HashiCorp Vault only."},
    {"delegated_auth_accessors", Handling::ignored,
     "Delegated logins, which no supported engine uses; HashiCorp Vault only."},
    {"trim_request_trailing_slashes", Handling::ignored,
     "How Vault reads the paths of requests; HashiCorp Vault only."},
}};

// ---- VaultPolicy

constexpr std::array<std::string_view, 9> capabilities = {"create", "read", "update", "patch",    "delete",
                                                          "list",   "sudo", "deny",   "subscribe"};
constexpr std::array<Field, 5> policy_rule = {{
    {.name = "path",
     .doc = "What the rule is about; * at the end is any ending, + is one segment.",
     .pattern = acl_path,
     .expected = acl_expected,
     .required = true},
    {.name = "capabilities",
     .type = text_set,
     .doc = "What is allowed there.",
     .values = capabilities,
     .min = 1,
     .max = 16,
     .required = true},
    {.name = "requiredParameters",
     .type = text_set,
     .doc = "Parameters that a request must have.",
     .pattern = "^[A-Za-z0-9_.*-]+$",
     .expected = "the name of a parameter: letters, digits, '_', '.', '-' and '*', such as policies",
     .max = 64},
    {.name = "minWrappingTTL",
     .type = duration,
     .doc = "Shortest wrapping of an answer.",
     .pattern = duration_text,
     .expected = duration_expected},
    {.name = "maxWrappingTTL",
     .type = duration,
     .doc = "Longest wrapping of an answer.",
     .pattern = duration_text,
     .expected = duration_expected},
}};
constexpr std::array<Field, 8> policy_spec = {{
    connection_field,
    {.name = "name",
     .doc = "Name of the policy.",
     .pattern = policy_name,
     .expected = policy_expected,
     .max_length = 256,
     .required = true,
     .immutable = true},
    {.name = "rules",
     .type = object_list,
     .doc = "The policy, rule by rule; at least one, since Vault keeps the old policy when it is given none.",
     .min = 1,
     .max = 512,
     .members = policy_rule},
    {.name = "hcl",
     .doc =
         "The policy as text, written byte for byte; text in base64 is decoded, as Vault decodes it. Needs "
         "the right hcl of the connection's grants.",
     .max_length = 262'144},
    object_deletion,
    adoption_field,
    drift_field,
    resync_field,
}};
constexpr std::array<Rule, 1> policy_rules = {{
    {"has(self.rules) != has(self.hcl)", "give exactly one of rules and hcl"},
}};

// Every write of a policy resets what it does not name.
constexpr std::array<Parameter, 7> policy_parameters = {{
    {"policy", Handling::managed, "`rules` or `hcl`"},
    {"expiration", Handling::unset, "A policy of the operator's does not expire."},
    {"ttl", Handling::ignored, "Sets `expiration`, which is compared."},
    {"cas", Handling::managed, "the version that was read, where the policy has `cas_required`"},
    {"cas_required", Handling::ignored,
     "It guards the policy against other writers: each write of the operator's keeps it, and sends `cas`."},
    {"allow_slashes_in_identity_templates", Handling::unset,
     "It widens what identity templates in the policy may reach.", "false"},
    {"allow_wildcards_in_identity_templates", Handling::unset,
     "It widens what identity templates in the policy may reach.", "false"},
}};

// ---- roles

constexpr std::array<std::string_view, 5> token_types = {"default", "service", "batch", "default-service",
                                                         "default-batch"};
constexpr Field token_ttl = {.name = "tokenTTL",
                             .type = duration,
                             .doc = "Life of a token; 0: the mount's.",
                             .fallback = R"("0")",
                             .pattern = duration_text,
                             .expected = duration_expected,
                             .vault = "token_ttl"};
constexpr Field token_max_ttl = {.name = "tokenMaxTTL",
                                 .type = duration,
                                 .doc = "How long a token can be renewed; 0: the mount's.",
                                 .fallback = R"("0")",
                                 .pattern = duration_text,
                                 .expected = duration_expected,
                                 .vault = "token_max_ttl"};
constexpr Field token_explicit_max_ttl = {
    .name = "tokenExplicitMaxTTL",
    .type = duration,
    .doc = "The same, and later changes of the mount do not lengthen it.",
    .fallback = R"("0")",
    .pattern = duration_text,
    .expected = duration_expected,
    .vault = "token_explicit_max_ttl"};
constexpr Field token_period = {
    .name = "tokenPeriod",
    .type = duration,
    .doc = "A token that is renewed within this time lives on for ever; 0: none does.",
    .fallback = R"("0")",
    .pattern = duration_text,
    .expected = duration_expected,
    .vault = "token_period"};
constexpr Field token_policies = {
    .name = "tokenPolicies",
    .type = name_set,
    .doc = "Policies of a token, beside default.",
    .fallback = "[]",
    .pattern = "^[A-Za-z0-9_-]([A-Za-z0-9._/-]*[A-Za-z0-9_/-])?$",
    .expected =
        "the name of a policy: letters, digits, '.', '_', '-' and '/', and no '.' at the end, such as ai-api",
    .max = 256,
    .vault = "token_policies"};
constexpr Field token_bound_cidrs = {.name = "tokenBoundCIDRs",
                                     .type = cidr_set,
                                     .doc = "Addresses from which a token may be used; none: every one.",
                                     .fallback = "[]",
                                     .pattern = network,
                                     .expected = cidr_expected,
                                     .max = 256,
                                     .vault = "token_bound_cidrs"};
constexpr Field token_no_default = {.name = "tokenNoDefaultPolicy",
                                    .type = boolean,
                                    .doc = "Leaves the policy default out.",
                                    .fallback = "false",
                                    .vault = "token_no_default_policy"};
constexpr Field token_num_uses = {.name = "tokenNumUses",
                                  .type = integer,
                                  .doc = "How often a token may be used; 0: without limit.",
                                  .fallback = "0",
                                  .vault = "token_num_uses"};
constexpr Field token_type = {.name = "tokenType",
                              .type = enumeration,
                              .doc = "Type of a token.",
                              .fallback = R"("default")",
                              .values = token_types,
                              .vault = "token_type"};

constexpr Field token_strictly_bind_ip = {
    .name = "tokenStrictlyBindIP",
    .type = boolean,
    .doc = "Whether a token is good only from the address that it was issued to. OpenBao only.",
    .fallback = "false",
    .vault = "token_strictly_bind_ip"};

constexpr Parameter deprecated(std::string_view name, std::string_view text) {
    return {name, Handling::ignored, text};
}
constexpr std::string_view alias_metadata_text =
    "Policies may use it in identity templates; HashiCorp Vault only.";

constexpr std::array<Field, 24> approle_spec = {{
    connection_field,
    {.name = "mount",
     .doc = "Path of the auth method.",
     .fallback = R"("approle")",
     .pattern = mount_path,
     .expected = mount_expected,
     .max_length = 256,
     .immutable = true},
    {.name = "name",
     .doc = "Name of the role.",
     .pattern = role_name,
     .expected = role_expected,
     .max_length = 256,
     .required = true,
     .immutable = true},
    {.name = "roleID",
     .doc =
         "The role-id. The names of the grant bound it, as they bound `name`. Absent: Vault makes one, and "
         "it is kept when the role has to be made again.",
     .pattern = "^[A-Za-z0-9._-]+$",
     .expected = "a role-id: letters, digits, '.', '_' and '-'"},
    {.name = "bindSecretID",
     .type = boolean,
     .doc = "Whether a login needs a secret-id.",
     .fallback = "true",
     .vault = "bind_secret_id"},
    {.name = "secretIDBoundCIDRs",
     .type = cidr_set,
     .doc = "Addresses from which a secret-id may be used; none: every one.",
     .fallback = "[]",
     .pattern = network,
     .expected = cidr_expected,
     .max = 256,
     .vault = "secret_id_bound_cidrs",
     .host_prefix = true},
    {.name = "secretIDNumUses",
     .type = integer,
     .doc = "How often a secret-id may be used; 0: without limit.",
     .fallback = "0",
     .vault = "secret_id_num_uses"},
    {.name = "secretIDTTL",
     .type = duration,
     .doc = "Life of a secret-id; 0: without end.",
     .fallback = R"("0")",
     .pattern = duration_text,
     .expected = duration_expected,
     .vault = "secret_id_ttl"},
    {.name = "localSecretIDs",
     .type = boolean,
     .doc =
         "Whether secret-ids stay in the cluster that issued them and are not replicated. Vault sets it only "
         "when it creates the role.",
     .fallback = "false",
     .vault = "local_secret_ids",
     .create_only = true},
    token_ttl,
    token_max_ttl,
    token_explicit_max_ttl,
    token_period,
    token_policies,
    token_bound_cidrs,
    token_no_default,
    token_num_uses,
    token_type,
    token_strictly_bind_ip,
    {.name = "revokeTokens",
     .type = boolean,
     .doc =
         "Whether the tokens that a secret-id issued are revoked when it is destroyed: at the end of the "
         "overlap after a rotation, and when its VaultSecretID is deleted. Needs the right revokeTokens of "
         "the connection's grants; batch tokens cannot be revoked.",
     .fallback = "false"},
    object_deletion,
    adoption_field,
    drift_field,
    resync_field,
}};

constexpr std::array<Rule, 1> approle_rules = {{
    {"!(has(self.revokeTokens) && self.revokeTokens && has(self.tokenType) && self.tokenType in ['batch', "
     "'default-batch'])",
     "revokeTokens: batch tokens cannot be revoked; give tokenType: service"},
}};

constexpr std::array<Parameter, 5> approle_parameters = {{
    {"role_id", Handling::managed, "`roleID`"},
    deprecated("bound_cidr_list",
               "A deprecated name of `secret_id_bound_cidrs`, under which it is compared."),
    deprecated("period", "A deprecated name of `token_period`, under which it is compared."),
    deprecated("policies", "A deprecated name of `token_policies`, under which it is compared."),
    {"alias_metadata", Handling::unset, alias_metadata_text, "{}"},
}};

// ---- VaultSecretID

constexpr std::array<std::string_view, 3> workload_kinds = {"Deployment", "StatefulSet", "DaemonSet"};
constexpr std::array<Field, 1> approle_ref = {{
    {.name = "name",
     .doc = "Name of the VaultAppRole, in the same namespace.",
     .pattern = dns_subdomain,
     .expected = object_name_expected,
     .max_length = longest_dns_subdomain,
     .required = true},
}};
constexpr std::array<Field, 2> restart_target = {{
    {.name = "kind",
     .type = enumeration,
     .doc = "Kind of the workload.",
     .fallback = R"("Deployment")",
     .values = workload_kinds},
    {.name = "name",
     .doc = "Its name, in the same namespace.",
     .pattern = dns_subdomain,
     .expected = object_name_expected,
     .max_length = longest_dns_subdomain,
     .required = true},
}};
constexpr std::array<Field, 12> secret_id_spec = {{
    {.name = "appRoleRef",
     .type = object,
     .doc = "The VaultAppRole that the secret-id belongs to.",
     .required = true,
     .immutable = true,
     .members = approle_ref},
    {.name = "secretName",
     .doc = "Secret that gets the keys role_id and secret_id. Absent: the resource's own name. A Secret that "
            "somebody else made is never written.",
     .pattern = dns_subdomain,
     .expected = object_name_expected,
     .max_length = 245,
     .immutable = true},
    {.name = "ttl",
     .type = duration,
     .doc = "Life of a secret-id, 1m or more; 0: the role's secretIDTTL. A change replaces the secret-id.",
     .fallback = R"("0")",
     .pattern = duration_text,
     .expected = duration_expected,
     .min = 60,
     .zero_too = true},
    {.name = "rotationPeriod",
     .type = duration,
     .doc =
         "Age at which a secret-id is replaced. Absent: two thirds of its life; one that lives for ever is "
         "then never replaced.",
     .pattern = duration_text,
     .expected = duration_expected},
    {.name = "overlap",
     .type = duration,
     .doc = "How long the replaced secret-id stays good at least.",
     .fallback = R"("5m")",
     .pattern = duration_text,
     .expected = duration_expected},
    {.name = "maxOverlap",
     .type = duration,
     .doc =
         "How long the replaced secret-id stays good at most, when the restart of a workload takes longer.",
     .fallback = R"("1h")",
     .pattern = duration_text,
     .expected = duration_expected},
    {.name = "cidrs",
     .type = cidr_set,
     .doc = "Addresses from which the secret-id may be used, a part of the role's; none: the role's.",
     .fallback = "[]",
     .pattern = network,
     .expected = cidr_expected,
     .max = 256,
     .host_prefix = true},
    {.name = "tokenBoundCIDRs",
     .type = cidr_set,
     .doc = "Addresses from which its tokens may be used, a part of the role's; none: the role's.",
     .fallback = "[]",
     .pattern = network,
     .expected = cidr_expected,
     .max = 256,
     .host_prefix = true},
    {.name = "numUses",
     .type = integer,
     .doc = "How many logins it is good for; 0: the role's secretIDNumUses. One that is used up is replaced "
            "at the next look at it.",
     .fallback = "0"},
    {.name = "rolloutRestartTargets",
     .type = object_list,
     .doc = "Workloads that read the Secret only when they start: restarted once after every rotation. The "
            "replaced secret-id is destroyed when they are out.",
     .max = 64,
     .members = restart_target},
    deletion_field(R"("Delete")",
                   "What happens when the resource is deleted. Delete destroys the secret-id and removes the "
                   "Secret; Retain leaves both."),
    resync_field,
}};

// Of auth/<mount>/role/<name>/custom-secret-id.
constexpr std::array<Parameter, 6> secret_id_parameters = {{
    {"secret_id", Handling::managed, "a random value that the operator draws"},
    {"metadata", Handling::managed, "the stamp by which the operator knows its own"},
    {"cidr_list", Handling::managed, "`cidrs`"},
    {"token_bound_cidrs", Handling::managed, "`tokenBoundCIDRs`"},
    {"num_uses", Handling::managed, "`numUses`"},
    {"ttl", Handling::managed, "`ttl`"},
}};

constexpr std::array<Rule, 1> secret_id_rules = {{
    {"!(has(self.secretName) && self.secretName.endsWith('-pending'))",
     "secretName: must not end in -pending, as what the operator makes beside a Secret does"},
}};

constexpr std::array<std::string_view, 2> alias_sources = {"serviceaccount_uid", "serviceaccount_name"};
constexpr std::array<Field, 21> kubernetes_spec = {{
    connection_field,
    {.name = "mount",
     .doc = "Path of the auth method.",
     .fallback = R"("kubernetes")",
     .pattern = mount_path,
     .expected = mount_expected,
     .max_length = 256,
     .immutable = true},
    {.name = "name",
     .doc = "Name of the role.",
     .pattern = role_name,
     .expected = role_expected,
     .max_length = 256,
     .required = true,
     .immutable = true},
    {.name = "boundServiceAccountNames",
     .type = text_set,
     .doc = "ServiceAccounts that may log in; * is every one.",
     .pattern = "^[a-z0-9*]([-a-z0-9.*]*[a-z0-9*])?$",
     .expected = "a name of lower-case letters, digits, '-' and '.', where '*' stands for any characters, "
                 "such as ai-*",
     .min = 1,
     .max = 256,
     .required = true,
     .vault = "bound_service_account_names"},
    {.name = "boundServiceAccountNamespaces",
     .type = text_set,
     .doc = "Namespaces of the ServiceAccounts; * is every one. Absent: the resource's own.",
     .pattern = "^[a-z0-9*]([-a-z0-9.*]*[a-z0-9*])?$",
     .expected = "a name of lower-case letters, digits, '-' and '.', where '*' stands for any characters, "
                 "such as ai-*",
     .max = 256,
     .vault = "bound_service_account_namespaces"},
    {.name = "audience",
     .doc = "Audience that the ServiceAccount's token must have; a role without one takes every token.",
     .fallback = R"("vault")",
     .vault = "audience",
     .server = R"("")"},
    {.name = "aliasNameSource",
     .type = enumeration,
     .doc = "What names the identity in Vault.",
     .fallback = R"("serviceaccount_uid")",
     .values = alias_sources,
     .vault = "alias_name_source"},
    token_ttl,
    token_max_ttl,
    token_explicit_max_ttl,
    token_period,
    token_policies,
    token_bound_cidrs,
    token_no_default,
    token_num_uses,
    token_type,
    token_strictly_bind_ip,
    object_deletion,
    adoption_field,
    drift_field,
    resync_field,
}};

constexpr std::array<Parameter, 8> kubernetes_parameters = {{
    {"bound_service_account_namespace_selector", Handling::unset,
     "It lets namespaces log in beside those of `boundServiceAccountNamespaces`.", R"("")"},
    deprecated("bound_cidrs", "A deprecated name of `token_bound_cidrs`, under which it is compared."),
    deprecated("max_ttl", "A deprecated name of `token_max_ttl`, under which it is compared."),
    deprecated("num_uses", "A deprecated name of `token_num_uses`, under which it is compared."),
    deprecated("period", "A deprecated name of `token_period`, under which it is compared."),
    deprecated("policies", "A deprecated name of `token_policies`, under which it is compared."),
    deprecated("ttl", "A deprecated name of `token_ttl`, under which it is compared."),
    {"alias_metadata", Handling::unset, alias_metadata_text, "{}"},
}};

// ---- AIProvider, ClusterAIProvider

// What ends inside an agent's template, in request paths and in policies: no character that could leave its
// place. A segment that is nothing but `+` is any segment in a policy, and there is no way to escape it;
// beside other characters a `+` stands for itself
// (https://developer.hashicorp.com/vault/docs/concepts/policies#policy-syntax).
constexpr std::string_view secret_path =
    "^[+]*[A-Za-z0-9_@=:~-][A-Za-z0-9._@+=:~-]*(/[+]*[A-Za-z0-9_@=:~-][A-Za-z0-9._@+=:~-]*)*$";
constexpr std::string_view secret_key = R"(^[^\x00-\x1f\x7f"\\`{}#?%*]+$)";
constexpr std::string_view certificates =
    R"(^([ \r\n]*-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----)+[ \r\n]*$)";
constexpr std::string_view label_key =
    "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$";
constexpr std::string_view label_value = "^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$";

constexpr std::array<Field, 2> variable = {{
    {.name = "name",
     .doc = "Name of the variable, such as HOLYSHEEP_API_KEY.",
     .pattern = "^[A-Za-z_][A-Za-z0-9_]*$",
     .expected = "a variable such as HOLYSHEEP_API_KEY",
     .max_length = 128,
     .required = true},
    {.name = "key",
     .doc = "Field of the secret, such as api_key.",
     .pattern = secret_key,
     .expected = "a field of the secret such as api_key",
     .max_length = 256,
     .required = true},
}};
constexpr std::array<Field, 4> workload_vault = {{
    {.name = "address",
     .doc = "Address of Vault or OpenBao, as the pods reach it; one that the installation allows "
            "(--vault-address, --allowed-vault-address).",
     .pattern = server_address,
     .server_address = true,
     .expected = address_expected,
     .required = true},
    {.name = "namespace",
     .doc = "Namespace in Vault.",
     .pattern = secret_path,
     .expected = "a Vault namespace such as team/ai"},
    {.name = "caBundle",
     .doc = "Certificates to trust, in PEM, and nothing else: they are published with every workload.",
     .pattern = certificates,
     .expected = "a PEM certificate, or several, and nothing else: it is published with every workload",
     .max_length = 131'072},
    {.name = "tlsServerName",
     .doc = "What Vault's certificate is for; absent: the address's host.",
     .pattern = host_name,
     .expected = "a host name",
     .max_length = longest_dns_subdomain},
}};
constexpr std::array<std::string_view, 2> login_types = {"kubernetes", "approle"};
constexpr std::array<Field, 5> workload_login = {{
    {.name = "type",
     .type = enumeration,
     .doc = "Auth method.",
     .fallback = R"("kubernetes")",
     .values = login_types},
    {.name = "path",
     .doc = "Where it is mounted; absent: auth/kubernetes or auth/approle.",
     .pattern = secret_path,
     .expected = "a mount such as auth/kubernetes"},
    {.name = "role",
     .doc = "Role of the Kubernetes auth method; absent: the provider's name.",
     .pattern = role_name,
     .expected = "the name of a role"},
    {.name = "audience",
     .doc = "Audience of the pod's token; one that the installation allows (--allowed-token-audience).",
     .fallback = R"("vault")",
     .pattern = "^[!-~]+$",
     .expected = "an audience such as vault"},
    {.name = "secretName",
     .doc = "AppRole: Secret in the workload's namespace with the keys role_id and secret_id.",
     .pattern = dns_subdomain,
     .expected = "the name of a Secret",
     .max_length = longest_dns_subdomain},
}};

constexpr Field provider_path(bool required) {
    return {.name = "path",
            .doc = "API path of the secret, such as ai-apis/data/holysheep.",
            .pattern = secret_path,
            .expected = "an API path such as ai-apis/data/holysheep",
            .required = required};
}
constexpr Field provider_variables(bool required) {
    return {.name = "variables",
            .type = object_list,
            .doc = "Variables of the workload, and the field of the secret for each; the API key first.",
            .min = 1,
            .max = 32,
            .required = required,
            .members = variable};
}
constexpr Field provider_vault = {.name = "vault",
                                  .type = object,
                                  .doc = "Where the secret rests; absent: the installation's Vault.",
                                  .members = workload_vault};
constexpr Field provider_login = {
    .name = "auth",
    .type = object,
    .doc = "How a workload's agent logs in, where no annotation says otherwise.",
    .members = workload_login};

constexpr std::array<std::string_view, 4> selector_operators = {"In", "NotIn", "Exists", "DoesNotExist"};
constexpr std::array<Field, 3> match_expression = {{
    {.name = "key",
     .doc = "Name of the label.",
     .pattern = label_key,
     .expected = "the name of a label",
     .max_length = 317,
     .required = true},
    {.name = "operator",
     .type = enumeration,
     .doc = "NotIn and DoesNotExist match a namespace without the label too.",
     .values = selector_operators,
     .required = true},
    {.name = "values",
     .type = text_set,
     .doc = "For In and NotIn.",
     .pattern = label_value,
     .expected = "the value of a label: at most 63 letters, digits, '-', '_' and '.'",
     .max = 32,
     .max_length = 63},
}};
constexpr std::array<Field, 2> namespace_selector = {{
    {.name = "matchLabels",
     .type = text_map,
     .doc = "Labels that the namespace has, all of them.",
     .pattern = label_value,
     .expected = "the value of a label",
     .max = 16,
     .max_length = 63},
    {.name = "matchExpressions",
     .type = object_list,
     .doc = "Conditions on its labels, which hold too.",
     .max = 16,
     .members = match_expression},
}};
constexpr std::array<Field, 5> provider_override = {{
    {.name = "namespaceSelector",
     .type = object,
     .doc = "Namespaces of the workloads it is for.",
     .required = true,
     .members = namespace_selector},
    provider_path(false),
    provider_variables(false),
    provider_vault,
    provider_login,
}};
constexpr std::array<Field, 5> key_probe = {{
    {.name = "enabled", .type = boolean, .doc = "Whether keys are tried.", .fallback = "false"},
    {.name = "blockRollouts",
     .type = boolean,
     .doc = "Whether workloads get a new version of the key only after it was tried, and none that the "
            "provider refuses: no workload is rolled for it, and a published Secret keeps the key before.",
     .fallback = "true"},
    {.name = "baseURL",
     .doc = "Address of the provider's API; absent: what baseURLKey holds.",
     .pattern = R"(^https://[A-Za-z0-9.:_\[\]-]+(/[A-Za-z0-9._~-]+)*/?$)",
     .expected = "an https:// URL with no query, such as https://api.holysheep.ai/v1"},
    {.name = "baseURLKey",
     .doc = "Field of the secret with the address of the provider's API.",
     .fallback = R"("base_url")",
     .pattern = secret_key,
     .expected = "a field of the secret such as base_url",
     .max_length = 256},
    {.name = "interval",
     .type = duration,
     .doc = "How often a key is tried.",
     .fallback = R"("10m")",
     .pattern = duration_text,
     .expected = duration_expected},
}};
constexpr Field delivery_secret = {
    .name = "secret",
    .type = boolean,
    .doc =
        "Whether the operator publishes the variables as a Secret, for the wiring secret: of an AIProvider "
        "keyshepherd-<name> in its namespace, of a ClusterAIProvider keyshepherd-<name>.cluster wherever a "
        "workload reads it. Takes connectionRef.",
    .fallback = "false"};
constexpr std::array<Field, 1> delivery = {{delivery_secret}};
constexpr std::array<Field, 2> cluster_delivery = {{
    delivery_secret,
    {.name = "namespaceSelector",
     .type = object,
     .doc = "Namespaces in which the Secret may be published; absent: every one with a workload that reads "
            "it. In another namespace the wiring secret is refused, and a Secret that is there already is "
            "removed.",
     .members = namespace_selector},
}};
constexpr Field provider_probe = {
    .name = "keyProbe",
    .type = object,
    .doc = "Tries the key: GET /models below the base URL, of allowed hosts only.",
    .members = key_probe};
constexpr Field provider_delivery(std::span<const Field> members) {
    return {.name = "delivery",
            .type = object,
            .doc = "Ways for the key to reach a workload beside the agent.",
            .members = members};
}

// Another connection is only another way to see the same key: it may change.
constexpr Field provider_connection(std::span<const Field> ref) {
    return {.name = "connectionRef",
            .type = object,
            .doc =
                "The VaultConnection by which the operator sees the key's version, and rolls the workloads "
                "when there is a new one. Its grants have to cover the paths. Absent: the operator does "
                "nothing.",
            .members = ref};
}
constexpr std::array<Field, 2> cluster_connection_ref = {{
    connection_ref[0],
    {.name = "namespace",
     .doc = "Namespace of the VaultConnection, whose own grant decides.",
     .pattern = dns_label,
     .expected = namespace_expected,
     .max_length = longest_dns_label,
     .required = true},
}};
constexpr Field provider_resync = {.name = "resyncPeriod",
                                   .type = duration,
                                   .doc =
                                       "How often the key's version is looked at, 10s or more; spread by "
                                       "20 percent.",
                                   .fallback = R"("1m")",
                                   .pattern = duration_text,
                                   .expected = duration_expected,
                                   .min = shortest_resync};

constexpr std::array<Field, 8> provider_spec = {{
    provider_path(true),
    provider_variables(true),
    provider_vault,
    provider_login,
    provider_connection(connection_ref),
    provider_resync,
    provider_probe,
    provider_delivery(delivery),
}};
constexpr std::array<Field, 9> cluster_provider_spec = {{
    provider_path(true),
    provider_variables(true),
    provider_vault,
    provider_login,
    {.name = "overrides",
     .type = object_list,
     .doc = "What takes the place of the provider's own path, variables, vault or auth, each as a whole, for "
            "workloads in namespaces whose labels match. The first that matches, and no other, is used.",
     .max = 32,
     .members = provider_override},
    provider_connection(cluster_connection_ref),
    provider_resync,
    provider_probe,
    provider_delivery(cluster_delivery),
}};
constexpr Rule unique_variables = {"self.variables.all(v, self.variables.exists_one(w, w.name == v.name))",
                                   "variables: a name stands twice; keep one"};
constexpr std::array<Rule, 1> provider_rules = {unique_variables};
constexpr std::array<Rule, 7> cluster_provider_rules = {{
    unique_variables,
    {"!has(self.overrides) || self.overrides.all(o, !has(o.variables) || "
     "o.variables.all(v, o.variables.exists_one(w, w.name == v.name)))",
     "overrides: among the variables of one a name stands twice; keep one"},
    {"!has(self.overrides) || self.overrides.all(o, has(o.path) || has(o.variables) || has(o.vault) || "
     "has(o.auth))",
     "overrides: one gives none of path, variables, vault and auth; give what it is to replace"},
    {"!has(self.overrides) || self.overrides.all(o, (has(o.namespaceSelector.matchLabels) && "
     "o.namespaceSelector.matchLabels.size() > 0) || (has(o.namespaceSelector.matchExpressions) && "
     "o.namespaceSelector.matchExpressions.size() > 0))",
     "overrides: a namespaceSelector is empty; what is for every namespace is the provider itself"},
    {"!has(self.overrides) || self.overrides.all(o, !has(o.namespaceSelector.matchExpressions) || "
     "o.namespaceSelector.matchExpressions.all(e, (e.operator in ['In', 'NotIn']) == (has(e.values) && "
     "e.values.size() > 0)))",
     "overrides: In and NotIn need values, Exists and DoesNotExist have none"},
    {"!has(self.delivery) || !has(self.delivery.namespaceSelector) || "
     "(has(self.delivery.namespaceSelector.matchLabels) && "
     "self.delivery.namespaceSelector.matchLabels.size() > 0) || "
     "(has(self.delivery.namespaceSelector.matchExpressions) && "
     "self.delivery.namespaceSelector.matchExpressions.size() > 0)",
     "delivery: the namespaceSelector is empty; leave it out for every namespace"},
    {"!has(self.delivery) || !has(self.delivery.namespaceSelector) || "
     "!has(self.delivery.namespaceSelector.matchExpressions) || "
     "self.delivery.namespaceSelector.matchExpressions.all(e, (e.operator in ['In', 'NotIn']) == "
     "(has(e.values) && e.values.size() > 0))",
     "delivery: In and NotIn need values, Exists and DoesNotExist have none"},
}};

// ---- printer columns

constexpr std::string_view ready_path = ".status.conditions[?(@.type==\"Ready\")].status";
constexpr std::string_view reason_path = ".status.conditions[?(@.type==\"Ready\")].reason";
constexpr PrinterColumn ready = {"Ready", ready_path};
constexpr PrinterColumn reason = {"Reason", reason_path};
constexpr PrinterColumn last_change = {"Changed", ".status.lastChange", "date", 1};
constexpr PrinterColumn age = {"Age", ".metadata.creationTimestamp", "date"};

constexpr std::array<PrinterColumn, 5> connection_columns = {
    {ready, reason, {"Address", ".spec.address"}, {"Version", ".status.vaultVersion", "string", 1}, age}};
constexpr std::array<PrinterColumn, 6> mount_columns = {
    {ready, reason, {"Path", ".spec.path"}, {"Type", ".spec.type"}, last_change, age}};
constexpr std::array<PrinterColumn, 5> policy_columns = {
    {ready, reason, {"Policy", ".spec.name"}, last_change, age}};
constexpr std::array<PrinterColumn, 6> role_columns = {
    {ready, reason, {"Role", ".spec.name"}, {"Mount", ".spec.mount"}, last_change, age}};

constexpr std::array<PrinterColumn, 8> secret_id_columns = {{ready,
                                                             reason,
                                                             {"Role", ".spec.appRoleRef.name"},
                                                             {"Expires", ".status.expiresAt"},
                                                             {"Rotates", ".status.nextRotation"},
                                                             {"Overlap", ".status.overlapUntil", "string", 1},
                                                             {"Accessor", ".status.accessor", "string", 1},
                                                             age}};

// ---- what the status has beside the conditions

constexpr std::array<std::string_view, 3> connection_facts = {"vaultVersion", "vaultClusterID",
                                                              "vaultClusterOf"};
// The operator acts on these, so they are sealed: `seal` is an HMAC over the others.
constexpr std::array<std::string_view, 2> object_facts = {"claim", "seal"};
constexpr std::array<std::string_view, 4> approle_facts = {"claim", "roleID", "cutOffEntity", "seal"};
constexpr std::array<std::string_view, 15> secret_id_facts = {
    "accessor",         "roleID",     "issuedAt",  "expiresAt",    "nextRotation",
    "previousAccessor", "rotatedAt",  "rollout",   "overlapUntil", "rotatedFor",
    "secretUID",        "connection", "vaultPath", "revokeTokens", "seal"};

struct StatusDoc {
    std::string_view name;
    std::string_view doc;
};
constexpr std::array<StatusDoc, 25> status_docs = {{
    {"vaultVersion", "Version of the Vault or OpenBao server."},
    {"vaultClusterID", "Cluster ID of the Vault or OpenBao server."},
    {"vaultClusterOf", "Address and namespace of the Vault that has vaultClusterID."},
    {"claim", "The Vault server, and the object in it that this resource created or adopted."},
    {"roleID", "The role-id that Vault holds for the role."},
    {"cutOffEntity", "Identity entity in Vault that keyshepherd.dev/cut-off disabled."},
    {"accessor", "Accessor of the current secret-id."},
    {"issuedAt", "When the current secret-id was issued."},
    {"expiresAt", "When the current secret-id expires."},
    {"nextRotation", "When the current secret-id is replaced."},
    {"previousAccessor", "Accessor of the replaced secret-id, until it is destroyed."},
    {"rotatedAt", "When the last rotation was."},
    {"rollout", "How far the restart of the targets is after the last rotation."},
    {"overlapUntil", "Until when the replaced secret-id stays valid."},
    {"rotatedFor", "Value of keyshepherd.dev/rotate-now that was last acted on."},
    {"secretUID", "UID of the Secret that the operator made."},
    {"connection", "VaultConnection that issued the secret-id, as namespace/name."},
    {"vaultPath", "Path in Vault of the role that the secret-id belongs to."},
    {"revokeTokens", "Whether the tokens of the secret-id are revoked with it."},
    {"seal",
     "HMAC over the facts above. The operator ignores facts that it did not seal for this resource in this "
     "cluster."},
    {"keyVersion", "Version of the key in Vault."},
    {"users", "How many workloads use the provider."},
    {"stale", "How many of these workloads still have an earlier version of the key."},
    {"skipped", "How many of these workloads the operator does not restart for a new version."},
    {"refusedKeyVersion", "Version of the key that the provider refused, for which nothing is rolled."},
}};

// ---- annotations

constexpr std::array<Annotation, 5> all_annotations = {{
    {paused_annotation, "every kind but VaultConnection",
     "`\"true\"`: the operator leaves the resource and its object in Vault as they are, and `apply` does so "
     "for a VaultSecretID. The condition Ready is Unknown with the reason Paused. A deletion and "
     "`keyshepherd.dev/cut-off` are still carried out."},
    {reconcile_annotation, "every kind",
     "Any new value: the operator compares the resource with Vault now, and does not wait for "
     "`resyncPeriod`."},
    {rotate_annotation, "VaultSecretID", "Any new value: the secret-id is replaced now."},
    {cut_off_annotation, "VaultAppRole",
     "`\"true\"`: refuse every login and every token of the role, destroy its secret-ids and revoke its "
     "tokens. Needs the right revokeTokens in the connection's grant, and the Vault policy that "
     "`plan --policy-for-operator` prints for a role with `revokeTokens`."},
    {acknowledge_annotation, "VaultConnection",
     "The `cluster_id` of a Vault that has taken the place of another one at the address. Until it is given, "
     "the operator neither logs in to the new Vault nor writes to it: the reason is VaultReplaced, and the "
     "message has the value."},
}};

constexpr std::array<PrinterColumn, 7> provider_columns = {{ready,
                                                            reason,
                                                            {"Path", ".spec.path"},
                                                            {"Key", ".status.keyVersion", "integer"},
                                                            {"Users", ".status.users", "integer"},
                                                            {"Stale", ".status.stale", "integer", 1},
                                                            age}};

constexpr std::array<std::string_view, 5> provider_counts = {"keyVersion", "users", "stale", "skipped",
                                                             "refusedKeyVersion"};

constexpr std::array<Kind, 8> all = {{
    {.name = "VaultConnection",
     .plural = "vaultconnections",
     .short_name = "vconn",
     .doc =
         "How the operator reaches and logs in to one Vault or OpenBao, and who may use that. The right to "
         "create one, or a pod in its namespace, equals the operator's rights in Vault: keep it in a "
         "namespace of the platform's, away from the applications.",
     .spec = connection_spec,
     .columns = connection_columns,
     .rules = connection_rules,
     .facts = connection_facts},
    {.name = "VaultMount",
     .plural = "vaultmounts",
     .short_name = "vmount",
     .doc = "A secrets engine or an auth method.",
     .spec = mount_spec,
     .columns = mount_columns,
     .rules = mount_rules,
     .parameters = mount_parameters,
     .facts = object_facts},
    {.name = "VaultPolicy",
     .plural = "vaultpolicies",
     .short_name = "vpolicy",
     .doc = "An ACL policy.",
     .spec = policy_spec,
     .columns = policy_columns,
     .rules = policy_rules,
     .parameters = policy_parameters,
     .facts = object_facts},
    {.name = "VaultAppRole",
     .plural = "vaultapproles",
     .short_name = "vapprole",
     .doc = "A role of the AppRole auth method.",
     .spec = approle_spec,
     .columns = role_columns,
     .rules = approle_rules,
     .parameters = approle_parameters,
     .facts = approle_facts},
    {.name = "VaultKubernetesRole",
     .plural = "vaultkubernetesroles",
     .short_name = "vk8srole",
     .doc = "A role of the Kubernetes auth method.",
     .spec = kubernetes_spec,
     .columns = role_columns,
     .parameters = kubernetes_parameters,
     .facts = object_facts},
    {.name = "VaultSecretID",
     .plural = "vaultsecretids",
     .short_name = "vsecretid",
     .doc = "A secret-id of a VaultAppRole: issued, published as a Secret, rotated, and destroyed.",
     .spec = secret_id_spec,
     .columns = secret_id_columns,
     .rules = secret_id_rules,
     .parameters = secret_id_parameters,
     .facts = secret_id_facts},
    {.name = "AIProvider",
     .plural = "aiproviders",
     .short_name = "aip",
     .doc =
         "Where the key of an AI provider rests in Vault, for the workloads of one namespace. It is not used "
         "while a ClusterAIProvider or the built-in provider has its name, unless the installation lets it "
         "(--allow-provider-shadowing).",
     .spec = provider_spec,
     .columns = provider_columns,
     .rules = provider_rules,
     .counts = provider_counts,
     .named_in_annotation = true,
     .in_vault = false},
    {.name = "ClusterAIProvider",
     .plural = "clusteraiproviders",
     .short_name = "caip",
     .doc = "The same for the workloads of every namespace. It takes the place of the built-in provider of "
            "its name.",
     .spec = cluster_provider_spec,
     .columns = provider_columns,
     .rules = cluster_provider_rules,
     .counts = provider_counts,
     .named_in_annotation = true,
     .namespaced = false,
     .in_vault = false},
}};

}  // namespace

std::span<const Kind> kinds() {
    return all;
}

const Kind* find_kind(std::string_view name) {
    const auto at = std::ranges::find(all, name, &Kind::name);
    return at == all.end() ? nullptr : &*at;
}

std::string_view status_doc(std::string_view name) {
    const auto at = std::ranges::find(status_docs, name, &StatusDoc::name);
    return at == status_docs.end() ? std::string_view() : at->doc;
}

std::span<const Annotation> annotations() {
    return all_annotations;
}

const Field* find_field(std::span<const Field> fields, std::string_view name) {
    const auto at = std::ranges::find(fields, name, &Field::name);
    return at == fields.end() ? nullptr : &*at;
}

}  // namespace keyshepherd::resources
