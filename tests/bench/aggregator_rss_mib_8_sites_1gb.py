"""The aggregator's peak memory in a round of 8 sites with a model of 1 GB: see large_updates.py. Needs 11 GB of disk."""

from tests.bench import large_updates
from tests.bench.bench import Bench
from tests.bench.rows import Row

SITES, PARAMETERS = 8, 250_000_000


def measure(bench: Bench) -> Row:
    """The row."""
    peak = large_updates.peak_mib(bench.folder("aggregator-1gb"), SITES, PARAMETERS)
    bench.folder("aggregator-1gb")  # gives the disk back
    return Row("aggregator_rss_mib_8_sites_1gb", peak, "MiB")
