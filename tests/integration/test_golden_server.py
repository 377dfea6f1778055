"""The golden cases of the injector once more: through the HTTPS handler, and past a real API server's own validation."""

import base64
import functools
import json
import subprocess

import jsonpatch
import pytest
import rig

FOLDER = rig.REPOSITORY / "tests/golden/inject"
CASES = sorted(path.parent for path in FOLDER.glob("*/case.yaml"))
VAULT = {"vault-address": "https://vault.example:8200"}


@functools.cache
def read(path):
    """YAML as kubectl reads it: `x: y` is true there, and a text to Python's own parser."""
    program = rig.build_tools() / "yamltojson"
    return subprocess.run([program], stdin=path.open(), capture_output=True, check=True).stdout


def load(case, name):
    path = case / name
    return json.loads(read(path)) if path.exists() else None


@pytest.fixture(scope="module")
def webhook_for(certificates, tmp_path_factory):
    """webhook_for(case): a webhook with the case's settings; one for all cases that agree on them."""
    running = {}
    folder = tmp_path_factory.mktemp("golden-webhooks")
    ca = folder / "ca.pem"
    ca.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")

    def start(case):
        expect = load(case, "case.yaml")
        settings = expect.get("settings", {})
        flags = {"vault-ca-file": ca, "kubernetes-version": settings.get("kubernetes", "1.35"),
                 "min-kubelet-version": settings.get("lowestKubelet", "1.35"),
                 "allowed-vault-address": settings.get("allowedVaultAddresses", []) + ["https://abroad.example:8200"],
                 "allowed-token-audience": settings.get("allowedTokenAudiences"),
                 "allow-provider-shadowing": str(settings.get("providerShadowing", False)).lower(), "agent-flavor": settings.get("agentFlavor"),
                 "bao-image": settings.get("baoImage"),
                 "providers": case / "providers.yaml" if (case / "providers.yaml").exists() else None}
        key = json.dumps(flags, default=str, sort_keys=True)
        if key not in running:
            running[key] = rig.Webhook(folder, certificates, None, VAULT | flags)
        return running[key]

    yield start
    for webhook in running.values():
        webhook.stop()


def test_there_are_cases():
    assert len(CASES) >= 20


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_the_handler_answers_with_the_golden_patch(case, version, webhook_for):
    workload, old, expect = load(case, "input.yaml"), load(case, "old.yaml"), load(case, "case.yaml")
    group, _, _ = workload["apiVersion"].rpartition("/")
    review = {"apiVersion": f"admission.k8s.io/{version}", "kind": "AdmissionReview", "request": {
        "uid": case.name, "kind": {"group": group, "version": "v1", "kind": workload["kind"]}, "object": workload,
        "oldObject": old, "operation": "UPDATE" if old else "CREATE", "namespace": workload["metadata"].get("namespace", ""),
        "name": workload["metadata"].get("name", ""), "dryRun": False}}
    answers = []
    for dry_run in (False, True):
        review["request"]["dryRun"] = dry_run
        response = webhook_for(case).review(review)
        assert response.status_code == 200, response.text
        answers.append(response.content)
    assert answers[0] == answers[1], "dry-run gives the same bytes"
    answer = json.loads(answers[0])
    assert answer["apiVersion"] == f"admission.k8s.io/{version}" and answer["response"]["uid"] == case.name
    response = answer["response"]
    assert response["allowed"] == (expect["verdict"] != "denied")
    if not response["allowed"]:
        assert response["status"]["code"] == 422 and len(response["status"]["details"]["causes"]) == len(expect["faults"])
        return
    patch = json.loads(base64.b64decode(response["patch"])) if "patch" in response else []
    assert patch == json.loads((case / "patch.json").read_text())
    assert jsonpatch.apply_patch(workload, patch) == json.loads((case / "result.json").read_text())


WITH_RESULT = [case for case in CASES if "verdict: denied" not in (case / "case.yaml").read_text().splitlines()]


@pytest.mark.parametrize("case", WITH_RESULT, ids=lambda case: case.name)
def test_the_api_server_takes_the_result(case, cluster, namespace):
    """Server-side dry-run, strict about unknown fields where the input is: what the server stores of ours is what we sent."""
    expect = load(case, "case.yaml")
    result = json.loads((case / "result.json").read_text())
    if expect.get("server", {}).get("patch") == "skip":
        pytest.skip(f"{case.name}: {expect['server']['why']}")
    result["metadata"] = {k: v for k, v in result["metadata"].items() if k in ("name", "generateName", "labels", "annotations")}
    group, _, version = result["apiVersion"].rpartition("/")
    path = f"/apis/{group}/{version}" if group else f"/api/{version}"
    response = cluster.request("POST", f"{path}/namespaces/{namespace}/{result['kind'].lower()}s?dryRun=All", result)
    assert response.status_code == 201, response.text
    if result["kind"] != "Deployment":
        return
    stored, sent = response.json()["spec"]["template"]["spec"], result["spec"]["template"]["spec"]
    for part in ("initContainers", "containers", "volumes"):
        for item in sent.get(part) or []:
            if item["name"].startswith("keyshepherd-"):
                assert item in stored[part], f"{part}: {item['name']} was completed by the server"
