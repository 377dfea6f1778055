#!/usr/bin/env bash
# What an admission costs: processor time, latency and memory of the webhook, beside a floor measured in the same run.
#
#   tests/bench/admission.sh [PAIRS] [SECONDS]      default 5 pairs of 4 seconds each
#
# The floor is nginx (TLS 1.3, two workers) that gives a ready answer of the same size to the same requests. Both take the same
# 1,200 different reviews over keep-alive connections from wrk. Pairs are interleaved and the median of their ratios counts;
# a run in which others used more than 15 % of a core is void and repeated. KEYSHEPHERD names the program (default:
# build/release/keyshepherd). Prints a table; asserts nothing on time. Loopback only, about 90 seconds.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
program=${KEYSHEPHERD:-$root/build/release/keyshepherd}
[ -x "$program" ] || { echo "no program at $program: build it (cmake --build build/release), or name it in KEYSHEPHERD" >&2; exit 1; }
for tool in nginx wrk openssl python3; do
    command -v "$tool" >/dev/null || { echo "$tool is needed" >&2; exit 1; }
done
work=$(mktemp -d -p /dev/shm)
trap 'rm -rf "$work"' EXIT
cd "$work"
openssl ecparam -name prime256v1 -genkey -noout -out tls.key
openssl req -x509 -new -key tls.key -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 2 -out tls.crt 2>/dev/null
cat > rotate.lua <<'END'
-- Every request is another line of the file; each thread starts somewhere else.
local requests, at = {}, 0
function init(args)
    for line in io.lines(args[1]) do
        requests[#requests + 1] = wrk.format("POST", "/mutate?timeout=5s", {["Content-Type"] = "application/json"}, line)
    end
end
function request()
    at = at % #requests + 1
    return requests[at]
end
END
exec python3 "$root/tests/bench/admission.py" "$program" "$work" "${1:-5}" "${2:-4}"
