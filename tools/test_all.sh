#!/usr/bin/env bash
# `make test`: everything that is needed to trust a change, from nothing. Ends what it started.
set -euo pipefail
cd "$(dirname "$0")/.."
log=build/test; mkdir -p "$log"
step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

step "install: packages, and the cluster's programs beside it"
make --silent cluster-tools >"$log/cluster-tools.log" 2>&1 & tools=$!
make --silent install
wait "$tools" || { cat "$log/cluster-tools.log"; exit 1; }

was_up=$(python3 -m tests.cluster status >/dev/null 2>&1 && echo yes || echo no)
finish() { [ "$was_up" = yes ] || python3 -m tests.cluster down || true; }
trap finish EXIT

step "check"
make --silent check

step "property, contract, golden, chart, integration"
PATH="$PWD/.venv/bin:$PATH" python -m pytest -q -m "not long and not cluster" tests/property tests/contract tests/golden tests/chart tests/integration tests/chaos

step "images"
make --silent wheel
python3 -m tests.cluster images >"$log/images.log" 2>&1 || { cat "$log/images.log"; exit 1; }

step "the real cluster: chart, e2e, chaos"
PATH="$PWD/.venv/bin:$PATH" python -m pytest -q -m "cluster and not long" tests/e2e tests/chaos

step "done"
