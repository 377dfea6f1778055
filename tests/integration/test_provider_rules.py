"""What the installation allows to providers, on the real API server: the webhook and the operator say the same.

A tenant who may write AIProviders tries to get another workload's token: for an address of the tenant's own, for the API server's
audience, and under the name of a provider that the workload selects."""

import base64
import json

import pytest
import rig
from rig import wait_until

API_AUDIENCE = "https://kubernetes.default.svc"  # of hack/cluster.sh
HOSTILE = {"vault": {"address": "http://evil"}, "auth": {"audience": API_AUDIENCE}}


def provider(name, path, namespace=None, **spec):
    return {"apiVersion": rig.GROUP, "kind": "AIProvider" if namespace else "ClusterAIProvider",
            "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
            "spec": {"path": path, "variables": [{"name": "ACME_API_KEY", "key": "api_key"}]} | spec}


class Installation:
    """A webhook and an operator with the same flags."""

    def __init__(self, cluster, bao, certificates, folder, **flags):
        self.cluster, self.bao = cluster, bao
        rig.install(cluster, "keyshepherd-webhook", "webhook-rbac.yaml")
        rig.install_operator(cluster)
        folder.mkdir(parents=True, exist_ok=True)
        kubeconfig = rig.account_kubeconfig(cluster, folder / "kubeconfig", "keyshepherd-webhook")
        self.webhook = rig.Webhook(folder, certificates, bao, flags={"kubeconfig": kubeconfig} | flags)
        try:
            self.operator = rig.Operator(folder / "operator", cluster, bao, flags=flags)
        except BaseException:
            self.webhook.stop()
            raise
        self.made = []

    def apply(self, *objects):
        for one in objects:
            self.made.append(one)
            self.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=one)

    def delete(self, one):
        self.cluster.kubectl("delete", "-f", "-", "--ignore-not-found", input=one)

    def inject(self, namespace, name):
        """The webhook's answer on a Deployment: (whether it is allowed, its patch or message, its warnings)."""
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u", "operation": "CREATE", "name": "x", "namespace": namespace,
            "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
            "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
            "object": rig.seed_deployment(inject=name, plain=True)}}
        response = self.webhook.review(review).json()["response"]
        text = base64.b64decode(response["patch"]).decode() if response["allowed"] else response["status"]["message"]
        return response["allowed"], text, " ".join(response.get("warnings", []))

    def ready(self, namespace, name):
        """The operator's condition Ready of an AIProvider, or of a ClusterAIProvider where there is no namespace."""
        path = f"namespaces/{namespace}/aiproviders/{name}" if namespace else f"clusteraiproviders/{name}"
        conditions = self.cluster.get(f"/apis/{rig.GROUP}/{path}").get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == "Ready"), {})

    def wait_reason(self, namespace, name, reason):
        wait_until(lambda: self.ready(namespace, name).get("reason") == reason, 20, f"{name}: {reason}")
        return self.ready(namespace, name)

    def stop(self):
        for one in self.made:
            self.delete(one)
        assert self.webhook.stop() == 0 and self.operator.stop() == 0


@pytest.fixture(scope="module")
def installation(cluster, bao, certificates, tmp_path_factory):
    installation = Installation(cluster, bao, certificates, tmp_path_factory.mktemp("rules"),
                                **{"allowed-vault-address": ["https://*.vaults.example:8200", "http://plain.vaults.example:8200"]})
    yield installation
    installation.stop()


def test_a_tenants_aiprovider_gets_no_workload_of_a_clusters_provider(installation, namespace):
    shared, own = provider("shared", "ai-apis/data/everybody"), provider("shared", "ai-apis/data/own", namespace, **HOSTILE)
    installation.apply(shared, own)
    condition = installation.wait_reason(namespace, "shared", "NotAllowed")
    assert condition["status"] == "False"
    assert "spec.vault.address" in condition["message"] and "spec.auth.audience" in condition["message"]
    allowed, patch, warnings = wait_until(lambda: (r := installation.inject(namespace, "shared"))[2] and r, 5)
    assert allowed and "ai-apis/data/everybody" in patch and "evil" not in patch and API_AUDIENCE not in patch
    assert json.dumps(installation.bao.address)[1:-1] in patch
    assert f"ignored AIProvider shared in namespace {namespace}" in warnings
    # One that goes nowhere else still takes nobody's place.
    installation.apply(provider("shared", "ai-apis/data/own", namespace, vault={"address": installation.bao.address},
                                auth={"audience": "vault"}))
    condition = installation.wait_reason(namespace, "shared", "NameTaken")
    assert condition["status"] == "False" and "ClusterAIProvider shared" in condition["message"]
    allowed, patch, warnings = installation.inject(namespace, "shared")
    assert allowed and "ai-apis/data/everybody" in patch and "ignored AIProvider" in warnings
    # Its name is free again.
    installation.delete(shared)
    assert installation.wait_reason(namespace, "shared", "Declared")["status"] == "True"
    wait_until(lambda: "ai-apis/data/own" in installation.inject(namespace, "shared")[1], 5)
    installation.apply(shared)
    installation.wait_reason(namespace, "shared", "NameTaken")


def test_nor_one_of_the_built_in_provider(installation, namespace):
    installation.apply(provider("holysheep", "ai-apis/data/own", namespace))
    assert "the built-in provider" in installation.wait_reason(namespace, "holysheep", "NameTaken")["message"]
    allowed, patch, warnings = wait_until(lambda: (r := installation.inject(namespace, "true"))[2] and r, 5)
    assert allowed and "ai-apis/data/holysheep" in patch and "the built-in provider has the same name" in warnings


@pytest.mark.parametrize("spec, field", [
    ({"vault": {"address": "http://evil"}}, "spec.vault.address"),
    ({"vault": {"address": "https://evil:8200"}}, "spec.vault.address"),
    ({"vault": {"address": "https://a.b.vaults.example:8200"}}, "spec.vault.address"),
    ({"vault": {"address": "http://eu.vaults.example:8200"}}, "spec.vault.address"),
    ({"auth": {"audience": API_AUDIENCE}}, "spec.auth.audience"),
    ({"auth": {"audience": "other"}}, "spec.auth.audience"),
    ({"vault": {"address": "https://eu.vaults.example:8200"}}, None),
    ({"vault": {"address": "http://PLAIN.vaults.example:8200"}}, None),
    ({"auth": {"audience": "vault", "role": "r"}}, None)])
@pytest.mark.parametrize("kind", ["AIProvider", "ClusterAIProvider", "an override"])
def test_the_webhook_and_the_operator_say_the_same(installation, namespace, kind, spec, field):
    own = namespace if kind == "AIProvider" else None
    name = f"one-{namespace}"
    if kind == "an override":
        spec = {"overrides": [spec | {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}]}
        field = field and "spec.overrides[0]" + field.removeprefix("spec")
    installation.apply(provider(name, "ai-apis/data/x", own, **spec))
    condition = installation.wait_reason(own, name, "NotAllowed" if field else "Declared")
    allowed, said, _ = wait_until(lambda: (r := installation.inject(namespace, name)) and "not found" not in r[1] and r, 5)
    assert allowed == (field is None), said
    if field:
        assert field in condition["message"] and field in said and "this installation" in said
    installation.delete(installation.made.pop())


def test_an_audience_of_the_api_server_is_no_setting(cluster, bao, certificates, tmp_path):
    for started in (lambda f: rig.Webhook(tmp_path / "w", certificates, bao, flags=f | {"kubeconfig": kubeconfig}),
                    lambda f: rig.Operator(tmp_path / "o", cluster, bao, flags=f)):
        rig.install(cluster, "keyshepherd-webhook", "webhook-rbac.yaml")
        rig.install_operator(cluster)
        kubeconfig = rig.account_kubeconfig(cluster, tmp_path / "kubeconfig", "keyshepherd-webhook")
        with pytest.raises(ChildProcessError, match=f"--allowed-token-audience: {API_AUDIENCE} is an audience of the API server"):
            started({"allowed-token-audience": ["vault", API_AUDIENCE]})
    with pytest.raises(ChildProcessError, match=f"--token-audience: {API_AUDIENCE} is an audience of the API server"):
        rig.Operator(tmp_path / "o", cluster, bao, flags={"token-audience": API_AUDIENCE})


def test_a_pattern_that_a_tenant_can_match_is_warned_of(cluster, bao, certificates, tmp_path):
    installation = Installation(cluster, bao, certificates, tmp_path, **{"allowed-vault-address": [
        "https://*.svc:8200", "https://vault.*.svc:8200", "http://*", "https://*.vault.svc:8200"]})
    try:
        for log in (installation.webhook.log, installation.operator.log):
            warned = [r for r in map(json.loads, log.splitlines()) if r["msg"] == "a tenant may control an allowed Vault address"]
            assert {r["address"] for r in warned} == {"https://*.svc:8200", "https://vault.*.svc:8200", "http://*"}
            assert all(r["level"] == "warn" and ("use a name of at least three labels" in r["reason"] or "write the namespace out" in r["reason"]) for r in warned)
    finally:
        installation.stop()


def test_where_it_may_the_namespaces_own_takes_the_place(installation, cluster, bao, certificates, tmp_path, namespaces):
    installation.operator.stop()  # the next one leads
    own, other = namespaces(), namespaces()
    installation = Installation(cluster, bao, certificates, tmp_path, **{"allow-provider-shadowing": "true"})
    try:
        installation.apply(provider("over", "ai-apis/data/everybody"), provider("over", "ai-apis/data/own", own))
        wait_until(lambda: "ai-apis/data/own" in installation.inject(own, "over")[1], 5)
        assert installation.inject(own, "over")[2] == "" and "ai-apis/data/everybody" in installation.inject(other, "over")[1]
        assert installation.wait_reason(own, "over", "Declared")["status"] == "True"
    finally:
        installation.stop()
