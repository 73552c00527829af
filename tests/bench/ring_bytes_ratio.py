"""Bytes that a rank sends to sum S bytes over n ranks, as a multiple of 2(n-1)/n S, which no ring can go below.

Counted by the kernel (TCP_INFO, payload and repeats) on all connections of each process, with Horovod's own talk among
its ranks and the rendezvous'. The row is the worst rank's of Horovod and torch.distributed on 2 and 4 ranks, S = 64 MiB.
"""

from contextlib import ExitStack

from tests.bench.bench import Bench
from tests.bench.ring_group import RankGroup
from tests.bench.rows import Row

SIZE, TIMES = 64 << 20, 3


def measure(bench: Bench) -> Row:
    """The row."""
    ratios = {(name, ranks): _ratio(name, ranks) for name in ("Horovod", "TorchDistributed") for ranks in (2, 4)}
    print("   " + ", ".join(f"{name} on {ranks}: {ratio:.4f}" for (name, ranks), ratio in ratios.items()))
    return Row("ring_bytes_ratio", max(ratios.values()), "x")


def _ratio(collective: str, ranks: int) -> float:
    with ExitStack() as stack:
        sent = RankGroup("ring", ranks, stack, collective=collective).ask("reduce", SIZE, TIMES)
    return max(sent) / (TIMES * 2 * (ranks - 1) / ranks * SIZE)
