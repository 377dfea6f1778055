"""VaultSecretID on a real API server and a real OpenBao: issued, published, rotated, repaired, revoked."""

import base64
import time

import hvac
import pytest
import rig
from rig import custom, wait_until
from team import Team, check_no_secret, installed, operator, requests, team  # noqa: F401 - fixtures


class Pair:
    """A team's VaultSecretID `s` of the role `r`, and the Secret that it publishes."""

    def __init__(self, team, name="s"):
        self.team, self.name = team, name

    def apply(self, role=None, **spec):
        self.team.apply(self.team.role(**(role or {})), custom("VaultSecretID", self.team.ns, self.name, **{
            "appRoleRef": {"name": "r"}, "overlap": "2s", "resyncPeriod": "5s"} | spec))

    def secret(self, name=None):
        response = self.team.cluster.request("GET", f"/api/v1/namespaces/{self.team.ns}/secrets/{name or self.name}")
        return response.json() if response.status_code == 200 else None

    def values(self):
        secret = self.secret()
        return None if secret is None else {k: base64.b64decode(v).decode() for k, v in secret.get("data", {}).items()}

    def login(self, values=None):
        values = values or self.values()
        client = self.team.bao.client()
        try:
            return client.auth.approle.login(values["role_id"], values["secret_id"])
        except hvac.exceptions.InvalidRequest:
            return None

    def status(self):
        return (self.team.stored("VaultSecretID", self.name) or {}).get("status", {})

    def accessors(self, role="r"):
        try:
            return self.team.bao.root.auth.approle.list_secret_id_accessors(f"{self.team.ns}-{role}")["data"]["keys"]
        except hvac.exceptions.InvalidPath:
            return []

    def published(self, seconds=15):
        self.team.wait_reason("VaultSecretID", self.name, "Published", seconds)
        return self.values()

    def rotated(self, before, seconds=15):
        wait_until(lambda: self.values() and self.values().get("secret_id") not in (None, before["secret_id"]), seconds,
                   "another secret-id")
        return self.values()


@pytest.fixture
def pair(team):
    return Pair(team)


def test_a_pair_is_issued_published_and_logs_in(pair, team):
    pair.apply(ttl="1h")
    values = pair.published()
    answer = pair.login(values)
    assert answer["auth"]["metadata"]["resource"] == f"{team.ns}/s" and answer["auth"]["metadata"]["managed-by"] == "keyshepherd"
    status = pair.status()
    assert [status["accessor"]] == pair.accessors()
    assert status["issuedAt"] < status["nextRotation"] < status["expiresAt"]
    assert pair.secret("s-pending") is None
    assert "Published" in team.cluster.kubectl("get", "vaultsecretid", "s", "-n", team.ns)
    wait_until(lambda: team.events("Issued"), 5)


def test_rotate_now_rotates_once_and_destroys_the_old_one_after_the_overlap(pair, team):
    pair.apply()
    first = pair.published()
    team.cluster.kubectl("annotate", "vaultsecretid", "s", "-n", team.ns, "keyshepherd.dev/rotate-now=1")
    second = pair.rotated(first)
    assert pair.login(second) and pair.login(first), "both are good in the overlap"
    wait_until(lambda: not pair.login(first), 10, "the old one destroyed")
    wait_until(lambda: pair.accessors() == [pair.status()["accessor"]], 5)
    time.sleep(3)
    assert pair.values() == second and "previousAccessor" not in pair.status()
    assert len(team.events("Rotated")) == 1


def test_a_deleted_or_edited_secret_is_mended_at_once(pair, team):
    pair.apply()
    first = pair.published()
    team.cluster.core.delete_namespaced_secret("s", team.ns)
    second = pair.rotated(first, 2)
    wait_until(lambda: pair.login(), 2)
    wait_until(lambda: pair.status()["accessor"] in pair.accessors() and len(pair.accessors()) == 1, 10)
    team.cluster.core.patch_namespaced_secret("s", team.ns, {"data": {"secret_id": base64.b64encode(b"x").decode()}})
    wait_until(lambda: pair.values()["secret_id"] not in ("x", second["secret_id"]) and pair.login(), 2, "mended")
    team.cluster.core.patch_namespaced_secret("s", team.ns, {"data": {"role_id": None}})
    wait_until(lambda: pair.values().get("role_id") == first["role_id"], 2, "role_id again")


def test_a_deleted_resource_leaves_nothing(pair, team):
    pair.apply()
    values = pair.published()
    team.delete("VaultSecretID", "s")
    wait_until(lambda: team.stored("VaultSecretID", "s") is None, 10)
    assert not pair.login(values) and pair.accessors() == [] and pair.secret() is None
