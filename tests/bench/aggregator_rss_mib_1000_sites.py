"""The aggregator's peak memory (VmHWM) in the same run of 1,000 sites."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    return Row("aggregator_rss_mib_1000_sites", bench.crowds[1000].rss_mib, "MiB")
