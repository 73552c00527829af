"""The aggregator's peak memory in a round of 8 sites with a model of 700 MB, in a memory limit of 1 GiB: see large_updates.py.

The kernel counts page cache against the limit, as in a pod, and kills who passes it: then there is no figure.
"""

from tests.bench import large_updates
from tests.bench.bench import Bench
from tests.bench.rows import Row

SITES, PARAMETERS, LIMIT_BYTES = 8, 175_000_000, 1 << 30


def measure(bench: Bench) -> Row:
    """The row."""
    peak = large_updates.peak_mib(bench.folder("aggregator-700mb"), SITES, PARAMETERS, LIMIT_BYTES)
    bench.folder("aggregator-700mb")  # gives the disk back
    return Row("aggregator_rss_mib_700mb_in_1gib", peak, "MiB")
