"""From commit to commit with 1,000 scripted sites; median after the first round (crowd.py says what runs)."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    return Row("round_1000_sites_s", bench.crowds[1000].round_s, "s")
