"""Whose identity the operator uses, what it may do in the cluster, and whose word it takes for what is its own: on a real API server
with RBAC and a real OpenBao."""

import json
import subprocess
import time

import pytest
import rig
from rig import custom, wait_until
from team import Team, installed, names, operator, requests, team  # noqa: F401 - fixtures

MERGE = "application/merge-patch+json"
PLATFORM = "platform-vault"


def status_path(kind, ns, name):
    return f"/apis/{rig.GROUP}/namespaces/{ns}/{rig.PLURALS[kind]}/{name}/status"


def look(team, kind, name):
    """Has the operator look at it now."""
    path = f"/apis/{rig.GROUP}/namespaces/{team.ns}/{rig.PLURALS[kind]}/{name}"
    body = {"metadata": {"annotations": {"keyshepherd.dev/reconcile-at": str(time.time_ns())}}}
    assert team.cluster.request("PATCH", path, body, MERGE).status_code == 200


def write_status(team, kind, name, **facts):
    """As somebody with the right to the status would."""
    done = team.cluster.request("PATCH", status_path(kind, team.ns, name), {"status": facts}, MERGE)
    assert done.status_code == 200, done.text


def grant_nothing(team, deletion_timeout="4s"):
    """The connection's grants name another namespace."""
    spec = team.stored("VaultConnection", "main")["spec"]
    kept = spec["grants"]
    grants = [grant | {"namespaces": ["nobody"]} for grant in kept]
    team.apply(custom("VaultConnection", team.ns, "main", **spec | {"grants": grants, "deletionTimeout": deletion_timeout}))
    return lambda: team.apply(custom("VaultConnection", team.ns, "main", **spec | {"grants": kept}))


# ---- the label of what the operator logs in with ------------------------------------------------------------------------


@pytest.fixture
def platform(installed, bao, operator):
    """A platform namespace with a connection, and a namespace of applications that it names: neither is the other."""
    return Platform(installed, bao)


class Platform(Team):
    """`ns` is the applications'; the connection is in `home`."""

    def __init__(self, cluster, bao):
        self.cluster, self.bao = cluster, bao
        suffix = f"{next(names)}-{int(time.time())}"
        self.ns, self.home = f"apps-{suffix}", f"{PLATFORM}-{suffix}"
        for ns in (self.ns, self.home):
            cluster.core.create_namespace({"metadata": {"name": ns}})

    def connect(self, **auth):
        auth = auth or {"kubernetes": {"role": "keyshepherd-operator", "serviceAccountName": "keyshepherd-vault"}}
        self.apply(custom("VaultConnection", self.home, "main", address=self.bao.address, ca=self.bao.certificates.ca_pem, auth=auth,
                          grants=[{"namespaces": [self.ns], "names": [f"{self.ns}-*"], "paths": ["ai-apis/*"]}]))

    def connection(self):
        found = self.cluster.get(f"/apis/{rig.GROUP}/namespaces/{self.home}/vaultconnections/main")
        return next((c for c in found.get("status", {}).get("conditions", []) if c["type"] == "Ready"), {})

    def wait_connection(self, reason):
        try:
            return wait_until(lambda: self.connection() if self.connection().get("reason") == reason else None, 15)
        except TimeoutError:
            raise AssertionError(f"not {reason}: {self.connection()}") from None

    def look(self):
        path = f"/apis/{rig.GROUP}/namespaces/{self.home}/vaultconnections/main"
        body = {"metadata": {"annotations": {"keyshepherd.dev/reconcile-at": str(time.time_ns())}}}
        assert self.cluster.request("PATCH", path, body, MERGE).status_code == 200

    def policy(self, own="p", path="ai-apis/data/x", **spec):
        return super().policy(own, path, connectionRef={"name": "main", "namespace": self.home}, **spec)

    def logins(self, since=0):
        """Without those of other namespaces, whose tests may have left something to remove."""
        return [e for e in self.bao.audit()[since:] if e["type"] == "response" and e["request"]["path"].endswith("/login")
                and ((e.get("auth") or {}).get("metadata") or {}).get("service_account_namespace", self.home) == self.home]


def run_command_of(platform, message):
    """What the message says to do, word for word."""
    command = message[message.index("kubectl ") + len("kubectl "):].split()
    return platform.cluster.kubectl(*command)


def test_the_operator_logs_in_only_as_a_service_account_with_the_label(platform, bao):
    rig.login_account(platform.cluster, platform.home, labels={})
    since = len(bao.audit())
    platform.connect()
    platform.apply(platform.policy())
    told = platform.wait_connection("LoginNotLabeled")
    assert f"ServiceAccount {platform.home}/keyshepherd-vault" in told["message"]
    platform.wait_reason("VaultPolicy", "p", "LoginNotLabeled")
    assert platform.logins(since) == [] and platform.vault_policy() is None
    run_command_of(platform, told["message"])
    platform.wait_connection("Connected")
    platform.wait_reason("VaultPolicy", "p", "Reconciled")
    assert platform.vault_policy() is not None


@pytest.mark.parametrize("value", ["false", "yes", ""])
def test_the_label_has_the_value_true(platform, value):
    rig.login_account(platform.cluster, platform.home, labels={"keyshepherd.dev/vault-login": value})
    platform.connect()
    platform.wait_connection("LoginNotLabeled")


def test_a_label_that_is_taken_away_ends_the_session_and_its_token(platform, bao):
    rig.login_account(platform.cluster, platform.home)
    platform.connect()
    platform.apply(platform.policy(resyncPeriod="1h"))
    platform.wait_reason("VaultPolicy", "p", "Reconciled")
    since = len(bao.audit())
    platform.cluster.kubectl("label", "serviceaccount", "keyshepherd-vault", "-n", platform.home, "keyshepherd.dev/vault-login-")
    platform.look()  # by itself within a minute
    told = platform.wait_connection("LoginNotLabeled")
    wait_until(lambda: any(e["request"]["path"] == "auth/token/revoke-self" for e in bao.audit()[since:]), 5, "the token revoked")
    platform.apply(platform.policy(path="ai-apis/data/y", resyncPeriod="1h"))
    platform.wait_reason("VaultPolicy", "p", "LoginNotLabeled")
    assert "data/x" in platform.vault_policy() and platform.logins(since) == []
    run_command_of(platform, told["message"])
    platform.wait_reason("VaultPolicy", "p", "Reconciled")
    assert "data/y" in platform.vault_policy()


def test_a_login_secret_needs_the_label_too(platform, bao):
    token = bao.root.auth.token.create(policies=["keyshepherd-operator"], ttl="10m")["auth"]["client_token"]
    bao.root.auth.approle.create_or_update_approle(f"{platform.ns}-login", token_policies=["keyshepherd-operator"], token_ttl="10m")
    pair = bao.approle_credentials(f"{platform.ns}-login")
    for name, data, auth in (("token", {"token": token}, {"token": {"secretName": "token"}}),
                             ("pair", pair, {"appRole": {"secretName": "pair"}})):
        platform.cluster.core.create_namespaced_secret(platform.home, {"metadata": {"name": name}, "stringData": data})
        platform.connect(**auth)
        told = platform.wait_connection("LoginNotLabeled")
        assert f"Secret {platform.home}/{name}" in told["message"]
        run_command_of(platform, told["message"])
        platform.wait_connection("Connected")


# ---- what the operator and a tenant may do in the cluster ----------------------------------------------------------------


OPERATOR = "system:serviceaccount:keyshepherd:keyshepherd-operator"


def can(cluster, who, verb, resource, ns=None, name=None, subresource=None):
    """`kubectl auth can-i`."""
    arguments = [verb, f"{resource}/{name}" if name else resource]
    done = cluster.kubectl("auth", "can-i", *arguments, *(["--subresource", subresource] if subresource else []),
                           *(["-n", ns] if ns else ["-A"]), "--as", who, check=False)
    return done.stdout.strip() == "yes"


def test_the_operator_becomes_no_service_account_but_the_named_one(installed):
    assert can(installed, OPERATOR, "create", "serviceaccounts", "kube-system", "keyshepherd-vault", "token")
    for name in ("default", "vault-reviewer", None):
        assert not can(installed, OPERATOR, "create", "serviceaccounts", "kube-system", name, "token"), name
    assert can(installed, OPERATOR, "get", "serviceaccounts", "default", "keyshepherd-vault")
    assert not can(installed, OPERATOR, "get", "serviceaccounts", "default", "default")
    for verb in ("list", "create", "update", "patch"):
        assert not can(installed, OPERATOR, verb, "serviceaccounts", "default")
    assert can(installed, OPERATOR, "list", "secrets"), "the cluster-wide variant is what manifests/rbac.yaml has"


def test_a_tenant_may_declare_and_not_connect_nor_write_a_status(installed):
    installed.core.create_namespace({"metadata": {"name": "tenants"}})
    installed.kubectl("create", "rolebinding", "tenant", "-n", "tenants", "--clusterrole=keyshepherd-tenant", "--user=tenant")
    for kind in ("vaultmounts", "vaultpolicies", "vaultapproles", "vaultkubernetesroles", "vaultsecretids", "aiproviders"):
        resource = f"{kind}.keyshepherd.dev"
        for verb in ("get", "list", "watch", "create", "update", "patch", "delete"):
            assert can(installed, "tenant", verb, resource, "tenants"), (verb, kind)
            assert not can(installed, "tenant", verb, resource, "default"), (verb, kind)
        for verb in ("update", "patch"):
            assert not can(installed, "tenant", verb, resource, "tenants", subresource="status"), (verb, kind)
    for verb in ("create", "update", "patch", "delete"):
        assert not can(installed, "tenant", verb, "vaultconnections.keyshepherd.dev", "tenants")
        assert not can(installed, "tenant", verb, "clusteraiproviders.keyshepherd.dev")
    # The built-in roles get nothing of it.
    installed.kubectl("create", "rolebinding", "editor", "-n", "tenants", "--clusterrole=edit", "--user=editor")
    assert can(installed, "editor", "create", "deployments.apps", "tenants")
    assert not can(installed, "editor", "create", "vaultpolicies.keyshepherd.dev", "tenants")


@pytest.mark.parametrize("flags", [["--namespaces", "a b"], ["--namespaces", "A"], ["--namespaces", "a\n- b"],
                                   ["--service-account", "x]"], ["--service-account", ""]])
def test_names_that_kubernetes_does_not_take_make_no_rbac(flags):
    done = subprocess.run([*rig.keyshepherd(), "generate", "rbac", *flags], capture_output=True, text=True)
    assert done.returncode != 0 and done.stdout == "" and flags[0] in done.stderr, done


@pytest.fixture
def named_namespaces(installed, operator, bao, tmp_path):
    """The operator with Secrets in the namespaces of two teams only, and in one that is not there."""
    assert operator.stop() == 0
    teams = [Team(installed, bao) for _ in range(3)]
    named = [teams[0].ns, teams[1].ns, "not-there"]
    installed.core.create_namespace({"metadata": {"name": "not-there"}})
    rbac = subprocess.run([*rig.keyshepherd(), "generate", "rbac", "--namespaces", ",".join(named)], check=True, capture_output=True,
                          text=True).stdout
    installed.kubectl("delete", "clusterrole,clusterrolebinding", "keyshepherd-operator-secrets")
    rig.install(installed, "keyshepherd-operator", rbac)
    installed.kubectl("delete", "namespace", "not-there", "--timeout=30s")
    ours = rig.Operator(tmp_path / "operator", installed, bao, {"secret-namespaces": ",".join(named), "orphan-grace-seconds": 2})
    try:
        yield teams, ours
        assert ours.stop() == 0
    finally:
        ours.stop()
        rig.install_operator(installed)
        operator._start()
        wait_until(lambda: operator.leading, 15, "leading")
        for team in teams:
            installed.kubectl("delete", "namespace", team.ns, "--wait=false")


def test_with_named_namespaces_the_operator_needs_no_other_secret(named_namespaces, installed, bao):
    (first, second, outside), operator = named_namespaces
    for team in (first, second):
        assert can(installed, OPERATOR, "list", "secrets", team.ns)
    for ns in (outside.ns, "kube-system", "default"):
        for verb in ("get", "list", "watch", "create", "patch", "delete"):
            assert not can(installed, OPERATOR, verb, "secrets", ns), (verb, ns)
    assert not can(installed, OPERATOR, "list", "secrets")
    for team in (first, second, outside):
        team.apply(team.policy(), team.role(), custom("VaultSecretID", team.ns, "s", appRoleRef={"name": "r"}))
    for team in (first, second):
        team.wait_reason("VaultSecretID", "s", "Published", 20)
        secret = installed.get(f"/api/v1/namespaces/{team.ns}/secrets/s")
        installed.kubectl("delete", "secret", "s", "-n", team.ns)  # it is watched
        wait_until(lambda: installed.get(f"/api/v1/namespaces/{team.ns}/secrets/s")["metadata"]["uid"] != secret["metadata"]["uid"], 10)
    told = outside.wait_reason("VaultSecretID", "s", "SecretsNotAllowed")
    assert outside.ns in told["message"] and "--secret-namespaces" in told["message"]
    outside.wait_reason("VaultPolicy", "p", "Reconciled")
    for team in (first, second, outside):
        team.delete("VaultSecretID", "s")
        wait_until(lambda: team.stored("VaultSecretID", "s") is None, 15, "deleted")
    assert bao.root.auth.approle.read_role(f"{first.ns}-r") and "cannot watch" in operator.log


# ---- whose word counts ---------------------------------------------------------------------------------------------------


def restored(team, kind, name):
    """The resource as a backup brings it back, or a copy into another cluster: a new uid, and all else as it was, also its status.
    What it made stays in Vault."""
    before = team.stored(kind, name)
    path = f"/apis/{rig.GROUP}/namespaces/{team.ns}/{rig.PLURALS[kind]}/{name}"
    # As another cluster does not see the deletion of the first one's: without the finalizer nothing is removed.
    team.cluster.kubectl("patch", kind.lower(), name, "-n", team.ns, "--type=merge", "-p",
                         json.dumps({"metadata": {"annotations": {"keyshepherd.dev/paused": "true"}}}))
    team.wait_reason(kind, name, "Paused")
    team.cluster.kubectl("patch", kind.lower(), name, "-n", team.ns, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    team.delete(kind, name)
    wait_until(lambda: team.stored(kind, name) is None, 10)
    metadata = {k: before["metadata"][k] for k in ("name", "namespace", "annotations", "finalizers") if k in before["metadata"]}
    paused = metadata.setdefault("annotations", {}) | {"keyshepherd.dev/paused": "true"}
    made = {"apiVersion": rig.GROUP, "kind": kind, "metadata": metadata | {"annotations": paused}, "spec": before["spec"]}
    team.cluster.kubectl("create", "-f", "-", input=made)
    done = team.cluster.request("PATCH", path + "/status", {"status": before["status"]}, MERGE)
    assert done.status_code == 200, done.text
    assert team.stored(kind, name)["status"].get("claim") == before["status"].get("claim")
    team.cluster.kubectl("annotate", kind.lower(), name, "-n", team.ns, "keyshepherd.dev/paused-")
    return before


def test_a_restored_resource_with_its_status_does_not_own_what_it_made(team):
    team.apply(team.policy(), team.role())
    for kind, name in (("VaultPolicy", "p"), ("VaultAppRole", "r")):
        team.wait_reason(kind, name, "Reconciled")
        restored(team, kind, name)
        told = team.wait_reason(kind, name, "AdoptionRefused")
        assert "already exists in Vault" in told["message"]
        trusted = team.condition(kind, name, "StatusTrusted")
        assert trusted["status"] == "False" and "status.claim" in trusted["message"] and "adoptionPolicy" in trusted["message"]
        assert "claim" not in team.stored(kind, name)["status"]
    wait_until(lambda: team.events("StatusNotTrusted"), 5)
    for kind, name in (("VaultPolicy", "p"), ("VaultAppRole", "r")):
        team.delete(kind, name)
        wait_until(lambda: team.stored(kind, name) is None, 10)
    assert team.vault_policy() is not None and team.vault_role() is not None, "what it does not own it does not remove"


def test_a_restored_resource_owns_again_what_it_may_adopt(installed, bao, operator):
    team = Team(installed, bao, rights=["adopt"])
    team.apply(team.policy(adoptionPolicy="IfEqual"))
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    restored(team, "VaultPolicy", "p")
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    wait_until(lambda: team.condition("VaultPolicy", "p", "StatusTrusted") == {}, 10, "nothing is left of the refusal")
    team.delete("VaultPolicy", "p")
    wait_until(lambda: team.vault_policy() is None, 10, "it owns it again")


def test_with_another_key_of_the_operators_nothing_is_owned_until_the_first_is_back(installed, bao, operator, tmp_path):
    team = Team(installed, bao)
    team.apply(team.policy())
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    assert operator.stop() == 0
    path = "/api/v1/namespaces/keyshepherd/secrets/keyshepherd-operator-key"
    key = installed.get(path)
    installed.request("DELETE", path)
    other = rig.Operator(tmp_path / "other", installed, bao)
    try:
        team.wait_reason("VaultPolicy", "p", "AdoptionRefused", 20)
        assert other.stop() == 0
        # With its old key, but the status that this one left.
        installed.request("DELETE", path)
        installed.core.create_namespaced_secret("keyshepherd", {"metadata": {"name": key["metadata"]["name"]}, "data": key["data"]})
    finally:
        other.stop()
        operator._start()
    team.wait_reason("VaultPolicy", "p", "Reconciled", 20)


def test_a_broken_key_keeps_the_operator_from_working(installed, bao, operator, tmp_path):
    assert operator.stop() == 0
    path = "/api/v1/namespaces/keyshepherd/secrets/keyshepherd-operator-key"
    key = installed.get(path)
    installed.request("PATCH", path, {"data": {"key": "c2hvcnQ="}}, MERGE)
    other = rig.Operator(tmp_path / "other", installed, bao, start=False)
    team = Team(installed, bao)
    try:
        other.launch()
        wait_until(lambda: other.get("/readyz").status_code == 503 and "does not contain a key" in other.get("/readyz").text, 20)
        team.apply(team.policy())
        time.sleep(2)
        assert team.stored("VaultPolicy", "p").get("status") is None and team.vault_policy() is None
        installed.request("PATCH", path, {"data": key["data"]}, MERGE)
        team.wait_reason("VaultPolicy", "p", "Reconciled", 20)
        assert other.ready() and other.stop() == 0
    finally:
        installed.request("PATCH", path, {"data": key["data"]}, MERGE)
        other.stop()
        operator._start()


def test_a_forged_claim_gives_nothing(team, bao):
    """A policy that is in Vault already, and that the grants would let the namespace have."""
    bao.root.sys.create_or_update_policy(f"{team.ns}-p", 'path "theirs" { capabilities = ["read"] }')
    theirs = team.vault_policy()
    team.apply(team.policy(resyncPeriod="10s"))
    team.wait_reason("VaultPolicy", "p", "AdoptionRefused")
    vault = team.bao.address
    for seal in ({}, {"seal": "0" * 64}, {"seal": ""}):
        write_status(team, "VaultPolicy", "p", claim=f"{vault} sys/policies/acl/{team.ns}-p", **seal)
        wait_until(lambda: "claim" not in team.stored("VaultPolicy", "p")["status"], 25, "the forged claim is dropped")
        assert team.condition("VaultPolicy", "p", "StatusTrusted")["status"] == "False"
        assert team.condition("VaultPolicy", "p")["reason"] == "AdoptionRefused" and team.vault_policy() == theirs
    # Another's seal, whose claim holds for itself.
    team.apply(team.policy("q", resyncPeriod="10s"))
    team.wait_reason("VaultPolicy", "q", "Reconciled")
    q = team.stored("VaultPolicy", "q")
    write_status(team, "VaultPolicy", "p", claim=q["status"]["claim"].replace("-q", "-p"), seal=q["status"]["seal"])
    mark = q["metadata"]["annotations"]["keyshepherd.dev/claim"]
    team.cluster.kubectl("annotate", "vaultpolicy", "p", "-n", team.ns, f"keyshepherd.dev/claim={mark}")
    wait_until(lambda: "claim" not in team.stored("VaultPolicy", "p")["status"], 25)
    team.delete("VaultPolicy", "p")
    wait_until(lambda: team.stored("VaultPolicy", "p") is None, 10)
    assert team.vault_policy() == theirs


def test_a_forged_status_of_a_secret_id_destroys_nothing_elsewhere(team, installed, bao, operator):
    victim = Team(installed, bao)
    for one in (victim, team):
        one.apply(one.policy(), one.role(), custom("VaultSecretID", one.ns, "s", appRoleRef={"name": "r"}))
        one.wait_reason("VaultSecretID", "s", "Published")
    theirs = victim.stored("VaultSecretID", "s")["status"]
    facts = {k: theirs[k] for k in ("accessor", "connection", "vaultPath", "seal")}
    since = len(bao.audit())
    write_status(team, "VaultSecretID", "s", **facts)
    team.delete("VaultSecretID", "s")
    wait_until(lambda: team.stored("VaultSecretID", "s") is None, 20)
    role = f"{victim.ns}-r"
    assert bao.secret_id_accessors(role) == [theirs["accessor"]]
    assert not [r for r in requests(bao, since) if role in r[1]]
    assert accessors(team) == [], "its own is gone all the same: its metadata says whose it is"


def test_a_forged_cut_off_enables_no_entity(installed, bao, operator):
    team = Team(installed, bao, rights=["revokeTokens"])
    team.apply(team.role())
    team.wait_reason("VaultAppRole", "r", "Reconciled")
    entity = bao.root.write_data("identity/entity", data={"name": f"{team.ns}-other", "disabled": True})["data"]["id"]
    write_status(team, "VaultAppRole", "r", cutOffEntity=entity)
    look(team, "VaultAppRole", "r")
    wait_until(lambda: "cutOffEntity" not in team.stored("VaultAppRole", "r")["status"], 10)
    team.wait_reason("VaultAppRole", "r", "Reconciled")
    assert bao.root.read(f"identity/entity/id/{entity}")["data"]["disabled"] is True


# ---- deletions without a grant -------------------------------------------------------------------------------------------


def issue(team):
    team.apply(team.policy(), team.role(), custom("VaultSecretID", team.ns, "s", appRoleRef={"name": "r"}))
    team.wait_reason("VaultSecretID", "s", "Published")
    return team.stored("VaultSecretID", "s")["status"]["accessor"]


def accessors(team):
    return team.bao.secret_id_accessors(f"{team.ns}-r")


def namespace_events(team, reason):
    items = team.cluster.get("/apis/events.k8s.io/v1/events")["items"]
    return [e["note"] for e in items if e["reason"] == reason and e["regarding"]["name"] == team.ns]


def test_a_deletion_without_a_grant_touches_nothing_and_does_not_wedge(team, bao):
    accessor = issue(team)
    grant_nothing(team)
    since = len(bao.audit())
    for kind, name in (("VaultSecretID", "s"), ("VaultPolicy", "p"), ("VaultAppRole", "r")):
        team.delete(kind, name)
        told = team.wait_reason(kind, name, "DeletionBlocked")
        assert "is still in Vault" in told["message"] and "has no grant for namespace" in told["message"], told
    for kind, name in (("VaultSecretID", "s"), ("VaultPolicy", "p"), ("VaultAppRole", "r")):
        wait_until(lambda: team.stored(kind, name) is None, 20, f"{kind} goes after deletionTimeout")
    # It may look whether a restored Vault has a destroyed secret-id again.
    assert not [r for r in requests(bao, since) if team.ns in r[1] and not r[1].endswith("/secret-id-accessor/lookup")]
    assert accessors(team) == [accessor] and team.vault_policy() is not None
    notes = wait_until(lambda: n if len(n := namespace_events(team, "Orphaned")) == 3 else None, 10, "an event of each")
    assert any(f"auth/approle/role/{team.ns}-r is still in Vault" in note for note in notes), notes


def test_a_grant_that_comes_back_in_time_lets_the_deletion_do_its_work(team):
    issue(team)
    give_back = grant_nothing(team, "5m")
    team.delete("VaultSecretID", "s")
    team.wait_reason("VaultSecretID", "s", "DeletionBlocked")
    give_back()
    wait_until(lambda: team.stored("VaultSecretID", "s") is None, 20)
    assert accessors(team) == []


def test_a_secret_id_is_deleted_where_the_grant_is_there_and_the_role_is_gone(team):
    """The role's resource goes first, and what is judged is its place in Vault."""
    team.apply(team.policy(), team.role(deletionPolicy="Retain"), custom("VaultSecretID", team.ns, "s", appRoleRef={"name": "r"}))
    team.wait_reason("VaultSecretID", "s", "Published")
    team.delete("VaultAppRole", "r")
    wait_until(lambda: team.stored("VaultAppRole", "r") is None, 10)
    team.delete("VaultSecretID", "s")
    wait_until(lambda: team.stored("VaultSecretID", "s") is None, 10)
    assert accessors(team) == []


def test_without_the_right_to_revoke_a_cut_off_does_not_end(installed, bao, operator):
    team = Team(installed, bao, rights=["revokeTokens"])
    accessor_before = issue(team)
    pair = installed.core.read_namespaced_secret("s", team.ns).data
    assert accessor_before and pair
    team.cluster.kubectl("annotate", "vaultapprole", "r", "-n", team.ns, "keyshepherd.dev/cut-off=true")
    team.wait_reason("VaultAppRole", "r", "CutOff")
    spec = team.stored("VaultConnection", "main")["spec"]
    team.apply(custom("VaultConnection", team.ns, "main", **spec | {"grants": [spec["grants"][0] | {"rights": []}]}))
    team.cluster.kubectl("annotate", "vaultapprole", "r", "-n", team.ns, "keyshepherd.dev/cut-off-")
    told = wait_until(lambda: (c := team.wait_reason("VaultAppRole", "r", "NotGranted")) and "cannot end" in c["message"] and c, 10)
    assert "revokeTokens" in told["message"]
    assert "cutOffEntity" in team.stored("VaultAppRole", "r")["status"]
    team.apply(custom("VaultConnection", team.ns, "main", **spec))
    team.wait_reason("VaultAppRole", "r", "Reconciled", 20)
