#!/usr/bin/env bash
# Inserts known faults into a copy of this tree, one at a time, and runs the tests, which must fail. Prints a table. The exit
# code is 1 if no test finds a fault, or if a fault no longer matches the source or does not build.
#
#   hack/mutate.sh            inserts every fault of tests/mutations/*.txt
#   hack/mutate.sh NAME…      inserts these faults
#   hack/mutate.sh --list     prints the names
#
# The copy always has the same path, so that ccache recognizes each fault in the next run. It is removed at the end.
# Warnings are disabled because a fault may leave something unused, and precompiled headers because a new copy makes them stale.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd -P)
[ "${1:-}" != --list ] || exec python3 "$root/tests/mutations/run.py" --list "$root"

base=${XDG_CACHE_HOME:-$HOME/.cache}/keyshepherd-mutate
mkdir -p "$base"
exec 9>"$base/lock"
flock --nonblock 9 || { echo "mutate: another run uses $base" >&2; exit 1; }
trap 'rm -rf -- "$base/tree"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
rm -rf -- "$base/tree"
mkdir "$base/tree"
git -C "$root" ls-files -z --cached --others --exclude-standard |
    tar -C "$root" --null --files-from=- --ignore-failed-read --create 2>/dev/null | tar -C "$base/tree" --extract

cmake -S "$base/tree" -B "$base/tree/build" -G Ninja -DCMAKE_CXX_COMPILER=clang++-19 -DCMAKE_BUILD_TYPE=Debug \
    -DCMAKE_CXX_FLAGS="-O1 -g0 -w" -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON >"$base/configure.log" || { cat "$base/configure.log" >&2; exit 1; }
python3 "$root/tests/mutations/run.py" "$base/tree" "$@"
