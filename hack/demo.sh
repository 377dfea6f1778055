#!/usr/bin/env bash
# The main job, for a person to watch: a key in OpenBao reaches an application that knows nothing of Vault.
#
#   hack/demo.sh             no cluster: the Deployment goes to the webhook as the API server would send it
#   hack/demo.sh --cluster   a real kube-apiserver, and kubectl apply (builds them once: some 7 minutes more)
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
"") tools=vault ;;
--cluster) tools=all ;;
*) sed -n '4,5s/^# *//p' "$0" >&2; exit 2 ;;
esac

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
step "Installing what is missing, and building keyshepherd"
hack/deps.sh
programs=$(hack/tools.sh "$tools")
cmake --preset release >/dev/null
cmake --build --preset release --target keyshepherd keyshepherd-exec
exec "$programs/python" hack/demo/demo.py "$@"
