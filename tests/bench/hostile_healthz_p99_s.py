"""How long the aggregator's /healthz takes under hostile clients (hostile_clients.py), 99th percentile."""

from tests.bench.bench import Bench
from tests.bench.rows import Row, percentile


def measure(bench: Bench) -> Row:
    """The row."""
    times = bench.hostile.healthz_s
    print(f"   {len(times)} probes, the slowest took {max(times):.2f} s")
    return Row("hostile_healthz_p99_s", percentile(times, 0.99), "s")
