"""README.md as a new user follows it: its own commands, in their order, against a kube-apiserver and OpenBao of their own.

    ```sh        is run, one command after the other, in one shell environment
    ```yaml      is saved under the name in its first line, `# NAME.yaml`
    <!-- not run by tests/integration/test_readme.py: REASON -->   keeps the ```sh block behind it from being run

`keyshepherd webhook` and `keyshepherd operator` are started and left running. Nothing of README stands here a second time: PLACES says
what a reader replaces by values of their own, CHECKS what a command has to lead to.
"""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import warnings

import pytest
import requests
import rig
import yaml
from rig import wait_until

README = rig.REPOSITORY / "README.md"
NOT_RUN = re.compile(r"<!-- not run by tests/integration/test_readme\.py: (.+) -->")
PROGRAMS = ("kubectl", "keyshepherd", "bao", "vault", "cp", "cat", "export", "hack/", "./hack/", "cmake", "ctest")
SAMPLE_CA = "    -----BEGIN CERTIFICATE-----\n    …\n    -----END CERTIFICATE-----\n"


@dataclasses.dataclass
class Block:
    line: int
    language: str
    text: str
    skipped: str  # why it is not run; "": it is

    def commands(self):
        """Each command with its continuation lines."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        return [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def blocks(text):
    """The fenced blocks. Commands outside of one are an error: they would never be run."""
    found, reason, lines = [], "", text.splitlines()
    at = 0
    while at < len(lines):
        line = lines[at]
        if fence := re.fullmatch(r"( *)```(\w*)", line):
            end = next(i for i in range(at + 1, len(lines)) if lines[i] == fence[1] + "```")
            assert fence[2] in ("sh", "yaml", "text", "hcl"), f"README.md:{at + 1}: {line}: give the block one of these languages"
            body = "\n".join(each.removeprefix(fence[1]) for each in lines[at + 1:end])
            found.append(Block(at + 1, fence[2], body, reason))
            assert not (reason and fence[2] != "sh"), f"README.md:{at}: only a block of commands can be kept from being run"
            reason, at = "", end
        else:
            code = line.startswith("    ") and line.strip().startswith(PROGRAMS)
            assert not code, f"README.md:{at + 1}: a command outside of a ```sh block: {line}"
            said = NOT_RUN.fullmatch(line.strip())
            assert said or "not run" not in line or "<!--" not in line, f"README.md:{at + 1}: cannot be read: {line}"
            assert not reason, f"README.md:{at + 1}: no block behind the comment before it"
            reason = said[1] if said else ""
        at += 1
    return found


def kubeconfig_of(cluster, file, account):
    """Of a ServiceAccount, in a context whose namespace is one that a person happens to work in."""
    rig.account_kubeconfig(cluster, file, account)
    config = json.loads(file.read_text())
    config["contexts"][0]["context"]["namespace"] = "default"
    file.write_text(json.dumps(config))
    return file


class Reader:
    """A new user with a cluster, a Vault, an application, and a folder in which README's commands run."""

    def __init__(self, folder, cluster, bao, certificates):
        self.folder, self.cluster, self.bao, self.certificates = folder, cluster, bao, certificates
        self.state = folder / ".state"
        self.servers, self.run_, self.skipped, self.checked = {}, [], [], set()
        self.webhook_port = rig.free_port()
        self.places = {
            "https://vault.vault.svc:8200": bao.address,
            "kubernetes_host=https://kubernetes.default.svc": " ".join([
                f"kubernetes_host={cluster.url}", f"kubernetes_ca_cert=@{cluster.ca}", "disable_local_ca_jwt=true",
                f"token_reviewer_jwt=@{self.reviewer()}"]),
            "/var/lib/app/vault": str(folder / "var/lib/app/vault"),
            SAMPLE_CA: "".join(f"    {line}\n" for line in bao.certificates.ca_pem.splitlines()),
        }
        self.used = dict.fromkeys(self.places, 0)
        self.prepare()

    def reviewer(self):
        self.cluster.core.create_namespaced_service_account("kube-system", {"metadata": {"name": "reviewer"}})
        self.cluster.kubectl("create", "clusterrolebinding", "reviewer", "--clusterrole=system:auth-delegator",
                             "--serviceaccount=kube-system:reviewer")
        file = self.folder / "reviewer.jwt"
        file.write_text(self.cluster.token("kube-system", "reviewer", audience=None))
        return file

    def prepare(self):
        """What README takes for granted, and the edits of files that it asks for."""
        programs = self.folder / "bin"
        programs.mkdir()
        (programs / "keyshepherd").symlink_to(rig.keyshepherd()[0])
        (programs / "kubectl").symlink_to(self.cluster.tools / "kubectl")
        (programs / "bao").symlink_to(self.bao.program)  # HashiCorp's command line takes the same commands
        environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": self.folder, "KUBECONFIG": self.cluster.kubeconfig,
                       "VAULT_TOKEN": self.bao.root_token, "VAULT_CACERT": self.bao.certificates.ca}
        self.state.write_text("".join(f"export {name}='{value}'\n" for name, value in environment.items()))
        shutil.copytree(rig.REPOSITORY / "manifests", self.folder / "manifests")
        for sample in (self.folder / "manifests" / "samples").iterdir():
            sample.write_text(self.with_places(sample.read_text()))
        webhook = self.folder / "manifests" / "webhook.yaml"
        configuration = yaml.safe_load(webhook.read_text())
        for hook in configuration["webhooks"]:
            hook["clientConfig"] = rig.client_config(f"https://127.0.0.1:{self.webhook_port}/mutate", self.certificates.ca_pem)
        webhook.write_text(yaml.safe_dump(configuration))
        for name, source in (("tls.crt", self.certificates.cert), ("tls.key", self.certificates.key),
                             ("vault-ca.crt", self.bao.certificates.ca)):
            shutil.copy(source, self.folder / name)
        (self.folder / "deployment.yaml").write_text(yaml.safe_dump(rig.seed_deployment(on_conflict="replace")))
        self.cluster.kubectl("create", "deployment", "ai-application", "--image=your-app", "-n", "default")

    def with_places(self, text):
        for place, value in self.places.items():
            self.used[place] += text.count(place)
            text = text.replace(place, value)
        return text

    def follow(self, block):
        if block.language == "yaml":
            first = block.text.splitlines()[0]
            name = re.fullmatch(r"# ([a-z-]+\.yaml)", first)
            assert name, f"README.md:{block.line}: the first line of a ```yaml block is its name, # NAME.yaml"
            (self.folder / name[1]).write_text(self.with_places(block.text) + "\n")
        if block.language != "sh":
            return
        for command in block.commands():
            if block.skipped:
                self.skipped.append(f"README.md:{block.line}: {command.strip()}: {block.skipped}")
            else:
                self.run(command, f"README.md:{block.line}: {command}")

    def run(self, command, where):
        self.run_.append(command)
        mine = self.with_places(command)
        server = re.match(r"keyshepherd (webhook|operator)\b", mine)
        output = self.serve(server[1], mine) if server else self.shell(mine, where)
        for prefix, check in CHECKS.items():
            if command.startswith(prefix):
                self.checked.add(prefix)
                check(self, output, command)

    def shell(self, command, where):
        script = f"set -euo pipefail\n. {self.state}\n{command}\nexport -p >{self.state}"
        done = subprocess.run(["bash", "-c", script], cwd=self.folder, capture_output=True, text=True, timeout=120, env={})
        # `plan` tells of a difference by its exit code.
        allowed = (0, 2) if command.startswith("keyshepherd plan ") and "|" not in command else (0,)
        assert done.returncode in allowed, f"{where}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def serve(self, name, command):
        """Instead of a pod: with the credentials of its ServiceAccount, and free ports."""
        if earlier := self.servers.pop(name, None):
            assert earlier.stop() == 0, earlier.log[-2000:]
        port = rig.free_port()
        account = kubeconfig_of(self.cluster, self.folder / f"{name}.kubeconfig", f"keyshepherd-{name}")
        own = {"KEYSHEPHERD_KUBECONFIG": str(account), "KEYSHEPHERD_METRICS_LISTEN": f"127.0.0.1:{port}"}
        if name == "webhook":
            own["KEYSHEPHERD_LISTEN"] = f"127.0.0.1:{self.webhook_port}"
        process = rig.Process(["bash", "-c", f"cd {self.folder}; . {self.state}; exec {command}"], self.folder / f"{name}-{port}.log", own)
        self.servers[name] = process
        if name == "webhook":
            ready = lambda: rig.session(self.certificates.ca).get(
                f"https://127.0.0.1:{self.webhook_port}/readyz", timeout=2).status_code == 200
        else:
            ready = lambda: requests.get(f"http://127.0.0.1:{port}/readyz", timeout=2).status_code == 200
        process.wait_ready(ready, 30, command)
        return process.log

    def get(self, what, name, namespace=None):
        where = ["-n", namespace] if namespace else []
        return json.loads(self.cluster.kubectl("get", what, name, *where, "-o", "json"))

    def ready(self, what, name, namespace, reason, seconds=60):
        """The condition Ready, as soon as it has the reason."""
        def there():
            conditions = self.get(what, name, namespace).get("status", {}).get("conditions", [])
            return next((c for c in conditions if c["type"] == "Ready" and c["reason"] == reason), None)
        try:
            return wait_until(there, seconds, f"{what} {name}: {reason}", every=0.3)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self.get(what, name, namespace).get('status')}") from None


# ---- what commands have to lead to ------------------------------------------------------------------------------------------------


def lease_is_found(reader, output, command):
    path = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/keyshepherd-operator"
    holder = wait_until(lambda: reader.cluster.get(path.format("keyshepherd"))["spec"].get("holderIdentity"), 30, "a leader")
    assert holder
    assert reader.cluster.request("GET", path.format("default")).status_code == 404


def application_is_injected(reader, output, command):
    """The application team's Deployment comes with its namespace."""
    deployment = rig.seed_deployment(on_conflict="replace")
    deployment["spec"]["template"]["spec"]["serviceAccountName"] = "default"
    deployment["spec"]["template"]["spec"]["containers"][0]["command"] = ["app"]
    reader.cluster.kubectl("apply", "-n", "ai", "-f", "-", input=deployment)
    assert rig.PREFIX + "agent-config" in reader.cluster.deployment("ai")["spec"]["template"]["metadata"]["annotations"]


def adoption_is_refused(reader, output, command):
    told = reader.ready("vaultpolicy", "ai-api", "ai", "AdoptionRefused")
    assert "set adoptionPolicy: IfEqual" in told["message"], told


def rotates(reader, output, command):
    assert "annotated" in reader.shell(reader.with_places(command), command)  # a second time, as a reader does some day

    def done():
        found = reader.get("vaultsecretid", "ai-application", "ai")
        return found["status"].get("rotatedFor") == found["metadata"]["annotations"][rig.PREFIX + "rotate-now"]

    wait_until(done, 90, "the secret-id is replaced", every=0.3)


def brake_is_pulled(reader, output, command):
    reader.ready("vaultapprole", "ai-prod-role", "ai", "CutOff")
    wait_until(lambda: not reader.bao.root.list("auth/approle/role/ai-prod-role/secret-id"), 30, "every secret-id is destroyed")


def brake_is_let_go(reader, output, command):
    reader.ready("vaultapprole", "ai-prod-role", "ai", "Reconciled")
    wait_until(lambda: reader.bao.root.list("auth/approle/role/ai-prod-role/secret-id"), 60, "a new secret-id")


def new_key_is_seen(reader, output, command):
    """The second time that a key is written; the first is behind `apply`, before there is an operator."""
    if "sk-second" not in command:
        return
    reader.cluster.kubectl("annotate", "--overwrite", "clusteraiprovider", "holysheep", f"{rig.PREFIX}reconcile-at=now")
    wait_until(lambda: reader.get("clusteraiprovider", "holysheep")["status"].get("keyVersion") == 2, 90, "version 2")
    rolled = lambda: reader.cluster.deployment("ai")["spec"]["template"]["metadata"]["annotations"].get(
        "rotation.keyshepherd.dev/holysheep", "").startswith("2")
    wait_until(rolled, 90, "the workload is rolled")


def output_has(*texts):
    def check(reader, output, command):
        for text in texts:
            assert text in output, f"{command}\n{output}"
    return check


CHECKS = {
    "keyshepherd inject -f deployment.yaml --diff": output_has("+", "keyshepherd-agent"),
    "keyshepherd plan --connections connection.yaml -f holysheep.yaml ": output_has("4 to create"),
    "keyshepherd apply --connections connection.yaml -f holysheep.yaml ": output_has("created"),
    "bao kv put ": new_key_is_seen,
    "cat /var/lib/app/vault/": output_has("-"),
    "keyshepherd operator ": lease_is_found,
    "kubectl create namespace ai ": application_is_injected,
    "kubectl apply -f holysheep.yaml": adoption_is_refused,
    "kubectl explain ": output_has("DESCRIPTION", "tokenTTL\t<string>"),
    "kubectl annotate vaultpolicy ai-api -n ai keyshepherd.dev/paused=true": lambda reader, *_: reader.ready(
        "vaultpolicy", "ai-api", "ai", "Paused"),
    "kubectl annotate vaultpolicy ai-api -n ai keyshepherd.dev/paused- ": lambda reader, *_: reader.ready(
        "vaultpolicy", "ai-api", "ai", "Reconciled"),
    "kubectl annotate --overwrite vaultsecretid ai-application -n ai keyshepherd.dev/rotate-now=": rotates,
    "kubectl annotate --overwrite vaultapprole ai-prod-role -n ai keyshepherd.dev/cut-off=true": brake_is_pulled,
    "kubectl annotate vaultapprole ai-prod-role -n ai keyshepherd.dev/cut-off-": brake_is_let_go,
}


@pytest.fixture(scope="module")
def reader(tools, tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    certificates = rig.Certificates(folder / "certificates")
    cluster = rig.Cluster(folder / "cluster", tools)
    bao = reader = None
    try:
        bao = rig.Bao(folder / "bao", tools, certificates)
        work = folder / "work"
        work.mkdir()
        reader = Reader(work, cluster, bao, certificates)
        yield reader
    finally:
        for process in reader.servers.values() if reader else ():
            process.stop()
        if bao:
            bao.stop()
        cluster.down()


@pytest.mark.timeout(600)
def test_every_command_of_readme_works_in_the_order_in_which_it_stands(reader):
    for block in blocks(README.read_text()):
        reader.follow(block)
    for line in reader.skipped:
        warnings.warn(f"not run: {line}", stacklevel=1)
    rig.closing_lines.append(f"README.md: {len(reader.run_)} commands run, {len(reader.skipped)} not run")
    assert len(reader.run_) > 5 * len(reader.skipped), reader.skipped
    assert reader.checked == set(CHECKS), f"README no longer has these commands: {set(CHECKS) - reader.checked}"
    assert all(reader.used.values()), f"README and the samples no longer have these: {reader.used}"
    for name, process in reader.servers.items():
        assert process.alive, f"{name}: {process.log[-2000:]}"
        assert reader.bao.root_token not in process.log


def anchors(page):
    """The anchors that a hosting platform gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


PAGES = [path for path in [*rig.REPOSITORY.glob("*.md"), *rig.REPOSITORY.glob("docs/*.md"), rig.REPOSITORY / "src/README.md"] if path.exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(rig.REPOSITORY)))
def test_links_lead_to_a_page_and_a_heading(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        linked = page.parent / file if file else page
        assert linked.exists(), f"{page.name}: {target}: no such file"
        assert not anchor or anchor in anchors(linked), f"{page.name}: {target}: no such heading"


@pytest.mark.parametrize("page", [page for page in PAGES if page != README], ids=lambda page: str(page.relative_to(rig.REPOSITORY)))
def test_only_readme_has_blocks_of_commands(page):
    """Its commands are run; those of another page would not be."""
    assert "```sh" not in page.read_text()


def test_a_connection_without_the_ca_says_what_to_set(reader):
    """Behind the other test: the operator runs."""
    for name, change, reason, way in (
            ("no-ca", {"ca": None}, "CertificateNotTrusted", "set spec.ca of the VaultConnection"),
            ("other-name", {"tlsServerName": "vault.example"}, "CertificateNotTrusted", "set spec.tlsServerName of the VaultConnection"),
            ("no-method", {"auth": {"kubernetes": {"mount": "elsewhere", "role": "keyshepherd-operator",
                                                   "serviceAccountName": "keyshepherd-vault"}}},
             "AuthFailed", "check that an auth method is enabled at auth/elsewhere")):
        connection = reader.get("vaultconnection", "main", "platform-vault")
        spec = {key: value for key, value in (connection["spec"] | change).items() if value is not None}
        reader.cluster.kubectl("apply", "-f", "-", input={
            "apiVersion": rig.GROUP, "kind": "VaultConnection", "metadata": {"name": name, "namespace": "platform-vault"}, "spec": spec})
        told = reader.ready("vaultconnection", name, "platform-vault", reason)
        assert told["status"] == "False" and way in told["message"] and "Vault is unavailable" not in told["message"], told


def test_plan_without_the_ca_names_the_flag(reader):
    command = [*rig.keyshepherd(), "plan", "--connections", "connection.yaml", "-f", "holysheep.yaml", "--vault-address", reader.bao.address]
    for more, flag in (([], "--vault-ca-file"),
                       (["--vault-ca-file", reader.bao.certificates.ca, "--vault-tls-server-name", "vault.example"], "--vault-tls-server-name")):
        done = subprocess.run([*command, *more], cwd=reader.folder, capture_output=True, text=True, env={"VAULT_TOKEN": "x"})
        assert done.returncode == 1 and "certificate verify failed" in done.stderr and flag in done.stderr, done.stderr


def test_the_api_server_refuses_in_words(reader):
    """Beside its regular expression, which is all that a pattern of a schema shows."""
    policy = {"apiVersion": rig.GROUP, "kind": "VaultPolicy", "metadata": {"name": "x", "namespace": "ai"}, "spec": {
        "connectionRef": {"name": "main"}, "name": "UP", "resyncPeriod": "soon", "rules": [{"path": "/x", "capabilities": ["read"]}]}}
    refused = reader.cluster.kubectl("apply", "-f", "-", input=policy, check=False).stderr
    for words in ("must be the name of a policy", "must be a duration such as 90s", "must be a Vault policy path such as ai-apis/data/*: no '/' at the start"):
        assert words in refused, refused


def described(schema, path, faults):
    """Collects fields below `path` that `kubectl explain` has no text or no type for."""
    for name, of in schema.get("properties", {}).items():
        place = f"{path}.{name}"
        if not of.get("description"):
            faults.append(f"{place}: no description")
        if "type" not in of and "allOf" not in of and "$ref" not in of:
            faults.append(f"{place}: no type")
        described(of, place, faults)
        described(of.get("items", {}), place, faults)


def test_explain_has_a_text_and_a_type_for_every_field(reader):
    found = reader.cluster.get(f"/openapi/v3/apis/{rig.GROUP}")["components"]["schemas"]
    faults, kinds = [], 0
    for schema in found.values():
        properties = schema.get("properties", {})
        if "spec" in properties:
            kinds += 1
            described({"properties": {name: properties[name] for name in ("spec", "status")}},
                      schema["x-kubernetes-group-version-kind"][0]["kind"], faults)
    assert kinds == 8 and not faults, faults
