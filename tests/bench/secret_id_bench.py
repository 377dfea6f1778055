"""The measuring half of secret_id.sh."""

import argparse
import collections
import json
import multiprocessing
import queue
import random
import re
import secrets
import statistics
import sys
import threading
import time
from collections import Counter

import operator_bench
import rig
import secret_id_checker
from operator_bench import NAMESPACE, cpu, expect, fan_out, megabytes
from rig import custom, wait_until
from secret_id_checker import Line, pair_of

MERGE = "application/merge-patch+json"
# Addresses that tell whose a request in the audit log is.
APPLICATION, CHECKERS = "127.0.7.1", "127.0.8."


def quantiles(seconds):
    """mean, p50, p95, p99 in ms"""
    ordered = sorted(seconds)
    at = lambda part: 1000 * ordered[min(len(ordered) - 1, int(part * len(ordered)))]
    return 1000 * statistics.mean(ordered), at(0.5), at(0.95), at(0.99)


def text_of(seconds, which="mean/p95/p99"):
    mean, p50, p95, p99 = quantiles(seconds)
    known = {"mean": mean, "p50": p50, "p95": p95, "p99": p99}
    return " / ".join(f"{known[name]:.1f}" for name in which.split("/"))


class Watch:
    """The Secrets of the namespace from now on, as they change: `next()` gives name and object, None when the watch has ended."""

    def __init__(self, line, timeout=600):
        self._connection = line._connection
        self._connection.timeout = timeout
        status, text = line("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets?limit=1")
        expect((status, text), 200)
        version = json.loads(text)["metadata"]["resourceVersion"]
        self._connection.request("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets?watch=1&resourceVersion={version}")
        self._answer = self._connection.getresponse()

    def next(self):
        line = self._answer.readline()
        if not line:
            return None
        event = json.loads(line)
        return (event["object"]["metadata"].get("name", ""), event["type"], event["object"]) if event["type"] != "ERROR" else None

    def until(self, name):
        while True:
            found = self.next()
            if found is None:
                raise RuntimeError("the watch has ended")
            if found[0] == name and found[2].get("data", {}).get("role_id"):
                return pair_of(found[2])


class AuditLog:
    """The answers that the audit log has, of the addresses that are the applications'."""

    def __init__(self, bao):
        self._bao, self._at = bao, 0
        self.logins, self.reads, self.unnamed = Counter(), Counter(), []

    def read(self):
        with self._bao.audit_file.open("rb") as file:
            file.seek(self._at)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._at += len(line)
                if b'"type":"response"' not in line or b'"127.0.' not in line or b'"remote_address":"127.0.0.1"' in line:
                    continue
                entry = json.loads(line)
                request, auth = entry["request"], entry.get("auth", {})
                if entry.get("error") or request["path"] not in ("auth/approle/login", "ai-apis/data/holysheep"):
                    continue
                login = request["path"] == "auth/approle/login"
                if login:  # who logs in stands in the answer
                    auth = entry.get("response", {}).get("auth") or auth
                    if entry.get("response", {}).get("data", {}).get("error"):
                        continue
                metadata = auth.get("metadata") or {}
                if metadata.get("managed-by") != "keyshepherd" or not metadata.get("owner") or not metadata.get("resource"):
                    self.unnamed.append(f"{request['path']} from {request['remote_address']}: {metadata}")
                    continue
                (self.logins if login else self.reads)[metadata["resource"]] += 1


class Bench(operator_bench.Bench):
    def __init__(self, folder, options):
        super().__init__(folder, options)
        self.wrong = []  # what must never happen, and did
        self.lost = 0  # answers that did not arrive: the audit log may have more by these
        self.logins, self.reads = Counter(), Counter()
        self.log = AuditLog(self.bao)
        grant = {"namespaces": [NAMESPACE], "names": ["bench-*"], "mounts": ["approle"], "policies": ["bench-*"],
                 "rights": ["revokeTokens"]}
        self.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=custom("VaultConnection", NAMESPACE, "main", **{
            "address": self.bao.address, "ca": self.bao.certificates.ca_pem, "grants": [grant],
            "auth": {"kubernetes": {"role": "keyshepherd-operator", "serviceAccountName": "keyshepherd-vault"}}}))
        self.bao.root.sys.create_or_update_policy("bench-read", 'path "ai-apis/data/*" { capabilities = ["read"] }')

    # ---- connections

    def api(self):
        return Line(self.cluster.url, self.cluster.ca, self.certificate)

    @property
    def certificate(self):
        return (str(self.cluster.folder / "pki" / "admin.crt"), str(self.cluster.folder / "pki" / "admin.key"))

    def vault(self):
        return Line(self.bao.address, self.bao.certificates.ca, token=self.bao.root_token)

    def application(self):
        return Line(self.bao.address, self.bao.certificates.ca, source=APPLICATION)

    # ---- resources

    def start_operator(self, **flags):
        times = {"lease-seconds": self.options.lease_seconds, "renew-seconds": self.options.renew_seconds,
                 "retry-seconds": self.options.retry_seconds}
        self.operator = rig.Operator(self.folder / "operator", self.cluster, self.bao, times | flags)
        wait_until(lambda: self.operator.leading, 30, "leading")
        time.sleep(1)

    def approle(self, name, **spec):
        made = custom("VaultAppRole", NAMESPACE, name, **{"name": f"bench-{name}", "resyncPeriod": "5m", "tokenTTL": "1h",
                                                          "tokenMaxTTL": "24h", "tokenPolicies": ["bench-read"]} | spec)
        expect(self.api()("POST", self.path_of(made, False), made), 201)
        wait_until(lambda: b'"Reconciled"' in self.api()("GET", self.path_of(made))[1], 30, f"{name} Reconciled")
        return made

    @staticmethod
    def secret_id(name, role, **spec):
        return custom("VaultSecretID", NAMESPACE, name, **{"appRoleRef": {"name": role}, "resyncPeriod": "5m"} | spec)

    def published(self, objects, seconds=120):
        """Waits for them; their pairs by name."""
        names = {made["metadata"]["name"] for made in objects}

        def there():
            items = self.cluster.get(f"/api/v1/namespaces/{NAMESPACE}/secrets")["items"]
            found = {s["metadata"]["name"]: pair_of(s) for s in items if s["metadata"]["name"] in names}
            return found if len(found) == len(names) else None

        return wait_until(there, seconds, "published", every=0.2)

    def gone(self, objects, seconds=600):
        names = {made["metadata"]["name"] for made in objects}
        plural = rig.PLURALS[objects[0]["kind"]]
        path = f"/apis/{rig.GROUP}/namespaces/{NAMESPACE}/{plural}"
        wait_until(lambda: not names & {i["metadata"]["name"] for i in self.cluster.get(path)["items"]}, seconds, "gone", every=0.1)

    def login(self, line, pair, name):
        """The token; None when it is refused."""
        status, text = line("POST", "/v1/auth/approle/login", pair, token="")
        if status != 200:
            return None
        self.logins[f"{NAMESPACE}/{name}"] += 1
        return json.loads(text)["auth"]["client_token"]

    # ---- what was asked

    def api_requests(self):
        """All that the API server has counted, of Secrets, events and our kinds."""
        counts = Counter()
        for line in self.cluster.request("GET", "/metrics").text.splitlines():
            if line.startswith("apiserver_request_total{"):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
                if labels["verb"] not in ("WATCH", "LIST") and (labels["group"] == "keyshepherd.dev" or labels["resource"] in ("secrets", "events")):
                    counts[f"{labels['verb']} {labels['resource']}{'/' + labels['subresource'] if labels['subresource'] else ''}"] += \
                        int(float(line.rsplit(" ", 1)[1]))
        return counts

    def vault_requests(self, since):
        """Of the operator, by the path's end; and where the file ends now."""
        counts = Counter()
        with self.bao.audit_file.open("rb") as file:
            file.seek(since)
            for line in file:
                if b'"type":"request"' not in line or b'"policies":["root"]' in line or b'"remote_address":"127.0.0.1"' not in line:
                    continue
                request = json.loads(line)["request"]
                counts[f"{request['operation']} {re.sub('bench-[^/]*/', '', request['path']).replace('auth/approle/role/', '')}"] += 1
            return counts, file.tell()

    def results(self):
        lines = self.operator.get("/metrics").text.splitlines()
        return {re.search(r'result="(\w+)"', line)[1]: int(float(line.rsplit(" ", 1)[1])) for line in lines
                if line.startswith("controller_runtime_reconcile_total{") and "VaultSecretID" in line}

    def wrong_if(self, count, what):
        if count:
            self.wrong.append(f"{what}: {count}")

    # ---- 1: issue

    def issue(self, count):
        print(f"\nissue: {count} one after the other, {count} by {operator_bench.THREADS} threads", flush=True)
        self.start_operator()
        pid = self.operator.process.pid
        self.approle("issue")
        api, application = self.api(), self.application()
        watch = Watch(self.api())
        warm = [self.secret_id(f"w{i}", "issue") for i in range(5)]
        one_by_one = [self.secret_id(f"i{i}", "issue") for i in range(count)]
        at_once = [self.secret_id(f"j{i}", "issue") for i in range(count)]

        def one(made):
            name = made["metadata"]["name"]
            began = time.monotonic()
            expect(api("POST", self.path_of(made, False), made), 201)
            pair = watch.until(name)
            seen = time.monotonic()
            if not self.login(application, pair, name):
                self.wrong_if(1, f"the first login of {name} failed")
            return seen - began, time.monotonic() - began

        for made in warm:
            one(made)
        time.sleep(1)
        before, spent, (_, at) = self.api_requests(), cpu(pid), self.vault_requests(0)
        times = [one(made) for made in one_by_one]
        time.sleep(1)
        spent = cpu(pid) - spent
        after, (asked, at) = self.api_requests(), self.vault_requests(at)
        floor, rest, rate = self.issue_floor(count)
        self.row("created to a login, ms: mean / p95 / p99", text_of([t[1] for t in times]),
                 f"{text_of(floor)} the same requests", "<= 12 / 28 / 45")
        self.row("  of it to the published Secret", text_of([t[0] for t in times]))
        self.row("  not waited for: status and pending Secret", "", f"{text_of(rest)} the same requests")
        made = {k: round((v - before[k]) / count, 2) for k, v in after.items() if v != before[k]}
        self.row("requests to the API server an issue", f"{sum(made.values()):.2f}", f"{made}")
        self.row("requests to Vault an issue", f"{sum(asked.values()) / count:.2f}", f"{ {k: round(v / count, 2) for k, v in asked.items()} }")
        self.row("processor of the operator an issue, ms", f"{1000 * spent / count:.2f}")

        # Eight at once: one watch, that hands out.
        waiting = {made["metadata"]["name"]: queue.SimpleQueue() for made in at_once}

        def hand_out():
            left = set(waiting)
            while left and (found := watch.next()):
                if found[0] in left and found[2].get("data", {}).get("role_id"):
                    left.discard(found[0])
                    waiting[found[0]].put(pair_of(found[2]))

        thread = threading.Thread(target=hand_out, daemon=True)
        thread.start()
        parallel = []

        def of_many(lines, made):
            name, began = made["metadata"]["name"], time.monotonic()
            expect(lines[0]("POST", self.path_of(made, False), made), 201)
            pair = waiting[name].get(timeout=60)
            if not self.login(lines[1], pair, name):
                self.wrong_if(1, f"the first login of {name} failed")
            parallel.append(time.monotonic() - began)

        seconds = fan_out(lambda: (self.api(), self.application()), at_once, of_many)
        self.row("  8 threads at once", text_of(parallel), f"{count / seconds:.0f} a second; {rate:.0f} the same requests")
        self.row("memory now / at most, MB", f"{megabytes(pid):.1f}/{megabytes(pid, 'VmHWM'):.1f}", f"{2 * count} resources")
        time.sleep(1)
        _, at = self.vault_requests(at)
        everything = warm + one_by_one + at_once
        began = time.monotonic()
        self.remove(everything)
        self.gone(everything)
        asked, _ = self.vault_requests(at)
        seconds = time.monotonic() - began
        self.row("delete to gone, a second", f"{len(everything) / seconds:.0f}", f"{ {k: round(v / len(everything), 2) for k, v in asked.items()} }")
        self.wrong_if(len(self.accessors("bench-issue")), "secret-ids left after all resources were deleted")
        self.stop_operator()

    def issue_floor(self, count):
        """Seconds of a plain client for the same requests: up to the login, and those after it, one issue after the other; and
        how many issues a second by threads."""
        vault = self.vault()
        expect(vault("POST", "/v1/auth/approle/role/floor", {"token_policies": ["bench-read"], "token_ttl": "1h"}), 200, 204)
        role_id = json.loads(vault("GET", "/v1/auth/approle/role/floor/role-id")[1])["data"]["role_id"]
        base = f"/api/v1/namespaces/{NAMESPACE}/secrets"
        to_login, rest = [], []

        def one(lines, i):
            api, vault, application = lines
            # A resource that nobody acts on, for the write of the status.
            target = custom("VaultSecretID", NAMESPACE, f"floor{i}", appRoleRef={"name": "nobody"})
            target["metadata"]["annotations"] = {"keyshepherd.dev/paused": "true"}
            value = secrets.token_hex(32)
            pending, secret = ({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"floor{i}{end}"}, "stringData": {"secret_id": value}}
                               for end in ("-pending", ""))
            body = {"secret_id": value, "metadata": json.dumps({"managed-by": "floor", "owner": "x" * 36, "resource": "floor"})}
            began = time.monotonic()
            expect(api("POST", self.path_of(target, False), target), 201)
            expect(api("PATCH", self.path_of(target), {"metadata": {"finalizers": ["keyshepherd.dev/bench"]}}, MERGE), 200)
            expect(api("POST", base, pending), 201)
            expect(vault("POST", "/v1/auth/approle/role/floor/custom-secret-id", body), 200)
            expect(api("POST", base, secret), 201)
            expect(vault("POST", "/v1/auth/approle/login", {"role_id": role_id, "secret_id": value}), 200)
            published = time.monotonic()
            expect(api("PATCH", self.path_of(target) + "/status", {"status": {"accessor": value[:36], "issuedAt": "2026-01-01T00:00:00Z"}}, MERGE), 200)
            expect(api("DELETE", f"{base}/floor{i}-pending"), 200)
            to_login.append(published - began)
            rest.append(time.monotonic() - published)

        def remove(api, i):
            target = self.path_of(custom("VaultSecretID", NAMESPACE, f"floor{i}"))
            expect(api("PATCH", target, {"metadata": {"finalizers": None}}, MERGE), 200)
            expect(api("DELETE", target), 200)
            expect(api("DELETE", f"{base}/floor{i}"), 200)

        connect = lambda: (self.api(), self.vault(), self.application())
        count, lines = min(count, 200), connect()
        for i in range(count):
            one(lines, i)
        alone = to_login[:], rest[:]
        rate = count / fan_out(connect, range(count, 2 * count), one)
        fan_out(self.api, range(2 * count), remove)
        vault("DELETE", "/v1/auth/approle/role/floor")
        return *alone, rate

    # ---- 2: rotation

    def rotation(self):
        o = self.options
        print(f"\nrotation: {o.rotations} over {o.resources} resources; {o.kills} kills, {o.api_restarts} restarts of the API server, "
              f"{o.seals} seals; {o.attempts} logins", flush=True)
        self.start_operator()
        # Of batch tokens nothing is stored: the logins are not to be the load.
        self.approle("rotate", tokenType="batch")
        # Half of them rotate by themselves, all when they are told to.
        objects = [self.secret_id(f"s{i}", "rotate", overlap="1s", ttl="1h", resyncPeriod="1m", **({"rotationPeriod": "2s"} if i % 2 else {}))
                   for i in range(o.resources)]
        self.create(objects)
        self.published(objects)
        run = Rotation(self, objects)
        before, (_, at) = self.api_requests(), self.vault_requests(0)
        try:
            run.go()
        finally:
            run.end()
        run.tell()
        if not (o.kills or o.api_restarts):  # else the API server has forgotten, and what is begun twice is counted twice
            made = {k: round((v - before[k]) / run.rotations, 2) for k, v in self.api_requests().items() if v != before[k]}
            self.row("requests to the API server a rotation", f"{sum(made.values()):.2f}", f"{made}, with the applications' and the drivers'")
            asked = self.vault_requests(at)[0]
            self.row("requests to Vault a rotation", f"{sum(asked.values()) / run.rotations:.2f}",
                     f"{ {k: round(v / run.rotations, 2) for k, v in asked.items()} }")
            self.row("reconciles by result", "", f"{self.results()}")
        # Those that rotate by themselves would never be seen at rest.
        patch = {"spec": {"rotationPeriod": None}}
        fan_out(self.api, objects, lambda api, made: expect(api("PATCH", self.path_of(made), patch, MERGE), 200))
        self.settle(objects)
        self.remove(objects)
        self.gone(objects)
        self.wrong_if(len(self.accessors("bench-rotate")), "secret-ids left after all resources were deleted")
        self.stop_operator()

    def settle(self, objects):
        """Waits until no resource has an orphan any more, or for longer than the grace; tells, and lists what is left."""
        def left():
            known = {}
            for item in self.cluster.get(f"/apis/{rig.GROUP}/namespaces/{NAMESPACE}/vaultsecretids")["items"]:
                status = item.get("status", {})
                for field in ("accessor", "previousAccessor"):
                    if status.get(field):
                        known[status[field]] = item["metadata"]["name"]
            pending = [s["metadata"]["name"] for s in self.cluster.get(f"/api/v1/namespaces/{NAMESPACE}/secrets")["items"]
                       if s["metadata"]["name"].endswith("-pending")]
            orphans = {accessor: metadata for accessor, metadata in self.all_accessors().items() if accessor not in known}
            return orphans, pending

        began, (orphans, pending) = time.monotonic(), left()
        first = len(orphans)
        while (orphans or pending) and time.monotonic() - began < 60:
            time.sleep(2)
            orphans, pending = left()
        self.row("orphans at the end / after the grace of 30 s", f"{first} / {len(orphans)}", f"gone after {time.monotonic() - began:.0f} s", "0")
        self.row("accessors in Vault, published and in overlap", f"{len(self.accessors('bench-rotate'))}", f"{len(objects)} resources")
        for accessor, data in orphans.items():
            print(f"    orphan {accessor}: {data}")
        self.wrong_if(len(orphans), "orphans")
        self.wrong_if(len(pending), "pending Secrets left")

    def accessors(self, role):
        status, text = self.vault()("LIST", f"/v1/auth/approle/role/{role}/secret-id")
        return json.loads(text)["data"]["keys"] if status == 200 else []

    def all_accessors(self):
        """Of every role, with what Vault says of it."""
        vault, found = self.vault(), {}
        for role in json.loads(vault("LIST", "/v1/auth/approle/role")[1])["data"]["keys"]:
            for accessor in self.accessors(role):
                status, text = vault("POST", f"/v1/auth/approle/role/{role}/secret-id-accessor/lookup", {"secret_id_accessor": accessor})
                if status == 200:
                    found[accessor] = json.loads(text)["data"]
        return found

    # ---- 3: revocation

    def load_tokens(self, count):
        body = {"policies": ["default"], "ttl": "4h", "no_parent": True}
        seconds = fan_out(self.vault, range(count), lambda vault, _: expect(vault("POST", "/v1/auth/token/create", body), 200))
        print(f"  {count} unrelated tokens made in {seconds:.0f} s", flush=True)

    def refused_after(self, began, pair, token, name):
        """Seconds from `began` until a login and until the token is refused, and every token that was got meanwhile."""
        got, results = [token], {}

        def logins():
            line = self.application()
            while time.monotonic() - began < 60:
                more = self.login(line, pair, name)
                if more is None:
                    results["login"] = time.monotonic() - began
                    return
                got.append(more)
                time.sleep(0.005)

        def tokens():
            line = self.vault()
            while time.monotonic() - began < 60:
                if line("GET", "/v1/auth/token/lookup-self", token=token)[0] == 403:
                    results["token"] = time.monotonic() - began
                    return
                time.sleep(0.002)

        threads = [threading.Thread(target=f) for f in (logins, tokens)]
        for thread in threads:
            thread.start()
        return threads, results, got

    def revocation(self):
        o = self.options
        print(f"\nrevocation: {o.revocations} deletions and {o.emergencies} emergencies beside {o.tokens} unrelated tokens", flush=True)
        self.load_tokens(o.tokens)
        self.start_operator()
        pid = self.operator.process.pid
        began = time.monotonic()
        self.approle("revoke", revokeTokens=True, tokenType="service")
        objects = [self.secret_id(f"v{i}", "revoke") for i in range(o.revocations)]
        self.create(objects)
        pairs = self.published(objects)
        # The first list of the tokens is the connection's, within a minute of the role's coming.
        lookups = lambda: self.vault_requests(0)[0]["update auth/token/lookup-accessor"]
        wait_until(lambda: lookups() >= o.tokens, 180, "the tokens are known", every=2)
        self.row("tokens known after, s", f"{time.monotonic() - began:.0f}", f"memory {megabytes(pid):.1f} MB", "")
        time.sleep(2)
        api, application, vault = self.api(), self.application(), self.vault()
        logins, tokens, escaped = [], [], 0
        _, at = self.vault_requests(0)
        for made in objects:
            name = made["metadata"]["name"]
            token = self.login(application, pairs[name], name)
            time.sleep(0.02)
            began = time.monotonic()
            threads, results, got = self.refused_after(began, pairs[name], token, name)
            expect(api("DELETE", self.path_of(made)), 200, 202)
            for thread in threads:
                thread.join()
            if len(results) < 2:
                self.wrong_if(1, f"{name} was not revoked within a minute: {results}")
                continue
            logins.append(results["login"])
            tokens.append(results["token"])
            self.gone([made], 60)
            escaped += sum(vault("POST", "/v1/auth/token/lookup", {"token": each})[0] != 403 for each in got)
        asked, _ = self.vault_requests(at)
        floor = self.revocation_floor(min(o.revocations, 50))
        self.row("DELETE (keep-alive HTTP) to login refused, ms: p50 / p99", text_of(logins, "p50/p99"),
                 f"{text_of(floor['destroy'], 'p50/p99')} destroy", "<= 150")
        self.row("DELETE to token refused, ms: p50 / p99", text_of(tokens, "p50/p99"),
                 f"{text_of(floor['all'], 'p50/p99')} destroy, LIST {text_of(floor['list'], 'p50')}, 3 lookups, revoke", "<= 500")
        self.row("requests to Vault a deletion", f"{sum(asked.values()) / len(objects):.1f}", f"{ {k: round(v / len(objects), 1) for k, v in asked.items()} }")
        self.row("tokens that outlived their secret-id", f"{escaped}", "", "0")
        self.wrong_if(escaped, "tokens that outlived their secret-id")
        self.emergency(o.emergencies)
        self.stop_operator()

    def emergency(self, count):
        roles = [self.approle(f"e{i}", revokeTokens=True, tokenType="service") for i in range(min(count, 10))]
        objects = [self.secret_id(f"e{i}", f"e{i}") for i in range(len(roles))]
        self.create(objects)
        api, application = self.api(), self.application()
        logins, tokens = [], []
        mark = lambda made, value: expect(api("PATCH", self.path_of(made), {"metadata": {"annotations": {
            "keyshepherd.dev/cut-off": value}}}, MERGE), 200)
        for n in range(count):
            role, made = roles[n % len(roles)], objects[n % len(roles)]
            name = made["metadata"]["name"]

            def usable():
                pair = self.published([made])[name]
                token = self.login(application, pair, name)
                return (pair, token) if token else None

            pair, token = wait_until(usable, 60, "usable again", every=0.1)
            time.sleep(0.1)
            threads, results, _ = self.refused_after(time.monotonic(), pair, token, name)
            mark(role, "true")
            for thread in threads:
                thread.join()
            if len(results) < 2:
                self.wrong_if(1, f"{name} was not cut off within a minute: {results}")
                continue
            logins.append(results["login"])
            tokens.append(results["token"])
            wait_until(lambda: b'"CutOff"' in api("GET", self.path_of(made))[1], 60, "told")
            mark(role, None)
        vault, floor = self.vault(), []
        wait_until(lambda: b'"Published"' in api("GET", self.path_of(made))[1], 60, "published")
        expect(vault("POST", "/v1/identity/entity", {"name": "floor"}), 200)
        for _ in range(count):
            began = time.monotonic()
            expect(vault("POST", "/v1/identity/entity/name/floor", {"disabled": True}), 200, 204)
            floor.append(time.monotonic() - began)
            vault("POST", "/v1/identity/entity/name/floor", {"disabled": False})
        self.row("cut-off to login refused, ms: p50 / p99", text_of(logins, "p50/p99"), f"{text_of(floor, 'p50/p99')} disable the entity", "<= 150")
        self.row("cut-off to token refused, ms: p50 / p99", text_of(tokens, "p50/p99"), "", "<= 150")

    def revocation_floor(self, count):
        vault, times = self.vault(), collections.defaultdict(list)
        role = "/v1/auth/approle/role/floor"
        expect(vault("POST", role, {"token_policies": ["bench-read"], "token_ttl": "1h"}), 200, 204)
        role_id = json.loads(vault("GET", f"{role}/role-id")[1])["data"]["role_id"]
        for _ in range(count):
            made = json.loads(vault("POST", f"{role}/secret-id")[1])["data"]
            tokens = [json.loads(vault("POST", "/v1/auth/approle/login", {"role_id": role_id, "secret_id": made["secret_id"]})[1])["auth"]
                      for _ in range(3)]
            began = time.monotonic()
            expect(vault("POST", f"{role}/secret-id-accessor/destroy", {"secret_id_accessor": made["secret_id_accessor"]}), 200, 204)
            destroyed = time.monotonic()
            expect(vault("LIST", "/v1/auth/token/accessors"), 200)
            listed = time.monotonic()
            for token in tokens:
                expect(vault("POST", "/v1/auth/token/lookup-accessor", {"accessor": token["accessor"]}), 200)
            expect(vault("POST", "/v1/auth/token/revoke-accessor", {"accessor": tokens[0]["accessor"]}), 200, 204)
            times["destroy"].append(destroyed - began)
            times["list"].append(listed - destroyed)
            times["all"].append(time.monotonic() - began)
            for token in tokens[1:]:
                vault("POST", "/v1/auth/token/revoke-accessor", {"accessor": token["accessor"]})
        vault("DELETE", role)
        return times

    # ---- 4: audit

    def audit_log(self):
        """After a section: what the applications did and what the audit log has of them."""
        self.log.read()
        for what, made, logged in (("logins", self.logins, self.log.logins), ("reads", self.reads, self.log.reads)):
            self.row(f"{what} by the applications / in the audit log", f"{sum(made.values())} / {sum(logged.values())}",
                     f"{len(logged)} resources named; {self.lost} answers lost", "equal, but for answers lost")
            different = {r: (made[r], logged[r]) for r in made.keys() | logged.keys() if made[r] > logged[r]}
            self.wrong_if(len(different), f"resources of which {what} are missing in the audit log: {dict(list(different.items())[:3])}")
            if sum(logged.values()) - sum(made.values()) > self.lost:
                self.wrong_if(1, f"more {what} in the audit log than were made")
        self.row("logins and reads without address or resource", f"{len(self.log.unnamed)}", f"{self.log.unnamed[:1] or ''}", "0")
        self.wrong_if(len(self.log.unnamed), "in the audit log without a resource")


class Rotation:
    """Resources that rotate, applications that log in, and whoever kills what they depend on."""

    def __init__(self, bench, objects):
        self.bench, self.options, self.objects = bench, bench.options, objects
        self.random = random.Random(self.options.seed)
        self.stop = threading.Event()
        self.rotations = 0
        self.kills, self.states = 0, Counter()
        self.seals, self.api_restarts = 0, 0
        self.took_over, self.errors = [], []
        self._values, self._changed = {}, threading.Condition()
        self._threads = []
        self._processes = []

    # ---- who counts

    def _see(self):
        """Counts the changes of secret_id, over all restarts of the API server."""
        bench = self.bench
        while not self.stop.is_set():
            try:
                line = bench.api()
                watch = Watch(line, timeout=5)
                for item in json.loads(bench.api()("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets")[1])["items"]:
                    self._saw(item)
                while not self.stop.is_set() and (found := watch.next()):
                    if found[1] != "DELETED":
                        self._saw(found[2])
            except Exception:  # away, or nothing to tell
                time.sleep(0.2)

    def _saw(self, secret):
        name = secret["metadata"]["name"]
        value = secret.get("data", {}).get("secret_id")
        if name.endswith("-pending") or value is None or not name.startswith("s"):
            return
        with self._changed:
            values = self._values.setdefault(name, [])
            if value not in values[-3:]:  # a second list tells again what the watch told
                self.rotations += bool(values)
                values.append(value)
                self._changed.notify_all()

    def _drive(self, number):
        """Has resources rotated, one after the other, until there were enough."""
        api, mine = self.bench.api(), self.objects[number::self.options.drivers]
        while not self.stop.is_set():
            if self.rotations >= self.options.rotations + 500:  # a few for the kills that are left
                time.sleep(0.5)
            made = self.random.choice(mine)
            name = made["metadata"]["name"]
            before = len(self._values.get(name, []))
            try:
                api("PATCH", self.bench.path_of(made), {"metadata": {"annotations": {
                    "keyshepherd.dev/rotate-now": f"{time.monotonic_ns()}"}}}, MERGE)
            except Exception:
                time.sleep(0.2)
                continue
            with self._changed:
                self._changed.wait_for(lambda: len(self._values.get(name, [])) > before or self.stop.is_set(), 3)
            time.sleep(0.01)

    # ---- who kills

    def _kill(self):
        bench = self.bench
        operator = bench.operator
        began = time.monotonic()
        # Mostly while it leads, sometimes on its way there.
        patience = 60 if self.random.random() < 0.9 else self.random.uniform(0, 3)
        while time.monotonic() - began < patience and not self.stop.is_set():
            try:
                if operator.leading:
                    self.took_over.append(time.monotonic() - began)
                    break
            except Exception:
                pass
            time.sleep(0.02)
        time.sleep(self.random.uniform(0, self.options.kill_gap))
        operator.process.popen.kill()
        operator.process.popen.wait()
        self.kills += 1
        self._classify()
        self._free_lease()
        while not self.stop.is_set():
            try:
                operator._start()
                return
            except Exception as error:
                self.errors.append(f"the operator did not start: {str(error)[:300]}")

    def _free_lease(self):
        """Of a process that is surely dead, so that its successor need not wait it out; now and then it has to."""
        if self.random.random() < 0.1:
            return
        try:
            leases = "/apis/coordination.k8s.io/v1/namespaces/keyshepherd/leases"
            for lease in self.bench.cluster.get(leases)["items"]:
                self.bench.cluster.request("PATCH", f"{leases}/{lease['metadata']['name']}", {"spec": {"holderIdentity": ""}}, MERGE)
        except Exception:
            self.states["Lease not freed"] += 1

    def _classify(self):
        """What the killed one left half done."""
        bench = self.bench
        try:
            items = {s["metadata"]["name"]: s for s in bench.cluster.get(f"/api/v1/namespaces/{NAMESPACE}/secrets")["items"]}
            resources = bench.cluster.get(f"/apis/{rig.GROUP}/namespaces/{NAMESPACE}/vaultsecretids")["items"]
            vault, found = bench.vault(), Counter()
            there = set(bench.accessors("bench-rotate"))
            for resource in resources:
                name, status = resource["metadata"]["name"], resource.get("status", {})
                pending = items.get(f"{name}-pending")
                if pending:
                    value = pair_of(pending)["secret_id"]
                    if value == pair_of(items[name]).get("secret_id"):
                        accessor = json.loads(vault("POST", "/v1/auth/approle/role/bench-rotate/secret-id/lookup", {"secret_id": value})[1]
                                              )["data"]["secret_id_accessor"]
                        found["recorded" if accessor == status.get("accessor") else "published"] += 1
                    else:
                        known = vault("POST", "/v1/auth/approle/role/bench-rotate/secret-id/lookup", {"secret_id": value})[0] == 200
                        found["enrolled" if known else "drawn"] += 1
                elif status.get("previousAccessor"):
                    found["in overlap" if status["previousAccessor"] in there else "destroyed, not forgotten"] += 1
            for state in found:
                self.states[state] += 1
            if not set(found) - {"in overlap"}:
                self.states["between steps"] += 1
        except Exception:
            self.states["not seen: API server or Vault away"] += 1

    def _seal(self):
        bench = self.bench
        bench.bao.seal()
        time.sleep(self.random.uniform(1, 4))
        bench.bao.unseal()
        self.seals += 1

    def _sealer(self):
        for at in self._moments(self.options.seals):
            while self.kills < at and not self.stop.is_set():
                time.sleep(0.1)
            if self.stop.is_set():
                return
            try:
                self._seal()
            except Exception as error:
                self.errors.append(f"seal: {error!r}")

    def _moments(self, count):
        """After how many kills, so that they are spread over the whole."""
        return [int((i + 0.5) * self.options.kills / count) for i in range(count)]

    # ---- all of them

    def go(self):
        o, bench = self.options, self.bench
        context = multiprocessing.get_context("spawn")
        self._ended, self._results = context.Event(), context.Queue()
        self.attempts = context.Value("q", 0)
        for number in range(o.checkers):
            setting = {"api": bench.cluster.url, "api_ca": str(bench.cluster.ca), "api_certificate": bench.certificate,
                       "vault": bench.bao.address, "vault_ca": str(bench.bao.certificates.ca), "source": f"{CHECKERS}{number + 1}",
                       "namespace": NAMESPACE, "names": [m["metadata"]["name"] for m in self.objects], "seed": o.seed,
                       "threads": o.checker_threads}
            process = context.Process(target=secret_id_checker.run, daemon=True,
                                      args=(setting, number, self._ended, self.attempts, o.attempts, self._results))
            process.start()
            self._processes.append(process)
        for target, arguments in [(self._see, ()), (self._sealer, ())] + [(self._drive, (i,)) for i in range(o.drivers)]:
            self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
            self._threads[-1].start()
        self.began = told = time.monotonic()
        restarts = self._moments(o.api_restarts)
        while time.monotonic() - self.began < o.limit_seconds:
            # Spread over the rotations.
            if self.kills < o.kills and self.rotations * o.kills >= self.kills * o.rotations:
                if restarts and self.kills >= restarts[0]:
                    restarts.pop(0)
                    bench.cluster.restart_apiserver()
                    self.api_restarts += 1
                self._kill()
            elif self.kills >= o.kills and self.rotations >= o.rotations and self.attempts.value >= o.attempts and self.seals >= o.seals:
                break
            else:
                time.sleep(0.1)
            if time.monotonic() - told > 30:
                told = time.monotonic()
                print(f"    {told - self.began:.0f} s: {self.kills} kills, {self.rotations} rotations, {self.attempts.value} logins", flush=True)
        self.seconds = time.monotonic() - self.began

    def end(self):
        self.stop.set()
        self._ended.set()
        self.results = []
        for _ in self._processes:
            try:
                self.results.append(self._results.get(timeout=90))
            except queue.Empty:
                self.errors.append("a checker did not end")
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()
        for thread in self._threads:
            thread.join(15)

    def tell(self):
        o, bench = self.options, self.bench
        counts = sum((Counter(r["counts"]) for r in self.results), Counter())
        failures = sum((r["failures"] for r in self.results), [])
        for r in self.results:
            bench.logins.update(r["logins"])
            bench.reads.update(r["reads"])
        bench.lost += counts["answers lost"]
        bench.row("rotations / a second", f"{self.rotations} / {self.rotations / self.seconds:.1f}", f"in {self.seconds:.0f} s", f">= {o.rotations}")
        bench.row("kills, restarts of the API server, seals", f"{self.kills}, {self.api_restarts}, {self.seals}", "", f"{o.kills}, {o.api_restarts}, {o.seals}")
        bench.row("kills that found a resource so", "", f"{dict(self.states.most_common())}")
        bench.row("start to leading, s: p50 / p99", " / ".join(f"{x / 1000:.1f}" for x in quantiles(self.took_over)[1::2]) if self.took_over else "-")
        bench.row("logins tried", f"{counts.pop('logins tried', 0)}", f"{dict(counts)}", f">= {o.attempts}")
        bench.row("logins failed while Vault answered", f"{len(failures)}", "", "0")
        for failure in failures[:50]:
            print(f"    {failure}")
        for error in self.errors:
            print(f"    {error}")
        bench.wrong_if(len(failures), "logins failed while Vault answered")
        bench.wrong_if(len(self.errors), "the bench itself went wrong")


def main():
    parser = argparse.ArgumentParser(prog="secret_id.sh")
    parser.add_argument("folder", help=argparse.SUPPRESS)
    for section in ("issue", "rotation", "revocation"):
        parser.add_argument(f"--{section}", action="store_true")
    parser.add_argument("--full", action="store_true", help="the goals' sizes, where no other are given")
    sizes = {"issues": (100, 1000), "rotations": (600, 12000), "resources": (50, 50), "kills": (10, 200), "api-restarts": (1, 5),
             "seals": (1, 5), "attempts": (3000, 100000), "tokens": (2000, 20000), "revocations": (30, 200), "emergencies": (10, 50),
             "checkers": (2, 3), "checker-threads": (4, 4), "drivers": (8, 8), "limit-seconds": (300, 2400), "seed": (1, 1)}
    for name, (small, full) in sizes.items():
        parser.add_argument(f"--{name}", type=int, help=f"default {small}, with --full {full}")
    for name, default, what in (("lease-seconds", 5, ""), ("renew-seconds", 4, ""), ("retry-seconds", 1, ""),
                                ("kill-gap", 3.0, "a kill comes at most so many seconds after the operator leads")):
        parser.add_argument(f"--{name}", type=type(default), default=default, help=what)
    options = parser.parse_args()
    for name, (small, full) in sizes.items():
        field = name.replace("-", "_")
        if getattr(options, field) is None:
            setattr(options, field, full if options.full else small)
    everything = not (options.issue or options.rotation or options.revocation)
    rig.end_on_sigterm()
    began = time.monotonic()
    try:
        bench = Bench(options.folder, options)
        print(f"ready after {time.monotonic() - began:.0f} s")
        for wanted, section in ((options.issue, lambda: bench.issue(options.issues)), (options.rotation, bench.rotation),
                                (options.revocation, bench.revocation)):
            if wanted or everything:
                section()
                bench.audit_log()
        print(f"\n{time.monotonic() - began:.0f} s")
        for wrong in bench.wrong:
            print(f"WRONG: {wrong}")
        return 1 if bench.wrong else 0
    finally:
        rig.end_everything()


if __name__ == "__main__":
    sys.exit(main())
