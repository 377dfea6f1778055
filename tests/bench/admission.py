"""The measuring half of admission.sh, which prepares the folder that this works in."""

import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")
TOLERATED = 0.15  # of a core, used by others
VOID_RUNS = 10


def reviews(count):
    """AdmissionReviews of some 3.3 KB as an API server sends them: Deployments that ask, no two alike."""
    rng = random.Random(1)
    words = "api web cart order search batch ledger mail image token stream audit queue cache price stock".split()
    for i in range(count):
        name = f"{rng.choice(words)}-{rng.choice(words)}-{i}"
        containers = [
            {
                "name": rng.choice(words) if c == 0 else f"side-{c}",
                "image": f"registry.example/{rng.choice(words)}/{rng.choice(words)}:{rng.randrange(9)}.{rng.randrange(99)}",
                "command": ["/usr/bin/" + rng.choice(words), f"--port={rng.randrange(1024, 9999)}"],
                "env": [{"name": f"{rng.choice(words).upper()}_{n}", "value": f"value-{rng.randrange(1 << 40):x}"} for n in range(rng.randrange(6, 14))],
                "ports": [{"containerPort": rng.randrange(1024, 9999), "name": "http", "protocol": "TCP"}],
                "resources": {"requests": {"cpu": f"{rng.randrange(10, 999)}m", "memory": f"{rng.randrange(16, 999)}Mi"}, "limits": {"memory": "1Gi"}},
                "readinessProbe": {"httpGet": {"path": "/ready", "port": "http", "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent",
                "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}],
            }
            for c in range(1 + i % 2)
        ]
        labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": rng.choice(words), "team": rng.choice(words)}
        yield json.dumps({
            "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": f"{rng.randrange(1 << 32):08x}-0000-4000-8000-{i:012x}",
                "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
                "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
                "requestKind": {"group": "apps", "version": "v1", "kind": "Deployment"},
                "requestResource": {"group": "apps", "version": "v1", "resource": "deployments"},
                "name": name, "namespace": "shop", "operation": "CREATE",
                "userInfo": {"username": "system:serviceaccount:argocd:argocd-application-controller", "uid": "6a1e", "groups": ["system:serviceaccounts", "system:serviceaccounts:argocd", "system:authenticated"]},
                "object": {
                    "kind": "Deployment", "apiVersion": "apps/v1",
                    "metadata": {"name": name, "namespace": "shop", "labels": labels, "creationTimestamp": None,
                                 "annotations": {"keyshepherd.dev/inject": "holysheep", "deployment.example.com/revision": str(i)}},
                    "spec": {
                        "replicas": rng.randrange(1, 9), "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
                        "template": {
                            "metadata": {"creationTimestamp": None, "labels": labels},
                            "spec": {"containers": containers, "volumes": [{"name": "config", "configMap": {"name": name, "defaultMode": 420}}],
                                     "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
                                     "serviceAccountName": rng.choice(words), "securityContext": {}, "schedulerName": "default-scheduler"},
                        },
                        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
                        "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
                    },
                    "status": {},
                },
                "oldObject": None, "dryRun": False, "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
            },
        }, separators=(",", ":"))


def processor_seconds(pids):
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def machine_seconds():
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return (sum(map(int, fields[:3])) + int(fields[5]) + int(fields[6])) / TICK


def rss_megabytes(pids):
    return sum(int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{p}/status").read_text())[1]) for p in pids) / 1024


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Server:
    def __init__(self, port, pids, process):
        self.port, self.pids, self.process = port, pids, process

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def context():
    return ssl.create_default_context(cafile="tls.crt")


def connect(port):
    return context().wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=10), server_hostname="localhost")


def start_ours(program):
    process = subprocess.Popen(
        [program, "webhook", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--kubernetes-version", "1.35", "--min-kubelet-version", "1.35", "--image", "registry.example/keyshepherd:0.1.0",
         "--tls-cert-file", "tls.crt", "--tls-key-file", "tls.key", "--drain-seconds", "0", "--shutdown-seconds", "2"], stderr=subprocess.PIPE)
    line = process.stderr.readline()
    try:
        port = int(json.loads(line)["address"].rsplit(":", 1)[1])
    except (ValueError, KeyError):
        sys.exit(f"the webhook did not start: {line.decode()}{process.stderr.read().decode()}")
    threading.Thread(target=process.stderr.read, daemon=True).start()
    return Server(port, [process.pid], process)


def start_floor(answer):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    # A parameter of nginx's configuration may have 4 KB; the answer is put together from pieces that need no escape.
    pieces = [("x" * 2000) for _ in range(len(answer) // 2000)] + ["x" * (len(answer) % 2000)]
    sets = "".join(f'set $p{i} "{piece}";\n' for i, piece in enumerate(pieces))
    work = os.getcwd()
    pathlib.Path("nginx.conf").write_text(f"""
user {"root" if os.geteuid() == 0 else "nobody"};
daemon off;
worker_processes 2;
pid {work}/nginx.pid;
error_log {work}/nginx.err;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path {work}/t1; proxy_temp_path {work}/t2; fastcgi_temp_path {work}/t3; uwsgi_temp_path {work}/t4; scgi_temp_path {work}/t5;
    keepalive_requests 1000000000;
    keepalive_timeout 300;
    client_body_buffer_size 64k;
    client_max_body_size 8m;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {work}/tls.crt;
        ssl_certificate_key {work}/tls.key;
        ssl_protocols TLSv1.3;
        location / {{
            default_type application/json;
            {sets}
            return 200 "{"".join(f"$p{i}" for i in range(len(pieces)))}";
        }}
    }}
}}
""")
    process = subprocess.Popen(["nginx", "-c", f"{work}/nginx.conf", "-p", work], stderr=subprocess.DEVNULL)
    for _ in range(100):
        with contextlib.suppress(OSError):
            connect(port).close()
            workers = children(process.pid)
            if len(workers) == 2:
                return Server(port, workers, process)
        time.sleep(0.05)
    process.terminate()
    sys.exit("nginx did not start: " + pathlib.Path("nginx.err").read_text())


class Run:
    """One run of wrk: requests, µs of processor time a request, p99 in ms, and what others used meanwhile (cores)."""

    def __init__(self, server, connections, seconds):
        own, machine, mine = processor_seconds(server.pids), machine_seconds(), os.times()
        start = time.monotonic()
        text = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", "rotate.lua", f"https://localhost:{server.port}/", "--", "reviews.jsonl"],
            capture_output=True, text=True, check=True).stdout
        wall = time.monotonic() - start
        own = processor_seconds(server.pids) - own
        clients = sum(os.times()[:4]) - sum(mine[:4])
        self.others = max(0.0, (machine_seconds() - machine - own - clients) / wall)
        self.requests = int(re.search(r"(\d+) requests in", text)[1])
        self.rate = self.requests / seconds
        self.cost = own / self.requests * 1e6
        value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
        self.p99 = float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
        if failed := re.search(r"Non-2xx.*|Socket errors.*", text):
            sys.exit(f"the run failed: {failed[0]}")


def pairs(floor, ours, connections, count, seconds):
    """`count` pairs in which nobody else used the machine, each in the other order than the last."""
    good, void = [], 0
    while len(good) < count and void < VOID_RUNS:
        order = (floor, ours) if len(good) % 2 == 0 else (ours, floor)
        runs = {id(server): Run(server, connections, seconds) for server in order}
        pair = runs[id(floor)], runs[id(ours)]
        others = max(run.others for run in pair)
        is_void = others > TOLERATED
        print(f"  c={connections}: floor {pair[0].cost:5.1f} µs, p99 {pair[0].p99:5.2f} ms, {pair[0].rate:6.0f}/s;"
              f" ours {pair[1].cost:5.1f} µs, p99 {pair[1].p99:5.2f} ms, {pair[1].rate:6.0f}/s;"
              f" others {others * 100:.0f} % of a core{', void' if is_void else ''}", flush=True)
        if is_void:
            void += 1
        else:
            good.append(pair)
    return good


def idle_megabytes(program, count):
    """Memory with `count` clients that shook hands and say nothing; the cap holds fewer of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    server = start_ours(program)
    idle = [connect(server.port) for _ in range(count)]
    time.sleep(0.3)
    megabytes = rss_megabytes(server.pids)
    for connection in idle:
        connection.close()
    server.stop()
    return megabytes


def refusal_milliseconds(port):
    """From the first byte sent to the whole answer, for 7 MiB of `[],` on a connection that is warm."""
    body = b"[" + b"[]," * ((7 << 20) // 3 - 2) + b"[]]"
    times = []
    for _ in range(11):
        client = http.client.HTTPSConnection("localhost", port, context=context(), timeout=20)
        client.request("GET", "/healthz")
        client.getresponse().read()
        start = time.monotonic()
        client.request("POST", "/mutate", body, {"Content-Type": "application/json"})
        answer = client.getresponse()
        answer.read()
        times.append((time.monotonic() - start) * 1000)
        assert answer.status == 413, answer.status
        client.close()
    return statistics.median(times)


def large_review(small):
    """The same as a small review, but for 3 MB of variables that the Deployment has of its own."""
    review = json.loads(small)
    pod = review["request"]["object"]["spec"]["template"]["spec"]
    pod["containers"] = [
        {**pod["containers"][0], "name": f"app-{c}", "env": [{"name": f"VARIABLE_{n}", "value": f"value-{n:040x}"} for n in range(3000)]}
        for c in range(12)
    ]
    return json.dumps(review, separators=(",", ":"))


def many_references(small, count):
    """A Deployment that asks for `count` different values out of Vault."""
    review = json.loads(small)
    container = review["request"]["object"]["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": f"KEY_{n}", "value": f"vault:kv/data/team/{n}#key"} for n in range(count)]
    return json.dumps(review, separators=(",", ":"))


def answers_to(server, body, count):
    """Milliseconds of processor time of an answer, the median of its time on a warm connection, and the last answer."""
    client = http.client.HTTPSConnection("localhost", server.port, context=context(), timeout=60)
    own, times = 0.0, []
    for i in range(count + 1):
        if i == 1:  # the first one opened the connection
            own = processor_seconds(server.pids)
        start = time.monotonic()
        client.request("POST", "/mutate", body, {"Content-Type": "application/json"})
        answer = client.getresponse()
        text = answer.read()
        times.append((time.monotonic() - start) * 1000)
        assert answer.status == 200, text[:300]
    own = processor_seconds(server.pids) - own
    client.close()
    return own / count * 1000, statistics.median(times[1:]), json.loads(text)["response"]


def main():
    program, work, count, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    os.chdir(work)
    bodies = list(reviews(1200))
    assert len(set(bodies)) == 1200
    pathlib.Path("reviews.jsonl").write_text("\n".join(bodies) + "\n")
    ours = start_ours(program)
    sizes = []
    client = http.client.HTTPSConnection("localhost", ours.port, context=context(), timeout=20)
    for body in bodies[:100]:
        client.request("POST", "/mutate", body, {"Content-Type": "application/json"})
        answer = client.getresponse()
        text = answer.read()
        assert answer.status == 200 and json.loads(text)["response"].get("patch"), text[:300]
        sizes.append(len(text))
    client.close()
    size = int(statistics.median(sizes))
    floor = start_floor("x" * size)
    print(f"reviews of {statistics.median(map(len, bodies)):.0f} bytes, answers of {size}")
    try:
        few = pairs(floor, ours, 16, count, seconds)
        rss = rss_megabytes(ours.pids)
        many = pairs(floor, ours, 50, count, seconds)
        refusal = refusal_milliseconds(ours.port)
        large = large_review(bodies[0])
        large_cpu, large_time, response = answers_to(ours, large, 20)
        assert response.get("patch"), str(response)[:300]
        references = {}
        for number in (8_000, 16_000, 40_000):
            references[number] = answers_to(ours, many_references(bodies[0], number), 5)
            assert not references[number][2]["allowed"]
    finally:
        ours.stop()
        floor.stop()
    idle = idle_megabytes(program, 1000)

    def median(values):
        values = list(values)
        return f"{statistics.median(values):.2f}" if len(values) == count else "void"

    small_bytes = statistics.median(map(len, bodies))
    rows = [
        ("processor time an admission, 16 connections, µs", median(o.cost for _, o in few), ""),
        ("  times the floor", median(o.cost / f.cost for f, o in few), "≤ 4"),
        ("admissions a second, one thread, 16 connections", median(o.rate for _, o in few), ""),
        ("p99 at 50 connections, ms", median(o.p99 for _, o in many), ""),
        ("  times the floor", median(o.p99 / f.p99 for f, o in many), "≤ 2"),
        ("memory at 16 connections, MB", f"{rss:.1f}", "≤ 20"),
        ("memory with 1,000 idle clients, MB", f"{idle:.1f}", ""),
        ("time to refuse 7 MiB of `[],`, ms", f"{refusal:.1f}", "≤ 20"),
        (f"processor time for a review of {len(large) / 1e6:.1f} MB, ms", f"{large_cpu:.1f}", ""),
        ("  ns a byte", f"{large_cpu * 1e6 / len(large):.1f}", ""),
        ("  times what a byte of a small review costs", median(large_cpu * 1e3 / len(large) / (o.cost / small_bytes) for _, o in few), "≤ 1"),
        ("  time of its answer, ms", f"{large_time:.1f}", ""),
        *((f"time to refuse {number:,} references, ms", f"{took:.1f}", "≤ 100") for number, (_, took, _) in references.items()),
    ]
    print()
    for name, value, goal in rows:
        print(f"{name:<50} {value:>9}  {goal}")


if __name__ == "__main__":
    main()
