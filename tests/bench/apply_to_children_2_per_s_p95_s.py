"""As apply_to_children_p95_s, but jobs arrive at a rate that two cores can bear: 20 jobs, two a second, after the 100.

What a person sees who applies a job while a hundred others run. The first row is about a hundred at one stroke.
"""

from tests.bench.bench import Bench
from tests.bench.fleet import LATE
from tests.bench.rows import Row, percentile


def measure(bench: Bench) -> Row:
    """The row."""
    waits = bench.fleet.waits(LATE) if bench.running else []
    print(f"   median {percentile(waits, 0.5):.2f} s, longest {max(waits):.2f} s")
    return Row("apply_to_children_2_per_s_p95_s", percentile(waits, 0.95), "s")
