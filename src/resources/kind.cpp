#include <keyshepherd/resources/kind.hpp>
#include <keyshepherd/resources/resource.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <ranges>

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
    "an http or https URL with only a host and an optional port, such as https://vault.example:8200";

// What each pattern means in words, behind "must be".
constexpr std::string_view object_name_expected =
    "the name of a Kubernetes object such as ai-application: lower-case letters, digits, '-' and '.'";
constexpr std::string_view namespace_expected =
    "the name of a namespace such as ai: lower-case letters, digits and '-'";
constexpr std::string_view mount_expected =
    "a path in Vault such as approle or team/kv: no '/' at the start or end, and no segment that ends with "
    "'.'";
constexpr std::string_view role_expected =
    "the name of a role such as ai-prod-role: letters, digits, '.', '_' and '-'";
constexpr std::string_view policy_expected =
    "the name of a policy such as ai-api: lower-case letters, digits, '.', '_', '-' and '/', with no '.' at "
    "the end of a segment";
constexpr std::string_view glob_expected = "a name such as ai-api, or a prefix followed by '*', such as ai-*";
constexpr std::string_view acl_expected =
    "a Vault policy path such as ai-apis/data/*: no '/' at the start, and '*' only at the end";
constexpr std::string_view duration_expected = "a duration such as 90s, 1h30m or 2d";
constexpr std::string_view cidr_expected = "an IP address or CIDR block, such as 10.0.0.0/8 or fd00::/64";

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
     .doc = "Namespace of the VaultConnection. Defaults to the namespace of the resource.",
     .pattern = dns_label,
     .expected = namespace_expected,
     .max_length = longest_dns_label},
}};

constexpr Field connection_field = {.name = "connectionRef",
                                    .type = object,
                                    .doc =
                                        "VaultConnection that the operator uses to reach Vault. Its grants "
                                        "limit what this resource may manage.",
                                    .required = true,
                                    .immutable = true,
                                    .members = connection_ref};
constexpr Field adoption_field = {
    .name = "adoptionPolicy",
    .type = enumeration,
    .doc =
        "What to do if the object already exists in Vault: Fail reports an error, IfEqual adopts the object "
        "if it matches spec, Adopt adopts the object and updates it to match spec.",
    .fallback = R"("Fail")",
    .values = adoption};
constexpr Field drift_field = {.name = "driftPolicy",
                               .type = enumeration,
                               .doc =
                                   "What to do if the object in Vault differs from spec: Repair writes spec "
                                   "to Vault, Report only reports the difference.",
                               .fallback = R"("Repair")",
                               .values = drift};
// Seconds. A thousand resources that are looked at more often would be most of an operator's work.
constexpr long shortest_resync = 10;
constexpr Field resync_field = {.name = "resyncPeriod",
                                .type = duration,
                                .doc =
                                    "How often the operator compares spec with Vault. At least 10s. The "
                                    "operator shortens each period at random by up to 20 percent.",
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
constexpr Field object_deletion = deletion_field(
    R"("Delete")",
    "What to do with the object in Vault when the resource is deleted: Delete removes it, Retain leaves it.");

// ---- VaultConnection

constexpr std::array<Field, 3> account_login(std::string_view mount) {
    return {{
        {.name = "mount",
         .doc = "Path at which the auth method is mounted.",
         .fallback = mount,
         .pattern = mount_path,
         .expected = mount_expected},
        {.name = "role",
         .doc = "Vault role with which the operator logs in.",
         .pattern = role_name,
         .expected = role_expected,
         .required = true},
        {.name = "serviceAccountName",
         .doc = "ServiceAccount in the connection's namespace. The operator requests a token for it "
                "(TokenRequest) and logs in with that token. The ServiceAccount must have the label "
                "keyshepherd.dev/vault-login: \"true\". The operator's --token-audience sets the audience of "
                "the token.",
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
     .doc = "Path at which the auth method is mounted.",
     .fallback = R"("approle")",
     .pattern = mount_path,
     .expected = mount_expected},
    {.name = "secretName",
     .doc = "Secret in the connection's namespace with the keys role_id and secret_id. The Secret must have "
            "the label keyshepherd.dev/vault-login: \"true\".",
     .pattern = dns_subdomain,
     .expected = object_name_expected,
     .max_length = longest_dns_subdomain,
     .required = true},
}};
constexpr std::array<Field, 2> token_login = {{
    {.name = "secretName",
     .doc = "Secret in the connection's namespace that contains a Vault token. The Secret must have the "
            "label keyshepherd.dev/vault-login: \"true\".",
     .pattern = dns_subdomain,
     .expected = object_name_expected,
     .max_length = longest_dns_subdomain,
     .required = true},
    {.name = "key",
     .doc = "Key of the Secret that contains the token.",
     .fallback = R"("token")",
     .pattern = "^[-._a-zA-Z0-9]+$",
     .expected = "a key of a Secret such as token: letters, digits, '-', '_' and '.'"},
}};
constexpr std::array<Field, 4> login = {{
    {.name = "kubernetes",
     .type = object,
     .doc = "Log in through the Kubernetes auth method.",
     .members = kubernetes_login},
    {.name = "jwt",
     .type = object,
     .doc = "Log in through a JWT auth method that trusts the cluster's ServiceAccount issuer.",
     .members = jwt_login},
    {.name = "appRole",
     .type = object,
     .doc = "Log in through the AppRole auth method.",
     .members = approle_login},
    {.name = "token", .type = object, .doc = "Use a Vault token from a Secret.", .members = token_login},
}};

constexpr std::array<std::string_view, 3> right_names = {"adopt", "hcl", "revokeTokens"};
constexpr std::array<Field, 6> grant = {{
    {.name = "namespaces",
     .type = text_set,
     .doc = "Namespaces that may use the connection; * means all namespaces.",
     .pattern = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?|[*])$",
     .expected = "the name of a namespace, such as ai, or *",
     .min = 1,
     .max = 256,
     .max_length = longest_dns_label,
     .required = true},
    {.name = "names",
     .type = text_set,
     .doc = "Names allowed for policies and roles; a trailing * matches any suffix. Defaults to "
            "`<namespace>.*`.",
     .pattern = name_glob,
     .expected = glob_expected,
     .max = 256},
    {.name = "mounts",
     .type = text_set,
     .doc = "Paths of the mounts that VaultMounts may manage and in which roles may be created; a trailing * "
            "matches any suffix. Defaults to all mounts for the connection's own namespace, and to no mounts "
            "for other namespaces.",
     .pattern = name_glob,
     .expected = glob_expected,
     .max = 256},
    {.name = "paths",
     .type = text_set,
     .doc = "Paths that policy rules may match, in Vault policy syntax. A rule whose wildcard could match "
            "the segment sys, auth or identity needs a grant path with that word in the same position, "
            "because the segments before it could be a child namespace in Vault. This does not apply if the "
            "rule starts with the path of a secrets engine.",
     .pattern = acl_path,
     .expected = acl_expected,
     .max = 256},
    {.name = "policies",
     .type = text_set,
     .doc = "Policies that roles may assign to tokens; a trailing * matches any suffix. Defaults to the "
            "value of names.",
     .pattern = name_glob,
     .expected = glob_expected,
     .max = 256},
    {.name = "rights",
     .type = text_set,
     .doc = "Additional rights. adopt: adopt objects that already exist in Vault. hcl: write policies as HCL "
            "text, which paths does not limit. revokeTokens: revoke tokens that a role issued.",
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
    {.name = "ca",
     .doc = "CA certificates to trust, in PEM format. Defaults to the CA certificates of the system.",
     .max_length = 131'072},
    {.name = "tlsServerName",
     .doc = "Server name to verify in Vault's certificate. Defaults to the host of address.",
     .pattern = host_name,
     .expected = "a host name",
     .max_length = longest_dns_subdomain},
    {.name = "vaultNamespace",
     .doc = "Vault namespace. Not a Kubernetes namespace. The operator refuses servers without namespaces, "
            "such as HashiCorp Vault without an Enterprise license.",
     .pattern = mount_path,
     .expected = mount_expected,
     .immutable = true},
    {.name = "auth",
     .type = object,
     .doc = "How the operator logs in to Vault. Set exactly one field.",
     .required = true,
     .members = login},
    {.name = "grants",
     .type = object_list,
     .doc = "Which namespaces may use the connection, and for what. A single grant must allow everything "
            "that a resource asks for. If grants is not set, only the connection's own namespace may use the "
            "connection, with names that start with the namespace and a dot, and without mounts and paths.",
     .max = 256,
     .members = grant},
    {.name = "deletionTimeout",
     .type = duration,
     .doc = "How long the deletion of a resource waits while Vault is unavailable or the login fails. After "
            "that time the operator deletes the resource, and removes the object from Vault as soon as a "
            "connection to it works, unless the object was changed in the meantime. The operator never "
            "removes the mount of a VaultMount in this way.",
     .fallback = R"("5m")",
     .pattern = duration_text,
     .expected = duration_expected},
}};
constexpr std::array<Rule, 2> connection_rules = {{
    {"[has(self.auth.kubernetes), has(self.auth.jwt), has(self.auth.appRole), "
     "has(self.auth.token)].filter(x, x).size() == 1",
     "auth: set exactly one of kubernetes, jwt, appRole and token"},
    {"!self.address.startsWith('http://') || !(has(self.ca) || has(self.tlsServerName))",
     "ca and tlsServerName require an https:// address"},
}};

// ---- VaultMount

constexpr std::array<std::string_view, 2> engines = {"Secret", "Auth"};
constexpr std::array<std::string_view, 2> visibility = {"hidden", "unauth"};
// https://developer.hashicorp.com/vault/api-docs/system/auth#user_lockout_config
constexpr std::array<Field, 4> user_lockout = {{
    {.name = "threshold",
     .type = integer,
     .doc = "Number of failed logins after which Vault locks the user. 0 means the server's default, which "
            "is 5.",
     .fallback = "0",
     .vault = "lockout_threshold"},
    {.name = "duration",
     .type = duration,
     .doc = "How long the user stays locked. 0 means the server's default, which is 15m.",
     .fallback = R"("0")",
     .pattern = duration_text,
     .expected = duration_expected,
     .vault = "lockout_duration"},
    {.name = "counterReset",
     .type = duration,
     .doc = "Time without a failed login after which Vault resets the counter. 0 means the server's default, "
            "which is 15m.",
     .fallback = R"("0")",
     .pattern = duration_text,
     .expected = duration_expected,
     .vault = "lockout_counter_reset_duration"},
    {.name = "disable",
     .type = boolean,
     .doc = "Disables user lockout.",
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
     .doc = "Default TTL of leases and tokens. 0 means the server's default.",
     .fallback = R"("0")",
     .pattern = duration_text,
     .expected = duration_expected,
     .vault = "default_lease_ttl"},
    {.name = "maxLeaseTTL",
     .type = duration,
     .doc = "Maximum TTL of leases and tokens. 0 means the server's maximum.",
     .fallback = R"("0")",
     .pattern = duration_text,
     .expected = duration_expected,
     .vault = "max_lease_ttl"},
    {.name = "listingVisibility",
     .type = enumeration,
     .doc = "Whether Vault lists the mount for clients that are not logged in: unauth lists it, hidden does "
            "not.",
     .fallback = R"("hidden")",
     .values = visibility,
     .vault = "listing_visibility",
     .server = R"("hidden")"},
    {.name = "tokenType",
     .type = enumeration,
     .doc = "Type of the tokens that the auth method issues. A role may override default-service and "
            "default-batch. Requires engine Auth.",
     .fallback = R"("default-service")",
     .values = mount_token_types,
     .vault = "token_type"},
    mount_texts("passthroughRequestHeaders", "Request headers that Vault passes to the plugin.",
                "passthrough_request_headers"),
    mount_texts("allowedResponseHeaders", "Response headers that the plugin may set.",
                "allowed_response_headers"),
    mount_texts("auditNonHMACRequestKeys",
                "Request fields that Vault writes to the audit log in plain text, without HMAC.",
                "audit_non_hmac_request_keys"),
    mount_texts("auditNonHMACResponseKeys",
                "Response fields that Vault writes to the audit log in plain text, without HMAC.",
                "audit_non_hmac_response_keys"),
    {.name = "userLockoutConfig",
     .type = object,
     .doc = "When Vault locks a user, or an AppRole role-id, after repeated failed logins. Only for auth "
            "methods of type approle, userpass and ldap. If not set, the operator does not change the "
            "settings in Vault.",
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
     .doc = "Whether the mount is a secrets engine (Secret) or an auth method (Auth).",
     .fallback = R"("Secret")",
     .values = engines,
     .immutable = true},
    {.name = "type",
     .doc = "Type of the secrets engine or auth method, such as kv, approle or kubernetes. kv-v1 and kv-v2 "
            "mean kv with options.version 1 and 2.",
     .pattern = "^[a-z0-9][a-z0-9_-]*$",
     .expected = "the type of a Vault mount such as kv: lower-case letters, digits, '_' and '-'",
     .required = true,
     .immutable = true},
    {.name = "description",
     .doc = "Description for human readers.",
     .fallback = R"("")",
     .vault = "description"},
    {.name = "options",
     .type = text_map,
     .doc = "Options of the secrets engine or auth method, such as version: \"2\" for kv.",
     .fallback = "{}",
     .max = 16,
     .vault = "options"},
    {.name = "config",
     .type = object,
     .doc = "Tunable settings of the mount.",
     .fallback = "{}",
     .members = mount_config},
    {.name = "local",
     .type = boolean,
     .doc = "Whether the mount is local to one Vault cluster, that is, not replicated.",
     .fallback = "false",
     .immutable = true,
     .vault = "local"},
    deletion_field(R"("Retain")",
                   "What to do with the mount when the resource is deleted: Delete disables the mount and "
                   "destroys all data in it, Retain leaves it."),
    adoption_field,
    drift_field,
    resync_field,
}};

constexpr std::array<Rule, 3> mount_rules = {{
    {"!(self.type in ['kv-v1', 'kv-v2']) || !has(self.options) || !('version' in self.options) || "
     "self.type == 'kv-v' + self.options['version']",
     "options.version contradicts the version in type; remove options.version"},
    {"!has(self.config) || !has(self.config.tokenType) || self.config.tokenType == 'default-service' || "
     "(has(self.engine) && self.engine == 'Auth')",
     "config.tokenType requires engine Auth"},
    {"!has(self.config) || !has(self.config.userLockoutConfig) || (has(self.engine) && self.engine == 'Auth' "
     "&& "
     "self.type in ['approle', 'userpass', 'ldap'])",
     "config.userLockoutConfig requires engine Auth and type approle, userpass or ldap"},
}};

constexpr std::array<Parameter, 13> mount_parameters = {{
    {"type", Handling::managed, "`type`"},
    {"config", Handling::managed, "`config`, when the operator creates the mount"},
    {"user_lockout_config", Handling::managed, "`config.userLockoutConfig`"},
    {"plugin_name", Handling::ignored, "Former name of `type`."},
    {"plugin_version", Handling::ignored, "The administrator of Vault chooses the version of a plugin."},
    {"override_pinned_version", Handling::ignored,
     "Applies only together with `plugin_version`. HashiCorp Vault only."},
    {"seal_wrap", Handling::ignored, "Controls how Vault encrypts its storage. Clients see no difference."},
    {"external_entropy_access", Handling::ignored,
     "Selects the source of random bytes. Clients see no difference."},
    {"force_no_cache", Handling::ignored, "Controls a cache in Vault's memory. Clients see no difference."},
    {"allowed_managed_keys", Handling::ignored, "For managed keys. HashiCorp Vault Enterprise only."},
    {"identity_token_key", Handling::ignored,
     "For plugin identity tokens, which no supported engine uses. HashiCorp Vault only."},
    {"delegated_auth_accessors", Handling::ignored,
     "For delegated authentication, which no supported engine uses. HashiCorp Vault only."},
    {"trim_request_trailing_slashes", Handling::ignored,
     "Controls how Vault handles a trailing slash in request paths. HashiCorp Vault only."},
}};

// ---- VaultPolicy

constexpr std::array<std::string_view, 9> capabilities = {"create", "read", "update", "patch",    "delete",
                                                          "list",   "sudo", "deny",   "subscribe"};
constexpr std::array<Field, 5> policy_rule = {{
    {.name = "path",
     .doc = "Path that the rule applies to. A trailing * matches any suffix; + matches one segment.",
     .pattern = acl_path,
     .expected = acl_expected,
     .required = true},
    {.name = "capabilities",
     .type = text_set,
     .doc = "Operations that the rule allows, or deny.",
     .values = capabilities,
     .min = 1,
     .max = 16,
     .required = true},
    {.name = "requiredParameters",
     .type = text_set,
     .doc = "Parameters that a request must contain.",
     .pattern = "^[A-Za-z0-9_.*-]+$",
     .expected = "the name of a parameter such as policies: letters, digits, '_', '.', '-' and '*'",
     .max = 64},
    {.name = "minWrappingTTL",
     .type = duration,
     .doc = "Minimum TTL of a wrapped response.",
     .pattern = duration_text,
     .expected = duration_expected},
    {.name = "maxWrappingTTL",
     .type = duration,
     .doc = "Maximum TTL of a wrapped response.",
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
     .doc = "Rules of the policy. At least one rule is required, because Vault ignores an update to an empty "
            "policy. Set either rules or hcl.",
     .min = 1,
     .max = 512,
     .members = policy_rule},
    {.name = "hcl",
     .doc = "Policy as HCL text, which the operator writes unchanged. Vault decodes base64 text. Requires "
            "the right hcl in the connection's grants. Set either rules or hcl.",
     .max_length = 262'144},
    object_deletion,
    adoption_field,
    drift_field,
    resync_field,
}};
constexpr std::array<Rule, 1> policy_rules = {{
    {"has(self.rules) != has(self.hcl)", "set either rules or hcl, but not both"},
}};

// Every write of a policy resets what it does not name.
constexpr std::array<Parameter, 7> policy_parameters = {{
    {"policy", Handling::managed, "`rules` or `hcl`"},
    {"expiration", Handling::unset, "Policies that the operator manages do not expire."},
    {"ttl", Handling::ignored, "Sets `expiration`, which the operator compares."},
    {"cas", Handling::managed,
     "the version of the policy that the operator last read, if `cas_required` is set in Vault"},
    {"cas_required", Handling::ignored,
     "Protects the policy against concurrent writes. The operator preserves it and sends `cas` with each "
     "write."},
    {"allow_slashes_in_identity_templates", Handling::unset,
     "Would extend the paths that identity templates in the policy can match.", "false"},
    {"allow_wildcards_in_identity_templates", Handling::unset,
     "Would extend the paths that identity templates in the policy can match.", "false"},
}};

// ---- roles

constexpr std::array<std::string_view, 5> token_types = {"default", "service", "batch", "default-service",
                                                         "default-batch"};
constexpr Field token_ttl = {.name = "tokenTTL",
                             .type = duration,
                             .doc = "TTL of a token. 0 means the default of the mount.",
                             .fallback = R"("0")",
                             .pattern = duration_text,
                             .expected = duration_expected,
                             .vault = "token_ttl"};
constexpr Field token_max_ttl = {
    .name = "tokenMaxTTL",
    .type = duration,
    .doc = "Maximum TTL of a token, including renewals. 0 means the maximum of the mount.",
    .fallback = R"("0")",
    .pattern = duration_text,
    .expected = duration_expected,
    .vault = "token_max_ttl"};
constexpr Field token_explicit_max_ttl = {.name = "tokenExplicitMaxTTL",
                                          .type = duration,
                                          .doc =
                                              "Hard limit on the lifetime of a token, including renewals. "
                                              "Changes to the mount do not extend it. 0 means no limit.",
                                          .fallback = R"("0")",
                                          .pattern = duration_text,
                                          .expected = duration_expected,
                                          .vault = "token_explicit_max_ttl"};
constexpr Field token_period = {.name = "tokenPeriod",
                                .type = duration,
                                .doc =
                                    "Period of a periodic token, which does not expire if it is renewed "
                                    "within this time. 0 means that tokens are not periodic.",
                                .fallback = R"("0")",
                                .pattern = duration_text,
                                .expected = duration_expected,
                                .vault = "token_period"};
constexpr Field token_policies = {
    .name = "tokenPolicies",
    .type = name_set,
    .doc = "Policies assigned to tokens, in addition to default.",
    .fallback = "[]",
    .pattern = "^[A-Za-z0-9_-]([A-Za-z0-9._/-]*[A-Za-z0-9_/-])?$",
    .expected =
        "the name of a policy such as ai-api: letters, digits, '.', '_', '-' and '/', with no '.' at the end",
    .max = 256,
    .vault = "token_policies"};
constexpr Field token_bound_cidrs = {
    .name = "tokenBoundCIDRs",
    .type = cidr_set,
    .doc = "CIDR blocks from which a token may be used. If empty, tokens may be used from any address.",
    .fallback = "[]",
    .pattern = network,
    .expected = cidr_expected,
    .max = 256,
    .vault = "token_bound_cidrs"};
constexpr Field token_no_default = {.name = "tokenNoDefaultPolicy",
                                    .type = boolean,
                                    .doc = "Whether to omit the policy default from tokens.",
                                    .fallback = "false",
                                    .vault = "token_no_default_policy"};
constexpr Field token_num_uses = {.name = "tokenNumUses",
                                  .type = integer,
                                  .doc = "How many times a token may be used. 0 means no limit.",
                                  .fallback = "0",
                                  .vault = "token_num_uses"};
constexpr Field token_type = {.name = "tokenType",
                              .type = enumeration,
                              .doc = "Type of the tokens that the role issues.",
                              .fallback = R"("default")",
                              .values = token_types,
                              .vault = "token_type"};

constexpr Field token_strictly_bind_ip = {
    .name = "tokenStrictlyBindIP",
    .type = boolean,
    .doc =
        "Whether a token may be used only from the IP address that logged in. OpenBao only; on other "
        "servers, the operator refuses true.",
    .fallback = "false",
    .vault = "token_strictly_bind_ip",
    .not_everywhere = true};

constexpr Parameter deprecated(std::string_view name, std::string_view text) {
    return {name, Handling::ignored, text};
}
constexpr std::string_view alias_metadata_text =
    "Policies can use it in identity templates. HashiCorp Vault only.";

constexpr std::array<Field, 24> approle_spec = {{
    connection_field,
    {.name = "mount",
     .doc = "Path at which the auth method is mounted.",
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
     .doc = "Role-id of the role. The names in the connection's grants must allow it, as they must allow "
            "`name`. If not set, Vault generates the role-id, and the operator restores it when it recreates "
            "the role.",
     .pattern = "^[A-Za-z0-9._-]+$",
     .expected = "a role-id of letters, digits, '.', '_' and '-'"},
    {.name = "bindSecretID",
     .type = boolean,
     .doc = "Whether a login requires a secret-id.",
     .fallback = "true",
     .vault = "bind_secret_id"},
    {.name = "secretIDBoundCIDRs",
     .type = cidr_set,
     .doc =
         "CIDR blocks from which a secret-id may be used. If empty, secret-ids may be used from any address.",
     .fallback = "[]",
     .pattern = network,
     .expected = cidr_expected,
     .max = 256,
     .vault = "secret_id_bound_cidrs",
     .host_prefix = true},
    {.name = "secretIDNumUses",
     .type = integer,
     .doc = "How many times a secret-id may be used. 0 means no limit.",
     .fallback = "0",
     .vault = "secret_id_num_uses"},
    {.name = "secretIDTTL",
     .type = duration,
     .doc = "TTL of a secret-id. 0 means that secret-ids do not expire.",
     .fallback = R"("0")",
     .pattern = duration_text,
     .expected = duration_expected,
     .vault = "secret_id_ttl"},
    {.name = "localSecretIDs",
     .type = boolean,
     .doc = "Whether secret-ids are local to the Vault cluster that issued them, that is, not replicated. "
            "Vault accepts this setting only when the role is created.",
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
     .doc = "Whether the operator also revokes the tokens of a secret-id when it destroys the secret-id. "
            "The operator destroys a secret-id at the end of the overlap after a rotation, and when the "
            "VaultSecretID is deleted. "
            "Requires the right revokeTokens in the connection's grants. Batch tokens cannot be revoked.",
     .fallback = "false"},
    object_deletion,
    adoption_field,
    drift_field,
    resync_field,
}};

constexpr std::array<Rule, 1> approle_rules = {{
    {"!(has(self.revokeTokens) && self.revokeTokens && has(self.tokenType) && self.tokenType in ['batch', "
     "'default-batch'])",
     "revokeTokens: batch tokens cannot be revoked; set tokenType: service"},
}};

constexpr std::array<Parameter, 5> approle_parameters = {{
    {"role_id", Handling::managed, "`roleID`"},
    deprecated("bound_cidr_list", "Deprecated name of `secret_id_bound_cidrs`, which the operator compares."),
    deprecated("period", "Deprecated name of `token_period`, which the operator compares."),
    deprecated("policies", "Deprecated name of `token_policies`, which the operator compares."),
    {"alias_metadata", Handling::unset, alias_metadata_text, "{}"},
}};

// ---- VaultSecretID

constexpr std::array<std::string_view, 3> workload_kinds = {"Deployment", "StatefulSet", "DaemonSet"};
constexpr std::array<Field, 1> approle_ref = {{
    {.name = "name",
     .doc = "Name of a VaultAppRole in the same namespace.",
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
     .doc = "Name of a workload in the same namespace.",
     .pattern = dns_subdomain,
     .expected = object_name_expected,
     .max_length = longest_dns_subdomain,
     .required = true},
}};
constexpr std::array<Field, 12> secret_id_spec = {{
    {.name = "appRoleRef",
     .type = object,
     .doc = "VaultAppRole for which the operator issues the secret-id.",
     .required = true,
     .immutable = true,
     .members = approle_ref},
    {.name = "secretName",
     .doc = "Name of the Secret to publish, with the keys role_id and secret_id. Defaults to the name of the "
            "resource. The operator never overwrites a Secret that it did not create.",
     .pattern = dns_subdomain,
     .expected = object_name_expected,
     .max_length = 245,
     .immutable = true},
    {.name = "ttl",
     .type = duration,
     .doc = "TTL of the secret-id, at least 1m. 0 means the secretIDTTL of the role. A change replaces the "
            "secret-id.",
     .fallback = R"("0")",
     .pattern = duration_text,
     .expected = duration_expected,
     .min = 60,
     .zero_too = true},
    {.name = "rotationPeriod",
     .type = duration,
     .doc = "Age at which the operator replaces the secret-id. Defaults to two thirds of its TTL. A "
            "secret-id that does not expire is not replaced by default.",
     .pattern = duration_text,
     .expected = duration_expected},
    {.name = "overlap",
     .type = duration,
     .doc = "Minimum time for which the replaced secret-id stays valid.",
     .fallback = R"("5m")",
     .pattern = duration_text,
     .expected = duration_expected},
    {.name = "maxOverlap",
     .type = duration,
     .doc = "Maximum time for which the replaced secret-id stays valid while the workloads in "
            "rolloutRestartTargets restart.",
     .fallback = R"("1h")",
     .pattern = duration_text,
     .expected = duration_expected},
    {.name = "cidrs",
     .type = cidr_set,
     .doc = "CIDR blocks from which the secret-id may be used, within the secretIDBoundCIDRs of the role. If "
            "empty, only the role limits the addresses.",
     .fallback = "[]",
     .pattern = network,
     .expected = cidr_expected,
     .max = 256,
     .host_prefix = true},
    {.name = "tokenBoundCIDRs",
     .type = cidr_set,
     .doc = "CIDR blocks from which tokens of the secret-id may be used, within the tokenBoundCIDRs of the "
            "role. If empty, only the role limits the addresses.",
     .fallback = "[]",
     .pattern = network,
     .expected = cidr_expected,
     .max = 256,
     .host_prefix = true},
    {.name = "numUses",
     .type = integer,
     .doc = "How many logins the secret-id allows. 0 means the secretIDNumUses of the role. The operator "
            "replaces a used-up secret-id at its next reconciliation.",
     .fallback = "0"},
    {.name = "rolloutRestartTargets",
     .type = object_list,
     .doc = "Workloads that read the Secret only at start-up. The operator restarts them once after each "
            "rotation, and destroys the replaced secret-id when their rollouts are complete.",
     .max = 64,
     .members = restart_target},
    deletion_field(R"("Delete")",
                   "What to do when the resource is deleted: Delete destroys the secret-id and deletes the "
                   "Secret, Retain leaves both."),
    resync_field,
}};

// Of auth/<mount>/role/<name>/custom-secret-id.
constexpr std::array<Parameter, 6> secret_id_parameters = {{
    {"secret_id", Handling::managed, "a random value that the operator generates"},
    {"metadata", Handling::managed, "metadata by which the operator recognizes its own secret-ids"},
    {"cidr_list", Handling::managed, "`cidrs`"},
    {"token_bound_cidrs", Handling::managed, "`tokenBoundCIDRs`"},
    {"num_uses", Handling::managed, "`numUses`"},
    {"ttl", Handling::managed, "`ttl`"},
}};

constexpr std::array<Rule, 1> secret_id_rules = {{
    {"!(has(self.secretName) && self.secretName.endsWith('-pending'))",
     "secretName must not end with -pending: the operator uses that suffix for its own Secrets"},
}};

constexpr std::array<std::string_view, 2> alias_sources = {"serviceaccount_uid", "serviceaccount_name"};
constexpr std::array<Field, 21> kubernetes_spec = {{
    connection_field,
    {.name = "mount",
     .doc = "Path at which the auth method is mounted.",
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
     .doc = "ServiceAccounts that may log in; * means all ServiceAccounts.",
     .pattern = "^[a-z0-9*]([-a-z0-9.*]*[a-z0-9*])?$",
     .expected =
         "a name of lower-case letters, digits, '-' and '.', where '*' matches any characters, such as ai-*",
     .min = 1,
     .max = 256,
     .required = true,
     .vault = "bound_service_account_names"},
    {.name = "boundServiceAccountNamespaces",
     .type = text_set,
     .doc = "Namespaces of the ServiceAccounts; * means all namespaces. Defaults to the namespace of the "
            "resource.",
     .pattern = "^[a-z0-9*]([-a-z0-9.*]*[a-z0-9*])?$",
     .expected =
         "a name of lower-case letters, digits, '-' and '.', where '*' matches any characters, such as ai-*",
     .max = 256,
     .vault = "bound_service_account_namespaces"},
    {.name = "audience",
     .doc = "Audience that the ServiceAccount token must have. If empty, the role accepts tokens for any "
            "audience.",
     .fallback = R"("vault")",
     .vault = "audience",
     .server = R"("")"},
    {.name = "aliasNameSource",
     .type = enumeration,
     .doc = "Source of the name of the entity alias in Vault: the UID or the name of the ServiceAccount.",
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
     "Would let namespaces outside `boundServiceAccountNamespaces` log in.", R"("")"},
    deprecated("bound_cidrs", "Deprecated name of `token_bound_cidrs`, which the operator compares."),
    deprecated("max_ttl", "Deprecated name of `token_max_ttl`, which the operator compares."),
    deprecated("num_uses", "Deprecated name of `token_num_uses`, which the operator compares."),
    deprecated("period", "Deprecated name of `token_period`, which the operator compares."),
    deprecated("policies", "Deprecated name of `token_policies`, which the operator compares."),
    deprecated("ttl", "Deprecated name of `token_ttl`, which the operator compares."),
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
     .doc = "Name of the environment variable, such as HOLYSHEEP_API_KEY.",
     .pattern = "^[A-Za-z_][A-Za-z0-9_]*$",
     .expected = "the name of an environment variable, such as HOLYSHEEP_API_KEY",
     .max_length = 128,
     .required = true},
    {.name = "key",
     .doc = "Field of the secret in Vault, such as api_key.",
     .pattern = secret_key,
     .expected = "a field of the secret, such as api_key",
     .max_length = 256,
     .required = true},
}};
constexpr std::array<Field, 4> workload_vault = {{
    {.name = "address",
     .doc = "Address at which pods reach Vault or OpenBao. The installation must allow it (--vault-address, "
            "--allowed-vault-address).",
     .pattern = server_address,
     .server_address = true,
     .expected = address_expected,
     .required = true},
    {.name = "namespace",
     .doc = "Vault namespace. Not a Kubernetes namespace.",
     .pattern = secret_path,
     .expected = "a Vault namespace such as team/ai"},
    {.name = "caBundle",
     .doc = "CA certificates to trust, in PEM format, without a private key: the bundle is copied into every "
            "workload.",
     .pattern = certificates,
     .expected = "one or more PEM certificates without other content, because the bundle is copied into "
                 "every workload",
     .max_length = 131'072},
    {.name = "tlsServerName",
     .doc = "Server name to verify in Vault's certificate. Defaults to the host of address.",
     .pattern = host_name,
     .expected = "a host name",
     .max_length = longest_dns_subdomain},
}};
constexpr std::array<std::string_view, 2> login_types = {"kubernetes", "approle"};
constexpr std::array<Field, 5> workload_login = {{
    {.name = "type",
     .type = enumeration,
     .doc = "Type of the auth method.",
     .fallback = R"("kubernetes")",
     .values = login_types},
    {.name = "path",
     .doc = "Path of the auth method. Defaults to auth/kubernetes or auth/approle, depending on type.",
     .pattern = secret_path,
     .expected = "the path of an auth method, such as auth/kubernetes"},
    {.name = "role",
     .doc = "Role of the Kubernetes auth method. Defaults to the name of the provider.",
     .pattern = role_name,
     .expected = "the name of a role"},
    {.name = "audience",
     .doc = "Audience of the pod's ServiceAccount token. The installation must allow it "
            "(--allowed-token-audience).",
     .fallback = R"("vault")",
     .pattern = "^[!-~]+$",
     .expected = "an audience such as vault"},
    {.name = "secretName",
     .doc = "Secret in the workload's namespace with the keys role_id and secret_id, for type approle.",
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
    return {
        .name = "variables",
        .type = object_list,
        .doc =
            "Environment variables of the workload, each with a field of the secret. List the API key first.",
        .min = 1,
        .max = 32,
        .required = required,
        .members = variable};
}
constexpr Field provider_vault = {
    .name = "vault",
    .type = object,
    .doc = "Vault that contains the secret. Defaults to the Vault of the installation.",
    .members = workload_vault};
constexpr Field provider_login = {
    .name = "auth",
    .type = object,
    .doc = "How the agent of a workload logs in to Vault. Annotations on the workload override it.",
    .members = workload_login};

constexpr std::array<std::string_view, 4> selector_operators = {"In", "NotIn", "Exists", "DoesNotExist"};
constexpr std::array<Field, 3> match_expression = {{
    {.name = "key",
     .doc = "Key of the label.",
     .pattern = label_key,
     .expected = "the key of a label",
     .max_length = 317,
     .required = true},
    {.name = "operator",
     .type = enumeration,
     .doc = "Relation between the label and values. NotIn and DoesNotExist also match namespaces without the "
            "label.",
     .values = selector_operators,
     .required = true},
    {.name = "values",
     .type = text_set,
     .doc = "Values for In and NotIn.",
     .pattern = label_value,
     .expected = "the value of a label: at most 63 letters, digits, '-', '_' and '.'",
     .max = 32,
     .max_length = 63},
}};
constexpr std::array<Field, 2> namespace_selector = {{
    {.name = "matchLabels",
     .type = text_map,
     .doc = "Labels that the namespace must have.",
     .pattern = label_value,
     .expected = "the value of a label",
     .max = 16,
     .max_length = 63},
    {.name = "matchExpressions",
     .type = object_list,
     .doc = "Requirements on the labels of the namespace. The namespace must meet all of them, in addition "
            "to matchLabels.",
     .max = 16,
     .members = match_expression},
}};
constexpr std::array<Field, 5> provider_override = {{
    {.name = "namespaceSelector",
     .type = object,
     .doc = "Namespaces whose workloads use this override.",
     .required = true,
     .members = namespace_selector},
    provider_path(false),
    provider_variables(false),
    provider_vault,
    provider_login,
}};
constexpr std::array<Field, 5> key_probe = {{
    {.name = "enabled", .type = boolean, .doc = "Whether the operator tests keys.", .fallback = "false"},
    {.name = "blockRollouts",
     .type = boolean,
     .doc = "Whether workloads get a new version of the key only after the provider accepted it in a test. "
            "For a rejected version the operator restarts no workload and leaves the earlier key in "
            "published Secrets.",
     .fallback = "true"},
    {.name = "baseURL",
     .doc = "Base URL of the provider's API. Defaults to the value of baseURLKey.",
     .pattern = R"(^https://[A-Za-z0-9.:_\[\]-]+(/[A-Za-z0-9._~-]+)*/?$)",
     .expected = "an https:// URL without a query, such as https://api.holysheep.ai/v1"},
    {.name = "baseURLKey",
     .doc = "Field of the secret that contains the base URL of the provider's API.",
     .fallback = R"("base_url")",
     .pattern = secret_key,
     .expected = "a field of the secret, such as base_url",
     .max_length = 256},
    {.name = "interval",
     .type = duration,
     .doc = "How often the operator tests a key.",
     .fallback = R"("10m")",
     .pattern = duration_text,
     .expected = duration_expected},
}};
constexpr Field delivery_secret = {
    .name = "secret",
    .type = boolean,
    .doc =
        "Whether the operator publishes the variables as a Secret, for workloads with the wiring secret. The "
        "Secret of an AIProvider is keyshepherd-<name> in its namespace. The Secret of a ClusterAIProvider "
        "is keyshepherd-<name>.cluster in each namespace with a workload that uses it. Requires "
        "connectionRef.",
    .fallback = "false"};
constexpr std::array<Field, 1> delivery = {{delivery_secret}};
constexpr std::array<Field, 2> cluster_delivery = {{
    delivery_secret,
    {.name = "namespaceSelector",
     .type = object,
     .doc = "Namespaces in which the operator may publish the Secret. Defaults to all namespaces with a "
            "workload that uses it. In other namespaces the webhook rejects the wiring secret, and the "
            "operator deletes a Secret that it published before.",
     .members = namespace_selector},
}};
constexpr Field provider_probe = {.name = "keyProbe",
                                  .type = object,
                                  .doc =
                                      "Test of the key: the operator sends GET /models to the base URL with "
                                      "the key. The installation must allow the host (--probe-host).",
                                  .members = key_probe};
constexpr Field provider_delivery(std::span<const Field> members) {
    return {.name = "delivery",
            .type = object,
            .doc = "How to deliver the key to workloads without an agent.",
            .members = members};
}

// Another connection is only another way to see the same key: it may change.
constexpr Field provider_connection(std::span<const Field> ref) {
    return {.name = "connectionRef",
            .type = object,
            .doc =
                "VaultConnection that the operator uses to read the version of the key. When the version "
                "changes, the operator restarts the workloads that use the provider. The grants of the "
                "connection must allow the paths. If not set, the operator does not watch the key.",
            .members = ref};
}
constexpr std::array<Field, 2> cluster_connection_ref = {{
    connection_ref[0],
    {.name = "namespace",
     .doc =
         "Namespace of the VaultConnection. The connection's grant for this namespace must allow the paths.",
     .pattern = dns_label,
     .expected = namespace_expected,
     .max_length = longest_dns_label,
     .required = true},
}};
constexpr Field provider_resync = {.name = "resyncPeriod",
                                   .type = duration,
                                   .doc =
                                       "How often the operator reads the version of the key. At least 10s. "
                                       "The operator shortens each period at random by up to 20 percent.",
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
     .doc = "Replace path, variables, vault or auth for workloads in the selected namespaces. An override "
            "replaces each of these fields completely. Only the first override that matches a namespace "
            "applies.",
     .max = 32,
     .members = provider_override},
    provider_connection(cluster_connection_ref),
    provider_resync,
    provider_probe,
    provider_delivery(cluster_delivery),
}};
constexpr Rule unique_variables = {"self.variables.all(v, self.variables.exists_one(w, w.name == v.name))",
                                   "variables: names must be unique"};
constexpr std::array<Rule, 1> provider_rules = {unique_variables};
constexpr std::array<Rule, 7> cluster_provider_rules = {{
    unique_variables,
    {"!has(self.overrides) || self.overrides.all(o, !has(o.variables) || "
     "o.variables.all(v, o.variables.exists_one(w, w.name == v.name)))",
     "overrides: names must be unique among the variables of an override"},
    {"!has(self.overrides) || self.overrides.all(o, has(o.path) || has(o.variables) || has(o.vault) || "
     "has(o.auth))",
     "overrides: each override must set at least one of path, variables, vault and auth"},
    {"!has(self.overrides) || self.overrides.all(o, (has(o.namespaceSelector.matchLabels) && "
     "o.namespaceSelector.matchLabels.size() > 0) || (has(o.namespaceSelector.matchExpressions) && "
     "o.namespaceSelector.matchExpressions.size() > 0))",
     "overrides: namespaceSelector must not be empty; to change all namespaces, change the provider itself"},
    {"!has(self.overrides) || self.overrides.all(o, !has(o.namespaceSelector.matchExpressions) || "
     "o.namespaceSelector.matchExpressions.all(e, (e.operator in ['In', 'NotIn']) == (has(e.values) && "
     "e.values.size() > 0)))",
     "overrides: In and NotIn require values; Exists and DoesNotExist do not allow values"},
    {"!has(self.delivery) || !has(self.delivery.namespaceSelector) || "
     "(has(self.delivery.namespaceSelector.matchLabels) && "
     "self.delivery.namespaceSelector.matchLabels.size() > 0) || "
     "(has(self.delivery.namespaceSelector.matchExpressions) && "
     "self.delivery.namespaceSelector.matchExpressions.size() > 0)",
     "delivery: namespaceSelector must not be empty; remove it to select all namespaces"},
    {"!has(self.delivery) || !has(self.delivery.namespaceSelector) || "
     "!has(self.delivery.namespaceSelector.matchExpressions) || "
     "self.delivery.namespaceSelector.matchExpressions.all(e, (e.operator in ['In', 'NotIn']) == "
     "(has(e.values) && e.values.size() > 0))",
     "delivery: In and NotIn require values; Exists and DoesNotExist do not allow values"},
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
    {"vaultClusterOf", "Address and Vault namespace of the server to which vaultClusterID belongs."},
    {"claim", "Vault server and path of the object that this resource created or adopted."},
    {"roleID", "Role-id of the role in Vault."},
    {"cutOffEntity", "Vault identity entity that the operator disabled because of keyshepherd.dev/cut-off."},
    {"accessor", "Accessor of the current secret-id."},
    {"issuedAt", "When the current secret-id was issued."},
    {"expiresAt", "When the current secret-id expires."},
    {"nextRotation", "When the operator replaces the current secret-id."},
    {"previousAccessor", "Accessor of the replaced secret-id, until the operator destroys it."},
    {"rotatedAt", "Time of the last rotation."},
    {"rollout", "Progress of the restart of rolloutRestartTargets after the last rotation."},
    {"overlapUntil", "Time until which the replaced secret-id stays valid."},
    {"rotatedFor", "Value of keyshepherd.dev/rotate-now at the last rotation that it triggered."},
    {"secretUID", "UID of the Secret that the operator created."},
    {"connection", "VaultConnection that issued the secret-id, as namespace/name."},
    {"vaultPath", "Path in Vault of the secret-id's role."},
    {"revokeTokens",
     "Whether the operator revokes the tokens of a secret-id when it destroys the secret-id."},
    {"seal",
     "HMAC of the fields above. The operator ignores fields that it did not write itself for this resource "
     "in this cluster."},
    {"keyVersion", "Version of the key in Vault."},
    {"users", "Number of workloads that use the provider."},
    {"stale", "Number of workloads that still have an earlier version of the key."},
    {"skipped", "Number of workloads that the operator does not restart for a new version."},
    {"refusedKeyVersion",
     "Version of the key that the provider rejected. The operator does not restart workloads for it."},
}};

// ---- annotations

constexpr std::array<Annotation, 5> all_annotations = {{
    {paused_annotation, "every kind except VaultConnection",
     "`\"true\"`: the operator does not change the object in Vault, and `apply` skips a VaultSecretID. The "
     "condition Ready is Unknown with the reason Paused. The operator still handles a deletion of the "
     "resource and `keyshepherd.dev/cut-off`."},
    {reconcile_annotation, "every kind",
     "Any new value: the operator compares the resource with Vault immediately, without waiting for "
     "`resyncPeriod`."},
    {rotate_annotation, "VaultSecretID", "Any new value: the operator replaces the secret-id immediately."},
    {cut_off_annotation, "VaultAppRole",
     "`\"true\"`: the operator blocks all logins and all tokens of the role, destroys its secret-ids and "
     "revokes its tokens. Requires the right revokeTokens in the connection's grants, and the Vault policy "
     "that `plan --policy-for-operator` prints for a role with `revokeTokens`."},
    {acknowledge_annotation, "VaultConnection",
     "The `cluster_id` of a Vault that replaced another Vault at the same address. Until this annotation has "
     "that value, the operator neither logs in nor writes to the new Vault, and Ready is False with the "
     "reason VaultReplaced. The message of the condition contains the value."},
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
    {.id = KindId::vault_connection,
     .name = "VaultConnection",
     .plural = "vaultconnections",
     .short_name = "vconn",
     .doc = "Address of a Vault or OpenBao server, the operator's login, and the namespaces that may use "
            "both. Anyone who can create a VaultConnection, or a pod in its namespace, can obtain the "
            "operator's rights in Vault. Therefore keep VaultConnections in a platform namespace, separate "
            "from applications.",
     .spec = connection_spec,
     .columns = connection_columns,
     .rules = connection_rules,
     .facts = connection_facts},
    {.id = KindId::vault_mount,
     .name = "VaultMount",
     .plural = "vaultmounts",
     .short_name = "vmount",
     .doc = "A secrets engine or an auth method.",
     .spec = mount_spec,
     .columns = mount_columns,
     .rules = mount_rules,
     .parameters = mount_parameters,
     .facts = object_facts},
    {.id = KindId::vault_policy,
     .name = "VaultPolicy",
     .plural = "vaultpolicies",
     .short_name = "vpolicy",
     .doc = "An ACL policy.",
     .spec = policy_spec,
     .columns = policy_columns,
     .rules = policy_rules,
     .parameters = policy_parameters,
     .facts = object_facts},
    {.id = KindId::vault_approle,
     .name = "VaultAppRole",
     .plural = "vaultapproles",
     .short_name = "vapprole",
     .doc = "A role of the AppRole auth method.",
     .spec = approle_spec,
     .columns = role_columns,
     .rules = approle_rules,
     .parameters = approle_parameters,
     .facts = approle_facts},
    {.id = KindId::vault_kubernetes_role,
     .name = "VaultKubernetesRole",
     .plural = "vaultkubernetesroles",
     .short_name = "vk8srole",
     .doc = "A role of the Kubernetes auth method.",
     .spec = kubernetes_spec,
     .columns = role_columns,
     .parameters = kubernetes_parameters,
     .facts = object_facts},
    {.id = KindId::vault_secret_id,
     .name = "VaultSecretID",
     .plural = "vaultsecretids",
     .short_name = "vsecretid",
     .doc = "A secret-id of a VaultAppRole. The operator issues it, publishes it as a Secret, rotates it, "
            "and destroys it.",
     .spec = secret_id_spec,
     .columns = secret_id_columns,
     .rules = secret_id_rules,
     .parameters = secret_id_parameters,
     .facts = secret_id_facts},
    {.id = KindId::ai_provider,
     .name = "AIProvider",
     .plural = "aiproviders",
     .short_name = "aip",
     .doc = "Location of an AI provider's key in Vault, for the workloads of one namespace. If a "
            "ClusterAIProvider or the built-in provider has the same name, the operator ignores the "
            "AIProvider unless the installation sets --allow-provider-shadowing.",
     .spec = provider_spec,
     .columns = provider_columns,
     .rules = provider_rules,
     .counts = provider_counts,
     .named_in_annotation = true,
     .in_vault = false},
    {.id = KindId::cluster_ai_provider,
     .name = "ClusterAIProvider",
     .plural = "clusteraiproviders",
     .short_name = "caip",
     .doc = "Location of an AI provider's key in Vault, for the workloads of all namespaces. It replaces the "
            "built-in provider of the same name.",
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

const Kind& kind_of(KindId id) {
    static_assert(std::ranges::equal(all, std::views::iota(std::size_t{0}, all.size()), {},
                                     [](const Kind& kind) { return static_cast<std::size_t>(kind.id); }));
    return all[static_cast<std::size_t>(id)];
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
