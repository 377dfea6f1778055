#!/usr/bin/env bash
# Installs what builds and tests need from Debian 12; a machine that has it all is left alone, without asking the network.
# Beside these only Go is expected (hack/tools.sh builds the Kubernetes programs with it).
set -euo pipefail

packages=(
    # the build
    ca-certificates clang-19 lld-19 libclang-rt-19-dev llvm-19 g++ cmake ninja-build ccache git
    libboost1.81-dev libboost-url1.81-dev libboost-json1.81-dev nlohmann-json3-dev libssl-dev libyaml-cpp-dev
    libspdlog-dev libfmt-dev libcli11-dev prometheus-cpp-dev
    # checks
    clang-tidy-19 clang-format-19 libgtest-dev libgmock-dev shellcheck
    # the tests' surroundings
    python3 python3-venv openssl faketime curl jq procps util-linux nginx-core wrk
)

# dpkg-query fails when it has never heard of one of them, as on a fresh machine.
installed=$({ dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null || true; } | sed -n 's/^installed //p')
missing=()
for package in "${packages[@]}"; do
    grep -qxF "$package" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "deps: run as root, to install: ${missing[*]}" >&2
    exit 1
fi

# Debian starts a server as soon as it is installed, but nginx is here only to be measured against: status 101 of
# policy-rc.d forbids the start, and disabling keeps it from the next boot.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
install=(apt-get install --yes --quiet --no-install-recommends "${missing[@]}")
echo "deps: installing ${missing[*]}" >&2
# Package lists may be absent, or older than the archive: only then are they fetched.
"${install[@]}" --simulate >/dev/null 2>&1 || apt-get update --quiet >&2
"${install[@]}" >&2 || { apt-get update --quiet >&2 && "${install[@]}" >&2; }

if [[ " ${missing[*]} " == *" nginx-core "* ]] && command -v systemctl >/dev/null; then
    systemctl disable --quiet nginx >/dev/null 2>&1 || true
    systemctl stop nginx >/dev/null 2>&1 || true # where a policy of the machine's own let it start
fi
