#!/usr/bin/env bash
# Runs a real control plane on this machine: etcd, kube-apiserver and kube-controller-manager, on loopback only.
#
#   hack/cluster.sh up [DIR]               starts a cluster, waits until it works, prints its folder (default: a temporary one)
#   hack/cluster.sh env DIR                prints the environment: eval "$(hack/cluster.sh env DIR)"
#   hack/cluster.sh restart-apiserver DIR  restarts the API server with the same data and port
#   hack/cluster.sh stop-apiserver DIR     stops the API server; restart-apiserver starts it again
#   hack/cluster.sh down DIR               stops the cluster and removes DIR, also after an incomplete start
#
# Several clusters can run at the same time. There is no node and no scheduler, so pods stay Pending.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

say() { echo "cluster: $*" >&2; }
fail() { say "$*"; exit 1; }
usage() { sed -n '4,8s/^# *//p' "$0" >&2; exit 2; }

# ---- certificates ------------------------------------------------------------------------------------------------------

certificate() { # name subject extensions: pki/<name>.crt and .key, signed by the CA
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -config pki/openssl.cnf -extensions "$3" \
        -CA pki/ca.crt -CAkey pki/ca.key -subj "$2" -keyout "pki/$1.key" -out "pki/$1.crt" 2>/dev/null
}

certificates() {
    mkdir -p pki
    cat >pki/openssl.cnf <<'CONFIG'
[req]
distinguished_name = empty
[empty]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
authorityKeyIdentifier = keyid
subjectAltName = IP:127.0.0.1, IP:10.96.0.1, DNS:localhost, DNS:kubernetes.default.svc
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
authorityKeyIdentifier = keyid
CONFIG
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -config pki/openssl.cnf -extensions ca \
        -subj "/CN=cluster.sh CA" -keyout pki/ca.key -out pki/ca.crt 2>/dev/null
    certificate apiserver "/CN=kube-apiserver" server
    certificate admin "/O=system:masters/CN=admin" client
    certificate controller-manager "/CN=system:kube-controller-manager" client
    openssl ecparam -name prime256v1 -genkey -noout -out pki/service-accounts.key
    openssl ec -in pki/service-accounts.key -pubout -out pki/service-accounts.pub 2>/dev/null
}

kubeconfig() { # user file
    cat >"$2" <<CONFIG
apiVersion: v1
kind: Config
current-context: cluster
contexts: [{name: cluster, context: {cluster: cluster, user: $1}}]
clusters:
- name: cluster
  cluster: {server: "https://127.0.0.1:$(cat port)", certificate-authority-data: $(base64 -w0 pki/ca.crt)}
users:
- name: $1
  user: {client-certificate-data: $(base64 -w0 "pki/$1.crt"), client-key-data: $(base64 -w0 "pki/$1.key")}
CONFIG
    chmod 600 "$2"
}

# ---- processes ---------------------------------------------------------------------------------------------------------

# A pid can be reused. The pid and its start time identify one process.
started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f1,20 | sed '/^Z/d; s/.* //'; } # pid; a zombie has no start time

start() { # name argument…: in its own session, so that it outlives this script and its terminal
    local name=$1 pid
    shift
    rm -f "$name.pid"
    # It records its pid before it becomes the program, so that `down` finds it even if this script is killed.
    (pid=$BASHPID && echo "$pid $(started_at "$pid")" >"$name.pid" && exec setsid "$@") >"$name.log" 2>&1 </dev/null &
    latest=$name
    wait_for 10 test -s "$name.pid"
}

alive() { # name
    local pid time
    read -r pid time <"$1.pid" && [ -n "$time" ] && [ "$(started_at "$pid")" = "$time" ]
} 2>/dev/null

gone() { ! alive "$1"; }

stop() { # name seconds: SIGTERM, then SIGKILL
    local pid
    if alive "$1"; then
        read -r pid _ <"$1.pid"
        kill -TERM "$pid" 2>/dev/null || true
        wait_for "$2" gone "$1" || { kill -KILL "$pid" 2>/dev/null || true; wait_for 10 gone "$1" || return 1; }
    fi
    rm -f "$1.pid"
}

wait_for() { # seconds command…
    local end=$((SECONDS + $1))
    until "${@:2}"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}

works_within() { # seconds name command…: fails as soon as the process has ended
    local end=$((SECONDS + $1))
    until "${@:3}"; do
        alive "$2" && [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}

# ---- the three programs ------------------------------------------------------------------------------------------------

# With port 0, etcd chooses a port and logs it. Its gateway would dial port 0, so it is disabled.
start_etcd() {
    start etcd "$tools/etcd" --data-dir "$dir/etcd" --unsafe-no-fsync --enable-grpc-gateway=false --logger=zap \
        --listen-client-urls http://127.0.0.1:0 --advertise-client-urls http://127.0.0.1:0 \
        --listen-peer-urls http://127.0.0.1:0 --initial-advertise-peer-urls http://127.0.0.1:0 \
        --initial-cluster default=http://127.0.0.1:0
    works_within 20 etcd etcd_serves || fail "etcd did not start"
}

etcd_serves() {
    sed -n 's/.*"msg":"serving client traffic.*"address":"\([0-9.:]*\)".*/\1/p' etcd.log | tail -1 >etcd.address
    [ -s etcd.address ]
}

# The API server needs a fixed port, which it keeps across restarts. The port is below the kernel's ephemeral range. If another
# process takes it first, the next attempt uses another one.
free_port() {
    local port
    while port=$((20000 + (RANDOM * 32768 + RANDOM) % 10000)); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

# apiserver.flags contains additional flags for this API server, one per line.
start_apiserver() {
    local -a more=()
    if [ -e apiserver.flags ]; then mapfile -t more <apiserver.flags; fi
    start apiserver "$tools/kube-apiserver" --etcd-servers="http://$(cat etcd.address)" --bind-address=127.0.0.1 \
        --secure-port="$(cat port)" --advertise-address=127.0.0.1 --endpoint-reconciler-type=none --cert-dir="$dir/pki" \
        --tls-cert-file="$dir/pki/apiserver.crt" --tls-private-key-file="$dir/pki/apiserver.key" \
        --client-ca-file="$dir/pki/ca.crt" --authorization-mode=Node,RBAC --allow-privileged=true \
        --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$dir/pki/service-accounts.pub" \
        --service-account-signing-key-file="$dir/pki/service-accounts.key" --service-cluster-ip-range=10.96.0.0/16 \
        ${more[@]+"${more[@]}"}
}

start_apiserver_on_a_free_port() {
    local attempt
    for attempt in 1 2 3 4 5; do
        free_port >port
        start_apiserver
        works_within 60 apiserver answers /readyz && return 0
        grep -q 'address already in use' apiserver.log || fail "kube-apiserver did not become ready"
        stop apiserver 5
        say "attempt $attempt: another process took port $(cat port)"
    done
    fail "no free port in five attempts"
}

# It has no port, so its effects show whether it works.
start_controller_manager() {
    kubeconfig controller-manager controller-manager.kubeconfig
    start controller-manager "$tools/kube-controller-manager" --kubeconfig="$dir/controller-manager.kubeconfig" \
        --secure-port=0 --leader-elect=false --use-service-account-credentials --root-ca-file="$dir/pki/ca.crt" \
        --service-account-private-key-file="$dir/pki/service-accounts.key" --kube-api-qps=500 --kube-api-burst=1000
    works_within 60 controller-manager answers /api/v1/namespaces/default/serviceaccounts/default ||
        fail "kube-controller-manager created no ServiceAccount"
}

answers() { # path
    curl --noproxy '*' --silent --fail --output /dev/null --max-time 2 \
        --cacert pki/ca.crt --cert pki/admin.crt --key pki/admin.key "https://127.0.0.1:$(cat port)$1"
}

# ---- commands ----------------------------------------------------------------------------------------------------------

enter() { # the folder of an existing cluster
    [ -n "${1:-}" ] || usage
    [ -e "$1/.keyshepherd-cluster" ] || fail "$1 was not created by this script"
    dir=$(cd "$1" && pwd -P)
    cd "$dir"
}

remove() {
    local left=0
    stop controller-manager 5 || left=1
    stop apiserver 5 || left=1
    stop etcd 5 || left=1
    [ $left = 0 ] || fail "a process of $dir did not end"
    cd /
    rm -rf -- "$dir"
}

give_up() { # when `up` fails
    local status=$?
    trap - EXIT
    if [ -n "${latest:-}" ] && [ -s "$latest.log" ]; then
        say "last lines of $latest.log:"
        tail -n 15 "$latest.log" >&2
    fi
    (remove) || true
    exit "$((status ? status : 1))"
}

up() {
    tools=$("$here/tools.sh")
    if [ -n "${1:-}" ]; then
        mkdir -p "$1"
        [ -z "$(ls -A "$1")" ] || fail "$1 is not empty"
        dir=$(cd "$1" && pwd -P)
    else
        dir=$(mktemp -d --tmpdir keyshepherd-cluster.XXXXXX)
    fi
    cd "$dir"
    trap give_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    echo "$tools" >.keyshepherd-cluster
    certificates
    start_etcd
    start_apiserver_on_a_free_port
    kubeconfig admin kubeconfig
    start_controller_manager
    trap - EXIT
    echo "$dir"
}

stop_apiserver() {
    stop apiserver 3 || # it would drain open watches for up to a minute; etcd has the data
        fail "kube-apiserver did not end"
}

restart_apiserver() {
    tools=$(cat .keyshepherd-cluster)
    stop_apiserver
    start_apiserver
    works_within 60 apiserver answers /readyz || { tail -n 15 apiserver.log >&2; fail "kube-apiserver did not start again"; }
}

environment() {
    [ -e kubeconfig ] || fail "the cluster in $dir is not running"
    tools=$(cat .keyshepherd-cluster)
    printf 'export KUBECONFIG=%q\n' "$dir/kubeconfig"
    printf 'export KS_API_SERVER=%q\n' "https://127.0.0.1:$(cat port)"
    printf 'export KS_CLUSTER_DIR=%q\n' "$dir"
    printf "export PATH=%q:\"\$PATH\"\n" "$tools"
}

case ${1:-} in
up) up "${2:-}" ;;
down) enter "${2:-}" && remove ;;
env) enter "${2:-}" && environment ;;
stop-apiserver) enter "${2:-}" && stop_apiserver ;;
restart-apiserver) enter "${2:-}" && restart_apiserver ;;
*) usage ;;
esac
