"""Writes to the API server per second, in the busiest ten, while 5,000 sites do nothing but send heartbeats."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    return Row("registry_writes_per_s_5000", bench.site_registry.writes_per_s, "1/s")
