"""AIProvider and ClusterAIProvider on the real API server: the webhook watches them with the rights of manifests/ and no more."""

import base64
import copy
import subprocess
import threading
import time
from urllib.parse import urlsplit

import pytest
import rig
import yaml
from rig import wait_until

CLUSTER = f"/apis/{rig.GROUP}/clusteraiproviders"


@pytest.fixture(scope="module")
def installed(cluster):
    rig.install(cluster, "keyshepherd-webhook", "webhook-rbac.yaml")
    return cluster


@pytest.fixture(scope="module")
def proxy(installed):
    """Between the webhook and the API server, to be cut."""
    proxy = rig.Proxy(urlsplit(installed.url).port)
    yield proxy
    proxy.close()


def start(cluster, certificates, folder, proxy, **more):
    folder.mkdir(parents=True, exist_ok=True)
    kubeconfig = rig.account_kubeconfig(cluster, folder / "kubeconfig", "keyshepherd-webhook", f"https://127.0.0.1:{proxy.port}")
    return rig.Webhook(folder, certificates, flags={"kubeconfig": kubeconfig, "vault-address": "https://vault.example:8200"}, **more)


@pytest.fixture(scope="module")
def watching(installed, certificates, proxy, tmp_path_factory):
    """A webhook that watches, and that the API server asks."""
    webhook = start(installed, certificates, tmp_path_factory.mktemp("watching"), proxy)
    installed.install_webhook(webhook.url, certificates.ca_pem)
    yield webhook
    installed.remove_webhook()
    assert webhook.process.alive, webhook.log[-3000:]
    assert webhook.stop() == 0, webhook.log[-2000:]
    assert "eyJhbGciOi" not in webhook.log


def provider(name, path="ai-apis/data/acme", namespace=None, **spec):
    return {"apiVersion": rig.GROUP, "kind": "AIProvider" if namespace else "ClusterAIProvider",
            "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
            "spec": {"path": path, "variables": [{"name": "ACME_API_KEY", "key": "api_key"}]} | spec}


@pytest.fixture
def apply(installed):
    """apply(provider…): stored, and deleted at the end of the test."""
    made = []

    def apply_(*objects):
        for one in objects:
            made.append(one)
            installed.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=one)

    yield apply_
    for one in made:
        installed.kubectl("delete", "-f", "-", "--ignore-not-found", input=one)


def deployment(inject, name="ai-application"):
    manifest = rig.seed_deployment(inject=inject, plain=True)
    manifest["metadata"]["name"] = name
    return manifest


def post(cluster, namespace, inject, **query):
    """A dry run of a Deployment's creation: the requests.Response."""
    return cluster.request("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments?dryRun=All", deployment(inject))


def agent_config(response):
    assert response.status_code == 201, response.text
    return response.json()["spec"]["template"]["metadata"]["annotations"]["keyshepherd.dev/agent-config"]


def labelled(cluster, prefix, **labels):
    name = f"{prefix}-{time.monotonic_ns()}"
    cluster.core.create_namespace({"metadata": {"name": name, "labels": labels}})
    return name


# ---- rights and readiness ------------------------------------------------------------------------------------------------


def test_the_webhook_may_read_providers_and_namespaces_and_nothing_else(installed):
    roles = [d for d in yaml.safe_load_all((rig.REPOSITORY / "manifests" / "webhook-rbac.yaml").read_text()) if d]
    assert [d["kind"] for d in roles] == ["ClusterRole", "ClusterRoleBinding"]
    read = ["get", "list", "watch"]
    assert roles[0]["rules"] == [{"apiGroups": ["keyshepherd.dev"], "resources": ["aiproviders", "clusteraiproviders"], "verbs": read},
                                 {"apiGroups": [""], "resources": ["namespaces"], "verbs": read}]
    # And as the API server counts: beside what every account may.
    token = installed.token("keyshepherd", "keyshepherd-webhook", audience=None)
    review = rig.session(installed.ca).post(
        installed.url + "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", timeout=10,
        headers={"Authorization": f"Bearer {token}"}, json={"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
                                                            "spec": {"namespace": "kube-system"}})
    assert review.status_code == 201, review.text
    found = {(group, resource, verb) for rule in review.json()["status"]["resourceRules"] for group in rule["apiGroups"]
             for resource in rule["resources"] for verb in rule["verbs"]}
    of_everybody = {"selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"}
    assert {one for one in found if one[1] not in of_everybody and not one[0].endswith("certificates.k8s.io")} == {
        (group, resource, verb) for group, resource in
        (("keyshepherd.dev", "aiproviders"), ("keyshepherd.dev", "clusteraiproviders"), ("", "namespaces")) for verb in read}


def test_is_not_ready_and_refuses_before_all_was_read(installed, certificates, tmp_path):
    cut = rig.Proxy(urlsplit(installed.url).port)
    cut.cut_off = True
    webhook = start(installed, certificates, tmp_path, cut, wait="/healthz")
    try:
        ready = webhook.get("/readyz")
        assert ready.status_code == 503
        assert ready.text == "waiting for the initial list of aiproviders, clusteraiproviders, namespaces\n"
        review = webhook.review({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"})
        assert review.status_code == 503, "failurePolicy decides, and no built-in provider"
        cut.cut_off = False
        wait_until(webhook.ready, 10, "ready")
        assert any(record["msg"] == "initial list of providers complete" for record in webhook.records())
    finally:
        cut.close()
        assert webhook.stop() == 0, webhook.log[-2000:]


def test_without_rights_it_says_so_and_is_not_ready(installed, certificates, tmp_path):
    installed.kubectl("apply", "--server-side", "-f", "-", input={
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody", "namespace": "keyshepherd"}})
    kubeconfig = rig.account_kubeconfig(installed, tmp_path / "kubeconfig", "nobody")
    webhook = rig.Webhook(tmp_path, certificates, flags={"kubeconfig": kubeconfig}, wait="/healthz")
    try:
        wait_until(lambda: "clusteraiproviders (" in webhook.get("/readyz").text, 10)
        assert webhook.get("/readyz").status_code == 503 and "Forbidden" in webhook.get("/readyz").text
        assert webhook.metric("keyshepherd_watches_failing") == 3
    finally:
        assert webhook.stop() == 0


# ---- who wins ------------------------------------------------------------------------------------------------------------


def test_a_new_provider_is_used_by_the_next_workload(installed, watching, apply, namespace):
    unknown = post(installed, namespace, "acme")
    assert unknown.status_code == 422 and 'provider \\"acme\\" not found; available providers: holysheep' in unknown.text
    for turn in range(10):  # no pause between the two: the watch may still be on its way
        name, path = f"acme-{turn}", f"ai-apis/data/acme-{turn}"
        created = installed.request("POST", CLUSTER, provider(name, path))
        assert created.status_code == 201, created.text
        assert path in agent_config(post(installed, namespace, name))
        assert installed.request("DELETE", f"{CLUSTER}/{name}").status_code == 200
    gone = wait_until(lambda: (r := post(installed, namespace, "acme-9")).status_code == 422 and r.text, 10)
    assert "not found" in gone


def test_a_changed_provider_is_used_and_its_status_changes_nothing(installed, watching, apply, namespace):
    apply(provider("acme", "ai-apis/data/one"))
    assert "ai-apis/data/one" in agent_config(post(installed, namespace, "acme"))
    apply(provider("acme", "ai-apis/data/two"))
    wait_until(lambda: "ai-apis/data/two" in agent_config(post(installed, namespace, "acme")), 5)
    taken = len([r for r in watching.records() if r["msg"] == "provider loaded"])
    status = {"status": {"keyVersion": 3, "users": 2, "stale": 0, "skipped": 1, "conditions": [
        {"type": "Ready", "status": "True", "reason": "X", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}
    done = installed.request("PATCH", f"{CLUSTER}/acme/status", status, "application/merge-patch+json")
    assert done.status_code == 200 and done.json()["status"]["keyVersion"] == 3, done.text
    table = installed.kubectl("get", "caip")
    assert all(word in table for word in ("READY", "REASON", "PATH", "KEY", "USERS", "ai-apis/data/two")), table
    agent_config(post(installed, namespace, "acme"))
    assert len([r for r in watching.records() if r["msg"] == "provider loaded"]) == taken


def test_the_built_in_is_there_until_a_provider_of_its_name_is(installed, watching, apply, namespace):
    assert "ai-apis/data/holysheep" in agent_config(post(installed, namespace, "true"))
    made = provider("holysheep", "ai-apis/data/mine")
    apply(made)
    wait_until(lambda: "ai-apis/data/mine" in agent_config(post(installed, namespace, "true")), 5)
    installed.kubectl("delete", "caip", "holysheep")
    wait_until(lambda: "ai-apis/data/holysheep" in agent_config(post(installed, namespace, "true")), 5)


def test_a_provider_with_faults_refuses_its_workloads_and_no_other(installed, watching, apply, namespace):
    apply(provider("holysheep", "ai-apis/data/mine"), provider("acme"))
    wait_until(lambda: "ai-apis/data/mine" in agent_config(post(installed, namespace, "holysheep")), 5)
    # What the definition's patterns let pass: that this is no IPv6 address no schema can say.
    apply(provider("holysheep", "ai-apis/data/mine", vault={"address": "https://[:::]"}))
    refused = wait_until(lambda: (r := post(installed, namespace, "holysheep")).status_code == 422 and r.text, 5)
    assert "is invalid: " in refused and "spec.vault.address must be an http or https URL" in refused
    assert "ai-apis/data/acme" in agent_config(post(installed, namespace, "acme"))
    assert watching.metric("keyshepherd_providers_faulty") == 1
    assert any(r["msg"] == "ignoring invalid provider" and r["name"] == "holysheep" for r in watching.records())
    apply(provider("holysheep", "ai-apis/data/mended"))
    wait_until(lambda: "ai-apis/data/mended" in agent_config(post(installed, namespace, "holysheep")), 5)
    assert watching.metric("keyshepherd_providers_faulty") == 0


# ---- overrides -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def stages(apply):
    apply(yaml.safe_load((rig.REPOSITORY / "manifests" / "samples" / "providers.yaml").read_text()))


def test_one_manifest_gets_the_key_of_its_namespaces_stage(installed, watching, stages):
    """Namespace and Deployment in one `kubectl apply`, as people do it: nobody waits in between."""
    wait_until(lambda: "ai-apis/data/dev/" in agent_config(post(installed, "default", "true")), 5)
    manifest = deployment("true")
    for env, stage in (("dev", "dev"), ("staging", "staging"), ("qa", "staging"), ("prod", "prod"), (None, "dev")):
        for _ in range(3):
            name = f"stage-{stage}-{time.monotonic_ns()}"
            labels = {"env": env} if env else {}
            both = {"apiVersion": "v1", "kind": "List", "items": [
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
                manifest | {"metadata": manifest["metadata"] | {"namespace": name}}]}
            installed.kubectl("apply", "-f", "-", input=both)
            config = installed.deployment(name)["spec"]["template"]["metadata"]["annotations"]["keyshepherd.dev/agent-config"]
            assert f"ai-apis/data/{stage}/holysheep" in config and f'"role":"holysheep-{stage}"' in config, (env, config)
            installed.core.delete_namespace(name)


def test_a_namespace_that_is_labelled_anew_gets_the_other_key(installed, watching, stages):
    name = labelled(installed, "moves", env="staging")
    wait_until(lambda: "data/staging/" in agent_config(post(installed, name, "true")), 5)
    installed.core.patch_namespace(name, {"metadata": {"labels": {"env": "prod"}}})
    wait_until(lambda: "data/prod/" in agent_config(post(installed, name, "true")), 5)
    installed.core.delete_namespace(name)


def test_a_namespace_that_nobody_told_of_gets_no_key_and_a_retry(installed, watching, stages, proxy):
    wait_until(lambda: "data/dev/" in agent_config(post(installed, "default", "true")), 5)
    proxy.cut_off = True
    try:
        name = labelled(installed, "late", env="prod")
        began = time.monotonic()
        refused = post(installed, name, "true")
        took = time.monotonic() - began
        print(f"answered after {took:.2f} s")
        assert 1.8 < took < 3 and refused.status_code == 503, refused.text
        assert refused.headers["Retry-After"] == "1", "clients of Kubernetes retry by themselves then"
        assert f"labels of namespace {name} (env), which are unknown" in refused.text and "try again" in refused.text
        assert watching.metric('keyshepherd_admission_requests_total{dry_run="true",outcome="denied",reason="namespace-unknown"}') == 1
        assert watching.get("/readyz").status_code == 200, "another request is not held up"
        threading.Timer(0.7, lambda: setattr(proxy, "cut_off", False)).start()
        began = time.monotonic()
        assert "data/prod/" in agent_config(post(installed, name, "true"))
        print(f"went through {time.monotonic() - began:.2f} s after it was asked for, 0.7 s of them cut off")
        installed.core.delete_namespace(name)
    finally:
        proxy.cut_off = False


def test_kubectl_retries_by_itself_until_the_namespace_is_known(installed, watching, stages, proxy):
    wait_until(lambda: "data/dev/" in agent_config(post(installed, "default", "true")), 5)
    proxy.cut_off = True
    try:
        name = labelled(installed, "later", env="prod")
        threading.Timer(4, lambda: setattr(proxy, "cut_off", False)).start()
        began = time.monotonic()
        installed.kubectl("apply", "-n", name, "-f", "-", input=deployment("true"))
        print(f"kubectl was done after {time.monotonic() - began:.2f} s, 4 s of them cut off")
        config = installed.deployment(name)["spec"]["template"]["metadata"]["annotations"]["keyshepherd.dev/agent-config"]
        assert "data/prod/" in config
        installed.core.delete_namespace(name)
    finally:
        proxy.cut_off = False


# ---- what the definitions refuse -----------------------------------------------------------------------------------------

SELECTOR = {"matchLabels": {"env": "prod"}}
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("change, said", [
    ({"path": "/kv/x"}, "spec.path"),
    ({"path": "kv/../x"}, "spec.path"),
    ({"path": None}, "spec.path"),
    ({"path": "ai-apis/data/my key"}, "spec.path"),
    ({"vault": {"address": "https://v", "tlsServerName": "a..b"}}, "spec.vault.tlsServerName"),
    ({"variables": []}, "spec.variables"),
    ({"variables": [{"name": "A-B", "key": "k"}]}, "spec.variables[0].name"),
    ({"variables": [{"name": "A", "key": "a`b"}]}, "spec.variables[0].key"),
    ({"variables": [{"name": "A"}]}, "spec.variables[0].key"),
    ({"variables": [{"name": "A", "key": "a"}, {"name": "A", "key": "b"}]}, "variables: names must be unique"),
    ({"vault": {"address": "vault:8200"}}, "spec.vault.address"),
    ({"vault": {"caBundle": CA}}, "spec.vault.address"),
    ({"vault": {"address": "https://v", "caBundle": "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----"}}, "spec.vault.caBundle"),
    ({"auth": {"type": "ldap"}}, "spec.auth.type"),
    ({"auth": {"rolle": "x"}}, "spec.auth.rolle"),
    ({"keyProbe": {"enabled": "yes"}}, "spec.keyProbe.enabled"),
    ({"keyProbe": {"baseURL": "http://api.example"}}, "spec.keyProbe.baseURL"),
    ({"keyProbe": {"interval": "soon"}}, "spec.keyProbe.interval"),
    ({"path": "ai-apis/+/x"}, "spec.path"),
    ({"path": "ai-apis/data/+"}, "spec.path"),
    ({"overrides": [{"namespaceSelector": SELECTOR, "path": "+/y"}]}, "spec.overrides[0].path"),
    ({"delivery": {"secret": 1}}, "spec.delivery.secret"),
    ({"delivery": {"namespaceSelector": {}}}, "delivery: namespaceSelector must not be empty"),
    ({"delivery": {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}}, "require values"),
    ({"delivery": {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}}}, "do not allow values"),
    ({"overrides": [{"path": "kv/y"}]}, "spec.overrides[0].namespaceSelector"),
    ({"overrides": [{"namespaceSelector": {}, "path": "kv/y"}]}, "overrides: namespaceSelector must not be empty"),
    ({"overrides": [{"namespaceSelector": SELECTOR}]}, "must set at least one of path"),
    ({"overrides": [{"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}, "path": "kv/y"}]}, "operator"),
    ({"overrides": [{"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}, "path": "kv/y"}]}, "require values"),
    ({"overrides": [{"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
                     "path": "kv/y"}]}, "do not allow values"),
    ({"overrides": [{"namespaceSelector": SELECTOR, "variables": [{"name": "A", "key": "a"}, {"name": "A", "key": "b"}]}]}, "names must be unique among the variables of an override"),
])
def test_the_api_server_refuses_what_is_wrong(installed, change, said):
    made = provider("acme", **copy.deepcopy(change))
    made["spec"] = {name: value for name, value in made["spec"].items() if value is not None}
    done = installed.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", input=made, check=False)
    assert done.returncode != 0 and said in done.stderr, done.stderr


@pytest.mark.parametrize("name", ["true", "0", "a.b", "a" * 64])
def test_the_api_server_refuses_names_that_no_annotation_can_hold(installed, name):
    refused = installed.request("POST", CLUSTER + "?dryRun=All", provider(name))
    assert refused.status_code == 422 and "workloads refer to it in an annotation" in refused.text, refused.text


def test_a_default_provider_that_is_not_there_is_warned_of(installed, certificates, tmp_path):
    kubeconfig = rig.account_kubeconfig(installed, tmp_path / "kubeconfig", "keyshepherd-webhook")
    webhook = rig.Webhook(tmp_path, certificates, flags={"kubeconfig": kubeconfig, "default-provider": "holyship"})
    assert webhook.stop() == 0
    assert any(r["level"] == "warn" and r.get("provider") == "holyship" for r in webhook.records())


def test_the_api_server_takes_what_is_right_and_completes_it(installed, namespace):
    full = {"vault": {"address": "https://vault.example:8200", "namespace": "team/ai", "caBundle": CA * 40, "tlsServerName": "v.internal"},
            "auth": {"type": "approle", "path": "auth/machines", "role": "r", "audience": "bao", "secretName": "s"},
            "keyProbe": {"enabled": True, "baseURL": "https://api.example/v1"}, "delivery": {"secret": True}}
    overrides = [{"namespaceSelector": SELECTOR | {"matchExpressions": [
        {"key": "example.org/tier", "operator": "NotIn", "values": ["a", ""]}, {"key": "x", "operator": "DoesNotExist"}]},
        "path": "kv/y", "auth": {}, "vault": {"address": "http://v"}, "variables": [{"name": "B", "key": "b"}]}]
    everywhere = full | {"delivery": {"secret": True, "namespaceSelector": overrides[0]["namespaceSelector"]}}
    stored = installed.request("POST", CLUSTER + "?dryRun=All", provider("full", overrides=overrides, **everywhere))
    assert stored.status_code == 201, stored.text
    assert stored.json()["spec"]["keyProbe"] == {"enabled": True, "baseURL": "https://api.example/v1", "baseURLKey": "base_url",
                                                 "interval": "10m", "blockRollouts": True}
    own = f"/apis/{rig.GROUP}/namespaces/{namespace}/aiproviders?dryRun=All&fieldValidation=Strict"
    assert installed.request("POST", own, provider("full", namespace=namespace, **full)).status_code == 201
    refused = installed.request("POST", own, provider("full", namespace=namespace, overrides=overrides))
    assert refused.status_code == 400 and "spec.overrides" in refused.text


def test_plan_checks_only_the_fields_of_providers(installed, bao, apply, tmp_path):
    (tmp_path / "both.yaml").write_text("---\n".join(
        (rig.REPOSITORY / "manifests" / "samples" / name).read_text() for name in ("holysheep.yaml", "providers.yaml")))
    apply(provider("acme"))
    connection = rig.REPOSITORY / "manifests" / "samples" / "connection.yaml"
    done = subprocess.run([*rig.keyshepherd(), "plan", "--connections", connection, "-f", tmp_path / "both.yaml",
                           "--vault-address", bao.address, "--vault-ca-file", bao.certificates.ca], env={"VAULT_TOKEN": bao.root_token}, capture_output=True, text=True)
    assert done.returncode in (0, 2), done.stderr
    assert "AIProvider" not in done.stdout and "only their fields were checked" in done.stderr


# ---- the API server away -------------------------------------------------------------------------------------------------


def test_the_last_view_is_served_while_the_api_server_is_away(installed, watching, apply, stages, namespace):
    apply(provider("acme", "ai-apis/data/before"))
    assert "ai-apis/data/before" in agent_config(post(installed, namespace, "acme"))
    prod = labelled(installed, "away", env="prod")
    wait_until(lambda: "data/prod/" in agent_config(post(installed, prod, "true")), 5)
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "operation": "CREATE", "name": "x", "namespace": prod, "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"}}}

    def served(inject):
        review["request"]["object"] = deployment(inject)
        response = watching.review(review).json()["response"]
        assert response["allowed"], response
        return base64.b64decode(response["patch"]).decode()

    failures = watching.metric("keyshepherd_watch_failures_total")
    installed.stop_apiserver()
    try:
        wait_until(lambda: watching.metric("keyshepherd_watches_failing") == 3, 15, "it knows that it is alone")
        assert watching.ready()
        assert "ai-apis/data/before" in served("acme") and "data/prod/" in served("true")
        assert watching.metric("keyshepherd_watch_failures_total") >= failures + 3
        assert any(r["msg"] == "cannot watch; serving the last known state" for r in watching.records())
    finally:
        installed.restart_apiserver()
    apply(provider("acme", "ai-apis/data/after"))
    wait_until(lambda: "ai-apis/data/after" in agent_config(post(installed, namespace, "acme")), 60, "the watch is back")
    wait_until(lambda: watching.metric("keyshepherd_watches_failing") == 0, 60)
    assert any(r["msg"] == "watch resumed" for r in watching.records())
    installed.core.delete_namespace(prod)
