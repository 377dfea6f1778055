"""The webhook's --client-ca-file: with it a review is answered to clients of that CA only; probes need no certificate."""

import json
import ssl

import pytest
import requests
import rig
from rig import wait_until

REVIEW = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
    "uid": "u", "operation": "CREATE", "name": "x", "namespace": "shop", "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
    "resource": {"group": "apps", "version": "v1", "resource": "deployments"}, "object": rig.seed_deployment(plain=True)}}


@pytest.fixture
def clients(tmp_path):
    """A CA of clients, and its file as the webhook reads it."""
    clients = rig.Certificates(tmp_path / "clients", "client CA")
    (tmp_path / "client-ca.pem").write_text(clients.ca_pem)
    return clients


def ask(webhook, certificate=None):
    """The status of a review, or "refused" where the handshake fails."""
    http = rig.session(webhook.certificates.ca, certificate and tuple(map(str, certificate)))
    try:
        return http.post(webhook.url, json=REVIEW, timeout=5).status_code
    except (requests.exceptions.SSLError, requests.exceptions.ConnectionError, ssl.SSLError):
        return "refused"


def test_reviews_are_for_clients_of_the_ca_and_probes_for_everyone(webhooks, clients, certificates, tmp_path):
    webhook = webhooks(**{"client-ca-file": tmp_path / "client-ca.pem"})
    stranger = rig.Certificates(tmp_path / "stranger", "client CA")
    assert ask(webhook) == 403
    assert ask(webhook, clients.leaf("apiserver", usage="clientAuth")) == 200
    assert ask(webhook, clients.leaf("server", usage="serverAuth")) == "refused", "a server's certificate is no client's"
    assert ask(webhook, stranger.leaf("apiserver", usage="clientAuth")) == "refused", "a CA of the same name"
    assert ask(webhook, certificates.leaf("own", usage="clientAuth")) == "refused", "the CA of the webhook's own certificate"
    for probe in ("/healthz", "/readyz"):
        assert webhook.get(probe).status_code == 200
    plain = webhooks()
    assert ask(plain) == 200


def test_the_ca_is_reloaded_and_a_bad_one_keeps_the_old(webhooks, clients, tmp_path):
    webhook = webhooks(**{"client-ca-file": tmp_path / "client-ca.pem", "reload-seconds": 0.1})
    old, other = clients.leaf("old", usage="clientAuth"), rig.Certificates(tmp_path / "other", "other client CA")
    new = other.leaf("new", usage="clientAuth")
    for bad in ("", "no PEM", old[0].read_text(), clients.ca_pem + "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"):
        failures = webhook.metric("keyshepherd_certificate_reload_errors_total")
        (tmp_path / "client-ca.pem").write_text(bad)
        wait_until(lambda: webhook.metric("keyshepherd_certificate_reload_errors_total") > failures, 10)
        assert ask(webhook, old) == 200 and ask(webhook) == 403 and ask(webhook, new) == "refused"
    assert any(r["msg"] == "cannot load the new certificate; keeping the current one" and "client-ca.pem" in r["error"] for r in webhook.records())
    (tmp_path / "client-ca.pem").write_text(other.ca_pem)
    wait_until(lambda: ask(webhook, new) == 200, 10)
    assert ask(webhook, old) == "refused"


def test_a_file_that_is_not_there_is_an_error_at_the_start(certificates, tmp_path):
    with pytest.raises(ChildProcessError, match="client-ca.pem"):
        rig.Webhook(tmp_path, certificates, flags={"client-ca-file": tmp_path / "client-ca.pem"})


def test_the_api_server_brings_its_certificate(cluster, webhooks, clients, certificates, tmp_path, namespace):
    """kube-apiserver by its AdmissionConfiguration; without it every review is refused, and by failurePolicy the workload."""
    certificate, key = clients.leaf("apiserver", usage="clientAuth")
    user = {"client-certificate": str(certificate), "client-key": str(key)}
    (tmp_path / "webhook-kubeconfig").write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "users": [{"name": "*", "user": user}]}))
    (tmp_path / "admission.yaml").write_text(json.dumps({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": [{
            "name": "MutatingAdmissionWebhook", "configuration": {
                "apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration",
                "kubeConfigFile": str(tmp_path / "webhook-kubeconfig")}}]}))
    webhook = webhooks(**{"client-ca-file": tmp_path / "client-ca.pem"})
    cluster.install_webhook(webhook.url, certificates.ca_pem)
    flags = cluster.folder / "apiserver.flags"

    def create():
        return cluster.request("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments?dryRun=All", rig.seed_deployment(plain=True))

    try:
        refused = create()
        assert refused.status_code == 500 and "client certificate" in refused.text, refused.text
        flags.write_text(f"--admission-control-config-file={tmp_path / 'admission.yaml'}\n")
        cluster.restart_apiserver()
        made = wait_until(lambda: (r := create()).status_code == 201 and r, 30)
        assert "keyshepherd.dev/injected" in made.json()["spec"]["template"]["metadata"]["annotations"]
    finally:
        flags.unlink(missing_ok=True)
        cluster.restart_apiserver()
        cluster.remove_webhook()
