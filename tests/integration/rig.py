"""What the integration tests stand on, all of it real: an API server, OpenBao, its agent and our webhook, on loopback.

    Certificates  a private CA and the leaves that it signs
    Cluster       etcd, kube-apiserver and controller-manager, by hack/cluster.sh
    Bao           an OpenBao server with TLS, holding what the user's article sets up by hand (seed)
    Webhook       `keyshepherd webhook`
    Operator      `keyshepherd operator`, with the RBAC of manifests/ and no more
    Agent         `bao agent` or `vault agent` with the configuration that a stored Deployment carries

Each starts its own processes on free ports below one temporary folder, and ends what it started.
"""

import base64
import contextlib
import copy
import functools
import hashlib
import itertools
import json
import os
import random
import select
import shlex
import signal
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import hvac
import kubernetes
import pytest
import requests
import yaml

closing_lines = []  # what a test says at the end of the run

REPOSITORY = Path(__file__).resolve().parents[2]
SUPPORT = REPOSITORY / "tests" / "support"
PREFIX = "keyshepherd.dev/"
PRESET = os.environ.get("KEYSHEPHERD_PRESET", "dev")  # the build whose programs are tested


# ---- small things --------------------------------------------------------------------------------------------------------


def wait_until(predicate, seconds=10, what=None, every=0.05):
    """Calls `predicate` until it gives something true, and returns that; what it raised last goes into the failure."""
    end = time.monotonic() + seconds
    last = None
    while True:
        try:
            if result := predicate():
                return result
        except Exception as error:  # not there yet, most often
            last = error
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {what or predicate}") from last
        time.sleep(every)


def free_port():
    """A port below the range that the kernel hands out, so that a server which is restarted finds it free again."""
    while True:
        port = random.randint(20000, 29999)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


def session(ca=None, certificate=None):
    """A requests session that trusts only `ca` and takes no proxy or certificate out of the environment."""
    result = requests.Session()
    result.trust_env = False
    result.verify = str(ca) if ca else True
    result.cert = certificate
    return result


def build_tools(what="all"):
    """The folder with bao, etcd, kubectl, parseenv and the rest; built at the first use of a machine."""
    done = subprocess.run([REPOSITORY / "hack" / "tools.sh", what], check=True, text=True, stdout=subprocess.PIPE)
    return Path(done.stdout.strip())


def parse_env(tools, file, key):
    """One variable of an env file, read by kubelet's own parser; ValueError with kubelet's message when it cannot."""
    done = subprocess.run([tools / "parseenv", file, key], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return done.stdout


class Process:
    """A program that logs into a file; `stop` is SIGTERM, a bounded wait and SIGKILL, and gives the exit code."""

    all = []  # of this test run, for end_everything

    def __init__(self, command, log, env=None):
        self.command, self.log_file = [str(word) for word in command], Path(log)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("VAULT_", "BAO_", "KEYSHEPHERD_", "SSL_CERT"))}
        with self.log_file.open("ab") as out:
            self.popen = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          env=clean | (env or {}))
        Process.all.append(self)

    @property
    def pid(self):
        return self.popen.pid

    @property
    def alive(self):
        return self.popen.poll() is None

    @property
    def log(self):
        return self.log_file.read_text(errors="replace")

    def wait_until(self, predicate, seconds, what):
        """As the function, but a process that has ended fails at once; either failure shows the log's end."""

        def check():
            return predicate() if self.alive else self

        try:
            if (result := wait_until(check, seconds)) is not self:
                return result
        except TimeoutError as error:
            raise TimeoutError(f"{what}: not within {seconds} s\n{self.log[-3000:]}") from error.__cause__
        raise ChildProcessError(f"{what}: ended with {self.popen.returncode}\n{self.log[-3000:]}")

    def wait_ready(self, predicate, seconds, what):
        """The wait of a start: what does not get ready is ended."""
        try:
            return self.wait_until(predicate, seconds, what)
        except BaseException:
            self.stop()
            raise

    def stop(self, seconds=15):
        if self.alive:
            self.popen.terminate()
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait()


def shifted_clock(shift):
    """The environment of a program whose clock is shifted, "+1h" or "-30m", by libfaketime (package faketime).

    Skips the test for a static program, which loads no library first, and for one with a sanitizer, whose own functions
    libfaketime calls before they are set up.
    """
    if PRESET != "dev":
        pytest.skip(f"libfaketime cannot shift the clock of a program built with the preset {PRESET}")
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return {"LD_PRELOAD": str(library), "FAKETIME": shift, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"}


def retry_on_lost_port(start):
    """`start()` picks ports; between the pick and the bind another process may have come, then it is tried again."""
    for attempt in itertools.count():
        try:
            return start()
        except ChildProcessError as error:
            if attempt == 4 or "in use" not in str(error):
                raise


# ---- Certificates --------------------------------------------------------------------------------------------------------


class Certificates:
    """A private CA. `ca` is its PEM file; `cert` and `key` are a leaf for 127.0.0.1 and localhost. `backdated`: they were made
    yesterday, for programs whose clock is behind."""

    def __init__(self, folder, name="keyshepherd rig CA", backdated=False):
        self.folder, self.backdated = Path(folder), backdated
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca, self._ca_key = self.folder / "ca.pem", self.folder / "ca-key.pem"
        self._make(self.ca, self._ca_key, name, ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign",
                                                 "subjectKeyIdentifier=hash"])
        self.cert, self.key = self.leaf("leaf")

    def leaf(self, name, names=("IP:127.0.0.1", "DNS:localhost"), days=30, usage="serverAuth"):
        """A certificate of this CA, for a server if nothing else is said: its two files."""
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}-key.pem"
        self._make(cert, key, name, ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature",
                                     f"extendedKeyUsage={usage}", "authorityKeyIdentifier=keyid",
                                     "subjectAltName=" + ",".join(names)],
                   "-CA", self.ca, "-CAkey", self._ca_key, days=days)
        return cert, key

    @property
    def ca_pem(self):
        return self.ca.read_text()

    def _make(self, cert, key, name, extensions, *issuer, days=30):
        config = self.folder / "openssl.cnf"
        config.write_text("\n".join(["[req]", "distinguished_name=empty", "[empty]", "[extensions]", *extensions, ""]))
        yesterday = ["faketime", "-f", "-1d"] if self.backdated else []
        subprocess.run([*yesterday, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", str(days), "-config", config, "-extensions", "extensions", "-subj", f"/CN={name}", *issuer,
                        "-out", cert, "-keyout", key], check=True, capture_output=True)


# ---- Cluster -------------------------------------------------------------------------------------------------------------


class Cluster:
    """A control plane of its own. `core`, `apps`, `batch` and `admission` are the official client's APIs; `request` gives the
    API server's own bytes, for what that client's models would drop."""

    all = []  # of this test run, for end_everything

    def __init__(self, folder, tools):
        self.folder, self.tools = Path(folder), Path(tools)
        Cluster.all.append(self)
        self._run("up", self.folder)
        exports = self._run("env", self.folder).replace("export ", "").replace(':"$PATH"', "")
        self.env = dict(word.split("=", 1) for word in shlex.split(exports))
        self.url, self.kubeconfig = self.env["KS_API_SERVER"], Path(self.env["KUBECONFIG"])
        self.ca = self.folder / "pki" / "ca.crt"
        self.http = session(self.ca, (str(self.folder / "pki" / "admin.crt"), str(self.folder / "pki" / "admin.key")))
        self.client = kubernetes.config.new_client_from_config(str(self.kubeconfig))
        self.core = kubernetes.client.CoreV1Api(self.client)
        self.apps = kubernetes.client.AppsV1Api(self.client)
        self.batch = kubernetes.client.BatchV1Api(self.client)
        self.admission = kubernetes.client.AdmissionregistrationV1Api(self.client)
        self._names = itertools.count(1)

    def down(self):
        """Does nothing to one that is down, or never began to come up."""
        if (self.folder / ".keyshepherd-cluster").exists():
            self._run("down", self.folder)

    def stop_apiserver(self):
        self._run("stop-apiserver", self.folder)

    def restart_apiserver(self):
        """Also one that is stopped."""
        self._run("restart-apiserver", self.folder)

    @staticmethod
    def _run(*arguments):
        done = subprocess.run([REPOSITORY / "hack" / "cluster.sh", *arguments], capture_output=True, text=True)
        if done.returncode:
            raise ChildProcessError(done.stderr)
        return done.stdout

    def kubectl(self, *arguments, input=None, check=True):
        """kubectl as admin: its standard output; with check=False the whole CompletedProcess. `input` may be an object."""
        if input is not None and not isinstance(input, str):
            input = json.dumps(input)
        done = subprocess.run([self.tools / "kubectl", f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.folder}/kubectl",
                               *arguments], input=input, capture_output=True, text=True)
        if not check:
            return done
        if done.returncode:
            raise RuntimeError(f"kubectl {shlex.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    def request(self, method, path, body=None, content_type="application/json"):
        """One call as admin: the requests.Response, whatever its status."""
        data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        return self.http.request(method, self.url + path, data=data, headers={"Content-Type": content_type}, timeout=30)

    def get(self, path):
        response = self.request("GET", path)
        response.raise_for_status()
        return response.json()

    def deployment(self, namespace, name="ai-application"):
        """The stored Deployment, every field of it."""
        return self.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")

    def replicasets(self, namespace, name="ai-application"):
        """How many ReplicaSets the Deployment has made: one for each template that was ever rolled out."""
        items = self.get(f"/apis/apps/v1/namespaces/{namespace}/replicasets")["items"]
        owners = (owner for item in items for owner in item["metadata"].get("ownerReferences", []))
        return sum(owner["kind"] == "Deployment" and owner["name"] == name for owner in owners)

    def pods(self, namespace):
        """The pods that exist and are not on their way out."""
        items = self.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def settled(self, namespace, name="ai-application", pods=3, seconds=20):
        """Waits until the controllers are through with the Deployment's present generation; gives it."""

        def done():
            found = self.deployment(namespace, name)
            seen = found.get("status", {})
            if seen.get("observedGeneration") == found["metadata"]["generation"] and seen.get("replicas", 0) >= pods:
                return found

        return wait_until(done, seconds, f"{namespace}/{name} settled")

    def namespace(self, prefix="test"):
        """A new namespace with its `default` ServiceAccount and the seed's `ai-app`: its name."""
        name = f"{prefix}-{os.getpid()}-{next(self._names)}"
        self.core.create_namespace({"metadata": {"name": name}})
        self.core.create_namespaced_service_account(name, {"metadata": {"name": "ai-app"}})
        wait_until(lambda: self.get(f"/api/v1/namespaces/{name}/serviceaccounts/default"), 20, "default ServiceAccount")
        return name

    def token(self, namespace, account="ai-app", audience="vault", seconds=3600):
        """A token of the ServiceAccount by TokenRequest, as kubelet's projected volume would hold it."""
        audiences = {"audiences": [audience]} if audience else {}
        body = {"spec": audiences | {"expirationSeconds": seconds}}
        response = self.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", body)
        response.raise_for_status()
        return response.json()["status"]["token"]

    def install_webhook(self, url, ca):
        """manifests/webhook.yaml with `url` and the CA's PEM in place of the Service; returns when it is in force."""
        configuration = yaml.safe_load((REPOSITORY / "manifests" / "webhook.yaml").read_text())
        for hook in configuration["webhooks"]:
            hook["clientConfig"] = client_config(url, ca)
        self.kubectl("apply", "-f", "-", input=configuration)
        self.configurations_in_force()

    def remove_webhook(self):
        self.kubectl("delete", "mutatingwebhookconfiguration", "keyshepherd", "--ignore-not-found")
        self.configurations_in_force()

    def configurations_in_force(self):
        """Waits until the API server heeds every webhook configuration written so far.

        It learns of them from one ordered watch: when a later one bites, the earlier changes are known. This one refuses
        ConfigMaps that carry its own mark, by a webhook that is not there."""
        mark = f"rig-probe-{os.getpid()}-{next(self._names)}"
        hook = {"name": "probe.keyshepherd.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "failurePolicy": "Fail", "clientConfig": {"url": "https://127.0.0.1:1/"},
                "objectSelector": {"matchLabels": {"rig-probe": mark}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}]}
        marked = {"metadata": {"name": mark, "labels": {"rig-probe": mark}}}
        self.admission.create_mutating_webhook_configuration({"metadata": {"name": mark}, "webhooks": [hook]})
        create = "/api/v1/namespaces/default/configmaps?dryRun=All"
        try:
            wait_until(lambda: self.request("POST", create, marked).status_code == 500, 20, "webhook configurations in force")
        finally:
            self.admission.delete_mutating_webhook_configuration(mark)


def client_config(url, ca):
    """A webhook's clientConfig outside the cluster."""
    return {"url": url, "caBundle": base64.b64encode(ca.encode()).decode()}


def seed_deployment(plain=False, **annotations):
    """The user's Deployment; `plain` without its environment entry. Further annotations by name without prefix, `_` for `-`;
    None takes one out."""
    name = "seed-deployment-plain.yaml" if plain else "seed-deployment.yaml"
    result = yaml.safe_load((SUPPORT / name).read_text())
    for key, value in annotations.items():
        key = PREFIX + key.replace("_", "-")
        result["metadata"]["annotations"].pop(key, None)
        if value is not None:
            result["metadata"]["annotations"][key] = value
    return result


def unannotated(workload):
    """The same with none of our annotations, on the workload and on its template."""
    result = copy.deepcopy(workload)
    for metadata in (result["metadata"], result["spec"]["template"]["metadata"]):
        metadata["annotations"] = {k: v for k, v in metadata.get("annotations", {}).items() if not k.startswith(PREFIX)}
    return result


# ---- Bao -----------------------------------------------------------------------------------------------------------------


def server_program(tools):
    """OpenBao, or what KEYSHEPHERD_VAULT_BIN names: server, agent and command line."""
    return Path(os.environ.get("KEYSHEPHERD_VAULT_BIN") or tools / "bao")


@functools.cache
def is_openbao(program):
    return subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout.startswith("OpenBao")


class Bao:
    """An OpenBao or Vault server with TLS from `certificates` and raft storage, initialised and unsealed. It may be stopped and
    started again, with its data and on its port. `root` is hvac with the root token; `client()` another with none. A Vault that was
    built without the Kubernetes auth method takes it as the plugin `plugins/kubernetes` beside its program."""

    started = []  # the programs' names, for the closing lines

    def __init__(self, folder, tools, certificates, port=None):
        self.folder, self.tools, self.certificates = Path(folder), Path(tools), certificates
        self.folder.mkdir(parents=True, exist_ok=True)
        self.audit_file = self.folder / "audit.log"
        self.program = server_program(tools)
        self.is_openbao = is_openbao(self.program)
        self._plugins = self.program.resolve().parent / "plugins"
        self.process, self.port = None, port
        retry_on_lost_port(self._first_start)
        init = self.client().sys.initialize(secret_shares=1, secret_threshold=1)
        self.root_token, self._unseal_key = init["root_token"], init["keys_base64"][0]
        self.unseal()
        self.root = self.client(self.root_token)
        if not self.is_openbao:
            self._set_up_vault()

    def _first_start(self):
        self.port, self._cluster_port = self.port or free_port(), free_port()
        self.start(unseal=False)

    @property
    def address(self):
        return f"https://127.0.0.1:{self.port}"

    def client(self, token=None):
        return hvac.Client(self.address, token=token, session=session(self.certificates.ca), verify=str(self.certificates.ca))

    def _set_up_vault(self):
        """Vault takes neither from its configuration."""
        self.root.sys.enable_audit_device("file", path="rig", options={"file_path": str(self.audit_file)})
        plugin = self._plugins / "kubernetes"
        if plugin.exists():
            self.root.write_data("sys/plugins/catalog/auth/kubernetes", data={
                "command": plugin.name, "sha256": hashlib.sha256(plugin.read_bytes()).hexdigest()})

    def start(self, unseal=True):
        # Each refuses, or warns of, what the other wants.
        own = (f'audit "file" "rig" {{ options {{ file_path = "{self.audit_file}" }} }}' if self.is_openbao
               else "disable_mlock = true" + (f'\nplugin_directory = "{self._plugins}"' if self._plugins.is_dir() else ""))
        config = self.folder / "server.hcl"
        config.write_text(f'''
            api_addr = "{self.address}"
            cluster_addr = "https://127.0.0.1:{self._cluster_port}"
            storage "raft" {{
                path = "{self.folder}"
                node_id = "rig"
                performance_multiplier = 1
            }}
            listener "tcp" {{
                address = "127.0.0.1:{self.port}"
                cluster_address = "127.0.0.1:{self._cluster_port}"
                tls_cert_file = "{self.certificates.cert}"
                tls_key_file = "{self.certificates.key}"
            }}
            {own}
        ''')
        Bao.started.append(self.program.name)
        self.process = Process([self.program, "server", f"-config={config}"], self.folder / "server.log",
                               {"HOME": str(self.folder)})
        self.process.wait_ready(self.health, 20, "bao server")
        if unseal:
            self.unseal()

    def unseal(self):
        self.client().sys.submit_unseal_key(self._unseal_key)
        self.process.wait_ready(lambda: self.health() == 200, 20, "bao unsealed")

    def health(self):
        """200 active, 429 standby, 501 not initialised, 503 sealed."""
        return session(self.certificates.ca).get(self.address + "/v1/sys/health", timeout=2).status_code

    def seal(self):
        self.root.sys.seal()

    def stop(self):
        return self.process.stop()

    def snapshot(self):
        """A snapshot of all that it holds, for restore()."""
        answer = self._raft("GET", "snapshot")
        return answer.content

    def restore(self, snapshot):
        self._raft("POST", "snapshot-force", snapshot)
        self.process.wait_until(lambda: self.health() == 200, 20, "bao restored")

    def _raft(self, method, what, data=None):
        answer = session(self.certificates.ca).request(method, f"{self.address}/v1/sys/storage/raft/{what}", data=data,
                                                       headers={"X-Vault-Token": self.root_token}, timeout=30)
        answer.raise_for_status()
        return answer

    def limit_rate(self, requests):
        """Requests a second, for the whole server, until lift_rate_limit()."""
        self.root.write_data("sys/quotas/rate-limit/small", data={"rate": requests, "path": "", "interval": "1s"})

    def lift_rate_limit(self):
        """The quota may refuse its own removal, too."""
        wait_until(lambda: self.root.sys.adapter.delete("/v1/sys/quotas/rate-limit/small").status_code == 204, 20, "the quota is gone")

    def audit(self):
        """The audit log's entries so far."""
        return [json.loads(line) for line in self.audit_file.read_text().splitlines()]

    def write_key(self, api_key, base_url="https://api.holysheep.ai/v1"):
        """A new version of the seed's secret."""
        secret = {"api_key": api_key, "base_url": base_url}
        self.root.secrets.kv.v2.create_or_update_secret("holysheep", secret, mount_point="ai-apis")

    def seed(self, api_key="sk-holysheep-seed"):
        """What the user's article types by hand: engine, key, policy and AppRole."""
        self.root.sys.enable_secrets_engine("kv", path="ai-apis", options={"version": "2"})
        wait_until(lambda: self.write_key(api_key) or True, 10, "kv-v2 at ai-apis")  # a new kv-v2 mount is busy for a moment
        self.root.sys.create_or_update_policy("ai-api", '''
            path "ai-apis/data/*" { capabilities = ["read", "list"] }
            path "ai-apis/creds/ai-prod-role" { capabilities = ["read"] }
        ''')
        self.root.sys.enable_auth_method("approle")
        self.root.auth.approle.create_or_update_approle("ai-prod-role", token_ttl="1h", token_max_ttl="24h",
                                                        token_policies=["ai-api"])

    def trust(self, cluster):
        """Kubernetes authentication against `cluster`, and the role that the seed's workloads log in with."""
        account = "vault-reviewer"
        if not cluster.kubectl("get", "clusterrolebinding", account, "--ignore-not-found"):
            cluster.core.create_namespaced_service_account("kube-system", {"metadata": {"name": account}})
            cluster.kubectl("create", "clusterrolebinding", account, "--clusterrole=system:auth-delegator",
                            f"--serviceaccount=kube-system:{account}")
        self.root.sys.enable_auth_method("kubernetes")
        self.root.write_data("auth/kubernetes/config", data={
            "kubernetes_host": cluster.url, "kubernetes_ca_cert": cluster.ca.read_text(), "disable_local_ca_jwt": True,
            "token_reviewer_jwt": cluster.token("kube-system", account, audience=None, seconds=24 * 3600)})
        self.kubernetes_role("holysheep")

    def trust_operator(self, namespace, account="keyshepherd-vault", role="keyshepherd-operator", policy=None):
        """A role for the ServiceAccount that a VaultConnection of `namespace` logs in with."""
        self.root.sys.create_or_update_policy("keyshepherd-operator", policy or """
            path "sys/mounts*" { capabilities = ["create", "read", "update", "delete", "list"] }
            path "sys/auth*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }
            path "sys/policies/acl/*" { capabilities = ["create", "read", "update", "delete"] }
            path "auth/+/role/*" { capabilities = ["create", "read", "update", "delete", "list"] }
            path "auth/token/accessors" { capabilities = ["list", "sudo"] }
            path "auth/token/lookup-accessor" { capabilities = ["update"] }
            path "auth/token/revoke-accessor" { capabilities = ["update"] }
            path "identity/lookup/entity" { capabilities = ["update"] }
            path "identity/entity/id/*" { capabilities = ["read", "update"] }
            path "sys/policies/detailed/acl" { capabilities = ["list"] }
        """)
        self.root.write_data(f"auth/kubernetes/role/{role}", data={
            "bound_service_account_names": [account], "bound_service_account_namespaces": ["*"], "audience": "vault",
            "token_policies": ["keyshepherd-operator"], "token_ttl": "1h"})

    def kubernetes_role(self, name, **changes):
        self.root.write_data(f"auth/kubernetes/role/{name}", data={
            "bound_service_account_names": ["ai-app", "default"], "bound_service_account_namespaces": ["*"], "audience": "vault",
            "token_policies": ["ai-api"], "token_ttl": "1h"} | changes)

    def approle_credentials(self, role="ai-prod-role"):
        """role_id and a new secret_id, as the user would fetch them."""
        return {"role_id": self.root.auth.approle.read_role_id(role)["data"]["role_id"],
                "secret_id": self.root.auth.approle.generate_secret_id(role)["data"]["secret_id"]}

    def secret_id_accessors(self, role):
        """Of every secret-id of the role; [] where there is no role."""

        def listed():
            try:
                return {"keys": self.root.auth.approle.list_secret_id_accessors(role)["data"]["keys"]}
            except hvac.exceptions.InvalidPath:
                return {"keys": []}
            except hvac.exceptions.InternalServerError as error:
                # HashiCorp Vault says so of a list during which one of them is destroyed.
                if "storage entry for SecretID is present but no content found" not in str(error):
                    raise
                return None

        return wait_until(listed, 5, f"a list of the secret-ids of {role}")["keys"]

    def login_kubernetes(self, token, role="holysheep"):
        """A client that has logged in with the ServiceAccount's token."""
        client = self.client()
        client.auth.kubernetes.login(role=role, jwt=token)
        return client

    def login_approle(self, role_id, secret_id):
        client = self.client()
        client.auth.approle.login(role_id=role_id, secret_id=secret_id)
        return client

    def read_key(self, client):
        """The seed's secret as `client` may see it."""
        answer = client.secrets.kv.v2.read_secret_version("holysheep", mount_point="ai-apis", raise_on_deleted_version=True)
        return answer["data"]["data"]


# ---- Webhook -------------------------------------------------------------------------------------------------------------


def keyshepherd():
    """The program under test."""
    program = REPOSITORY / "build" / PRESET / "keyshepherd"
    if not program.exists():
        preset = program.parent.name
        raise FileNotFoundError(f"{program.relative_to(REPOSITORY)}: cmake --preset {preset} && cmake --build --preset {preset}")
    return [program]


# The image with keyshepherd-exec; nothing pulls it. The golden cases have the same (tests/support/settings.hpp).
IMAGE = "registry.example/keyshepherd:0.1.0"


class Webhook:
    """A running `keyshepherd webhook`. `flags` come over the defaults by name, without dashes; None takes one out, a list
    repeats it."""

    def __init__(self, folder, certificates, bao=None, flags=None, program=None, wait="/readyz"):
        self.folder, self.certificates, self._program = Path(folder), certificates, program or keyshepherd()
        self._wait = wait
        self.folder.mkdir(parents=True, exist_ok=True)
        self._flags = {
            "tls-cert-file": certificates.cert,
            "tls-key-file": certificates.key,
            "kubernetes-version": "1.37",
            "min-kubelet-version": "1.35",
            "vault-address": bao.address if bao else None,
            "vault-ca-file": bao.certificates.ca if bao else None,
            "image": IMAGE,
            "log-format": "json",
        } | (flags or {})
        self.http = session(certificates.ca)
        retry_on_lost_port(self._start)

    def _start(self):
        self.port, self.metrics_port = free_port(), free_port()
        command = [*self._program, "webhook"]
        listen = {"listen": f"127.0.0.1:{self.port}", "metrics-listen": f"127.0.0.1:{self.metrics_port}"}
        for name, value in (listen | self._flags).items():
            for one in value if isinstance(value, (list, tuple)) else [] if value is None else [value]:
                command += [f"--{name}={one}"]
        self.process = Process(command, self.folder / f"webhook-{self.port}.log")
        self.process.wait_ready(lambda: self.get(self._wait).status_code == 200, 20, "keyshepherd webhook")

    @property
    def base(self):
        return f"https://127.0.0.1:{self.port}"

    @property
    def url(self):
        """What goes into clientConfig.url."""
        return self.base + "/mutate"

    def get(self, path):
        return self.http.get(self.base + path, timeout=2)

    def ready(self):
        return self.get("/readyz").status_code == 200

    def metric(self, name):
        """The sum of the series that begin so."""
        lines = self.metrics().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def review(self, review):
        """Posts one AdmissionReview (object or bytes) as the API server would: the requests.Response."""
        body = review if isinstance(review, (str, bytes)) else json.dumps(review)
        return self.http.post(self.url, data=body, headers={"Content-Type": "application/json"}, timeout=10)

    def metrics(self):
        """The Prometheus text."""
        return session().get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5).text

    @property
    def log(self):
        return self.process.log

    def records(self):
        """The log, a dictionary a line."""
        return [json.loads(line) for line in self.log.splitlines()]

    def stop(self):
        """SIGTERM: the exit code, 0 when it drained."""
        return self.process.stop()


# ---- Operator ------------------------------------------------------------------------------------------------------------

GROUP = "keyshepherd.dev/v1alpha1"
PLURALS = {"VaultConnection": "vaultconnections", "VaultMount": "vaultmounts", "VaultPolicy": "vaultpolicies",
           "VaultAppRole": "vaultapproles", "VaultKubernetesRole": "vaultkubernetesroles",
           "VaultSecretID": "vaultsecretids", "AIProvider": "aiproviders"}


LOGIN_LABEL = {PREFIX + "vault-login": "true"}


def login_account(cluster, namespace, name="keyshepherd-vault", labels=LOGIN_LABEL):
    """A ServiceAccount that a VaultConnection of the namespace may log in as."""
    cluster.core.create_namespaced_service_account(namespace, {"metadata": {"name": name, "labels": dict(labels)}})


def custom(kind, namespace, own_name, /, **spec):
    """A custom resource that refers to the connection `main` of its own namespace, unless it says otherwise."""
    if kind not in ("VaultConnection", "VaultSecretID"):
        spec = {"connectionRef": {"name": "main"}} | spec
    return {"apiVersion": GROUP, "kind": kind, "metadata": {"name": own_name, "namespace": namespace}, "spec": spec}


def with_connections(folder, documents):
    """The documents but for the VaultConnections, and the flags that `plan` and `apply` need for these: --connections with a file of
    them, or --without-grants where there is none."""
    connections = [d for d in documents if d["kind"] == "VaultConnection"]
    if not connections:
        return documents, ["--without-grants"]
    file = Path(folder) / "connections.yaml"
    file.write_text(yaml.safe_dump_all(connections))
    return [d for d in documents if d["kind"] != "VaultConnection"], ["--connections", file]


def policy_rules(text):
    """Path → capabilities of a policy as `keyshepherd plan --policy-for-operator` prints it."""
    rules = {}
    for block in filter(None, text.split("}\n")):
        head, body = block.strip().split("\n")
        rules[head.split('"')[1]] = json.loads(body.split("=")[1])
    return rules


def install(cluster, account, rbac):
    """The definitions and one RBAC file of manifests/ (or its text), and the ServiceAccount that it is for; also over another of
    them."""
    cluster.kubectl("apply", "--server-side", "-f", REPOSITORY / "manifests" / "crds.yaml")
    for made in ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "keyshepherd"}},
                 {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": "keyshepherd"}}):
        cluster.kubectl("apply", "--server-side", "-f", "-", input=made)
    text = rbac if "\n" in rbac else (REPOSITORY / "manifests" / rbac).read_text()
    cluster.kubectl("apply", "-f", "-", input=text)
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")


def install_operator(cluster):
    install(cluster, "keyshepherd-operator", "rbac.yaml")


def account_kubeconfig(cluster, file, account, server=None, ca=None):
    """A kubeconfig with a token of a ServiceAccount of ours, and nothing more. `server` is another URL of the API server, `ca`
    what its certificate is signed by."""
    token = cluster.token("keyshepherd", account, audience=None, seconds=24 * 3600)
    file.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "keyshepherd"}}],
        "clusters": [{"name": "c", "cluster": {"server": server or cluster.url, "certificate-authority": str(ca or cluster.ca)}}],
        "users": [{"name": "u", "user": {"token": token}}]}))
    return file


class Operator:
    """A running `keyshepherd operator`, to the API server the ServiceAccount of manifests/rbac.yaml and nothing more.
    `server` is what it takes for the API server's URL. With `start=False` it is started by launch() or _start()."""

    LEASE = "/apis/coordination.k8s.io/v1/namespaces/keyshepherd/leases/keyshepherd-operator"

    def __init__(self, folder, cluster, bao, flags=None, server=None, environment=None, start=True, ca=None):
        self.folder, self.cluster, self.environment, self.process = Path(folder), cluster, environment or {}, None
        self.folder.mkdir(parents=True, exist_ok=True)
        self._flags = {"vault-address": bao.address, "namespace": "keyshepherd", "log-format": "json", "lease-seconds": 6,
                       "renew-seconds": 5, "retry-seconds": 1, "call-seconds": 5,
                       "issue-interval-seconds": 0} | (flags or {})
        self.kubeconfig = account_kubeconfig(cluster, self.folder / "kubeconfig", "keyshepherd-operator", server, ca)
        if start:
            retry_on_lost_port(self._start)

    def launch(self):
        """Starts it and waits for nothing: it may be about to die."""
        self.metrics_port = free_port()
        command = [*keyshepherd(), "operator", "--kubeconfig", self.kubeconfig, "--metrics-listen",
                   f"127.0.0.1:{self.metrics_port}"]
        for name, value in self._flags.items():
            for one in value if isinstance(value, (list, tuple)) else [value]:
                command += [f"--{name}={one}"]
        self.process = Process(command, self.folder / f"operator-{self.metrics_port}.log", self.environment)

    def _start(self):
        self.launch()
        self.process.wait_ready(self.ready, 20, "keyshepherd operator")

    def get(self, path):
        return session().get(f"http://127.0.0.1:{self.metrics_port}{path}", timeout=5)

    def ready(self):
        return self.get("/readyz").status_code == 200

    def metric(self, name):
        """The sum of the series that begin so."""
        lines = self.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    @property
    def leading(self):
        return self.metric("leader_election_master_status") == 1

    @property
    def log(self):
        return self.process.log

    def stop(self):
        return self.process.stop()

    def kill(self):
        """kill -9. Nobody wants to wait until its Lease has run out, so that is taken away: the next one leads at once."""
        self.process.popen.kill()
        self.process.popen.wait()
        self.cluster.request("DELETE", self.LEASE)


class Proxy:
    """TCP between a client and `target` (a port on loopback) that can be cut and mended.

    With `certificates` it ends TLS on both sides and sees the requests: the answer to the next one that contains `lose` is
    thrown away with its connection, and `lost` counts them. With `delay` the client is let down at once, and the request goes
    on to the server so many seconds later."""

    def __init__(self, target, certificates=None):
        self.target, self.cut_off = target, False
        self.lose, self.delay, self.lost = None, 0, 0
        self._server_side = self._client_side = None
        if certificates:
            self._server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._server_side.load_cert_chain(certificates.cert, certificates.key)
            self._client_side = ssl.create_default_context(cafile=certificates.ca)
        self._pairs = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client):
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
            if self._server_side:
                client = self._server_side.wrap_socket(client, server_side=True)
                server = self._client_side.wrap_socket(server, server_hostname="127.0.0.1")
        except OSError:
            return client.close()
        self._pairs.append((client, server))
        threading.Thread(target=self._pump, args=(server, client), daemon=True).start()
        self._pump(client, server)

    def _pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                while self.cut_off:  # swallowed by the network, and nobody is told
                    time.sleep(0.05)
                if self.lose and self.lose in data:
                    self.lose, self.lost = None, self.lost + 1
                    source.shutdown(socket.SHUT_RDWR)  # what answers is not heard any more
                    time.sleep(self.delay)
                    sink.sendall(data)
                    # Or the server would see that nobody is there before it begins: the other thread ends both on the answer.
                    wait_until(lambda: sink.fileno() < 0, 30, "the answer that is to be lost")
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # the other thread waits in recv: closing alone would tell nobody
            with contextlib.suppress(OSError):
                end.close()

    def close(self):
        self.cut_off = False
        self._listener.close()
        for pair in self._pairs:
            for end in pair:
                end.close()


class RefusingProxy:
    """TLS between a client, which trusts `certificates`, and `target`, whose certificate `ca` signed. `refuse(request)` may give an
    answer, which the client gets instead of the server's, or b"", which drops the connection; `refused` counts both."""

    def __init__(self, target, certificates, ca):
        self.target, self.refuse, self.refused = target, None, 0
        self._server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server_side.load_cert_chain(certificates.cert, certificates.key)
        self._client_side = ssl.create_default_context(cafile=ca)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._connect, args=(self._listener.accept()[0],), daemon=True).start()

    def _connect(self, client):
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self.target)) as server:
            self._relay(self._server_side.wrap_socket(client, server_side=True),
                        self._client_side.wrap_socket(server, server_hostname="127.0.0.1"))

    # In one thread: a TLS connection is nothing that two may use at once.
    def _relay(self, client, server):
        while True:
            for source, sink in ((client, server), (server, client)):
                source.settimeout(0)
                try:
                    data = source.recv(65536)
                except (ssl.SSLWantReadError, BlockingIOError):
                    continue
                finally:
                    source.settimeout(30)
                answer = self.refuse(data) if data and self.refuse and source is client else None
                self.refused += answer is not None
                if not data or answer == b"":
                    return
                (sink if answer is None else client).sendall(data if answer is None else answer)
                break
            else:
                select.select([client, server], [], [])

    def close(self):
        self._listener.close()


# ---- Agent ---------------------------------------------------------------------------------------------------------------


class Container:
    """What one container of an injected workload sees below /keyshepherd: its volumeMounts, bound as kubelet binds them, in a
    mount namespace of its own. `agent` renders into the volumes. A context manager: leaving it ends the namespace."""

    def __init__(self, folder, agent, container):
        self.name, root = container["name"], Path(folder) / container["name"]
        binds = []
        for mount in container.get("volumeMounts", []):
            source = agent.folder / mount["name"].removeprefix("keyshepherd-") / mount.get("subPath", "")
            target = root / mount["mountPath"].removeprefix("/")
            if mount["name"] == "keyshepherd-bin":  # which keyshepherd-install fills
                source.mkdir(exist_ok=True)
            target.mkdir(parents=True)
            binds.append(f"mount --bind -o ro {shlex.quote(str(source))} {shlex.quote(str(target))}")
        root.mkdir(exist_ok=True)
        script = "\n".join(["set -e", *binds, "echo bound", "exec sleep 600"])
        self.process = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
                                        stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "bound\n":
            raise RuntimeError(f"the mounts of {self.name} cannot be bound: this needs root")
        self.seen = Path(f"/proc/{self.process.pid}/root{root}/keyshepherd")

    def files(self):
        """Every file, by its path below /keyshepherd: its text."""
        return {str(path.relative_to(self.seen)): path.read_text() for path in self.seen.rglob("*") if path.is_file()}

    def stop(self):
        self.process.kill()
        self.process.communicate()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Agent:
    """`bao agent`, or `vault agent` beside a Vault server, with the configuration that a stored, injected workload carries, in a folder
    that stands for /keyshepherd.

    `files` go below it by name ("config/token", …); a CA in the annotation is put in place as the downward API would.
    `rendered` are the destinations of its templates. A context manager: leaving it ends the agent."""

    POD_PREFIX = "/keyshepherd/"

    def __init__(self, folder, tools, workload, files=None):
        self.folder = Path(folder)
        template = workload["spec"]["template"]
        annotations = template["metadata"]["annotations"]
        self.config = self._moved(json.loads(annotations[PREFIX + "agent-config"]))
        for part in ("config", "env", "home"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        if ca := annotations.get(PREFIX + "vault-ca"):
            self.put("config/ca.crt", ca)
        for name, content in (files or {}).items():
            self.put(name, content)
        file = self.put("config/agent.json", json.dumps(self.config))
        home = self.folder / "home"
        self.process = Process([server_program(tools), "agent", f"-config={file}"], self.folder / "agent.out",
                               {"HOME": str(home)} | self._moved(container_env(template)))

    def _moved(self, value):
        """`value` with every path below /keyshepherd/ moved into the folder."""
        if isinstance(value, dict):
            return {key: self._moved(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._moved(item) for item in value]
        if isinstance(value, str) and value.startswith(self.POD_PREFIX):
            return str(self.folder / value.removeprefix(self.POD_PREFIX))
        return value

    def put(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    @property
    def rendered(self):
        templates = self.config.get("template", [])
        return [Path(t["destination"]) for t in (templates if isinstance(templates, list) else [templates])]

    def wait(self, *files, seconds=20):
        """Until the files (default: every template's) are there and not empty: their paths."""
        paths = [self.folder / f for f in files] or self.rendered
        self.process.wait_until(lambda: all(p.exists() and p.stat().st_size for p in paths), seconds,
                                "agent renders " + ", ".join(str(p.relative_to(self.folder)) for p in paths))
        return paths

    @property
    def log(self):
        """What the agent said: its own log file where it has one, and its output."""
        own = self.folder / "home" / "agent.log"
        return (own.read_text(errors="replace") if own.exists() else "") + self.process.log

    def stop(self):
        return self.process.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def container_env(template, name="keyshepherd-agent"):
    """The literal environment of the container `name` of a pod template."""
    containers = template["spec"].get("initContainers", []) + template["spec"].get("containers", [])
    found = next((c for c in containers if c["name"] == name), {})
    return {entry["name"]: entry["value"] for entry in found.get("env", []) if "value" in entry}


def end_everything():
    """What an interrupted fixture could not end."""
    for process in Process.all:
        process.stop()
    for cluster in Cluster.all:
        cluster.down()


def end_on_sigterm():
    """Lets a terminated test run still take down what it started."""

    def interrupt(*_):
        raise KeyboardInterrupt("terminated")

    signal.signal(signal.SIGTERM, interrupt)
