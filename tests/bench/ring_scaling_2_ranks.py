"""Two ranks over Horovod on two cores, one thread each: images per second, as a multiple of one process'. 2 is all there is."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    return Row("ring_scaling_2_ranks", bench.ring_speed.two_to_one, "x", bench.ring_speed.strangers_to_one)
