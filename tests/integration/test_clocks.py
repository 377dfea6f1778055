"""Clocks that differ: the operator's own is shifted by libfaketime, Vault's and the API server's are right."""

import datetime
import time

import pytest
import rig
from rig import wait_until
from team import Team, check_no_secret, installed  # noqa: F401 - fixtures
from test_secret_id import Pair, Workload, registered, target


@pytest.fixture
def start(installed, bao, tmp_path):
    """start(shift="+1h") starts an operator with that clock; start.team() makes a team, which it takes along in the end."""
    operators, teams = [], []

    class Start:
        def __call__(self, shift=None, flags=None, **more):
            environment = rig.shifted_clock(shift) if shift else {}
            operators.append(rig.Operator(tmp_path / f"operator-{len(operators)}", installed, bao, flags,
                                          environment=environment, **more))
            wait_until(lambda: operators[-1].leading, 30, "leading")
            return operators[-1]

        def team(self, **spec):
            teams.append(Team(installed, bao, **spec))
            return teams[-1]

    yield Start()
    for team in teams:
        installed.kubectl("delete", "vaultsecretids,vaultapproles,vaultconnections", "--all", "-n", team.ns, "--timeout=60s")
        installed.kubectl("delete", "namespace", team.ns, "--wait=false")
    for operator in operators:
        operator.stop()
        check_no_secret(operator, bao)


def looked(operator, pair, times):
    """Has the operator look at it so many times, and waits until it has."""
    for _ in range(times):
        before = operator.metric('controller_runtime_reconcile_total{controller="VaultSecretID"')
        pair.look()
        wait_until(lambda: operator.metric('controller_runtime_reconcile_total{controller="VaultSecretID"') > before, 10)


def test_a_clock_that_is_an_hour_ahead_issues_one_secret_id_and_is_told(start, bao):
    operator = start("+1h", {"issue-interval-seconds": 0})
    team = start.team()
    workload = Workload(team)
    pair = Pair(team)
    since = len(bao.audit())
    pair.apply(ttl="30m", rolloutRestartTargets=target("app"))
    held = pair.published()
    looked(operator, pair, 5)
    assert registered(bao, team, since) == 1 and pair.values() == held and pair.login(held)
    assert workload.restarts() == 0
    issued = datetime.datetime.fromisoformat(pair.status()["issuedAt"].replace("Z", "+00:00")).timestamp()
    assert abs(issued - time.time()) < 600, "by Vault's clock"
    condition = team.condition("VaultConnection", "main", "ClockSkewed")
    assert condition["status"] == "True" and "ahead of Vault's and more than 30 s ahead of the API server's" in condition["message"]
    changed = datetime.datetime.fromisoformat(condition["lastTransitionTime"].replace("Z", "+00:00")).timestamp()
    assert abs(changed - time.time()) < 600, "by the API server's clock"
    for server in ("vault", "kubernetes"):
        skew = operator.metric(f'keyshepherd_clock_skew_seconds{{server="{server}"}}')
        assert abs(skew - 3600) < 10, (server, skew)
    wait_until(lambda: team.events("ClockSkewed"), 10)
    wait_until(lambda: not pair.secret("s-pending"), 5)


def test_a_clock_that_is_right_is_not_told_of(start, bao):
    operator = start()
    team = start.team()
    team.wait_reason("VaultConnection", "main", "Connected")
    assert team.condition("VaultConnection", "main", "ClockSkewed") == {}
    for server in ("vault", "kubernetes"):
        series = f'keyshepherd_clock_skew_seconds{{server="{server}"}}'
        assert series in operator.get("/metrics").text and abs(operator.metric(series)) < 10


def test_a_clock_that_is_half_an_hour_behind_rotates_in_time(start, installed, bao, tmp_path):
    """What an operator with the right clock has issued. By its own clock the next one would wait half an hour longer."""
    # By that clock, the certificates of the servers are of the future: between there is a proxy whose is not.
    backdated = rig.Certificates(tmp_path / "backdated", backdated=True)
    to_kubernetes = rig.RefusingProxy(int(installed.url.rsplit(":", 1)[1]), backdated, installed.ca)
    to_vault = rig.RefusingProxy(bao.port, backdated, bao.certificates.ca)
    address = f"https://127.0.0.1:{to_vault.port}"
    flags = {"vault-address": address, "issue-interval-seconds": 0}
    try:
        first = start(flags=flags)
        team = start.team(address=address, ca=backdated.ca_pem)
        pair = Pair(team)
        pair.apply(rotationPeriod="10s", overlap="1s")
        held = pair.published()
        assert first.stop() == 0
        start("-30m", flags, server=f"https://127.0.0.1:{to_kubernetes.port}", ca=backdated.ca)
        assert pair.login(pair.rotated(held, 40))
        condition = wait_until(lambda: team.condition("VaultConnection", "main", "ClockSkewed"), 40)
        assert "behind Vault's and more than 30 s behind the API server's" in condition["message"]
        # While the proxy to Vault is there.
        for kind, name in (("VaultSecretID", "s"), ("VaultAppRole", "r"), ("VaultConnection", "main")):
            team.delete(kind, name)
            wait_until(lambda: team.stored(kind, name) is None, 20)
    finally:
        to_kubernetes.close()
        to_vault.close()


def times_of_issues(bao, team, since):
    return [datetime.datetime.fromisoformat(entry["time"][:26].rstrip("Z") + "+00:00").timestamp() for entry in bao.audit()[since:]
            if entry["type"] == "request" and entry["request"]["path"].endswith(f"/{team.ns}-r/custom-secret-id")]


def test_two_issues_for_one_resource_are_an_interval_apart(start, bao):
    """With the product's own interval of 10 s, whatever happens to the Secret."""
    start(flags={"issue-interval-seconds": 10})
    team = start.team()
    pair = Pair(team)
    since = len(bao.audit())
    pair.apply(overlap="0s")
    pair.published()
    for _ in range(2):
        held = pair.values()
        pair.write("edited-by-hand")
        told = team.wait_reason("VaultSecretID", "s", "IssueDelayed")
        assert told["status"] == "False" and "at least 10 s must pass" in told["message"]
        assert pair.rotated(held | {"secret_id": "edited-by-hand"}, 20)
        pair.published()
    issues = times_of_issues(bao, team, since)
    gaps = [round(after - before, 1) for before, after in zip(issues, issues[1:])]
    print(f"{len(issues)} issues, {gaps} s apart")
    assert len(issues) == 3 and min(gaps) >= 9  # Vault's clock is known to the second
