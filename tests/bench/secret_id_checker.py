"""An application of secret_id_bench.py, in processes of its own: logs in with the published pair, over and over.

A failure counts when Vault answered sys/health with 200 within 250 ms before and after it, and the pair was still the published
one afterwards; or when the pair that had replaced it failed as well."""

import base64
import json
import random
import threading
import time
from collections import Counter

from operator_bench import Http

HEALTHY_SECONDS = 0.25


class Line(Http):
    """A keep-alive connection that comes back after an error, from an address of one's own."""

    def __init__(self, *where, source=None, timeout=10, **how):
        super().__init__(*where, **how)
        self._connection.timeout = timeout
        if source:
            self._connection.source_address = (source, 0)

    def __call__(self, *request, token=None):
        if token is not None:
            self._headers = {"X-Vault-Token": token} if token else {}
        try:
            return super().__call__(*request)
        except BaseException:
            self._connection.close()
            raise


def pair_of(secret):
    return {k: base64.b64decode(v).decode() for k, v in secret.get("data", {}).items()}


class Probe(threading.Thread):
    """What sys/health says, over and over: whether Vault answered about a certain time."""

    def __init__(self, line):
        super().__init__(daemon=True)
        self._line, self._ended = line, False
        self.last = (0.0, 0.0, False)  # began, ended, healthy

    def run(self):
        while not self._ended:
            began = time.monotonic()
            try:
                healthy = self._line("GET", "/v1/sys/health")[0] == 200
            except OSError:
                healthy = False
            except Exception:  # half an answer
                healthy = False
            ended = time.monotonic()
            self.last = (began, ended, healthy and ended - began < HEALTHY_SECONDS)
            time.sleep(0.05)

    def healthy_after(self, instant):
        while self.last[0] < instant:
            time.sleep(0.01)
        return self.last[2]

    def end(self):
        self._ended = True


class Checker:
    """One thread's. `counts` are what it did; `logins` and `reads` by the resource whose pair it was."""

    def __init__(self, setting, number, probe):
        self._api = Line(setting["api"], setting["api_ca"], tuple(setting["api_certificate"]))
        self._vault = Line(setting["vault"], setting["vault_ca"], source=setting["source"])
        self._namespace, self._names, self._probe = setting["namespace"], setting["names"], probe
        self._random = random.Random(f"{setting['seed']} {number}")
        self.counts, self.logins, self.reads, self.failures = Counter(), Counter(), Counter(), []

    def run(self, stop, attempts, attempts_wanted):
        while not stop.is_set():
            self.attempt(self._random.choice(self._names))
            with attempts.get_lock():
                attempts.value = attempts.value + self.counts.pop("new", 0)
            if attempts.value > 2 * attempts_wanted:  # the rotations take longer: no need to heat the machine
                time.sleep(0.05)

    def pair(self, name):
        """The published one; None when the API server does not tell."""
        try:
            status, text = self._api("GET", f"/api/v1/namespaces/{self._namespace}/secrets/{name}")
        except Exception:
            self.counts["not read: the API server was away"] += 1
            time.sleep(0.2)
            return None
        if status != 200:
            self.counts[f"not read: {status}"] += 1
            if status not in (401, 403, 429, 500, 503, 504):
                self.failures.append(f"{name}: its Secret could not be read: {status} {text[:200]}")
            time.sleep(0.2)
            return None
        return pair_of(json.loads(text))

    def login(self, name, pair):
        """"" or what went wrong."""
        try:
            status, text = self._vault("POST", "/v1/auth/approle/login", pair, token="")
        except Exception as error:
            self.counts["answers lost"] += 1
            return type(error).__name__
        if status != 200:
            return f"{status} {text.decode(errors='replace').strip()[:200]}"
        resource = f"{self._namespace}/{name}"
        self.logins[resource] += 1
        if self._random.random() < 0.2:
            token = json.loads(text)["auth"]["client_token"]
            try:
                if self._vault("GET", "/v1/ai-apis/data/holysheep", token=token)[0] == 200:
                    self.reads[resource] += 1
                else:
                    self.counts["reads refused"] += 1
            except Exception:
                self.counts["answers lost"] += 1
        return ""

    def away(self, problem):
        """It was no attempt then."""
        self.counts[f"while Vault was away: {problem[:3] if problem[0].isdigit() else problem}"] += 1
        self.counts["logins tried"] -= 1
        self.counts["new"] -= 1
        time.sleep(0.05)

    def attempt(self, name):
        before = self._probe.last[2]
        pair = self.pair(name)
        if pair is None:
            return
        self.counts["new"] += 1
        self.counts["logins tried"] += 1
        problem = self.login(name, pair)
        if not problem:
            return
        if not (before and self._probe.healthy_after(time.monotonic())):
            self.away(problem)
            return
        again = self.pair(name)
        if again is None:
            self.counts["failed, and the API server was away afterwards"] += 1
            return
        if again != pair:
            self.counts["failed with a pair that had just been replaced"] += 1
            before = self._probe.last[2]
            problem = self.login(name, again)
            if not problem:
                return
            if not (before and self._probe.healthy_after(time.monotonic())):
                self.away(problem)
                return
        self.failures.append(f"{time.strftime('%H:%M:%S')} {name}: {problem}"
                             f"{'' if again == pair else ', also with the pair that had replaced it'}")


def run(setting, number, stop, attempts, wanted, results):
    """The process: `setting["threads"]` checkers; what they counted goes to `results`."""
    probe = Probe(Line(setting["vault"], setting["vault_ca"], timeout=2))
    probe.start()
    time.sleep(0.3)
    checkers = [Checker(setting, f"{number}-{i}", probe) for i in range(setting["threads"])]
    threads = [threading.Thread(target=c.run, args=(stop, attempts, wanted)) for c in checkers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    probe.end()
    total = {what: dict(sum((getattr(c, what) for c in checkers), Counter())) for what in ("counts", "logins", "reads")}
    results.put(total | {"failures": sum((c.failures for c in checkers), [])})
