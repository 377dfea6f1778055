"""A Vault that is not the one of a moment ago: restored from a snapshot, or another one at the same address."""

import pytest
import rig
from rig import wait_until
from team import Team, check_no_secret, requests
from test_clocks import looked
from test_secret_id import Pair

WITHIN = 60  # seconds from a restore until what was destroyed is destroyed again


@pytest.fixture(scope="module")
def installed(cluster):
    rig.install_operator(cluster)
    return cluster


def new_vault(folder, tools, certificates, cluster, port=None):
    bao = rig.Bao(folder, tools, certificates, port)
    bao.seed()
    bao.trust(cluster)
    bao.trust_operator("any")
    bao.root.write_data("sys/auth/approle/tune", data={"user_lockout_config": {"lockout_disable": True}})
    return bao


@pytest.fixture
def own(installed, tools, certificates, tmp_path):
    """An operator, its team and a Vault of the test's own, which may be restored and replaced."""
    class Own:
        cluster, folder = installed, tmp_path
        vaults = [new_vault(tmp_path / "vault", tools, certificates, installed)]

        @property
        def bao(self):
            return self.vaults[-1]

        def start(self):
            self.operator = rig.Operator(tmp_path / f"operator-{rig.free_port()}", installed, self.bao)
            wait_until(lambda: self.operator.leading, 30, "leading")

        def replace_vault(self):
            port = self.bao.port
            self.bao.stop()
            self.vaults.append(new_vault(tmp_path / f"vault-{len(self.vaults)}", tools, certificates, installed, port))
            self.team.bao = self.bao

    own = Own()
    own.start()
    own.team = Team(installed, own.bao)
    yield own
    installed.kubectl("delete", "vaultsecretids,vaultapproles,vaultpolicies,vaultconnections", "--all", "-n", own.team.ns,
                      "--timeout=90s", check=False)
    installed.kubectl("delete", "namespace", own.team.ns, "--wait=false")
    own.operator.stop()
    check_no_secret(own.operator, own.bao)
    own.bao.stop()


@pytest.mark.parametrize("operator_restarts", [False, True], ids=["same operator", "operator started since"])
def test_what_was_destroyed_before_a_restore_is_destroyed_again(own, operator_restarts):
    team, bao = own.team, own.bao
    pair, deleted = Pair(team), Pair(team, "deleted")
    pair.apply(overlap="1s", resyncPeriod="1h", role={"resyncPeriod": "1h"})
    deleted.apply(overlap="1s", resyncPeriod="1h", role={"resyncPeriod": "1h"})
    first, of_deleted = pair.published(), deleted.published()
    snapshot = bao.snapshot()
    pair.annotate(rotate_now="1")
    second = pair.rotated(first)
    wait_until(lambda: not pair.login(first), 15, "destroyed after its overlap")
    if not operator_restarts:
        team.delete("VaultSecretID", "deleted")
        wait_until(lambda: not deleted.stored(), 15)
        assert not pair.login(of_deleted)
    else:  # nothing of what was destroyed is remembered
        assert own.operator.stop() == 0
        own.start()
        team.wait_reason("VaultConnection", "main", "Connected")
        wait_until(lambda: "logged in" in team.condition("VaultConnection", "main")["message"], 10)
        for each in (pair, deleted):  # the first look, which lists all secret-ids, is over
            looked(own.operator, each, 2)
    since = len(bao.audit())
    bao.restore(snapshot)
    gone = [values for values in (first, of_deleted) if not pair.login(values)]
    # The operator looks as soon as Vault answers again, which it does not during a restore: it may have been quicker.
    destroyed = [path for _, path in requests(bao, since, ("update",)) if path.endswith("/secret-id-accessor/destroy")]
    assert len(gone) <= len(destroyed), "the restore has brought them back"
    wait_until(lambda: not pair.login(first), WITHIN, "destroyed again")
    if not operator_restarts:
        wait_until(lambda: not pair.login(of_deleted), 10, "also what belongs to no resource any more")
        wait_until(lambda: team.events("VaultRestored"), 10)
    # What was issued since the snapshot is lost, and replaced.
    third = wait_until(lambda: pair.login() and pair.values(), 30, "a pair that logs in")
    assert third["secret_id"] not in (first["secret_id"], second["secret_id"])
    assert not pair.login(first)
    pair.settled(60)


def test_another_vault_at_the_address_gets_nothing_until_it_is_acknowledged(own):
    team = own.team
    pair = Pair(team)
    team.apply(team.policy(), team.role())
    pair.apply()
    held = pair.published()
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    known = wait_until(lambda: team.stored("VaultConnection", "main")["status"].get("vaultClusterID"), 10)
    own.replace_vault()
    since = len(own.bao.audit())
    told = team.wait_reason("VaultConnection", "main", "VaultReplaced", 60)
    other = own.bao.client().sys.read_health_status(method="GET")["cluster_id"]
    assert told["status"] == "False" and other in told["message"] and known in told["message"] and other != known
    for kind, name in (("VaultPolicy", "p"), ("VaultAppRole", "r"), ("VaultSecretID", "s")):
        team.look(kind, name)
        assert "acknowledge-cluster-id" in team.wait_reason(kind, name, "VaultReplaced", 30)["message"]
    wait_until(lambda: team.events("VaultReplaced"), 10)
    assert requests(own.bao, since) == [] and team.vault_policy() is None and pair.values() == held
    assert not [e for e in own.bao.audit()[since:] if "/login" in e["request"]["path"]], "it is shown no credential"
    assert team.stored("VaultConnection", "main")["status"]["vaultClusterID"] == known

    # An operator that starts now is no wiser, and the annotation names one Vault and no other.
    assert own.operator.stop() == 0
    own.start()
    team.cluster.kubectl("annotate", "vaultconnection", "main", "-n", team.ns, f"keyshepherd.dev/acknowledge-cluster-id={known}")
    team.look("VaultPolicy", "p")
    team.wait_reason("VaultPolicy", "p", "VaultReplaced", 30)
    assert requests(own.bao, since) == []

    # As the message says it.
    words = told["message"].split("kubectl ")[1].split()
    team.cluster.kubectl(*words)
    team.wait_reason("VaultConnection", "main", "Connected", 20)
    wait_until(lambda: team.vault_policy() and team.vault_role(), 30, "all is made in the new one")
    wait_until(lambda: pair.login(), 30, "a pair that logs in")
    assert team.stored("VaultConnection", "main")["status"]["vaultClusterID"] == other


def test_another_address_in_the_spec_is_no_replacement(own, tools, certificates):
    """Whoever writes it means the other Vault."""
    team = own.team
    team.wait_reason("VaultConnection", "main", "Connected")
    spec = team.stored("VaultConnection", "main")["spec"]
    other = new_vault(own.folder / "other", tools, certificates, own.cluster)
    try:
        own.operator.stop()
        own.operator = rig.Operator(own.folder / "two", own.cluster, other, {"vault-address": [own.bao.address, other.address]})
        wait_until(lambda: own.operator.leading, 30, "leading")
        team.apply(rig.custom("VaultConnection", team.ns, "main", **spec | {"address": other.address}))
        theirs = other.client().sys.read_health_status(method="GET")["cluster_id"]
        wait_until(lambda: team.stored("VaultConnection", "main")["status"].get("vaultClusterID") == theirs, 20)
        assert team.condition("VaultConnection", "main")["reason"] == "Connected"
    finally:
        other.stop()
