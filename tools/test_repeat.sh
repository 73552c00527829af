#!/usr/bin/env bash
# `make test-repeat`: the suite without the cluster, TIMES (5) times with one core busy and as often with all free,
# each time with new examples of the properties.
# Hours. The first red run ends it with its log; no test may depend on how fast the machine is.
set -euo pipefail
cd "$(dirname "$0")/.."
log=build/test-repeat; mkdir -p "$log"
busy=
trap '[ -z "$busy" ] || kill "$busy"' EXIT

for load in busy free; do
  [ "$load" = free ] || { timeout 12h sh -c 'while :; do :; done' & busy=$!; }
  for run in $(seq "${TIMES:-5}"); do
    printf '== one core %s, run %s (%ss)\n' "$load" "$run" "$SECONDS"
    PATH="$PWD/.venv/bin:$PATH" python -m pytest -q -n 3 --hypothesis-profile=search -m "not long and not cluster" tests/unit tests/repo tests/property \
      tests/contract tests/golden tests/chart tests/integration tests/chaos >"$log/$load-$run.log" 2>&1 \
      || { cat "$log/$load-$run.log"; exit 1; }
    tail -n 1 "$log/$load-$run.log"
  done
  [ -z "$busy" ] || { kill "$busy"; busy=; }
done
