#!/usr/bin/env bash
# What the operator costs: its rate from create to present in OpenBao, processor time, memory and requests, beside what the same
# requests cost a plain client in the same run.
#
#   tests/bench/operator.sh [--sizes 500,2000] [--steady 500] [--resync 30] [--sweeps 3]
#
# On the API server and the OpenBao of the integration tests, all on this machine. For each size: a fresh operator, so many
# VaultPolicies made by 8 threads, until OpenBao holds them all and each says Ready; then they are deleted. Afterwards --steady
# resources (four policies to a role) at rest, for --sweeps times --resync seconds; --steady 0 leaves that out, --steady 10000
# takes some minutes. Last the time to a repair. KEYSHEPHERD_PRESET names the build (default release). Prints what was measured
# and the goal beside it; asserts nothing. About 3 minutes; the first run on a machine builds the API server before.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
export KEYSHEPHERD_PRESET=${KEYSHEPHERD_PRESET:-release}
program=$root/build/$KEYSHEPHERD_PRESET/keyshepherd
[ -x "$program" ] || { echo "no program at $program: build it (cmake --build build/$KEYSHEPHERD_PRESET)" >&2; exit 1; }
tools=$("$root/hack/tools.sh")
work=$(mktemp -d -p /dev/shm)
trap 'rm -rf "$work"' EXIT
status=0
PYTHONPATH=$root/tests/integration PYTHONDONTWRITEBYTECODE=1 "$tools/python" "$root/tests/bench/operator_bench.py" "$work" "$@" || status=$?
exit $status
