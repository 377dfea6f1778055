"""`keyshepherd plan` and `apply` on files, against a real OpenBao of the test's own and with no cluster at all."""

import json
import os
import subprocess

import pytest
import rig
import yaml

SAMPLE = rig.REPOSITORY / "manifests" / "samples" / "holysheep.yaml"
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
    """run("plan", files…): the command as root of the empty server."""
    token = tmp_path / "token"
    token.write_text(empty_bao.root_token)

    def call(command, *documents, arguments=(), environment=(), address=empty_bao.address, token_file=token):
        text = "---\n".join(d if isinstance(d, str) else yaml.safe_dump(d) for d in documents)
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
    sample = SAMPLE.read_text()
    planned = run("plan", sample)
    assert planned.returncode == 2, planned.stderr
    assert "4 to create" in planned.stdout and "sys/policies/acl/ai-api" in planned.stdout
    assert "ai-api" not in empty_bao.root.sys.list_policies()["data"]["policies"], "a plan changes nothing"

    applied = run("apply", sample)
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert "4 created" in applied.stdout
    ours, theirs = empty_bao.root, hand_made.root
    assert ours.sys.read_policy("ai-api")["data"]["rules"] == BY_HAND == theirs.sys.read_policy("ai-api")["data"]["rules"]
    role = ours.auth.approle.read_role("ai-prod-role")["data"]
    assert role == theirs.auth.approle.read_role("ai-prod-role")["data"]
    mount, other = (b.sys.list_mounted_secrets_engines()["data"]["ai-apis/"] for b in (ours, theirs))
    same = ("type", "options", "config", "description", "local")
    assert {k: mount[k] for k in same} == {k: other[k] for k in same}

    again = run("plan", sample)
    assert (again.returncode, again.stdout) == (0, "4 in sync, 0 to create, 0 to update\n"), again.stdout
    before = len(empty_bao.audit())
    assert run("apply", sample).returncode == 0
    assert writes(empty_bao, before) == [], "what is equal is not written"


def test_a_hand_edit_is_shown_field_by_field_and_repaired(run, empty_bao):
    sample = SAMPLE.read_text()
    assert run("apply", sample).returncode == 0
    empty_bao.root.sys.create_or_update_policy("ai-api", BY_HAND.replace('"read", "list"', '"read", "list", "delete"'))
    empty_bao.root.auth.approle.create_or_update_approle("ai-prod-role", token_ttl="9h", token_policies=["ai-api", "more"])
    planned = run("plan", sample)
    assert planned.returncode == 2
    assert '-  capabilities = ["read", "list", "delete"]' in planned.stdout
    assert '+  capabilities = ["read", "list"]' in planned.stdout
    assert "token_ttl: 32400 → 3600" in planned.stdout
    report = json.loads(run("plan", sample, arguments=["-o", "json"]).stdout)
    assert report["summary"] == {"inSync": 2, "toCreate": 0, "toUpdate": 2, "refused": 0, "failed": 0}
    role = next(r for r in report["resources"] if r["resource"] == "VaultAppRole ai/ai-prod-role")
    assert {c["field"]: (c["before"], c["after"]) for c in role["changes"]} == {
        "token_ttl": (32400, 3600), "token_policies": (["ai-api", "more"], ["ai-api"])}
    assert run("apply", sample).returncode == 0
    assert run("plan", sample).returncode == 0


def test_spacing_is_no_difference(run, empty_bao):
    sample = SAMPLE.read_text()
    assert run("apply", sample).returncode == 0
    empty_bao.root.sys.create_or_update_policy("ai-api", BY_HAND.replace("\n", "\r\n").replace(" = ", "="))
    assert run("plan", sample).returncode == 0


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


def test_a_connection_that_is_not_given_is_told(run, empty_bao):
    policy = resource("VaultPolicy", "x", {"name": "ai-told", "rules": [{"path": "a", "capabilities": ["read"]}]})
    alone = run("plan", policy, policy | {"metadata": {"name": "other", "namespace": "ai"}})
    assert alone.stderr.count("warning: VaultConnection ai/main is not among what was given, so its grants are not looked at") == 1
    connection = {"apiVersion": "keyshepherd.dev/v1alpha1", "kind": "VaultConnection", "metadata": {"name": "main", "namespace": "ai"},
                  "spec": {"address": empty_bao.address, "auth": {"token": {"secretName": "t"}}}}
    assert "warning" not in run("plan", connection, policy).stderr


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
                  "VaultAppRole ai/role: spec.tokenTtl: is unknown; tokenTTL is meant?", "spec.mount"):
        assert words in done.stderr, done.stderr
    assert run("plan", "kind: ConfigMap\napiVersion: v1\n").returncode == 1
    assert "no custom resource" in run("plan", "kind: ConfigMap\napiVersion: v1\n").stderr


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
    assert nothing.returncode == 1 and nothing.stderr.startswith("error: "), nothing.stderr


def test_hcl_that_vault_refuses_is_told_in_its_words(run):
    done = run("apply", resource("VaultPolicy", "x", {"name": "ai-bad", "hcl": 'path "a" { capabilities = [ }'}))
    assert done.returncode == 1 and "failed" in done.stdout and "parse" in done.stdout, done.stdout
