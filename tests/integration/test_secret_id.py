"""VaultSecretID on a real API server and a real OpenBao: issued, published, rotated, repaired, revoked."""

import base64
import collections
import contextlib
import json
import re
import signal
import threading
import time

import hvac
import pytest
import rig
from rig import custom, wait_until
from team import Team, check_no_secret, installed, requests, team  # noqa: F401 - fixtures

GRACE = 2  # seconds of --orphan-grace-seconds
MERGE = "application/merge-patch+json"


@pytest.fixture(scope="module")
def operator(installed, bao, tmp_path_factory):
    # Five refused logins would lock a role out for a quarter of an hour, also for a pair that is good.
    bao.root.write_data("sys/auth/approle/tune", data={"user_lockout_config": {"lockout_disable": True}})
    operator = rig.Operator(tmp_path_factory.mktemp("operator"), installed, bao, {"orphan-grace-seconds": GRACE})
    wait_until(lambda: operator.leading, 15, "leading")
    yield operator
    assert operator.process.alive, operator.log[-3000:]
    assert operator.stop() == 0, operator.log[-2000:]
    check_no_secret(operator, bao)


@pytest.fixture
def alone(operator, installed, bao, tmp_path):
    """alone() makes an operator of the test's own, while the module's rests; alone.team() a team for it."""
    alone = Alone(installed, bao, tmp_path)
    # What other tests have left would be met by an operator that is to die at this test's resources.
    wait_until(lambda: not alone.resources(), 120, "the resources of other tests gone")
    assert operator.stop() == 0
    yield alone
    alone.end()
    operator._start()
    wait_until(lambda: operator.leading, 15, "leading")
    for team in alone.teams:
        # First what has to be taken out of Vault: in a namespace that is going, an operator that has just started gets no token.
        installed.kubectl("delete", "vaultsecretids,vaultapproles", "--all", "-n", team.ns, "--timeout=20s", check=False)
        installed.kubectl("delete", "namespace", team.ns, "--wait=false")


class Alone:
    def __init__(self, cluster, bao, folder):
        self.cluster, self.bao, self.folder, self.operators, self.teams = cluster, bao, folder, [], []

    def __call__(self, flags=None, **more):
        flags = {"orphan-grace-seconds": GRACE, "call-seconds": 2} | (flags or {})
        folder = self.folder / f"operator-{len(self.operators)}"
        self.operators.append(rig.Operator(folder, self.cluster, self.bao, flags, **more))
        return self.operators[-1]

    def team(self, **spec):
        self.teams.append(Team(self.cluster, self.bao, **spec))
        return self.teams[-1]

    def resources(self):
        return [item for plural in rig.PLURALS.values() for item in self.cluster.get(f"/apis/{rig.GROUP}/{plural}")["items"]]

    def end(self):
        for one in self.operators:
            if one.process:
                one.process.popen.kill()
                one.process.popen.wait()
        self.cluster.request("DELETE", rig.Operator.LEASE)


def die(operator, point):
    """Starts it and has it die at the place."""
    operator.environment = {"KEYSHEPHERD_FAILPOINT": point}
    operator.launch()
    assert operator.process.popen.wait(20) == -signal.SIGKILL, operator.log[-2000:]
    operator.cluster.request("DELETE", rig.Operator.LEASE)


@contextlib.contextmanager
def living(operator):
    """A healthy one, which is killed in the end."""
    operator.environment = {}
    operator._start()
    yield
    operator.kill()


class Pair:
    """A team's VaultSecretID `s` of the role `r`, and the Secret that it publishes."""

    seen = set()  # every secret-id that a test has met

    def __init__(self, team, name="s"):
        self.team, self.name = team, name

    def resource(self, **spec):
        return custom("VaultSecretID", self.team.ns, self.name, **{
            "appRoleRef": {"name": "r"}, "overlap": "2s", "resyncPeriod": "10s"} | spec)

    def apply(self, role=None, **spec):
        self.team.apply(self.team.role(**(role or {})), self.resource(**spec))

    def path(self, name=None):
        return f"/api/v1/namespaces/{self.team.ns}/secrets/{name or self.name}"

    def secret(self, name=None):
        response = self.team.cluster.request("GET", self.path(name))
        return response.json() if response.status_code == 200 else None

    def values(self):
        secret = self.secret()
        if secret is None:
            return None
        values = {k: base64.b64decode(v).decode() for k, v in secret.get("data", {}).items()}
        if len(values.get("secret_id", "")) == 40:  # one of ours, and nothing that a test wrote
            Pair.seen.add(values["secret_id"])
        return values

    def login(self, values=None, mount="approle"):
        values = values or self.values()
        client = self.team.bao.client()
        try:
            return client.auth.approle.login(values["role_id"], values["secret_id"], mount_point=mount)
        except hvac.exceptions.InvalidRequest:
            return None

    def stored(self):
        return self.team.stored("VaultSecretID", self.name)

    def status(self):
        return (self.stored() or {}).get("status", {})

    def accessors(self, role="r"):
        return self.team.bao.secret_id_accessors(f"{self.team.ns}-{role}")

    def owned(self):
        """Of the role's, those that were issued for this resource: what Vault says of each, by accessor."""
        uid, found = self.stored()["metadata"]["uid"], {}
        for accessor in self.accessors():
            with contextlib.suppress(hvac.exceptions.VaultError):  # destroyed meanwhile
                data = self.team.bao.root.auth.approle.read_secret_id_accessor(f"{self.team.ns}-r", accessor)["data"]
                if (data["metadata"] or {}).get("owner") == uid:
                    found[accessor] = data
        return found

    def facts(self):
        return self.owned()[self.status()["accessor"]]

    def destroy(self, accessor):
        self.team.bao.root.auth.approle.destroy_secret_id_accessor(f"{self.team.ns}-r", accessor)

    def patch(self, body, name=None):
        response = self.team.cluster.request("PATCH", self.path(name), body, MERGE)
        assert response.status_code == 200, response.text

    def write(self, secret_id):
        self.patch({"data": {"secret_id": base64.b64encode(secret_id.encode()).decode()}})

    def annotate(self, **annotations):
        body = {"metadata": {"annotations": {rig.PREFIX + k.replace("_", "-"): v for k, v in annotations.items()}}}
        path = f"/apis/{rig.GROUP}/namespaces/{self.team.ns}/vaultsecretids/{self.name}"
        assert self.team.cluster.request("PATCH", path, body, MERGE).status_code == 200

    def look(self):
        """Has the operator look at it now."""
        self.annotate(reconcile_at=str(time.time_ns()))

    def published(self, seconds=15):
        self.team.wait_reason("VaultSecretID", self.name, "Published", seconds)
        return self.values()

    def rotated(self, before, seconds=15):
        wait_until(lambda: self.values() and self.values().get("secret_id") not in (None, before["secret_id"]), seconds,
                   "another secret-id")
        return self.values()

    def settled(self, seconds=15):
        """Waits until one is current and logs in, and there is no other, neither in Vault nor pending."""
        def at_rest():
            status = self.status()
            return ("previousAccessor" not in status and list(self.owned()) == [status.get("accessor")]
                    and self.login() and not self.secret(self.name + "-pending"))
        try:
            wait_until(at_rest, seconds, "one pair and nothing else")
        except TimeoutError as error:
            raise AssertionError(f"{error}: {self.status()} {self.owned()}") from None
        return self.values()


@pytest.fixture
def pair(team):
    return Pair(team)


@pytest.fixture(autouse=True)
def nothing_is_told():
    """No value of a pair that a test met stands in an event, a resource or a log of an operator."""
    yield
    told = []
    for cluster in rig.Cluster.all:
        told.append(cluster.request("GET", "/apis/events.k8s.io/v1/events").text)
        told += [cluster.request("GET", f"/apis/{rig.GROUP}/{plural}").text for plural in rig.PLURALS.values()]
    told += [process.log for process in rig.Process.all if "operator" in process.command]
    for secret_id in Pair.seen:
        assert not any(secret_id in text or base64.b64encode(secret_id.encode()).decode() in text for text in told)


def writes(bao, team, since=0):
    """What was registered and destroyed of the team's secret-ids, in order: what, and by the token of which accessor."""
    found = []
    for entry in bao.audit()[since:]:
        request = entry["request"]
        if (entry["type"] == "request" and f"/{team.ns}-r/" in request["path"]
                and "root" not in entry.get("auth", {}).get("policies", [])):
            what = request["path"].rsplit("/", 1)[1]
            if what in ("custom-secret-id", "destroy"):
                found.append((what, entry["auth"]["accessor"]))
    return found


def registered(bao, team, since=0):
    return sum(what == "custom-secret-id" for what, _ in writes(bao, team, since))


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


# ---- what happens to a secret-id in Vault


def test_destroyed_by_hand_it_is_replaced_and_never_logs_in_again(pair, team, bao):
    pair.apply()
    first = pair.published()
    pair.destroy(pair.status()["accessor"])
    pair.look()
    second = pair.rotated(first, 5)
    assert second["role_id"] == first["role_id"] and pair.login(second)
    pair.settled()
    assert not pair.login(first)


def test_used_up_it_is_replaced(pair, team):
    pair.apply(numUses=2)
    first = pair.published()
    assert pair.facts()["secret_id_num_uses"] == 2
    assert pair.login(first) and pair.login(first) and not pair.login(first)
    pair.look()
    second = pair.rotated(first, 5)
    assert second["role_id"] == first["role_id"]
    wait_until(lambda: list(pair.owned()) == [pair.status()["accessor"]], 10)
    assert pair.login(second)


def test_expired_while_nobody_looked_it_is_replaced_and_destroyed(alone, installed, bao):
    team = alone.team()
    pair = Pair(team)
    operator = alone()
    pair.apply(role={"secretIDTTL": "6s"}, overlap="0s")  # a ttl of its own is a minute at least
    first = pair.published()
    expired = pair.status()["accessor"]
    operator.kill()
    time.sleep(6.5)
    assert expired in pair.accessors(), "until Vault tidies, once a minute, it is still listed"
    operator._start()
    second = pair.rotated(first, 10)
    wait_until(lambda: expired not in pair.accessors() and not pair.login(first), 5, "destroyed, though Vault had not tidied")
    assert second["role_id"] == first["role_id"]


def test_a_role_that_was_lost_in_vault_comes_back_with_another_secret_id(pair, team, bao):
    pair.apply()
    first = pair.published()
    bao.root.auth.approle.delete_role(f"{team.ns}-r")
    second = pair.rotated(first, 15)
    pair.settled()
    assert second["role_id"] == first["role_id"], "what was written down elsewhere is still right"
    assert not pair.login(first)


@pytest.mark.parametrize("how", ["changed", "role made again"])
def test_another_role_id_in_vault_is_published_with_a_secret_id_of_the_role(pair, team, bao, how):
    """Neither half of the pair is what the status remembers: both are what Vault has."""
    workload = Workload(team)
    pair.apply(rolloutRestartTargets=target("app"))
    first = pair.published()
    by_hand = f"{team.ns}-by-hand"
    if how == "changed":
        bao.root.auth.approle.update_role_id(f"{team.ns}-r", by_hand)
    else:
        bao.root.auth.approle.delete_role(f"{team.ns}-r")
        bao.root.write_data(f"auth/approle/role/{team.ns}-r", data={
            "token_ttl": "1h", "token_policies": [f"{team.ns}-p"], "role_id": by_hand})
    assert not pair.login(first)
    wait_until(lambda: pair.values().get("role_id") == by_hand and pair.login(), 20, "a pair that logs in")
    second = pair.values()
    assert (second["secret_id"] == first["secret_id"]) == (how == "changed"), "a secret-id that is good stays"
    wait_until(lambda: team.stored("VaultAppRole", "r")["status"]["roleID"] == pair.status()["roleID"] == by_hand, 15)
    wait_until(lambda: workload.restarts() == 1, 10, "who has read the dead pair reads the other")
    workload.serve()
    pair.settled(30)
    assert "contains the role-id and a valid secret-id of" in team.condition("VaultSecretID", "s")["message"]
    changed = team.events("RoleIDChanged")
    assert len(changed) == 1 and by_hand in changed[0]["note"]
    pair.annotate(rotate_now="1")
    assert pair.login(pair.rotated(second)) and pair.values()["role_id"] == by_hand


def test_a_role_id_that_the_spec_gives_is_put_back_and_never_published_otherwise(pair, team, bao):
    pair.apply(role={"roleID": f"{team.ns}-pinned"})
    first = pair.published()
    bao.root.auth.approle.update_role_id(f"{team.ns}-r", f"{team.ns}-by-hand")
    pair.look()
    wait_until(lambda: pair.login(), 10, "the pair that was published logs in again")
    pair.published()
    assert pair.values() == first and not team.events("SecretRepaired")


def test_a_role_that_is_not_there_is_named_and_waited_for(pair, team):
    team.apply(pair.resource())
    told = team.wait_reason("VaultSecretID", "s", "RoleNotFound")
    assert told["status"] == "False" and f"VaultAppRole {team.ns}/r does not exist" in told["message"]
    assert pair.secret() is None
    team.apply(team.role())
    pair.published()
    assert pair.login()


# ---- rotation


def watched(pair, seconds):
    """Reads the Secret and logs in with it, again and again: the values it held, in order. Never more than two are alive."""
    values, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        held = pair.values()
        alive = pair.accessors()
        assert pair.login(held) or pair.login(), "what is published logs in"  # it may have been replaced in between
        assert len(alive) <= 2, alive
        if not values or values[-1] != held["secret_id"]:
            values.append(held["secret_id"])
    return values


def test_it_rotates_by_its_period(pair, team, bao):
    pair.apply(rotationPeriod="3s", overlap="1s")
    pair.published()
    values = watched(pair, 8)
    print(f"{len(values) - 1} rotations in 8 s with rotationPeriod 3s")
    assert 2 <= len(values) - 1 <= 4 and len(set(values)) == len(values)
    wait_until(lambda: len(team.events("Rotated")) >= len(values) - 1, 5)
    assert "its rotation is due" in team.events("Rotated")[0]["note"]


def test_it_rotates_before_its_life_ends_however_long_the_overlap(pair, team):
    """With the default overlap of 5 m: a life of 6 s is shorter, and what is published must be good all the same."""
    pair.apply(role={"secretIDTTL": "6s"}, overlap="5m")
    pair.published()
    values = watched(pair, 14)
    print(f"{len(values) - 1} rotations in 14 s with a life of 6s and overlap 5m")
    assert 2 <= len(values) - 1 <= 4


@pytest.mark.parametrize("change, field, wanted", [
    ({"ttl": "2h"}, "secret_id_ttl", 7200), ({"cidrs": ["127.0.0.0/8"]}, "cidr_list", ["127.0.0.0/8"]),
    ({"tokenBoundCIDRs": ["127.0.0.1"]}, "token_bound_cidrs", ["127.0.0.1/32"])], ids=["ttl", "cidrs", "tokenBoundCIDRs"])
def test_a_changed_spec_replaces_it_once(pair, team, bao, change, field, wanted):
    pair.apply(ttl="1h")
    first = pair.published()
    since = len(bao.audit())
    team.apply(pair.resource(**{"ttl": "1h"} | change))
    second = pair.rotated(first, 10)
    got = pair.facts()[field]
    assert got in (wanted, [cidr.removesuffix("/32") for cidr in wanted] if isinstance(wanted, list) else wanted)
    assert pair.login(second) and pair.login(first), "both in the overlap"
    pair.settled()
    assert registered(bao, team, since) == 1
    # What needs no other secret-id makes none.
    team.apply(pair.resource(**{"ttl": "1h", "maxOverlap": "2h", "overlap": "1s"} | change))
    wait_until(lambda: team.condition("VaultSecretID", "s").get("observedGeneration") == 3, 10)
    assert pair.values() == second and registered(bao, team, since) == 1


@pytest.mark.parametrize("role, spec, text", [
    ({"secretIDBoundCIDRs": ["127.0.0.0/8"]}, {"cidrs": ["10.0.0.0/8"]}, "subset"),
    ({"secretIDTTL": "1h"}, {"ttl": "2h"}, "ttl"),
    ({"secretIDNumUses": 5}, {"numUses": 6}, "num_uses")], ids=["cidrs", "ttl", "numUses"])
def test_what_the_role_does_not_allow_is_told_in_vaults_words_and_not_tried_all_the_time(pair, team, bao, role, spec, text):
    pair.apply(role)
    first = pair.published()
    since = len(bao.audit())
    team.apply(pair.resource(**spec))
    told = team.wait_reason("VaultSecretID", "s", "InvalidSpec")
    assert text in told["message"] and told["status"] == "False", told
    time.sleep(5)
    tries = registered(bao, team, since)
    print(f"{tries} tries in 5 s: {told['message']}")
    assert 1 <= tries <= 4
    assert pair.values() == first and pair.login(first), "what was published stays good"
    team.apply(pair.resource())
    team.wait_reason("VaultSecretID", "s", "Published", 40)
    wait_until(lambda: list(pair.owned()) == [pair.status()["accessor"]] and not pair.secret("s-pending"), 15)
    assert pair.values() == first


# ---- the Secret


def test_somebody_elses_secret_is_a_conflict_and_not_touched(pair, team, bao):
    mine = {"metadata": {"name": "s", "labels": {"app.kubernetes.io/managed-by": "keyshepherd-operator"}},
            "stringData": {"role_id": "mine", "secret_id": "mine"}}
    team.cluster.core.create_namespaced_secret(team.ns, mine)
    before = team.cluster.request("GET", pair.path()).content
    pair.apply()
    told = team.wait_reason("VaultSecretID", "s", "Conflict")
    assert f"Secret {team.ns}/s was not created for this VaultSecretID" in told["message"]
    pair.look()
    time.sleep(1)
    assert team.cluster.request("GET", pair.path()).content == before
    assert pair.accessors() == [] and pair.secret("s-pending") is None, "nothing was issued for nothing"
    team.cluster.core.delete_namespaced_secret("s", team.ns)
    pair.look()
    assert pair.published() and pair.login()
    # The same, with one that takes the place of ours.
    first = pair.status()["accessor"]
    team.delete("VaultSecretID", "s")
    wait_until(lambda: pair.stored() is None, 10)
    team.cluster.core.create_namespaced_secret(team.ns, mine)
    before = team.cluster.request("GET", pair.path()).content
    pair.apply()
    team.wait_reason("VaultSecretID", "s", "Conflict")
    team.delete("VaultSecretID", "s")
    wait_until(lambda: pair.stored() is None, 10)
    assert team.cluster.request("GET", pair.path()).content == before and first not in pair.accessors()


def test_somebody_elses_pending_secret_is_a_conflict_and_not_touched(pair, team):
    team.cluster.core.create_namespaced_secret(team.ns, {"metadata": {"name": "s-pending"}, "stringData": {"secret_id": "mine"}})
    before = team.cluster.request("GET", pair.path("s-pending")).content
    pair.apply()
    told = team.wait_reason("VaultSecretID", "s", "Conflict")
    assert f"Secret {team.ns}/s-pending was not created for this VaultSecretID" in told["message"]
    assert team.cluster.request("GET", pair.path("s-pending")).content == before
    assert pair.accessors() == [] and pair.secret() is None
    team.delete("VaultSecretID", "s")
    wait_until(lambda: pair.stored() is None, 10)
    assert team.cluster.request("GET", pair.path("s-pending")).content == before


def test_a_pending_secret_of_somebody_else_holds_up_only_while_it_is_there(pair, team):
    pair.apply()
    first = pair.published()
    team.cluster.core.create_namespaced_secret(team.ns, {"metadata": {"name": "s-pending"}, "stringData": {"secret_id": "mine"}})
    pair.annotate(rotate_now="1")
    team.wait_reason("VaultSecretID", "s", "Conflict")
    assert pair.login(first)
    team.cluster.core.delete_namespaced_secret("s-pending", team.ns)
    assert pair.login(pair.rotated(first, 10))


def test_of_two_that_name_one_secret_the_first_keeps_it_and_its_watch(pair, team):
    pair.apply(resyncPeriod="1h")
    first = pair.published()
    team.apply(team.role("other"), custom("VaultSecretID", team.ns, "twin", appRoleRef={"name": "other"}, secretName="s"))
    told = team.wait_reason("VaultSecretID", "twin", "Conflict")
    assert f"VaultSecretID {team.ns}/s" in told["message"]
    team.cluster.core.delete_namespaced_secret("s", team.ns)
    second = pair.rotated(first, 5)
    assert second["role_id"] == first["role_id"] and pair.login(second)
    team.wait_reason("VaultSecretID", "twin", "Conflict")
    team.delete("VaultSecretID", "twin")
    wait_until(lambda: team.stored("VaultSecretID", "twin") is None, 10)
    team.cluster.core.delete_namespaced_secret("s", team.ns)
    assert pair.login(pair.rotated(second, 5))


def test_a_role_of_another_name_leaves_nothing_in_the_one_before(pair, team, bao):
    pair.apply(role={"deletionPolicy": "Retain"})
    first, accessor = pair.published(), pair.status()["accessor"]
    team.delete("VaultAppRole", "r")
    wait_until(lambda: team.stored("VaultAppRole", "r") is None, 10)
    team.apply(team.role("r", name=f"{team.ns}-moved"))
    second = pair.rotated(first)
    assert second["role_id"] != first["role_id"] and pair.login(second) and not pair.login(first)
    assert accessor not in pair.accessors()
    bao.root.auth.approle.delete_role(f"{team.ns}-r")


def test_a_name_that_ends_as_ours_is_refused(team):
    refused = team.cluster.kubectl("apply", "--server-side", "-f", "-", check=False, input=json.dumps(
        custom("VaultSecretID", team.ns, "x", appRoleRef={"name": "r"}, secretName="y-pending")))
    assert refused.returncode and "must not end with -pending" in refused.stderr
    team.apply(team.role(), custom("VaultSecretID", team.ns, "z-pending", appRoleRef={"name": "r"}))
    team.wait_reason("VaultSecretID", "z-pending", "InvalidSpec")


@pytest.mark.parametrize("how", ["immutable", "type"])
def test_what_cannot_be_written_is_made_anew_with_the_same_value(pair, team, how):
    pair.apply()
    first = pair.published()
    before = pair.secret()
    if how == "immutable":
        pair.patch({"immutable": True})
    else:
        # The type is fixed at birth: somebody has put one of another type in its place, with our owner in it.
        pair.annotate(paused="true")
        team.wait_reason("VaultSecretID", "s", "Paused")
        team.cluster.core.delete_namespaced_secret("s", team.ns)
        other = {"metadata": {"name": "s"} | {k: before["metadata"][k] for k in ("labels", "ownerReferences")},
                 "type": "example.com/pair", "data": before["data"]}
        assert team.cluster.request("POST", f"/api/v1/namespaces/{team.ns}/secrets", other).status_code == 201
        pair.annotate(paused="false")
    wait_until(lambda: (pair.secret() or {}).get("type") == "Opaque" and not pair.secret().get("immutable")
               and pair.secret()["metadata"]["uid"] != before["metadata"]["uid"], 5, "made anew")
    assert pair.settled() == first


def test_marks_that_were_taken_away_come_back_and_what_a_user_added_stays(pair, team):
    pair.apply()
    first = pair.published()
    before = pair.secret()["metadata"]
    pair.patch({"metadata": {"labels": {"mine": "yes"}, "annotations": {"mine": "too"}}, "data": {"extra": "bWluZQ=="}})
    pair.patch({"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}})
    wait_until(lambda: "app.kubernetes.io/managed-by" in pair.secret()["metadata"]["labels"], 2, "the label again")
    pair.patch({"metadata": {"ownerReferences": None}})
    wait_until(lambda: pair.secret()["metadata"].get("ownerReferences") == before["ownerReferences"], 2, "the owner again")
    pair.write("x")
    wait_until(lambda: pair.values()["secret_id"] not in ("x", first["secret_id"]), 5, "another value")
    after = pair.secret()
    assert after["metadata"]["uid"] == before["uid"] and after["data"]["extra"] == "bWluZQ=="
    assert after["metadata"]["labels"]["mine"] == "yes" and after["metadata"]["annotations"]["mine"] == "too"
    assert "x" != pair.settled()["secret_id"]


def test_deleted_in_the_middle_of_an_overlap_there_are_still_two_at_most(pair, team):
    pair.apply(overlap="4s")
    first = pair.published()
    pair.annotate(rotate_now="1")
    second = pair.rotated(first)
    wait_until(lambda: pair.status().get("previousAccessor"), 5)
    team.cluster.core.delete_namespaced_secret("s", team.ns)
    third = pair.rotated(second, 3)
    assert len(pair.owned()) <= 2 and pair.login(third) and pair.login(second), "the one that was current has its overlap"
    wait_until(lambda: not pair.login(first), 2)
    assert pair.settled() == third


def test_an_older_one_that_was_put_back_is_replaced_and_both_go(pair, team):
    pair.apply(overlap="4s")
    first = pair.published()
    pair.annotate(rotate_now="1")
    second = pair.rotated(first)
    wait_until(lambda: pair.status().get("previousAccessor"), 5)
    pair.write(first["secret_id"])
    wait_until(lambda: pair.values()["secret_id"] not in (first["secret_id"], second["secret_id"]), 5, "a third one")
    pair.settled()
    assert not pair.login(first) and not pair.login(second)


# ---- workloads that read the Secret when they start


class Workload:
    """A Deployment of one pod, which a kubelet that is not there never runs: `serve` says that its pods do."""

    def __init__(self, team, name="app", allowed=True):
        self.team, self.name = team, name
        labels = {"app": name}
        team.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": team.ns}, "spec": {
            "replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
                "containers": [{"name": "c", "image": "none"}]}}}})
        if allowed:
            self.allow()
        self.serve()
        self.generation = self.stored()["metadata"]["generation"]

    def allow(self):
        self.team.apply({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                         "metadata": {"name": "restarts", "namespace": self.team.ns},
                         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                                     "name": "keyshepherd-operator-restarts"},
                         "subjects": [{"kind": "ServiceAccount", "name": "keyshepherd-operator", "namespace": "keyshepherd"}]})

    def stored(self):
        return self.team.cluster.deployment(self.team.ns, self.name)

    def restarts(self):
        return self.stored()["metadata"]["generation"] - self.generation

    def told(self):
        annotations = self.stored()["spec"]["template"]["metadata"].get("annotations", {})
        return {k: v for k, v in annotations.items() if k.startswith("rotation.keyshepherd.dev/secret-id-")}

    def serve(self):
        def out():
            for pod in self.team.cluster.pods(self.team.ns):
                ready = [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady", "PodScheduled")]
                self.team.cluster.request("PATCH", f"/api/v1/namespaces/{self.team.ns}/pods/{pod['metadata']['name']}/status",
                                          {"status": {"phase": "Running", "conditions": ready}}, "application/merge-patch+json")
            found = self.stored()
            status = found.get("status", {})
            return (status.get("observedGeneration") == found["metadata"]["generation"]
                    and status.get("updatedReplicas") == status.get("replicas") == status.get("availableReplicas") == 1)
        wait_until(out, 20, f"{self.name} out", every=0.2)


def target(*names):
    return [{"name": name} for name in names]


def test_a_target_is_restarted_once_and_the_old_one_goes_when_it_is_out(pair, team):
    workload = Workload(team)
    pair.apply(rolloutRestartTargets=target("app", "not-there"), overlap="1s", maxOverlap="1h")
    first = pair.published()
    assert workload.restarts() == 0, "the first one restarts nobody"
    pair.annotate(rotate_now="1")
    second = pair.rotated(first)
    wait_until(lambda: workload.restarts() == 1, 5, "restarted")
    time.sleep(4)  # the overlap is over, and the pods are not out
    assert pair.login(first) and pair.login(second) and workload.restarts() == 1 and len(workload.told()) == 1
    workload.serve()
    wait_until(lambda: not pair.login(first), 5, "the old one destroyed")
    assert pair.settled() == second
    assert workload.restarts() == 1 and len(team.events("Restarted")) == 1
    pair.annotate(rotate_now="2")
    pair.rotated(second)
    wait_until(lambda: workload.restarts() == 2, 5)
    workload.serve()
    pair.settled()
    assert workload.restarts() == 2 and team.cluster.replicasets(team.ns, "app") == 3


def test_a_target_that_does_not_come_out_keeps_the_old_one_no_longer_than_max_overlap(pair, team):
    workload = Workload(team)
    pair.apply(rolloutRestartTargets=target("app"), overlap="1s", maxOverlap="5s")
    first = pair.published()
    pair.annotate(rotate_now="1")
    pair.rotated(first)
    began = time.monotonic()
    wait_until(lambda: workload.restarts() == 1, 5, "restarted")
    time.sleep(2)
    assert pair.login(first)
    wait_until(lambda: not pair.login(first), 10, "destroyed at maxOverlap")
    print(f"destroyed {time.monotonic() - began:.1f} s after the rotation, with maxOverlap 5s")
    assert time.monotonic() - began > 3
    wait_until(lambda: any("maxOverlap passed" in e["note"] for e in team.events("Destroyed")), 5)
    pair.settled()
    assert workload.restarts() == 1


def test_a_target_that_may_not_be_restarted_is_told_and_max_overlap_decides(pair, team):
    workload = Workload(team, allowed=False)
    pair.apply(rolloutRestartTargets=target("app"), overlap="1s", maxOverlap="6s", resyncPeriod="5m")
    first = pair.published()
    pair.annotate(rotate_now="1")
    pair.rotated(first)
    refused = wait_until(lambda: team.events("RestartRefused"), 5)
    assert "Deployment app" in refused[0]["note"] and "forbidden" in refused[0]["note"]
    assert pair.login(first)
    wait_until(lambda: not pair.login(first), 12, "destroyed at maxOverlap")
    assert workload.restarts() == 0 and not workload.told()
    assert len(team.events("RestartRefused")) <= 3, "it is told now and then, not at every look"


# ---- the end


def test_retained_it_stays_and_logs_in(pair, team):
    pair.apply(deletionPolicy="Retain")
    values = pair.published()
    team.delete("VaultSecretID", "s")
    wait_until(lambda: pair.stored() is None, 10)
    time.sleep(2)  # the garbage collector's chance
    kept = pair.secret()["metadata"]
    assert "ownerReferences" not in kept and "app.kubernetes.io/managed-by" not in kept.get("labels", {})
    assert pair.values() == values and pair.login(values)


def test_deleted_in_an_overlap_both_go(pair, team):
    pair.apply(overlap="1h")
    first = pair.published()
    pair.annotate(rotate_now="1")
    second = pair.rotated(first)
    wait_until(lambda: pair.status().get("previousAccessor"), 5)
    team.delete("VaultSecretID", "s")
    wait_until(lambda: pair.stored() is None, 10)
    assert not pair.login(first) and not pair.login(second) and pair.accessors() == [] and pair.secret() is None


def test_a_role_that_has_gone_before_does_not_hold_it_up(pair, team, bao):
    pair.apply()
    values = pair.published()
    team.delete("VaultAppRole", "r")
    wait_until(lambda: team.stored("VaultAppRole", "r") is None and team.vault_role() is None, 10)
    team.wait_reason("VaultSecretID", "s", "RoleNotFound")
    team.delete("VaultSecretID", "s")
    wait_until(lambda: pair.stored() is None, 10)
    assert pair.secret() is None and not pair.login(values)


def test_a_namespace_goes_with_role_secret_id_and_connection(pair, team, bao):
    pair.apply()
    values = pair.published()
    team.cluster.kubectl("delete", "namespace", team.ns, "--wait=false")
    wait_until(lambda: team.cluster.request("GET", f"/api/v1/namespaces/{team.ns}").status_code == 404, 40, "gone")
    assert team.vault_role() is None and not pair.login(values)


def test_a_retained_role_keeps_no_secret_id_of_a_namespace_that_went(pair, team, bao):
    pair.apply({"deletionPolicy": "Retain"})
    values = pair.published()
    team.cluster.kubectl("delete", "namespace", team.ns, "--wait=false")
    wait_until(lambda: team.cluster.request("GET", f"/api/v1/namespaces/{team.ns}").status_code == 404, 40, "gone")
    assert team.vault_role() is not None and pair.accessors() == [] and not pair.login(values)


def test_a_finalizer_that_a_replace_dropped_comes_back(pair, team):
    pair.apply()
    values = pair.published()
    path = f"/apis/{rig.GROUP}/namespaces/{team.ns}/vaultsecretids/s"
    team.cluster.request("PATCH", path, {"metadata": {"finalizers": None}}, MERGE)
    pair.look()
    wait_until(lambda: pair.stored()["metadata"].get("finalizers"), 5, "the finalizer again")
    team.delete("VaultSecretID", "s")
    wait_until(lambda: pair.stored() is None, 10)
    assert not pair.login(values)


def test_paused_nothing_is_issued_repaired_or_rotated(pair, team, bao):
    paused = pair.resource(rotationPeriod="1s")
    paused["metadata"]["annotations"] = {"keyshepherd.dev/paused": "true"}
    team.apply(team.role(), paused)
    team.wait_reason("VaultSecretID", "s", "Paused")
    team.wait_reason("VaultAppRole", "r", "Reconciled")
    assert pair.secret() is None and pair.accessors() == []
    pair.annotate(paused="false")
    pair.published()
    pair.annotate(paused="true")
    team.wait_reason("VaultSecretID", "s", "Paused")
    since = len(bao.audit())
    team.cluster.core.delete_namespaced_secret("s", team.ns)
    time.sleep(2)
    assert pair.secret() is None and writes(bao, team, since) == []
    pair.annotate(paused="false")
    wait_until(lambda: pair.login(), 5)


def test_vault_away_the_deletion_waits_and_then_lets_go(installed, operator, bao):
    team = Team(installed, bao, deletionTimeout="4s")
    pair = Pair(team)
    pair.apply()
    values = pair.published()
    bao.seal()
    try:
        team.delete("VaultSecretID", "s")
        team.wait_reason("VaultSecretID", "s", "DeletionBlocked", 10)
        assert pair.values() == values, "the Secret stays as long as its pair logs in"
        wait_until(lambda: pair.stored() is None, 20, "let go after deletionTimeout")
    finally:
        bao.unseal()
    assert pair.login(values), "what could not be destroyed"
    installed.kubectl("delete", "namespace", team.ns, "--wait=false")


# ---- Vault away, and operators that come and go


def test_sealed_the_secret_stays_and_all_is_well_soon_after(pair, team, bao):
    pair.apply(rotationPeriod="4s", overlap="1s")
    pair.published()
    bao.seal()
    try:
        held = pair.secret()
        team.wait_reason("VaultSecretID", "s", "VaultSealed", 20)
        time.sleep(2)
        assert pair.secret()["data"] == held["data"] and pair.secret("s-pending") is None
    finally:
        bao.unseal()
    began = time.monotonic()
    team.wait_reason("VaultSecretID", "s", "Published", 60)
    print(f"well again {time.monotonic() - began:.1f} s after unsealing")
    assert pair.login()
    team.apply(pair.resource(overlap="1s"))
    pair.settled(20)


def test_a_restarted_operator_writes_nothing(alone, installed, bao):
    team = alone.team()
    pairs = [Pair(team, f"s{i}") for i in range(4)]
    operator = alone()
    team.apply(team.role(), *[pair.resource() for pair in pairs])
    before = [pair.published() for pair in pairs]
    wait_until(lambda: all(p.secret(p.name + "-pending") is None for p in pairs), 5)
    assert operator.stop() == 0
    versions = [(p.stored()["metadata"]["resourceVersion"], p.secret()["metadata"]["resourceVersion"]) for p in pairs]
    since = len(bao.audit())
    operator._start()
    wait_until(lambda: operator.leading, 15)
    time.sleep(2 * GRACE + 2)  # it has looked for orphans too
    assert writes(bao, team, since) == [] and registered(bao, team) == 4
    assert versions == [(p.stored()["metadata"]["resourceVersion"], p.secret()["metadata"]["resourceVersion"]) for p in pairs]
    assert before == [p.values() for p in pairs]


# delete-revoke is passed only with tokens to revoke: test_revocation.py
POINTS = re.findall(r'failpoint\("((?!delete-revoke)[a-z-]+)"\)', (rig.REPOSITORY / "src" / "controller" / "secret_id_reconciler.cpp").read_text())
AT_BIRTH = ["finalizer", "draw", "enroll", "publish", "record", "discard"]
LATER = ["restart", "destroy", "forget", "replace"]
AT_THE_END = ["delete-destroy", "delete-sweep"]


def test_killed_between_any_two_effects_it_converges(alone, installed, bao):
    """kill -9 at each place between two effects, five times in a row, and then once more without: one pair that logs in."""
    assert sorted(POINTS) == sorted(AT_BIRTH + LATER + AT_THE_END), "a place that no test dies at"
    team = alone.team()
    Workload(team)
    # One worker: else the others go on past the place while one dies at it.
    operator = alone({"workers": 1, "orphan-grace-seconds": 1}, start=False)
    hits = collections.Counter()

    def batch(name):
        return [Pair(team, f"{name}-{i}") for i in range(5)]

    def die_again_and_again(point, pairs):
        handed_out = {}
        for _ in range(5):
            die(operator, point)
            hits[point] += 1
            for pair in pairs if point not in AT_THE_END else ():
                values = pair.values()
                # A Secret that had to be made anew is the one thing that may be away for a moment.
                assert values or pair.name not in handed_out or point == "replace"
                if values:
                    handed_out[pair.name] = values
                    assert pair.login(values), f"killed at {point}, {pair.name} does not log in"

    spec = {"overlap": "1s", "maxOverlap": "2s", "resyncPeriod": "10s", "rolloutRestartTargets": target("app")}
    began = time.monotonic()
    team.apply(team.role(resyncPeriod="5m"))
    for point in AT_BIRTH:
        pairs = batch(point)
        team.apply(*[{"apiVersion": "v1", "kind": "List", "items": [pair.resource(**spec) for pair in pairs]}])
        die_again_and_again(point, pairs)
        with living(operator):
            for pair in pairs:
                pair.settled()
    for point, of in zip(LATER, AT_BIRTH):
        pairs = batch(of)
        before = [pair.values() for pair in pairs]
        for pair in pairs:
            pair.patch({"immutable": True}) if point == "replace" else pair.annotate(rotate_now=point)
        die_again_and_again(point, pairs)
        with living(operator):
            for pair, old in zip(pairs, before):
                if point == "replace":
                    wait_until(lambda: pair.secret() and not pair.secret().get("immutable"), 15)
                    pair.settled()
                else:
                    pair.rotated(old)
                    pair.settled()
                    assert not pair.login(old)
    for point, of in zip(AT_THE_END, AT_BIRTH):
        pairs = batch(of)
        before = [pair.values() for pair in pairs]
        gone = {pair.status()["accessor"] for pair in pairs}
        for pair in pairs:
            installed.request("DELETE", f"/apis/{rig.GROUP}/namespaces/{team.ns}/vaultsecretids/{pair.name}")
        die_again_and_again(point, pairs)
        with living(operator):
            wait_until(lambda: not any(pair.stored() for pair in pairs), 10)
            assert not any(pair.login(old) for pair, old in zip(pairs, before)) and not gone & set(pairs[0].accessors())
            assert not any(pair.secret() or pair.secret(pair.name + "-pending") for pair in pairs)
    print(f"killed in {time.monotonic() - began:.0f} s:")
    for point in POINTS:
        print(f"  {point:<16} {hits[point]}")
    assert min(hits[point] for point in POINTS) >= 5


def test_killed_before_anything_was_published_a_deletion_finds_what_was_issued(alone, installed, bao):
    """The role's resource goes at the same time, and the role itself stays."""
    for point in ("draw", "enroll"):
        team = alone.team()
        pair = Pair(team)
        operator = alone({"workers": 1}, start=False)
        pair.apply({"deletionPolicy": "Retain"})
        die(operator, point)
        assert pair.secret("s-pending") and len(pair.accessors()) == (point == "enroll")
        # Nobody is there who would have to be waited for.
        path = f"/apis/{rig.GROUP}/namespaces/{team.ns}/vaultapproles/r"
        installed.request("PATCH", path, {"metadata": {"finalizers": None}}, MERGE)
        team.delete("VaultAppRole", "r")
        team.delete("VaultSecretID", "s")
        wait_until(lambda: team.stored("VaultAppRole", "r") is None, 5)
        with living(operator):
            wait_until(lambda: pair.stored() is None, 15, "gone")
        assert pair.accessors() == [] and pair.secret("s-pending") is None and team.vault_role()


def test_destroyed_by_hand_and_killed_right_after_it_never_logs_in_again(alone):
    team = alone.team()
    pair = Pair(team)
    operator = alone(start=False)
    pair.apply()
    with living(operator):
        held = pair.published()
    dead = []
    for point in ("draw", "enroll", "publish", "record", None):
        pair.destroy(pair.status()["accessor"])
        dead.append(held)
        if point:
            die(operator, point)
            assert not any(pair.login(old) for old in dead)
        with living(operator):
            if pair.values() == held:
                pair.rotated(held)
            held = pair.settled()
        assert not any(pair.login(old) for old in dead), "a value that was destroyed was registered again"
    # The same of one that is pending: destroyed by hand before it was published.
    pair.annotate(rotate_now="1")
    die(operator, "enroll")
    pending = held | {"secret_id": base64.b64decode(pair.secret("s-pending")["data"]["secret_id"]).decode()}
    (accessor,) = set(pair.owned()) - {pair.status()["accessor"]}
    assert pair.login(pending)
    pair.destroy(accessor)
    with living(operator):
        assert pair.rotated(held)["secret_id"] != pending["secret_id"]
        pair.settled()
    assert not pair.login(pending)


@pytest.mark.parametrize("delay", [0, 6], ids=["lost", "late"])
def test_an_answer_that_is_lost_leaves_one_pair(alone, installed, bao, certificates, delay):
    """The request that registers a value goes through, at once or after its sender has given up, and nobody hears of it."""
    proxy = rig.Proxy(bao.port, certificates)
    through = f"https://127.0.0.1:{proxy.port}"
    team = alone.team(address=through)
    pair = Pair(team)
    alone({"vault-address": through, "orphan-grace-seconds": 8})
    team.apply(team.role())
    team.wait_reason("VaultAppRole", "r", "Reconciled")
    try:
        since = len(bao.audit())
        proxy.lose, proxy.delay = b"custom-secret-id", delay
        team.apply(pair.resource())
        for round_ in range(2):
            wait_until(lambda: proxy.lost == round_ + 1, 10, "a request whose answer is lost")
            held = pair.published()
            assert pair.login(held)
            if delay:  # until it has arrived, there is nothing to be found
                wait_until(lambda: set(pair.owned()) - {pair.status().get("accessor"), pair.status().get("previousAccessor")},
                           delay + 8, "the late one")
            assert pair.settled(30) == held
            if round_ == 0:
                proxy.lose = b"custom-secret-id"
                pair.annotate(rotate_now="1")
                pair.rotated(held)
        tries = registered(bao, team, since)
        print(f"{tries} registrations for 2 that were lost" + (f" and came {delay} s late" if delay else ""))
        assert tries == (4 if delay else 2)
        # Through the proxy, for nobody else may reach this address.
        for kind, name in (("VaultSecretID", "s"), ("VaultAppRole", "r")):
            team.delete(kind, name)
            wait_until(lambda: team.stored(kind, name) is None, 15)
    finally:
        proxy.close()


def test_a_leader_that_is_cut_off_rotates_nothing_after_its_rival(alone, installed, bao):
    proxy = rig.Proxy(int(installed.url.rsplit(":", 1)[1]))
    one = alone(server=f"https://127.0.0.1:{proxy.port}")
    wait_until(lambda: one.leading, 15, "the first leads")
    team = alone.team()
    pairs = [Pair(team, f"s{i}") for i in range(5)]
    team.apply(team.role(), *[pair.resource(rotationPeriod="2s", overlap="1s") for pair in pairs])
    for pair in pairs:
        pair.published()
    two = alone()
    assert not two.leading
    most = 0

    def watch(seconds, until=lambda: False):
        nonlocal most
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            for pair in pairs:
                assert pair.login() or pair.login(), "what is published logs in"
            most = max(most, len(pairs[0].accessors()))
        return until()

    watch(3)
    proxy.cut_off = True
    assert watch(20, lambda: two.leading), "the second leads"
    assert not one.leading
    watch(4)
    proxy.cut_off = False
    watch(2)
    proxy.close()
    one.process.popen.kill()
    team.apply(*[pair.resource(overlap="1s") for pair in pairs])
    for pair in pairs:
        pair.settled(45)  # an orphan of the handover may take two looks, each after the resync period
    writers = [who for _, who in writes(bao, team)]
    order = list(dict.fromkeys(writers))
    assert len(order) == 2, f"{len(order)} tokens wrote"
    handover = writers.index(order[1])
    assert order[0] not in writers[handover:], "the old leader wrote after the new one"
    print(f"{handover} writes of the old leader, then {len(writers) - handover} of the new one; "
          f"{most} of 5 resources alive at most")
    assert most <= 2 * len(pairs)


# ---- the application of the seed


def test_the_seeds_application_logs_in_once_and_reads_on_through_rotations(pair, team, bao):
    """hvac, as in the seed: reads the pair when it starts, logs in once, and reads the key again and again. A rotation restarts
    it; what ran before goes on with the token that it has."""
    workload = Workload(team)
    bao.write_key("sk-through-rotations")
    pair.apply({"tokenPolicies": ["ai-api"]}, rotationPeriod="4s", overlap="1s", maxOverlap="1m",
               rolloutRestartTargets=target("app"))
    pair.published()
    ended, reads, logins, faults = threading.Event(), collections.Counter(), [], []

    def application():
        values = pair.values()
        client = bao.client()
        try:
            client.auth.approle.login(values["role_id"], values["secret_id"])
            logins.append(values["secret_id"])
            while not ended.wait(0.1):
                reads[values["secret_id"]] += bao.read_key(client)["api_key"] == "sk-through-rotations"
        except Exception as error:
            faults.append(repr(error))

    threads = []

    def start():
        threads.append(threading.Thread(target=application))
        threads[-1].start()

    start()
    for rotation in (1, 2, 3):
        wait_until(lambda: workload.restarts() == rotation, 20, "restarted")
        start()
        workload.serve()
    time.sleep(1)
    ended.set()
    for thread in threads:
        thread.join(10)
    print(f"{len(set(logins))} pairs, {len(logins)} logins, {sum(reads.values())} reads")
    assert faults == [] and len(logins) == 4 and len(set(logins)) >= 3 and all(reads[value] for value in logins)
    team.apply(pair.resource(overlap="1s"))
    pair.settled(20)
