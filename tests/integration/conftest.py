"""Fixtures of the integration tests; what they stand on is in rig.py.

Run them with $(hack/tools.sh)/python -m pytest tests/integration, for another build with KEYSHEPHERD_PRESET=asan.
"""

import pytest
import rig


def pytest_configure():
    rig.end_on_sigterm()


def pytest_unconfigure():
    rig.end_everything()


def pytest_terminal_summary(terminalreporter):
    for line in rig.closing_lines:
        terminalreporter.write_line(line)
    for program in sorted(set(rig.Bao.started)):
        terminalreporter.write_line(f"servers of Vault's API: {rig.Bao.started.count(program)} × {program}")


@pytest.fixture(scope="session")
def tools():
    """The folder of the programs."""
    return rig.build_tools()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return rig.Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def cluster(tools, tmp_path_factory):
    cluster = rig.Cluster(tmp_path_factory.mktemp("cluster"), tools)
    yield cluster
    cluster.down()


@pytest.fixture(scope="session")
def bao(tools, certificates, cluster, tmp_path_factory):
    bao = rig.Bao(tmp_path_factory.mktemp("bao"), tools, certificates)
    try:
        bao.seed()
        bao.trust(cluster)
        yield bao
    finally:
        bao.stop()


@pytest.fixture(scope="session")
def webhook(certificates, bao, tmp_path_factory):
    """One webhook with the default flags, shared: a test that stops or floods it takes its own from `webhooks`."""
    webhook = rig.Webhook(tmp_path_factory.mktemp("webhook"), certificates, bao)
    yield webhook
    webhook.stop()


@pytest.fixture
def webhooks(certificates, bao, tmp_path):
    """webhooks(**{"log-level": "debug"}) starts one more; all are stopped at the end of the test."""
    started = []

    def start(program=None, **flags):
        started.append(rig.Webhook(tmp_path, certificates, bao, flags, program))
        return started[-1]

    yield start
    for webhook in started:
        webhook.stop()


@pytest.fixture
def installed_webhook(cluster, webhook):
    """`webhook`, and the API server asks it as manifests/webhook.yaml says."""
    cluster.install_webhook(webhook.url, webhook.certificates.ca_pem)
    yield webhook
    cluster.remove_webhook()


@pytest.fixture
def install_webhook(cluster):
    """install_webhook(url, ca_pem) for a webhook of the test's own; removed at its end."""
    yield cluster.install_webhook
    cluster.remove_webhook()


@pytest.fixture
def namespaces(cluster):
    """namespaces() makes one more, ready for pods; deleted (in the background) at the end of the test."""
    made = []

    def make():
        made.append(cluster.namespace())
        return made[-1]

    yield make
    for name in made:
        cluster.core.delete_namespace(name)


@pytest.fixture
def namespace(namespaces):
    return namespaces()


@pytest.fixture
def run_agent(tools, tmp_path_factory):
    """run_agent(stored_deployment, {"config/token": …}) starts the agent that it carries; ended at the end of the test."""
    agents = []

    def run(workload, files=None):
        agents.append(rig.Agent(tmp_path_factory.mktemp("agent"), tools, workload, files))
        return agents[-1]

    yield run
    for agent in agents:
        agent.stop()


@pytest.fixture(scope="session")
def parse_env(tools):
    """parse_env(file, key): the variable as kubelet would read it."""
    return lambda file, key: rig.parse_env(tools, file, key)
