"""The webhook's server against clients that are well-behaved, broken, slow or hostile.

Needs only the binary (KEYSHEPHERD, else build/dev/keyshepherd) and openssl. Deadlines are set short by the same flags
that operators have; every wait here has a bound of its own.
"""

import base64
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

BINARY = pathlib.Path(os.environ.get("KEYSHEPHERD", pathlib.Path(__file__).parents[2] / "build/dev/keyshepherd"))
CANARY = "sk-canary-4b1d9f2e77"
SERVED_WITHIN = 2.0  # seconds, whatever other clients do
SANITIZED = b"__asan_init" in BINARY.read_bytes() if BINARY.exists() else False


# ---- what the tests stand on


class Authority:
    """A private CA; issue() writes a leaf for localhost into a folder the way the kubelet mounts a Secret."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = folder / "ca.crt"
        self.generation = 0
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key")
        self._openssl("req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=test CA", "-days", "30", "-out", "ca.crt")

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    def pair(self, serial, days=7):
        stem = f"leaf-{serial}"
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{stem}.key")
        self._openssl("req", "-new", "-key", f"{stem}.key", "-subj", "/CN=localhost", "-out", f"{stem}.csr")
        (self.folder / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        self._openssl("x509", "-req", "-in", f"{stem}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-set_serial", str(serial),
                      "-days", str(days), "-extfile", "ext", "-out", f"{stem}.crt")
        return (self.folder / f"{stem}.crt").read_bytes(), (self.folder / f"{stem}.key").read_bytes()

    def mount(self, mount, certificate, key):
        """Swaps mount/..data, as the kubelet does; mount/tls.{crt,key} are links through it."""
        self.generation += 1
        data = mount / f"..{self.generation}"
        data.mkdir(parents=True)
        (data / "tls.crt").write_bytes(certificate)
        (data / "tls.key").write_bytes(key)
        (mount / "..data_tmp").symlink_to(data.name)
        (mount / "..data_tmp").rename(mount / "..data")
        for name in ("tls.crt", "tls.key"):
            if not (mount / name).is_symlink():
                (mount / name).symlink_to(f"..data/{name}")


class Webhook:
    def __init__(self, authority, mount, *flags, preexec=None):
        self.authority = authority
        arguments = {
            "--listen": "127.0.0.1:0", "--metrics-listen": "127.0.0.1:0", "--kubernetes-version": "1.35",
            "--min-kubelet-version": "1.35", "--image": "registry.example/keyshepherd:0.1.0", "--tls-cert-file": str(mount / "tls.crt"), "--tls-key-file": str(mount / "tls.key"),
            "--handshake-seconds": "1", "--request-seconds": "1.5", "--answer-seconds": "1.5", "--reload-seconds": "0.1",
            "--drain-seconds": "0.5", "--shutdown-seconds": "3", "--log-level": "debug",
        }
        arguments.update(zip(flags[::2], flags[1::2]))
        command = [str(BINARY), "webhook", *(part for pair in arguments.items() for part in pair)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=preexec)
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        serving = self.wait_for_log("serving", 20)
        self.port = int(serving["address"].rsplit(":", 1)[1])
        self.metrics_port = int(serving["metricsAddress"].rsplit(":", 1)[1])

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.decode())

    def log(self):
        return [json.loads(line) for line in list(self.lines)]

    def wait_for_log(self, msg, within=5.0, **fields):
        return eventually(
            lambda: next((e for e in self.log() if e["msg"] == msg and fields.items() <= e.items()), None), within,
            lambda: f"no log line {msg!r} in {self.lines}")

    def context(self):
        return ssl.create_default_context(cafile=str(self.authority.ca))

    def tcp(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def tls(self):
        return self.context().wrap_socket(self.tcp(), server_hostname="localhost")

    def client(self, timeout=5):
        return http.client.HTTPSConnection("localhost", self.port, timeout=timeout, context=self.context())

    def request(self, method, path, body=None, headers=None, client=None):
        own = client or self.client()
        try:
            own.request(method, path, body, headers or {})
            answer = own.getresponse()
            return answer, answer.read()
        finally:
            if client is None:
                own.close()

    def review(self, body, content_type="application/json", client=None):
        return self.request("POST", "/mutate?timeout=5s", body, {"Content-Type": content_type}, client)

    def metrics(self):
        client = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=5)
        client.request("GET", "/metrics")
        answer = client.getresponse()
        assert answer.status == 200
        return answer.read().decode()

    def metric(self, name, **labels):
        for line in self.metrics().splitlines():
            match = re.fullmatch(re.escape(name) + r"(?:\{(.*)\})? (\S+)", line)
            if match and dict(re.findall(r'(\w+)="([^"]*)"', match[1] or "")) == labels:
                return float(match[2])
        raise AssertionError(f"no metric {name} {labels}")

    def serial(self):
        with self.tls() as connection:
            return int(connection.getpeercert()["serialNumber"], 16)

    def assert_serves(self):
        start = time.monotonic()
        answer, body = self.review(review_of(deployment()))
        assert answer.status == 200 and json.loads(body)["response"]["allowed"] is True
        assert time.monotonic() - start < SERVED_WITHIN

    def rss_megabytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def stop(self, within=15):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self.reader.join(5)
        return code


def eventually(look, within=5.0, complaint=lambda: "it did not come about"):
    end = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(complaint())
        time.sleep(0.02)


def deployment(name="ai-application", annotations=None, env=None):
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "annotations": {"keyshepherd.dev/inject": "holysheep", **(annotations or {})}},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": "registry.example/app:1", "command": ["/app"], "env": env or []}]},
            },
        },
    }


def review_of(item, version="v1", uid="705ab4f5-6393-11e8-b7cc-42010a800002", **request):
    return json.dumps({
        "apiVersion": f"admission.k8s.io/{version}", "kind": "AdmissionReview",
        "request": {
            "uid": uid, "operation": "CREATE", "dryRun": False, "name": item["metadata"]["name"], "namespace": "shop",
            "kind": {"group": "apps", "version": "v1", "kind": item["kind"]},
            "resource": {"group": "apps", "version": "v1", "resource": "deployments"}, "object": item, "oldObject": None, **request,
        },
    })


def http_request(body=b"", method="POST", path="/mutate", headers=()):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    if not any(h.lower().startswith("transfer-encoding") for h in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def read_answers(connection, count, within=5.0):
    """Reads `count` HTTP answers; gives (status, headers, body) of each."""
    connection.settimeout(within)
    data, answers = b"", []
    while len(answers) < count:
        head, end, rest = data.partition(b"\r\n\r\n")
        if end:
            lines = head.decode().split("\r\n")
            headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}
            length = int(headers.get("content-length", 0))
            if len(rest) >= length:
                answers.append((int(lines[0].split()[1]), headers, rest[:length]))
                data = rest[length:]
                continue
        got = connection.recv(65536)
        assert got, f"the connection ended after {len(answers)} answers and {data!r}"
        data += got
    assert not data
    return answers


def closed_within(connection, seconds):
    """True once the other side has ended the connection, whatever it sends before."""
    connection.settimeout(seconds)
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            if not connection.recv(65536):
                return True
    except TimeoutError:
        return False
    except (ssl.SSLError, OSError):
        return True
    return False


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def start(authority, tmp_path):
    """start(*flags, …): a webhook of the test's own, ended with the test."""
    with contextlib.ExitStack() as stack:
        def begin(*flags, mount=None, preexec=None):
            folder = mount or tmp_path / "tls"
            if not folder.exists():
                authority.mount(folder, *authority.pair(1000))
            webhook = Webhook(authority, folder, *flags, preexec=preexec)
            stack.callback(lambda: webhook.process.poll() is None and webhook.process.kill())
            return webhook
        yield begin


@pytest.fixture(scope="module")
def shared(authority, tmp_path_factory):
    """One webhook for all tests that leave it as it was; it must survive them and end cleanly."""
    mount = tmp_path_factory.mktemp("mount") / "tls"
    authority.mount(mount, *authority.pair(1))
    webhook = Webhook(authority, mount)
    pid = webhook.process.pid
    yield webhook
    assert webhook.process.poll() is None and webhook.process.pid == pid
    assert webhook.stop() == 0
    for line in webhook.lines:
        assert {"ts", "level", "msg"} <= json.loads(line).keys()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", json.loads(line)["ts"])


# ---- requests


def test_answers_a_review_with_its_uid_and_a_patch(shared):
    for version in ("v1", "v1beta1"):
        answer, body = shared.review(review_of(deployment(), version, uid=f"uid-{version}"))
        assert answer.status == 200 and answer.getheader("Content-Type") == "application/json"
        review = json.loads(body)
        assert review["apiVersion"] == f"admission.k8s.io/{version}" and review["kind"] == "AdmissionReview"
        response = review["response"]
        assert response["uid"] == f"uid-{version}" and response["allowed"] is True and response["patchType"] == "JSONPatch"
        assert json.loads(base64.b64decode(response["patch"]))


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON ;v=1"])
def test_takes_json_in_any_spelling(shared, content_type):
    assert shared.review(review_of(deployment()), content_type)[0].status == 200


MALFORMED = {
    "empty body": (b"", 400),
    "truncated JSON": (review_of(deployment()).encode()[:200], 400),
    "no JSON": (b"\x16\x03\x01\x00\xff\xfe", 400),
    "1000 levels": (b"[" * 1000 + b"]" * 1000, 413),
    "3.5 million levels": (b"[" * 3_500_000 + b"]" * 3_500_000, 413),
    "8 MiB": (b'{"a":"' + b"x" * (8 << 20) + b'"}', 413),
    "request: null": (b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":null}', 400),
    "unknown version": (review_of(deployment(), "v2").encode(), 400),
    "a list": (b"[]", 400),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_refuses_what_is_no_review_with_a_short_reason(shared, case):
    body, status = MALFORMED[case]
    answer, reason = shared.review(body)
    assert answer.status == status
    assert 5 < len(reason) < 200 and reason.endswith(b"\n") and reason.count(b"\n") == 1
    shared.assert_serves()


@pytest.mark.parametrize("content_type", ["text/plain", "application/jsonx", "application/x-www-form-urlencoded", ""])
def test_refuses_another_media_type(shared, content_type):
    answer, reason = shared.review(review_of(deployment()), content_type)
    assert answer.status == 415 and b"application/json" in reason


def test_refuses_another_method_and_says_which_is_right(shared):
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer, _ = shared.request(method, "/mutate?timeout=1s")
        assert answer.status == 405 and answer.getheader("Allow") == "POST"
    assert shared.request("HEAD", "/mutate")[0].status == 405


def test_knows_its_paths(shared):
    assert shared.request("GET", "/healthz")[1] == b"ok\n"
    assert shared.request("GET", "/readyz?verbose")[0].status == 200
    answer, body = shared.request("HEAD", "/healthz")
    assert answer.status == 200 and body == b"" and answer.getheader("Content-Length") == "3"
    assert shared.request("POST", "/healthz")[0].status == 405
    for path in ("/", "/mutate/", "/metrics", "/../mutate", "/mutat"):
        assert shared.request("GET", path)[0].status == 404


def test_refuses_seven_mebibytes_of_small_lists_quickly(shared):
    body = b"[" + b"[]," * ((7 << 20) // 3 - 2) + b"[]]"
    assert 7 * (1 << 20) - 8 < len(body) <= 7 << 20
    client = shared.client()
    shared.review(b"{}", client=client)
    start = time.monotonic()
    answer, _ = shared.review(body, client=client)
    took = time.monotonic() - start
    assert answer.status == 413
    print(f"\nrefused 7 MiB of small lists in {took * 1000:.1f} ms")
    assert took < SERVED_WITHIN


def test_takes_headers_up_to_the_limit(shared):
    for size in (4_000, 8_150, 8_192, 12_000, 16_000):
        for pieces in (1, 3):
            request = http_request(method="GET", path="/healthz", headers=("X-A: " + "a" * (size - 100),))
            with shared.tls() as connection:
                for i in range(pieces):
                    connection.sendall(request[i * len(request) // pieces:(i + 1) * len(request) // pieces])
                    time.sleep(0.01)
                assert read_answers(connection, 1)[0][0] == 200, size


def test_refuses_headers_without_end(shared):
    for lines in (b"X-A: " + b"a" * 20_000 + b"\r\n", b"".join(b"X-%d: a\r\n" % i for i in range(3000))):
        with shared.tls() as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n")
            assert read_answers(connection, 1)[0][0] == 431
    with shared.tls() as connection:  # one line at a time, so that each is taken before the next comes
        with contextlib.suppress(OSError):
            connection.sendall(b"GET /healthz HTTP/1.1\r\n")
            for i in range(40):
                connection.sendall(b"X-%d: " % i + b"a" * 500 + b"\r\n")
                time.sleep(0.005)
        assert read_answers(connection, 1)[0][0] == 431
    shared.assert_serves()


@pytest.mark.parametrize("garbage", [b"\r\n\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 100 + b"\r\n\r\n",
                                     b"POST /mutate HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                                     b"POST /mutate HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
                                     b"POST /mutate HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                                     b"POST /mutate HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"x" * 60_000])
def test_answers_400_to_what_is_no_http(shared, garbage):
    with shared.tls() as connection:
        connection.sendall(garbage)
        status, headers, _ = read_answers(connection, 1)[0]
        assert status == 400 and headers["connection"] == "close"
        assert closed_within(connection, 3)
    shared.assert_serves()


def test_answers_pipelined_requests_in_order(shared):
    bodies = [review_of(deployment(), uid=f"uid-{i}").encode() for i in range(20)]
    with shared.tls() as connection:
        connection.sendall(b"".join(http_request(body) for body in bodies) + http_request(method="GET", path="/healthz"))
        answers = read_answers(connection, 21)
    assert [json.loads(body)["response"]["uid"] for _, _, body in answers[:20]] == [f"uid-{i}" for i in range(20)]
    assert answers[20][2] == b"ok\n"


def test_takes_a_body_in_chunks_of_any_size(shared):
    body = review_of(deployment(), uid="chunked").encode()
    for size in (1, 7, 1000, len(body)):
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + size]), body[i:i + size]) for i in range(0, len(body), size)) + b"0\r\n\r\n"
        with shared.tls() as connection:
            connection.sendall(http_request(chunks, headers=("Transfer-Encoding: chunked",)) + http_request(method="GET", path="/healthz"))
            answers = read_answers(connection, 2)
        assert answers[0][0] == 200 and json.loads(answers[0][2])["response"]["uid"] == "chunked"
        assert answers[1][2] == b"ok\n"


def test_caps_a_chunked_body_too(shared):
    with shared.tls() as connection:
        with contextlib.suppress(OSError):
            connection.sendall(http_request(headers=("Transfer-Encoding: chunked",)))
            for _ in range(9):
                connection.sendall(b"100000\r\n" + b"x" * (1 << 20) + b"\r\n")
        assert read_answers(connection, 1)[0][0] == 413
    shared.assert_serves()


def test_invites_a_body_that_waits_for_100_continue(shared):
    body = review_of(deployment()).encode()
    with shared.tls() as connection:
        request = http_request(body, headers=("Expect: 100-continue",))
        connection.sendall(request[:-len(body)])
        assert read_answers(connection, 1)[0][0] == 100
        connection.sendall(body)
        assert read_answers(connection, 1)[0][0] == 200
    with shared.tls() as connection:  # too large: refused before it is sent
        connection.sendall(b"POST /mutate HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 8000000\r\n\r\n")
        assert read_answers(connection, 1)[0][0] == 413
    with shared.tls() as connection:
        connection.sendall(b"POST /mutate HTTP/1.1\r\nExpect: a-miracle\r\nContent-Length: 8\r\n\r\n")
        assert read_answers(connection, 1)[0][0] == 417


def test_keeps_or_closes_a_connection_as_asked(shared):
    with shared.tls() as connection:
        connection.sendall(http_request(method="GET", path="/healthz", headers=("Connection: close",)))
        status, headers, _ = read_answers(connection, 1)[0]
        assert status == 200 and headers["connection"] == "close"
        assert closed_within(connection, 2)
    with shared.tls() as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert read_answers(connection, 1)[0][0] == 200
        assert closed_within(connection, 2)
    with shared.tls() as connection:
        for _ in range(3):
            connection.sendall(http_request(method="GET", path="/healthz"))
            assert "connection" not in read_answers(connection, 1)[0][1]


def test_speaks_tls_12_and_13_and_http11_by_alpn(shared):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = shared.context()
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(["h2", "http/1.1"])
        with context.wrap_socket(shared.tcp(), server_hostname="localhost") as connection:
            assert connection.selected_alpn_protocol() == "http/1.1"
    context = shared.context()
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError):
        context.wrap_socket(shared.tcp(), server_hostname="localhost")


# ---- clients that are broken, slow or hostile


def test_survives_garbage_and_plain_http_on_the_tls_port(shared):
    for garbage in (b"\x00" * 4096, b"\x16\x03\x01\x40\x00" + b"\xff" * 16384, os.urandom(2048), b"\x16\x03\x01"):
        with shared.tcp() as connection:
            connection.sendall(garbage)
            assert closed_within(connection, 3)
    with shared.tcp() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
    with shared.tls() as connection:  # garbage behind a good handshake, below TLS
        os.write(connection.fileno(), b"\x17\x03\x03\x00\x20" + b"\x55" * 32)
        assert closed_within(connection, 3)
    shared.assert_serves()


def drip(connection, data, stop):
    with contextlib.suppress(OSError):
        for i in range(len(data)):
            if stop.wait(0.1):
                return
            connection.send(data[i:i + 1])


def test_a_byte_at_a_time_does_not_stretch_a_deadline(shared):
    hello = ssl.MemoryBIO()
    handshake = shared.context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        handshake.do_handshake()
    body = review_of(deployment()).encode()
    cases = {
        "handshake": (shared.tcp(), hello.read()),
        "header": (shared.tls(), http_request(body)),
        "body": (shared.tls(), body),
    }
    cases["body"][0].sendall(http_request(body)[:-len(body)])
    stop = threading.Event()
    start = time.monotonic()
    threads = [threading.Thread(target=drip, args=(*case, stop), daemon=True) for case in cases.values()]
    for thread in threads:
        thread.start()
    shared.assert_serves()
    try:
        for name, (connection, _) in cases.items():
            assert closed_within(connection, 4), name
            assert time.monotonic() - start < 4, name
    finally:
        stop.set()
        for connection, _ in cases.values():
            connection.close()


def test_a_client_that_never_reads_is_cut_off_and_hurts_nobody(start):
    webhook = start()
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(5)
    raw.connect(("127.0.0.1", webhook.port))
    connection = webhook.context().wrap_socket(raw, server_hostname="localhost")
    requests = http_request(review_of(deployment()).encode()) * 3000

    def flood():
        with contextlib.suppress(OSError):
            connection.sendall(requests)

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    eventually(lambda: webhook.metric("keyshepherd_admission_requests_total", outcome="injected", reason="", dry_run="false") > 50)
    webhook.assert_serves()
    eventually(lambda: webhook.metric("keyshepherd_sessions_closed_total", reason="timeout") == 1, 10)
    assert webhook.metric("keyshepherd_sessions") == 0
    thread.join(5)
    connection.close()
    assert webhook.metric("keyshepherd_body_bytes_in_flight") == 0


def test_serves_a_client_that_closed_its_sending_half(shared):
    connection = shared.tls()
    connection.sendall(http_request(review_of(deployment()).encode()))
    socket.socket.shutdown(connection, socket.SHUT_WR)  # TCP's FIN, without a close_notify
    assert read_answers(connection, 1)[0][0] == 200
    assert closed_within(connection, 2)
    connection.close()


def test_survives_resets_at_any_point(shared):
    request = http_request(review_of(deployment()).encode())
    for length in (0, 1, 40, 150, len(request) - 1, len(request)):
        for tls in (False, True):
            connection = shared.tls() if tls else shared.tcp()
            connection.sendall(request[:length])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
    shared.assert_serves()
    eventually(lambda: shared.metric("keyshepherd_sessions") == 0)
    assert shared.metric("keyshepherd_body_bytes_in_flight") == 0


def raise_open_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))


def test_a_thousand_idle_connections_and_more_are_bounded(start):
    raise_open_files()
    webhook = start("--handshake-seconds", "60")
    worker = webhook.client()
    assert webhook.review(review_of(deployment()), client=worker)[0].status == 200
    idle = []
    try:
        for i in range(1100):
            connection = webhook.tls() if i % 2 == 0 else webhook.tcp()
            idle.append(connection)
            if i % 100 == 0:
                webhook.assert_serves()
                assert webhook.review(review_of(deployment()), client=worker)[0].status == 200  # never the longest idle
        webhook.assert_serves()
        assert 500 <= webhook.metric("keyshepherd_sessions") <= 512
        assert webhook.metric("keyshepherd_sessions_closed_total", reason="evicted") >= 1100 - 512
        print(f"\n{webhook.rss_megabytes():.0f} MB with 1,100 clients that idle")
        assert SANITIZED or webhook.rss_megabytes() < 100
        assert closed_within(idle[0], 2), "the longest idle goes first"
        assert not closed_within(idle[-1], 0.2)
    finally:
        for connection in idle:
            connection.close()
    webhook.assert_serves()
    eventually(lambda: webhook.metric("keyshepherd_sessions") <= 1, 10)


def test_slow_senders_up_to_the_cap_are_replaced_too(start):
    webhook = start("--max-sessions", "20", "--request-seconds", "60")
    slow = [webhook.tls() for _ in range(20)]
    for connection in slow:
        connection.sendall(http_request(b"x" * 100)[:-1])
    webhook.assert_serves()
    assert webhook.metric("keyshepherd_sessions") <= 20
    assert webhook.metric("keyshepherd_sessions_closed_total", reason="evicted") >= 1
    for connection in slow:
        connection.close()


def test_bodies_of_all_sessions_share_a_budget(start):
    webhook = start("--max-bodies-bytes", str(3 << 20), "--request-seconds", "20")
    slow = [webhook.tls() for _ in range(3)]
    for connection in slow:
        connection.sendall(http_request(b" " * (1 << 20) + b"{}")[:-3])
    eventually(lambda: webhook.metric("keyshepherd_body_bytes_in_flight") > (3 << 20) - 10)
    answer, reason = webhook.review(review_of(deployment()))
    assert answer.status == 503 and int(answer.getheader("Retry-After")) > 0 and b"try again" in reason
    for connection in slow:
        connection.close()
    eventually(lambda: webhook.metric("keyshepherd_body_bytes_in_flight") == 0)
    webhook.assert_serves()


@pytest.mark.skipif(SANITIZED, reason="UBSan's check of vptr opens a pipe, and reports a fault when it cannot")
def test_lives_on_when_descriptors_run_out(start):
    # Above what the process itself has open, below what the clients want; the soft limit is raised to the hard one.
    webhook = start("--handshake-seconds", "60", preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)))
    idle = [webhook.tcp() for _ in range(60)]
    webhook.wait_for_log("cannot accept a connection")
    for connection in idle:
        connection.close()
    eventually(lambda: webhook.metric("keyshepherd_sessions") == 0, 10)
    webhook.assert_serves()
    assert sum(e["msg"] == "cannot accept a connection" for e in webhook.log()) <= 2


def test_keeps_an_idle_connection_and_ends_it_at_the_limit(start):
    webhook = start("--idle-seconds", "1")
    with webhook.tls() as connection:
        connection.sendall(http_request(method="GET", path="/healthz"))
        read_answers(connection, 1)
        assert not closed_within(connection, 0.6)
        assert closed_within(connection, 2)
    assert webhook.metric("keyshepherd_sessions_closed_total", reason="idle") == 1


# ---- certificates and providers


def test_takes_a_new_certificate_under_load_without_a_failed_request(start, authority, tmp_path):
    mount = tmp_path / "tls"
    pairs = [authority.pair(5000 + i) for i in range(4)]
    authority.mount(mount, *pairs[0])
    webhook = start(mount=mount)
    assert webhook.serial() == 5000
    old = webhook.client()
    assert webhook.request("GET", "/healthz", client=old)[0].status == 200
    body, stop = review_of(deployment()), threading.Event()

    def load(fresh):
        served, client = 0, webhook.client()
        while not stop.is_set():
            if fresh:
                client = webhook.client()
            assert webhook.review(body, client=client)[0].status == 200
            served += 1
            if fresh:
                client.close()
        client.close()
        return served

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        loads = [pool.submit(load, fresh) for fresh in (True, True, True, False, False, False)]
        try:
            for i in (1, 2, 3):
                authority.mount(mount, *pairs[i])
                eventually(lambda: webhook.serial() == 5000 + i)
        finally:
            stop.set()
        served = [each.result(10) for each in loads]
    assert min(served) > 5
    assert webhook.request("GET", "/healthz", client=old)[0].status == 200
    assert int(old.sock.getpeercert()["serialNumber"], 16) == 5000
    assert webhook.metric("keyshepherd_certificate_reloads_total") == 3
    assert webhook.metric("keyshepherd_certificate_reload_errors_total") == 0


def test_a_bad_pair_keeps_the_old_one_and_is_counted_once(start, authority, tmp_path):
    mount = tmp_path / "tls"
    good, other = authority.pair(6000), authority.pair(6001)
    authority.mount(mount, *good)
    webhook = start(mount=mount)
    expiry = webhook.metric("keyshepherd_certificate_expiry_seconds")
    assert 6.9 * 86400 < expiry - time.time() < 7.1 * 86400
    bad = [(good[0], other[1]), (b"", b""), (good[0], b"-----BEGIN PRIVATE KEY-----\n"), authority.pair(6002, days=0)]
    for count, pair in enumerate(bad, 1):
        authority.mount(mount, *pair)
        eventually(lambda: webhook.metric("keyshepherd_certificate_reload_errors_total") == count)
        time.sleep(0.3)  # some more looks at the same files
        assert webhook.metric("keyshepherd_certificate_reload_errors_total") == count
        assert webhook.serial() == 6000
        assert webhook.request("GET", "/readyz")[0].status == 200
    assert sum(e["msg"] == "cannot load the new certificate; keeping the current one" for e in webhook.log()) == len(bad)
    assert webhook.metric("keyshepherd_certificate_expiry_seconds") == expiry
    authority.mount(mount, *other)
    eventually(lambda: webhook.serial() == 6001)
    assert not any("PRIVATE KEY" in line for line in webhook.lines)


def test_is_not_ready_with_an_expired_certificate(start, authority, tmp_path):
    mount = tmp_path / "tls"
    authority.mount(mount, *authority.pair(7000, days=0))
    webhook = start(mount=mount)
    client = http.client.HTTPConnection("127.0.0.1", webhook.metrics_port, timeout=5)
    client.request("GET", "/readyz")
    answer = client.getresponse()
    assert answer.status == 503 and b"expired" in answer.read()


def test_takes_new_providers_and_keeps_the_old_on_a_bad_file(start, tmp_path):
    def write(text):
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").rename(tmp_path / "providers.yaml")

    def provider(name):
        return json.dumps({
            "apiVersion": "keyshepherd.dev/v1alpha1", "kind": "ClusterAIProvider", "metadata": {"name": name},
            "spec": {"path": f"ai-apis/data/{name}", "variables": [{"name": "EXAMPLE_KEY", "key": "api_key"}],
                     "vault": {"address": "https://vault.example:8200"}, "auth": {"role": name}},
        })

    def known(name):
        item = deployment(annotations={"keyshepherd.dev/inject": name})
        return json.loads(webhook.review(review_of(item))[1])["response"]["allowed"]

    write(provider("first"))
    webhook = start("--providers", str(tmp_path / "providers.yaml"), "--allowed-vault-address", "https://vault.example:8200")
    assert known("first") and not known("second")
    write(provider("second"))
    webhook.wait_for_log("providers loaded")
    assert known("second") and not known("first")
    write('{"apiVersion": "keyshepherd.dev/v1alpha1", "kind": "ClusterAIProvider"}')
    webhook.wait_for_log("cannot load the new providers; keeping the current ones")
    assert webhook.metric("keyshepherd_provider_reload_errors_total") == 1
    assert known("second")


# ---- the end


def test_drains_and_finishes_what_is_under_way(start):
    webhook = start("--drain-seconds", "1", "--request-seconds", "10")
    body = review_of(deployment()).encode()
    in_flight = webhook.tls()
    in_flight.sendall(http_request(body)[:-10])
    idle = webhook.tls()
    idle.sendall(http_request(method="GET", path="/healthz"))
    assert "connection" not in read_answers(idle, 1)[0][1]
    webhook.process.send_signal(signal.SIGTERM)
    webhook.wait_for_log("draining")
    answer, reason = webhook.request("GET", "/readyz")  # a new connection, while draining
    assert answer.status == 503 and b"shutting down" in reason and answer.getheader("Connection") == "close"
    assert webhook.request("GET", "/healthz")[0].status == 200
    answer, _ = webhook.review(body)
    assert answer.status == 200 and answer.getheader("Connection") == "close"
    webhook.wait_for_log("stopping")
    assert closed_within(idle, 2)
    eventually(lambda: not accepts(webhook.port))
    in_flight.sendall(http_request(body)[-10:])
    status, headers, _ = read_answers(in_flight, 1)[0]
    assert status == 200 and headers["connection"] == "close"
    in_flight.close()
    assert webhook.process.wait(5) == 0
    webhook.reader.join(5)
    assert webhook.log()[-1]["msg"] == "stopped"


def test_serves_the_connections_that_wait_to_be_accepted_when_it_stops(start):
    webhook = start("--drain-seconds", "0")
    webhook.process.send_signal(signal.SIGSTOP)
    waiting = [webhook.tcp() for _ in range(40)]
    webhook.process.send_signal(signal.SIGTERM)
    webhook.process.send_signal(signal.SIGCONT)
    webhook.wait_for_log("stopping")
    with concurrent.futures.ThreadPoolExecutor(len(waiting)) as pool:
        def ask(raw):
            with webhook.context().wrap_socket(raw, server_hostname="localhost") as connection:
                connection.sendall(http_request(method="GET", path="/healthz"))
                return read_answers(connection, 1)[0]

        for status, headers, _ in pool.map(ask, waiting):
            assert status == 200 and headers["connection"] == "close"
    assert webhook.process.wait(10) == 0


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def test_loses_no_request_of_clients_that_come_and_go_while_it_ends(start):
    webhook = start("--drain-seconds", "0.3")
    body, refused, served = review_of(deployment()), threading.Event(), []

    def load():
        while not refused.is_set():
            client = webhook.client()
            try:
                client.connect()
            except OSError:  # the API server would go to another replica
                refused.set()
                return
            served.append(webhook.review(body, client=client)[0].status)
            client.close()

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        loads = [pool.submit(load) for _ in range(6)]
        time.sleep(0.3)
        webhook.process.send_signal(signal.SIGTERM)
        for each in loads:
            each.result(10)
    assert len(served) > 20 and set(served) == {200}
    assert webhook.process.wait(10) == 0


def test_ends_within_its_bound_with_clients_that_are_stuck(start):
    webhook = start("--drain-seconds", "0.2", "--shutdown-seconds", "1", "--request-seconds", "60", "--handshake-seconds", "60")
    stuck = [webhook.tcp(), webhook.tls(), webhook.tls(), webhook.tls()]
    stuck[1].sendall(b"POST /mutate HTTP/1.1\r\nContent-")
    stuck[2].sendall(http_request(b"x" * 100)[:-1])
    metrics = socket.create_connection(("127.0.0.1", webhook.metrics_port))
    begin = time.monotonic()
    assert webhook.stop(5) == 0
    assert time.monotonic() - begin < 3
    assert any(e["msg"] == "closing connections that did not finish in time" for e in webhook.log())
    for connection in (*stuck, metrics):
        connection.close()


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(start, first):
    webhook = start("--drain-seconds", "30")
    webhook.process.send_signal(first)
    webhook.wait_for_log("draining")
    webhook.process.send_signal(signal.SIGTERM)
    assert webhook.process.wait(2) == 128 + signal.SIGTERM


def test_names_what_is_missing_at_start(tmp_path, authority):
    mount = tmp_path / "tls"
    authority.mount(mount, *authority.pair(8000))
    files = ["--tls-cert-file", str(mount / "tls.crt"), "--tls-key-file", str(mount / "tls.key")]
    version = ["--kubernetes-version", "1.35"]
    any_port = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]
    cases = [
        ([*files, *any_port], 1, "--kubernetes-version"),
        ([*version, *any_port], 1, "--tls-cert-file"),
        ([*files[:2], "--tls-key-file", str(authority.ca), *version, *any_port], 1, "private key"),
        ([*files[:2], "--tls-key-file", "/nowhere/tls.key", *version, *any_port], 1, "--tls-key-file: cannot open /nowhere/tls.key"),
        (["--tls-cert-file", "/nowhere/tls.crt", *files[2:], *version, *any_port], 1, "--tls-cert-file: cannot open /nowhere/tls.crt"),
        ([*files, *version, *any_port, "--agent-memory-limit", "lots"], 1, "--agent-memory-limit: invalid value"),
        ([*files, *version, *any_port, "--default-provider", "nobody"], 1, "--default-provider: provider not found; available providers: holysheep"),
        ([*files, *version, "--listen", "localhost"], 1, "HOST:PORT"),
        ([*files, *version, "--providers", "/nowhere/providers.yaml", *any_port], 1, "/nowhere/providers.yaml"),
    ]
    for arguments, code, word in cases:
        ended = subprocess.run([str(BINARY), "webhook", *arguments], capture_output=True, text=True, timeout=20)
        assert ended.returncode == code and word in ended.stderr, arguments


# ---- what it tells


def test_counts_what_it_does(start):
    webhook = start()
    outcomes = dict(outcome="injected", reason="")
    webhook.review(review_of(deployment()))
    webhook.review(review_of(deployment(), dryRun=True))
    webhook.review(b"{")
    webhook.review(b"{}", "text/plain")
    assert webhook.metric("keyshepherd_admission_requests_total", dry_run="false", **outcomes) == 1
    assert webhook.metric("keyshepherd_admission_requests_total", dry_run="true", **outcomes) == 1
    assert webhook.metric("keyshepherd_admission_requests_total", outcome="malformed", reason="", dry_run="false") == 1
    assert webhook.metric("keyshepherd_admission_requests_total", outcome="other", reason="other", dry_run="false") == 0
    assert webhook.metric("keyshepherd_http_requests_total", code="200") == 2
    assert webhook.metric("keyshepherd_http_requests_total", code="415") == 1
    assert webhook.metric("keyshepherd_admission_duration_seconds_count") == 3
    eventually(lambda: webhook.metric("keyshepherd_sessions") == 0)
    with webhook.tls():
        eventually(lambda: webhook.metric("keyshepherd_sessions") == 1)
    text = webhook.metrics()
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) keyshepherd_\w+ .+|keyshepherd_\w+(\{(\w+=\"[^\"]*\",?)*\})? [-+.e\w]+", line), line
    names = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    assert names == set(re.findall(r"^# HELP (\S+)", text, re.M)) and "keyshepherd_build_info" in names


def test_logs_identity_and_outcome_and_never_a_value(start):
    webhook = start("--log-level", "trace")
    env = [{"name": "TOKEN", "value": CANARY}, {"name": "HOLYSHEEP_API_KEY", "value": CANARY + "-own"}]
    secret = {"annotation": deployment(annotations={"keyshepherd.dev/role": CANARY, "example.com/note": CANARY}, env=env),
              "denied": deployment(annotations={"keyshepherd.dev/wiring": CANARY, "keyshepherd.dev/on-conflict": CANARY}, env=env),
              "spec": deployment(annotations={"keyshepherd.dev/spec": '{"wiring": "' + CANARY}, env=env)}
    for item in secret.values():
        webhook.review(review_of(item, uid="uid-identity"))
    for body in (CANARY, f'{{"{CANARY}": ', review_of(secret["annotation"])[:-30], f'{{"apiVersion":"{CANARY}"}}', f'{{"kind":"AdmissionReview","apiVersion":"{CANARY}"}}'):
        answer, reason = webhook.review(body)
        assert answer.status == 400 and CANARY not in reason.decode()
    webhook.request("GET", f"/{CANARY}", headers={"Authorization": CANARY})
    webhook.request("POST", "/mutate", CANARY, {"Content-Type": CANARY})
    metrics = webhook.metrics()
    assert webhook.stop() == 0
    assert CANARY not in metrics
    assert not [line for line in webhook.lines if CANARY in line]
    entries = [e for e in webhook.log() if e.get("uid") == "uid-identity"]
    assert len(entries) == 3
    denied = {e["fields"] for e in entries if e["outcome"] == "denied"}
    assert "metadata.annotations[keyshepherd.dev/on-conflict], metadata.annotations[keyshepherd.dev/wiring]" in denied
    assert not [e for e in entries if e["outcome"] != "denied" and "fields" in e]
    for entry in entries:
        assert (entry["kind"], entry["namespace"], entry["name"], entry["operation"]) == ("Deployment", "shop", "ai-application", "CREATE")
        assert entry["durationMs"] >= 0 and entry["outcome"] in ("injected", "denied")


def test_help_names_every_flag_with_its_variable():
    text = subprocess.run([str(BINARY), "webhook", "--help"], capture_output=True, text=True, timeout=20).stdout
    for flag in re.findall(r"^  (--[a-z-]+)", text, re.M):
        assert flag == "--help" or "KEYSHEPHERD_" + flag[2:].replace("-", "_").upper() in text
    for flag in ("--listen", "--metrics-listen", "--tls-cert-file", "--drain-seconds", "--handshake-seconds", "--kubernetes-version"):
        assert flag in text


def test_logs_text_when_asked_and_takes_flags_from_the_environment(authority, tmp_path):
    authority.mount(tmp_path / "tls", *authority.pair(9000))
    environment = {"KEYSHEPHERD_LISTEN": "127.0.0.1:0", "KEYSHEPHERD_METRICS_LISTEN": "127.0.0.1:0", "KEYSHEPHERD_LOG_FORMAT": "text",
                   "KEYSHEPHERD_KUBERNETES_VERSION": "1.35", "KEYSHEPHERD_DRAIN_SECONDS": "0",
                   "KEYSHEPHERD_TLS_CERT_FILE": str(tmp_path / "tls/tls.crt"), "KEYSHEPHERD_TLS_KEY_FILE": str(tmp_path / "tls/tls.key")}
    process = subprocess.Popen([str(BINARY), "webhook"], env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True)
    first = process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    rest = process.communicate(timeout=10)[1]
    assert process.returncode == 0
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z info  serving address=127\.0\.0\.1:\d+ .*lowestKubelet=1\.32 ", first), first
    assert rest.splitlines()[-1].endswith(" info  stopped")
