#!/usr/bin/env python3
"""The dependency rule: a module includes only what src/CMakeLists.txt lets it link, and PURE modules know no effect."""

import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
rules = (root / "src/CMakeLists.txt").read_text()

links, pure = {}, set()
for effect, name, linked in re.findall(r"^keyshepherd_(effect_)?module\((\w+) LINK ([^)]*)\)", rules, re.M):
    links[name] = set(re.findall(r"keyshepherd_(\w+)", linked))
    if not effect:
        pure.add(name)
if not {"core", "inject", "net", "app"} <= links.keys():
    sys.exit("layering: src/CMakeLists.txt no longer reads as expected")


def reach(name, seen=None):
    seen = set() if seen is None else seen
    for other in links[name] - seen:
        seen.add(other)
        reach(other, seen)
    return seen


EFFECTS = re.compile(
    r"#include <(boost/(asio|beast)[/.]|openssl/|spdlog/|prometheus/|fstream|filesystem|iostream|thread|mutex|random|"
    r"sys/|unistd\.h|fcntl\.h|netdb\.h)"
    r"|\b(getenv|system_clock|random_device|fopen)\b|[cC]lock::now\b"  # a point in time is no effect, asking for it is
)
faults = []
for name in links:
    if name in pure and any(other not in pure for other in reach(name)):
        faults.append(f"src/CMakeLists.txt: PURE {name} links an EFFECT module")
    for folder in (root / "src" / name, root / "include/keyshepherd" / name):
        for path in sorted(folder.rglob("*.[ch]pp")):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                where = f"{path.relative_to(root)}:{number}"
                included = re.match(r"#include <keyshepherd/(\w+)/", line)
                if included and included[1] not in reach(name) | {name}:
                    faults.append(f"{where}: {name} includes {included[1]}, which it does not link")
                if name in pure and EFFECTS.search(line):
                    faults.append(f"{where}: PURE {name} has an effect: {line.strip()}")

# Two classes of one name in one module's headers: the linker would take the inline members of either for both.
for name in links:
    seen = {}
    for folder in (root / "src" / name, root / "include/keyshepherd" / name):
        for path in sorted(folder.rglob("*.hpp")):
            for defined in re.findall(r"^(?:class|struct) (\w+)[^;]*\{", path.read_text(), re.M):
                if seen.setdefault(defined, path) != path:
                    faults.append(f"{path.relative_to(root)}: {defined} is also in {seen[defined].relative_to(root)}")

for fault in faults:
    print(fault)
print(f"layering: {len(links)} modules, {len(pure)} of them pure, {len(faults)} faults")
sys.exit(1 if faults else 0)
