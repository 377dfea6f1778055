"""The measuring half of operator.sh; a file `operator.py` would hide Python's own module."""

import argparse
import http.client
import json
import os
import pathlib
import re
import ssl
import sys
import threading
import time
import urllib.parse

import rig
from rig import custom, wait_until

THREADS = 8
TICK = os.sysconf("SC_CLK_TCK")
NAMESPACE = "bench"
# Of vault-config-operator (Go) on this kind of machine: see the goals.
PEER_RATE, PEER_CPU_OF_500 = 53, 2.0


# ---- what a process has used -----------------------------------------------------------------------------------------------


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def megabytes(pid, what="VmRSS"):
    return int(re.search(rf"{what}:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def machine_cpu():
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return (sum(map(int, fields[:3])) + int(fields[5]) + int(fields[6])) / TICK


# ---- many requests over a few connections ------------------------------------------------------------------------------------


class Http:
    """One keep-alive connection with a fixed header."""

    def __init__(self, url, ca, certificate=None, token=None):
        parsed = urllib.parse.urlsplit(url)
        context = ssl.create_default_context(cafile=str(ca))
        if certificate:
            context.load_cert_chain(*certificate)
        self._connection = http.client.HTTPSConnection(parsed.hostname, parsed.port, context=context, timeout=60)
        self._headers = {"X-Vault-Token": token} if token else {}

    def __call__(self, method, path, body=None, content_type="application/json"):
        self._connection.request(method, path, None if body is None else json.dumps(body),
                                 self._headers | {"Content-Type": content_type})
        answer = self._connection.getresponse()
        text = answer.read()
        return answer.status, text


def fan_out(connect, items, work):
    """work(http, item) for all, by THREADS threads with a connection each: seconds."""
    waiting, failures = list(reversed(items)), []

    def run():
        try:
            client = connect()
            while waiting and not failures:
                work(client, waiting.pop())
        except IndexError:
            pass
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return time.monotonic() - began


def expect(answer, *statuses):
    if answer[0] not in statuses:
        raise RuntimeError(f"{answer[0]}: {answer[1][:300]}")


# ---- the bench ---------------------------------------------------------------------------------------------------------------


class Audit:
    """What the operator asked of OpenBao since `mark`, by operation; the file is read on, never again."""

    def __init__(self, bao):
        self._file = bao.audit_file.open("rb")
        self._rest = b""
        self.counts = {}
        self.mark()

    def mark(self):
        self._read()
        self.counts = {}

    def read(self):
        self._read()
        return self.counts

    def _read(self):
        lines = (self._rest + self._file.read()).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if b'"type":"request"' not in line or b'"policies":["root"]' in line:
                continue
            entry = json.loads(line)
            if entry["type"] != "request" or "root" in entry.get("auth", {}).get("policies", []):
                continue
            path, operation = entry["request"]["path"], entry["request"]["operation"]
            kind = "login" if path.endswith("/login") else "own token" if path.startswith("auth/token/") else \
                operation if "bench-" in path or "detailed" in path else f"other {operation}"
            self.counts[kind] = self.counts.get(kind, 0) + 1

    @property
    def writes(self):
        return sum(self.counts.get(k, 0) for k in ("create", "update", "delete"))


class Bench:
    def __init__(self, folder, options):
        self.folder, self.options = pathlib.Path(folder), options
        self.rows = []
        tools = rig.build_tools()
        certificates = rig.Certificates(self.folder / "certificates")
        self.cluster = rig.Cluster(self.folder / "cluster", tools)
        self.bao = rig.Bao(self.folder / "bao", tools, certificates)
        self.bao.seed()
        self.bao.trust(self.cluster)
        rig.install_operator(self.cluster)
        self.bao.trust_operator("any")
        self.cluster.core.create_namespace({"metadata": {"name": NAMESPACE}})
        rig.login_account(self.cluster, NAMESPACE)
        self.bao.root.sys.enable_secrets_engine("kv", path="bench", options={"version": "2"})
        grant = {"namespaces": [NAMESPACE], "names": ["bench-*"], "mounts": ["approle"], "paths": ["bench/*"], "policies": ["bench-*"]}
        self.cluster.kubectl("apply", "-f", "-", input=custom("VaultConnection", NAMESPACE, "main", **{
            "address": self.bao.address, "ca": self.bao.certificates.ca_pem, "grants": [grant],
            "auth": {"kubernetes": {"role": "keyshepherd-operator", "serviceAccountName": "keyshepherd-vault"}}}))
        self.audit = Audit(self.bao)
        self.operator = None
        processes = [int((self.cluster.folder / f"{name}.pid").read_text().split()[0])
                     for name in ("etcd", "apiserver", "controller-manager") if (self.cluster.folder / f"{name}.pid").exists()]
        self.servers = [*processes, self.bao.process.pid]

    def end(self):
        if self.operator:
            self.operator.stop()
        self.bao.stop()
        self.cluster.down()

    def row(self, what, value, floor="", goal=""):
        self.rows.append((what, value, floor, goal))
        print(f"  {what:<58} {value:>12}  {floor:<34} {goal}", flush=True)

    # Connections of the administrator.
    def api(self):
        return Http(self.cluster.url, self.cluster.ca,
                    (str(self.cluster.folder / "pki" / "admin.crt"), str(self.cluster.folder / "pki" / "admin.key")))

    def vault(self):
        return Http(self.bao.address, self.bao.certificates.ca, token=self.bao.root_token)

    def start_operator(self):
        self.operator = rig.Operator(self.folder / "operator", self.cluster, self.bao)
        wait_until(lambda: self.operator.leading, 20, "leading")
        time.sleep(1)

    def stop_operator(self):
        assert self.operator.process.alive, self.operator.log[-2000:]
        self.operator.stop()
        self.operator = None

    def policy(self, i, resync, prefix="p"):
        # As an application has them: three paths of its own.
        rules = [{"path": f"bench/data/team-{i % 97}/service-{i}/*", "capabilities": ["read", "list"]},
                 {"path": f"bench/metadata/team-{i % 97}/service-{i}/*", "capabilities": ["list"]},
                 {"path": f"bench/data/shared/{i % 13}", "capabilities": ["read"]}]
        return custom("VaultPolicy", NAMESPACE, f"{prefix}{i}", name=f"bench-{prefix}{i}", resyncPeriod=resync, rules=rules)

    def role(self, i, resync):
        return custom("VaultAppRole", NAMESPACE, f"r{i}", name=f"bench-r{i}", resyncPeriod=resync, tokenTTL="1h", tokenMaxTTL="24h",
                      tokenPolicies=[f"bench-p{i}"])

    @staticmethod
    def path_of(made, own=True):
        base = f"/apis/{rig.GROUP}/namespaces/{NAMESPACE}/{rig.PLURALS[made['kind']]}"
        return f"{base}/{made['metadata']['name']}" if own else base

    def create(self, objects):
        return fan_out(self.api, objects, lambda api, made: expect(api("POST", self.path_of(made, False), made), 201))

    def remove(self, objects):
        return fan_out(self.api, objects, lambda api, made: expect(api("DELETE", self.path_of(made)), 200, 202))

    def api_writes(self):
        """Writes of custom resources and events that the API server has counted: by verb, resource and subresource."""
        counts = {}
        for line in self.cluster.request("GET", "/metrics").text.splitlines():
            if not line.startswith("apiserver_request_total{"):
                continue
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            if labels["verb"] in ("PATCH", "POST", "PUT", "DELETE", "APPLY") and (labels["group"] == "keyshepherd.dev" or labels["resource"] == "events"):
                name = f"{labels['verb']} {labels['resource']}{'/' + labels['subresource'] if labels['subresource'] else ''}"
                counts[name] = counts.get(name, 0) + int(float(line.rsplit(" ", 1)[1]))
        return counts

    def since(self, before):
        after = self.api_writes()
        return {k: v - before.get(k, 0) for k, v in sorted(after.items()) if v != before.get(k, 0)}

    def ready(self, count, kinds=("VaultPolicy", "VaultAppRole")):
        """Whether so many say Ready and are the state that they were created with."""
        total = 0
        for kind in kinds:
            items = self.cluster.get(f"/apis/{rig.GROUP}/namespaces/{NAMESPACE}/{rig.PLURALS[kind]}?resourceVersion=0")["items"]
            total += sum(any(c["type"] == "Ready" and c["status"] == "True" for c in item.get("status", {}).get("conditions", []))
                         for item in items)
        return total >= count

    # ---- the floor

    def floors(self, count):
        """Seconds of a plain client for the same requests, one kind after the other."""
        objects = [self.policy(i, "1h", "f") for i in range(count)]
        creates = self.create(objects)

        def patches(api, made):
            path = self.path_of(made)
            merge = "application/merge-patch+json"
            for n in range(2):
                expect(api("PATCH", path + "/status", {"status": {"claim": f"x{n}"}}, merge), 200)
            expect(api("PATCH", path, {"metadata": {"finalizers": ["keyshepherd.dev/bench"]}}, merge), 200)

        writes = fan_out(self.api, objects, patches)
        body = {"policy": "\n".join(f'path "bench/data/{i}" {{ capabilities = ["read"] }}' for i in range(3))}

        def ask(vault, i):
            expect(vault("GET", f"/v1/sys/policies/acl/floor-{i}"), 404)
            expect(vault("POST", f"/v1/sys/policies/acl/floor-{i}", body), 200, 204)

        asks = fan_out(self.vault, list(range(count)), ask)
        fan_out(self.vault, list(range(count)), lambda vault, i: vault("DELETE", f"/v1/sys/policies/acl/floor-{i}"))
        fan_out(self.api, objects, lambda api, made: expect(api("PATCH", self.path_of(made), {"metadata": {"finalizers": None}},
                                                               "application/merge-patch+json"), 200))
        self.remove(objects)
        return creates, writes, asks

    # ---- the measurements

    def burst(self, count):
        print(f"\n{count} policies", flush=True)
        creates, writes, asks = self.floors(count)
        self.start_operator()
        pid = self.operator.process.pid
        idle = megabytes(pid)
        objects = [self.policy(i, "1h") for i in range(count)]
        before = self.api_writes()
        self.audit.mark()
        spent, machine, mine = cpu(pid), machine_cpu(), sum(os.times()[:4])
        servers = [cpu(p) for p in self.servers]
        began = time.monotonic()
        created = []
        creator = threading.Thread(target=lambda: created.append(self.create(objects)))
        creator.start()
        wait_until(lambda: self.audit.read() and self.audit.writes >= count, 600, "present in OpenBao", every=0.02)
        present = time.monotonic() - began
        creator.join()
        wait_until(lambda: self.ready(count), 600, "Ready", every=0.1)
        told = time.monotonic() - began
        time.sleep(0.3)
        spent = cpu(pid) - spent
        ours = spent + sum(os.times()[:4]) - mine + sum(cpu(p) - s for p, s in zip(self.servers, servers))
        others = max(0, machine_cpu() - machine - ours) / (time.monotonic() - began)
        requests = dict(sorted(self.audit.read().items()))
        api = self.since(before)
        self.row("create to present in OpenBao, s", f"{present:.2f}", f"creates {creates:.2f}, Vault's {asks:.2f}, API's {writes:.2f}")
        self.row("  a second", f"{count / present:.0f}", f"sum of these: {count / (creates + asks + writes):.0f}",
                 f">= {5 * PEER_RATE} (5 x the peer's)")
        self.row("create to all Ready, s", f"{told:.2f}", f"creating took {created[0]:.2f} meanwhile")
        self.row("processor seconds of the operator", f"{spent:.2f}", "",
                 f"<= {PEER_CPU_OF_500 / 4 * count / 500:.2f} (1/4 of the peer's)")
        self.row("Vault requests a policy", f"{sum(requests.get(k, 0) for k in ('read', 'create', 'update', 'login')) / count:.3f}",
                 f"{requests}", "<= 2")
        self.row("API writes of the operator a policy", f"{(sum(api.values()) - count) / count:.2f}", f"{api}")
        self.row("memory idle / now / at most, MB", f"{idle:.1f}/{megabytes(pid):.1f}/{megabytes(pid, 'VmHWM'):.1f}", "",
                 f"<= {25 if count <= 500 else 40 if count <= 2000 else '-'}")
        self.row("processor used by others, cores", f"{others:.2f}", "too busy, the times are void" if others > 0.15 else "")
        # A restart: the whole list at once.
        self.stop_operator()
        self.start_operator()
        pid = self.operator.process.pid
        wait_until(lambda: self.operator.metric("controller_runtime_reconcile_total") >= count, 120, "all looked at")
        self.row("after a restart: memory now / at most, MB", f"{megabytes(pid):.1f}/{megabytes(pid, 'VmHWM'):.1f}", "",
                 f"<= {25 if count <= 500 else 40 if count <= 2000 else '-'}")
        self.audit.mark()
        began = time.monotonic()
        self.remove(objects)
        wait_until(lambda: not self.cluster.get(f"/apis/{rig.GROUP}/namespaces/{NAMESPACE}/vaultpolicies?resourceVersion=0")["items"],
                   600, "deleted")
        self.row("delete to gone, a second", f"{count / (time.monotonic() - began):.0f}", f"{dict(sorted(self.audit.read().items()))}")
        self.stop_operator()

    def steady(self, count):
        resync, sweeps = self.options.resync, self.options.sweeps
        print(f"\n{count} resources at rest, resyncPeriod {resync} s, {sweeps} sweeps", flush=True)
        self.start_operator()
        pid = self.operator.process.pid
        roles = count // 5
        objects = [self.role(i, f"{resync}s") for i in range(roles)] + [self.policy(i, f"{resync}s") for i in range(count - roles)]
        self.create(objects)
        wait_until(lambda: self.ready(count), 600, "Ready", every=1)
        # What creating them has left, events above all, is no part of the rest.
        quiet = [self.api_writes()]

        def calm():
            time.sleep(2)
            quiet.append(self.api_writes())
            return quiet[-1] == quiet[-2]

        wait_until(calm, 120, "no more events of creating them")
        before = self.api_writes()
        self.audit.mark()
        spent, began = cpu(pid), time.monotonic()
        time.sleep(resync * sweeps)
        seconds = time.monotonic() - began
        spent = cpu(pid) - spent
        requests = dict(sorted(self.audit.read().items()))
        reads = requests.get("read", 0) + requests.get("list", 0)
        api = self.since(before)
        looked = reads / count
        self.row("reads", f"{reads}", f"{requests}", f"> 0, {looked:.2f} a resource in {seconds:.0f} s")
        self.row("reads a resource and sweep", f"{reads / count / (seconds / resync):.2f}",
                 f"{roles / count:.2f} are roles, each read singly", "<= 0.3; 1 without lists")
        self.row("  of these lists of all policies, a sweep", f"{requests.get('list', 0) / (seconds / resync):.2f}",
                 "a sweep comes after 0.95 to 1 of the period", "<= 3")
        self.row("writes to Vault", f"{self.audit.writes}", "", "0")
        self.row("writes to the API server (not the Lease)", f"{sum(api.values())}", f"{api or ''}", "0")
        self.row("processor, % of a core", f"{100 * spent / seconds:.2f}", f"{spent / (count * seconds / resync) * 1e6:.0f} µs a resource and sweep")
        self.row("memory now / at most, MB", f"{megabytes(pid):.1f}/{megabytes(pid, 'VmHWM'):.1f}", "",
                 f"<= {25 if count <= 500 else 40 if count <= 2000 else '-'}")
        self.stop_operator()
        self.start_operator()
        pid = self.operator.process.pid
        wait_until(lambda: self.operator.metric("controller_runtime_reconcile_total") >= count, 300, "all looked at")
        self.row("after a restart: memory now / at most, MB", f"{megabytes(pid):.1f}/{megabytes(pid, 'VmHWM'):.1f}")
        self.stop_operator()

    def repair(self, resync=10, count=20):
        print(f"\n{count} hand edits at once, resyncPeriod {resync} s", flush=True)
        self.start_operator()
        self.create([self.policy(i, f"{resync}s", "e") for i in range(count)])
        wait_until(lambda: all("Reconciled" in json.dumps(self.cluster.get(self.path_of(self.policy(i, "", "e")))) for i in range(count)),
                   60, "Ready", every=0.5)
        vault, edited = self.vault(), {"policy": 'path "*" { capabilities = ["sudo"] }'}
        began = time.monotonic()
        for i in range(count):
            expect(vault("POST", f"/v1/sys/policies/acl/bench-e{i}", edited), 200, 204)
        left, times = set(range(count)), []
        while left and time.monotonic() - began < 3 * resync:
            for i in list(left):
                if b"sudo" not in vault("GET", f"/v1/sys/policies/acl/bench-e{i}")[1]:
                    left.discard(i)
                    times.append(time.monotonic() - began)
            time.sleep(0.02)
        self.row("to the first / the last repair, s", f"{min(times):.1f}/{max(times):.1f}" if not left else "not all", "",
                 f"<= {resync + 1}")
        self.stop_operator()


def main():
    parser = argparse.ArgumentParser(prog="operator.sh")
    parser.add_argument("folder", help=argparse.SUPPRESS)
    parser.add_argument("--sizes", default="500,2000", type=lambda text: [int(n) for n in text.split(",") if n])
    parser.add_argument("--steady", default=500, type=int)
    parser.add_argument("--resync", default=30, type=int)
    parser.add_argument("--sweeps", default=3, type=int)
    parser.add_argument("--no-repair", action="store_true")
    options = parser.parse_args()
    rig.end_on_sigterm()
    bench = None
    began = time.monotonic()
    try:
        bench = Bench(options.folder, options)
        print(f"ready after {time.monotonic() - began:.0f} s")
        for size in options.sizes:
            bench.burst(size)
        if options.steady:
            bench.steady(options.steady)
        if not options.no_repair:
            bench.repair()
        print(f"\n{time.monotonic() - began:.0f} s")
    finally:
        rig.end_everything()


if __name__ == "__main__":
    sys.exit(main())
