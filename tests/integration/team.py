"""What the tests of the operator share: an operator with RBAC, and namespaces that use it."""

import itertools
import time

import pytest
import rig
from rig import custom, wait_until

names = itertools.count(1)


@pytest.fixture(scope="module")
def installed(cluster, bao):
    rig.install_operator(cluster)
    bao.trust_operator("any")
    return cluster


@pytest.fixture(scope="module")
def operator(installed, bao, tmp_path_factory):
    operator = rig.Operator(tmp_path_factory.mktemp("operator"), installed, bao)
    wait_until(lambda: operator.leading, 15, "leading")
    yield operator
    assert operator.process.alive, operator.log[-3000:]
    assert operator.stop() == 0, operator.log[-2000:]
    check_no_secret(operator, bao)


def check_no_secret(operator, bao):
    for secret in (bao.root_token, "eyJhbGciOi"):
        assert secret not in operator.log


class Team:
    """A namespace with a connection `main` and its ServiceAccount. Names in Vault begin with the namespace's.

    The connection grants this namespace alone: a connection outlives its test, and with wider grants it would remove what the
    resources of other tests left in Vault.
    """

    def __init__(self, cluster, bao, rights=("hcl",), **spec):
        self.cluster, self.bao = cluster, bao
        self.ns = f"team-{next(names)}-{int(time.time())}"
        cluster.core.create_namespace({"metadata": {"name": self.ns}})
        rig.login_account(cluster, self.ns)
        grant = {"namespaces": [self.ns], "names": [f"{self.ns}-*"], "mounts": ["approle", "kubernetes", f"{self.ns}*"],
                 "paths": ["ai-apis/*", f"{self.ns}/*"], "policies": [f"{self.ns}-*", "ai-api"], "rights": list(rights)}
        self.apply(custom("VaultConnection", self.ns, "main", **{
            "address": bao.address, "ca": bao.certificates.ca_pem,
            "auth": {"kubernetes": {"role": "keyshepherd-operator", "serviceAccountName": "keyshepherd-vault"}},
            "grants": [grant], "deletionTimeout": "1m"} | spec))

    def apply(self, *objects):
        for made in objects:
            self.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=made)

    def policy(self, own="p", path="ai-apis/data/x", **spec):
        return custom("VaultPolicy", self.ns, own, **{"name": f"{self.ns}-{own}", "resyncPeriod": "10s", "rules": [
            {"path": path, "capabilities": ["read"]}]} | spec)

    def role(self, own="r", **spec):
        return custom("VaultAppRole", self.ns, own, **{"name": f"{self.ns}-{own}", "resyncPeriod": "10s", "tokenTTL": "1h",
                                                        "tokenPolicies": [f"{self.ns}-p"]} | spec)

    def look(self, kind, *names):
        """Has the operator look at them now: nobody waits for the resync period."""
        for name in names:
            self.cluster.kubectl("annotate", "--overwrite", "-n", self.ns, kind.lower(), name,
                                 f"{rig.PREFIX}reconcile-at={time.time_ns()}")

    def stored(self, kind, name):
        response = self.cluster.request("GET", f"/apis/{rig.GROUP}/namespaces/{self.ns}/{rig.PLURALS[kind]}/{name}")
        return response.json() if response.status_code == 200 else None

    def condition(self, kind, name, type_="Ready"):
        found = self.stored(kind, name) or {}
        return next((c for c in found.get("status", {}).get("conditions", []) if c["type"] == type_), {})

    def wait_reason(self, kind, name, reason, seconds=15):
        def there():
            condition = self.condition(kind, name)
            return condition if condition.get("reason") == reason else None
        try:
            return wait_until(there, seconds, f"{kind} {name}: {reason}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}: it is {self.condition(kind, name)}") from None

    def delete(self, kind, name):
        self.cluster.kubectl("delete", kind.lower(), name, "-n", self.ns, "--wait=false")

    def events(self, reason):
        items = self.cluster.get(f"/apis/events.k8s.io/v1/namespaces/{self.ns}/events")["items"]
        return [e for e in items if e["reason"] == reason]

    def vault_policy(self, name="p"):
        response = rig.session(self.bao.certificates.ca).get(f"{self.bao.address}/v1/sys/policies/acl/{self.ns}-{name}",
                                                            headers={"X-Vault-Token": self.bao.root_token})
        return response.json()["data"]["policy"] if response.status_code == 200 else None

    def vault_role(self, name="r"):
        response = rig.session(self.bao.certificates.ca).get(f"{self.bao.address}/v1/auth/approle/role/{self.ns}-{name}",
                                                            headers={"X-Vault-Token": self.bao.root_token})
        return response.json()["data"] if response.status_code == 200 else None


@pytest.fixture
def team(operator, installed, bao):
    team = Team(installed, bao)
    yield team
    installed.kubectl("delete", "namespace", team.ns, "--wait=false", "--ignore-not-found")


def requests(bao, since=0, operations=("create", "update", "delete"), but=("/login", "/lookup-self", "renew-self", "revoke-self")):
    """What the operator asked of Vault: operation and path. The root token's own requests are those of the tests."""
    return [(e["request"]["operation"], e["request"]["path"]) for e in bao.audit()[since:]
            if e["type"] == "request" and e["request"]["operation"] in operations
            and "root" not in e.get("auth", {}).get("policies", []) and not any(b in e["request"]["path"] for b in but)]
