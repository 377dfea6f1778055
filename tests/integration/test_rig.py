"""The rig itself: what every other integration test takes for granted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import hvac.exceptions
import pytest
import rig
import yaml

CLUSTER = rig.REPOSITORY / "hack" / "cluster.sh"
STAND_IN = [sys.executable, rig.SUPPORT / "stand_in_webhook.py"]
NOBODY = "https://127.0.0.1:1/mutate"
ASKS = rig.PREFIX + "inject"


def running_below(folder):
    """Command lines of the processes that name `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes()
        except OSError:
            continue
        if str(folder).encode() in line and int(entry.parent.name) != os.getpid():
            found.append(line)
    return found


def cluster_sh(*arguments):
    return subprocess.run([CLUSTER, *arguments], capture_output=True, text=True)


# ---- hack/cluster.sh -------------------------------------------------------------------------------------------------------


def test_clusters_run_side_by_side_and_leave_nothing_behind(tools, tmp_path):
    folders = [tmp_path / name for name in ("one", "two", "three")]
    ups = [subprocess.Popen([CLUSTER, "up", f], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for f in folders]
    try:
        servers = set()
        for up, folder in zip(ups, folders):
            out, err = up.communicate(timeout=120)
            assert up.returncode == 0, err
            assert out.strip() == str(folder)
            env = cluster_sh("env", folder).stdout
            servers.add(subprocess.run(["bash", "-c", f'{env}\nkubectl get --raw /readyz >/dev/null && echo "$KS_API_SERVER"'],
                                       capture_output=True, text=True, check=True).stdout)
            assert len(running_below(folder)) == 3
        assert len(servers) == 3
    finally:
        downs = [cluster_sh("down", folder) for folder in folders]
    for down, folder in zip(downs, folders):
        assert down.returncode == 0, down.stderr
        assert not folder.exists()
        assert running_below(folder) == []


def test_env_names_the_cluster_and_puts_its_kubectl_first(cluster, tools):
    env = cluster_sh("env", cluster.folder).stdout
    script = 'echo "$KUBECONFIG|$KS_API_SERVER|$KS_CLUSTER_DIR|$(command -v kubectl)"; kubectl auth whoami -o json'
    out = subprocess.run(["bash", "-c", f"{env}\n{script}"], capture_output=True, text=True, check=True).stdout
    first, rest = out.split("\n", 1)
    assert first == f"{cluster.folder}/kubeconfig|{cluster.url}|{cluster.folder}|{tools}/kubectl"
    assert "system:masters" in rest


@pytest.mark.parametrize("so_far", ["etcd.pid", "apiserver.pid", "controller-manager.pid"])
def test_down_ends_a_half_started_cluster(tools, tmp_path, so_far):
    """`up` was killed half-way, too hard for it to clean up."""
    folder = tmp_path / "half"
    up = subprocess.Popen([CLUSTER, "up", folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        rig.wait_until(lambda: (folder / so_far).read_text().strip(), 60)
    finally:
        up.kill()
        up.wait()
        done = cluster_sh("down", folder)
    assert done.returncode == 0, done.stderr
    assert not folder.exists()
    assert running_below(folder) == []


def test_down_touches_only_folders_of_its_own(tmp_path):
    (tmp_path / "precious").write_text("")
    assert cluster_sh("down", tmp_path).returncode == 1
    assert cluster_sh("up", tmp_path).returncode == 1
    assert [p.name for p in tmp_path.iterdir()] == ["precious"]


def test_failed_up_cleans_up_and_shows_the_log(tools, tmp_path):
    """A PATH on which setsid is a program that fails stands for a control plane that does not start."""
    (tmp_path / "bin").mkdir()
    broken = tmp_path / "bin" / "setsid"
    broken.write_text("#!/bin/sh\necho the reason; exit 7\n")
    broken.chmod(0o755)
    folder = tmp_path / "cluster"
    done = subprocess.run([CLUSTER, "up", folder], capture_output=True, text=True,
                          env=os.environ | {"PATH": f"{broken.parent}:{os.environ['PATH']}"})
    assert done.returncode == 1
    assert "etcd did not start" in done.stderr and "the reason" in done.stderr
    assert not folder.exists()


def test_apiserver_restarts_on_the_same_data(cluster, namespace):
    cluster.core.create_namespaced_config_map(namespace, {"metadata": {"name": "kept"}})
    cluster.restart_apiserver()
    assert cluster.get(f"/api/v1/namespaces/{namespace}/configmaps/kept")
    cluster.namespace()  # the controller-manager is back at work


# ---- the cluster -----------------------------------------------------------------------------------------------------------


def test_a_deployment_makes_its_replicaset_and_pods(cluster, namespace):
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=rig.unannotated(rig.seed_deployment()))
    rig.wait_until(lambda: len(cluster.pods(namespace)) == 3)
    assert cluster.replicasets(namespace) == 1
    cluster.kubectl("-n", namespace, "set", "image", "deploy/ai-application", "app=your-app:2")
    rig.wait_until(lambda: cluster.replicasets(namespace) == 2)
    cluster.settled(namespace)


# ---- OpenBao ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("account", ["ai-app", "default"])
def test_a_service_account_reads_the_key_and_nothing_else(bao, cluster, namespace, account):
    client = bao.login_kubernetes(cluster.token(namespace, account))
    assert bao.read_key(client) == {"api_key": "sk-holysheep-seed", "base_url": "https://api.holysheep.ai/v1"}
    with pytest.raises(hvac.exceptions.Forbidden):
        client.secrets.kv.v2.create_or_update_secret("holysheep", {"api_key": "x"}, mount_point="ai-apis")
    with pytest.raises(hvac.exceptions.Forbidden):
        client.sys.list_policies()


def test_a_token_of_another_audience_is_refused(bao, cluster, namespace):
    with pytest.raises(hvac.exceptions.Forbidden):
        bao.login_kubernetes(cluster.token(namespace, audience=None))


def test_approle_reads_the_key_and_is_audited(bao):
    client = bao.login_approle(**bao.approle_credentials())
    assert bao.read_key(client)["api_key"] == "sk-holysheep-seed"
    reads = [e for e in bao.audit() if e["type"] == "response" and e["request"]["path"] == "ai-apis/data/holysheep"
             and e["request"]["operation"] == "read"]
    assert reads[-1]["request"]["remote_address"] == "127.0.0.1"
    assert "sk-holysheep-seed" not in bao.audit_file.read_text()


def test_bao_restarts_with_its_data(tools, certificates, tmp_path):
    own = rig.Bao(tmp_path, tools, certificates)
    try:
        own.seed("sk-kept")
        assert own.stop() == 0
        own.start()
        assert own.read_key(own.root)["api_key"] == "sk-kept"
    finally:
        own.stop()


# ---- the agent -------------------------------------------------------------------------------------------------------------


def workload_for(bao, method, config):
    """An injected Deployment as far as the agent is concerned, written by hand."""
    agent = {
        "vault": {"address": bao.address, "ca_cert": "/keyshepherd/config/ca.crt"},
        "auto_auth": {"method": [{"type": method, "config": config}]},
        "log_file": "/keyshepherd/home/agent.log",
        "template": [{
            "contents": '{{ with secret "ai-apis/data/holysheep" }}HOLYSHEEP_API_KEY=\'{{ .Data.data.api_key }}\'\n{{ end }}',
            "destination": "/keyshepherd/env/holysheep.env", "error_on_missing_key": True}],
        "template_config": {"static_secret_render_interval": "1s"},
    }
    annotations = {rig.PREFIX + "agent-config": json.dumps(agent), rig.PREFIX + "vault-ca": bao.certificates.ca_pem}
    return {"spec": {"template": {"metadata": {"annotations": annotations}, "spec": {"containers": []}}}}


def test_the_agent_of_a_workload_renders_what_kubelet_reads(bao, cluster, namespace, run_agent, parse_env):
    config = {"role": "holysheep", "token_path": "/keyshepherd/config/token"}
    agent = run_agent(workload_for(bao, "kubernetes", config), {"config/token": cluster.token(namespace)})
    [file] = agent.wait()
    assert parse_env(file, "HOLYSHEEP_API_KEY") == "sk-holysheep-seed"
    assert parse_env(file, "ABSENT") == ""
    assert "renewed auth token" in agent.log or "authentication successful" in agent.log
    agent.put("bad.env", "HOLYSHEEP_API_KEY=x\n")
    with pytest.raises(ValueError, match="enclosed in single quotes"):
        parse_env(agent.folder / "bad.env", "HOLYSHEEP_API_KEY")


def test_the_agent_logs_in_by_approle(bao, run_agent, parse_env):
    config = {"role_id_file_path": "/keyshepherd/config/role_id", "secret_id_file_path": "/keyshepherd/config/secret_id",
              "remove_secret_id_file_after_reading": False}
    files = {f"config/{name}": value for name, value in bao.approle_credentials().items()}
    [file] = run_agent(workload_for(bao, "approle", config), files).wait()
    assert parse_env(file, "HOLYSHEEP_API_KEY") == "sk-holysheep-seed"


# ---- the webhook fixture and manifests/webhook.yaml ------------------------------------------------------------------------


def test_a_webhook_is_started_asked_and_stopped(certificates, bao, tmp_path):
    webhook = rig.Webhook(tmp_path, certificates, bao, {"log-level": None}, STAND_IN)
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
              "request": {"uid": "u", "operation": "CREATE", "name": "x", "object": {"metadata": {}}}}
    assert webhook.review(review).json()["response"]["allowed"]
    assert webhook.records() == [{"msg": "review", "operation": "CREATE", "name": "x"}]
    assert webhook.stop() == 0


def test_a_webhook_that_does_not_start_says_why(certificates, bao, tmp_path):
    with pytest.raises(ChildProcessError, match="No such file"):
        rig.Webhook(tmp_path, certificates, bao, {"tls-cert-file": "/nowhere"}, STAND_IN)


def test_the_api_server_asks_for_annotated_deployments_only(cluster, webhooks, install_webhook, namespace):
    webhook = webhooks(program=STAND_IN)
    install_webhook(webhook.url, webhook.certificates.ca_pem)
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=rig.seed_deployment())
    other = rig.unannotated(rig.seed_deployment())
    other["metadata"]["name"] = "other"
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=other)
    assert cluster.deployment(namespace)["metadata"]["labels"] == {"stand-in": "seen"}
    assert "labels" not in cluster.deployment(namespace, "other")["metadata"]
    cluster.kubectl("scale", "-n", namespace, "deploy/ai-application", "--replicas=1")
    cluster.kubectl("label", "-n", namespace, "deploy/ai-application", "more=1")
    assert [r["name"] for r in webhook.records()] == ["ai-application"]
    cluster.kubectl("set", "env", "-n", namespace, "deploy/ai-application", "MORE=1")
    cluster.kubectl("annotate", "-n", namespace, "deploy/ai-application", ASKS + "-")  # taking it away asks, too
    # A patch that meets a write of the Deployment's controller is tried again by the API server, which asks again.
    created, *updates = [r["operation"] for r in webhook.records()]
    assert created == "CREATE" and len(updates) >= 2 and set(updates) == {"UPDATE"}
    cluster.kubectl("label", "-n", namespace, "deploy/ai-application", "more=2", "--overwrite")
    cluster.kubectl("set", "env", "-n", namespace, "deploy/ai-application", "MORE=2")  # nothing of ours in it any more
    assert len(webhook.records()) == 1 + len(updates)


@pytest.fixture
def dead_webhook(install_webhook, certificates):
    install_webhook(NOBODY, certificates.ca_pem)


POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": {"containers": [{"name": "app", "image": "x"}]}}
CRONJOB = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "cronjob"}, "spec": {
    "schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": {"spec": POD["spec"] | {"restartPolicy": "Never"}}}}}}


def bare(workload):
    """With no annotations at all, not even an empty map: where a careless CEL condition is an error."""
    workload = rig.unannotated(workload)
    del workload["metadata"]["annotations"], workload["spec"]["template"]["metadata"]["annotations"]
    return workload


@pytest.mark.parametrize("workload", [bare(rig.seed_deployment()), POD, CRONJOB], ids=lambda w: w["kind"])
def test_a_dead_webhook_stops_nobody_who_does_not_ask(cluster, dead_webhook, namespace, workload):
    where = [workload["kind"].lower(), workload["metadata"]["name"], "-n", namespace]
    cluster.kubectl("create", "-n", namespace, "-f", "-", input=workload)
    cluster.kubectl("label", *where, "more=1")
    cluster.kubectl("delete", *where, "--timeout=20s")


def test_a_dead_webhook_refuses_who_asks_and_says_why(cluster, dead_webhook, namespace):
    done = cluster.kubectl("create", "-n", namespace, "-f", "-", input=rig.seed_deployment(), check=False)
    assert done.returncode == 1
    assert 'failed calling webhook "inject.keyshepherd.dev"' in done.stderr and "connection refused" in done.stderr
    assert cluster.get(f"/apis/apps/v1/namespaces/{namespace}/deployments")["items"] == []


def test_a_dead_webhook_lets_rollouts_and_foreground_deletion_pass(cluster, dead_webhook, namespace):
    cluster.kubectl("create", "-n", namespace, "-f", "-", input=bare(rig.seed_deployment()))
    rig.wait_until(lambda: len(cluster.pods(namespace)) == 3)
    cluster.kubectl("set", "image", "-n", namespace, "deploy/ai-application", "app=your-app:2")
    rig.wait_until(lambda: cluster.replicasets(namespace) == 2)
    cluster.kubectl("delete", "-n", namespace, "deploy/ai-application", "--cascade=foreground", "--timeout=20s")
    assert cluster.pods(namespace) == []


def test_a_dead_webhook_does_not_hold_what_was_annotated_before(cluster, certificates, install_webhook, namespace):
    """Injected before the webhook went away, as far as its conditions can see."""
    injected = rig.seed_deployment()
    injected["spec"]["template"]["metadata"]["annotations"] = {rig.PREFIX + "injected": "{}"}
    cluster.kubectl("create", "-n", namespace, "-f", "-", input=injected)
    rig.wait_until(lambda: len(cluster.pods(namespace)) == 3)
    install_webhook(NOBODY, certificates.ca_pem)
    cluster.kubectl("scale", "-n", namespace, "deploy/ai-application", "--replicas=4")
    rig.wait_until(lambda: len(cluster.pods(namespace)) == 4)
    cluster.kubectl("delete", "-n", namespace, "pods", "--all", "--wait=false")
    rig.wait_until(lambda: len(cluster.pods(namespace)) == 4)
    cluster.kubectl("delete", "-n", namespace, "deploy/ai-application", "--cascade=foreground", "--timeout=20s")


def test_the_conditions_hold_for_the_kinds_that_come_next(cluster, certificates, namespace):
    """The same conditions with rules for every kind of the design: un-annotated ones pass a dead webhook."""
    configuration = yaml.safe_load((rig.REPOSITORY / "manifests" / "webhook.yaml").read_text())
    [hook] = configuration["webhooks"]
    hook["clientConfig"] = rig.client_config(NOBODY, certificates.ca_pem)
    hook["rules"] = [{"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": kinds}
                     for group, kinds in (("", ["pods"]), ("apps", ["*"]), ("batch", ["jobs", "cronjobs"]))]
    cluster.kubectl("apply", "-f", "-", input=configuration)
    try:
        cluster.configurations_in_force()
        for workload in (POD, CRONJOB, bare(rig.seed_deployment())):
            cluster.kubectl("create", "-n", namespace, "-f", "-", input=workload)
        rig.wait_until(lambda: len(cluster.pods(namespace)) == 4)
        cluster.kubectl("create", "job", "-n", namespace, "--from=cronjob/cronjob", "job")
        rig.wait_until(lambda: len(cluster.pods(namespace)) == 5)
        cluster.kubectl("delete", "-n", namespace, "deploy/ai-application", "--cascade=foreground", "--timeout=20s")
        asking = POD | {"metadata": {"name": "asking", "annotations": {ASKS: "true"}}}
        assert "connection refused" in cluster.kubectl("create", "-n", namespace, "-f", "-", input=asking, check=False).stderr
    finally:
        cluster.remove_webhook()
