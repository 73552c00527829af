#!/usr/bin/env bash
# `make test`: everything that is needed to trust a change, from nothing, in two lanes side by side: the real cluster, its
# images and its tests; and lint, types and all other tests, whose failure ends both at once. Ends what it started.
set -euo pipefail
cd "$(dirname "$0")/.."
log=build/test; mkdir -p "$log"
step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

step "install: packages, and the cluster's programs beside it"
make --silent cluster-tools >"$log/cluster-tools.log" 2>&1 & tools=$!
make --silent install
wait "$tools" || { cat "$log/cluster-tools.log"; exit 1; }
export PATH="$PWD/.venv/bin:$PATH"

was_up=$(python3 -m tests.cluster status >/dev/null 2>&1 && echo yes || echo no)
lane=
finish() {
  [ -z "$lane" ] || { kill -- "-$lane" || true; wait "$lane" || true; } 2>/dev/null
  [ "$was_up" = yes ] || python3 -m tests.cluster down || true
}
trap finish EXIT

on_the_cluster() {
  step "cluster's lane: the cluster and its images"
  make --silent wheel
  python3 -m tests.cluster up
  python3 -m tests.cluster images
  step "cluster's lane: e2e, chaos"
  python -m pytest -q -n 2 --durations=10 -m "cluster and not long" tests/e2e tests/chaos
  step "cluster's lane: done"
}

set -m # the lane is a process group, which can be ended as one
on_the_cluster >"$log/cluster.log" 2>&1 </dev/null & lane=$!
set +m

step "check; the cluster's lane is in $log/cluster.log"
make --silent check
step "chart, integration, chaos, contract, property, golden"
python -m pytest -q -n 3 --durations=10 -m "not long and not cluster" \
  tests/chart tests/integration tests/chaos tests/contract tests/property tests/golden

step "the cluster's lane to its end"
ended=0; wait "$lane" || ended=$?
lane=
cat "$log/cluster.log"
step "done"
exit "$ended"
