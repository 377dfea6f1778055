#!/usr/bin/env bash
# What VaultSecretID costs and withstands: time to issue, rotations while everything around them dies, time to revoke, and what
# the audit log tells of it; each beside what the same requests cost a plain client in the same run.
#
#   tests/bench/secret_id.sh [--issue] [--rotation] [--revocation] [--full] [--issues 100] [--rotations 600] [--kills 10] …
#
# On the API server and the OpenBao of the integration tests, all on this machine. Without --issue, --rotation or --revocation all
# three; the audit log is compared after each. --full takes the goals' sizes, about 40 minutes; every size has a flag of its own
# (--help), the defaults take about 4 minutes. Times are compressed in the rotations: what lives for days in a cluster lives for
# seconds here. KEYSHEPHERD_PRESET names the build (default release). Prints what was measured and the goal beside it. Fails only
# where something that must never happen did: an orphan, a login that failed though Vault answered, a token that outlived its
# revocation, a login that the audit log does not name.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
export KEYSHEPHERD_PRESET=${KEYSHEPHERD_PRESET:-release}
program=$root/build/$KEYSHEPHERD_PRESET/keyshepherd
[ -x "$program" ] || { echo "no program at $program: build it (cmake --build build/$KEYSHEPHERD_PRESET)" >&2; exit 1; }
tools=$("$root/hack/tools.sh")
work=$(mktemp -d -p /dev/shm)
trap 'rm -rf "$work"' EXIT
status=0
PYTHONPATH=$root/tests/integration PYTHONDONTWRITEBYTECODE=1 "$tools/python" "$root/tests/bench/secret_id_bench.py" "$work" "$@" || status=$?
exit $status
