"""The aggregator's peak memory under hostile clients (hostile_clients.py), less that before them."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    return Row("hostile_rss_growth_mib", bench.hostile.growth_mib, "MiB")
