"""How many times as long a round takes in Flower's simulation engine as here: 1,000 sites, a task that adds one, the same machine.

Flower's round is from the end of one round's sum to the next one's, median after the first, which starts Ray; its sites
hold no state and its updates are not durable. Ours is the run of embedded_1000_sites_round_s.
"""

from statistics import median

from tests.bench import flower
from tests.bench.bench import Bench
from tests.bench.rows import Row

SITES, ROUNDS = 1000, 4


def measure(bench: Bench) -> Row:
    """The row: Flower's seconds per round over ours."""
    theirs = flower.round_s(SITES, ROUNDS)
    print("   Flower:", " ".join(f"{value:.2f}" for value in theirs))
    return Row("embedded_1000_vs_flower", median(theirs[1:]) / bench.thousand.round_s, "x")
