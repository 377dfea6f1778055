"""`keyshepherd plan` and `apply` on files, against a real OpenBao of the test's own and with no cluster at all."""

import datetime
import fcntl
import itertools
import json
import os
import resource as limits_of
import shutil
import subprocess
import time

import hvac
import pytest
import rig
import yaml

SAMPLES = rig.REPOSITORY / "manifests" / "samples"
SAMPLE = [*yaml.safe_load_all((SAMPLES / "connection.yaml").read_text()), *yaml.safe_load_all((SAMPLES / "holysheep.yaml").read_text())]
BY_HAND = """\
path "ai-apis/data/*" {
  capabilities = ["read", "list"]
}

path "ai-apis/creds/ai-prod-role" {
  capabilities = ["read"]
}
"""


@pytest.fixture(scope="module")
def empty_bao(tools, certificates, tmp_path_factory):
    bao = rig.Bao(tmp_path_factory.mktemp("bao"), tools, certificates)
    yield bao
    bao.stop()


@pytest.fixture(scope="module")
def hand_made(tools, certificates, tmp_path_factory):
    """A second server, set up by the commands of the user's article."""
    bao = rig.Bao(tmp_path_factory.mktemp("bao"), tools, certificates)
    root = bao.root
    root.sys.enable_secrets_engine("kv", path="ai-apis", options={"version": "2"})
    root.sys.create_or_update_policy("ai-api", BY_HAND)
    root.sys.enable_auth_method("approle")
    root.auth.approle.create_or_update_approle("ai-prod-role", token_ttl="1h", token_max_ttl="24h", token_policies=["ai-api"])
    yield bao
    bao.stop()


@pytest.fixture
def run(empty_bao, tmp_path):
    """run("plan", documents…): the command as root of the empty server. A VaultConnection goes to a file of --connections; without
    one the command runs with --without-grants, unless `grants` are the flags to give."""
    token = tmp_path / "token"
    token.write_text(empty_bao.root_token)

    def call(command, *documents, arguments=(), environment=(), address=empty_bao.address, token_file=token, grants=None):
        if grants is None:
            documents, grants = rig.with_connections(tmp_path, documents)
        arguments = [*grants, *arguments]
        text = yaml.safe_dump_all(documents)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("VAULT_", "BAO_", "KEYSHEPHERD_"))}
        clean |= {"HOME": str(tmp_path)}
        return subprocess.run(
            [*rig.keyshepherd(), command, "-f", "-", "--vault-address", address, "--vault-token-file", token_file,
             "--vault-ca-file", empty_bao.certificates.ca, *arguments],
            input=text, capture_output=True, text=True, timeout=60, env=clean | dict(environment))

    return call


def writes(bao, since=0):
    """Requests in the audit file that change something, without logins."""
    entries = bao.audit()[since:]
    return [e["request"]["operation"] + " " + e["request"]["path"] for e in entries
            if e["type"] == "request" and e["request"]["operation"] in ("create", "update", "delete", "patch")
            and "/login" not in e["request"]["path"]]


def resource(kind, name, spec, namespace="ai"):
    return {"apiVersion": "keyshepherd.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": namespace},
            "spec": {"connectionRef": {"name": "main"}} | spec}


def test_the_seed_as_files_equals_the_seed_by_hand(run, empty_bao, hand_made):
    sample = SAMPLE
    planned = run("plan", *sample)
    assert planned.returncode == 2, planned.stderr
    assert "4 to create" in planned.stdout and "sys/policies/acl/ai-api" in planned.stdout
    assert "ai-api" not in empty_bao.root.sys.list_policies()["data"]["policies"], "a plan changes nothing"

    applied = run("apply", *sample)
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert "4 created" in applied.stdout
    ours, theirs = empty_bao.root, hand_made.root
    assert ours.sys.read_policy("ai-api")["data"]["rules"] == BY_HAND == theirs.sys.read_policy("ai-api")["data"]["rules"]
    role = ours.auth.approle.read_role("ai-prod-role")["data"]
    assert role == theirs.auth.approle.read_role("ai-prod-role")["data"]
    mount, other = (b.sys.list_mounted_secrets_engines()["data"]["ai-apis/"] for b in (ours, theirs))
    same = ("type", "options", "config", "description", "local")
    assert {k: mount[k] for k in same} == {k: other[k] for k in same}

    again = run("plan", *sample)
    assert (again.returncode, again.stdout) == (0, "4 in sync, 0 to create, 0 to update\n"), again.stdout
    before = len(empty_bao.audit())
    assert run("apply", *sample).returncode == 0
    assert writes(empty_bao, before) == [], "what is equal is not written"


def test_a_hand_edit_is_shown_field_by_field_and_repaired(run, empty_bao):
    sample = SAMPLE
    assert run("apply", *sample).returncode == 0
    empty_bao.root.sys.create_or_update_policy("ai-api", BY_HAND.replace('"read", "list"', '"read", "list", "delete"'))
    empty_bao.root.auth.approle.create_or_update_approle("ai-prod-role", token_ttl="9h", token_policies=["ai-api", "more"])
    planned = run("plan", *sample)
    assert planned.returncode == 2
    assert '-  capabilities = ["read", "list", "delete"]' in planned.stdout
    assert '+  capabilities = ["read", "list"]' in planned.stdout
    assert "token_ttl: 32400 → 3600" in planned.stdout
    report = json.loads(run("plan", *sample, arguments=["-o", "json"]).stdout)
    assert report["summary"] == {"inSync": 2, "toCreate": 0, "toUpdate": 2, "refused": 0, "failed": 0}
    role = next(r for r in report["resources"] if r["resource"] == "VaultAppRole ai/ai-prod-role")
    assert {c["field"]: (c["before"], c["after"]) for c in role["changes"]} == {
        "token_ttl": (32400, 3600), "token_policies": (["ai-api", "more"], ["ai-api"])}
    assert run("apply", *sample).returncode == 0
    assert run("plan", *sample).returncode == 0


def test_spacing_is_no_difference(run, empty_bao):
    sample = SAMPLE
    assert run("apply", *sample).returncode == 0
    empty_bao.root.sys.create_or_update_policy("ai-api", BY_HAND.replace("\n", "\r\n").replace(" = ", "="))
    assert run("plan", *sample).returncode == 0


def test_what_a_tenant_may_not_do_leaves_no_write(run, empty_bao):
    """The escalation: a policy over everything, a role with it, the operator's own policy, `default`."""
    connection = {"apiVersion": "keyshepherd.dev/v1alpha1", "kind": "VaultConnection",
                  "metadata": {"name": "main", "namespace": "ai"},
                  "spec": {"address": empty_bao.address, "auth": {"token": {"secretName": "t"}},
                           "grants": [{"namespaces": ["ai"], "names": ["ai-*"], "mounts": ["approle"],
                                       "paths": ["*"], "policies": ["ai-*"]}]}}
    everything = {"rules": [{"path": "*", "capabilities": ["create", "update", "read", "delete", "list", "sudo"]}]}
    tries = [
        resource("VaultPolicy", "a", {"name": "ai-all"} | everything),
        resource("VaultPolicy", "b", {"name": "default", "rules": [{"path": "x", "capabilities": ["read"]}]}),
        resource("VaultPolicy", "c", {"name": "other-x", "rules": [{"path": "x", "capabilities": ["read"]}]}),
        resource("VaultPolicy", "d", {"name": "ai-d", "hcl": 'path "*" { capabilities = ["sudo"] }'}),
        resource("VaultPolicy", "e", {"name": "ai-e", "rules": [{"path": "sys/policies/acl/*", "capabilities": ["update"]}]}),
        resource("VaultPolicy", "f", {"name": "ai-f", "rules": [{"path": "+/policies/acl/ai-f", "capabilities": ["update"]}]}),
        resource("VaultAppRole", "g", {"name": "ai-g", "tokenPolicies": ["root"]}),
        resource("VaultAppRole", "h", {"name": "ai-h", "tokenPolicies": ["keyshepherd"]}),
        resource("VaultMount", "i", {"path": "secret", "type": "kv"}),
        resource("VaultAppRole", "j", {"name": "ai-j"}, namespace="other") | {},
    ]
    tries[-1]["spec"]["connectionRef"] = {"name": "main", "namespace": "ai"}
    before = len(empty_bao.audit())
    done = run("apply", connection, *tries, arguments=["-o", "json"])
    assert done.returncode == 1
    rows = json.loads(done.stdout)["resources"]
    assert len(rows) == len(tries) and {r["reason"] for r in rows} == {"NotGranted"}, done.stdout
    assert writes(empty_bao, before) == []


CONNECTION = {"apiVersion": rig.GROUP, "kind": "VaultConnection", "metadata": {"name": "main", "namespace": "ai"},
              "spec": {"address": "https://vault:8200", "auth": {"token": {"secretName": "t"}}}}


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_a_connection_that_is_not_given_is_an_error(run, empty_bao, tmp_path, command):
    """Whether for Vault or for `--policy-for-operator`, which asks no Vault."""
    policies = [resource("VaultPolicy", name, {"name": "default", "rules": [{"path": "*", "capabilities": ["sudo"]}]})
                for name in ("x", "z")]
    before = len(empty_bao.audit())
    for arguments in [[]] + [["--policy-for-operator"]] * (command == "plan"):
        alone = run(command, *policies, grants=[], arguments=arguments)
        assert (alone.returncode, alone.stdout) == (1, "")
        assert alone.stderr == (
            "error: VaultPolicy ai/x: spec.connectionRef: VaultConnection ai/main is not in the files of --connections, so its "
            "grants are unknown; add its file with --connections FILE, or set --without-grants to allow everything that your token allows\n")
    assert empty_bao.audit()[before:] == [], "nothing is asked"
    (tmp_path / "nothing.yaml").write_text(yaml.safe_dump(policies[0]))
    nothing = run(command, *policies, grants=["--connections", tmp_path / "nothing.yaml"])
    assert nothing.returncode == 1 and "no VaultConnection in the files of --connections: " in nothing.stderr
    both = run(command, *policies, grants=["--connections", tmp_path / "nothing.yaml", "--without-grants"])
    assert both.returncode == 1 and "excludes" in both.stderr, both.stderr


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_no_file_brings_its_own_grants(run, empty_bao, tmp_path, command):
    """A contributor's file with a VaultConnection that grants everything, beside the installation's own."""
    wide = CONNECTION | {"spec": CONNECTION["spec"] | {"grants": [{"namespaces": ["*"], "names": ["*"], "paths": ["*"]}]}}
    policy = resource("VaultPolicy", "x", {"name": "ai-own", "rules": [{"path": "a", "capabilities": ["read"]}]})
    given = tmp_path / "given.yaml"
    given.write_text(yaml.safe_dump(CONNECTION))
    before = len(empty_bao.audit())
    for grants in (["--connections", given], ["--without-grants"], []):
        done = run(command, wide, policy, grants=grants)
        assert (done.returncode, done.stdout) == (1, "")
        words = "differs from the VaultConnection of the same name in --connections" if given in grants else "VaultConnections are read only from the files that --connections names"
        assert f"error: stdin line 1: VaultConnection ai/main: {words}" in done.stderr
    assert empty_bao.audit()[before:] == []
    same = run(command, CONNECTION, policy, grants=["--connections", given])
    assert "ai-own is not granted to namespace ai by VaultConnection ai/main; allowed: ai.*" in same.stdout, same.stdout + same.stderr
    stdin = run(command, CONNECTION, policy, grants=["--connections", "-"])
    assert stdin.returncode == 1 and "only one of them can read standard input" in stdin.stderr


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_namespace_bounds_whose_grants_a_file_gets(run, empty_bao, tmp_path, command):
    """A contributor's file that names the namespace of another team would have that team's grants."""
    connection = CONNECTION | {"spec": CONNECTION["spec"] | {"grants": [{"namespaces": ["*"]}]}}
    given = tmp_path / "given.yaml"
    given.write_text(yaml.safe_dump(connection))
    spec = {"connectionRef": {"name": "main", "namespace": "ai"}, "rules": [{"path": "a", "capabilities": ["deny"]}]}
    own = {"apiVersion": rig.GROUP, "kind": "VaultPolicy", "metadata": {"name": "p"}, "spec": spec | {"name": "team-a.p"}}
    other = own | {"metadata": {"name": "p", "namespace": "team-b"}, "spec": spec | {"name": "team-b.p"}}
    before = len(empty_bao.audit())
    done = run(command, own, other, arguments=["-n", "team-a"], grants=["--connections", given])
    assert (done.returncode, done.stdout) == (1, "")
    assert "VaultPolicy team-b/p: not in the namespace team-a of --namespace" in done.stderr
    assert empty_bao.audit()[before:] == []
    alone = run(command, own, arguments=["-n", "team-a"], grants=["--connections", given])
    assert alone.returncode == (2 if command == "plan" else 0), alone.stderr


def test_what_is_reserved_is_refused_with_grants_and_without(run, empty_bao, tmp_path):
    """`apply` once overwrote `default` and the operator's own policy, and ended with 0."""
    root = empty_bao.root
    root.sys.create_or_update_policy("keyshepherd-operator", 'path "*" { capabilities = ["create", "read", "update", "sudo"] }')
    login = tmp_path / "login"
    login.write_text(root.auth.token.create(policies=["keyshepherd-operator"])["auth"]["client_token"])
    kept = {name: root.sys.read_policy(name)["data"]["rules"] for name in ("default", "keyshepherd-operator")}
    rules = {"rules": [{"path": "x", "capabilities": ["read"]}]}
    tries = [resource("VaultPolicy", name, {"name": name} | rules) for name in ("root", "default", "default-ceiling", "keyshepherd-operator")]
    tries += [resource("VaultAppRole", f"role-{name.lower()}", {"name": f"r-{name.lower()}", "tokenPolicies": [name]})
              for name in ("root", "Default-Ceiling", "Keyshepherd-Operator")]
    tries += [resource("VaultMount", "auth", {"path": "token", "engine": "Auth", "type": "approle"}),
              resource("VaultMount", "sys", {"path": "sys/x", "type": "kv"})]
    wide = CONNECTION | {"spec": CONNECTION["spec"] | {"grants": [{
        "namespaces": ["*"], "names": ["*"], "mounts": ["*"], "paths": ["*"], "policies": ["*"], "rights": ["adopt", "hcl"]}]}}
    for given in ([], [wide]):
        before = len(empty_bao.audit())
        done = run("apply", *given, *tries, token_file=login, arguments=["-o", "json"])
        assert done.returncode == 1
        rows = json.loads(done.stdout)["resources"]
        assert len(rows) == len(tries) and {r["reason"] for r in rows} == {"NotGranted"}, done.stdout
        assert sum("is reserved" in r["message"] for r in rows) == 7, done.stdout
        assert ("warning: --without-grants" in done.stderr) == (not given)
        assert writes(empty_bao, before) == []
    assert kept == {name: root.sys.read_policy(name)["data"]["rules"] for name in kept}
    harmless = resource("VaultPolicy", "x", {"name": "ai-told"} | rules)
    allowed = run("apply", harmless, token_file=login)
    assert allowed.returncode == 0 and "1 created" in allowed.stdout
    assert allowed.stderr == ("warning: --without-grants: the grants of VaultConnections are not checked. The resources may do everything that the "
                              "token allows, except change reserved policies and mounts\n")
    printed = run("plan", *tries[:4], harmless, arguments=["--policy-for-operator"])
    assert set(rig.policy_rules(printed.stdout)) & {f"sys/policies/acl/{t['spec']['name']}" for t in tries[:3]} == set()
    assert "warning: skipped VaultPolicy ai/root: spec.name: root is reserved" in printed.stderr


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_a_rule_that_covers_a_child_namespace_never_leaves(run, empty_bao, tmp_path, command):
    """On OpenBao 2.7 `ns1/*` wrote a policy and mounted an engine in the child namespace ns1. HashiCorp Vault has namespaces only with an
    Enterprise license; the resources are refused there as well."""
    root = empty_bao.root
    session = rig.session(empty_bao.certificates.ca)

    def ask(method, path, token=empty_bao.root_token, **body):
        return session.request(method, f"{empty_bao.address}/v1/{path}", headers={"X-Vault-Token": token}, json=body)

    if empty_bao.is_openbao:
        assert ask("POST", "sys/namespaces/ns1").status_code in (200, 204)
        root.sys.create_or_update_policy("covers-ns1", 'path "ns1/*" { capabilities = ["create", "update", "sudo"] }')
        token = root.auth.token.create(policies=["covers-ns1"])["auth"]["client_token"]
        assert ask("POST", "ns1/sys/policies/acl/evil", token, policy='path "*" { capabilities = ["sudo"] }').status_code == 204
    else:
        answer = ask("POST", "sys/namespaces/ns1")
        assert answer.status_code == 404 and answer.json()["errors"] == ["enterprise-only feature"]
    if "team/" not in root.sys.list_mounted_secrets_engines()["data"]:
        root.sys.enable_secrets_engine("kv", path="team", options={"version": "2"})
        if empty_bao.is_openbao:
            assert ask("POST", "sys/namespaces/team").status_code == 400, "where an engine is mounted there is no namespace"

    grants = [{"namespaces": ["ai"], "names": ["ai-*"], "paths": ["ns1/*", "ns1/+/x", "team/*", "new/*"], "mounts": ["new"]}]
    connection = CONNECTION | {"spec": CONNECTION["spec"] | {"grants": grants}}
    paths = ["ns1/*", "ns1/+/x", "ns1/s*", "ns1/sys/policies/acl/x", "ns1/auth/token/create", "ns1/kv/*", "ns1*", "team*", "+/*"]
    tries = [resource("VaultPolicy", f"p{i}", {"name": f"ai-{i}", "rules": [{"path": path, "capabilities": ["create", "update"]}]})
             for i, path in enumerate(paths)]
    before = len(empty_bao.audit())
    done = run(command, connection, *tries, arguments=["-o", "json"])
    rows = json.loads(done.stdout)["resources"]
    assert done.returncode == 1 and {(r["verdict"], r["reason"]) for r in rows} == {("refused", "NotGranted")}, done.stdout
    assert "ns1/* may match sys/ in a child namespace" in rows[0]["message"]
    assert "ns1/sys/policies/acl/x matches sys/ in a child namespace" in rows[3]["message"]
    asked = {e["request"]["path"] for e in empty_bao.audit()[before:]}
    assert asked == {"auth/token/lookup-self", "sys/mounts"}, asked

    good = [resource("VaultMount", "new", {"path": "new", "type": "kv", "adoptionPolicy": "Adopt"}),
            resource("VaultPolicy", "team", {"name": "ai-team", "rules": [
                {"path": path, "capabilities": ["read"]} for path in ("team/*", "team/data/+/auth/*", "new/*")]})]
    allowed = run(command, connection, *good)
    assert allowed.returncode in (0, 2) and "refused" not in allowed.stdout, allowed.stdout + allowed.stderr
    blind = root.auth.token.create(policies=["default"])["auth"]["client_token"]
    (tmp_path / "blind").write_text(blind)
    refused = run(command, connection, good[1], token_file=tmp_path / "blind")
    assert refused.returncode == 1 and "(sys/mounts: " in refused.stdout and "permission denied" in refused.stdout, refused.stdout


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_a_namespace_that_the_server_would_ignore_is_refused_before_a_login(run, empty_bao, command):
    """HashiCorp Vault without an Enterprise license answers for the root namespace, whatever X-Vault-Namespace says."""
    if empty_bao.is_openbao:
        empty_bao.root.write_data("sys/namespaces/apart", data={})
    made = resource("VaultPolicy", "p", {"name": "ai-apart", "rules": [{"path": "x", "capabilities": ["read"]}]})
    before = len(empty_bao.audit())
    # The root token is of the root namespace.
    done = run(command, made, arguments=["--vault-namespace", "apart"])
    asked = {(e["request"].get("namespace", {}).get("path", ""), e["request"]["path"]) for e in empty_bao.audit()[before:]}
    assert "ai-apart" not in empty_bao.root.sys.list_acl_policies()["data"]["keys"]
    if empty_bao.is_openbao:
        assert done.returncode == (2 if command == "plan" else 0) and ("apart/", "sys/policies/acl/ai-apart") in asked, done.stderr
    else:
        assert done.returncode == 1 and "does not support namespaces and would ignore apart" in done.stderr, done.stderr
        assert {path for _, path in asked} <= {"sys/health"}, asked


# ---- text of resources on its way out ------------------------------------------------------------------------------------

HOSTILE = ["a\npath \"*\" {\n  capabilities = [\"sudo\"]\n}\n#", "\x1b[2J\x1b]0;pwned\x07", "a\r\x08\x7f", "x\u202egnp.exe\u2066", "\u0085\u009b31m",
           'a" {} path "*', "a\u2028\u200b\ufeff", "$(touch /tmp/pwned)`id`;'\"", "${\"x\"}", "../../etc", "\U000e0041"]


def text_fields(schema, path=()):
    """Every path to a text in the schema of a CustomResourceDefinition; "*" stands for an element."""
    if schema.get("type") == "object":
        for name, member in schema.get("properties", {}).items():
            yield from text_fields(member, (*path, name))
        if isinstance(schema.get("additionalProperties"), dict):
            yield from text_fields(schema["additionalProperties"], (*path, "key"))
    elif schema.get("type") == "array":
        yield from text_fields(schema["items"], (*path, "*"))
    elif schema.get("type") == "string":
        yield path


def put(at, path, value):
    """`value` at the path, in objects and lists that are made on the way."""
    if not path:
        return value
    if path[0] == "*":
        return [put(None, path[1:], value)]
    return (at if isinstance(at, dict) else {}) | {path[0]: put((at or {}).get(path[0]), path[1:], value)}


SHORTEST = {
    "VaultConnection": CONNECTION["spec"], "VaultMount": {"path": "x", "type": "kv"},
    "VaultPolicy": {"name": "x", "rules": [{"path": "x", "capabilities": ["read"]}]}, "VaultAppRole": {"name": "x"},
    "VaultKubernetesRole": {"name": "x", "boundServiceAccountNames": ["x"]}, "VaultSecretID": {"appRoleRef": {"name": "x"}},
    "AIProvider": {"path": "x/y", "variables": [{"name": "A", "key": "a"}]},
    "ClusterAIProvider": {"path": "x/y", "variables": [{"name": "A", "key": "a"}]}}


def hostile_documents(value):
    """For every kind and each of its text fields, and its name and namespace: an object with the value there."""
    for definition in yaml.safe_load_all((rig.REPOSITORY / "manifests" / "crds.yaml").read_text()):
        kind = definition["spec"]["names"]["kind"]
        base = {"apiVersion": rig.GROUP, "kind": kind, "metadata": {"name": "x", "namespace": "ai"},
                "spec": SHORTEST[kind] if kind in ("VaultConnection", "VaultSecretID") else SHORTEST[kind] | {
                    "connectionRef": {"name": "main", "namespace": "ai"}}}
        spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        fields = [("metadata", "name"), ("metadata", "namespace"), ("kind",), ("spec", value)]
        for path in [*fields, *(("spec", *field) for field in text_fields(spec))]:
            yield kind, path, put(base, path, value)


def is_deceptive(character):
    code = ord(character)
    return (code < 0x20 and character not in "\n\t") or 0x7F <= code < 0xA0 or code in (0x61C, 0xFEFF) or any(
        low <= code <= high for low, high in ((0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F), (0xE0000, 0xE007F)))


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_of_a_resource_acts_on_a_terminal_or_becomes_code(run, tmp_path, value):
    """Each text field of the table of kinds, in one stream of documents, by every command that prints something of them. What the
    reader does not refuse is in a policy then, or in a row of the report."""
    made = list(hostile_documents(value))
    assert len(made) > 150 and {kind for kind, _, _ in made} == set(SHORTEST)
    documents = [document for _, _, document in made]
    alone = [document for kind, path, document in made if path[:1] == ("spec",) and kind.startswith("Vault") and kind != "VaultConnection"]
    for i, document in enumerate(alone):
        document["metadata"] = {"name": f"x{i}", "namespace": "ai"}
    outputs = []
    accepted = []
    for document in alone:  # a fault hides what others of the stream would print
        done = run("plan", document, arguments=["--policy-for-operator"], grants=["--without-grants"])
        outputs.append(done)
        if done.returncode == 0:
            accepted.append(document)
            rules = rig.policy_rules(done.stdout) if done.stdout else {}
            assert not any("*" == path or "sudo" in allowed and not path.startswith(("sys/auth/", "auth/token/accessors"))
                           for path, allowed in rules.items()), done.stdout
    outputs.append(run("plan", *documents, arguments=["--policy-for-operator"]))
    outputs += [run("plan", *accepted, arguments=arguments) for arguments in ([], ["-o", "json"]) if accepted]
    file = tmp_path / "providers.yaml"
    for kind, path, document in made:
        if kind.endswith("AIProvider") and path in (("metadata", "name"), ("metadata", "namespace"), ("spec", "path"), ("kind",)):
            file.write_text(yaml.safe_dump(document))
            outputs.append(subprocess.run(
                [*rig.keyshepherd(), "inject", "--providers", file, "-f", rig.REPOSITORY / "tests/support/seed-deployment.yaml"],
                capture_output=True, text=True, timeout=60))
    deployment = yaml.safe_load((rig.REPOSITORY / "tests/support/seed-deployment.yaml").read_text())
    for path in (("metadata", "name"), ("metadata", "namespace"), ("metadata", "annotations", "keyshepherd.dev/inject"),
                 ("metadata", "annotations", "keyshepherd.dev/containers"), ("metadata", "annotations", "keyshepherd.dev/env-X"),
                 ("metadata", "annotations", f"keyshepherd.dev/{value}")):
        (tmp_path / "deployment.yaml").write_text(yaml.safe_dump(put(deployment, path, value)))
        done = subprocess.run([*rig.keyshepherd(), "inject", "--diff", "-f", tmp_path / "deployment.yaml", "--image", "x"],
                              capture_output=True, text=True, timeout=60)
        done.stdout = "\n".join(line for line in done.stdout.splitlines() if line.startswith(("---", "+++")))  # the rest is the document
        outputs.append(done)
    for done in outputs:
        shown = done.stdout + done.stderr
        assert not any(map(is_deceptive, shown)), repr(shown)
        for line in done.stderr.splitlines():
            assert line.startswith(("error: ", "warning: ")), f"a line that is not ours: {line!r} of {done.stderr!r}"


def test_a_namespace_does_not_become_a_rule(run):
    """`plan --policy-for-operator` printed the rule, and README pipes its output into Vault."""
    policy = resource("VaultPolicy", "x", {"name": "ai-x", "rules": [{"path": "a", "capabilities": ["read"]}]},
                      namespace='a\npath "*" {\n  capabilities = ["sudo"]\n}\n#')
    other = resource("VaultPolicy", "z", {"name": "ai-z", "rules": [{"path": "a", "capabilities": ["read"]}]})
    done = run("plan", policy, other, arguments=["--policy-for-operator"])
    assert (done.returncode, done.stdout) == (1, "")
    assert "metadata.namespace: must be an RFC 1123 label" in done.stderr and done.stderr.count("\n") == 2, done.stderr


def test_adoption_keeps_its_word(run, empty_bao):
    empty_bao.root.sys.create_or_update_policy("ai-old", 'path "a" { capabilities = ["read"] }')
    spec = {"name": "ai-old", "rules": [{"path": "a", "capabilities": ["read"]}]}
    other = {"name": "ai-old", "rules": [{"path": "b", "capabilities": ["read"]}]}
    for policy, wanted, code, words in (("Fail", spec, 1, "adoptionPolicy: IfEqual"), ("Fail", other, 1, "adoptionPolicy: Adopt"),
                                        ("IfEqual", spec, 0, "1 in sync"), ("IfEqual", other, 1, "differs"),
                                        ("Adopt", other, 0, "1 updated")):
        done = run("apply", resource("VaultPolicy", "x", wanted | {"adoptionPolicy": policy}))
        assert done.returncode == code and words in done.stdout, (policy, done.stdout, done.stderr)


def test_faults_come_all_at_once_with_file_and_line(run):
    done = run("plan", resource("VaultPolicy", "x", {"name": "../up", "rules": [{"path": "/a", "capabilities": ["rd"]}]}),
               resource("VaultAppRole", "role", {"name": "r", "tokenTtl": "1h", "mount": "a/../b"}))
    assert done.returncode == 1
    for words in ("stdin line 1: VaultPolicy ai/x: spec.name", "spec.rules[0].path", "spec.rules[0].capabilities[0]",
                  "VaultAppRole ai/role: spec.tokenTtl: is unknown; did you mean tokenTTL?", "spec.mount"):
        assert words in done.stderr, done.stderr
    config_map = run("plan", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}})
    assert config_map.returncode == 1 and "no custom resource" in config_map.stderr


def test_an_unreadable_file_stops_the_plan_unless_it_is_skipped(run, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "policy.yaml").write_text(yaml.safe_dump(resource("VaultPolicy", "x", {"name": "skipping", "rules": [{"path": "a", "capabilities": ["read"]}]})))
    (folder / "chart.yaml").write_text("kind: {{ .Values.kind }}\n")
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    stopped = run("plan", other, arguments=["-f", folder])
    assert stopped.returncode == 1 and f"error: {folder}/chart.yaml line 1, column " in stopped.stderr
    assert "--skip-unreadable" in stopped.stderr and "`helm template`" in stopped.stderr
    done = run("plan", other, arguments=["-f", folder, "--skip-unreadable"])
    assert done.returncode == 2 and "1 to create" in done.stdout, done.stderr
    assert f"warning: {folder}/chart.yaml line 1, column " in done.stderr
    slash = run("plan", resource("VaultMount", "m", {"path": "ai-apis/", "type": "kv", "mountKind": "secret"}))
    assert "spec.path: must not end with '/'" in slash.stderr, slash.stderr


def test_a_missing_mount_a_denied_path_and_a_vault_that_is_away(run, empty_bao, tmp_path):
    role = resource("VaultAppRole", "x", {"name": "r", "mount": "nowhere"})
    missing = run("plan", role)
    assert missing.returncode == 1 and "auth/nowhere/role/r" in missing.stdout, missing.stdout
    small = tmp_path / "small"
    small.write_text(empty_bao.root.auth.token.create(policies=["default"])["auth"]["client_token"])
    denied = run("plan", resource("VaultPolicy", "p", {"name": "p", "rules": [{"path": "a", "capabilities": ["read"]}]}), token_file=small)
    assert denied.returncode == 1 and "sys/policies/acl/p" in denied.stdout and small.read_text() not in denied.stdout
    away = run("plan", role, address="http://127.0.0.1:1", arguments=["--timeout-seconds", "2"])
    assert away.returncode == 1 and "refused" in away.stderr, away.stderr
    nothing = run("plan", role, token_file=tmp_path / "none")
    assert nothing.returncode == 1 and "\nerror: login: cannot read the token file" in nothing.stderr, nothing.stderr


def test_hcl_that_vault_refuses_is_told_in_its_words(run):
    done = run("apply", resource("VaultPolicy", "x", {"name": "ai-bad", "hcl": 'path "a" { capabilities = [ }'}))
    assert done.returncode == 1 and "failed" in done.stdout and "parse" in done.stdout, done.stdout


def vault_says(bao, path, body):
    """The status and the text of Vault's own answer to a write."""
    answer = rig.session(bao.certificates.ca).post(f"{bao.address}/v1/{path}", json=body, headers={"X-Vault-Token": bao.root_token})
    return answer.status_code, answer.text


READ = [{"path": "a", "capabilities": ["read"]}]
# What a resource asks for, the field that plan names, and the write by which it is tried that Vault refuses it.
REFUSED = {
    "ttl": ("VaultAppRole", {"name": "w", "tokenTTL": "2h", "tokenMaxTTL": "1h"}, "spec.tokenTTL",
            "auth/approle/role/w", {"token_ttl": 7200, "token_max_ttl": 3600}),
    "batch-uses": ("VaultAppRole", {"name": "w", "tokenType": "batch", "tokenNumUses": 2}, "spec.tokenNumUses",
                   "auth/approle/role/w", {"token_type": "batch", "token_num_uses": 2}),
    "batch-period": ("VaultAppRole", {"name": "w", "tokenType": "default-batch", "tokenPeriod": "1h"}, "spec.tokenPeriod",
                     "auth/approle/role/w", {"token_type": "default-batch", "token_period": 3600}),
    "star": ("VaultKubernetesRole", {"name": "w", "mount": "kubernetes", "boundServiceAccountNames": ["*", "a"]},
             "spec.boundServiceAccountNames", "auth/kubernetes/role/w",
             {"bound_service_account_names": ["*", "a"], "bound_service_account_namespaces": ["ai"]}),
    "wrapping": ("VaultPolicy", {"name": "w", "rules": [{"path": "a", "capabilities": ["read"], "minWrappingTTL": "10m", "maxWrappingTTL": "1m"}]},
                 "spec.rules[0].minWrappingTTL", "sys/policies/acl/w",
                 {"policy": 'path "a" { capabilities = ["read"] min_wrapping_ttl = "10m" max_wrapping_ttl = "1m" }'}),
    "plus-star": ("VaultPolicy", {"name": "w", "rules": [{"path": "a/+*", "capabilities": ["read"]}]}, "spec.rules[0].path",
                  "sys/policies/acl/w", {"policy": 'path "a/+*" { capabilities = ["read"] }'}),
    "mount-below": ("VaultMount", {"path": "rules-kv/sub", "type": "kv"}, "spec.path", "sys/mounts/rules-kv/sub", {"type": "kv"}),
    "mount-above": ("VaultMount", {"path": "rules-deep", "type": "kv"}, "spec.path", "sys/mounts/rules-deep", {"type": "kv"}),
    "auth-below": ("VaultMount", {"path": "approle/sub", "engine": "Auth", "type": "approle"}, "spec.path", "sys/auth/approle/sub", {"type": "approle"}),
    "mount-own": ("VaultMount", {"path": "audit/x", "type": "kv"}, "spec.path", "sys/mounts/audit/x", {"type": "kv"}),
    "lease": ("VaultMount", {"path": "rules-q", "type": "kv", "config": {"defaultLeaseTTL": "2h", "maxLeaseTTL": "1h"}},
              "spec.config.defaultLeaseTTL", "sys/mounts/rules-q", {"type": "kv", "config": {"default_lease_ttl": 7200, "max_lease_ttl": 3600}}),
    "kv-version": ("VaultMount", {"path": "rules-q", "type": "kv", "options": {"version": "3"}}, "spec.options.version",
                   "sys/mounts/rules-q", {"type": "kv", "options": {"version": "3"}}),
}


@pytest.fixture(scope="module")
def mounted(empty_bao):
    root = empty_bao.root
    for method in {"approle", "kubernetes"} - {name.rstrip("/") for name in root.sys.list_auth_methods()["data"]}:
        root.sys.enable_auth_method(method)
    for path in ("rules-kv", "rules-deep/kv"):
        root.sys.enable_secrets_engine("kv", path=path)
    return empty_bao


@pytest.mark.parametrize("case", REFUSED)
def test_what_vault_is_known_to_refuse_is_refused_by_plan(run, mounted, case):
    kind, spec, field, path, body = REFUSED[case]
    before = len(mounted.audit())
    for command in ("plan", "apply"):
        done = run(command, resource(kind, "w", spec))
        assert done.returncode == 1 and ": refused" in done.stdout and f"VaultRefuses: {field}: must" in done.stdout, done.stdout + done.stderr
    assert writes(mounted, before) == [], "nothing is asked in vain"
    status, text = vault_says(mounted, path, body)
    assert status in (400, 500), f"Vault takes it: {status} {text}"


def test_a_secret_id_beyond_its_role_is_refused_by_plan(secret_ids, mounted):
    limits = {"secretIDTTL": "1h", "secretIDNumUses": 3, "secretIDBoundCIDRs": ["10.0.0.0/8"], "tokenBoundCIDRs": ["10.0.0.0/8"]}
    assert secret_ids.call("apply", role=limits, cidrs=["10.1.0.0/16"], numUses=2, ttl="30m").returncode == 0
    path = f"auth/approle/role/{secret_ids.role}/secret-id"
    for spec, field, body in (({"ttl": "2h"}, "spec.ttl", {"ttl": 7200}), ({"numUses": 4}, "spec.numUses", {"num_uses": 4}),
                              ({"cidrs": ["11.0.0.0/8"]}, "spec.cidrs", {"cidr_list": ["11.0.0.0/8"]}),
                              ({"cidrs": ["10.0.0.0/7"]}, "spec.cidrs", {"cidr_list": ["10.0.0.0/7"]}),
                              ({"tokenBoundCIDRs": ["fd00::1"]}, "spec.tokenBoundCIDRs", {"token_bound_cidrs": ["fd00::1/128"]})):
        done = secret_ids.call("plan", role=limits, code=1, **spec)
        assert f"VaultRefuses: {field}: " in done.stdout, (spec, done.stdout)
        status, text = vault_says(mounted, path, body)
        assert status in (400, 500), f"Vault takes it: {status} {text}"


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_a_rate_quota_is_waited_for(run, empty_bao, command):
    many = [resource("VaultPolicy", f"q{i}", {"name": f"quota-{command}-{i}", "rules": READ}) for i in range(12)]
    empty_bao.limit_rate(4)
    try:
        since = len(empty_bao.audit())
        done = run(command, *many)
        refused = [e for e in empty_bao.audit()[since:] if "quota" in e.get("error", "")]
    finally:
        empty_bao.lift_rate_limit()
    expected = "12 to create" if command == "plan" else "12 created"
    assert expected in done.stdout and "failed" not in done.stdout, done.stdout + done.stderr
    assert done.returncode == (2 if command == "plan" else 0)
    print(f"{len(refused)} requests were refused by the quota and sent again")


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_providers_alone_are_checked(run, tmp_path, command):
    provider = {"apiVersion": rig.GROUP, "kind": "ClusterAIProvider", "metadata": {"name": "acme"}, "spec": {
        "path": "ai-apis/data/acme", "variables": [{"name": "ACME_API_KEY", "key": "api_key"}],
        "connectionRef": {"name": "main", "namespace": "platform-vault"}}}
    file = tmp_path / "provider.yaml"
    file.write_text(yaml.safe_dump(provider))
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("VAULT_", "BAO_", "KEYSHEPHERD_"))} | {"HOME": str(tmp_path)}

    def alone():  # no Vault, no token and no connection: nothing is asked
        return subprocess.run([*rig.keyshepherd(), command, "-f", file], capture_output=True, text=True, timeout=60, env=clean)
    done = alone()
    assert done.returncode == 0 and "only their fields were checked (AIProviders and ClusterAIProviders: 1)" in done.stderr, done.stderr
    assert "0 in sync" in done.stdout
    provider["spec"]["variables"][0]["nme"] = provider["spec"]["variables"][0].pop("name")
    file.write_text(yaml.safe_dump(provider))
    faulty = alone()
    assert faulty.returncode == 1 and "spec.variables[0].name: is required" in faulty.stderr, faulty.stderr


@pytest.mark.parametrize("value", [1, True, 1.5, ["now"], {"at": "once"}])
def test_an_annotation_that_is_no_text_is_refused(secret_ids, empty_bao, value):
    """Kubernetes refuses it too; it must not go unheeded."""
    before = len(empty_bao.audit())
    done = secret_ids.call("apply", rotate=value, code=1)
    assert "metadata.annotations.keyshepherd.dev/rotate-now: must be a string; put it in quotes" in done.stderr, done.stderr
    assert writes(empty_bao, before) == []


# ---- secret-ids ----------------------------------------------------------------------------------------------------------


class SecretIds:
    """A VaultSecretID `app` of the role `ai-app` in files, under a Vault of the module's."""

    counter = itertools.count(1)

    def __init__(self, run, bao, folder):
        self.run, self.bao, self.folder = run, bao, folder
        self.role = f"ai-app-{next(self.counter)}"
        self.said = ""
        if "approle/" not in bao.root.sys.list_auth_methods()["data"]:
            bao.root.sys.enable_auth_method("approle")

    def documents(self, rotate=None, role=None, **spec):
        secret_id = {"apiVersion": rig.GROUP, "kind": "VaultSecretID", "metadata": {"name": "app", "namespace": "ai"},
                     "spec": {"appRoleRef": {"name": "role"}, "overlap": "5s"} | spec}
        if rotate:
            secret_id["metadata"]["annotations"] = {"keyshepherd.dev/rotate-now": rotate}
        return secret_id, resource("VaultAppRole", "role", {"name": self.role, "tokenTTL": "1h"} | (role or {}))

    def call(self, command, *arguments, environment=(), code=None, **changes):
        done = self.run(command, *self.documents(**changes), arguments=["--secrets-dir", self.folder, *arguments],
                        environment=environment)
        self.said += done.stdout + done.stderr
        assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def file(self, name, namespace="ai", own_name="app"):
        return self.folder / namespace / own_name / name

    def bytes(self):
        return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def values(self):
        return {name: self.file(name).read_text() for name in ("role_id", "secret_id")}

    def login(self, values=None):
        try:
            return self.bao.client().auth.approle.login(**(values or self.values()))
        except hvac.exceptions.InvalidRequest:
            return None

    def accessors(self):
        return self.bao.secret_id_accessors(self.role)

    def state(self):
        return json.loads(self.file(".state.json").read_text())["status"]

    def sleep_out_the_overlap(self):
        end = datetime.datetime.fromisoformat(self.state()["overlapUntil"].replace("Z", "+00:00")).timestamp()
        time.sleep(max(end - time.time(), 0) + 0.1)


@pytest.fixture
def secret_ids(run, empty_bao, tmp_path):
    made = SecretIds(run, empty_bao, tmp_path / "secrets")
    yield made
    values = [path.read_text() for name in ("secret_id", ".pending") for path in made.folder.rglob(name)]
    assert not any(value in made.said for value in values), "a secret was printed"


def changes(bao, since):
    """Writes but for lookups, which Vault asks for by POST."""
    return [w for w in writes(bao, since) if "/lookup" not in w]


def test_a_secret_id_is_planned_issued_logs_in_and_stays(secret_ids, empty_bao):
    ids, before = secret_ids, len(empty_bao.audit())
    planned = ids.call("plan", code=2)
    assert f"+ VaultSecretID ai/app  auth/approle/role/{ids.role}/secret-id: to create" in planned.stdout, planned.stdout
    assert "Issue: first secret-id" in planned.stdout and "2 to create" in planned.stdout
    assert changes(empty_bao, before) == [] and not ids.folder.exists(), "a plan writes nothing"

    done = ids.call("apply", code=0)
    assert "2 created" in done.stdout and ids.login(), done.stdout
    metadata = ids.login()["auth"]["metadata"]
    assert metadata["owner"] == "files:default/ai/app" and metadata["managed-by"] == "keyshepherd"
    assert ids.accessors() == [ids.state()["accessor"]]
    modes = {path.relative_to(ids.folder).as_posix(): oct(path.stat().st_mode & 0o7777) for path in ids.folder.rglob("*")}
    assert modes == {"ai": "0o700", "ai/app": "0o700", "ai/app/role_id": "0o600", "ai/app/secret_id": "0o600",
                     "ai/app/.state.json": "0o600"} and ids.folder.stat().st_mode & 0o7777 == 0o700
    assert ids.values()["secret_id"] not in ids.file(".state.json").read_text()

    files, before = ids.bytes(), len(empty_bao.audit())
    assert ids.call("plan", code=0).stdout == "2 in sync, 0 to create, 0 to update\n"
    assert ids.call("apply", code=0).stdout == "2 in sync, 0 created, 0 updated\n"
    assert ids.bytes() == files and changes(empty_bao, before) == []


def test_a_clock_that_is_an_hour_ahead_issues_one_secret_id_and_is_told(secret_ids, empty_bao):
    ids, ahead = secret_ids, rig.shifted_clock("+1h")
    ids.call("apply", code=0, ttl="30m", environment=ahead)
    held = ids.values()
    for _ in range(3):
        done = ids.call("apply", code=0, ttl="30m", environment=ahead)
        assert ids.values() == held and len(ids.accessors()) == 1, "none is issued again"
        assert "more than 30 s ahead of Vault's" in done.stderr
    assert ids.login()
    assert "clock" not in ids.call("plan", code=0, ttl="30m").stderr


def test_rotate_now_rotates_once_with_an_overlap(secret_ids):
    ids = secret_ids
    ids.call("apply", code=0)
    first, old = ids.values(), ids.state()["accessor"]
    report = json.loads(ids.call("plan", "-o", "json", code=2, rotate="1").stdout)
    row = report["resources"][1]
    assert (row["resource"], row["verdict"], row["reason"]) == ("VaultSecretID ai/app", "to update", "Issue")
    assert row["changes"] == [{"field": "secret_id_accessor", "before": old, "after": "(new)"}]
    assert row["message"] == "requested by keyshepherd.dev/rotate-now" and ids.values() == first
    ids.call("apply", code=0, rotate="1")
    second = ids.values()
    assert second["secret_id"] != first["secret_id"] and ids.login(first) and ids.login(second), "both are good"
    files = ids.bytes()
    ids.call("apply", code=0, rotate="1")
    assert ids.bytes() == files, "one value of the annotation rotates once, and the overlap has not ended"
    ids.sleep_out_the_overlap()
    planned = ids.call("plan", code=2, rotate="1")
    assert "Destroy: its overlap ended" in planned.stdout and ids.login(first), planned.stdout
    assert "Destroyed: its overlap ended" in ids.call("apply", code=0, rotate="1").stdout
    assert not ids.login(first) and ids.login(second) and ids.accessors() == [ids.state()["accessor"]]
    ids.call("plan", code=0, rotate="1")
    assert ids.values() == second


def test_a_change_of_terms_and_a_due_period_rotate(secret_ids):
    ids = secret_ids
    ids.call("apply", code=0, overlap="0s")
    assert "Issued: spec changed" in ids.call("apply", code=0, overlap="0s", ttl="1h").stdout
    ids.call("apply", code=0, overlap="0s", ttl="1h")
    time.sleep(1.1)
    assert "its rotation is due" in ids.call("plan", code=2, overlap="0s", ttl="1h", rotationPeriod="1s").stdout
    before = ids.values()
    ids.call("apply", code=0, overlap="0s", ttl="1h", rotationPeriod="1s")
    assert ids.login() and ids.values() != before


def test_its_files_are_mended_and_its_state_is_read_back(secret_ids):
    ids = secret_ids
    ids.call("apply", code=0)
    values, state = ids.values(), ids.bytes()
    ids.file("secret_id").chmod(0o644)
    ids.file("role_id").write_text("other")
    assert "to update" in ids.call("plan", code=2).stdout
    ids.call("apply", code=0)
    assert ids.bytes() == state and ids.file("secret_id").stat().st_mode & 0o777 == 0o600
    ids.file(".state.json").unlink()
    ids.call("plan", code=2)
    ids.call("apply", code=0)
    assert ids.bytes() == state, "read back from Vault's metadata"
    shutil.rmtree(ids.folder)
    lost = ids.call("plan", code=2)
    assert "the Secret was missing" in lost.stdout, lost.stdout
    ids.call("apply", code=0)
    assert ids.login() and ids.login(values), "what is lost is replaced, with an overlap"
    ids.sleep_out_the_overlap()
    ids.call("apply", code=0)
    assert ids.login() and not ids.login(values) and len(ids.accessors()) == 1


def test_what_is_anothers_is_never_written(secret_ids, empty_bao):
    ids = secret_ids
    ids.file("secret_id").parent.mkdir(parents=True)
    for folder in (ids.folder, ids.folder / "ai", ids.folder / "ai" / "app"):
        folder.chmod(0o700)
    ids.file("secret_id").write_text("somebody's")
    refused = ids.call("apply", code=1)
    assert "Conflict" in refused.stdout and "spec.secretName" in refused.stdout, refused.stdout
    assert ids.bytes() == {ids.file("secret_id"): b"somebody's"} and ids.accessors() == []
    ids.file("secret_id").unlink()
    ids.call("apply", code=0)
    other = ids.call("apply", "--owner", "staging", code=1)
    assert "belongs to files:default/ai/app" in other.stdout and len(ids.accessors()) == 1, other.stdout
    twice = ids.documents()
    second = twice[0] | {"metadata": {"name": "second", "namespace": "ai"}}
    second["spec"] = second["spec"] | {"secretName": "app"}
    done = ids.run("plan", *twice, second, arguments=["--secrets-dir", ids.folder])
    assert done.returncode == 1 and "spec.secretName: VaultSecretID ai/app already uses the directory ai/app" in done.stdout


def test_a_folder_that_others_can_write_to_or_that_leads_elsewhere_is_refused(secret_ids, tmp_path):
    ids = secret_ids
    ids.folder.mkdir(mode=0o700)
    ids.folder.chmod(0o770)
    for command in ("plan", "apply"):
        done = ids.call(command, code=1)
        assert f"other users can write to {ids.folder} (mode 0770); run chmod go-w" in done.stdout, done.stdout
    ids.folder.chmod(0o700)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (ids.folder / "ai").symlink_to(elsewhere)
    assert ids.call("apply", code=1) and list(elsewhere.iterdir()) == []
    (ids.folder / "ai").unlink()
    ids.file("secret_id").parent.mkdir(parents=True, mode=0o700)
    (ids.folder / "ai").chmod(0o700)
    target = elsewhere / "secret_id"
    target.write_text("x")
    ids.file("secret_id").symlink_to(target)
    assert ids.call("apply", code=1) and target.read_text() == "x" and ids.accessors() == []
    ids.file("secret_id").unlink()
    up = ids.documents()[0] | {"metadata": {"name": "app", "namespace": ".."}}
    role = ids.documents()[1] | {"metadata": {"name": "role", "namespace": ".."}}
    done = ids.run("apply", up, role, arguments=["--secrets-dir", ids.folder])
    assert done.returncode == 1 and "metadata.namespace: must be an RFC 1123 label" in done.stderr, done.stderr
    assert not (tmp_path / "app").exists()


def test_what_cannot_be_is_said_with_the_way_out(secret_ids):
    ids = secret_ids
    secret_id, role = ids.documents()
    alone = ids.run("apply", secret_id, arguments=["--secrets-dir", ids.folder])
    assert alone.returncode == 1 and "spec.appRoleRef.name: VaultAppRole ai/role is not in the given files" in alone.stdout
    without = ids.run("apply", secret_id, role)
    assert without.returncode == 1 and "set --secrets-dir" in without.stdout, without.stdout
    targets = ids.call("apply", code=0, rolloutRestartTargets=[{"name": "app"}])
    assert "warning: VaultSecretID ai/app: spec.rolloutRestartTargets: apply cannot restart workloads" in targets.stderr
    paused = dict(secret_id, metadata=secret_id["metadata"] | {"annotations": {
        "keyshepherd.dev/paused": "true", "keyshepherd.dev/rotate-now": "1"}})
    done = ids.run("apply", paused, role, arguments=["--secrets-dir", ids.folder])
    assert done.returncode == 0 and "keyshepherd.dev/paused is \"true\"" in done.stderr and "2 in sync" in done.stdout, done.stdout
    cut = dict(role, metadata=role["metadata"] | {"annotations": {"keyshepherd.dev/cut-off": "true"}})
    done = ids.run("apply", secret_id, cut, arguments=["--secrets-dir", ids.folder])
    assert done.returncode == 1 and "CutOff" in done.stdout and ids.login(), done.stdout


def test_two_at_once_do_not_work_on_one_folder(secret_ids):
    ids = secret_ids
    ids.call("apply", code=0)
    files, folder = ids.bytes(), os.open(ids.file("secret_id").parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        busy = ids.call("apply", code=1, rotate="1")
        assert "another process is using the directory" in busy.stdout and ids.bytes() == files
        ids.call("plan", code=2, rotate="1")
    finally:
        os.close(folder)
    ids.call("apply", code=0, rotate="1")


POINTS = ("claim", "draw", "enroll", "publish", "role_id", "record", "discard", "file:1", "file:2", "file:3", "file:4",
          "file:5")


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_the_next_one_goes_on(secret_ids, empty_bao, point):
    ids = secret_ids
    for rotate in (None, "1"):
        before = ids.values() if rotate else None
        since = len(empty_bao.audit())
        killed = ids.call("apply", environment={"KEYSHEPHERD_FAILPOINT": point}, rotate=rotate, overlap="1m")
        if rotate and point == "file:5":
            assert killed.returncode == 0  # the folder is ours already: one write less
            continue
        assert killed.returncode == -9, (point, rotate, killed.stdout)
        if before:
            assert ids.login(before), "what is published stays good"
        files = ids.bytes()
        ids.call("plan", code=0 if point == "discard" else 2, rotate=rotate, overlap="1m")
        assert ids.bytes() == files
        done = ids.call("apply", code=0, rotate=rotate, overlap="1m")
        assert ids.login() and ids.values() != before, done.stdout
        assert not ids.file(".pending").exists()
        enrolled = [w for w in writes(empty_bao, since) if w.endswith("/custom-secret-id")]
        assert len(enrolled) == 1, "a value is registered at most once, and no other is needed"
        ids.call("plan", code=0, rotate=rotate, overlap="1m")
        assert len(ids.accessors()) == (2 if rotate else 1)


def test_a_rotation_revokes_the_tokens_of_the_old_one_also_when_it_is_killed_in_it(secret_ids, empty_bao):
    ids, role = secret_ids, {"revokeTokens": True}

    def alive(token):
        try:
            return bool(empty_bao.client(token).auth.token.lookup_self())
        except (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized):
            return False

    ids.call("apply", code=0, role=role, overlap="0s")
    for rotate, point in (("1", None), ("2", "destroy"), ("3", "revoke")):
        old = ids.login()["auth"]["client_token"]
        ids.call("apply", code=0, role=role, overlap="3s", rotate=rotate)
        new = ids.login()["auth"]["client_token"]
        assert alive(old) and alive(new)
        ids.sleep_out_the_overlap()
        done = ids.call("apply", role=role, overlap="3s", rotate=rotate,
                        environment={"KEYSHEPHERD_FAILPOINT": point} if point else {})
        if point:
            assert done.returncode == -9
            assert alive(old) == (point == "destroy")
            ids.call("apply", code=0, role=role, overlap="3s", rotate=rotate)
        assert not alive(old) and alive(new) and len(ids.accessors()) == 1
        assert "revoking" not in ids.file(".state.json").read_text()


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_no_core_file_can_hold_what_the_process_knows(command):
    def unlimited():
        limits_of.setrlimit(limits_of.RLIMIT_CORE, (limits_of.RLIM_INFINITY, limits_of.RLIM_INFINITY))

    waiting = subprocess.Popen([*rig.keyshepherd(), command, "-f", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, preexec_fn=unlimited)

    def core():
        with open(f"/proc/{waiting.pid}/limits") as limits:
            return next(line for line in limits if line.startswith("Max core file size")).split()[4:6]

    try:
        rig.wait_until(lambda: core() == ["0", "0"], 5, "no core file")
    finally:
        waiting.communicate("", timeout=10)
