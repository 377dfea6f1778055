"""`keyshepherd plan --policy-for-operator`: the policy is enough for all that the resources ask, and nothing in it is too much.

Here by `apply` on files; test_operator.py has an operator that lives under such a policy."""

import json
import os
import subprocess

import pytest
import rig
import yaml

SAMPLE = rig.REPOSITORY / "manifests" / "samples" / "holysheep.yaml"


def resource(kind, own_name, connection="main", /, **spec):
    return rig.custom(kind, "ai", own_name, **{"connectionRef": {"name": connection}} | spec)


# Beside the sample's: a role-id that is given, a role of Kubernetes with its mount, and what Retain leaves alone.
MORE = [
    resource("VaultMount", "kubernetes", path="kubernetes", engine="Auth", type="kubernetes", deletionPolicy="Delete"),
    resource("VaultAppRole", "pinned", name="ai-pinned", roleID="ai-pinned-id", tokenTTL="1h", deletionPolicy="Retain"),
    resource("VaultKubernetesRole", "app", name="ai-app", boundServiceAccountNames=["ai-app"], tokenTTL="1h"),
]


def sample():
    """The sample's documents and ours, under a connection that grants all of them."""
    documents = list(yaml.safe_load_all(SAMPLE.read_text())) + MORE
    documents[0]["spec"]["grants"][0]["mounts"] += ["kubernetes"]
    return documents


@pytest.fixture(scope="module")
def server(tools, certificates, tmp_path_factory):
    bao = rig.Bao(tmp_path_factory.mktemp("bao"), tools, certificates)
    yield bao
    bao.stop()


@pytest.fixture
def run(server, tmp_path):
    def call(command, documents, *arguments, token=None):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("VAULT_", "BAO_", "KEYSHEPHERD_"))}
        clean |= {"HOME": str(tmp_path)}
        if token:
            (tmp_path / "token").write_text(token)
            arguments += ("--vault-address", server.address, "--vault-ca-file", server.certificates.ca,
                          "--vault-token-file", tmp_path / "token")
        return subprocess.run([*rig.keyshepherd(), command, "-f", "-", *arguments], input=yaml.safe_dump_all(documents),
                              capture_output=True, text=True, timeout=60, env=clean)

    return call


def printed(run, documents):
    done = run("plan", documents, "--policy-for-operator")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return rig.policy_rules(done.stdout)


def text_of(rules):
    return "\n".join(f'path "{path}" {{ capabilities = {json.dumps(allowed)} }}' for path, allowed in rules.items())


def empty(server):
    root = server.root
    for path in ("approle", "kubernetes"):
        root.sys.disable_auth_method(path)
    root.sys.disable_secrets_engine("ai-apis")
    root.sys.delete_policy("ai-api")


def change_by_hand(server):
    """All that a repair can put back."""
    root = server.root
    root.sys.create_or_update_policy("ai-api", 'path "x" { capabilities = ["read"] }')
    root.sys.tune_mount_configuration("ai-apis", description="by hand")
    root.sys.tune_auth_method("approle", description="by hand")
    root.auth.approle.create_or_update_approle("ai-prod-role", token_ttl="9h")
    root.auth.approle.create_or_update_approle("ai-pinned", token_ttl="9h")
    root.auth.approle.update_role_id("ai-pinned", "by-hand")
    root.write_data("auth/kubernetes/role/ai-app", data={
        "bound_service_account_names": ["other"], "bound_service_account_namespaces": ["ai"], "token_ttl": "9h"})
    root.sys.tune_auth_method("kubernetes", description="by hand")


def create_and_repair(run, server, rules):
    """Everything made, changed by hand and repaired, by a token with exactly these rules and not even `default`: the first
    step that failed, or None."""
    empty(server)
    server.root.sys.create_or_update_policy("printed", text_of(rules))
    token = server.root.auth.token.create(policies=["printed"], no_default_policy=True, ttl="5m")["auth"]["client_token"]
    if (done := run("apply", sample(), token=token)).returncode != 0:
        return "create: " + done.stdout + done.stderr
    change_by_hand(server)
    if (done := run("apply", sample(), token=token)).returncode != 0 or "7 updated" not in done.stdout:
        return "repair: " + done.stdout + done.stderr
    if (done := run("plan", sample(), token=token)).returncode != 0:
        return "plan: " + done.stdout + done.stderr
    return None


def test_the_printed_policy_is_enough(run, server):
    before = len(server.audit())
    failed = create_and_repair(run, server, printed(run, sample()))
    assert failed is None, failed
    denied = [e["request"]["path"] for e in server.audit()[before:] if "permission denied" in e.get("error", "")]
    assert denied == []


def test_nothing_in_it_is_too_much(run, server):
    """Each capability of each path that files can use is taken out alone: something fails for it every time."""
    rules = printed(run, sample())
    tried = 0
    for path, allowed in rules.items():
        if path in ("auth/token/renew-self", "auth/token/revoke-self"):
            continue  # of the operator's own logins
        for capability in allowed:
            if capability == "delete":
                continue  # `apply` removes nothing
            less = {p: [c for c in a if (p, c) != (path, capability)] for p, a in rules.items()}
            failed = create_and_repair(run, server, {p: a for p, a in less.items() if a})
            assert failed and "permission denied" in failed, f"{path} does without {capability}: {failed}"
            tried += 1
    print(f"{tried} capabilities of {len(rules)} paths, each of them needed")
    assert tried > 20


def test_each_connection_has_its_policy(run):
    """No Vault is there, and none is asked."""
    other = {"apiVersion": rig.GROUP, "kind": "VaultConnection", "metadata": {"name": "other", "namespace": "ai"},
             "spec": {"address": "https://other:8200", "auth": {"token": {"secretName": "t"}}, "vaultNamespace": "team"}}
    theirs = resource("VaultPolicy", "b", "other", name="ai.b", rules=[{"path": "x", "capabilities": ["read"]}])
    unknown = resource("VaultPolicy", "c", "absent", name="c", rules=[{"path": "x", "capabilities": ["read"]}])
    refused = resource("VaultPolicy", "d", name="root", rules=[{"path": "x", "capabilities": ["read"]}])
    role = resource("VaultAppRole", "denied", name="elsewhere-x", mount="elsewhere")
    secret_ids = [rig.custom("VaultSecretID", "ai", name, appRoleRef={"name": of})
                  for name, of in (("e", "ai-prod-role"), ("f", "denied"), ("g", "nobody"))]
    done = run("plan", [*secret_ids, *sample(), other, theirs, unknown, refused, role], "--policy-for-operator")
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.split("# VaultConnection ")[1:]
    assert first.startswith("ai/absent\n") and "sys/policies/acl/c" in first
    assert second.startswith("ai/main\n") and "sys/policies/acl/ai-api" in second and "acl/root" not in second
    assert second.count("/custom-secret-id") == 1 and "auth/approle/role/ai-prod-role/custom-secret-id" in second
    assert "warning: VaultSecretID ai/f is left out: spec.appRoleRef.name: VaultAppRole ai/denied is left out too" in done.stderr
    assert "warning: VaultSecretID ai/g is left out: spec.appRoleRef.name: VaultAppRole ai/nobody is not among" in done.stderr
    assert third.startswith("ai/other, in Vault's namespace team\n") and "sys/policies/acl/ai.b" in third
    assert "warning: VaultPolicy ai/d is left out: spec.name: " in done.stderr and "3 connections" in done.stderr
