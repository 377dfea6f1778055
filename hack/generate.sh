#!/usr/bin/env bash
# Writes the files that are generated from the code. With --check it writes nothing, and fails if a committed file is stale.
set -euo pipefail
cd "$(dirname "$0")/.."
program=build/dev/keyshepherd
[ -d build/dev ] || cmake --preset dev >/dev/null
cmake --build --preset dev --target keyshepherd >&2  # a program of an earlier commit would print that commit's pages
stale=0
made() { # file command…: the file is what the command prints
    local file=$1
    shift
    if [ "$mode" = --check ]; then
        "$@" | diff -u "$file" - || { echo "$file is stale: run hack/generate.sh" >&2; stale=1; }
    else
        "$@" >"$file"
    fi
}
mode=${1:-}
made src/annotations.md $program inject --help-annotations
made src/resources.md $program generate reference
made src/messages.md python3 tests/messages.py
made manifests/crds.yaml $program generate crds
made manifests/rbac.yaml $program generate rbac
made manifests/webhook-rbac.yaml $program generate webhook-rbac
exit $stale
