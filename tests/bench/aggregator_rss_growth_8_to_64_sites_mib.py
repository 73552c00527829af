"""How much the aggregator's peak memory grows from 8 to 64 sites; model and updates of 100 MB, one round: see large_updates.py."""

from tests.bench import large_updates
from tests.bench.bench import Bench
from tests.bench.rows import Row

PARAMETERS, FEW, MANY = 25_000_000, 8, 64


def measure(bench: Bench) -> Row:
    """The row."""
    peaks = {
        count: large_updates.peak_mib(bench.folder(f"aggregator-{count}"), count, PARAMETERS) for count in (FEW, MANY)
    }
    for count in peaks:
        bench.folder(f"aggregator-{count}")  # gives the disk back
    print("   peaks:", ", ".join(f"{count} sites {peak:.0f} MiB" for count, peak in peaks.items()))
    return Row("aggregator_rss_growth_8_to_64_sites_mib", peaks[MANY] - peaks[FEW], "MiB")
