#!/usr/bin/env bash
# Installs packages of Debian 12. If all are installed, it does nothing and uses no network.
#
#   hack/deps.sh             installs what the build and the tests need
#   hack/deps.sh demo        installs what the build and the demo need
#   hack/deps.sh bench       installs what the build, the tests and the bench need
#
# Go must be installed separately: hack/tools.sh builds the Kubernetes programs with it.
set -euo pipefail

packages=(
    # the build
    ca-certificates clang-19 lld-19 libclang-rt-19-dev llvm-19 g++ cmake ninja-build ccache git
    libboost1.81-dev libboost-url1.81-dev libboost-json1.81-dev nlohmann-json3-dev libssl-dev libyaml-cpp-dev
    libspdlog-dev libfmt-dev libcli11-dev prometheus-cpp-dev libgtest-dev libgmock-dev
    # programs that the demo uses
    python3 python3-venv openssl curl procps util-linux
)
tests=(clang-tidy-19 clang-format-19 shellcheck faketime jq)
bench=(nginx-core wrk)
case ${1:-} in
demo) ;;
"") packages+=("${tests[@]}") ;;
bench) packages+=("${tests[@]}" "${bench[@]}") ;;
*) sed -n '4,6s/^# *//p' "$0" >&2; exit 2 ;;
esac

# dpkg-query fails if it does not know a package, as on a new machine.
installed=$({ dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null || true; } | sed -n 's/^installed //p')
missing=()
for package in "${packages[@]}"; do
    grep -qxF "$package" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "deps: run this script as root to install: ${missing[*]}" >&2
    exit 1
fi

# Debian starts a server when it is installed, but the bench only compares with nginx. Status 101 of policy-rc.d forbids the
# start, and the service is disabled so that it does not start with the machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
install=(apt-get install --yes --quiet --no-install-recommends "${missing[@]}")
echo "deps: installing ${missing[*]}" >&2
# Fetch the package lists only if they are missing, or older than the archive.
"${install[@]}" --simulate >/dev/null 2>&1 || apt-get update --quiet >&2
"${install[@]}" >&2 || { apt-get update --quiet >&2 && "${install[@]}" >&2; }

if [[ " ${missing[*]} " == *" nginx-core "* ]] && command -v systemctl >/dev/null; then
    systemctl disable --quiet nginx >/dev/null 2>&1 || true
    systemctl stop nginx >/dev/null 2>&1 || true # if the machine's own policy started it
fi
