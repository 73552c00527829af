"""`python -m tests.bench [--only NAME…]`: measures, writes build/bench/results.json, prints the table.

Figures are recorded, never asserted. Each case is a module of this folder; docs/benchmarks.md says what a row means.
"""

import argparse
import fcntl
import importlib
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.rows import AtLeast, TimesPeer, keep, table

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "bench"
RESULTS = OUT / "results.json"

# Row -> goal, in the order in which they are measured: what needs the quietest machine comes first.
GOALS = {
    "round_overhead_embedded_s": 0.03,
    "round_100mb_two_sites_s": TimesPeer(2.0),
    "trust_cost_ratio": 0.15,
    "round_100mb_two_sites_s3_s": TimesPeer(2.0),
    "round_100mb_two_sites_s3_rss_mib": 256.0,
    "embedded_100_sites_round_s": 10.0,
    "embedded_100_sites_mib": 3072.0,
    "embedded_1000_sites_round_s": 8.4,
    "embedded_1000_sites_mib": 2560.0,
    "embedded_1000_vs_flower": AtLeast(1.0),
    "fold_memory_vs_axpy": AtLeast(0.9),
    "fold_memory_vs_nvflare": AtLeast(1.8),
    "fold_files_vs_axpy": AtLeast(0.8),
    "fold_files_vs_flower": AtLeast(5.0),
    "fold_rss_mib_20": 450.0,
    "fold_rss_mib_200": 450.0,
    "goodput_failures": AtLeast(0.88),
    "fedbuff_vs_sync": AtLeast(3.0),
    "median_vs_flower": AtLeast(10.0),
    "anomalies_cost_ratio": 1.25,
    "round_1000_sites_s": 10.0,
    "round_cpu_growth": 4.8,
    "aggregator_rss_mib_1000_sites": 400.0,
    "aggregator_rss_growth_8_to_64_sites_mib": 16.0,
    "aggregator_rss_mib_8_sites_1gb": 2384.0,  # 2.2 times the model and 300 MB
    "aggregator_rss_mib_700mb_in_1gib": 1024.0,
    "hostile_rss_growth_mib": 64.0,
    "hostile_healthz_p99_s": 0.25,
    "round_overhead_cluster_s": 0.05,
    "ring_bytes_ratio": 1.03,
    "ring_scaling_2_ranks": AtLeast(1.7),
    "ring_vs_ddp": AtLeast(0.95),
    "ring_start_4_pods_s": 15.0,
    "apply_to_children_p95_s": 2.0,
    "operator_rss_mib_100_jobs": 128.0,
    "apply_to_children_2_per_s_p95_s": 2.0,
    "steady_state_writes_per_min": 0.0,
    "status_lag_p95_s": 1.0,
    "store_put_vs_bare": TimesPeer(1.11),  # 0.9 of the best rival's speed
    "store_get_vs_bare": TimesPeer(1.11),
    "store_rss_mib_5gb": 64.0,
    "commit_ms": 100.0,
    "backup_full_vs_copy": TimesPeer(1.2),
    "backup_next_bytes_ratio": 1.1,
    "restore_to_next_round_s": 60.0,
    "registry_writes_per_s_5000": 90.0,
    "operator_rss_mib_5000_sites": 512.0,
    "int8_encode_gbs": AtLeast(0.8),
    "int8_fold_gbs": AtLeast(5.0),
    "topk_encode_gbs": AtLeast(0.5),
    "ledger_entries_per_s": AtLeast(3000.0),
    "ledger_verify_100k_s": 2.0,
    "secagg_round_ratio": 2.5,
    "secagg_mask_gbs": AtLeast(0.8),
    "secagg_unmask_s": 3.0,
    "secagg_100_sites_s": 30.0,
    "secagg_upload_ratio": 1.05,
    "secagg_vs_flower": AtLeast(5.0),
    "he_round_ratio": 12.0,
    "he_upload_ratio": 9.1,
}


def main(words: list[str]) -> int:
    """Runs the cases that were asked for; a case that cannot be measured is told and the others go on."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*GOALS], metavar="NAME", help=f"of {', '.join(GOALS)}")
    wanted = parser.parse_args(words).only or [*GOALS]
    OUT.mkdir(parents=True, exist_ok=True)
    bench, alone = Bench(OUT / "work"), (OUT / "lock").open("w")
    fcntl.flock(alone, fcntl.LOCK_EX)  # two at a time would measure each other
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does: everything that was started ends
    try:
        with bench.stack:
            failed = [name for name in GOALS if name in wanted and not _measure(bench, name)]
    finally:
        shutil.rmtree(bench.work, ignore_errors=True)
    print(table(RESULTS, GOALS))
    if failed:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _measure(bench: Bench, name: str) -> bool:
    """One case: the module that is called like the row without its unit."""
    started = time.monotonic()
    print(f"== {name}", flush=True)
    try:
        row = importlib.import_module(f"tests.bench.{name}").measure(bench)
    except Exception:  # noqa: BLE001 - whatever it was, the other figures are still wanted
        traceback.print_exc()
        return False
    keep(RESULTS, row)
    print(f"   {row.value:.4g} {row.unit}, measured in {time.monotonic() - started:.0f} s", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
