"""What a round costs beside training on the local cluster: one node on this machine, 4 sites, 15 rounds, 9 numbers.

As round_overhead_embedded_s (commit to commit, less the slowest site's training, median after the first round), with
pods, Services, DNS and the API server between. The peer is the same: bare HTTPS round trips, without a cluster.
"""

from statistics import median

from tests.bench import bare_https
from tests.bench.bench import Bench
from tests.bench.round_overhead_embedded_s import ROUNDS, SITES, TRIPS
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    overheads = [each.wall_s - each.training_s for each in bench.on_cluster.rounds]
    print("   overheads:", " ".join(f"{value:.3f}" for value in overheads))
    peer = bare_https.median_s(bench.folder("bare-https"), processes=SITES, trips=TRIPS, repeats=ROUNDS)
    return Row("round_overhead_cluster_s", median(overheads), "s", peer)
