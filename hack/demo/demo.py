"""Runs the demo of hack/demo.sh after everything is built."""

import base64
import contextlib
import difflib
import os
import pathlib
import secrets
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/integration"), str(ROOT / "tests/support")]
os.environ["KEYSHEPHERD_PRESET"] = "release"

import jsonpatch  # noqa: E402
import rig  # noqa: E402
import yaml  # noqa: E402
from ai_provider import AIProvider  # noqa: E402

COLOUR = sys.stdout.isatty()
began = time.monotonic()


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def step(text):
    print(paint(1, f"\n== [{time.monotonic() - began:5.1f} s] {text}"), flush=True)


def shortened(secret):
    return f"{secret[:8]}…{secret[-4:]} ({len(secret)} characters)"


def show_difference(before, after):
    def lines(workload):
        workload = {key: workload[key] for key in ("apiVersion", "kind", "metadata", "spec") if key in workload}
        return yaml.safe_dump(workload, sort_keys=False, width=1_000_000).splitlines()

    for line in difflib.unified_diff(lines(before), lines(after), "applied", "stored", lineterm="", n=2):
        line = line if len(line) < 170 else line[:166] + " …"
        print(paint(32, line) if line.startswith("+") else paint(31, line) if line.startswith("-") else line)


def send_as_api_server(webhook, deployment):
    """Sends the AdmissionReview that the API server would send, and applies the patch."""
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "demo", "kind": {"group": "apps", "version": "v1", "kind": "Deployment"}, "operation": "CREATE",
        "namespace": "shop", "name": deployment["metadata"]["name"], "object": deployment, "dryRun": False}}
    response = webhook.review(review).json()["response"]
    if not response["allowed"]:
        sys.exit(f"refused: {response['status']['message']}")
    patch = base64.b64decode(response["patch"]).decode()
    print(f"The webhook answers with a JSON Patch of {len(patch)} bytes. It does not contain the key.")
    return jsonpatch.JsonPatch.from_string(patch).apply(deployment)


SAMPLE = ROOT / "manifests/samples/holysheep.yaml"
CONNECTION = ROOT / "manifests/samples/connection.yaml"


class Vault:
    """Runs `keyshepherd plan` and `apply` on the sample with the root token."""

    def __init__(self, bao, token):
        self.command = [*rig.keyshepherd()], ["--connections", CONNECTION, "-f", SAMPLE, "--vault-address", bao.address, "--vault-ca-file", bao.certificates.ca,
                                              "--vault-token-file", token]

    def run(self, verb, expect):
        program, flags = self.command
        print(paint(2, f"$ keyshepherd {verb} --connections manifests/samples/connection.yaml -f manifests/samples/holysheep.yaml"),
              flush=True)
        code = subprocess.run([*program, verb, *flags]).returncode
        if code != expect:
            sys.exit(f"keyshepherd {verb} ended with exit code {code} instead of {expect}")


def tamper_and_repair(bao, vault):
    step("Changing the policy and the role by hand: keyshepherd plan shows the differences")
    bao.root.sys.create_or_update_policy("ai-api", 'path "ai-apis/*" { capabilities = ["create", "read", "update", "delete", "list"] }\n')
    bao.root.auth.approle.create_or_update_approle("ai-prod-role", token_ttl="20h")
    vault.run("plan", expect=2)
    step("Repairing them with keyshepherd apply: a second plan finds no difference")
    vault.run("apply", expect=0)
    vault.run("plan", expect=0)


def operate(stack, folder, cluster, bao):
    step("Starting the operator, and applying the same resources with kubectl")
    rig.install_operator(cluster)
    bao.trust_operator("platform-vault")
    cluster.core.create_namespace({"metadata": {"name": "ai"}})
    operator = rig.Operator(folder / "operator", cluster, bao)
    stack.callback(operator.stop)
    documents = [*yaml.safe_load_all(CONNECTION.read_text()), *yaml.safe_load_all(SAMPLE.read_text())]
    for document in documents:
        if document["kind"] == "VaultConnection":
            document["spec"] |= {"address": bao.address, "ca": bao.certificates.ca_pem}
        elif document["apiVersion"] == rig.GROUP:
            document["spec"] |= {"adoptionPolicy": "IfEqual", "resyncPeriod": "10s"}
    print(cluster.kubectl("apply", "-f", "-", input={"apiVersion": "v1", "kind": "List", "items": documents}).strip())
    conditions = ("vaultmounts", "vaultpolicies", "vaultapproles")
    cluster.kubectl("wait", "-n", "ai", "--for=condition=Ready", "--timeout=60s", "--all", *[",".join(conditions)])
    print(cluster.kubectl("get", "keyshepherd", "-n", "ai").strip())
    step("Changing the policy by hand again: the operator repairs it")
    right = bao.root.sys.read_policy("ai-api")["data"]["rules"]
    bao.root.sys.create_or_update_policy("ai-api", 'path "*" { capabilities = ["sudo"] }')
    changed = time.monotonic()
    rig.wait_until(lambda: bao.root.sys.read_policy("ai-api")["data"]["rules"] == right, 20, "the operator repairs")
    print(f"repaired after {time.monotonic() - changed:.1f} s, with a resyncPeriod of 10 s")

    def told():
        events = cluster.kubectl("get", "events", "-n", "ai", "-o", "jsonpath={range .items[*]}{.reason}: {.message}{'\\n'}{end}")
        return [line for line in events.splitlines() if line.startswith("DriftRepaired")]

    print("\n".join(rig.wait_until(told, 10, "the event")))


def main(with_cluster):
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keyshepherd-demo.")))
        tools = rig.build_tools("all" if with_cluster else "vault")
        certificates = rig.Certificates(folder / "certificates")
        key = "sk-demo-" + secrets.token_urlsafe(24)
        provider = stack.enter_context(AIProvider(key))

        cluster = None
        if with_cluster:
            step("Starting etcd, kube-apiserver and kube-controller-manager")
            cluster = rig.Cluster(folder / "cluster", tools)
            stack.callback(cluster.down)
            print(f"kube-apiserver answers at {cluster.url}")

        step("Starting an empty OpenBao with TLS")
        bao = rig.Bao(folder / "bao", tools, certificates)
        stack.callback(bao.stop)
        token = folder / "root-token"
        token.write_text(bao.root_token)
        vault = Vault(bao, token)

        step("Creating the mounts, the policy and the AppRole of manifests/samples/holysheep.yaml with keyshepherd apply")
        vault.run("apply", expect=0)
        step("Writing a key to ai-apis/holysheep")
        rig.wait_until(lambda: bao.write_key(key, provider.base_url) or True, 10, "a new KV version 2 mount is busy for a moment")
        print(f"api_key  = {shortened(key)}\nbase_url = {provider.base_url}   (a local OpenAI-compatible server)")

        providers = folder / "providers.yaml"
        flags = {"providers": str(providers), "kubernetes-version": "1.37", "min-kubelet-version": "1.34", "drain-seconds": "0"}
        auth = {"type": "approle", "secretName": "ai-application-approle"}
        if cluster:
            bao.trust(cluster)
            auth = {"type": "kubernetes", "role": "holysheep"}
        providers.write_text(yaml.safe_dump({
            "apiVersion": "keyshepherd.dev/v1alpha1", "kind": "ClusterAIProvider", "metadata": {"name": "holysheep"},
            "spec": {"path": "ai-apis/data/holysheep", "auth": auth,
                     "variables": [{"name": "HOLYSHEEP_API_KEY", "key": "api_key"}, {"name": "HOLYSHEEP_BASE_URL", "key": "base_url"}]}}))

        step("Starting the webhook")
        webhook = rig.Webhook(folder / "webhook", certificates, bao, flags)
        stack.callback(webhook.stop)
        print(f"keyshepherd webhook serves {webhook.url}")

        deployment = rig.seed_deployment()
        deployment["spec"]["template"]["spec"]["containers"][0]["command"] = ["python3", str(ROOT / "hack/demo/app.py")]
        if cluster:
            step("Applying the Deployment with kubectl; its only annotation is keyshepherd.dev/inject: holysheep")
            cluster.install_webhook(webhook.url, certificates.ca_pem)
            namespace = cluster.namespace("shop")
            plain = rig.unannotated(deployment) | {"metadata": deployment["metadata"] | {"name": "without", "annotations": {}}}
            cluster.kubectl("apply", "-n", namespace, "-f", "-", input=plain)
            print(cluster.kubectl("apply", "-n", namespace, "-f", "-", input=deployment).strip())
            stored = cluster.settled(namespace)
            before = cluster.deployment(namespace, "without")
            for workload in (before, stored):
                for noise in ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "annotations", "name"):
                    workload["metadata"].pop(noise, None)
            files = {"config/token": cluster.token(namespace)}
            show_difference(before, stored)
        else:
            step("Sending the Deployment to the webhook; its only annotation is keyshepherd.dev/inject: holysheep")
            stored = send_as_api_server(webhook, deployment)
            files = {f"config/{name}": value for name, value in bao.approle_credentials().items()}
            show_difference(deployment, stored)

        step("Running the agent with the configuration in the injected Deployment")
        pod = folder / "pod"
        agent = stack.enter_context(rig.Agent(pod, tools, stored, files))
        for path in agent.wait():
            print(f"rendered {path.relative_to(pod)}, mode {path.stat().st_mode & 0o777:o} (in a pod, this folder is in memory)")

        step("Starting the container as the kubelet would, through the launcher")
        launcher = ROOT / "build/release/keyshepherd-exec"
        (pod / "bin").mkdir()
        subprocess.run([launcher, "install", pod / "bin"], check=True)
        container = stored["spec"]["template"]["spec"]["containers"][0]
        command = [str(pod / word.removeprefix("/keyshepherd/")) if word.startswith("/keyshepherd/") else word for word in container["command"]]
        print("command: " + " ".join(container["command"]))
        mounted = next(mount for mount in container["volumeMounts"] if mount["name"] == "keyshepherd-env")
        environment = {entry["name"]: entry["value"] for entry in container["env"]}
        for name, value in environment.items():
            print(f"environment: {name}={value}")
        application = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={
            "PATH": os.environ["PATH"], "KEYSHEPHERD_ENV_DIR": str(pod / "env" / mounted.get("subPath", ""))} | environment)
        stack.callback(application.wait)
        stack.callback(application.kill)
        said = application.stdout.readline().strip()
        found = dict(entry.split("=", 1) for entry in pathlib.Path(f"/proc/{application.pid}/environ").read_text().split("\0") if "=" in entry)
        print(f"/proc/{application.pid}/environ: HOLYSHEEP_API_KEY={shortened(found.get('HOLYSHEEP_API_KEY', ''))}")
        print(said)

        good = found.get("HOLYSHEEP_API_KEY") == key and provider.served == 1 and provider.refused == 0
        step("The provider accepted the request: the process has the key from Vault" if good else "FAILED: the process does not have the key")
        if not good:
            return 1
        tamper_and_repair(bao, vault)
        if cluster:
            operate(stack, folder, cluster, bao)
        return 0


if __name__ == "__main__":
    rig.end_on_sigterm()
    sys.exit(main("--cluster" in sys.argv[1:]))
