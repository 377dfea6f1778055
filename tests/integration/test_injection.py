"""The project's main job on the real API server: kubectl sends the seed's Deployment, what is stored is injected and stays so."""

import copy
import json
import subprocess

import pytest
import rig
from rig import wait_until

KEY = "sk-holysheep-seed"
FIXED = ("keyshepherd.dev/agent-config", "keyshepherd.dev/injected", "keyshepherd.dev/vault-ca")


def injected_parts(workload):
    """Everything in a stored template that is keyshepherd's."""
    template = workload["spec"]["template"]
    spec = template["spec"]
    ours = lambda items: [item for item in items if item["name"].startswith("keyshepherd-")]
    return {
        "annotations": {name: template["metadata"]["annotations"].get(name) for name in FIXED},
        "initContainers": ours(spec.get("initContainers", [])),
        "volumes": ours(spec.get("volumes", [])),
        "env": {c["name"]: [e for e in c.get("env", []) if "fileKeyRef" in e.get("valueFrom", {})] for c in spec["containers"]},
        "positions": [c["name"] for c in spec.get("initContainers", [])],
    }


def apply(cluster, namespace, manifest, *flags):
    cluster.kubectl("apply", "-n", namespace, "-f", "-", *flags, input=manifest)
    return cluster.settled(namespace)


@pytest.fixture
def stored(cluster, installed_webhook, namespace):
    """The seed's Deployment as the API server stored it, injected."""
    return apply(cluster, namespace, rig.seed_deployment())


# ---- what is stored ------------------------------------------------------------------------------------------------------


def test_the_seed_comes_back_with_agent_and_key_wired_in(stored):
    spec = stored["spec"]["template"]["spec"]
    assert [c["name"] for c in spec["initContainers"]] == ["keyshepherd-install", "keyshepherd-agent", "keyshepherd-check"]
    agent = spec["initContainers"][1]
    assert agent["restartPolicy"] == "Always"
    assert agent["startupProbe"]["exec"]["command"][:2] == ["/keyshepherd/bin/keyshepherd-exec", "probe"]
    app = spec["containers"][0]
    entry = next(e for e in app["env"] if e["name"] == "HOLYSHEEP_API_KEY")
    assert entry == {"name": "HOLYSHEEP_API_KEY", "valueFrom": {"fileKeyRef": {
        "volumeName": "keyshepherd-env", "path": "holysheep.env", "key": "HOLYSHEEP_API_KEY", "optional": False}}}
    assert "volumeMounts" not in app, "the application cannot read the agent's files"
    assert KEY not in json.dumps(stored)


def test_the_seed_without_its_entry_comes_back_the_same_way(cluster, installed_webhook, namespace):
    app = apply(cluster, namespace, rig.seed_deployment(plain=True))["spec"]["template"]["spec"]["containers"][0]
    assert [e["name"] for e in app["env"]] == ["HOLYSHEEP_API_KEY", "HOLYSHEEP_BASE_URL"]


def test_what_we_send_is_what_is_stored(cluster, webhook, stored, namespace):
    """Every defaulted field is written out: the API server adds nothing to what is ours."""
    manifest = rig.seed_deployment()
    response = cluster.request("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments?dryRun=All", manifest | {
        "metadata": manifest["metadata"] | {"name": "again"}})
    assert response.status_code == 201, response.text
    assert injected_parts(response.json()) == injected_parts(stored)
    offline = subprocess.run([*rig.keyshepherd(), "inject", "-f", "-", "--namespace", namespace, "--kubernetes-version", "1.37",
                              "--min-kubelet-version", "1.35", "--vault-address", webhook._flags["vault-address"],
                              "--vault-ca-file", str(webhook.certificates.ca), "--image", rig.IMAGE],
                             input=json.dumps(manifest), capture_output=True, text=True, check=True)
    sent = injected_parts(json.loads(offline.stdout))
    got = injected_parts(stored)
    for parts in (sent, got):  # its fingerprint is of the user's part, which the server does complete
        marker = json.loads(parts["annotations"].pop("keyshepherd.dev/injected"))
        marker.pop("in")
        parts["marker"] = marker
    assert sent == got


# ---- and stays as it is --------------------------------------------------------------------------------------------------


def change_label(cluster, namespace, _):
    cluster.kubectl("label", "-n", namespace, "deployment/ai-application", "team=ai", "--overwrite")


def scale(cluster, namespace, _):
    cluster.kubectl("scale", "-n", namespace, "deployment/ai-application", "--replicas=4")


def put_stored(cluster, namespace, stored):
    current = cluster.deployment(namespace)
    current["metadata"]["labels"] = {"put": "1"}
    response = cluster.request("PUT", f"/apis/apps/v1/namespaces/{namespace}/deployments/ai-application", current)
    assert response.status_code == 200, response.text


def put_manifest(cluster, namespace, _):
    """kubectl replace with the manifest of the repository, which knows nothing of what was injected."""
    cluster.kubectl("replace", "-n", namespace, "-f", "-", input=rig.seed_deployment())


def apply_twice(cluster, namespace, _):
    for _ in range(2):
        apply(cluster, namespace, rig.seed_deployment())


def apply_server_side(cluster, namespace, _):
    for _ in range(3):
        apply(cluster, namespace, rig.seed_deployment(), "--server-side", "--force-conflicts", "--field-manager=gitops")


def apply_mixed(cluster, namespace, stored):
    apply_twice(cluster, namespace, stored)
    apply_server_side(cluster, namespace, stored)
    apply_twice(cluster, namespace, stored)


def annotate(cluster, namespace, _):
    cluster.kubectl("annotate", "-n", namespace, "deployment/ai-application", "example.org/note=x")


@pytest.mark.parametrize("change", [change_label, scale, put_stored, put_manifest, apply_twice, apply_server_side, apply_mixed, annotate])
def test_an_update_that_leaves_the_template_alone_rolls_nothing(cluster, namespace, stored, change):
    assert cluster.replicasets(namespace) == 1
    change(cluster, namespace, stored)
    after = cluster.settled(namespace)
    assert injected_parts(after) == injected_parts(stored)
    assert after["spec"]["template"] == stored["spec"]["template"]
    assert cluster.replicasets(namespace) == 1


def test_a_newer_webhook_alone_rolls_nothing(cluster, namespace, stored, webhooks, install_webhook):
    """Another agent image and other resources: an apply, a label and a PUT leave the stored template as it is."""
    newer = webhooks(**{"bao-image": "openbao/openbao:9.9.9", "agent-cpu-request": "77m", "image": "example.org/keyshepherd:9"})
    install_webhook(newer.url, newer.certificates.ca_pem)
    for change in (apply_mixed, change_label, put_stored, put_manifest):
        change(cluster, namespace, stored)
    assert cluster.settled(namespace)["spec"]["template"] == stored["spec"]["template"]
    assert cluster.replicasets(namespace) == 1
    changed = rig.seed_deployment()
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "your-app:2"
    after = apply(cluster, namespace, changed)
    assert after["spec"]["template"]["spec"]["initContainers"][1]["image"] == "openbao/openbao:9.9.9", "a roll that happens anyway refreshes"
    assert cluster.replicasets(namespace) == 2


def test_rollout_undo_brings_the_old_template_back_whole(cluster, namespace, stored):
    changed = rig.seed_deployment()
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "your-app:2"
    apply(cluster, namespace, changed)
    assert cluster.replicasets(namespace) == 2
    cluster.kubectl("rollout", "undo", "-n", namespace, "deployment/ai-application")
    after = cluster.settled(namespace)
    assert after["spec"]["template"] == stored["spec"]["template"]
    assert cluster.replicasets(namespace) == 2, "the first ReplicaSet serves again"


def test_a_new_init_container_runs_behind_the_agent(cluster, namespace, stored):
    changed = rig.seed_deployment()
    changed["spec"]["template"]["spec"]["initContainers"] = [{"name": "migrate", "image": "migrate:1"}]
    after = apply(cluster, namespace, changed)
    assert injected_parts(after)["positions"] == ["keyshepherd-install", "keyshepherd-agent", "keyshepherd-check", "migrate"]


def test_opting_out_takes_everything_out(cluster, namespace, stored):
    after = apply(cluster, namespace, rig.seed_deployment(inject="false"))
    template = after["spec"]["template"]
    assert "keyshepherd" not in json.dumps(template)
    assert template["spec"]["containers"][0]["env"] == [{"name": "HOLYSHEEP_API_KEY", "value": "vault:ai-apis/data/holysheep#api_key"}]


def test_restart_and_set_env_survive_a_later_apply(cluster, namespace, stored):
    cluster.kubectl("rollout", "restart", "-n", namespace, "deployment/ai-application")
    cluster.kubectl("set", "env", "-n", namespace, "deployment/ai-application", "EXTRA=1")
    restarted = cluster.settled(namespace)
    after = apply(cluster, namespace, rig.seed_deployment())
    assert after["spec"]["template"] == restarted["spec"]["template"]
    assert {"name": "EXTRA", "value": "1"} in after["spec"]["template"]["spec"]["containers"][0]["env"]


def test_dry_run_gives_the_same_and_writes_nothing(cluster, namespace, installed_webhook):
    manifest = rig.seed_deployment()
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    dry = cluster.request("POST", path + "?dryRun=All", manifest)
    assert dry.status_code == 201, dry.text
    assert cluster.request("GET", path + "/ai-application").status_code == 404
    assert dry.json()["spec"]["template"] == apply(cluster, namespace, manifest)["spec"]["template"]


# ---- refusals ------------------------------------------------------------------------------------------------------------


def test_every_fault_comes_in_one_answer(cluster, namespace, installed_webhook):
    bad = rig.seed_deployment(wiring="envfil", containers="ap", agent_cpu_request="12x", inject="nobody")
    done = cluster.kubectl("apply", "-n", namespace, "-f", "-", input=bad, check=False)
    assert done.returncode != 0
    for part in ("keyshepherd.dev/wiring", "envfile", "keyshepherd.dev/containers", "containers of the template are: app", "keyshepherd.dev/agent-cpu-request",
                 "100m", "keyshepherd.dev/inject", "available providers: holysheep"):
        assert part in done.stderr, done.stderr
    assert cluster.request("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments/ai-application").status_code == 404


def test_a_webhook_without_image_says_so_and_refuses_what_needs_it(cluster, namespace, webhooks, install_webhook):
    webhook = webhooks(image=None)
    warning = next(r for r in webhook.records() if r["level"] == "warn")
    assert warning["msg"] == "--image is not set; the webhook rejects every workload whose wiring is not secret"
    install_webhook(webhook.url, webhook.certificates.ca_pem)
    done = cluster.kubectl("apply", "-n", namespace, "-f", "-", input=rig.seed_deployment(), check=False)
    assert done.returncode != 0 and "set --image of the webhook or of keyshepherd inject" in done.stderr, done.stderr


@pytest.mark.parametrize("image", ["openbao/openbao@sha256:" + "0" * 64, "openbao/openbao:2.7.2@sha256:" + "a" * 64])
def test_an_agent_image_is_pinned_by_digest(cluster, namespace, installed_webhook, image):
    stored = apply(cluster, namespace, rig.seed_deployment(agent_image=image))
    assert stored["spec"]["template"]["spec"]["initContainers"][1]["image"] == image


# ---- with the webhook dead -----------------------------------------------------------------------------------------------


def test_a_dead_webhook_stops_nothing_but_new_requests(cluster, namespace, webhooks, install_webhook):
    webhook = webhooks()
    install_webhook(webhook.url, webhook.certificates.ca_pem)
    stored = apply(cluster, namespace, rig.seed_deployment())
    assert webhook.stop() == 0

    plain = rig.unannotated(rig.seed_deployment())
    plain["metadata"]["name"] = "plain"
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=plain)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lone"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=pod)
    cron = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}, "spec": {"schedule": "0 3 * * *", "jobTemplate": {
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}}
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=cron)
    cluster.kubectl("create", "job", "-n", namespace, "--from=cronjob/nightly", "now")

    cluster.kubectl("scale", "-n", namespace, "deployment/ai-application", "--replicas=5")
    names = lambda: {p["metadata"]["name"] for p in cluster.pods(namespace) if p["metadata"]["name"].startswith("ai-application")}
    before = wait_until(lambda: names() if len(names()) == 5 else None, 20, "five pods")
    victim = sorted(before)[0]
    cluster.kubectl("delete", "pod", "-n", namespace, victim, "--force", "--grace-period=0")
    wait_until(lambda: victim not in names() and len(names()) == 5, 20, "the ReplicaSet makes a new pod")
    assert cluster.deployment(namespace)["spec"]["template"] == stored["spec"]["template"]

    new = rig.seed_deployment()
    new["metadata"]["name"] = "late"
    refused = cluster.kubectl("apply", "-n", namespace, "-f", "-", input=new, check=False)
    assert refused.returncode != 0 and "failed calling webhook" in refused.stderr and "keyshepherd" in refused.stderr, refused.stderr

    cluster.kubectl("delete", "-n", namespace, "deployment/ai-application", "--cascade=foreground", "--timeout=30s")
    wait_until(lambda: not names(), 20, "foreground deletion takes the pods along")


# ---- the real agent ------------------------------------------------------------------------------------------------------


def test_the_stored_configuration_logs_in_by_kubernetes(cluster, bao, namespace, stored, run_agent, parse_env):
    agent = run_agent(stored, {"config/token": cluster.token(namespace)})
    (file,) = agent.wait("env/holysheep.env")
    assert file.stat().st_mode & 0o777 == 0o400
    assert parse_env(file, "HOLYSHEEP_API_KEY") == KEY
    assert parse_env(file, "HOLYSHEEP_BASE_URL") == "https://api.holysheep.ai/v1"
    assert KEY not in agent.log


def test_the_stored_configuration_logs_in_by_approle(cluster, bao, namespace, installed_webhook, run_agent, parse_env):
    manifest = rig.seed_deployment(auth_type="approle", approle_secret="ai-application-approle")
    stored = apply(cluster, namespace, manifest)
    volume = next(v for v in stored["spec"]["template"]["spec"]["volumes"] if v["name"] == "keyshepherd-config")
    secret = next(s["secret"] for s in volume["projected"]["sources"] if "secret" in s)
    assert secret["name"] == "ai-application-approle" and [i["path"] for i in secret["items"]] == ["role_id", "secret_id"]
    agent = run_agent(stored, {f"config/{k}": v for k, v in bao.approle_credentials().items()})
    (file,) = agent.wait("env/holysheep.env")
    assert parse_env(file, "HOLYSHEEP_API_KEY") == KEY
    assert (agent.folder / "config/secret_id").exists(), "the Secret's file is not removed after reading"


@pytest.mark.parametrize("key", ["plain", "with space", "a=b#c", "$(HOME) `x` \"q\" \\n", "line one\nline two", "ключ-🔑", "x" * 50000])
def test_odd_values_arrive_whole(cluster, bao, namespace, stored, run_agent, parse_env, key):
    bao.write_key(key)
    try:
        agent = run_agent(stored, {"config/token": cluster.token(namespace)})
        (file,) = agent.wait("env/holysheep.env")
        assert parse_env(file, "HOLYSHEEP_API_KEY") == key
    finally:
        bao.write_key(KEY)


@pytest.mark.parametrize("key, says", [("it's", "a quote"), ("a\r\nb", "a carriage return"), ("", "missing or empty"), ("x" * 60001, "longer than")])
def test_a_value_that_the_file_cannot_carry_is_refused_with_the_reason(cluster, bao, namespace, stored, run_agent, key, says):
    bao.write_key(key)
    try:
        agent = run_agent(stored, {"config/token": cluster.token(namespace)})
        agent.process.wait_until(lambda: says in agent.log, 20, "the agent says why")
        assert agent.process.alive, "a fault in Vault's data does not end the agent"
        assert not (agent.folder / "env/holysheep.env").exists()
        assert probe(agent).returncode == 1 and says in probe(agent).stdout + probe(agent).stderr
        assert key == "" or key not in agent.log
    finally:
        bao.write_key(KEY)


def probe(agent):
    launcher = rig.keyshepherd()[0].with_name("keyshepherd-exec")
    return subprocess.run([launcher, "probe", agent.folder / "env/holysheep.env", agent.folder / "home/agent.log"], capture_output=True, text=True)


def test_a_wrong_role_is_named_by_the_startup_probe(cluster, namespace, installed_webhook, run_agent):
    stored = apply(cluster, namespace, rig.seed_deployment(role="nobody"))
    agent = run_agent(stored, {"config/token": cluster.token(namespace)})
    wait_until(lambda: "nobody" in probe(agent).stdout + probe(agent).stderr, 20, "Vault's own words in the probe")
    assert agent.process.alive


def test_the_startup_probe_passes_when_the_file_is_there(cluster, namespace, stored, run_agent):
    agent = run_agent(stored, {"config/token": cluster.token(namespace)})
    agent.wait("env/holysheep.env")
    assert probe(agent).returncode == 0


def test_wiring_exec_puts_the_key_into_the_process(cluster, bao, namespace, webhooks, install_webhook, run_agent):
    old_nodes = webhooks(**{"min-kubelet-version": "1.34"})
    install_webhook(old_nodes.url, old_nodes.certificates.ca_pem)
    manifest = rig.seed_deployment(**{"env_EXTRA_URL": None})
    manifest["spec"]["template"]["spec"]["containers"][0]["command"] = ["env", "-0"]
    manifest["spec"]["template"]["metadata"]["annotations"] = {"keyshepherd.dev/env-EXTRA_URL": "ai-apis/data/holysheep#base_url"}
    stored = apply(cluster, namespace, manifest)
    app = stored["spec"]["template"]["spec"]["containers"][0]
    assert app["command"] == ["/keyshepherd/bin/keyshepherd-exec", "--", "env", "-0"]
    assert all(m["readOnly"] for m in app["volumeMounts"])
    agent = run_agent(stored, {"config/token": cluster.token(namespace)})
    agent.wait()
    launcher = rig.keyshepherd()[0].with_name("keyshepherd-exec")
    environment = {e["name"]: e["value"] for e in app["env"]} | {"KEYSHEPHERD_ENV_DIR": str(agent.folder / "env" / app["name"]), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([launcher, *app["command"][1:]], env=environment, capture_output=True, check=True)
    got = dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if entry)
    assert got["HOLYSHEEP_API_KEY"] == KEY and got["EXTRA_URL"] == got["HOLYSHEEP_BASE_URL"] == "https://api.holysheep.ai/v1"
    again = copy.deepcopy(manifest)
    for flags in ((), ("--server-side", "--force-conflicts", "--field-manager=gitops")):
        assert apply(cluster, namespace, again, *flags)["spec"]["template"] == stored["spec"]["template"]
    assert cluster.replicasets(namespace) == 1


def test_wiring_file_and_further_files(cluster, bao, namespace, installed_webhook, run_agent):
    manifest = rig.seed_deployment(plain=True, wiring="file", secret_whole="ai-apis/data/holysheep",
                                   **{"template_note": '{{ with secret "ai-apis/data/holysheep" }}url={{ .Data.data.base_url }}{{ end }}'})
    stored = apply(cluster, namespace, manifest)
    app = stored["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "HOLYSHEEP_API_KEY_FILE", "value": "/keyshepherd/files/HOLYSHEEP_API_KEY"} in app["env"]
    agent = run_agent(stored, {"config/token": cluster.token(namespace)})
    agent.wait()
    files = agent.folder / "files" / app["name"]
    assert (files / "HOLYSHEEP_API_KEY").read_text() == KEY
    assert json.loads((files / "whole").read_text()) == {"api_key": KEY, "base_url": "https://api.holysheep.ai/v1"}
    assert (files / "note").read_text() == "url=https://api.holysheep.ai/v1"


@pytest.fixture
def run_containers(tmp_path):
    """run_containers(stored, agent): a rig.Container for each of the user's, by name, once the agent has rendered every file."""
    running = []

    def run(stored, agent):
        agent.wait()
        spec = stored["spec"]["template"]["spec"]
        for container in (*spec["initContainers"], *spec["containers"]):
            if not container["name"].startswith("keyshepherd-"):
                running.append(rig.Container(tmp_path, agent, container))
        return {container.name: container for container in running}

    yield run
    for container in running:
        container.stop()


def rendering_every_second(stored):
    """The same with an agent that looks for new values every second; the default is five minutes."""
    stored = copy.deepcopy(stored)
    annotations = stored["spec"]["template"]["metadata"]["annotations"]
    config = json.loads(annotations["keyshepherd.dev/agent-config"])
    config["template_config"]["static_secret_render_interval"] = "1s"
    annotations["keyshepherd.dev/agent-config"] = json.dumps(config)
    return stored


OTHER_PROVIDER = """{apiVersion: keyshepherd.dev/v1alpha1, kind: ClusterAIProvider, metadata: {name: other}, spec: {
    path: ai-apis/data/other, variables: [{name: OTHER_KEY, key: token}], auth: {role: holysheep}}}"""


@pytest.mark.parametrize("agent_mode", ["sidecar", "init"])
def test_each_container_reads_its_own_variables_alone(cluster, bao, namespace, webhooks, install_webhook, run_agent, run_containers, tmp_path,
                                                      agent_mode):
    """Wiring exec with two providers, references and an extra file, and a key that changes while the containers run."""
    bao.root.secrets.kv.v2.create_or_update_secret("other", {"token": "sk-other", "password": "p-db"}, mount_point="ai-apis")
    (tmp_path / "providers.yaml").write_text(OTHER_PROVIDER)
    webhook = webhooks(providers=tmp_path / "providers.yaml")
    install_webhook(webhook.url, webhook.certificates.ca_pem)
    manifest = rig.seed_deployment(plain=True, wiring="exec", inject="holysheep,other", containers="app,proxy", init_containers="migrate",
                                   secret_note="ai-apis/data/other#token", agent=agent_mode)
    spec = manifest["spec"]["template"]["spec"]
    run = {"image": "i:1", "command": ["env", "-0"]}
    reference = [{"name": "DB_PASSWORD", "value": "vault:ai-apis/data/other#password"}]
    own = [{"name": name, "value": "its-own"} for name in ("HOLYSHEEP_API_KEY", "HOLYSHEEP_BASE_URL")]
    spec["containers"][0] |= {"name": "app", "command": ["env", "-0"]}
    spec["containers"] += [{"name": "worker", **run, "env": reference}, {"name": "proxy", **run, "env": own}, {"name": "log", **run}]
    spec["initContainers"] = [{"name": "migrate", **run}]
    stored = apply(cluster, namespace, manifest)
    agent = run_agent(rendering_every_second(stored), {"config/token": cluster.token(namespace)})
    containers = run_containers(stored, agent)
    holysheep = f"HOLYSHEEP_API_KEY='{KEY}'\nHOLYSHEEP_BASE_URL='https://api.holysheep.ai/v1'\n"
    other = "OTHER_KEY='sk-other'\n"
    want = {"migrate": {"env/holysheep.env": holysheep, "env/other.env": other, "files/note": "sk-other"},
            "app": {"env/holysheep.env": holysheep, "env/other.env": other, "files/note": "sk-other"},
            "worker": {"env/references.env": "DB_PASSWORD='p-db'\n"},
            "proxy": {"env/other.env": other, "files/note": "sk-other"},
            "log": {}}
    assert {name: container.files() for name, container in containers.items()} == want

    launcher = rig.keyshepherd()[0].with_name("keyshepherd-exec")
    for container in stored["spec"]["template"]["spec"]["containers"]:
        if container["name"] in ("app", "worker", "proxy"):
            environment = {e["name"]: e["value"] for e in container["env"]} | {
                "KEYSHEPHERD_ENV_DIR": str(containers[container["name"]].seen / "env"), "PATH": "/usr/bin:/bin"}
            done = subprocess.run([launcher, *container["command"][1:]], env=environment, capture_output=True, check=True)
            assert b"keyshepherd:" not in done.stdout and b"vault:" not in done.stdout, container["name"]
    if agent_mode == "init":
        return
    bao.write_key("sk-second")
    try:
        want["app"]["env/holysheep.env"] = want["migrate"]["env/holysheep.env"] = holysheep.replace(KEY, "sk-second")
        wait_until(lambda: {name: c.files() for name, c in containers.items()} == want, 20, "the new key in the running containers")
    finally:
        bao.write_key(KEY)


def test_each_container_reads_its_own_files_alone(cluster, bao, namespace, installed_webhook, run_agent, run_containers):
    """Wiring file: the key is in two folders, and follows a change in both."""
    manifest = rig.seed_deployment(plain=True, wiring="file", containers="app,web,half", secret_note="ai-apis/data/holysheep#base_url")
    spec = manifest["spec"]["template"]["spec"]
    spec["containers"][0]["name"] = "app"
    spec["containers"] += [{"name": "web", "image": "i:1"},
                           {"name": "half", "image": "i:1", "env": [{"name": "HOLYSHEEP_BASE_URL_FILE", "value": "/etc/own"}]},
                           {"name": "log", "image": "i:1"}]
    stored = apply(cluster, namespace, manifest)
    agent = run_agent(rendering_every_second(stored), {"config/token": cluster.token(namespace)})
    containers = run_containers(stored, agent)
    url = "https://api.holysheep.ai/v1"
    whole = {"files/HOLYSHEEP_API_KEY": KEY, "files/HOLYSHEEP_BASE_URL": url, "files/note": url}
    want = {"app": whole, "web": whole, "half": {"files/HOLYSHEEP_API_KEY": KEY, "files/note": url}, "log": {}}
    assert {name: container.files() for name, container in containers.items()} == want
    bao.write_key("sk-second")
    try:
        for files in want.values():
            files.update({"files/HOLYSHEEP_API_KEY": "sk-second"} if files else {})
        wait_until(lambda: {name: c.files() for name, c in containers.items()} == want, 20, "the new key in the running containers")
    finally:
        bao.write_key(KEY)


def test_a_new_key_is_rendered_while_the_agent_runs(cluster, bao, namespace, stored, run_agent, parse_env):
    agent = run_agent(rendering_every_second(stored), {"config/token": cluster.token(namespace)})
    (file,) = agent.wait("env/holysheep.env")
    bao.write_key("sk-second")
    try:
        wait_until(lambda: parse_env(file, "HOLYSHEEP_API_KEY") == "sk-second", 20, "the new key")
    finally:
        bao.write_key(KEY)


def test_the_agent_outlives_a_vault_that_is_away(cluster, bao, namespace, stored, run_agent, parse_env):
    agent = run_agent(stored, {"config/token": cluster.token(namespace)})
    agent.wait("env/holysheep.env")
    bao.stop()
    try:
        late = run_agent(stored, {"config/token": cluster.token(namespace)})
        late.process.wait_until(lambda: "connection refused" in late.log, 20, "the agent meets no server")
        assert agent.process.alive and late.process.alive
    finally:
        bao.start()
    (file,) = late.wait("env/holysheep.env", seconds=60)
    assert parse_env(file, "HOLYSHEEP_API_KEY") == KEY


def test_the_webhook_asks_the_api_server_for_its_version(cluster, webhooks):
    """Design: `--kubernetes-version` is asked of the API server when absent."""
    cluster.kubectl("apply", "--server-side", "-f", rig.REPOSITORY / "manifests" / "crds.yaml")  # it watches providers there
    asked = webhooks(**{"kubernetes-version": None, "min-kubelet-version": None, "kubeconfig": cluster.kubeconfig})
    serving = next(r for r in asked.records() if r["msg"] == "serving")
    told = cluster.get("/version")
    assert serving["kubernetesVersion"] == f"{told['major']}.{told['minor']}"
    assert serving["lowestKubelet"] == f"{told['major']}.{int(told['minor']) - 3}"
