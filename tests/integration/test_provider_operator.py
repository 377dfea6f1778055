"""What the operator does for providers, on a real API server and a real OpenBao: it sees a key's version, and rolls the
workloads that began with another one. The workloads are injected by the real webhook."""

import base64
import http.server
import json
import ssl
import subprocess
import threading
import time

import pytest
import rig
from rig import custom, wait_until
from team import Team, check_no_secret, requests

SPREAD = 4
GRACE = 4  # of a Secret that no workload reads
CLUSTER = f"/apis/{rig.GROUP}/clusteraiproviders"
OPERATOR_POLICY = """
    path "ai-apis/metadata/*" { capabilities = ["read"] }
    path "ai-apis/data/*" { capabilities = ["read"] }
"""


class Models:
    """An API of a provider over TLS: `GET /v1/models` answers whoever brings the right key."""

    def __init__(self, certificates):
        self.key, self.status, self.seen = "sk-valid", 200, []
        models = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                models.seen.append((self.path, self.headers["Authorization"]))
                right = self.headers["Authorization"] == f"Bearer {models.key}"
                self.send_response(models.status if right else 401)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.handler, self.certificates, self.port = Handler, certificates, rig.free_port()
        self.start()

    def start(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificates.cert, self.certificates.key)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), self.handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    @property
    def base_url(self):
        return f"https://127.0.0.1:{self.port}/v1"


class World:
    """A cluster with the webhook in force and an operator that may be killed and started again."""

    def __init__(self, cluster, bao, certificates, folder):
        self.cluster, self.bao, self.folder, self.starts = cluster, bao, folder, 0
        rig.install_operator(cluster)
        rig.install(cluster, "keyshepherd-webhook", "webhook-rbac.yaml")
        bao.trust_operator("any", policy=OPERATOR_POLICY)
        folder.mkdir(parents=True, exist_ok=True)
        kubeconfig = rig.account_kubeconfig(cluster, folder / "webhook-kubeconfig", "keyshepherd-webhook")
        self.webhook = rig.Webhook(folder, certificates, bao, flags={"kubeconfig": kubeconfig, "allow-provider-shadowing": "true"})
        self.webhook_ca = certificates.ca_pem
        cluster.install_webhook(self.webhook.url, self.webhook_ca)
        self.models = Models(certificates)
        self.trusted = {"SSL_CERT_FILE": str(certificates.ca)}
        self.start()

    def start(self, dies_at=None, **environment):
        """`dies_at`: the failpoint at which it kills itself, and for the n-th time: rolled:2."""
        self.starts += 1
        self.operator = rig.Operator(self.folder / f"operator-{self.starts}", self.cluster, self.bao,
                                     {"rollout-spread-seconds": SPREAD, "secret-grace-seconds": GRACE,
                                      "probe-host": f"127.0.0.1:{self.models.port}", "allow-provider-shadowing": "true"},
                                     environment=self.trusted | environment | ({"KEYSHEPHERD_FAILPOINT": dies_at} if dies_at else {}))
        wait_until(lambda: self.operator.leading, 15, "leading")

    def kill(self):
        self.operator.process.popen.kill()
        self.operator.process.popen.wait()


@pytest.fixture(scope="module")
def world(cluster, bao, certificates, tmp_path_factory):
    world = World(cluster, bao, certificates, tmp_path_factory.mktemp("providers"))
    yield world
    operator = world.operator
    assert operator.process.alive, operator.log[-3000:]
    assert operator.stop() == 0, operator.log[-2000:]
    check_no_secret(operator, bao)
    assert "sk-" not in operator.log
    cluster.remove_webhook()
    world.webhook.stop()
    world.models.stop()


class Users(Team):
    """A team with an AIProvider `acme` of its own and workloads that use it."""

    def __init__(self, world, may_roll=True, **connection):
        super().__init__(world.cluster, world.bao, **connection)
        self.world, self.path = world, f"{self.ns}/acme"
        self.cluster.core.create_namespaced_service_account(self.ns, {"metadata": {"name": "ai-app"}})
        if may_roll:
            self.bind()

    def bind(self):
        self.apply({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                    "metadata": {"name": "restarts", "namespace": self.ns},
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "keyshepherd-operator-restarts"},
                    "subjects": [{"kind": "ServiceAccount", "name": "keyshepherd-operator", "namespace": "keyshepherd"}]})

    def write(self, path=None, look=True, **fields):
        """A new version of the key: its number. The operator looks at it now, unless `look` is False."""
        secret = {"api_key": f"sk-{time.monotonic_ns()}"} | fields
        answer = self.bao.root.secrets.kv.v2.create_or_update_secret(path or self.path, secret, mount_point="ai-apis")
        if look:
            self.look_at_providers()
        return answer["data"]["version"]

    def look_at_providers(self):
        """Has the operator look at them now: nobody waits for the resync period."""
        now = f"{rig.PREFIX}reconcile-at={time.time_ns()}"
        for kind in ("aiproviders", "clusteraiproviders"):
            self.cluster.kubectl("annotate", "--overwrite", "-n", self.ns, kind, "--all", now, check=False)

    def provide(self, name="acme", **spec):
        self.apply(custom("AIProvider", self.ns, name, **{
            "path": f"ai-apis/data/{self.path}", "resyncPeriod": "10s",
            "variables": [{"name": "ACME_API_KEY", "key": "api_key"}]} | spec))

    def workload(self, name, inject="acme", **annotations):
        made = rig.seed_deployment(inject=inject, plain=True, **annotations)
        made["metadata"]["name"], made["metadata"]["namespace"], made["spec"]["replicas"] = name, self.ns, 1
        self.apply(made)

    def copied(self, name, kind, deployment):
        """Another kind of workload, with the injected template of a Deployment."""
        template = self.cluster.deployment(self.ns, deployment)["spec"]["template"]
        template["metadata"].pop("creationTimestamp", None)
        template["metadata"]["annotations"]["keyshepherd.dev/inject"] = "acme"
        spec = {"selector": {"matchLabels": template["metadata"]["labels"]}, "template": template}
        self.apply({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": self.ns},
                    "spec": spec | ({"serviceName": "none"} if kind == "StatefulSet" else {})})

    def record(self, name, kind="Deployment", provider="acme"):
        """The record of the last rollout, off the template."""
        found = self.cluster.get(f"/apis/apps/v1/namespaces/{self.ns}/{kind.lower()}s/{name}")
        annotations = found["spec"]["template"]["metadata"]["annotations"]
        assert "keyshepherd.dev/injected" in annotations
        return annotations.get(f"rotation.keyshepherd.dev/{provider}")

    def told(self, *arguments, **named):
        """The version in that record."""
        record = self.record(*arguments, **named)
        return record and record.split()[0]

    def status(self, name="acme"):
        return (self.stored("AIProvider", name) or {}).get("status", {})

    def wait_status(self, seconds=15, **wanted):
        def as_wanted():
            return all(self.status().get(k) == v for k, v in wanted.items())
        try:
            wait_until(as_wanted, seconds)
        except TimeoutError:
            raise TimeoutError(f"{wanted} within {seconds} s: it is {self.status()}\n{self.world.operator.log[-3000:]}") from None

    def replicasets(self, name):
        return self.cluster.replicasets(self.ns, name)

    def settled(self, *names, sets=2, seconds=10):
        wait_until(lambda: all(self.replicasets(n) >= sets for n in names), seconds, "ReplicaSets")
        time.sleep(2)  # a second rollout would come now
        assert {n: self.replicasets(n) for n in names} == dict.fromkeys(names, sets)


@pytest.fixture
def users(world):
    made = []

    def make(*arguments, **spec):
        made.append(Users(world, *arguments, **spec))
        return made[-1]

    yield make
    for each in made:
        world.cluster.kubectl("delete", "namespace", each.ns, "--wait=false", "--ignore-not-found")


@pytest.fixture
def team(users):
    return users()


def begun(team, *names, **annotations):
    """Deployments that began with version 1: a second later than it, and a second before whatever comes next."""
    team.write()
    time.sleep(1.1)
    team.provide()
    for name in names:
        team.workload(name, **annotations)
    team.wait_status(keyVersion=1, users=len(names), stale=0, skipped=0)
    time.sleep(1.1)


# ---- what is seen --------------------------------------------------------------------------------------------------------


def test_the_version_of_a_key_is_seen(team, world):
    team.write()
    team.provide()
    condition = team.wait_reason("AIProvider", "acme", "KeySeen")
    assert condition["status"] == "True" and condition["message"] == f"ai-apis/data/{team.path}: version 1"
    assert team.status()["keyVersion"] == 1 and team.status()["users"] == 0
    assert team.write() == 2
    team.wait_status(5, keyVersion=2)
    assert world.operator.metric(f'keyshepherd_key_version{{namespace="{team.ns}",provider="acme"}}') == 2
    team.delete("AIProvider", "acme")
    wait_until(lambda: team.ns not in world.operator.get("/metrics").text, 5)


def test_without_a_connection_it_is_only_declared(team, world):
    made = custom("AIProvider", team.ns, "acme", path="ai-apis/data/x", variables=[{"name": "A", "key": "a"}])
    del made["spec"]["connectionRef"]
    before = len(world.bao.audit())
    made["spec"]["delivery"] = {"secret": True}
    team.apply(made)
    assert team.wait_reason("AIProvider", "acme", "Declared")["status"] == "True"
    assert team.condition("AIProvider", "acme", "SecretPublished")["reason"] == "NoConnection"
    assert requests(world.bao, before, ("read",)) == []


def test_a_deleted_key_a_missing_one_and_one_without_versions_are_told(team, world):
    team.provide()
    team.wait_reason("AIProvider", "acme", "KeyNotFound")
    team.write()
    team.wait_reason("AIProvider", "acme", "KeySeen", 5)
    kv = world.bao.root.secrets.kv.v2
    kv.delete_latest_version_of_secret(team.path, mount_point="ai-apis")
    team.look_at_providers()
    condition = team.wait_reason("AIProvider", "acme", "KeyDeleted", 5)
    assert condition["status"] == "False" and "keyVersion" not in team.status()
    kv.undelete_secret_versions(team.path, [1], mount_point="ai-apis")
    team.look_at_providers()
    team.wait_reason("AIProvider", "acme", "KeySeen", 5)
    team.provide("flat", path="ai-apis/flat")
    team.wait_reason("AIProvider", "flat", "NotVersioned")
    team.provide("far", path=f"{team.ns}/data/far")
    team.wait_reason("AIProvider", "far", "PermissionDenied")


def test_a_steady_state_writes_nothing(team, world):
    begun(team, "one")
    time.sleep(1)
    version = team.stored("AIProvider", "acme")["metadata"]["resourceVersion"]
    workload = team.cluster.deployment(team.ns, "one")["metadata"]["generation"]
    before = len(world.bao.audit())
    time.sleep(21)
    asked = requests(world.bao, before, ("create", "read", "update", "delete", "list"))
    mine = [a for a in asked if team.ns in a[1]]
    assert len(mine) >= 2 and set(mine) == {("read", f"ai-apis/metadata/{team.path}")}
    assert team.stored("AIProvider", "acme")["metadata"]["resourceVersion"] == version
    assert team.cluster.deployment(team.ns, "one")["metadata"]["generation"] == workload


# ---- what is rolled ------------------------------------------------------------------------------------------------------


def test_a_new_version_rolls_each_workload_once_within_the_spread(team, world):
    names = [f"web-{i}" for i in range(5)]
    team.write()
    time.sleep(1.1)
    team.provide()
    for name in names:
        team.workload(name)
    team.copied("set", "StatefulSet", names[0])
    team.copied("daemon", "DaemonSet", names[0])
    team.workload("still", on_rotate="none")
    team.workload("file", wiring="file")
    team.workload("file-rolled", wiring="file", on_rotate="rollout")
    team.workload("other", inject="holysheep")
    team.wait_status(keyVersion=1, users=10, stale=0, skipped=0)
    time.sleep(1.1)
    before = world.operator.metric('keyshepherd_rotation_rollouts_total{provider="acme",result="rolled"}')
    team.write()
    began, when = time.monotonic(), {}
    while len(when) < len(names) and time.monotonic() < began + SPREAD + 8:
        for name in names:
            if name not in when and team.told(name) == "2":
                when[name] = time.monotonic() - began
        time.sleep(0.05)
    print("rolled after", sorted(round(t, 1) for t in when.values()))
    assert len(when) == len(names) and max(when.values()) < 1.5 + SPREAD + 0.5
    assert max(when.values()) - min(when.values()) > SPREAD / 4, "not all at once"
    team.settled(*names, "file-rolled")
    assert team.told("set", "StatefulSet") == team.told("daemon", "DaemonSet") == "2"
    for name in ("still", "file", "other"):
        assert team.replicasets(name) == 1 and team.told(name) is None
    team.wait_status(keyVersion=2, users=10, stale=0, skipped=2)
    assert world.operator.metric('keyshepherd_rotation_rollouts_total{provider="acme",result="rolled"}') == before + 8
    # Who takes the annotation away has begun anew by that.
    gone = {"spec": {"template": {"metadata": {"annotations": {"rotation.keyshepherd.dev/acme": None}}}}}
    generation = team.cluster.apps.patch_namespaced_deployment(names[0], team.ns, gone).metadata.generation
    time.sleep(3)
    assert team.told(names[0]) is None
    assert team.cluster.deployment(team.ns, names[0])["metadata"]["generation"] == generation
    told = wait_until(lambda: (e := team.events("KeyRotated")) and len(e) == 8 and e, 10)
    assert {e["regarding"]["name"] for e in told} == {*names, "set", "daemon", "file-rolled"}


def test_another_path_rolls_though_the_version_is_the_same(team, world):
    """One workload began with the path before, the other was rolled for it; the new path's version is older than both."""
    other = f"{team.path}-other"
    assert team.write(other) == 1 and team.write(other) == 2
    begun(team, "rolled")
    team.write()
    wait_until(lambda: team.told("rolled") == "2", SPREAD + 5)
    time.sleep(1.1)
    team.workload("began")
    team.workload("skipped", on_rotate="none")
    team.wait_status(keyVersion=2, users=3, stale=0, skipped=0)
    before = team.record("rolled")
    team.provide(path=f"ai-apis/data/{other}")
    wait_until(lambda: team.told("began") == "2" and team.record("rolled") != before, SPREAD + 8)
    assert team.record("began") == team.record("rolled") and other not in team.record("began")
    for name in ("began", "rolled"):
        template = team.cluster.deployment(team.ns, name)["spec"]["template"]["metadata"]["annotations"]
        assert f"ai-apis/data/{other}" in template["keyshepherd.dev/agent-config"]
    team.settled("began")
    assert team.replicasets("rolled") == 3 and team.replicasets("skipped") == 1
    team.wait_status(stale=0, skipped=1)
    # Another leader knows the record, and rolls nothing; nor for one that an earlier release has written.
    world.kill()
    old = {"spec": {"template": {"metadata": {"annotations": {"rotation.keyshepherd.dev/acme": "2"}}}}}
    team.cluster.apps.patch_namespaced_deployment("began", team.ns, old)
    world.start()
    team.wait_status(25, keyVersion=2, users=3, stale=0, skipped=1)
    time.sleep(SPREAD)
    assert team.record("began") == "2" and team.replicasets("rolled") == 3


def test_of_several_versions_only_the_newest_is_rolled(team):
    names = [f"web-{i}" for i in range(4)]
    begun(team, *names)
    team.write()
    wait_until(lambda: any(team.told(n) == "2" for n in names), 5)
    early = [n for n in names if team.told(n) == "2"]
    team.write(look=False), team.write(look=False), team.write()
    wait_until(lambda: all(team.told(n) == "5" for n in names), SPREAD * 2 + 8)
    late = [n for n in names if n not in early]
    assert late, "the first versions were rolled too fast to be overtaken"
    team.settled(*late)
    wait_until(lambda: all(team.replicasets(n) == 3 for n in early), 15)


def test_a_killed_operator_rolls_nothing_twice(team, world):
    names = [f"web-{i}" for i in range(6)]
    begun(team, *names)
    team.write()
    wait_until(lambda: sum(team.told(n) == "2" for n in names) >= 2, 8, every=0.02)
    world.kill()
    rolled = [n for n in names if team.told(n) == "2"]
    assert 2 <= len(rolled) < len(names), rolled
    world.start()
    team.wait_status(25, keyVersion=2, stale=0)
    assert all(team.told(n) == "2" for n in names)
    team.settled(*names)


@pytest.mark.skipif(rig.PRESET == "release", reason="a release has no failpoints")
def test_an_operator_that_dies_behind_a_rollout_rolls_nothing_twice(team, world):
    """Nothing but the template's annotation tells of the second rollout."""
    names = [f"web-{i}" for i in range(3)]
    begun(team, *names)
    world.kill()
    world.start(dies_at="rolled:2")
    team.write()
    wait_until(lambda: not world.operator.process.alive, 15, "it dies")
    assert sum(team.told(n) == "2" for n in names) == 2
    world.start()
    team.wait_status(25, keyVersion=2, stale=0)
    assert all(team.told(n) == "2" for n in names)
    team.settled(*names)


def test_a_workload_that_began_with_the_version_is_not_rolled(team):
    begun(team, "old")
    team.write()
    time.sleep(1.1)
    team.workload("young")
    team.wait_status(keyVersion=2, users=2, stale=0)
    team.settled("old")
    assert team.told("young") is None and team.replicasets("young") == 1


def test_a_deployment_that_is_annotated_later_is_rolled_once(team):
    """It is older than the key, but its pods are not: injection rolls it, and rotation must not roll it again."""
    plain = rig.unannotated(rig.seed_deployment(plain=True))
    plain["metadata"]["name"], plain["metadata"]["namespace"], plain["spec"]["replicas"] = "old", team.ns, 1
    team.apply(plain)
    wait_until(lambda: team.replicasets("old") == 1, 10)
    time.sleep(1.1)
    begun(team, "steady")
    team.write()
    wait_until(lambda: team.told("steady") == "2", SPREAD + 5)
    time.sleep(1.1)
    team.cluster.kubectl("annotate", "deployment", "old", "-n", team.ns, "keyshepherd.dev/inject=acme")
    team.wait_status(25, keyVersion=2, users=2, stale=0, skipped=0)
    team.settled("old")
    assert team.told("old") is None
    # The next version rolls it like any other.
    team.write()
    wait_until(lambda: team.told("old") == "3", SPREAD + 5)
    team.settled("old", sets=3)


def test_a_statefulset_and_a_daemonset_that_are_annotated_later_are_rolled_once(team):
    plain = rig.unannotated(rig.seed_deployment(plain=True))["spec"]["template"]
    kinds = {"StatefulSet": "set", "DaemonSet": "daemon"}

    def put(kind, template):
        template = json.loads(json.dumps(template))
        template["metadata"].pop("creationTimestamp", None)
        if kind:
            template["metadata"]["annotations"]["keyshepherd.dev/inject"] = "acme"
        return template
    for kind, name in kinds.items():
        spec = {"selector": {"matchLabels": plain["metadata"]["labels"]}, "template": put(None, plain)}
        team.apply({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": team.ns},
                    "spec": spec | ({"serviceName": "none"} if kind == "StatefulSet" else {})})
    time.sleep(1.1)
    begun(team, "steady")
    injected = team.cluster.deployment(team.ns, "steady")["spec"]["template"]
    team.write()
    wait_until(lambda: team.told("steady") == "2", SPREAD + 5)
    time.sleep(1.1)
    for kind, name in kinds.items():
        spec = {"selector": {"matchLabels": plain["metadata"]["labels"]}, "template": put(kind, injected)}
        team.apply({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": team.ns},
                    "spec": spec | ({"serviceName": "none"} if kind == "StatefulSet" else {})})
    wait_until(lambda: team.status().get("users") == 3, 10)
    team.wait_status(25, stale=0)
    time.sleep(2)
    assert team.told("set", "StatefulSet") is None and team.told("daemon", "DaemonSet") is None
    team.write()
    wait_until(lambda: team.told("set", "StatefulSet") == team.told("daemon", "DaemonSet") == "3", SPREAD + 5)


def test_metadata_that_was_deleted_and_written_anew_as_version_1_rolls(team, world):
    begun(team, "never")
    team.write()
    wait_until(lambda: team.told("never") == "2", SPREAD + 5)
    time.sleep(1.1)
    team.workload("young")
    delete = world.bao.root.secrets.kv.v2.delete_metadata_and_all_versions
    for _ in range(2):  # the second time version 1 follows version 1
        time.sleep(1.1)
        delete(team.path, mount_point="ai-apis")
        before = {name: team.record(name) for name in ("never", "young")}
        assert team.write() == 1
        wait_until(lambda: all(team.told(n) == "1" and team.record(n) != before[n] for n in before), SPREAD + 8)
    team.wait_status(keyVersion=1, users=2, stale=0, skipped=0)
    team.settled("young", sets=3)


def test_who_may_not_be_rolled_is_told_once_and_skipped(users):
    team = users(may_roll=False)
    begun(team, "one", "two")
    team.write()
    team.wait_status(keyVersion=2, users=2, stale=0, skipped=2)
    wait_until(lambda: len(team.events("RolloutRefused")) == 2, 10)
    time.sleep(3)
    refused = team.events("RolloutRefused")
    assert sorted(e["regarding"]["name"] for e in refused) == ["one", "two"] and "version 2" in refused[0]["note"]
    assert team.told("one") is None and team.replicasets("one") == 1
    team.bind()
    team.wait_status(120, skipped=0, stale=0)  # who was refused is tried again after ten resync periods
    team.settled("one", "two")


# ---- overrides and tenancy -----------------------------------------------------------------------------------------------


def test_an_override_rolls_the_namespaces_that_it_is_for(users, world):
    dev, prod = users(), users()
    name = f"acme-{time.monotonic_ns()}"
    stages = {"dev": f"{name}/dev", "prod": f"{name}/prod"}
    for path in stages.values():
        dev.write(path)
    time.sleep(1.1)
    world.cluster.core.patch_namespace(prod.ns, {"metadata": {"labels": {"env": "prod"}}})
    made = {"apiVersion": rig.GROUP, "kind": "ClusterAIProvider", "metadata": {"name": name}, "spec": {
        "path": f"ai-apis/data/{stages['dev']}", "resyncPeriod": "10s", "variables": [{"name": "ACME_API_KEY", "key": "api_key"}],
        "connectionRef": {"name": "main", "namespace": dev.ns},
        "overrides": [{"namespaceSelector": {"matchLabels": {"env": "prod"}}, "path": f"ai-apis/data/{stages['prod']}"}]}}
    try:
        world.cluster.kubectl("apply", "--server-side", "-f", "-", input=made)
        for team in (dev, prod):
            team.workload("web", inject=name)

        def status():
            return world.cluster.get(f"{CLUSTER}/{name}").get("status", {})
        wait_until(lambda: (s := status()).get("users") == 2 and s["stale"] == 0 and s["keyVersion"] == 1, 15)
        time.sleep(1.1)
        dev.write(stages["prod"])
        wait_until(lambda: prod.told("web", provider=name) == "2", 10)
        prod.settled("web")
        assert dev.replicasets("web") == 1 and status()["keyVersion"] == 1
        message = next(c["message"] for c in status()["conditions"] if c["type"] == "Ready")
        assert message == f"ai-apis/data/{stages['dev']}: version 1; ai-apis/data/{stages['prod']}: version 2"
        dev.write(stages["dev"])
        wait_until(lambda: dev.told("web", provider=name) == "2", 10)
        # A provider of the namespace's own takes its workloads over.
        dev.write()
        dev.provide(name)
        wait_until(lambda: status()["users"] == 1, 5)
    finally:
        world.cluster.kubectl("delete", "clusteraiprovider", name, "--ignore-not-found")


def test_what_is_not_granted_is_never_asked_for(users, world):
    team = users(grants=[{"namespaces": ["*"], "paths": ["ai-apis/data/theirs/*"]}])
    before = len(world.bao.audit())
    team.provide()
    condition = team.wait_reason("AIProvider", "acme", "NotGranted")
    assert f"ai-apis/data/{team.path} is not granted to namespace {team.ns}" in condition["message"]
    team.provide("sys", path="sys/data/policies")
    team.wait_reason("AIProvider", "sys", "NotGranted")
    time.sleep(2)
    asked = requests(world.bao, before, ("create", "read", "update", "delete", "list"))
    assert [a for a in asked if team.ns in a[1] or a[1].startswith("sys/metadata")] == []


def test_another_namespaces_connection_gives_only_what_it_grants(users, world):
    owner, tenant = users(), users()
    tenant.provide(connectionRef={"name": "main", "namespace": owner.ns})
    tenant.wait_reason("AIProvider", "acme", "NotGranted")


# ---- the key is tried ----------------------------------------------------------------------------------------------------


def test_a_key_is_tried_at_an_allowed_host(team, world):
    models = world.models
    series = f'keyshepherd_key_valid{{namespace="{team.ns}",provider="acme"}}'

    def valid(status, reason, seconds=8):
        wait_until(lambda: (c := team.condition("AIProvider", "acme", "KeyValid")).get("reason") == reason and c["status"] == status,
                   seconds, f"{reason}: {team.condition('AIProvider', 'acme', 'KeyValid')}")
    team.write(api_key=models.key, base_url=models.base_url)
    team.provide(keyProbe={"enabled": True, "interval": "2s"})
    valid("True", "KeyAccepted")
    assert models.seen[-1] == ("/v1/models", f"Bearer {models.key}")
    wait_until(lambda: world.operator.metric(series) == 1, 5)
    assert team.condition("AIProvider", "acme")["reason"] == "KeySeen"
    version, before = team.stored("AIProvider", "acme")["metadata"]["resourceVersion"], len(models.seen)
    time.sleep(7)
    tried = len(models.seen) - before
    assert 2 <= tried <= 4, f"{tried} times in 7 s, with an interval of 2 s"
    assert team.stored("AIProvider", "acme")["metadata"]["resourceVersion"] == version
    models.status = 302
    valid("Unknown", "UnexpectedAnswer")
    assert {path for path, _ in models.seen} == {"/v1/models"}, "a redirect is not followed"
    models.status = 200
    team.write(api_key="sk-revoked", base_url=models.base_url)
    valid("False", "KeyRefused")
    assert world.operator.metric(series) == 0 and series in world.operator.get("/metrics").text
    models.stop()
    valid("Unknown", "Unreachable")
    assert series not in world.operator.get("/metrics").text
    models.start()
    team.write(api_key=models.key, base_url=models.base_url)
    valid("True", "KeyAccepted")
    team.provide(keyProbe={"enabled": False})
    wait_until(lambda: team.condition("AIProvider", "acme", "KeyValid") == {}, 5)
    stored = json.dumps([team.stored("AIProvider", "acme"), team.cluster.get(f"/apis/events.k8s.io/v1/namespaces/{team.ns}/events")])
    assert "sk-" not in stored and "sk-" not in world.operator.log


def validity(team, status, reason, part="", seconds=10):
    """The condition KeyValid, once it says so."""
    def as_wanted():
        found = team.condition("AIProvider", "acme", "KeyValid")
        return found if (found.get("status"), found.get("reason")) == (status, reason) and part in found["message"] else None
    try:
        return wait_until(as_wanted, seconds)
    except TimeoutError:
        raise TimeoutError(f"{status} {reason} {part}: {team.status()}\n{team.world.operator.log[-3000:]}") from None


def tried(team, world, *names, wiring=None, **spec):
    """Deployments that began with version 1, whose key the provider accepts."""
    team.write(api_key=world.models.key, base_url=world.models.base_url)
    time.sleep(1.1)
    team.provide(**{"keyProbe": {"enabled": True, "interval": "1h"}} | spec)
    validity(team, "True", "KeyAccepted", "version 1: ")
    if wiring:
        published(team)
    for name in names:
        team.workload(name, **({"wiring": wiring} if wiring else {}))
    team.wait_status(keyVersion=1, users=len(names), stale=0, skipped=0)
    time.sleep(1.1)


def test_a_new_version_is_tried_at_once_and_reported_by_its_number(team, world):
    tried(team, world, "web")
    before = len(world.models.seen)
    team.write(api_key=world.models.key, base_url=world.models.base_url)
    validity(team, "True", "KeyAccepted", "version 2: ")
    assert len(world.models.seen) == before + 1, "once, though the interval is an hour"
    wait_until(lambda: team.told("web") == "2", SPREAD + 5)
    team.settled("web")


def test_a_refused_version_reaches_no_workload(team, world):
    tried(team, world, "web", keyProbe={"enabled": True, "interval": "3s"})
    team.write(api_key="sk-refused", base_url=world.models.base_url)
    refused = validity(team, "False", "KeyRefused", "version 2: ")
    assert "does not restart workloads for a rejected key" in refused["message"]
    team.wait_status(keyVersion=2, stale=1, users=1, refusedKeyVersion=2)
    wait_until(lambda: team.events("KeyRefused"), 10)
    world.models.status = 500  # says nothing for the key
    try:
        world.models.key, accepted = "sk-refused", world.models.key
        validity(team, "Unknown", "UnexpectedAnswer", "version 2: ")
        # Neither does an operator that knows nothing but the status.
        world.kill()
        world.start()
        time.sleep(SPREAD + 2)
        validity(team, "Unknown", "UnexpectedAnswer", "version 2: ")
        assert team.told("web") is None and team.replicasets("web") == 1 and team.status()["refusedKeyVersion"] == 2
        # The provider accepts it after all.
        world.models.status = 200
        validity(team, "True", "KeyAccepted", "version 2: ")
        wait_until(lambda: team.told("web") == "2", SPREAD + 10)
        wait_until(lambda: "refusedKeyVersion" not in team.status(), 5)
    finally:
        world.models.status, world.models.key = 200, accepted
    team.settled("web")
    assert "sk-" not in json.dumps([team.stored("AIProvider", "acme"), team.events("KeyRefused")])


def test_a_refused_version_is_kept_out_of_the_secret(team, world):
    tried(team, world, "web", wiring="secret", **DELIVERED)
    version = secret_of(team.cluster, team.ns)["metadata"]["resourceVersion"]
    team.write(api_key="sk-refused", base_url=world.models.base_url)
    validity(team, "False", "KeyRefused", "version 2: ")
    condition = published(team, "KeyRefused")
    assert condition["status"] == "False" and "keeps the earlier key" in condition["message"]
    time.sleep(2)
    assert secret_of(team.cluster, team.ns)["metadata"]["resourceVersion"] == version
    team.write(api_key=world.models.key, base_url="b3")
    validity(team, "Unknown", "NoAddress", "version 3: ")
    wait_until(lambda: (values_of(team.cluster, team.ns) or {})["ACME_BASE_URL"] == "b3", 5)
    wait_until(lambda: team.told("web") == "3", SPREAD + 5)
    team.settled("web")


def test_a_refused_version_is_rolled_where_the_provider_says_so(team, world):
    tried(team, world, "web", keyProbe={"enabled": True, "interval": "1h", "blockRollouts": False})
    team.write(api_key="sk-refused", base_url=world.models.base_url)
    validity(team, "False", "KeyRefused", "version 2: ")
    wait_until(lambda: team.told("web") == "2", SPREAD + 5)


def test_a_version_that_cannot_be_tried_is_unknown_and_rolled(team, world):
    tried(team, world, "web")
    world.models.stop()
    try:
        team.write(api_key="sk-new", base_url=world.models.base_url)
        validity(team, "Unknown", "Unreachable", "version 2: ")
        wait_until(lambda: team.told("web") == "2", SPREAD + 5)
    finally:
        world.models.start()
    # A deleted version is not the one that was accepted.
    world.bao.root.secrets.kv.v2.delete_latest_version_of_secret(team.path, mount_point="ai-apis")
    team.look_at_providers()
    validity(team, "Unknown", "NoKey")


def test_a_key_with_a_trailing_newline_is_reported_and_reaches_no_workload(team, world):
    tried(team, world, "web", wiring="secret", **DELIVERED)
    before = len(world.models.seen)
    team.write(api_key=f"{world.models.key}\n", base_url=world.models.base_url)
    condition = validity(team, "False", "KeyMalformed", "version 2: the field api_key ends with a line break")
    assert len(world.models.seen) == before and "sk-" not in condition["message"]
    published(team, "KeyRefused")
    time.sleep(SPREAD)
    assert team.told("web") is None


def test_a_published_key_with_a_trailing_newline_is_reported(team):
    team.write(api_key="sk-one\n", base_url="b")
    team.provide(**DELIVERED)
    condition = published(team)
    assert "the field api_key ends with a line break" in condition["message"] and "sk-" not in condition["message"]
    assert values_of(team.cluster, team.ns)["ACME_API_KEY"] == "sk-one\n", "it is published as it is"
    wait_until(lambda: team.events("TrailingNewline"), 10)
    team.write(api_key="sk-two", base_url="b")
    wait_until(lambda: "line break" not in published(team)["message"], 10)


def test_every_key_of_an_override_is_tried(users, world):
    """The workloads of one namespace read the key of an override, which the provider refuses."""
    dev, prod = users(), users()
    name = f"acme-{time.monotonic_ns()}"
    world.cluster.core.patch_namespace(prod.ns, {"metadata": {"labels": {"env": "prod"}}})
    for stage in ("dev", "prod"):
        dev.write(f"{name}/{stage}", api_key=world.models.key, base_url=world.models.base_url)
    time.sleep(1.1)
    made = {"apiVersion": rig.GROUP, "kind": "ClusterAIProvider", "metadata": {"name": name}, "spec": {
        "path": f"ai-apis/data/{name}/dev", "resyncPeriod": "10s", "connectionRef": {"name": "main", "namespace": dev.ns},
        "variables": [{"name": "ACME_API_KEY", "key": "api_key"}], "keyProbe": {"enabled": True, "interval": "1h"},
        "overrides": [{"namespaceSelector": {"matchLabels": {"env": "prod"}}, "path": f"ai-apis/data/{name}/prod"}]}}

    def condition():
        found = world.cluster.get(f"{CLUSTER}/{name}").get("status", {}).get("conditions", [])
        return next((c for c in found if c["type"] == "KeyValid"), {})
    try:
        world.cluster.kubectl("apply", "--server-side", "-f", "-", input=made)
        wait_until(lambda: condition().get("status") == "True", 10)
        for team in (dev, prod):
            team.workload("web", inject=name)
        time.sleep(1.1)
        dev.write(f"{name}/prod", api_key="sk-refused", base_url=world.models.base_url)
        wait_until(lambda: condition()["status"] == "False", 10)
        assert f"ai-apis/data/{name}/prod: version 2: " in condition()["message"]
        dev.write(f"{name}/dev", api_key=world.models.key, base_url=world.models.base_url)
        wait_until(lambda: dev.told("web", provider=name) == "2", SPREAD + 5)
        time.sleep(SPREAD)
        assert prod.told("web", provider=name) is None and prod.replicasets("web") == 1
    finally:
        world.cluster.kubectl("delete", "clusteraiprovider", name, "--ignore-not-found")


def test_a_key_goes_to_no_other_host(team, world):
    other = Models(world.models.certificates)
    try:
        before = len(world.bao.audit())
        team.write(api_key="sk-x", base_url=other.base_url)
        team.provide(keyProbe={"enabled": True, "interval": "1s", "baseURL": other.base_url})
        wait_until(lambda: team.condition("AIProvider", "acme", "KeyValid").get("reason") == "HostNotAllowed", 8)
        read = {path for _, path in requests(world.bao, before, ("read",)) if team.ns in path}
        assert read == {f"ai-apis/metadata/{team.path}"}, "the secret is not read in vain"
        team.provide("two", keyProbe={"enabled": True, "interval": "1s"})
        wait_until(lambda: team.condition("AIProvider", "two", "KeyValid").get("reason") == "HostNotAllowed", 8)
        assert str(other.port) not in team.condition("AIProvider", "two", "KeyValid")["message"]
        assert other.seen == []
    finally:
        other.stop()


# ---- the key as a Secret -------------------------------------------------------------------------------------------------


def secret_of(cluster, ns, name="keyshepherd-acme"):
    """The Secret, with its values in plain text; None: there is none."""
    response = cluster.request("GET", f"/api/v1/namespaces/{ns}/secrets/{name}")
    if response.status_code == 404:
        return None
    found = response.json()
    found["data"] = {k: base64.b64decode(v).decode() for k, v in found.get("data", {}).items()}
    return found


def values_of(cluster, ns, name="keyshepherd-acme"):
    return (secret_of(cluster, ns, name) or {}).get("data")


def published(team, reason="Published", seconds=10, name="acme"):
    def as_wanted():
        condition = team.condition("AIProvider", name, "SecretPublished")
        return condition if condition.get("reason") == reason else None
    try:
        return wait_until(as_wanted, seconds)
    except TimeoutError:
        raise TimeoutError(f"{reason}: {team.stored('AIProvider', name)['status']}\n{team.world.operator.log[-3000:]}") from None


DELIVERED = {"delivery": {"secret": True}, "variables": [{"name": "ACME_API_KEY", "key": "api_key"}, {"name": "ACME_BASE_URL", "key": "base_url"}]}


def test_a_key_is_published_as_a_secret_before_it_is_rolled(team, world):
    team.write(api_key="sk-one", base_url="https://acme.example/v1")
    time.sleep(1.1)
    team.provide(**DELIVERED)
    published(team)
    made = secret_of(team.cluster, team.ns)
    assert made["data"] == {"ACME_API_KEY": "sk-one", "ACME_BASE_URL": "https://acme.example/v1"}
    assert made["type"] == "Opaque" and made["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "keyshepherd-operator"}
    owner = made["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"]) == ("AIProvider", team.stored("AIProvider", "acme")["metadata"]["uid"])
    team.workload("web", wiring="secret")
    pod = team.cluster.deployment(team.ns, "web")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert [e for e in container["env"] if e["name"] == "ACME_API_KEY"] == [
        {"name": "ACME_API_KEY", "valueFrom": {"secretKeyRef": {"name": "keyshepherd-acme", "key": "ACME_API_KEY"}}}]
    assert "initContainers" not in pod and "volumes" not in pod
    team.wait_status(users=1, stale=0, keyVersion=1)
    # A steady state writes nothing, and does not even read the key.
    before, version = len(world.bao.audit()), made["metadata"]["resourceVersion"]
    time.sleep(11)  # longer than resyncPeriod
    mine = {path for _, path in requests(world.bao, before, ("create", "read", "update", "delete", "list")) if team.ns in path}
    assert mine == {f"ai-apis/metadata/{team.path}"}
    assert secret_of(team.cluster, team.ns)["metadata"]["resourceVersion"] == version
    # Whoever begins between the new version and the new Secret has the old key, too.
    team.write(api_key="sk-two", base_url="https://acme.example/v1")
    seen = []
    while team.told("web") is None:
        seen.append(values_of(team.cluster, team.ns)["ACME_API_KEY"])
        assert len(seen) < 1000, team.status()
    assert values_of(team.cluster, team.ns)["ACME_API_KEY"] == "sk-two"
    assert team.told("web") == "2"
    assert set(seen) <= {"sk-one", "sk-two"}
    team.settled("web")
    team.wait_status(users=1, stale=0, keyVersion=2)
    # Off again: it goes, and only it.
    team.provide()
    wait_until(lambda: secret_of(team.cluster, team.ns) is None, 5)
    wait_until(lambda: team.condition("AIProvider", "acme", "SecretPublished") == {}, 5)
    stored = json.dumps([team.stored("AIProvider", "acme"), team.cluster.get(f"/apis/events.k8s.io/v1/namespaces/{team.ns}/events")])
    assert "sk-" not in stored


def test_another_key_of_the_same_version_is_published_too(team, world):
    """The number alone does not say which key it is: the path may be another one, or its versions begun anew."""
    once = {k: v for k, v in DELIVERED.items() if k == "delivery"}
    team.write(api_key="sk-dev")
    assert team.write(f"{team.path}-prod", api_key="sk-prod") == 1
    team.provide(**once)
    published(team)
    assert values_of(team.cluster, team.ns)["ACME_API_KEY"] == "sk-dev"
    team.provide(**once, path=f"ai-apis/data/{team.path}-prod")
    wait_until(lambda: values_of(team.cluster, team.ns)["ACME_API_KEY"] == "sk-prod", 5, "the other path's")
    world.bao.root.secrets.kv.v2.delete_metadata_and_all_versions(f"{team.path}-prod", mount_point="ai-apis")
    time.sleep(1.1)
    assert team.write(f"{team.path}-prod", api_key="sk-anew") == 1
    wait_until(lambda: values_of(team.cluster, team.ns)["ACME_API_KEY"] == "sk-anew", 5, "the one that was begun anew")
    published(team)


def test_a_key_of_kv_version_1_is_published_and_kept_current(team, world):
    """No version tells of a new value. Of another engine nothing is read."""
    root, kv1 = world.bao.root, f"{team.ns}-kv1"
    root.sys.enable_secrets_engine("kv", path=kv1, options={"version": "1"})
    try:
        def write(**fields):
            root.secrets.kv.v1.create_or_update_secret("acme", fields, method="PUT", mount_point=kv1)

        connection = team.stored("VaultConnection", "main")["spec"]
        team.apply(custom("VaultConnection", team.ns, "main", **connection | {"grants": [
            connection["grants"][0] | {"paths": ["ai-apis/*", f"{kv1}/*"]}]}))
        root.sys.create_or_update_policy("keyshepherd-operator", f'{OPERATOR_POLICY}\npath "{kv1}/*" {{ capabilities = ["read"] }}')
        write(api_key="sk-one", base_url="b")
        team.provide(**DELIVERED, path=f"{kv1}/acme")
        published(team)
        assert values_of(team.cluster, team.ns) == {"ACME_API_KEY": "sk-one", "ACME_BASE_URL": "b"}
        assert "KV version 1" in team.condition("AIProvider", "acme", "Ready")["message"] and "keyVersion" not in team.status()
        time.sleep(1.1)
        team.workload("web", wiring="secret")
        team.workload("agent")
        team.wait_status(users=2, stale=0, skipped=1)
        version = secret_of(team.cluster, team.ns)["metadata"]["resourceVersion"]
        time.sleep(11)  # longer than resyncPeriod
        assert secret_of(team.cluster, team.ns)["metadata"]["resourceVersion"] == version, "a steady state writes nothing"
        team.cluster.core.patch_namespaced_secret("keyshepherd-acme", team.ns, {"stringData": {"ACME_API_KEY": "sk-wrong"}})
        wait_until(lambda: values_of(team.cluster, team.ns)["ACME_API_KEY"] == "sk-one", 5, "mended")
        write(api_key="sk-two", base_url="b")
        wait_until(lambda: values_of(team.cluster, team.ns)["ACME_API_KEY"] == "sk-two", 15, "the new value")
        wait_until(lambda: team.told("web") == "1", SPREAD + 5)
        assert team.told("agent") is None
        team.settled("web")
        stored = json.dumps([team.stored("AIProvider", "acme"), team.cluster.deployment(team.ns, "web"),
                             secret_of(team.cluster, team.ns)["metadata"]])
        assert "sk-" not in stored
        root.sys.disable_secrets_engine(kv1)
        root.sys.enable_secrets_engine("transit", path=kv1)
        root.write_data(f"{kv1}/keys/acme", data={})
        before = len(world.bao.audit())
        team.provide(**DELIVERED, path=f"{kv1}/keys/acme")
        published(team, "NotVersioned")
        assert f"{kv1}/keys/acme" not in {path for _, path in requests(world.bao, before, ("read",))}
        assert values_of(team.cluster, team.ns)["ACME_API_KEY"] == "sk-two"
    finally:
        root.sys.disable_secrets_engine(kv1)
        world.bao.trust_operator("any", policy=OPERATOR_POLICY)


def test_no_workload_is_rolled_while_its_secret_has_the_old_key(team):
    """Somebody's Secret has the name: the key cannot be published, so that a rollout would bring nothing."""
    team.write(base_url="b")
    time.sleep(1.1)
    team.provide(**DELIVERED)
    published(team)
    team.workload("web", wiring="secret")
    team.wait_status(users=1, stale=0, keyVersion=1)
    time.sleep(1.1)
    uid = secret_of(team.cluster, team.ns)["metadata"]["uid"]
    foreign = {"metadata": {"ownerReferences": None, "annotations": {"keyshepherd.dev/provider-uid": None}}}
    team.write(api_key="sk-new")  # without base_url
    published(team, "KeyMissing")
    assert "base_url" in team.condition("AIProvider", "acme", "SecretPublished")["message"]
    time.sleep(SPREAD + 1)
    assert team.told("web") is None and team.status()["stale"] == 1
    assert secret_of(team.cluster, team.ns)["metadata"]["uid"] == uid
    team.write(base_url="b")
    published(team)
    wait_until(lambda: team.told("web") == "3", SPREAD + 5)
    team.cluster.core.patch_namespaced_secret("keyshepherd-acme", team.ns, foreign)
    published(team, "Conflict")


def test_a_secret_that_was_deleted_or_edited_is_mended_at_once(team):
    team.write(api_key="sk-first", base_url="b")
    time.sleep(1.1)
    team.provide(**DELIVERED)
    published(team)
    team.workload("web", wiring="secret")
    team.wait_status(users=1)
    time.sleep(1.1)
    team.write(api_key="sk-right", base_url="b")
    wait_until(lambda: team.told("web") == "2", SPREAD + 5)
    time.sleep(1.1)
    team.workload("young", wiring="secret")
    team.provide(resyncPeriod="10m", **DELIVERED)

    def right():
        found = secret_of(team.cluster, team.ns)
        return found and found["data"] == {"ACME_API_KEY": "sk-right", "ACME_BASE_URL": "b"} and found["type"] == "Opaque" \
            and found["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "keyshepherd-operator" \
            and found["metadata"].get("ownerReferences") and "immutable" not in found \
            and found["metadata"].get("annotations", {}).get("keyshepherd.dev/key-version") == "2"
    core, name = team.cluster.core, "keyshepherd-acme"
    core.delete_namespaced_secret(name, team.ns)
    wait_until(right, 2, "deleted")
    for edit in ({"stringData": {"ACME_API_KEY": "sk-wrong"}}, {"data": {"ACME_API_KEY": None}}, {"stringData": {"MORE": "x"}},
                 {"metadata": {"labels": None}}, {"metadata": {"ownerReferences": None}},
                 {"metadata": {"annotations": {"keyshepherd.dev/key-version": "9"}}}, {"immutable": True}):
        core.patch_namespaced_secret(name, team.ns, edit)
        wait_until(right, 2, edit)
    wait_until(lambda: team.events("SecretRepaired"), 10)
    assert "sk-" not in json.dumps(team.events("SecretRepaired"))
    time.sleep(SPREAD)
    assert team.told("young") is None and team.told("web") == "2", "the key is no other one"


def test_a_secret_of_somebody_elses_is_never_written(team):
    made = team.cluster.core.create_namespaced_secret(team.ns, {"metadata": {"name": "keyshepherd-acme", "labels": {
        "app.kubernetes.io/managed-by": "keyshepherd-operator"}}, "stringData": {"ACME_API_KEY": "theirs"}})
    team.write(base_url="b")
    team.provide(**DELIVERED)
    condition = published(team, "Conflict")
    assert condition["status"] == "False" and f"Secret {team.ns}/keyshepherd-acme was not created by the operator" in condition["message"]
    team.provide()  # off
    wait_until(lambda: team.condition("AIProvider", "acme", "SecretPublished") == {}, 5)
    found = secret_of(team.cluster, team.ns)
    assert found["metadata"]["resourceVersion"] == made.metadata.resource_version and found["data"] == {"ACME_API_KEY": "theirs"}
    team.provide(**DELIVERED)
    published(team, "Conflict")
    team.cluster.core.delete_namespaced_secret("keyshepherd-acme", team.ns)
    published(team, seconds=3)


SLOW_CLOCK = "#include <sys/syscall.h>\n#include <time.h>\n#include <unistd.h>\ntime_t time(time_t *at) {\n" \
    "  struct timespec now; syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);\n" \
    "  if (at) *at = now.tv_sec - 40;\n  return now.tv_sec - 40;\n}\n"


@pytest.mark.skipif(rig.PRESET == "release", reason="a static program takes no LD_PRELOAD, which sets its clock")
def test_who_began_with_the_old_secret_is_rolled_though_the_operators_clock_is_slow(team, world, tmp_path):
    """Creation times are of the API server's clock, and so is the time since when a Secret has its key."""
    (tmp_path / "slow.c").write_text(SLOW_CLOCK)
    subprocess.run(["clang-19", "-shared", "-fPIC", "-o", tmp_path / "slow.so", tmp_path / "slow.c"], check=True)
    team.write(api_key="sk-one", base_url="b")
    time.sleep(1.1)
    team.provide(**DELIVERED)
    published(team)
    world.kill()
    team.write(api_key="sk-two", base_url="b")
    time.sleep(1.1)
    team.workload("web", wiring="secret")  # reads the Secret as it is: the old key
    world.start(LD_PRELOAD=str(tmp_path / "slow.so"))
    wait_until(lambda: team.told("web") == "2", SPREAD + 10, "it is rolled")
    made = secret_of(team.cluster, team.ns)
    since = made["metadata"]["annotations"]["keyshepherd.dev/key-since"]
    assert since >= team.cluster.deployment(team.ns, "web")["metadata"]["creationTimestamp"]
    team.settled("web")
    world.kill()
    world.start()


@pytest.mark.skipif(rig.PRESET == "release", reason="a release has no failpoints")
def test_an_operator_that_dies_before_the_secret_says_since_when_rolls_no_less(team, world):
    team.write(api_key="sk-one", base_url="b")
    time.sleep(1.1)
    team.provide(**DELIVERED)
    published(team)
    team.workload("web", wiring="secret")
    team.wait_status(users=1, stale=0)
    world.kill()
    world.start(dies_at="published-undated")
    team.write(api_key="sk-two", base_url="b")
    wait_until(lambda: not world.operator.process.alive, 15, "it dies")
    left = secret_of(team.cluster, team.ns)
    assert left["data"]["ACME_API_KEY"] == "sk-two" and "keyshepherd.dev/key-since" not in left["metadata"]["annotations"]
    world.start()
    wait_until(lambda: team.told("web") == "2", SPREAD + 10, "it is rolled")
    wait_until(lambda: "keyshepherd.dev/key-since" in secret_of(team.cluster, team.ns)["metadata"]["annotations"], 5)
    team.settled("web")
    assert team.events("SecretRepaired") == []


def test_another_operator_takes_the_secrets_over_as_they_are(team, world):
    team.write(base_url="b")
    team.provide(**DELIVERED)
    published(team)
    version = secret_of(team.cluster, team.ns)["metadata"]["resourceVersion"]
    world.kill()
    world.start()
    assert team.write(api_key="sk-next", base_url="b") == 2
    wait_until(lambda: values_of(team.cluster, team.ns)["ACME_API_KEY"] == "sk-next", 30)
    assert secret_of(team.cluster, team.ns)["metadata"]["resourceVersion"] != version
    world.kill()
    team.provide()
    world.start()
    wait_until(lambda: secret_of(team.cluster, team.ns) is None, 30, "switched off while no operator ran")


def test_a_cluster_provider_publishes_only_where_it_is_read(users, world):
    dev, prod, other = users(), users(), users()
    name = f"acme-{time.monotonic_ns()}"
    secret = f"keyshepherd-{name}.cluster"
    for stage in ("dev", "prod"):
        dev.write(f"{name}/{stage}", api_key=f"sk-{stage}", base_url="b")
    time.sleep(1.1)
    world.cluster.core.patch_namespace(prod.ns, {"metadata": {"labels": {"env": "prod"}}})
    made = {"apiVersion": rig.GROUP, "kind": "ClusterAIProvider", "metadata": {"name": name}, "spec": {
        "path": f"ai-apis/data/{name}/dev", "resyncPeriod": "10s", "connectionRef": {"name": "main", "namespace": dev.ns},
        "overrides": [{"namespaceSelector": {"matchLabels": {"env": "prod"}}, "path": f"ai-apis/data/{name}/prod"}]} | DELIVERED}

    def condition():
        found = world.cluster.get(f"{CLUSTER}/{name}").get("status", {}).get("conditions", [])
        return next((c for c in found if c["type"] == "SecretPublished"), {})
    try:
        world.cluster.kubectl("apply", "--server-side", "-f", "-", input=made)
        wait_until(lambda: "is not published, because no workload uses it" in condition().get("message", ""), 10)
        for team in (dev, prod):
            team.workload("web", inject=name, wiring="secret")
        other.workload("web", inject=name, wiring="file")
        wait_until(lambda: f"{secret} contains the current key in 2 namespaces" in condition()["message"], 10)
        assert values_of(world.cluster, dev.ns, secret) == {"ACME_API_KEY": "sk-dev", "ACME_BASE_URL": "b"}
        assert values_of(world.cluster, prod.ns, secret)["ACME_API_KEY"] == "sk-prod"
        assert secret_of(world.cluster, other.ns, secret) is None
        time.sleep(1.1)
        dev.write(f"{name}/prod", api_key="sk-prod-2", base_url="b")
        wait_until(lambda: prod.told("web", provider=name) == "2", 10)
        assert values_of(world.cluster, prod.ns, secret)["ACME_API_KEY"] == "sk-prod-2"
        prod.settled("web")
        assert dev.replicasets("web") == 1
        world.cluster.core.delete_namespaced_secret(secret, prod.ns)
        wait_until(lambda: secret_of(world.cluster, prod.ns, secret), 2)
        # A user that comes and goes.
        other.workload("too", inject=name, wiring="secret")
        wait_until(lambda: values_of(world.cluster, other.ns, secret) == {"ACME_API_KEY": "sk-dev", "ACME_BASE_URL": "b"}, 5)
        world.cluster.kubectl("delete", "deployment", "too", "-n", other.ns)
        wait_until(lambda: secret_of(world.cluster, other.ns, secret) is None, 5 + GRACE)
        # A provider of the namespace's own takes the workload over, with a Secret of another name.
        dev.write()
        dev.provide(name, delivery={"secret": True})
        wait_until(lambda: dev.told("web", provider=name) == "1", 10)
        assert values_of(world.cluster, dev.ns, f"keyshepherd-{name}").keys() == {"ACME_API_KEY"}
        read = {e["valueFrom"]["secretKeyRef"]["name"] for e in world.cluster.deployment(dev.ns, "web")["spec"]["template"]["spec"]
                ["containers"][0]["env"] if "secretKeyRef" in e.get("valueFrom", {})}
        assert read == {f"keyshepherd-{name}"}
        wait_until(lambda: secret_of(world.cluster, dev.ns, secret) is None, 5 + GRACE)
        assert values_of(world.cluster, prod.ns, secret)
        world.cluster.kubectl("patch", "clusteraiprovider", name, "--type=merge", "-p", '{"spec":{"delivery":{"secret":false}}}')
        wait_until(lambda: secret_of(world.cluster, prod.ns, secret) is None, 10)
        assert secret_of(world.cluster, dev.ns, f"keyshepherd-{name}")
    finally:
        world.cluster.kubectl("delete", "clusteraiprovider", name, "--ignore-not-found")


UNREAD = "keyshepherd.dev/unread-since"


def cluster_provider(world, team, **delivery):
    """A ClusterAIProvider with a key, by the team's connection: its name, and its Secret's."""
    name = f"acme-{time.monotonic_ns()}"
    team.write(f"{name}/all", api_key="sk-all")
    time.sleep(1.1)
    world.cluster.kubectl("apply", "--server-side", "-f", "-", input={
        "apiVersion": rig.GROUP, "kind": "ClusterAIProvider", "metadata": {"name": name}, "spec": {
            "path": f"ai-apis/data/{name}/all", "resyncPeriod": "10s", "connectionRef": {"name": "main", "namespace": team.ns},
            "variables": [{"name": "ACME_API_KEY", "key": "api_key"}], "delivery": {"secret": True} | delivery}})
    return name, f"keyshepherd-{name}.cluster"


def test_a_secret_outlives_its_last_reader_also_over_a_restart(users, world):
    team = users()
    name, secret = cluster_provider(world, team)

    def unread_since():
        return (secret_of(world.cluster, team.ns, secret) or {"metadata": {}})["metadata"].get("annotations", {}).get(UNREAD)
    try:
        team.workload("web", inject=name, wiring="secret")
        wait_until(lambda: values_of(world.cluster, team.ns, secret) == {"ACME_API_KEY": "sk-all"}, 10)
        assert unread_since() is None
        # A reader that comes back in time: nothing was removed, and the mark is.
        uid = secret_of(world.cluster, team.ns, secret)["metadata"]["uid"]
        world.cluster.kubectl("delete", "deployment", "web", "-n", team.ns)
        wait_until(unread_since, 5)
        team.workload("web", inject=name, wiring="secret")
        wait_until(lambda: unread_since() is None, 5)
        assert secret_of(world.cluster, team.ns, secret)["metadata"]["uid"] == uid
        assert team.events("SecretRepaired") == []
        # A time that lies ahead is not believed.
        world.cluster.kubectl("delete", "deployment", "web", "-n", team.ns)
        wait_until(unread_since, 5)
        world.cluster.core.patch_namespaced_secret(secret, team.ns, {"metadata": {"annotations": {UNREAD: "2199-01-01T00:00:00Z"}}})
        wait_until(lambda: unread_since() and not unread_since().startswith("2199"), 5)
        # Who takes over goes on counting from the mark.
        world.kill()
        since = unread_since()
        time.sleep(GRACE)
        assert unread_since() == since
        world.start()
        wait_until(lambda: secret_of(world.cluster, team.ns, secret) is None, 10)
    finally:
        world.cluster.kubectl("delete", "clusteraiprovider", name, "--ignore-not-found")


def test_a_cluster_provider_publishes_only_in_selected_namespaces(users, world):
    team, other = users(), users()
    label = {"metadata": {"labels": {"keys": "yes"}}}
    world.cluster.core.patch_namespace(team.ns, label)
    name, secret = cluster_provider(world, team, namespaceSelector={"matchLabels": {"keys": "yes"}})

    def wired(ns):
        made = rig.seed_deployment(inject=name, plain=True, wiring="secret")
        made["metadata"]["name"], made["metadata"]["namespace"] = "web", ns
        return world.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=made, check=False)

    def condition():
        found = world.cluster.get(f"{CLUSTER}/{name}").get("status", {}).get("conditions", [])
        return next((c for c in found if c["type"] == "SecretPublished"), {})
    try:
        wait_until(condition, 10)
        wait_until(lambda: wired(team.ns).returncode == 0, 10)
        wait_until(lambda: values_of(world.cluster, team.ns, secret) == {"ACME_API_KEY": "sk-all"}, 10)
        refused = wired(other.ns)
        assert refused.returncode != 0 and f"does not select namespace {other.ns}" in refused.stderr, refused.stderr
        # Not even for a workload that says by itself that it was wired so.
        forged = world.cluster.deployment(team.ns, "web")
        made = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "forged", "namespace": other.ns},
                "spec": {"serviceName": "x", "selector": forged["spec"]["selector"], "template": forged["spec"]["template"]}}
        made["spec"]["template"]["metadata"]["annotations"]["keyshepherd.dev/inject"] = name
        world.cluster.remove_webhook()
        try:
            other.apply(made)
        finally:
            world.cluster.install_webhook(world.webhook.url, world.webhook_ca)
        wait_until(lambda: "the namespaceSelector does not select 1 namespace with workloads that use it" in condition()["message"], 10)
        assert condition()["status"] == "True" and secret_of(world.cluster, other.ns, secret) is None
        # Labels change: here the Secret comes, there it goes, after the grace.
        world.cluster.core.patch_namespace(other.ns, label)
        wait_until(lambda: values_of(world.cluster, other.ns, secret) == {"ACME_API_KEY": "sk-all"}, 10)
        world.cluster.core.patch_namespace(team.ns, {"metadata": {"labels": {"keys": None}}})
        wait_until(lambda: UNREAD in secret_of(world.cluster, team.ns, secret)["metadata"]["annotations"], 5)
        wait_until(lambda: secret_of(world.cluster, team.ns, secret) is None, 5 + GRACE)
        assert values_of(world.cluster, other.ns, secret)
    finally:
        world.cluster.kubectl("delete", "clusteraiprovider", name, "--ignore-not-found")
