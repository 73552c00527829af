"""Two ranks over Horovod: images per second, as a share of what torch's DistributedDataParallel makes in the same run."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    return Row("ring_vs_ddp", bench.ring_speed.ring_to_ddp, "x")
