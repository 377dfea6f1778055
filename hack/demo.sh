#!/usr/bin/env bash
# Shows how a key in OpenBao reaches an application that does not know Vault.
#
#   hack/demo.sh             without a cluster: sends the Deployment to the webhook as the API server would
#   hack/demo.sh --cluster   with kubectl apply and a real kube-apiserver (building them once takes about 7 minutes)
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-} in
"") tools=vault ;;
--cluster) tools=all ;;
*) sed -n '4,5s/^# *//p' "$0" >&2; exit 2 ;;
esac

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
step "Installing missing packages and building keyshepherd"
hack/deps.sh demo
programs=$(hack/tools.sh "$tools")
cmake --preset release >/dev/null
cmake --build --preset release --target keyshepherd keyshepherd-exec
exec "$programs/python" hack/demo/demo.py "$@"
