"""`keyshepherd plan --policy-for-operator`: the policy is enough for all that the resources ask, and nothing in it is too much.

Here by `apply` on files, and by an operator for providers, which `apply` has nothing to do for; test_operator.py has an operator
that lives under such a policy with all other kinds."""

import json
import os
import subprocess
import time

import pytest
import rig
import yaml
from rig import custom, wait_until
from team import Team, check_no_secret
from test_provider_operator import Models

SAMPLES = [rig.REPOSITORY / "manifests" / "samples" / name for name in ("connection.yaml", "holysheep.yaml")]


MAIN = {"name": "main", "namespace": "platform-vault"}  # the sample's connection


def resource(kind, own_name, connection="main", /, **spec):
    return rig.custom(kind, "ai", own_name, **{"connectionRef": MAIN if connection == "main" else {"name": connection}} | spec)


# Beside the sample's: a role-id that is given, a role of Kubernetes with its mount, and what Retain leaves alone.
MORE = [
    resource("VaultMount", "kubernetes", path="kubernetes", engine="Auth", type="kubernetes", deletionPolicy="Delete"),
    resource("VaultAppRole", "pinned", name="ai-pinned", roleID="ai-pinned-id", tokenTTL="1h", deletionPolicy="Retain"),
    resource("VaultKubernetesRole", "app", name="ai-app", boundServiceAccountNames=["ai-app"], tokenTTL="1h"),
]


def sample():
    """The sample's documents and ours, under a connection that grants all of them."""
    documents = [d for sample in SAMPLES for d in yaml.safe_load_all(sample.read_text())] + MORE
    connection = next(d for d in documents if d["kind"] == "VaultConnection")
    connection["spec"]["grants"][0]["mounts"] += ["kubernetes"]
    for document in documents:
        document.get("spec", {}).pop("revokeTokens", None)  # `apply` revokes no token: the operator's tests need those rights
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
        documents, grants = rig.with_connections(tmp_path, documents)
        return subprocess.run([*rig.keyshepherd(), command, "-f", "-", *grants, *arguments], input=yaml.safe_dump_all(documents),
                              capture_output=True, text=True, timeout=60, env=clean)

    return call


WITHOUT_GRANTS = ("warning: --without-grants: the grants of VaultConnections are not checked. The resources may do everything that "
                  "the token allows, except change reserved policies and mounts\n")


def printed(run, documents):
    done = run("plan", documents, "--policy-for-operator")
    assert done.returncode == 0 and done.stderr.removeprefix(WITHOUT_GRANTS) == "", done.stderr
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
        if path == "auth/kubernetes/role/keyshepherd-operator":
            continue  # likewise: which policies its role gives
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
             "spec": {"address": "https://other:8200", "auth": {"token": {"secretName": "t"}}, "vaultNamespace": "team",
                      "grants": [{"namespaces": ["ai"], "paths": ["x", "team/data/*"]}]}}
    theirs = resource("VaultPolicy", "b", "other", name="ai.b", rules=[{"path": "x", "capabilities": ["read"]}])
    third = other | {"metadata": {"name": "absent", "namespace": "ai"}}
    unknown = resource("VaultPolicy", "c", "absent", name="ai.c", rules=[{"path": "x", "capabilities": ["read"]}])
    refused = resource("VaultPolicy", "d", name="root", rules=[{"path": "x", "capabilities": ["read"]}])
    role = resource("VaultAppRole", "denied", name="elsewhere-x", mount="elsewhere")
    secret_ids = [rig.custom("VaultSecretID", "ai", name, appRoleRef={"name": of})
                  for name, of in (("e", "ai-prod-role"), ("f", "denied"), ("g", "nobody"))]
    providers = [provider("p", "ai-apis/data/mine", ref=MAIN),
                 provider("q", "team/data/theirs", ref={"name": "other"}),
                 provider("r", "sys/data/x", ref=MAIN), provider("s", "team/data/nobody"),
                 provider("every", "team/data/all", "ClusterAIProvider", ref={"name": "other", "namespace": "ai"})]
    done = run("plan", [*secret_ids, *sample(), other, third, theirs, unknown, refused, role, *providers], "--policy-for-operator")
    assert done.returncode == 0, done.stderr
    first, third, second = done.stdout.split("# VaultConnection ")[1:]
    assert first.startswith("ai/absent, Vault namespace team\n") and "sys/policies/acl/ai.c" in first
    assert second.startswith("platform-vault/main\n") and "sys/policies/acl/ai-api" in second and "acl/root" not in second
    assert second.count("/custom-secret-id") == 1 and "auth/approle/role/ai-prod-role/custom-secret-id" in second
    assert "warning: skipped VaultSecretID ai/f: spec.appRoleRef.name: VaultAppRole ai/denied was skipped, too" in done.stderr
    assert "warning: skipped VaultSecretID ai/g: spec.appRoleRef.name: VaultAppRole ai/nobody is not in the given files" in done.stderr
    assert third.startswith("ai/other, Vault namespace team\n") and "sys/policies/acl/ai.b" in third
    assert "warning: skipped VaultPolicy ai/d: spec.name: " in done.stderr and "3 connections" in done.stderr
    of_providers = {path for path in rig.policy_rules(second.partition("\n")[2].strip() + "\n") if path.startswith(("ai-apis/", "team/"))}
    assert of_providers == {"ai-apis/metadata/mine"}
    assert "team/metadata/theirs" in third and "team/metadata/all" in third and "team/metadata/nobody" not in done.stdout
    assert "warning: skipped AIProvider ai/r: spec.path: " in done.stderr and "sys/metadata" not in done.stdout


# ---- providers -----------------------------------------------------------------------------------------------------------


def provider(name, path, kind="AIProvider", ns="ai", ref=None, **spec):
    """With no `ref` it refers to no connection."""
    made = custom(kind, ns, name, path=path, variables=[{"name": "A", "key": "api_key"}], resyncPeriod="10s", **spec)
    del made["spec"]["connectionRef"]
    if ref:
        made["spec"]["connectionRef"] = ref
    if kind == "ClusterAIProvider":
        del made["metadata"]["namespace"]
    return made


def test_providers_alone_and_what_is_wrong_with_them(run):
    rules = printed(run, [provider("p", "ai-apis/data/mine", ref={"name": "main"})])
    assert rules == {"ai-apis/metadata/mine": ["read"], "auth/token/lookup-self": ["read"], "auth/token/renew-self": ["update"],
                     "auth/token/revoke-self": ["update"]}
    unwatched = run("plan", [provider("p", "ai-apis/data/mine")], "--policy-for-operator")
    assert (unwatched.returncode, unwatched.stdout) == (0, "") and "no policy printed" in unwatched.stderr
    wrong = [provider("p", "", "ClusterAIProvider", ref={"name": "main", "namespace": "ai"})]
    done = run("plan", wrong, "--policy-for-operator")
    assert done.returncode == 1 and "ClusterAIProvider p: spec.path: " in done.stderr
    done = run("plan", wrong)
    assert done.returncode == 1 and "ClusterAIProvider p: spec.path: " in done.stderr, "plan checks it, too"


def test_the_policy_has_a_key_to_try_only_where_a_probe_host_is_given(run):
    path = "ai-apis/data/mine"
    made = [provider("p", path, ref={"name": "main"}, keyProbe={"enabled": True}),
            provider("q", "ai-apis/data/stated", ref={"name": "main"}, keyProbe={"enabled": True, "baseURL": "https://api.acme.example/v1"})]

    def keys(*arguments):
        done = run("plan", made, "--policy-for-operator", *arguments)
        assert done.returncode == 0, done.stderr
        untried = [line for line in done.stderr.splitlines() if "will not test the key of " in line]
        return {p for p in rig.policy_rules(done.stdout) if "/data/" in p}, untried

    found, untried = keys()
    assert found == set() and len(untried) == 2, untried
    assert "warning: the operator will not test the key of AIProvider ai/p: spec.keyProbe: the operator has no --probe-host" in untried[0]
    found, untried = keys("--probe-host", "api.other.example")
    assert found == {path} and len(untried) == 1, untried
    assert "ai/q: spec.keyProbe: the operator's --probe-host does not allow the host of the base URL" in untried[0]
    assert keys("--probe-host", "api.other.example", "--probe-host", "API.acme.example:443") == ({path, "ai-apis/data/stated"}, [])
    wrong = run("plan", made, "--policy-for-operator", "--probe-host", "https://api.acme.example")
    assert wrong.returncode != 0 and "--probe-host: https://api.acme.example must be HOST[:PORT]" in wrong.stderr and wrong.stdout == ""


class Providers:
    """Two connections of a team, each with a login under the policy that is printed for it, and an operator with providers:
    one of the cluster with overrides, whose key is tried, one of the namespace that has its key published, and one on the second
    connection."""

    def __init__(self, run, cluster, bao, models):
        self.run, self.cluster, self.bao, self.models = run, cluster, bao, models
        self.team = Team(cluster, bao, auth=self.login("main"))
        self.ns = self.team.ns
        main, second = {"name": "main", "namespace": self.ns}, {"name": "second", "namespace": self.ns}
        connection = self.team.stored("VaultConnection", "main")
        self.connections = [custom("VaultConnection", self.ns, name, **connection["spec"] | {"auth": self.login(name)})
                            for name in ("main", "second")]
        stages = [{"namespaceSelector": {"matchLabels": {"env": "prod"}}, "path": self.path("prod")},
                  {"namespaceSelector": {"matchLabels": {"env": "far"}}, "path": self.path("far"),
                   "vault": {"address": "https://far:8200"}}]
        self.providers = [
            provider(f"{self.ns}-acme", self.path("acme"), "ClusterAIProvider", ref=main, overrides=stages,
                     keyProbe={"enabled": True, "interval": "1s"}),
            provider("own", self.path("own"), ns=self.ns, ref=main, delivery={"secret": True}),
            provider("other", self.path("other"), ns=self.ns, ref=second),
            provider("declared", self.path("declared"), ns=self.ns)]
        done = run("plan", [*self.connections, *self.providers], "--policy-for-operator",
                   "--probe-host", f"127.0.0.1:{models.port}")
        assert done.returncode == 0 and "2 connections" in done.stderr, done.stderr
        self.rules = {}
        for block in done.stdout.split("# VaultConnection ")[1:]:
            name, _, text = block.partition("\n")
            self.rules[name.removeprefix(f"{self.ns}/")] = rig.policy_rules(text.strip() + "\n")
        assert set(self.rules) == {"main", "second"}
        for name, rules in self.rules.items():
            self.allow(name, rules)
            bao.root.write_data(f"auth/kubernetes/role/{self.login_name(name)}", data={
                "bound_service_account_names": ["keyshepherd-vault"], "bound_service_account_namespaces": [self.ns],
                "audience": "vault", "token_policies": [self.login_name(name)], "token_no_default_policy": True,
                "token_ttl": "3s", "token_max_ttl": "1h"})
        for name in ("acme", "prod", "own", "other", "declared", "far"):
            self.write(name)
        self.team.apply(*self.connections, *self.providers)

    def login_name(self, connection):
        return f"printed-{connection}"

    def login(self, connection):
        return {"kubernetes": {"role": self.login_name(connection), "serviceAccountName": "keyshepherd-vault"}}

    def path(self, name, part="data"):
        return f"ai-apis/{part}/{self.ns}/{name}"

    def allow(self, connection, rules):
        self.bao.root.sys.create_or_update_policy(self.login_name(connection), text_of(rules))

    def write(self, name):
        secret = {"api_key": self.models.key, "base_url": self.models.base_url}
        self.bao.root.secrets.kv.v2.create_or_update_secret(f"{self.ns}/{name}", secret, mount_point="ai-apis")

    def status(self, name):
        path = f"clusteraiproviders/{name}" if name.endswith("-acme") else f"namespaces/{self.ns}/aiproviders/{name}"
        return self.cluster.get(f"/apis/{rig.GROUP}/{path}").get("status", {})

    def state(self):
        """For each provider the version and the reason of Ready, for `acme` that of KeyValid too, for `own` of SecretPublished."""
        found = {}
        for made in self.providers:
            name = made["metadata"]["name"]
            status = self.status(name)
            reasons = {c["type"]: c["reason"] for c in status.get("conditions", [])}
            found[name.removeprefix(f"{self.ns}-")] = (status.get("keyVersion"), reasons.get("Ready"),
                                                        reasons.get("KeyValid") or reasons.get("SecretPublished"))
        return found

    def look_again(self):
        now = f"{rig.PREFIX}reconcile-at={time.time_ns()}"
        self.cluster.kubectl("annotate", "--overwrite", "-n", self.ns, "aiproviders", "--all", now)
        self.cluster.kubectl("annotate", "--overwrite", "clusteraiproviders", "--all", now)

    def wait(self, version, **different):
        wanted = {"acme": (version, "KeySeen", "KeyAccepted"), "own": (version, "KeySeen", "Published"),
                  "other": (version, "KeySeen", None), "declared": (None, "Declared", None)} | different
        self.look_again()  # nobody waits for the resync period
        try:
            wait_until(lambda: self.state() == wanted, 20, every=0.2)
        except TimeoutError:
            raise AssertionError(f"it is {self.state()}, not {wanted}") from None

    def asked(self, since):
        """What the logins of these connections asked: the connection and the audit log's entry."""
        for entry in self.bao.audit()[since:]:
            request, policies = entry["request"], entry.get("auth", {}).get("policies", [])
            for connection in self.rules:
                if entry["type"] == "response" and self.login_name(connection) in policies and "/login" not in request["path"]:
                    yield connection, entry


def test_the_operator_does_providers_work_under_exactly_the_printed_policy(run, cluster, bao, certificates, tmp_path):
    """Versions seen, a new one too, a key tried and one published; nothing is denied, and nothing of the policies is left unused. Then each
    capability is taken out alone: the status tells of it every time."""
    rig.install_operator(cluster)
    models = Models(certificates)
    providers = operator = None
    try:
        since = len(bao.audit())
        providers = Providers(run, cluster, bao, models)
        operator = rig.Operator(tmp_path / "operator", cluster, bao,
                                {"probe-host": f"127.0.0.1:{models.port}", "allowed-vault-address": "https://far:8200"},
                                environment={"SSL_CERT_FILE": str(certificates.ca)})
        providers.wait(1)
        for name in ("acme", "prod", "own", "other"):
            providers.write(name)
        providers.wait(2)
        message = next(c["message"] for c in providers.status(f"{providers.ns}-acme")["conditions"] if c["type"] == "Ready")
        assert f"{providers.path('prod')}: version 2" in message
        for _ in range(8):  # A token is renewed by a request in the last third of its 3 s.
            providers.look_again()
            time.sleep(0.4)
        assert operator.stop() == 0
        asked = list(providers.asked(since))
        assert [e["request"]["path"] for _, e in asked if e.get("error")] == []
        used = {(c, e["request"]["path"], e["request"]["operation"]) for c, e in asked}
        assert used == {(c, path, capability) for c, rules in providers.rules.items() for path, allowed in rules.items()
                        for capability in allowed}
        assert {path for _, path, _ in used if path.startswith("ai-apis/data/")} == {providers.path(name) for name in ("acme", "prod", "own")}
        print(f"{len(asked)} requests under {sum(map(len, providers.rules.values()))} paths, none denied, none unused")

        operator._start()
        taken, published = 0, {}
        for connection, rules in providers.rules.items():
            for path in rules:
                if not path.startswith("ai-apis/"):
                    continue  # of every login, as with the other kinds
                providers.allow(connection, {p: a for p, a in rules.items() if p != path})
                name = path.rpartition("/")[2]
                if path == providers.path("own"):
                    providers.write("own")  # only a new version is read again
                    published = {"own": (3, "KeySeen", "Published")}
                without = {"own": {"own": (3, "KeySeen", "Denied") if "/data/" in path else
                                   (None, "PermissionDenied", "Denied")}, "other": {"other": (None, "PermissionDenied", None)},
                           # The override's version is missed, the provider's own is there.
                           "prod": {"acme": (2, "KeySeen", "PermissionDenied") if "/data/" in path else
                                    (2, "PermissionDenied", "NoKey")},
                           "acme": {"acme": (2, "KeySeen", "PermissionDenied") if "/data/" in path else
                                    (None, "PermissionDenied", "NoKey")}}[name]
                providers.wait(2, **published | without)
                providers.allow(connection, rules)
                providers.wait(2, **published)
                taken += 1
        print(f"{taken} capabilities taken out, each of them missed")
        assert taken == 7
        assert operator.stop() == 0
        check_no_secret(operator, bao)
        assert models.key not in operator.log
    finally:
        if operator:
            operator.stop()
        if providers:
            cluster.kubectl("delete", "clusteraiprovider", f"{providers.ns}-acme", "--ignore-not-found")
            cluster.kubectl("delete", "namespace", providers.ns, "--wait=false", "--ignore-not-found")
        models.stop()
