"""What equals what in Vault: every parameter that the server has, and every spelling that it accepts, by `plan` and `apply` against a
real server."""

import base64
import json
import os
import subprocess

import pytest
import rig
import yaml

# The request that writes the object of each kind, as the server's own description names it (sys/internal/specs/openapi).
WRITES = {
    "VaultMount": ["/sys/mounts/{path}", "/sys/mounts/{path}/tune", "/sys/auth/{path}", "/sys/auth/{path}/tune"],
    "VaultPolicy": ["/sys/policies/acl/{name}"],
    "VaultAppRole": ["/auth/{approle_mount_path}/role/{role_name}"],
    "VaultKubernetesRole": ["/auth/{kubernetes_mount_path}/role/{name}"],
    "VaultSecretID": ["/auth/{approle_mount_path}/role/{role_name}/custom-secret-id"],
}
HCL = 'path "ai-apis/data/x" {\n  capabilities = ["read"]\n}\n'


@pytest.fixture(scope="module")
def server(tools, certificates, tmp_path_factory):
    bao = rig.Bao(tmp_path_factory.mktemp("bao"), tools, certificates)
    bao.root.sys.enable_auth_method("approle")
    bao.root.sys.enable_auth_method("kubernetes")
    yield bao
    bao.stop()


@pytest.fixture
def call(server, tmp_path):
    """call("plan", resource…): the command as root, with no grants. Gives the rows of its report by resource."""
    token = tmp_path / "token"
    token.write_text(server.root_token)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("VAULT_", "BAO_", "KEYSHEPHERD_"))} | {"HOME": str(tmp_path)}

    def run(command, *resources):
        done = subprocess.run(
            [*rig.keyshepherd(), command, "-f", "-", "--without-grants", "--vault-address", server.address, "--vault-token-file", token,
             "--vault-ca-file", server.certificates.ca, "-o", "json"],
            input=yaml.safe_dump_all(resources), capture_output=True, text=True, timeout=60, env=clean)
        assert done.stdout, done.stderr
        return [row for row in json.loads(done.stdout)["resources"]]

    return run


def stored(server, path):
    return server.root.read(path)["data"]


def of(kind, **spec):
    return rig.custom(kind, "ai", "x", **spec)


def role(**spec):
    return of("VaultAppRole", name="x", **spec)


def kubernetes_role(**spec):
    return of("VaultKubernetesRole", name="x", boundServiceAccountNames=["a"], **spec)


def reference():
    """Kind → parameter of Vault's API → how it is handled, out of the generated page."""
    page = subprocess.run([*rig.keyshepherd(), "generate", "reference"], capture_output=True, text=True, check=True).stdout
    found = {}
    for section in page.split("\n## ")[1:]:
        kind, _, rest = section.partition("\n")
        table = rest.partition("| Vault API parameter |")[2]
        rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| `")]
        found[kind] = {row[0]: (row[1], row[2]) for row in rows}
    return found


@pytest.fixture(scope="module")
def described(server):
    """Kind → the parameters that the server's own description names."""
    spec = server.root.read("sys/internal/specs/openapi?generic_mount_paths=true")

    def schema(path):
        write = spec["paths"][path]["post"]
        # Vault loses the reference of a plugin outside its program; the name is made of the operation's.
        reference = write["requestBody"]["content"]["application/json"]["schema"].get("$ref")
        return reference.rsplit("/", 1)[-1] if reference else write["operationId"].title().replace("-", "") + "Request"

    return {kind: {name for path in paths for name in spec["components"]["schemas"][schema(path)]["properties"]}
            for kind, paths in WRITES.items()}


@pytest.mark.parametrize("kind", WRITES)
def test_every_parameter_of_the_server_is_managed_kept_unset_or_ignored_for_a_reason(server, described, kind):
    parameters = described[kind]
    known = reference()[kind]
    assert len(parameters) >= (6 if server.is_openbao or kind != "VaultPolicy" else 1)
    assert parameters - set(known) == set(), "say in the tables of kind.cpp what is done about them"
    for name, (handling, text) in known.items():
        assert handling in ("managed", "kept unset", "ignored") and text, name


# Each parameter that is managed or kept unset, set by hand to a value that the resource does not have.
BY_HAND = {
    "VaultAppRole": ("auth/approle/role/x", role(), {
        "bind_secret_id": False, "secret_id_bound_cidrs": ["10.0.0.0/8"], "secret_id_num_uses": 3, "secret_id_ttl": "1h", "token_ttl": "1h",
        "token_max_ttl": "2h", "token_explicit_max_ttl": "3h", "token_period": "4h", "token_policies": ["other"],
        "token_bound_cidrs": ["10.0.0.1"], "token_no_default_policy": True, "token_num_uses": 4, "token_type": "batch",
        "token_strictly_bind_ip": True, "bound_cidr_list": ["10.0.0.0/8"], "period": "1h", "policies": ["other"]}),
    "VaultKubernetesRole": ("auth/kubernetes/role/x", kubernetes_role(), {
        "bound_service_account_names": ["b"], "bound_service_account_namespaces": ["b"], "audience": "other",
        "alias_name_source": "serviceaccount_name", "bound_service_account_namespace_selector": '{"matchLabels":{"a":"b"}}',
        "token_ttl": "1h", "token_max_ttl": "2h", "token_explicit_max_ttl": "3h", "token_period": "4h", "token_policies": ["other"],
        "token_bound_cidrs": ["10.0.0.1"], "token_no_default_policy": True, "token_num_uses": 4, "token_type": "batch",
        "token_strictly_bind_ip": True, "bound_cidrs": ["10.0.0.1"], "max_ttl": "1h", "num_uses": 1, "period": "1h", "policies": ["other"],
        "ttl": "1h"}),
    "VaultPolicy": ("sys/policies/acl/x", of("VaultPolicy", name="x", hcl=HCL), {
        "policy": 'path "a" { capabilities = ["sudo"] }', "expiration": "2999-01-01T00:00:00Z", "ttl": "1h",
        "allow_slashes_in_identity_templates": True, "allow_wildcards_in_identity_templates": True}),
    "VaultMount": ("sys/auth/hand/tune", of("VaultMount", path="hand", engine="Auth", type="approle",
                                          config={"userLockoutConfig": {"threshold": 7}}), {
        "description": "by hand", "default_lease_ttl": "1h", "max_lease_ttl": "2h", "listing_visibility": "unauth", "token_type": "batch",
        "passthrough_request_headers": ["X-A"], "allowed_response_headers": ["X-B"], "audit_non_hmac_request_keys": ["password"],
        "audit_non_hmac_response_keys": ["token"], "user_lockout_config": {"lockout_disable": True}}),
}
# What the server asks for beside a value.
WITH_POLICY = {"policy": HCL}
BESIDE = {"bind_secret_id": {"secret_id_bound_cidrs": ["10.0.0.0/8"]}, "expiration": WITH_POLICY, "ttl": WITH_POLICY,
          "allow_slashes_in_identity_templates": WITH_POLICY, "allow_wildcards_in_identity_templates": WITH_POLICY}
# Deprecated names of others: the server takes them only while the newer name was never set.
DEPRECATED = {"bound_cidr_list", "period", "policies", "bound_cidrs", "max_ttl", "num_uses"}
NEW_KUBERNETES_ROLE = {"bound_service_account_names": ["a"], "bound_service_account_namespaces": ["ai"], "audience": "vault"}
# Managed, and tried by tests of their own or not to be set in an object that is there.
TRIED_ELSEWHERE = {"local_secret_ids", "role_id", "type", "config", "cas", "options", "local", "lockout_threshold", "lockout_duration",
                   "lockout_counter_reset_duration", "lockout_disable"}
NOT_IN_OPENBAO = {"alias_metadata"}
# HashiCorp Vault 1.21 answers a request with one of them with success, and does nothing about it.
ONLY_OPENBAO = {("VaultAppRole", "token_strictly_bind_ip"), ("VaultKubernetesRole", "token_strictly_bind_ip"),
                *(("VaultPolicy", name) for name in BESIDE if name != "bind_secret_id")}


@pytest.mark.parametrize(("kind", "parameter"), [(kind, name) for kind, (_, _, values) in BY_HAND.items() for name in values])
def test_a_value_that_somebody_sets_by_hand_is_a_difference_and_repaired(server, described, call, kind, parameter):
    path, made, values = BY_HAND[kind]
    ignores = not server.is_openbao and (kind, parameter) in ONLY_OPENBAO
    assert (parameter in described[kind]) is not ignores
    assert call("apply", made)[0]["verdict"] in ("created", "in sync")
    body = {parameter: values[parameter]} | BESIDE.get(parameter, {})
    if parameter in DEPRECATED or (kind, parameter) == ("VaultKubernetesRole", "ttl"):
        server.root.delete(path)
        body |= NEW_KUBERNETES_ROLE if kind == "VaultKubernetesRole" else {}
    server.root.write_data(path, data=body)
    planned = call("plan", made)[0]
    if ignores:
        assert planned["verdict"] == "in sync" and parameter not in stored(server, path), (parameter, planned)
        return
    assert planned["verdict"] == "to update", (parameter, planned)
    assert call("apply", made)[0]["verdict"] == "updated"
    assert call("plan", made)[0]["verdict"] == "in sync", "repaired"


def test_every_parameter_that_is_not_ignored_is_tried_by_hand():
    for kind, (_, _, values) in BY_HAND.items():
        handled = {name for name, (handling, _) in reference()[kind].items() if handling != "ignored"}
        assert handled - set(values) - TRIED_ELSEWHERE - NOT_IN_OPENBAO == set(), kind


@pytest.mark.parametrize("made", [role(tokenStrictlyBindIP=True), kubernetes_role(tokenStrictlyBindIP=True)], ids=["approle", "kubernetes"])
def test_a_parameter_that_the_server_would_ignore_is_refused_before_anything_is_written(server, call, made):
    path = f"auth/{'approle' if made['kind'] == 'VaultAppRole' else 'kubernetes'}/role/x"
    server.root.delete(path)
    since = len(server.audit())
    rows = [call(command, made)[0] for command in ("plan", "apply", "apply")]
    if server.is_openbao:
        assert [row["verdict"] for row in rows] == ["to create", "created", "in sync"], rows
        assert stored(server, path)["token_strictly_bind_ip"] is True
        return
    refused = "spec.tokenStrictlyBindIP: must be false or not set: this server does not support token_strictly_bind_ip and would ignore it"
    assert {(row["verdict"], row["reason"], row["message"]) for row in rows} == {("refused", "VaultRefuses", refused)}, rows
    server.root.write_data(path, data={"bound_service_account_names": ["a"], "bound_service_account_namespaces": ["ai"], "audience": "vault"}
                           if "kubernetes" in path else {})
    row = call("apply", made | {"spec": made["spec"] | {"adoptionPolicy": "Adopt"}})[0]
    assert (row["verdict"], row["message"]) == ("refused", refused), "a role that is there shows it by itself"
    writes = [e for e in server.audit()[since:] if e["type"] == "request" and e["request"]["operation"] in ("create", "update")]
    assert len(writes) == 1, "the role that was made by hand"


NETWORKS = ["10.0.0.1", "10.0.0.1/32", "10.1.2.3/16", "0.0.0.0/0", "fd00::1", "fd00::1/128", "FD00:10::/64", "fd00:10:0:0::/64",
            "fd00:10::5/64", "::ffff:10.0.0.1", "::ffff:10.0.0.1/128", "::ffff:10.0.0.0/104", "::ffff:a00:1/128", "0:0:0:0:0:0:0:1/128", "::/0",
            "1:0:0:2:0:0:0:3/128", "0:1:2:3:4:5:6:7/128", "0:1::5/128", "::10.0.0.1/128"]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("field", ["secretIDBoundCIDRs", "tokenBoundCIDRs"])
def test_every_spelling_of_a_network_comes_to_rest(server, call, field, network):
    made = role(**{field: [network]})
    server.root.delete("auth/approle/role/x")
    assert call("apply", made)[0]["verdict"] == "created"
    assert call("plan", made)[0]["verdict"] == "in sync", stored(server, "auth/approle/role/x")
    [kept] = stored(server, "auth/approle/role/x")["secret_id_bound_cidrs" if field.startswith("secret") else "token_bound_cidrs"]
    assert ":::" not in kept and not kept.startswith(":1") and '"' not in kept, "what the server has stored is a network"


def test_what_is_no_network_is_refused_before_it_leaves(server, call):
    """Vault answers 204 to 010.0.0.1/32 for a token, and stores a text that no address is in."""
    for network in ("010.0.0.1/32", "10.0.0.1/032", "10.0.0.1/33", "1", "fd00::/129", "::1::", "10.0.0.256"):
        done = subprocess.run([*rig.keyshepherd(), "plan", "-f", "-", "--without-grants", "--vault-address", server.address], text=True,
                              input=yaml.safe_dump(role(tokenBoundCIDRs=[network])), capture_output=True)
        assert done.returncode == 1 and "spec.tokenBoundCIDRs[0]: must be an" in done.stderr and "CIDR block" in done.stderr, (network, done.stderr)


@pytest.mark.parametrize("text", [HCL, base64.b64encode(HCL.encode()).decode(), base64.encodebytes(HCL.encode() * 4).decode(), " " + HCL,
                                  HCL.replace("\n", "\r\n"), HCL.strip()], ids=["plain", "base64", "lines", "space", "crlf", "bare"])
def test_every_spelling_of_a_policy_comes_to_rest(server, call, text):
    made = of("VaultPolicy", name="x", hcl=text)
    server.root.delete("sys/policies/acl/x")
    assert call("apply", made)[0]["verdict"] == "created"
    assert "capabilities" in stored(server, "sys/policies/acl/x")["policy"]
    assert call("plan", made)[0]["verdict"] == "in sync"


@pytest.mark.parametrize(("given", "options"), [
    ({"type": "kv-v2"}, {"version": "2"}), ({"type": "kv-v1"}, {"version": "1"}), ({"type": "kv", "options": {"version": "2"}}, {"version": "2"}),
    ({"type": "kv"}, {}), ({"type": "kv", "options": {"version": "1"}}, {"version": "1"}),
    ({"type": "kv-v2", "options": {"version": "2"}}, {"version": "2"})], ids=str)
def test_every_spelling_of_a_kv_engine_comes_to_rest(server, call, given, options):
    server.root.delete("sys/mounts/spelled")
    made = of("VaultMount", path="spelled", deletionPolicy="Delete", **given)
    assert call("apply", made)[0]["verdict"] == "created"
    assert stored(server, "sys/mounts")["spelled/"]["options"] == options
    again = call("plan", made)[0]
    assert again["verdict"] == "in sync", again
    if options.get("version") != "2":  # the same engine, which somebody made without a version
        server.root.delete("sys/mounts/spelled")
        server.root.write_data("sys/mounts/spelled", data={"type": "kv"})
        assert call("plan", made)[0]["verdict"] == "in sync"


def test_a_mount_of_another_type_stays_and_no_message_names_a_way_to_lose_it(server, call):
    server.root.write_data("sys/mounts/other", data={"type": "kv-v2"})
    for given, said in (({"type": "transit"}, "The mount was not changed"), ({"type": "kv-v1"}, "KV version 2"), ({"type": "kv-v2", "local": True}, "The object was not changed")):
        row = call("apply", of("VaultMount", path="other", **given))[0]
        assert row["verdict"] == "refused" and said in row["message"], row
        for word in ("disable", "delete", "remove", "destroy", "unmount"):
            assert word not in row["message"].lower(), row
    assert stored(server, "sys/mounts")["other/"]["options"] == {"version": "2"}


def test_what_vault_sets_only_at_creation_is_told_with_the_way_out(server, call):
    server.root.delete("auth/approle/role/x")
    server.root.write_data("auth/approle/role/x", data={"local_secret_ids": True})
    row = call("apply", role())[0]
    assert (row["verdict"], row.get("reason")) == ("refused", "FixedInVault") and "Set spec.localSecretIDs: true" in row["message"], row
    assert call("apply", role(localSecretIDs=True))[0]["verdict"] == "in sync"
    server.root.delete("auth/approle/role/x")
    assert call("apply", role(localSecretIDs=True))[0]["verdict"] == "created"
    assert stored(server, "auth/approle/role/x")["local_secret_ids"] is True
    assert call("apply", role(localSecretIDs=True, tokenTTL="1h"))[0]["verdict"] == "updated"


def test_a_policy_that_requires_check_and_set_is_repaired_and_goes_on_to_require_it(server, call):
    made = of("VaultPolicy", name="x", hcl=HCL)
    server.root.delete("sys/policies/acl/x")
    assert call("apply", made)[0]["verdict"] == "created"
    # HashiCorp Vault has neither versions of a policy nor a check-and-set for one.
    versioned = {"cas_required": True, "cas": stored(server, "sys/policies/acl/x")["version"]} if server.is_openbao else {}
    server.root.write_data("sys/policies/acl/x", data={"policy": 'path "a" { capabilities = ["sudo"] }'} | versioned)
    assert call("apply", made)[0]["verdict"] == "updated"
    held = stored(server, "sys/policies/acl/x")
    assert held["policy"] == HCL and held.get("cas_required") is (True if server.is_openbao else None)
    assert call("plan", made)[0]["verdict"] == "in sync"


def test_the_networks_of_a_secret_id_are_sent_as_vault_takes_them(server, tmp_path):
    token = tmp_path / "token"
    token.write_text(server.root_token)
    server.root.delete("auth/approle/role/x")
    # With networks of the role, Vault compares them with those of each secret-id, and refuses an address without a prefix length.
    allowed = ["10.0.0.0/8", "fd00:10::/64"]
    made = [role(secretIDBoundCIDRs=allowed), rig.custom("VaultSecretID", "ai", "s", appRoleRef={"name": "x"}, tokenBoundCIDRs=["fd00::1"],
                                                         cidrs=["10.0.0.1", "::ffff:10.0.0.2", "fd00:10:0:0::/64"])]
    command = [*rig.keyshepherd(), "apply", "-f", "-", "--without-grants", "--vault-address", server.address, "--vault-token-file", token,
               "--vault-ca-file", server.certificates.ca, "--secrets-dir", tmp_path / "secrets"]
    for _ in range(2):
        done = subprocess.run(command, input=yaml.safe_dump_all(made), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(server.root.list("auth/approle/role/x/secret-id")["data"]["keys"]) == 1, "it is not issued again"
