#!/usr/bin/env bash
# `make test`: everything that is needed to trust a change, from nothing, in two lanes side by side: the real cluster, its
# images and its tests; and lint, types and all other tests. A lane that fails ends both at once. A test that fails is
# named at once, in a line that begins with FAILED behind the lane's name. Ends what it started, and then says last which
# lane failed and by what.
set -euo pipefail
cd "$(dirname "$0")/.."
log=build/test; mkdir -p "$log"
step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

step "install: packages, and the programs of the cluster and of stores beside it"
make --silent cluster-tools store-tools >"$log/tools.log" 2>&1 & tools=$!
make --silent install
wait "$tools" || { cat "$log/tools.log"; exit 1; }
export PATH="$PWD/.venv/bin:$PATH"

on_the_cluster() {
  step "the cluster, and its images beside it"
  make --silent wheel
  python3 -m tests.cluster images >"$log/images.log" 2>&1 & images=$!  # a lane ends when nobody writes its log any more
  python3 -m tests.cluster up
  wait "$images" || { cat "$log/images.log"; exit 1; }
  step "e2e, chaos on the cluster"
  python -m pytest -q -n 2 --durations=10 -m "cluster and not long" tests/e2e tests/chaos
  step "done"
}

everything_else() {
  step "check"
  make --silent check
  step "chart, integration, chaos, contract, property, golden"
  python -m pytest -q -n 3 --durations=10 -m "not long and not cluster" \
    tests/chart tests/integration tests/chaos tests/contract tests/property tests/golden
  step "done"
}

# What writes its log outlives an interrupt, for what the tests still say.
lane() { "$2" </dev/null 2>&1 | tee -i "$log/$1.log" | (trap "" INT; exec sed -u "s/^/$1: /"); }

# A lane is a job, and so a process group, which may outlive its shell. pytest takes an interrupt as the end of its tests
# and ends what these started (`make test` sees to it that interrupts are not ignored, as they are in a shell's background).
lanes=()
end_lanes() {
  local group
  for group in "${lanes[@]}"; do kill -INT -- "-$group" 2>/dev/null || true; done
  for group in "${lanes[@]}"; do
    for _ in $(seq 60); do kill -0 -- "-$group" 2>/dev/null || break; sleep 1; done
    kill -KILL -- "-$group" 2>/dev/null || true
  done
}

# Few and short lines: of a long log, some CI systems show no more than the last 2 kB. Without a test that failed, its end.
tell_failure() {
  local text="$log/$1.log" errors tests
  tests=$(grep -aE '^(FAILED|ERROR) tests/' "$text" | awk '!seen[$2]++' || true)
  errors=$(grep -aE '^E  +[^ ]' "$text" | grep -v '%]$' | head -n 5 || true)
  [ -n "$tests" ] || errors=$(tail -n 10 "$text")
  printf '\n== the lane "%s" failed, and with it the run (%ss); its log is %s\n' "$1" "$SECONDS" "$text"
  [ -z "$errors" ] || cut -c-120 <<<"$errors"
  [ -z "$tests" ] || head -n 5 <<<"$tests" | cut -c-200
  [ "$(wc -l <<<"$tests")" -le 5 ] || printf 'and %s more\n' "$(($(wc -l <<<"$tests") - 5))"
}
was_up=$(python3 -m tests.cluster status >/dev/null 2>&1 && echo yes || echo no)
finish() {
  end_lanes
  [ "$was_up" = yes ] || python3 -m tests.cluster down || true
  local name  # of tests/e2e/test_disaster.py, where that was interrupted
  for name in doomed elsewhere; do python3 -m tests.cluster down --name "$name" --images || true; done
  [ -z "$failed" ] || tell_failure "$failed"
}
failed=
trap finish EXIT

set -m
lane cluster on_the_cluster & lanes+=($!)
lane checks everything_else & lanes+=($!)
set +m
ended=0
wait -n -p first || ended=$?
[ "$ended" != 0 ] || wait -n -p first || ended=$?
if [ "$ended" != 0 ]; then
  [ "$first" = "${lanes[0]}" ] && failed=cluster || failed=checks
  step "the lane \"$failed\" has failed: the other is ended"
fi
step "end"
exit "$ended"
