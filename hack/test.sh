#!/usr/bin/env bash
# Installs what is missing, builds, and runs the tests against their real counterparts.
#
#   hack/test.sh             what a change must pass: lint unit integration asan server tsan
#   hack/test.sh STEP…       these steps; beside those there are: fuzz tidy mutations bench
#
# Each step is one line at the end; the last line counts tests, and the exit code is 1 when one failed.
# shellcheck disable=SC2317 # the steps are called by name
set -uo pipefail
cd "$(dirname "$0")/.." || exit
reports=$(mktemp -d)
trap 'rm -rf "$reports"' EXIT
failed=0
summary=()

run() { # name command…
    local name=$1 began=$SECONDS status=0
    shift
    printf '\n==== %s\n' "$name"
    "$@" || status=$?
    summary+=("$(printf '%-14s %5d s  %s' "$name" $((SECONDS - began)) "$([ $status = 0 ] && echo passed || echo "FAILED ($status)")")")
    [ $status = 0 ] || failed=1
}

build() { # preset target…
    local preset=$1
    shift
    cmake --preset "$preset" >/dev/null && cmake --build --preset "$preset" ${@:+--target "$@"}
}

tests_of() { # preset ctest-argument…: GoogleTest reports each test, ctest the rest
    local preset=$1
    shift
    build "$preset" && PATH="$(hack/tools.sh):$PATH" GTEST_OUTPUT="xml:$reports/$preset/" \
        ctest --preset "$preset" --output-junit "$reports/$preset.xml" "$@"
}
unit() { tests_of dev; }
# The laws run on fewer workloads where every instruction costs several times as much.
asan() { KEYSHEPHERD_CASES=400 tests_of asan; }
tsan() { KEYSHEPHERD_CASES=400 tests_of tsan -L unit; }
tidy() { build tidy; }

lint() {
    git ls-files '*.cpp' '*.hpp' | xargs clang-format-19 --dry-run -Werror &&
        git ls-files '*.sh' .ci/run | xargs shellcheck &&
        hack/generate.sh --check
}

# The corpora are replayed in `unit` and `asan`; here libFuzzer looks further for a short while.
fuzz() {
    build fuzz || return 1
    local target
    for target in build/fuzz/fuzz_*; do
        if ! [ -f "$target" ] || ! [ -x "$target" ]; then continue; fi
        mkdir -p "$reports/corpus"
        "$target" -max_total_time="${KEYSHEPHERD_FUZZ_SECONDS:-20}" -max_len=20000 -print_final_stats=0 -verbosity=0 -timeout=10 \
            "$reports/corpus" "tests/fuzz/corpus/${target##*/fuzz_}" || return 1
        rm -rf "$reports/corpus"
        echo "${target##*/}: nothing found"
    done
}

run_pytests() { # report preset argument…: of what is built
    local report=$1 preset=$2 programs
    shift 2
    programs=$(hack/tools.sh) &&
        env KEYSHEPHERD_PRESET="$preset" KEYSHEPHERD="$PWD/build/$preset/keyshepherd" KEYSHEPHERD_EXEC="$PWD/build/$preset/keyshepherd-exec" \
            PARSEENV="$programs/parseenv" YAMLTOJSON="$programs/yamltojson" \
            "$programs/python" -m pytest -q -rs -p no:cacheprovider --timeout=300 --junitxml="$reports/$report.xml" "$@"
}
build_for_pytests() { build "$1" keyshepherd keyshepherd-exec kube_client; }
pytests() { build_for_pytests "$2" && run_pytests "$@"; }
# Two at once, each with servers of its own: most of their time is waiting. `+` stands between the two lists of tests.
side_by_side() { # report preset test… + test…
    local report=$1 preset=$2 status=0 first=()
    shift 2
    while [ "$1" != + ]; do
        first+=("$1")
        shift
    done
    shift
    build_for_pytests "$preset" || return 1
    run_pytests "$report-1" "$preset" "${first[@]}" >"$reports/$report-1.log" 2>&1 &
    local beside=$!
    run_pytests "$report-2" "$preset" "$@" || status=1
    wait "$beside" || status=1
    cat "$reports/$report-1.log"
    return "$status"
}
integration() {
    local other=${KEYSHEPHERD_VAULT_BIN:-} status=0
    unset KEYSHEPHERD_VAULT_BIN
    local long=(tests/integration/test_{revocation,secret_id,provider_operator}.py)  # where few tokens are out yet
    side_by_side integration dev "${long[@]}" + "${long[@]/#/--ignore=}" tests/integration tests/launcher || status=1
    # A second server of Vault's API gets the same questions.
    if [ -n "$other" ]; then KEYSHEPHERD_VAULT_BIN=$other pytests other-vault dev tests/integration || status=1; fi
    return "$status"
}
# The programs that stay up, once more with sanitizers.
server() {
    side_by_side server asan tests/integration/test_{operator,revocation,provider_operator}.py + \
        tests/integration/test_{webhook_server,plan_apply,kube_client}.py
}
mutations() { hack/mutate.sh; }
bench() { build release && tests/bench/launcher.sh && KEYSHEPHERD_BENCH_SECONDS=2 tests/bench/admission.sh &&
    tests/bench/operator.sh --sizes 500 --steady 100 --sweeps 1 &&
    tests/bench/secret_id.sh --issues 50 --rotations 150 --kills 4 --attempts 1000 --tokens 500 --revocations 10 --emergencies 4; }

run deps hack/deps.sh
run tools hack/tools.sh
steps=("$@")
[ $# -gt 0 ] || steps=(lint unit integration asan server tsan)
for step in "${steps[@]}"; do run "$step" "$step"; done

printf '\n'
printf '%s\n' "${summary[@]}"
python3 - "$reports" "$failed" <<'COUNT' || failed=1
import pathlib, sys, xml.etree.ElementTree as xml
passed = failed = skipped = 0
for report in pathlib.Path(sys.argv[1]).rglob("*.xml"):
    for case in xml.parse(report).getroot().iter("testcase"):
        if "classname" in case.attrib and case.get("classname") == case.get("name") and case.get("name").endswith("_test"):
            continue  # a program of GoogleTest's, whose own report counts its tests
        if case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail":
            failed += 1
        elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            skipped += 1
        else:
            passed += 1
failed += int(sys.argv[2]) if not failed else 0  # a step that failed without a report counts, too
print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(1 if failed else 0)
COUNT
exit $failed
