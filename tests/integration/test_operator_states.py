"""`keyshepherd operator` against states that a server comes to by itself: a node that lags behind, a role that is locked, a namespace that
went while the operator was down."""

import contextlib
import http.server
import json
import ssl
import threading
import time

import hvac
import pytest
import rig
from rig import custom, wait_until
from team import Team, check_no_secret, installed, operator, requests, team  # noqa: F401 - fixtures


class LaggingServer:
    """TLS in front of a Vault: what is read of an object that was written less than `lag` seconds ago is as it was before, as a standby
    that lags behind answers. `stale` counts these answers."""

    def __init__(self, bao, lag=3):
        self.bao, self.lag, self.stale = bao, lag, 0
        self._before = {}  # path → [(when it was written, the answer until then)]
        self._issued = {}  # secret-id → when
        owner, self._sessions = self, threading.local()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_one_request(self):
                with contextlib.suppress(OSError):
                    super().handle_one_request()

            def relay(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, text = owner.answer(self.command, self.path, dict(self.headers), body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = do_LIST = relay

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(bao.certificates.cert, bao.certificates.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"https://127.0.0.1:{self._server.server_address[1]}"

    def _ask(self, method, path, headers, body=None):
        if not hasattr(self._sessions, "http"):
            self._sessions.http = rig.session(self.bao.certificates.ca)
        kept = {name: value for name, value in headers.items() if name.startswith("X-Vault") or name == "Content-Type"}
        answer = self._sessions.http.request(method, self.bao.address + path, headers=kept, data=body)
        return answer.status_code, answer.content

    def answer(self, method, path, headers, body):
        if path.endswith("/secret-id/lookup"):
            if time.monotonic() - self._issued.get(json.loads(body)["secret_id"], -self.lag) < self.lag:
                self.stale += 1
                return 204, b""  # as of a secret-id that nobody has issued
            return self._ask(method, path, headers, body)
        if path.endswith("/custom-secret-id"):
            self._issued[json.loads(body)["secret_id"]] = time.monotonic()
        seen = path if not path.startswith(("/v1/sys/mounts/", "/v1/sys/auth/")) else "/".join(path.split("/")[:4])
        if method in ("POST", "PUT", "DELETE") and "/login" not in path and "-self" not in path:
            root = {"X-Vault-Token": self.bao.root_token}
            self._before.setdefault(seen, []).append((time.monotonic(), self._ask("GET", seen, root)))
        if method == "GET":
            for written, before in self._before.get(path, []):
                if time.monotonic() - written < self.lag:
                    self.stale += 1
                    return before
        return self._ask(method, path, headers, body)

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def lagging(installed, bao, operator, tmp_path):
    """A team whose connection leads to a server that lags behind, and the operator for it."""
    assert operator.stop() == 0  # its Lease goes to ours
    server = LaggingServer(bao)
    ours = team = None
    try:
        team = Team(installed, bao, address=server.address)
        ours = rig.Operator(tmp_path / "operator", installed, bao, {"vault-address": [bao.address, server.address]})
        wait_until(lambda: ours.leading, 15, "leading")
        yield team, server, ours
    finally:
        if ours:
            ours.stop()
        operator._start()
        if team:
            installed.kubectl("delete", "namespace", team.ns, "--wait=false")
        server.close()


def test_one_stale_answer_is_no_drift(lagging, bao):
    team, server, operator = lagging
    team.wait_reason("VaultConnection", "main", "Connected")
    mount = custom("VaultMount", team.ns, "kv", path=f"{team.ns}/kv", type="kv-v2", deletionPolicy="Delete", resyncPeriod="1h")
    kinds = [("VaultPolicy", "p"), ("VaultAppRole", "r"), ("VaultMount", "kv")]
    paths = [f"sys/policies/acl/{team.ns}-p", f"auth/approle/role/{team.ns}-r", f"sys/mounts/{team.ns}/kv"]
    since = len(bao.audit())

    def writes():
        made = [path for _, path in requests(bao, since)]
        return [sum(path == each or path.startswith(each + "/") for path in made) for each in paths]

    def look_while_it_lags(before):
        for _ in range(3):
            for kind, name in kinds:
                team.look(kind, name)
            time.sleep(0.7)
        wait_until(lambda: server.stale > before, 5, "stale answers")
        time.sleep(server.lag + 4)  # all that could follow from them

    team.apply(team.policy(resyncPeriod="1h"), team.role(resyncPeriod="1h"), mount)
    for kind, name in kinds:
        team.wait_reason(kind, name, "Reconciled")
    look_while_it_lags(0)
    assert writes() == [1, 1, 1], "made once"
    stale = server.stale
    team.apply(team.policy(path="ai-apis/data/y", resyncPeriod="1h"), team.role(tokenTTL="2h", resyncPeriod="1h"),
               mount | {"spec": mount["spec"] | {"description": "another"}})
    wait_until(lambda: writes() == [2, 2, 2], 15, "edited")
    look_while_it_lags(stale)
    print(f"{server.stale} stale answers")
    assert writes() == [2, 2, 2], "edited once"
    assert team.events("DriftRepaired") == [] and operator.metric("keyshepherd_drift_total") == 0
    for kind, name in kinds:
        assert team.condition(kind, name)["reason"] == "Reconciled"
    # A secret-id that the server does not know yet is not replaced.
    team.apply(custom("VaultSecretID", team.ns, "s", appRoleRef={"name": "r"}))
    team.wait_reason("VaultSecretID", "s", "Published", 30)
    stale = server.stale
    for _ in range(3):
        team.look("VaultSecretID", "s")
        time.sleep(0.7)
    wait_until(lambda: server.stale > stale, 5, "stale answers")
    time.sleep(server.lag + 4)
    assert team.events("Rotated") == [] and len(bao.secret_id_accessors(f"{team.ns}-r")) == 1, "one was issued"
    # What is deleted a moment after it was made is removed, although the server does not show it yet.
    team.apply(team.policy("brief"))
    wait_until(lambda: team.vault_policy("brief"), 10)
    team.delete("VaultPolicy", "brief")
    wait_until(lambda: team.stored("VaultPolicy", "brief") is None, 20)
    assert team.vault_policy("brief") is None


def test_an_edit_a_moment_after_a_write_is_repaired_at_once_and_a_deletion_soon(team, bao):
    team.apply(team.policy(resyncPeriod="1h"), team.policy("q", resyncPeriod="1h"))
    for name in "pq":
        team.wait_reason("VaultPolicy", name, "Reconciled")
    wanted = team.vault_policy()
    bao.root.sys.create_or_update_policy(f"{team.ns}-p", 'path "*" { capabilities = ["sudo"] }')
    bao.root.sys.delete_policy(f"{team.ns}-q")
    team.look("VaultPolicy", "p", "q")
    wait_until(lambda: team.vault_policy() == wanted, 10, "a third state is somebody's")
    wait_until(lambda: team.vault_policy("q") == wanted.replace("-p", "-q"), 15, "an absent one after a moment")


# ---- a refused login


def logins(bao, since, role_id):
    """Logins with that role-id, refused ones too. Connections of other tests may log in meanwhile."""
    hashed = bao.root.sys.calculate_hash("rig", role_id)["data"]["hash"]
    return sum(e["type"] == "response" and e["request"]["path"] == "auth/approle/login" and (e["request"].get("data") or {}).get("role_id") == hashed
               for e in bao.audit()[since:])


@pytest.fixture
def by_approle(installed, bao, operator):
    """connect(name) gives a team whose connection logs in by an AppRole of its own, the role's good credentials, and a function that
    puts a secret-id into the connection's Secret."""
    made = []

    def connect(name):
        role = f"login-{name}-{int(time.time())}"
        bao.root.auth.approle.create_or_update_approle(role, token_policies=["keyshepherd-operator"], token_ttl="1h")
        good = bao.approle_credentials(role)
        team = Team(installed, bao, auth={"appRole": {"secretName": "login"}})
        team.apply(*(team.policy(f"n{i}", resyncPeriod="10s") for i in range(4)))
        made.append(team)

        def secret(value):
            team.cluster.kubectl("apply", "-f", "-", input={
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": team.ns, "labels": rig.LOGIN_LABEL},
                "stringData": {"role_id": good["role_id"], "secret_id": value}})

        return team, good, secret

    yield connect
    for team in made:
        installed.kubectl("delete", "namespace", team.ns, "--wait=false")


def test_a_refused_login_is_not_repeated_until_its_secret_changes(by_approle, bao):
    """Five refused logins would lock the role for everyone."""
    team, good, secret = by_approle("refused")
    since = len(bao.audit())
    secret("wrong")
    told = team.wait_reason("VaultConnection", "main", "AuthFailed", 30)
    wait_until(lambda: "invalid role or secret ID" in team.condition("VaultConnection", "main")["message"], 15)
    told = team.condition("VaultConnection", "main")
    assert f"retries the login when Secret {team.ns}/login" in told["message"], told
    for i in range(4):
        team.wait_reason("VaultPolicy", f"n{i}", "AuthFailed")
    version = team.stored("VaultConnection", "main")["metadata"]["resourceVersion"]
    time.sleep(20)  # in which 8 logins would have been
    assert logins(bao, since, good["role_id"]) == 1, "of one connection with four resources"
    assert team.stored("VaultConnection", "main")["metadata"]["resourceVersion"] == version, "the message is a steady one"
    bao.login_approle(**good)  # is not locked

    secret(good["secret_id"])
    team.wait_reason("VaultConnection", "main", "Connected", 30)
    for i in range(4):
        team.wait_reason("VaultPolicy", f"n{i}", "Reconciled", 45)
    # The next pair is taken up while the old token lives.
    secret("wrong again")
    team.look("VaultConnection", "main")
    wait_until(lambda: team.condition("VaultConnection", "main")["reason"] == "AuthFailed", 75)


def test_a_locked_role_is_named(by_approle, bao):
    team, good, secret = by_approle("locked")
    for _ in range(6):
        with pytest.raises(hvac.exceptions.VaultError):
            bao.login_approle(good["role_id"], "wrong")
    since = len(bao.audit())
    secret(good["secret_id"])
    told = team.wait_reason("VaultConnection", "main", "LoginLocked", 30)
    assert "locked the role" in told["message"] and "15 minutes" in told["message"], told
    assert 1 <= logins(bao, since, good["role_id"]) <= 2, "one, and one that was under way"
    since = len(bao.audit())
    time.sleep(12)
    assert logins(bao, since, good["role_id"]) == 0, "a locked role is left alone"


# ---- a namespace that goes while the operator is down


def leave(team, operator, installed):
    """Makes a policy, a role and a secret-id, and deletes their namespace while the operator is down. Gives whether something of it is in
    Vault."""
    team.apply(team.policy(resyncPeriod="1h"), team.role(resyncPeriod="1h"), custom("VaultSecretID", team.ns, "s", appRoleRef={"name": "r"}))
    team.wait_reason("VaultPolicy", "p", "Reconciled")
    team.wait_reason("VaultSecretID", "s", "Published", 30)
    assert operator.stop() == 0
    installed.kubectl("delete", "namespace", team.ns, "--wait=false")
    account = f"/api/v1/namespaces/{team.ns}/serviceaccounts/keyshepherd-vault"
    wait_until(lambda: installed.request("GET", account).status_code == 404, 30, "the ServiceAccount goes first")
    assert team.vault_policy() and team.vault_role() and team.bao.secret_id_accessors(f"{team.ns}-r")

    def left():
        return [what for what, there in (("policy", team.vault_policy()), ("role", team.vault_role())) if there]

    operator._start()
    wait_until(lambda: operator.leading, 20, "leading")
    return left


def is_gone(installed, ns):
    return installed.request("GET", f"/api/v1/namespaces/{ns}").status_code == 404


def grant_of(ns):
    return {"namespaces": [ns], "names": [f"{ns}-*"], "mounts": ["approle"], "paths": ["ai-apis/*"], "policies": [f"{ns}-*"]}


def test_what_a_namespace_leaves_is_removed_by_another_login_that_is_granted(installed, bao, operator):
    team = Team(installed, bao)
    platform = Team(installed, bao)
    spec = platform.stored("VaultConnection", "main")["spec"]
    platform.apply(custom("VaultConnection", platform.ns, "main", **(spec | {"grants": [grant_of(team.ns)]})))
    before = operator.metric("keyshepherd_left_in_vault")  # of other tests
    left = leave(team, operator, installed)
    wait_until(lambda: is_gone(installed, team.ns), 60, "the namespace is gone")
    assert left() == [] and operator.metric("keyshepherd_left_in_vault") <= before
    installed.kubectl("delete", "namespace", platform.ns, "--wait=false")


def test_what_a_namespace_leaves_is_told_until_a_login_can_remove_it(installed, bao, operator):
    team = Team(installed, bao, deletionTimeout="5s")
    platform = Team(installed, bao)
    platform.wait_reason("VaultConnection", "main", "Connected")
    before = operator.metric("keyshepherd_left_in_vault")  # of other tests
    left = leave(team, operator, installed)
    wait_until(lambda: is_gone(installed, team.ns), 90, "the namespace is not held up")
    assert left() == ["policy", "role"]
    assert operator.metric("keyshepherd_left_in_vault") == before + 3

    def told():
        condition = platform.condition("VaultConnection", "main", "LeftInVault")
        return condition.get("message", "") if condition.get("status") == "True" else ""

    platform.look("VaultConnection", "main")
    named = [f"VaultPolicy {team.ns}/p", f"VaultAppRole {team.ns}/r", f"VaultSecretID {team.ns}/s"]
    wait_until(lambda: all(name in told() for name in named), 30, "the connection to that Vault tells of it")
    assert operator.stop() == 0
    operator._start()  # it is not forgotten
    wait_until(lambda: operator.leading and operator.metric("keyshepherd_left_in_vault") == before + 3, 20)
    spec = platform.stored("VaultConnection", "main")["spec"]
    platform.apply(custom("VaultConnection", platform.ns, "main", **(spec | {"grants": [grant_of(team.ns)]})))
    wait_until(lambda: left() == [], 75, "removed, now that it is granted")
    wait_until(lambda: operator.metric("keyshepherd_left_in_vault") <= before and not any(name in told() for name in named), 75)
    installed.kubectl("delete", "namespace", platform.ns, "--wait=false")


# ---- a server without namespaces


def test_a_connection_with_a_namespace_that_the_server_does_not_have_writes_nothing(team, bao):
    """HashiCorp Vault without an Enterprise license ignores X-Vault-Namespace, and OpenBao refuses the login to an unknown namespace."""
    connection = {k: v for k, v in team.stored("VaultConnection", "main").items() if k in ("apiVersion", "kind", "spec")}
    connection |= {"metadata": {"name": "apart", "namespace": team.ns}, "spec": connection["spec"] | {"vaultNamespace": "apart"}}
    since = len(bao.audit())
    team.apply(connection, team.policy(connectionRef={"name": "apart"}))
    told = team.wait_reason("VaultConnection", "apart", "AuthFailed" if bao.is_openbao else "InvalidSpec")
    assert ("namespace not found" if bao.is_openbao else "has no namespaces and would ignore apart") in told["message"], told
    wait_until(lambda: team.condition("VaultPolicy", "p").get("status") in ("False", "Unknown"), 10)
    assert team.vault_policy() is None and not [r for r in requests(bao, since) if team.ns in r[1]]
    team.delete("VaultPolicy", "p")
    wait_until(lambda: team.stored("VaultPolicy", "p") is None, 15, "what was never made is deleted at once")
