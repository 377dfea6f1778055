#!/usr/bin/env bash
# Writes what is generated from the code's own tables; with --check only says whether the committed files are current.
set -euo pipefail
cd "$(dirname "$0")/.."
program=build/dev/keyshepherd
if [ ! -x $program ]; then
    cmake --preset dev >/dev/null
    cmake --build --preset dev --target keyshepherd >&2
fi
page=src/annotations.md
if [ "${1:-}" = --check ]; then
    $program inject --help-annotations | diff -u $page - || { echo "$page is stale: run hack/generate.sh" >&2; exit 1; }
else
    $program inject --help-annotations >$page
fi
