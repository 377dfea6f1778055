#!/usr/bin/env bash
# Installs missing packages, builds keyshepherd, and runs the tests with a real kube-apiserver, OpenBao and agent.
#
#   hack/test.sh             runs the steps that a change must pass: lint headers unit integration asan server tsan
#   hack/test.sh STEP…       runs these steps; there are also: fuzz tidy tidy-all mutations bench
#
# `tidy` checks the files that differ from KEYSHEPHERD_BASE (default: origin/main, or the previous commit).
#
# If KEYSHEPHERD_VAULT_BIN names the program of HashiCorp Vault, the step integration also runs its tests with Vault (src/README.md).
#
# At the end it prints one line for each step and the number of tests. The exit code is 1 if a step failed.
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
# Sanitizers are several times slower, so the property tests run on fewer workloads.
asan() { KEYSHEPHERD_CASES=400 tests_of asan; }
tsan() { KEYSHEPHERD_CASES=400 tests_of tsan -L unit; }
tidy() {
    local base
    base=$(git merge-base HEAD "${KEYSHEPHERD_BASE:-origin/main}" 2>/dev/null) || base=
    [ -n "$base" ] && [ "$base" != "$(git rev-parse HEAD)" ] || base=$(git rev-parse HEAD~1) || return 1
    # clang-tidy reads the precompiled header that the build makes.
    build dev keyshepherd && git diff --name-only --diff-filter=d "$base" -- 'src/*.cpp' |
        xargs --no-run-if-empty --max-procs="$(nproc)" --max-args=1 clang-tidy-19 --quiet -p build/dev
}
tidy-all() { build tidy; }

lint() {
    local programs
    programs=$(hack/tools.sh lint) &&
        git ls-files '*.cpp' '*.hpp' | xargs clang-format-19 --dry-run -Werror &&
        git ls-files '*.sh' .ci/run | xargs shellcheck &&
        git ls-files '*.py' | xargs "$programs/ruff" check --quiet &&
        git ls-files -- ':!hack/tools/go.*' ':!tests/fuzz/corpus' ':!LICENSE' | xargs "$programs/codespell" &&
        hack/generate.sh --check
}

headers() { build dev headers; }

# `unit` and `asan` run the corpora. This step lets libFuzzer search for new inputs for a short time.
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

run_pytests() { # report preset argument…: uses the programs that are built
    local report=$1 preset=$2 programs
    shift 2
    programs=$(hack/tools.sh) &&
        env KEYSHEPHERD_PRESET="$preset" KEYSHEPHERD="$PWD/build/$preset/keyshepherd" KEYSHEPHERD_EXEC="$PWD/build/$preset/keyshepherd-exec" \
            PARSEENV="$programs/parseenv" YAMLTOJSON="$programs/yamltojson" \
            "$programs/python" -m pytest -q -rs -p no:cacheprovider --timeout=300 --junitxml="$reports/$report.xml" "$@"
}
build_for_pytests() { build "$1" keyshepherd keyshepherd-exec kube_client; }
pytests() { build_for_pytests "$2" && run_pytests "$@"; }
# Runs two lists of tests, separated by `+`, at the same time. Each has its own servers, and they mostly wait.
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
    # Runs the same tests with HashiCorp Vault.
    if [ -n "$other" ]; then
        KEYSHEPHERD_VAULT_BIN=$other \
            side_by_side other-vault dev "${long[@]}" + "${long[@]/#/--ignore=}" tests/integration || status=1
    fi
    return "$status"
}
# Runs the tests of the servers again, built with sanitizers.
server() {
    side_by_side server asan tests/integration/test_{operator,revocation,provider_operator}.py + \
        tests/integration/test_{webhook_server,plan_apply,kube_client}.py
}
mutations() { hack/mutate.sh; }
bench() { build release && tests/bench/launcher.sh && KEYSHEPHERD_BENCH_SECONDS=2 tests/bench/admission.sh &&
    tests/bench/operator.sh --sizes 500 --steady 100 --sweeps 1 &&
    tests/bench/secret_id.sh --issues 50 --rotations 150 --kills 4 --attempts 1000 --tokens 500 --revocations 10 --emergencies 4; }

steps=("$@")
[ $# -gt 0 ] || steps=(lint headers unit integration asan server tsan)
if [[ " ${steps[*]} " == *" bench "* ]]; then run deps hack/deps.sh bench; else run deps hack/deps.sh; fi
run tools hack/tools.sh
for step in "${steps[@]}"; do run "$step" "$step"; done

printf '\n'
printf '%s\n' "${summary[@]}"
python3 - "$reports" "$failed" <<'COUNT' || failed=1
import pathlib, sys, xml.etree.ElementTree as xml
passed = failed = skipped = 0
for report in pathlib.Path(sys.argv[1]).rglob("*.xml"):
    for case in xml.parse(report).getroot().iter("testcase"):
        if "classname" in case.attrib and case.get("classname") == case.get("name") and case.get("name").endswith("_test"):
            continue  # a GoogleTest program, whose own report counts its tests
        if case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail":
            failed += 1
        elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            skipped += 1
        else:
            passed += 1
failed += int(sys.argv[2]) if not failed else 0  # counts a step that failed without a report
print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(1 if failed else 0)
COUNT
exit $failed
