#!/usr/bin/env bash
# Puts known faults into a copy of this tree, one at a time, and runs the tests: each must fail. Prints a table; ends
# with 1 when a fault survives, no longer fits the source, or does not build.
#
#   hack/mutate.sh            every row of tests/mutations/*.txt
#   hack/mutate.sh NAME…      these rows
#   hack/mutate.sh --list     names only
#
# The copy is always at the same place, so that ccache knows every fault the second time; it is removed at the end.
# Warnings are off, since a fault may leave something unused; so are precompiled headers, which a new copy makes stale.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd -P)
[ "${1:-}" != --list ] || exec python3 "$root/tests/mutations/run.py" --list "$root"

base=${XDG_CACHE_HOME:-$HOME/.cache}/keyshepherd-mutate
mkdir -p "$base"
exec 9>"$base/lock"
flock --nonblock 9 || { echo "mutate: another run is under way in $base" >&2; exit 1; }
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
