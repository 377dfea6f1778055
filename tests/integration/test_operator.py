"""`keyshepherd operator` on a real API server with RBAC, and a real OpenBao whose audit file counts its requests."""

import json
import re
import socket
import subprocess
import time

import hvac
import pytest
import rig
from rig import custom, wait_until
from team import Team, check_no_secret, installed, operator, requests, team  # noqa: F401 - fixtures
from test_revocation import good
from test_secret_id import Pair


def test_policies_roles_and_mounts_become_what_their_resources_say(team, bao):
    team.apply(team.policy(), team.role(), custom("VaultMount", team.ns, "kv", path=f"{team.ns}/kv", type="kv",
                                                  options={"version": "2"}, deletionPolicy="Delete"))
    for kind, name in (("VaultConnection", "main"),):
        team.wait_reason(kind, name, "Connected")
    for kind, name in (("VaultPolicy", "p"), ("VaultAppRole", "r"), ("VaultMount", "kv")):
        ready = team.wait_reason(kind, name, "Reconciled")
        assert ready["status"] == "True" and ready["observedGeneration"] == 1
    assert team.vault_policy() == 'path "ai-apis/data/x" {\n  capabilities = ["read"]\n}\n'
    assert team.vault_role()["token_ttl"] == 3600 and team.vault_role()["token_policies"] == [f"{team.ns}-p"]
    assert bao.root.sys.list_mounted_secrets_engines()["data"][f"{team.ns}/kv/"]["options"] == {"version": "2"}
    status = team.stored("VaultAppRole", "r")["status"]
    assert status["roleID"] == bao.root.auth.approle.read_role_id(f"{team.ns}-r")["data"]["role_id"]
    wait_until(lambda: team.events("Created"), 5, "an event, which nobody waits for")
    table = team.cluster.kubectl("get", "keyshepherd", "-n", team.ns)
    assert "Reconciled" in table and "Connected" in table, table


def test_a_changed_resource_changes_vault_and_a_deleted_one_is_gone(team):
    team.apply(team.policy())
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    team.apply(team.policy(path="ai-apis/data/y"))
    wait_until(lambda: "data/y" in team.vault_policy(), 10)
    wait_until(lambda: team.condition("VaultPolicy", "p").get("observedGeneration") == 2, 10)
    team.delete("VaultPolicy", "p")
    wait_until(lambda: team.stored("VaultPolicy", "p") is None and team.vault_policy() is None, 10)


def test_retain_leaves_the_object_and_paused_leaves_it_alone(team, bao):
    team.apply(team.policy(deletionPolicy="Retain"))
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    team.delete("VaultPolicy", "p")
    wait_until(lambda: team.stored("VaultPolicy", "p") is None, 10)
    assert team.vault_policy() is not None
    paused = team.policy("q")
    paused["metadata"]["annotations"] = {"keyshepherd.dev/paused": "true"}
    team.apply(paused)
    team.wait_reason("VaultPolicy", "q", "Paused")
    assert team.vault_policy("q") is None


def test_a_hand_edit_is_repaired_within_the_resync_period_and_told(team, bao, operator):
    team.apply(team.policy(), team.role())
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    team.wait_reason("VaultAppRole", "r", "Reconciled")
    wanted = team.vault_policy()
    drifts = operator.metric("keyshepherd_drift_total")
    bao.root.sys.create_or_update_policy(f"{team.ns}-p", 'path "*" { capabilities = ["sudo"] }')
    bao.root.auth.approle.create_or_update_approle(f"{team.ns}-r", token_ttl="9h")
    began = time.monotonic()
    wait_until(lambda: team.vault_policy() == wanted and team.vault_role()["token_ttl"] == 3600, 10 + 3, "repaired")
    print(f"repaired after {time.monotonic() - began:.2f} s with resyncPeriod 10 s")
    wait_until(lambda: len(team.events("DriftRepaired")) == 2, 5)
    assert any("token_ttl: 32400 → 3600" in e["note"] for e in team.events("DriftRepaired"))
    assert operator.metric("keyshepherd_drift_total") == drifts + 2


def test_other_spacing_is_no_drift_and_report_only_is_not_repaired(team, bao):
    team.apply(team.policy(), team.policy("q", driftPolicy="Report"))
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    team.wait_reason("VaultPolicy", "q", "Reconciled")
    spaced = team.vault_policy().replace("\n", "\r\n").replace(" = ", "=")
    edited = 'path "x" { capabilities = ["read"] }'
    bao.root.sys.create_or_update_policy(f"{team.ns}-p", spaced)
    bao.root.sys.create_or_update_policy(f"{team.ns}-q", edited)
    team.look("VaultPolicy", "p", "q")
    team.wait_reason("VaultPolicy", "q", "DriftDetected")
    assert team.condition("VaultPolicy", "q", "Drifted")["status"] == "True"
    time.sleep(1)
    assert team.vault_policy() == spaced and team.vault_policy("q") == edited
    assert team.events("DriftRepaired") == []


def test_a_steady_state_writes_nothing_anywhere(team, bao, installed):
    team.apply(team.policy(), team.role())
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    team.wait_reason("VaultAppRole", "r", "Reconciled")
    time.sleep(1)
    versions = [team.stored(k, n)["metadata"]["resourceVersion"] for k, n in (("VaultPolicy", "p"), ("VaultAppRole", "r"))]
    since = len(bao.audit())
    time.sleep(11)
    reads = [r for r in requests(bao, since, ("read",)) if team.ns in r[1]]
    writes = [r for r in requests(bao, since) if team.ns in r[1]]
    print(f"{len(reads)} reads of 2 resources in 11 s with resyncPeriod 10 s, {len(writes)} writes")
    assert 2 <= len(reads) <= 6 and writes == []
    assert versions == [team.stored(k, n)["metadata"]["resourceVersion"]
                        for k, n in (("VaultPolicy", "p"), ("VaultAppRole", "r"))], "no status write"


def many(team, count, seconds):
    """So many policies p0, p1, … made at once, and Ready."""
    policies = [team.policy(f"p{i}", resyncPeriod=f"{seconds}s") for i in range(count)]
    team.apply({"apiVersion": "v1", "kind": "List", "items": policies})

    def ready():
        items = team.cluster.get(f"/apis/{rig.GROUP}/namespaces/{team.ns}/vaultpolicies")["items"]
        return sum(any(c["reason"] == "Reconciled" for c in item.get("status", {}).get("conditions", [])) for item in items) == count

    wait_until(ready, 30, "all Ready")


def lists(bao, since=0):
    return [r for r in requests(bao, since, ("list",)) if r[1].startswith("sys/policies/detailed/acl")]


def bulk_reads(bao):
    """Of all policies where the server has that list, else of all mounts."""
    return lists(bao) if bao.is_openbao else [r for r in requests(bao, 0, ("read",)) if r[1] == "sys/mounts"]


def test_many_policies_and_mounts_are_read_at_once_and_a_hand_edit_is_repaired_as_soon(team, bao):
    period, count, sweeps = 10, 40, 2
    team.apply(custom("VaultMount", team.ns, "kv", path=f"{team.ns}/kv", type="kv", options={"version": "2"}, description="ours",
                      deletionPolicy="Delete", resyncPeriod=f"{period}s"))
    many(team, count, period)
    wait_until(lambda: lists(bao), 4 * period, "one question about all policies")
    time.sleep(period)
    since = len(bao.audit())
    time.sleep(period * sweeps)
    asked, singly = lists(bao, since), [r for r in requests(bao, since, ("read",)) if team.ns in r[1]]
    writes = [r for r in requests(bao, since) if team.ns in r[1]]
    print(f"{len(asked)} lists and {len(singly)} single reads of {count} policies in {sweeps} periods")
    if bao.is_openbao:
        assert len(asked) + len(singly) < count * sweeps / 3 and asked and writes == []
    else:  # HashiCorp Vault has no list of policies with their texts: it was asked for one before, and is not asked again
        assert asked == [] and len(singly) >= count and writes == []

    # The worst moment: the answer that was just given out does not show it, and has to do for a while.
    wanted, worst = team.vault_policy("p7"), 0
    for _ in range(2):
        before = len(bulk_reads(bao))
        wait_until(lambda: len(bulk_reads(bao)) > before, 2 * period, "the next answer about all", every=0.02)
        bao.root.sys.create_or_update_policy(f"{team.ns}-p7", 'path "*" { capabilities = ["sudo"] }')
        bao.root.sys.tune_mount_configuration(f"{team.ns}/kv", description="by hand")
        began = time.monotonic()
        wait_until(lambda: team.vault_policy("p7") == wanted and
                   bao.root.sys.list_mounted_secrets_engines()["data"][f"{team.ns}/kv/"]["description"] == "ours",
                   2 * period, "repaired", every=0.05)
        worst = max(worst, time.monotonic() - began)
    print(f"repaired after {worst:.2f} s at most with resyncPeriod {period} s")
    assert worst <= period + 1


def test_an_operator_that_may_not_list_policies_reads_them_singly(installed, bao, operator):
    team = Team(installed, bao)
    bao.root.sys.create_or_update_policy("no-list", """
        path "sys/policies/acl/*" { capabilities = ["create", "read", "update", "delete"] }""")
    bao.root.write_data("auth/kubernetes/role/no-list", data={
        "bound_service_account_names": ["keyshepherd-vault"], "bound_service_account_namespaces": [team.ns], "audience": "vault",
        "token_policies": ["no-list"], "token_ttl": "1h"})
    connection = team.stored("VaultConnection", "main")
    connection["spec"]["auth"]["kubernetes"]["role"] = "no-list"
    team.apply({k: connection[k] for k in ("apiVersion", "kind", "spec")} | {"metadata": {"name": "main", "namespace": team.ns}})
    refused = operator.metric('keyshepherd_vault_requests_total{code="403",operation="list"')
    many(team, 30, 10)
    wait_until(lambda: operator.metric('keyshepherd_vault_requests_total{code="403",operation="list"') > refused, 25, "a refused list")
    since = len(bao.audit())
    time.sleep(11)
    singly = [r for r in requests(bao, since, ("read",)) if team.ns in r[1]]
    assert len(singly) >= 30
    assert operator.metric('keyshepherd_vault_requests_total{code="403",operation="list"') == refused + 1, "remembered"
    assert team.condition("VaultPolicy", "p3")["reason"] == "Reconciled" and team.condition("VaultConnection", "main")["status"] == "True"
    assert team.events("PermissionDenied") == []
    installed.kubectl("delete", "namespace", team.ns, "--wait=false")


def test_a_lost_role_is_made_again_with_its_role_id(team, bao):
    team.apply(team.role())
    team.wait_reason("VaultAppRole", "r", "Reconciled")
    before = bao.root.auth.approle.read_role_id(f"{team.ns}-r")["data"]["role_id"]
    bao.root.auth.approle.delete_role(f"{team.ns}-r")
    team.look("VaultAppRole", "r")
    wait_until(lambda: team.vault_role(), 10)  # that it is absent a moment after it was made may be a stale answer
    assert bao.root.auth.approle.read_role_id(f"{team.ns}-r")["data"]["role_id"] == before


def test_what_is_already_there_is_refused_and_left(team, bao):
    bao.root.sys.create_or_update_policy(f"{team.ns}-p", 'path "mine" { capabilities = ["read"] }')
    team.apply(team.policy())
    refused = team.wait_reason("VaultPolicy", "p", "AdoptionRefused")
    for way in (f"add the right adopt to grants[].rights for namespace {team.ns}", "set spec.adoptionPolicy to IfEqual or Adopt"):
        assert way in refused["message"], refused
    assert refused["status"] == "False"
    team.apply(team.policy(adoptionPolicy="Adopt"))  # not granted
    time.sleep(1)
    assert team.condition("VaultPolicy", "p")["reason"] == "AdoptionRefused"
    team.delete("VaultPolicy", "p")
    wait_until(lambda: team.stored("VaultPolicy", "p") is None, 10)
    assert "mine" in team.vault_policy(), "what was not ours stays"


def test_two_resources_on_one_object_the_older_keeps_it(team):
    team.apply(team.policy("p"))
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    time.sleep(1.1)  # creation times have seconds
    rival = team.policy("rival", path="ai-apis/data/rival")
    rival["spec"]["name"] = f"{team.ns}-p"
    team.apply(rival)
    conflict = team.wait_reason("VaultPolicy", "rival", "Conflict")
    assert f"VaultPolicy {team.ns}/p" in conflict["message"]
    assert "rival" not in team.vault_policy()
    team.delete("VaultPolicy", "p")
    team.wait_reason("VaultPolicy", "rival", "Reconciled")
    assert "rival" in team.vault_policy()


def test_what_is_not_granted_reaches_no_vault(team, bao):
    tries = {"a": {"rules": [{"path": "*", "capabilities": ["sudo"]}]}, "b": {"rules": [{"path": "sys/*", "capabilities": ["read"]}]},
             "c": {"name": "default"}, "d": {"name": "keyshepherd-operator"}, "e": {"name": "other"}}
    since = len(bao.audit())
    for name, spec in tries.items():
        team.apply(team.policy(name, **spec))
    team.apply(team.role("f", tokenPolicies=["root"]), team.role("g", tokenPolicies=["keyshepherd-operator"]),
               team.role("h", mount="nomount"))
    for name in tries:
        team.wait_reason("VaultPolicy", name, "NotGranted")
    for name in "fgh":
        team.wait_reason("VaultAppRole", name, "NotGranted")
    assert [r for r in requests(bao, since) if team.ns in r[1] or "team-" not in r[1]] == []


def test_the_names_of_every_login_to_the_vault_are_reserved_also_those_that_come_later(team, installed, bao):
    """Of another connection's login, and of its role in Vault: whatever the grants of our own connection say."""
    other = Team(installed, bao, auth={"kubernetes": {"role": "Other-Operator", "serviceAccountName": "keyshepherd-vault"}})
    role = {"bound_service_account_names": ["keyshepherd-vault"], "bound_service_account_namespaces": [other.ns],
            "audience": "vault", "token_policies": [f"{other.ns}-power"]}
    bao.root.sys.create_or_update_policy(f"{other.ns}-power", 'path "auth/kubernetes/role/*" { capabilities = ["read"] }')
    bao.root.write_data("auth/kubernetes/role/other-operator", data=role)
    other.wait_reason("VaultConnection", "main", "Connected", 30)
    spec = team.stored("VaultConnection", "main")["spec"]
    spec["grants"][0] |= {"names": ["*"], "policies": ["*"]}
    team.apply(custom("VaultConnection", team.ns, "main", **spec))

    team.apply(team.policy("theirs", name=f"{other.ns}-power", resyncPeriod="1h"),
               team.policy("later", name=f"{other.ns}-later", resyncPeriod="1h"),
               team.role("r", name=f"{team.ns}-r", tokenPolicies=[f"{other.ns}-power"], resyncPeriod="1h"),
               custom("VaultKubernetesRole", team.ns, "k", name="other-operator", mount="kubernetes", resyncPeriod="1h",
                      boundServiceAccountNames=["mine"], boundServiceAccountNamespaces=[team.ns]))
    for kind, name in (("VaultPolicy", "theirs"), ("VaultAppRole", "r"), ("VaultKubernetesRole", "k")):
        message = team.wait_reason(kind, name, "NotGranted")["message"]
        assert "is reserved" in message, message
    team.wait_reason("VaultPolicy", "later", "Reconciled")
    bao.root.write_data("auth/kubernetes/role/other-operator", data=role | {
        "token_policies": [f"{other.ns}-power", f"{other.ns.upper()}-Later"]})
    other.look("VaultConnection", "main")
    team.wait_reason("VaultPolicy", "later", "NotGranted")
    assert bao.root.auth.kubernetes.read_role("other-operator")["bound_service_account_names"] == ["keyshepherd-vault"]
    other.delete("VaultConnection", "main")  # what is nobody's login is not reserved
    team.wait_reason("VaultPolicy", "theirs", "AdoptionRefused")
    installed.kubectl("delete", "namespace", other.ns, "--wait=false")


def test_another_namespace_may_use_a_connection_only_with_a_grant(team, installed, bao):
    guest = Team(installed, bao)
    ref = {"name": "main", "namespace": team.ns}
    guest.apply(guest.policy(connectionRef=ref))
    refused = guest.wait_reason("VaultPolicy", "p", "NotGranted")
    assert f"has no grant for namespace {guest.ns}" in refused["message"]
    guest.delete("VaultPolicy", "p")
    installed.kubectl("delete", "namespace", guest.ns, "--wait=false")


def test_a_user_lockout_is_set_compared_and_repaired(team, bao):
    """Vault takes it from /tune alone: where the mount is made it is ignored."""
    path = f"{team.ns}-users"
    team.apply(custom("VaultMount", team.ns, "users", path=path, engine="Auth", type="userpass", deletionPolicy="Delete", resyncPeriod="10s",
                      config={"userLockoutConfig": {"threshold": 2, "duration": "10m", "counterReset": "300s"}}))
    team.wait_reason("VaultMount", "users", "Reconciled")

    def held():
        return bao.root.sys.list_auth_methods()["data"][f"{path}/"]["config"].get("user_lockout_config")
    wanted = {"user_lockout_threshold": 2, "user_lockout_duration": 600, "user_lockout_counter_reset_duration": 300, "user_lockout_disable": False}
    assert held() == wanted
    # It is what locks: the third login, with the right password, is refused.
    bao.root.write_data(f"auth/{path}/users/ann", data={"password": "right"})
    for password in ("wrong", "wrong"):
        with pytest.raises(hvac.exceptions.VaultError):
            bao.client().auth.userpass.login("ann", password, mount_point=path)
    with pytest.raises(hvac.exceptions.VaultError):
        bao.client().auth.userpass.login("ann", "right", mount_point=path)
    version = team.stored("VaultMount", "users")["metadata"]["resourceVersion"]
    time.sleep(3)
    assert team.stored("VaultMount", "users")["metadata"]["resourceVersion"] == version, "in sync, it writes nothing"
    bao.root.write_data(f"sys/auth/{path}/tune", data={"user_lockout_config": {"lockout_disable": True}})
    team.look("VaultMount", "users")
    wait_until(lambda: held() == wanted, 10, "repaired")


def test_the_api_server_refuses_names_that_leave_their_place_and_changed_identities(team, installed):
    for name in ("../x", "a/../b", "A", "/a", "", "a.", "a./b", f"{team.ns}-p."):
        done = installed.kubectl("apply", "--server-side", "-f", "-", input=team.policy("bad", name=name), check=False)
        assert done.returncode != 0 and "spec.name" in done.stderr, (name, done.stderr)
    done = installed.kubectl("apply", "--server-side", "-f", "-", input=team.role("bad", mount="a/../../sys"), check=False)
    assert done.returncode != 0 and "spec.mount" in done.stderr
    for field, value in (("mount", "approle."), ("name", "r."), ("tokenPolicies", ["p."]), ("tokenBoundCIDRs", ["10.0.0.0/40"]),
                         ("secretIDBoundCIDRs", ["10.0.0.0/33"]), ("tokenBoundCIDRs", ["fd00::/129"]), ("tokenBoundCIDRs", ["10.0.0.256"]),
                         ("tokenBoundCIDRs", ["10.0.0"]), ("tokenBoundCIDRs", ["010.0.0.1"])):
        done = installed.kubectl("apply", "--server-side", "-f", "-", input=team.role("bad", **{field: value}), check=False)
        assert done.returncode != 0 and f"spec.{field}" in done.stderr, (field, value, done.stderr)
    good = ["10.0.0.1", "0.0.0.0/0", "10.0.0.0/8", "255.255.255.255/32", "::/0", "::1", "fd00:10::/64", "2001:db8::1/128", "::ffff:10.0.0.1"]
    installed.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", input=team.role("good", tokenBoundCIDRs=good))
    for period in ("0", "0s", "0h0m", "9s", "9", "9500ms", "0d"):
        done = installed.kubectl("apply", "--server-side", "-f", "-", input=team.policy("bad", resyncPeriod=period), check=False)
        assert done.returncode != 0 and "resyncPeriod must be at least 10s" in done.stderr, (period, done.stderr)
    done = installed.kubectl("apply", "--server-side", "-f", "-", input=team.policy("bad", resyncPeriod=60), check=False)
    assert done.returncode != 0 and "resyncPeriod: expected string" in done.stderr, done.stderr
    for ttl in ("1", "59s", "6s", "500ms", "0m59s"):
        short = custom("VaultSecretID", team.ns, "bad", appRoleRef={"name": "r"}, ttl=ttl)
        done = installed.kubectl("apply", "--server-side", "-f", "-", input=short, check=False)
        assert done.returncode != 0 and "ttl must be at least 60s, or 0" in done.stderr, (ttl, done.stderr)
    for ttl in ("0", "0s", "0d", "60", "1m", "0d1m", "1d", "1d500ms", "24h"):
        enough = custom("VaultSecretID", team.ns, "good", appRoleRef={"name": "r"}, ttl=ttl)
        installed.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", input=enough)
    lockout = custom("VaultMount", team.ns, "bad", path=f"{team.ns}-k", engine="Auth", type="kubernetes", config={"userLockoutConfig": {}})
    done = installed.kubectl("apply", "--server-side", "-f", "-", input=lockout, check=False)
    assert done.returncode != 0 and "requires engine Auth and type approle, userpass or ldap" in done.stderr
    plain = custom("VaultConnection", team.ns, "bad", address="http://v:8200", ca="x", auth={"token": {"secretName": "t"}})
    done = installed.kubectl("apply", "--server-side", "-f", "-", input=plain, check=False)
    assert done.returncode != 0 and "require an https:// address" in done.stderr
    both = team.policy("bad", hcl="x")
    done = installed.kubectl("apply", "--server-side", "-f", "-", input=both, check=False)
    assert done.returncode != 0 and "set either rules or hcl, but not both" in done.stderr
    team.apply(team.policy())
    moved = team.policy(name=f"{team.ns}-moved")
    done = installed.kubectl("apply", "--server-side", "-f", "-", input=moved, check=False)
    assert done.returncode != 0 and "is immutable; create a new resource instead" in done.stderr


def test_hcl_that_vault_refuses_is_told_and_mended_by_an_edit(team):
    broken = team.policy()
    del broken["spec"]["rules"]
    broken["spec"]["hcl"] = 'path "a" { capabilities = [ }'
    team.apply(broken)
    told = team.wait_reason("VaultPolicy", "p", "InvalidSpec")
    assert "parse" in told["message"]
    broken["spec"]["hcl"] = 'path "a" { capabilities = ["read"] }'
    team.apply(broken)
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    assert team.vault_policy() == broken["spec"]["hcl"]


def test_a_missing_mount_is_named(team):
    team.apply(team.role(mount=f"{team.ns}-none"))
    told = team.wait_reason("VaultAppRole", "r", "MountNotFound")
    assert f"auth/{team.ns}-none" in told["message"]


def test_a_resource_waits_for_its_connection(team):
    late = team.policy(connectionRef={"name": "later"})
    late["spec"]["connectionRef"] = {"name": "later"}
    team.apply(late)
    team.wait_reason("VaultPolicy", "p", "ConnectionNotFound")
    connection = team.stored("VaultConnection", "main")
    team.apply({"apiVersion": rig.GROUP, "kind": "VaultConnection", "metadata": {"name": "later", "namespace": team.ns},
                "spec": connection["spec"]})
    team.wait_reason("VaultPolicy", "p", "Reconciled")


def test_a_connection_logs_in_by_jwt(team, bao, installed):
    """The JWT auth method of Vault, which checks the token by the cluster's public key alone."""
    public = (installed.folder / "pki" / "service-accounts.pub").read_text()
    if "jwt/" not in bao.root.sys.list_auth_methods()["data"]:
        bao.root.sys.enable_auth_method("jwt")
    bao.root.write_data("auth/jwt/config", data={"jwt_validation_pubkeys": [public]})
    bao.root.write_data("auth/jwt/role/keyshepherd-operator", data={
        "role_type": "jwt", "bound_audiences": ["vault"], "user_claim": "sub", "token_policies": ["keyshepherd-operator"],
        "bound_subject": f"system:serviceaccount:{team.ns}:keyshepherd-vault", "token_ttl": "1h"})
    connection = team.stored("VaultConnection", "main")["spec"]
    connection["auth"] = {"jwt": {"role": "keyshepherd-operator", "serviceAccountName": "keyshepherd-vault"}}
    team.apply({"apiVersion": rig.GROUP, "kind": "VaultConnection", "metadata": {"name": "main", "namespace": team.ns}, "spec": connection})
    team.apply(team.policy())
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    accessors = {e["auth"].get("display_name", "") for e in bao.audit() if e["type"] == "request" and f"{team.ns}-p" in e["request"]["path"]}
    assert any(name.startswith("jwt-") for name in accessors), accessors


def test_an_address_that_the_operator_does_not_allow_is_not_contacted(team):
    team.apply(custom("VaultConnection", team.ns, "other", address="https://127.0.0.1:1",
                      auth={"token": {"secretName": "none"}}))
    told = team.wait_reason("VaultConnection", "other", "AddressNotAllowed")
    assert "--vault-address" in told["message"]


def test_a_dead_token_is_replaced_without_a_resource_noticing(team, bao, operator):
    team.apply(team.policy())
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    logins = operator.metric("keyshepherd_vault_logins_total")
    bao.root.write_data("sys/leases/revoke-prefix/auth/kubernetes/login", data={})
    bao.root.sys.create_or_update_policy(f"{team.ns}-p", 'path "x" { capabilities = ["read"] }')
    wait_until(lambda: team.vault_policy() == 'path "ai-apis/data/x" {\n  capabilities = ["read"]\n}\n', 10)
    assert team.condition("VaultPolicy", "p")["reason"] == "Reconciled"
    assert operator.metric("keyshepherd_vault_logins_total") > logins


def test_a_namespace_goes_with_everything_in_it(team, bao, installed):
    policies = [team.policy(f"n{i}") for i in range(10)]
    roles = [team.role(f"n{i}") for i in range(10)]
    installed.kubectl("apply", "--server-side", "-f", "-", input={"apiVersion": "v1", "kind": "List", "items": policies + roles})
    for i in range(10):
        team.wait_reason("VaultPolicy", f"n{i}", "Reconciled")
        team.wait_reason("VaultAppRole", f"n{i}", "Reconciled")
    # What the namespace controller itself takes when something has a finalizer, in the same run: it waits 5 s before its first
    # look, and again before its second.
    floor = installed.namespace("floor")
    held = f"/api/v1/namespaces/{floor}/configmaps/held"
    installed.request("POST", held.rsplit("/", 1)[0], {"metadata": {"name": "held", "finalizers": ["example.com/held"]}})
    began = time.monotonic()
    installed.kubectl("delete", "namespace", team.ns, floor, "--wait=false")
    gone = {}

    def all_gone():
        if "deletionTimestamp" in installed.request("GET", held).json().get("metadata", {}):
            installed.request("PATCH", held, {"metadata": {"finalizers": None}}, "application/merge-patch+json")
        for ns in (team.ns, floor):
            if ns not in gone and installed.request("GET", f"/api/v1/namespaces/{ns}").status_code == 404:
                gone[ns] = time.monotonic() - began
        return len(gone) == 2

    wait_until(all_gone, 40, "namespaces gone")
    print(f"namespace with connection, ServiceAccount and 20 resources gone after {gone[team.ns]:.1f} s; "
          f"one with a finalizer that is taken away at once after {gone[floor]:.1f} s")
    left = [p for p in bao.root.sys.list_policies()["data"]["policies"] if p.startswith(team.ns)]
    left += [r for r in (bao.root.auth.approle.list_roles()["data"]["keys"]) if r.startswith(team.ns)]
    assert left == []
    # The operator does not wait for the first look, which then finds nothing that has a finalizer.
    assert gone[team.ns] < 10, gone


def test_one_denied_path_takes_nothing_else_down(installed, bao, operator):
    team = Team(installed, bao)
    bao.root.sys.create_or_update_policy("small", """
        path "sys/policies/acl/*" { capabilities = ["create", "read", "update", "delete"] }""")
    bao.root.write_data("auth/kubernetes/role/small", data={
        "bound_service_account_names": ["keyshepherd-vault"], "bound_service_account_namespaces": ["*"], "audience": "vault",
        "token_policies": ["small"], "token_ttl": "1h"})
    connection = team.stored("VaultConnection", "main")
    connection["spec"]["auth"]["kubernetes"]["role"] = "small"
    team.apply({k: connection[k] for k in ("apiVersion", "kind", "spec")} | {"metadata": {"name": "main", "namespace": team.ns}})
    team.apply(team.policy(), team.role())
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    denied = team.wait_reason("VaultAppRole", "r", "PermissionDenied")
    assert f"auth/approle/role/{team.ns}-r" in denied["message"]
    installed.kubectl("delete", "namespace", team.ns, "--wait=false")


def test_a_restarted_api_server_costs_nothing_but_time(team, installed, operator):
    team.apply(team.policy())
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    installed.restart_apiserver()
    team.apply(team.policy("after"))
    team.wait_reason("VaultPolicy", "after", "Reconciled", 60)
    assert operator.process.alive



def test_edits_are_applied_soon_after_a_long_absence_of_the_api_server(team, installed, operator):
    """Long enough for every wait between attempts to have grown to its cap."""
    team.apply(team.policy())
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    installed.stop_apiserver()
    try:
        time.sleep(50)
        assert not operator.ready() and "cannot watch the API server" in operator.get("/readyz").text
    finally:
        installed.restart_apiserver()
    team.apply(team.policy(path="ai-apis/data/edited"))
    wait_until(lambda: "ai-apis/data/edited" in team.vault_policy(), 10, "the edit is in Vault")
    wait_until(operator.ready, 10)


def test_a_half_open_watch_is_noticed_and_told_by_readiness(own, installed, tmp_path):
    """The proxy goes on to hold every connection, and forwards nothing: only silence tells."""
    team, bao, first = own
    first.stop()
    proxy = rig.Proxy(int(installed.url.rsplit(":", 1)[1]))
    ours = rig.Operator(tmp_path / "proxied", installed, bao, {"call-seconds": 2}, server=f"https://127.0.0.1:{proxy.port}")
    try:
        wait_until(lambda: ours.leading, 15, "leading")
        team.apply(team.policy())
        team.wait_reason("VaultPolicy", "p", "Reconciled")
        assert ours.ready()
        proxy.cut_off = True
        wait_until(lambda: not ours.ready(), 45, "it is noticed", every=0.5)
        assert "cannot watch the API server" in ours.get("/readyz").text
        proxy.cut_off = False
        wait_until(ours.ready, 20, "it is read again", every=0.5)
        team.apply(team.policy(path="ai-apis/data/edited"))
        wait_until(lambda: "ai-apis/data/edited" in team.vault_policy(), 20)
    finally:
        proxy.close()
        ours.stop()


@pytest.fixture
def own(tools, certificates, installed, operator, tmp_path):
    assert operator.stop() == 0  # its Lease goes to ours
    bao = rig.Bao(tmp_path / "bao", tools, certificates)
    bao.root.sys.enable_auth_method("approle")
    ours = None
    try:
        bao.root.sys.create_or_update_policy("keyshepherd-operator", """
            path "sys/policies/acl/*" { capabilities = ["create", "read", "update", "delete"] }
            path "auth/approle/role/*" { capabilities = ["create", "read", "update", "delete"] }""")
        team = Team.__new__(Team)
        team.cluster, team.bao, team.ns = installed, bao, f"own-{int(time.time())}"
        installed.core.create_namespace({"metadata": {"name": team.ns}})
        bao.root.auth.approle.create_or_update_approle("operator", token_policies=["keyshepherd-operator"], token_ttl="1h")
        credentials = bao.approle_credentials("operator")
        installed.core.create_namespaced_secret(team.ns, {"metadata": {"name": "login", "labels": rig.LOGIN_LABEL}, "stringData": credentials})
        grant = {"namespaces": [team.ns], "names": [f"{team.ns}-*"], "mounts": ["approle"], "paths": ["ai-apis/*"]}
        team.apply(custom("VaultConnection", team.ns, "main", address=bao.address, ca=bao.certificates.ca_pem,
                          auth={"appRole": {"secretName": "login"}}, grants=[grant], deletionTimeout="15s"))
        ours = rig.Operator(tmp_path / "operator", installed, bao, {"call-seconds": 2})
        wait_until(lambda: ours.leading, 15, "leading")
        yield team, bao, ours
    finally:
        if ours:
            ours.stop()
            for secret in (bao.root_token, credentials["secret_id"]):
                assert secret not in ours.log
        bao.stop()
        operator._start()


def test_a_sealed_vault_is_told_and_everything_is_equal_after_its_return(own):
    team, bao, operator = own
    team.apply(team.policy())
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    bao.seal()
    told = team.wait_reason("VaultConnection", "main", "VaultSealed", 15)
    assert told["status"] == "Unknown"
    team.apply(team.policy("q"))
    wait_until(lambda: team.condition("VaultPolicy", "q").get("reason") in ("VaultSealed", "VaultUnavailable"), 10)
    bao.unseal()
    began = time.monotonic()
    team.wait_reason("VaultPolicy", "q", "Reconciled", 60)
    print(f"equal {time.monotonic() - began:.1f} s after unsealing")
    team.wait_reason("VaultConnection", "main", "Connected", 60)


def test_a_deletion_while_vault_is_away_waits_and_then_lets_go(own):
    team, bao, operator = own
    left_before = operator.metric("keyshepherd_left_in_vault")  # of other tests
    team.apply(team.policy(), team.policy("q"))
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    team.wait_reason("VaultPolicy", "q", "Reconciled")
    bao.stop()
    team.delete("VaultPolicy", "p")
    team.wait_reason("VaultPolicy", "p", "DeletionBlocked", 10)
    wait_until(lambda: team.stored("VaultPolicy", "p") is None, 30, "let go after deletionTimeout")

    def orphaned():
        items = team.cluster.get("/apis/events.k8s.io/v1/namespaces/default/events")["items"]
        return any(e["reason"] == "Orphaned" and f"{team.ns}-p" in e["note"] for e in items)

    wait_until(orphaned, 15, "the event about the namespace")
    bao.start()
    team.delete("VaultPolicy", "q")
    wait_until(lambda: team.stored("VaultPolicy", "q") is None, 60)
    assert team.vault_policy("q") is None
    wait_until(lambda: team.vault_policy("p") is None, 75, "what was left is removed, now that it can be")
    wait_until(lambda: operator.metric("keyshepherd_left_in_vault") <= left_before, 10)


def test_a_leader_that_is_cut_off_writes_nothing_after_its_rival(own, installed, tmp_path):
    team, bao, first = own
    first.stop()
    proxy = rig.Proxy(int(installed.url.rsplit(":", 1)[1]))
    url = f"https://127.0.0.1:{proxy.port}"
    one = rig.Operator(tmp_path / "one", installed, bao, {"call-seconds": 2}, server=url)
    wait_until(lambda: one.leading, 15, "the first leads")
    for i in range(5):  # so that one of them is looked at every two seconds, also by whoever hears nothing any more
        team.apply(team.policy(f"p{i}"))
        team.wait_reason("VaultPolicy", f"p{i}", "Reconciled")
        time.sleep(1.5)
    two = rig.Operator(tmp_path / "two", installed, bao)
    assert not two.leading
    proxy.cut_off = True
    # Both would repair this at once: only the time of their reign tells them apart.
    def tamper():
        for i in range(5):
            bao.root.sys.create_or_update_policy(f"{team.ns}-p{i}", f'path "{time.time()}" {{ capabilities = ["read"] }}')
            installed.request("PATCH", f"/apis/{rig.GROUP}/namespaces/{team.ns}/vaultpolicies/p{i}", {"metadata": {"annotations": {
                f"{rig.PREFIX}reconcile-at": str(time.time_ns())}}}, "application/merge-patch+json")
    end = time.monotonic() + 12
    while time.monotonic() < end and not two.leading:
        tamper()
        time.sleep(0.2)
    assert two.leading and not one.leading
    for _ in range(10):
        tamper()
        time.sleep(0.3)
    proxy.cut_off = False
    time.sleep(1)
    proxy.close()
    one.stop(), two.stop()
    writers = []  # the token of each write, in order
    for entry in bao.audit():
        request = entry["request"]
        if entry["type"] == "request" and request["operation"] in ("create", "update") and f"acl/{team.ns}-p" in request["path"] \
                and "root" not in entry["auth"].get("policies", []):
            writers.append(entry["auth"]["accessor"])
    order = list(dict.fromkeys(writers))
    assert len(order) == 2, f"{len(order)} tokens wrote"
    handover = writers.index(order[1])
    assert order[0] not in writers[handover:], "the old leader wrote after the new one"
    print(f"{handover} writes of the old leader, then {len(writers) - handover} of the new one")


def answer(status, reason):
    body = rig.json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": status})
    return (f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode()


@pytest.mark.parametrize("refusal", [answer(409, "Conflict"), answer(500, "InternalError"), b""], ids=["409", "500", "dropped"])
def test_a_status_that_could_not_be_written_is_written_as_soon_as_it_can_be(own, installed, certificates, tmp_path, refusal, request):
    """Refusals and pauses wait for a change, which never comes: each status has to be tried again for its own sake."""
    team, bao, first = own
    first.stop()
    proxy = rig.RefusingProxy(int(installed.url.rsplit(":", 1)[1]), certificates, installed.ca)

    def refuse(sent):
        line = sent.split(b"\r\n", 1)[0]
        ours = f"/namespaces/{team.ns}/".encode() in line  # others' resources may be left over
        return refusal if ours and line.startswith(b"PATCH ") and b"/status" in line else None

    one = rig.Operator(tmp_path / "one", installed, bao, server=f"https://127.0.0.1:{proxy.port}", ca=certificates.ca)
    request.addfinalizer(one.stop)  # or it holds the Lease against the next test
    wait_until(lambda: one.leading, 15, "leading")
    proxy.refuse = refuse
    paused = {"keyshepherd.dev/paused": "true"}
    resources = [
        (team.policy("granted", resyncPeriod="1h"), "Reconciled"),
        (team.policy("refused", path="elsewhere/x", resyncPeriod="1h"), "NotGranted"),
        (team.policy("paused", resyncPeriod="1h") | {"paused": True}, "Paused"),
        (team.policy("lost", resyncPeriod="1h", connectionRef={"name": "none"}), "ConnectionNotFound"),
        (custom("VaultSecretID", team.ns, "s", appRoleRef={"name": "none"}, resyncPeriod="1h"), "RoleNotFound"),
        (custom("AIProvider", team.ns, "acme", path="elsewhere/data/x", resyncPeriod="1h",
                variables=[{"name": "A", "key": "api_key"}]), "NotGranted"),
        (custom("VaultConnection", team.ns, "far", address="https://elsewhere:8200", auth={"token": {"secretName": "t"}}),
         "AddressNotAllowed"),
    ]
    for made, _ in resources:
        if made.pop("paused", False):
            made["metadata"]["annotations"] = paused
        team.apply(made)
    wait_until(lambda: proxy.refused >= 3 * len(resources), 30, "each was refused several times")
    assert all(team.condition(made["kind"], made["metadata"]["name"]) == {} for made, _ in resources)
    proxy.refuse = None
    for made, reason in resources:
        team.wait_reason(made["kind"], made["metadata"]["name"], reason, 40)
    time.sleep(5)  # what follows from these states is written, too
    before = proxy.refused
    proxy.refuse = refuse
    time.sleep(2)
    assert proxy.refused == before, f"what was written is written again: {one.log[-2000:]}"
    assert one.stop() == 0
    proxy.close()


def test_a_mark_that_is_not_the_operators_is_not_believed(team, bao):
    """Whoever may write the resource may write its annotations: a copied or invented mark takes over nothing."""
    team.apply(team.policy("q"))
    team.wait_reason("VaultPolicy", "q", "Reconciled")
    mark = team.stored("VaultPolicy", "q")["metadata"]["annotations"]["keyshepherd.dev/claim"]
    assert len(mark) == 64
    bao.root.sys.create_or_update_policy(f"{team.ns}-p", 'path "mine" { capabilities = ["read"] }')
    for name, forged in (("copied", mark), ("invented", "0" * 64)):
        wanted = team.policy(name)
        wanted["spec"]["name"] = f"{team.ns}-p"
        wanted["metadata"] |= {"annotations": {"keyshepherd.dev/claim": forged}, "finalizers": ["keyshepherd.dev/cleanup"]}
        team.apply(wanted)
        team.wait_reason("VaultPolicy", name, "AdoptionRefused")
        team.delete("VaultPolicy", name)
        wait_until(lambda: team.stored("VaultPolicy", name) is None, 10)
        assert "mine" in team.vault_policy()


def test_nobody_without_a_grant_holds_up_an_owner(team, installed, bao):
    """An older resource on the same object, of a namespace that was granted nothing, is no owner; nor is one that comes to the
    Vault later than the object was made."""
    squatter = Team(installed, bao)
    squat = squatter.policy("squat", connectionRef={"name": "main", "namespace": team.ns})
    squat["spec"]["name"] = f"{team.ns}-p"
    late = squatter.policy("late", connectionRef={"name": "later"})
    late["spec"]["name"] = f"{team.ns}-p"
    squatter.apply(squat, late)
    squatter.wait_reason("VaultPolicy", "squat", "NotGranted")
    time.sleep(1.1)
    team.apply(team.policy())
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    squatter.apply(custom("VaultConnection", squatter.ns, "later", address=bao.address + "/", ca=bao.certificates.ca_pem,
                          auth={"token": {"secretName": "none"}}))
    squatter.wait_reason("VaultConnection", "later", "AuthFailed")
    team.apply(team.policy(path="ai-apis/data/narrower"))
    wait_until(lambda: "narrower" in team.vault_policy(), 10)
    assert team.condition("VaultPolicy", "p")["reason"] == "Reconciled"
    installed.kubectl("delete", "namespace", squatter.ns, "--wait=false")


def test_a_finalizer_that_a_replace_dropped_comes_back(team, installed):
    team.apply(team.policy())
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    installed.request("PATCH", f"/apis/{rig.GROUP}/namespaces/{team.ns}/vaultpolicies/p", {"metadata": {"finalizers": None}},
                      "application/merge-patch+json")
    team.look("VaultPolicy", "p")
    wait_until(lambda: team.stored("VaultPolicy", "p")["metadata"].get("finalizers"), 10)
    team.delete("VaultPolicy", "p")
    wait_until(lambda: team.stored("VaultPolicy", "p") is None and team.vault_policy() is None, 10)


def test_a_report_only_resource_still_takes_its_own_edits(team, bao):
    team.apply(team.policy(driftPolicy="Report"))
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    team.apply(team.policy(driftPolicy="Report", path="ai-apis/data/edited"))
    wait_until(lambda: "edited" in team.vault_policy(), 10)
    bao.root.sys.create_or_update_policy(f"{team.ns}-p", 'path "x" { capabilities = ["read"] }')
    team.look("VaultPolicy", "p")
    told = team.wait_reason("VaultPolicy", "p", "DriftDetected")
    assert "path x: read → absent" in told["message"]
    wait_until(lambda: team.events("DriftDetected"), 10)


def test_a_quota_slows_down_and_loses_nothing(own):
    team, bao, operator = own
    team.wait_reason("VaultConnection", "main", "Connected")
    bao.limit_rate(8)
    policies = [team.policy(f"n{i}", resyncPeriod="5m") for i in range(20)]
    installed = team.cluster
    before, began = operator.metric("keyshepherd_vault_requests_total"), time.monotonic()
    installed.kubectl("apply", "--server-side", "-f", "-", input={"apiVersion": "v1", "kind": "List", "items": policies})
    for i in range(20):
        team.wait_reason("VaultPolicy", f"n{i}", "Reconciled", 60)
    seconds = time.monotonic() - began
    bao.lift_rate_limit()
    assert all(team.vault_policy(f"n{i}") for i in range(20))
    refused = operator.metric('keyshepherd_vault_requests_total{code="429"')
    asked = operator.metric("keyshepherd_vault_requests_total") - before
    print(f"20 policies in {seconds:.1f} s through a quota of 8 requests a second; {refused:.0f} of {asked:.0f} were refused")
    assert asked <= 1.2 * (asked - refused), "a quota is learned from its first refusals"
    assert refused > 0, "the quota never bit"


def test_the_operator_lives_under_exactly_the_policy_that_plan_prints(own, tmp_path):
    """Create, repair, delete and the login's own end: nothing is denied, and nothing of the policy is left unused."""
    team, bao, operator = own
    team.wait_reason("VaultConnection", "main", "Connected")
    connection = {k: v for k, v in team.stored("VaultConnection", "main").items() if k in ("apiVersion", "kind", "spec")}
    connection["metadata"] = {"name": "main", "namespace": team.ns}
    connection["spec"]["grants"][0] |= {"mounts": ["approle", "kubernetes", f"{team.ns}*"], "policies": [f"{team.ns}-*"],
                                        "rights": ["revokeTokens"]}
    secret_ids = [custom("VaultSecretID", team.ns, "s", appRoleRef={"name": "pinned"}, overlap="2s"),
                  custom("VaultSecretID", team.ns, "plain", appRoleRef={"name": "r"}, overlap="2s")]
    everything = [
        team.policy(), team.role(deletionPolicy="Retain"), team.role("pinned", roleID=f"{team.ns}-the-one", tokenTTL="2h", revokeTokens=True),
        custom("VaultMount", team.ns, "kv", path=f"{team.ns}/kv", type="kv", deletionPolicy="Delete", resyncPeriod="10s"),
        custom("VaultMount", team.ns, "auth", path=f"{team.ns}-auth", engine="Auth", type="kubernetes", deletionPolicy="Delete",
               resyncPeriod="10s"),
        custom("VaultKubernetesRole", team.ns, "k", name=f"{team.ns}-k", mount=f"{team.ns}-auth", tokenTTL="1h",
               boundServiceAccountNames=["app"], resyncPeriod="10s")]
    documents, grants = rig.with_connections(tmp_path, [*secret_ids, connection, *everything])
    done = subprocess.run([*rig.keyshepherd(), "plan", "-f", "-", *grants, "--policy-for-operator"], capture_output=True, text=True,
                          input=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
    assert (done.returncode, done.stderr) == (0, "")
    assert operator.stop() == 0
    bao.root.sys.create_or_update_policy("keyshepherd-operator", done.stdout)
    bao.root.auth.approle.create_or_update_approle("operator", token_policies=["keyshepherd-operator"], token_ttl="3s",
                                                   token_max_ttl="1h", token_no_default_policy=True)
    since = len(bao.audit())
    operator._start()
    team.apply(connection, *everything)
    kinds = [(o["kind"], o["metadata"]["name"]) for o in everything]
    for kind, name in kinds:
        team.wait_reason(kind, name, "Reconciled", 30)

    root = bao.root
    root.sys.create_or_update_policy(f"{team.ns}-p", 'path "x" { capabilities = ["read"] }')
    for name in ("r", "pinned"):
        root.auth.approle.create_or_update_approle(f"{team.ns}-{name}", token_ttl="9h")
    root.auth.approle.update_role_id(f"{team.ns}-pinned", "by-hand")
    root.sys.tune_mount_configuration(f"{team.ns}/kv", description="by hand")
    root.sys.tune_auth_method(f"{team.ns}-auth", description="by hand")
    root.write_data(f"auth/{team.ns}-auth/role/{team.ns}-k", data={"bound_service_account_names": ["x"],
                                                                   "bound_service_account_namespaces": ["y"]})
    wait_until(lambda: len({e["regarding"]["name"] for e in team.events("DriftRepaired")}) == len(kinds), 30, "all repaired")

    # Secret-ids: issued, rotated with a token out, cut off and issued again, deleted.
    team.apply(*secret_ids)
    pairs = [Pair(team, "s"), Pair(team, "plain")]
    for pair in pairs:
        first = pair.published()
        assert pair.login(first)
        annotate = ("annotate", "--overwrite", "-n", team.ns)
        team.cluster.kubectl(*annotate, "vaultsecretid", pair.name, "keyshepherd.dev/rotate-now=1")
        pair.rotated(first)
        wait_until(lambda: not pair.login(first), 15, "the old one destroyed")  # noqa: B023
    token = pairs[0].login()["auth"]["client_token"]
    cut_off = pairs[0].values()
    team.cluster.kubectl(*annotate, "vaultapprole", "pinned", "keyshepherd.dev/cut-off=true")
    team.wait_reason("VaultSecretID", "s", "CutOff")
    wait_until(lambda: not pairs[0].accessors("pinned"), 10, "all destroyed")
    team.cluster.kubectl(*annotate, "vaultapprole", "pinned", "keyshepherd.dev/cut-off-")
    # A login with the destroyed one counts towards the lockout of the role.
    wait_until(lambda: pairs[0].values() not in (None, cut_off), 15, "another one")
    assert pairs[0].login()
    root.auth.approle.generate_secret_id(f"{team.ns}-r")  # somebody else's, which has to be looked at to be left
    for pair in pairs:
        team.delete("VaultSecretID", pair.name)
    wait_until(lambda: not any(team.stored("VaultSecretID", pair.name) for pair in pairs), 15)

    team.delete("VaultKubernetesRole", "k")  # while its mount is there
    wait_until(lambda: team.stored("VaultKubernetesRole", "k") is None, 15)
    for kind, name in kinds[:-1]:
        team.delete(kind, name)
    wait_until(lambda: not any(team.stored(kind, name) for kind, name in kinds), 15)
    assert team.vault_policy() is None and team.vault_role() and team.vault_role("pinned") is None
    assert operator.stop() == 0

    asked = [e for e in bao.audit()[since:] if e["type"] == "response" and "root" not in e.get("auth", {}).get("policies", [])
             and "/login" not in e["request"]["path"] and e["request"]["path"] != "sys/health"
             # Which policies that gives is looked at where it is allowed; no resource names the role of an AppRole login.
             and e["request"]["path"] != "auth/approle/role/operator"]
    assert not good(bao, token)
    mounted = next(i for i, e in enumerate(asked) if (e["request"]["path"], e["request"]["operation"]) == (f"sys/auth/{team.ns}-auth", "update"))

    def is_about_what_is_gone_or_not_there_yet(at, entry):
        path, error = entry["request"]["path"], entry["error"]
        return ("failed to find accessor" in error  # destroyed already
                # A destroyed secret-id of a role that is gone.
                or path.endswith("/secret-id-accessor/lookup") and "does not exist" in error
                # The role of a mount that is being made: both servers answer 404 until it is there. HashiCorp Vault starts the
                # plugin's process for it, which takes so long that the role is nearly always looked at before.
                or at < mounted and path == f"auth/{team.ns}-auth/role/{team.ns}-k" and "unsupported path" in error
                and entry["request"]["operation"] == "read")

    assert [(e["request"]["path"], e["error"]) for i, e in enumerate(asked)
            if e.get("error") and not is_about_what_is_gone_or_not_there_yet(i, e)] == []
    used = {(re.sub("^identity/entity/id/.*", "identity/entity/id/*", e["request"]["path"]).rstrip("/"), e["request"]["operation"])
            for e in asked}
    allowed = {(path, capability) for path, each in rig.policy_rules(done.stdout).items() for capability in each}
    assert used == {(path, capability) for path, capability in allowed if capability != "sudo"}
    print(f"{len(asked)} requests of an operator under {len(rig.policy_rules(done.stdout))} paths, none denied, none unused")


def test_a_name_server_that_never_answers_holds_up_nobody(own, installed, tmp_path):
    """The name server is a socket that nobody reads; the operator sees it by an /etc/resolv.conf of its own."""
    team, bao, first = own
    first.stop()
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.53", 53))
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.53\noptions timeout:30 attempts:5\n")
    wrapped = rig.keyshepherd
    rig.keyshepherd = lambda: ["unshare", "-m", "sh", "-c", f'mount --bind {resolv} /etc/resolv.conf && exec "$@"', "sh", *wrapped()]
    try:
        operator = rig.Operator(tmp_path / "deaf", installed, bao, {
            "vault-address": [bao.address, "https://a.vault.nowhere.example:8200"], "call-seconds": 2})
    finally:
        rig.keyshepherd = wrapped
    try:
        team.apply(custom("VaultConnection", team.ns, "nowhere", address="https://a.vault.nowhere.example:8200",
                          auth={"token": {"secretName": "login", "key": "secret_id"}}),
                   team.policy("lost", connectionRef={"name": "nowhere"}), team.policy())
        team.wait_reason("VaultPolicy", "p", "Reconciled", 15)
        told = team.wait_reason("VaultConnection", "nowhere", "VaultUnavailable", 15)
        assert "vault.nowhere.example" in told["message"]
        team.wait_reason("VaultPolicy", "lost", "VaultUnavailable", 15)
        began = time.monotonic()
        assert operator.stop() == 0
        print(f"ended {time.monotonic() - began:.2f} s after SIGTERM, with a name that is still being looked up")
        assert time.monotonic() - began < 3
    finally:
        operator.stop()
        silent.close()


def test_killed_anywhere_it_goes_on_where_it_was(own, installed, tmp_path):
    """kill -9 while objects are being made: what was made just before is known as ours afterwards, and not refused as foreign."""
    team, bao, operator = own
    team.wait_reason("VaultConnection", "main", "Connected")
    made = []
    for round_, pause in enumerate((0.02, 0.1, 0.2)):
        batch = [team.policy(f"k{round_}-{i}", resyncPeriod="5m") for i in range(12)]
        made += [p["metadata"]["name"] for p in batch]
        installed.kubectl("apply", "--server-side", "-f", "-", input={"apiVersion": "v1", "kind": "List", "items": batch})
        time.sleep(pause)
        operator.process.popen.kill()
        operator.process.popen.wait()
        there = sum(team.vault_policy(name) is not None for name in made)
        print(f"killed with {there} of {len(made)} policies in Vault")
        operator._start()
        wait_until(lambda: operator.leading, 20, "leading")
    for name in made:
        team.wait_reason("VaultPolicy", name, "Reconciled", 30)
        assert team.vault_policy(name)
    for name in made:
        team.delete("VaultPolicy", name)
    wait_until(lambda: not any(team.stored("VaultPolicy", name) for name in made), 30)
    assert not any(team.vault_policy(name) for name in made), "each was known as ours, and went"


def test_an_edit_while_it_is_being_made_is_not_lost(team):
    """The spec changes again and again under the operator's hands: the last one is what Vault holds."""
    for i in range(12):
        team.apply(team.policy(path=f"ai-apis/data/v{i}", resyncPeriod="5m"))
    wait_until(lambda: "data/v11" in (team.vault_policy() or ""), 15)
    wait_until(lambda: team.condition("VaultPolicy", "p").get("observedGeneration") == team.stored("VaultPolicy", "p")["metadata"]["generation"], 15)
    assert team.condition("VaultPolicy", "p")["reason"] == "Reconciled"


def test_what_is_in_vault_under_a_narrowed_grant_is_told(team, installed):
    """By the resource and by its connection, until it is granted again or removed."""
    team.apply(team.policy(), team.role(), custom("VaultSecretID", team.ns, "s", appRoleRef={"name": "r"}))
    for kind, name, reason in (("VaultPolicy", "p", "Reconciled"), ("VaultAppRole", "r", "Reconciled"), ("VaultSecretID", "s", "Published")):
        team.wait_reason(kind, name, reason)
    written = team.vault_policy()
    connection = {k: v for k, v in team.stored("VaultConnection", "main").items() if k in ("apiVersion", "kind", "spec")}
    connection["metadata"] = {"name": "main", "namespace": team.ns}
    grant = connection["spec"]["grants"][0]

    def grant_names(names):
        team.apply(connection | {"spec": connection["spec"] | {"grants": [grant | {"names": names}]}})

    def left(kind, name):
        found = team.condition(kind, name, "StillInVault")
        return found.get("message") if found.get("status") == "True" else None

    assert left("VaultConnection", "main") is None and left("VaultPolicy", "p") is None
    grant_names(["other-*"])
    for kind, name in (("VaultPolicy", "p"), ("VaultAppRole", "r"), ("VaultSecretID", "s")):
        team.wait_reason(kind, name, "NotGranted")
        wait_until(lambda: left(kind, name), 10, f"{kind} {name} tells of it")  # noqa: B023
    condition = team.condition("VaultPolicy", "p", "StillInVault")
    assert condition["reason"] == "NotGranted" and condition["message"] == (
        f"sys/policies/acl/{team.ns}-p is still in Vault, unchanged: the policy is still in effect for tokens that have it. To remove "
        f"it, restore the grant, delete VaultPolicy {team.ns}/p, and then remove the grant")
    assert f"auth/approle/role/{team.ns}-r is still in Vault" in left("VaultAppRole", "r")
    assert team.stored("VaultSecretID", "s")["status"]["accessor"] in left("VaultSecretID", "s")
    assert team.vault_policy() == written and team.vault_role(), "it is not touched"

    def told():
        return left("VaultConnection", "main") or ""

    named = [f"VaultAppRole {team.ns}/r", f"VaultPolicy {team.ns}/p", f"VaultSecretID {team.ns}/s"]
    wait_until(lambda: all(each in told() for each in named), 15, "the connection tells of all")

    grant_names([f"{team.ns}-*"])
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    wait_until(lambda: not told(), 15, "granted again")
    assert left("VaultPolicy", "p") is None

    grant_names(["other-*"])
    wait_until(lambda: named[1] in told(), 15)
    team.delete("VaultPolicy", "p")
    team.wait_reason("VaultPolicy", "p", "DeletionBlocked", 15)
    assert team.vault_policy() == written
    grant_names([f"{team.ns}-*"])
    wait_until(lambda: team.vault_policy() is None, 30, "the way out that the message names")
    wait_until(lambda: not told(), 75, "the connection tells of nothing any more")


def test_a_rule_over_a_child_namespace_is_refused_and_one_in_a_new_mount_waits_for_it(team, bao):
    before = len(bao.audit())
    team.apply(team.policy("wide", path=f"{team.ns}/*"), team.policy("deep", path=f"{team.ns}/kv/*"))
    for name in ("wide", "deep"):
        assert "child namespace" in team.wait_reason("VaultPolicy", name, "NotGranted")["message"]
    assert not [path for _, path in requests(bao, before) if team.ns in path]
    team.apply(custom("VaultMount", team.ns, "kv", path=f"{team.ns}/kv", type="kv"))
    team.wait_reason("VaultPolicy", "deep", "Reconciled")
    assert team.condition("VaultPolicy", "wide")["reason"] == "NotGranted" and team.vault_policy("wide") is None


def test_plan_from_the_cluster_shows_what_the_operator_would_repair(team, bao, installed, tmp_path):
    team.apply(team.policy(driftPolicy="Report"), team.role(driftPolicy="Report"),
               custom("VaultSecretID", team.ns, "s", appRoleRef={"name": "r"}))
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    team.wait_reason("VaultAppRole", "r", "Reconciled")
    team.wait_reason("VaultSecretID", "s", "Published")
    token = tmp_path / "token"
    token.write_text(bao.root_token)

    def run(command, *more):
        return subprocess.run([*rig.keyshepherd(), command, *more, "--from-cluster", "--kubeconfig", installed.kubeconfig,
                               "--vault-address", bao.address, "--vault-token-file", token, "--vault-ca-file",
                               bao.certificates.ca, "-o", "json"], capture_output=True, text=True, timeout=60)

    def ours(done):
        return {r["resource"]: r for r in json.loads(done.stdout)["resources"] if f"{team.ns}/" in r["resource"]}

    bao.root.sys.create_or_update_policy(f"{team.ns}-p", 'path "x" { capabilities = ["read"] }')
    planned = run("plan")
    assert "skipped VaultSecretIDs: " in planned.stderr
    rows = ours(planned)
    assert f"VaultSecretID {team.ns}/s" not in rows
    assert rows[f"VaultPolicy {team.ns}/p"]["verdict"] == "to update" and rows[f"VaultAppRole {team.ns}/r"]["verdict"] == "in sync"
    assert ours(run("apply"))[f"VaultPolicy {team.ns}/p"]["verdict"] == "updated"
    assert "ai-apis/data/x" in team.vault_policy()

    leaving = team.policy("leaving")
    # A tenant can hold a deleted resource, which names what it has no grant for and never made: no rights are printed for it.
    held = [custom("VaultPolicy", team.ns, "held", name="keyshepherd-operator", rules=[{"path": "x", "capabilities": ["read"]}]),
            custom("VaultMount", team.ns, "held", path="kubernetes", engine="Auth", type="kubernetes", deletionPolicy="Delete"),
            custom("VaultAppRole", team.ns, "held", name="another-team.x", revokeTokens=True)]
    for each in held:
        each["metadata"]["finalizers"] = ["example.dev/held"]
    team.apply(*held)
    for each in held:
        team.delete(each["kind"], "held")
    # Of a provider that is being deleted nothing is read.
    providers = [custom("AIProvider", team.ns, name, path=f"ai-apis/data/{team.ns}/{name}", variables=[{"name": "A", "key": "a"}])
                 for name in ("acme", "leaving")]
    leaving["metadata"]["finalizers"] = providers[1]["metadata"]["finalizers"] = ["example.dev/held"]
    team.apply(leaving, *providers)
    for kind in ("VaultPolicy", "AIProvider"):
        team.delete(kind, "leaving")
    printed = run("plan", "--policy-for-operator")
    for kind, name in [("vaultpolicy", "leaving"), ("aiprovider", "leaving"), *((each["kind"].lower(), "held") for each in held)]:
        team.cluster.kubectl("patch", kind, name, "-n", team.ns, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    assert printed.returncode == 0, printed.stderr
    assert not {"sys/policies/acl/keyshepherd-operator", "sys/auth/kubernetes", "auth/approle/role/another-team.x"} & set(
        rig.policy_rules(printed.stdout.split(f"# VaultConnection {team.ns}/main\n")[-1].split("\n# ")[0]))
    block = printed.stdout.split(f"# VaultConnection {team.ns}/main\n")[-1].split("\n# ")[0]
    assert {path: allowed for path, allowed in rig.policy_rules(block).items() if team.ns in path} == {
        f"ai-apis/metadata/{team.ns}/acme": ["read"],
        f"auth/approle/role/{team.ns}-r": ["create", "read", "update", "delete"],
        f"auth/approle/role/{team.ns}-r/custom-secret-id": ["update"],
        f"auth/approle/role/{team.ns}-r/role-id": ["read"],
        f"auth/approle/role/{team.ns}-r/secret-id": ["list"],
        f"auth/approle/role/{team.ns}-r/secret-id-accessor/destroy": ["update"],
        f"auth/approle/role/{team.ns}-r/secret-id-accessor/lookup": ["update"],
        f"auth/approle/role/{team.ns}-r/secret-id/lookup": ["update"],
        f"sys/policies/acl/{team.ns}-leaving": ["read", "update", "delete"],
        f"sys/policies/acl/{team.ns}-p": ["read", "update", "delete"]}
