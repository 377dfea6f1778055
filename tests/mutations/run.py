"""The engine of hack/mutate.sh: run.py TREE [NAME…] on a configured copy, or run.py --list TREE.

A file of rows, tests/mutations/<module>.txt:

    targets: json_test admission_test        what is built and, by default, run in this order (from TREE/build)
    environment: KEYSHEPHERD_CASES=250       optional

    name-of-the-fault: what is broken, in words
      src/module/file.cpp
      - text that stands exactly once in the file
      + what stands there instead              (several lines of each are joined; no + line: the text goes)
      test: ./some_test --gtest_filter=X       optional, instead of the default
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

FAILED = re.compile(r"^\[  FAILED  \] ([^\s,(]+)|^FAILED (\S+)", re.M)  # of GoogleTest, of pytest
RUNNING = re.compile(r"^\[ RUN      \] (\S+)", re.M)
LIMIT = 180  # seconds for the tests of one fault; a fault that hangs them is noticed, too


class Row:
    def __init__(self, name, about, table):
        self.name, self.about, self.table = name, about, table
        self.file, self.old, self.new, self.test = "", [], [], ""


class Table:
    def __init__(self, path):
        self.targets, self.environment, self.rows = [], {}, []
        for number, line in enumerate(path.read_text().splitlines(), 1):
            text = line.strip()
            if not text or line.startswith("#"):
                continue
            if line.startswith("targets: "):
                self.targets = text.split()[1:]
            elif line.startswith("environment: "):
                self.environment = dict(word.split("=", 1) for word in text.split()[1:])
            elif not line.startswith(" "):
                name, separator, about = text.partition(": ")
                if not separator:
                    sys.exit(f"mutate: {path}:{number}: expected `name: what is broken`")
                self.rows.append(Row(name, about, self))
            elif line.startswith("  - ") or line == "  -":
                self.rows[-1].old.append(line[4:])
            elif line.startswith("  + ") or line == "  +":
                self.rows[-1].new.append(line[4:])
            elif line.startswith("  test: "):
                self.rows[-1].test = line[8:]
            else:
                self.rows[-1].file = text


def tables(tree):
    return [Table(path) for path in sorted((tree / "tests/mutations").glob("*.txt"))]


def build(tree, targets):
    done = subprocess.run(["ninja", "-C", "build", *targets], cwd=tree, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout[-3000:] + done.stderr[-1000:]


# What failed first; "" where everything passed.
def run(tree, table, test):
    commands = [test] if test else [f"./{target} --gtest_fail_fast" for target in table.targets]
    for command in commands:
        try:
            done = subprocess.run(["bash", "-c", command], cwd=tree / "build", capture_output=True, text=True, errors="replace",
                                  timeout=LIMIT, env={**os.environ, **table.environment})
        except subprocess.TimeoutExpired:
            return f"{command.split()[0]} takes more than {LIMIT} s"
        if done.returncode != 0:
            first = FAILED.search(done.stdout + done.stderr)
            if first:
                return first[1] or first[2]
            last = RUNNING.findall(done.stdout)  # a library's assertion or a crash ends the program inside a test
            return f"{last[-1] if last else command} ends with {done.returncode}"
    return ""


def main():
    listing = sys.argv[1] == "--list"
    tree = pathlib.Path(sys.argv[2 if listing else 1]).resolve()
    wanted = sys.argv[3 if listing else 2 :]
    all_tables = tables(tree)
    rows = [row for table in all_tables for row in table.rows if not wanted or row.name in wanted]
    unknown = set(wanted) - {row.name for row in rows}
    if unknown or len({row.name for row in rows}) != len(rows):
        sys.exit(f"mutate: unknown or doubled names: {', '.join(sorted(unknown)) or 'doubled'}")
    if listing:
        print("\n".join(row.name for row in rows))
        return 0

    start = time.monotonic()
    used = [table for table in all_tables if any(row.table is table for row in rows)]
    if broken := build(tree, [target for table in used for target in table.targets]):
        sys.exit(f"mutate: the tree does not build\n{broken}")
    for table in used:
        for test in {row.test for row in rows if row.table is table}:
            if failed := run(tree, table, test):
                sys.exit(f"mutate: without any fault {failed} fails; nothing can be learned")
    print(f"no fault: every test passes ({time.monotonic() - start:.0f} s with the build)", flush=True)

    widest = max(len(row.name) for row in rows)
    bad = 0
    for row in rows:
        path = tree / row.file
        original = path.read_text() if path.is_file() else ""
        old, new = "\n".join(row.old), "\n".join(row.new)
        begin = time.monotonic()
        if not old or original.count(old) != 1:
            verdict = f"NO LONGER FITS: {original.count(old) if old else 0} times in {row.file}"
        else:
            kept = path.with_suffix(".kept")
            shutil.copy2(path, kept)
            path.write_text(original.replace(old, new))
            if broken := build(tree, row.table.targets):
                errors = [line for line in broken.splitlines() if "error:" in line]
                verdict = f"DOES NOT BUILD: {errors[0] if errors else broken[-300:]}"
            elif killed := run(tree, row.table, row.test):
                verdict = killed
            else:
                verdict = "SURVIVED"
            kept.replace(path)
            path.touch()  # older than what was built from it otherwise
        bad += verdict.startswith(("NO LONGER", "DOES NOT", "SURVIVED"))
        print(f"{row.name:{widest}}  {row.file:28}  {time.monotonic() - begin:4.0f} s  {verdict}", flush=True)
        print(f"{'':{widest}}  {row.about}", flush=True)
    print(f"{len(rows) - bad} of {len(rows)} faults are noticed, in {time.monotonic() - start:.0f} s")
    return 1 if bad else 0


sys.exit(main())
