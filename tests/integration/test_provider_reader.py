"""One verdict on a provider's document: the API server by its schema, `inject --providers`, `plan`, the webhook and the operator.

The documents are made from manifests/crds.yaml, which is made from the table of kinds: for every field what is right, what is
wrong, and texts that a reader may take for something else."""

import concurrent.futures
import copy
import json
import re
import subprocess

import pytest
import rig
import yaml
from rig import wait_until

KINDS = {"AIProvider": "aiproviders", "ClusterAIProvider": "clusteraiproviders"}
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
TEXTS = ["", " ", "a", "A", "a b", "a..b", "a.b", "a.-b", "-a", "a-", ".a", "a.", "..", "../a", "/a", "a/", "a//b", "a/b", "a/./b",
         "ai-apis/data/my key", "a\nb", "a\n", "\ta", "ü", "a#b", "a?b", "a%2fb", "{{a}}", "`a`", 'a"b', "a\\b", "a*", "a+b", "a@b",
         "a=b", "a:b", "a~b", "a_b", "A_B", "1", "true", "a" * 63, "a" * 64, "a" * 254, "a" * 513, "ü" * 200, "ü" * 513,
         "https://v", "http://v.example:8200", "https://V.Example:443/", "https://u@v", "https://v/p", "https://v?q", "https://v#f",
         "https://v:0", "https://v:65535", "https://v:65536", "https://v:", "https://v.", "https://.v", "https://v..e", "https://-v",
         "https://[::1]", "https://[::1]:8200", "https://[::1", "https://[v]", "https://ü", "https://v.evil/.svc", "HTTPS://v", "//v",
         "kubernetes", "approle", "In", "Exists", "10m", "90", "soon", "-1", "1.5h", "0", "0s", "1h30m", CA, CA * 2, CA + "x",
         "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"]
# What the schema cannot say and the reader does: the API server stores it, and nothing uses it.
UNSAID_TEXTS = ["https://[:::]", "9999999h"]


# The installation allows whatever is right, so that only the readers are compared.
ALLOWED = ["https://vault.example:8200", "https://v", "http://v.example:8200", "https://V.Example:443/", "https://v:65535",
           "https://[::1]", "https://[::1]:8200"]
AUDIENCES = [text for text in TEXTS + ["vault", "text"] if text and all("!" <= c <= "~" for c in text) and len(text) <= 512]


def flags():
    return {"allowed-vault-address": ALLOWED, "allowed-token-audience": AUDIENCES}


def full(kind):
    """A document with every field."""
    parts = {"path": "ai-apis/data/acme", "variables": [{"name": "A", "key": "a"}, {"name": "B", "key": "b"}],
             "vault": {"address": "https://vault.example:8200", "namespace": "team/ai", "caBundle": CA, "tlsServerName": "vault.internal"},
             "auth": {"type": "approle", "path": "auth/machines", "role": "r", "audience": "vault", "secretName": "s"}}
    spec = parts | {"connectionRef": {"name": "main", "namespace": "vault"}, "resyncPeriod": "1m", "delivery": {"secret": True},
                    "keyProbe": {"enabled": True, "blockRollouts": True, "baseURL": "https://api.example/v1", "baseURLKey": "base_url", "interval": "10m"}}
    if kind == "ClusterAIProvider":
        selector = {"matchLabels": {"env": "prod"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}]}
        spec["delivery"]["namespaceSelector"] = copy.deepcopy(selector)
        spec["overrides"] = [copy.deepcopy(parts) | {"namespaceSelector": selector}]
    return spec


def schema(kind):
    for document in yaml.safe_load_all((rig.REPOSITORY / "manifests" / "crds.yaml").read_text()):
        if document and document["spec"]["names"]["kind"] == kind:
            return document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    raise KeyError(kind)


def fields(of, path=()):
    """(path, schema) of everything that a document may hold; an element of a list is 0, a member of a map its own name."""
    if path:
        yield path, of
    for name, member in of.get("properties", {}).items():
        yield from fields(member, path + (name,))
    if "items" in of:
        yield from fields(of["items"], path + (0,))
    if "additionalProperties" in of:
        yield from fields(of["additionalProperties"], path + ("env",))


def changed(spec, path, value):
    made = copy.deepcopy(spec)
    at = made
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return made


def without(spec, path):
    made = copy.deepcopy(spec)
    at = made
    for step in path[:-1]:
        at = at[step]
    del at[path[-1]]
    return made


def values(path, of, now):
    """What is put into one field."""
    yield now
    yield from (7, True, None, [], {}, "text", [7], {"text": 7})
    if of.get("type") == "string":
        yield from TEXTS
        yield from of.get("enum", [])
        if path[-1] == "address":
            yield "https://[:::]"
        if path[-1] == "interval":
            yield "9999999h"
        if path[-1] in ("interval", "resyncPeriod"):  # a number is none to the API server
            yield from (0, 1, 90, -1, 1.5)
    if of.get("type") == "array":
        yield now + now[:1]
        yield now[:1] * (of["maxItems"] + 1)
        yield now[:1]
    if of.get("type") == "object" and "properties" in of:
        yield now | {"surprise": 1}


def corpus():
    """(kind, field, value, spec): the field is the path with dots."""
    for kind in KINDS:
        whole = full(kind)
        yield kind, "", "everything", whole
        for path, of in fields(schema(kind)):
            name = ".".join(map(str, path))
            # What both kinds have, the table has once.
            if kind == "ClusterAIProvider" and path[0] not in ("overrides", "connectionRef", "delivery"):
                continue
            if isinstance(path[-1], str):
                yield kind, name, "absent", without(whole, path)
            now = whole
            for step in path:
                now = now[step]
            seen = set()
            for value in values(path, of, now):
                key = json.dumps(value)
                if key not in seen:
                    seen.add(key)
                    yield kind, name, value, changed(whole, path, value)


@pytest.fixture(scope="module")
def documents(cluster):
    """Every document with the API server's verdict on it."""
    rig.install(cluster, "keyshepherd-webhook", "webhook-rbac.yaml")
    rig.install_operator(cluster)
    cluster.core.create_namespace({"metadata": {"name": "readers"}})
    made = []
    for number, (kind, field, value, spec) in enumerate(corpus()):
        metadata = {"name": f"p-{number}"} | ({"namespace": "readers"} if kind == "AIProvider" else {})
        document = {"apiVersion": rig.GROUP, "kind": kind, "metadata": metadata, "spec": spec}
        answer = cluster.request("POST", collection(kind) + "?dryRun=All&fieldValidation=Strict", document)
        assert answer.status_code in (201, 400, 422), answer.text
        made.append((kind, field, value, document, answer.status_code == 201))
    return made


def collection(kind):
    return f"/apis/{rig.GROUP}/" + ("namespaces/readers/" if kind == "AIProvider" else "") + KINDS[kind]


def verdicts(documents, taken):
    """Where `taken(document)` is another than the API server's verdict."""
    wrong = []
    for kind, field, value, document, stored in documents:
        expected = stored and value not in UNSAID_TEXTS
        if taken(document) != expected:
            wrong.append((kind, field, value, "stored" if stored else "refused by the API server"))
    return wrong


def test_every_field_has_what_is_right_and_what_is_wrong(documents):
    by_field = {}
    for kind, field, _, _, stored in documents:
        by_field.setdefault((kind, field), set()).add(stored)
    assert by_field.pop(("AIProvider", "")) == by_field.pop(("ClusterAIProvider", "")) == {True}
    only = {field: found for field, found in by_field.items() if len(found) < 2}
    print(f"{len(documents)} documents, {sum(d[4] for d in documents)} of them right, {len(by_field)} fields")
    assert not only


def test_plan_agrees_with_the_api_server(documents, tmp_path):
    file = tmp_path / "all.yaml"
    file.write_text("---\n".join(json.dumps(d[3]) + "\n" for d in documents))
    done = subprocess.run([*rig.keyshepherd(), "plan", "--policy-for-operator", "-f", file], capture_output=True, text=True)
    assert done.returncode == 1
    refused = set(re.findall(r"AIProvider (?:readers/)?(p-[0-9]+): ", done.stderr))
    assert not verdicts(documents, lambda document: document["metadata"]["name"] not in refused)


def test_inject_agrees_with_the_api_server(documents, tmp_path):
    """All that are right in one run; of those that are wrong each text, and a field that is not there, in one of its own."""
    (tmp_path / "none.yaml").write_text("{}\n")

    def inject(*several):
        file = tmp_path / f"{several[0]['metadata']['name']}.yaml"
        file.write_text("---\n".join(json.dumps(document) + "\n" for document in several))
        done = subprocess.run([*rig.keyshepherd(), "inject", "-f", tmp_path / "none.yaml", "--providers", file,
                               *(f"--{name}={value}" for name, several in flags().items() for value in several)],
                              capture_output=True, text=True)
        file.unlink()
        return done

    right = [d[3] for d in documents if d[4] and d[2] not in UNSAID_TEXTS]
    done = inject(*right)
    assert done.returncode == 0, done.stderr
    wrong = [d for d in documents if d[3] not in right and isinstance(d[2], str)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        taken = [d[:3] for d, done in zip(wrong, pool.map(inject, [d[3] for d in wrong]), strict=True) if done.returncode != 1]
    print(f"{len(right)} right, {len(wrong)} wrong")
    assert not taken


def test_the_webhook_and_the_operator_agree_with_the_api_server(documents, cluster, certificates, bao, tmp_path):
    stored = [d for d in documents if d[4]]
    unsaid = {d[3]["metadata"]["name"] for d in stored if d[2] in UNSAID_TEXTS}
    assert unsaid
    for kind, _, _, document, _ in stored:
        assert cluster.request("POST", collection(kind), document).status_code == 201
    kubeconfig = rig.account_kubeconfig(cluster, tmp_path / "kubeconfig", "keyshepherd-webhook")
    webhook = rig.Webhook(tmp_path / "webhook", certificates, flags={"kubeconfig": kubeconfig} | flags())
    operator = rig.Operator(tmp_path / "operator", cluster, bao, flags=flags())
    try:
        assert webhook.metric("keyshepherd_providers_faulty") == len(unsaid)
        faulty = {r["name"] for r in webhook.records() if r["msg"] == "ignoring invalid provider"}
        assert faulty == unsaid

        def reasons():
            found = {}
            for kind in KINDS:
                for item in cluster.get(collection(kind))["items"]:
                    for condition in item.get("status", {}).get("conditions", []):
                        if condition["type"] == "Ready":
                            found[item["metadata"]["name"]] = condition["reason"]
            return found if len(found) >= len(stored) else None

        found = wait_until(reasons, 120, "a verdict of the operator on every provider", every=0.5)
        assert {name for name, reason in found.items() if reason == "InvalidSpec"} == unsaid
    finally:
        webhook.stop()
        operator.stop()
        for kind in KINDS:
            cluster.request("DELETE", collection(kind))
        cluster.core.delete_namespace("readers")
