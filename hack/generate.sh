#!/usr/bin/env bash
# Writes what is generated from the code's own tables; with --check only says whether the committed files are current.
set -euo pipefail
cd "$(dirname "$0")/.."
program=build/dev/keyshepherd
if [ ! -x $program ]; then
    cmake --preset dev >/dev/null
    cmake --build --preset dev --target keyshepherd >&2
fi
stale=0
made() { # file argument…: the file is what the program prints
    local file=$1
    shift
    if [ "$mode" = --check ]; then
        "$program" "$@" | diff -u "$file" - || { echo "$file is stale: run hack/generate.sh" >&2; stale=1; }
    else
        "$program" "$@" >"$file"
    fi
}
mode=${1:-}
made src/annotations.md inject --help-annotations
made src/resources.md generate reference
made manifests/crds.yaml generate crds
made manifests/rbac.yaml generate rbac
made manifests/webhook-rbac.yaml generate webhook-rbac
exit $stale
