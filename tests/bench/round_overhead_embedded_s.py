"""What a round costs beside training, without a cluster: `fedloom run`, 4 sites, 15 rounds, a model of 9 numbers.

A round's wall time is from commit to commit (all of a round is in it, the next plan too); from it goes the training
time that the slowest site reports. Median over all rounds after the first. The peer is the same number of bare HTTPS
round trips: 4 processes that each ask 3 times (next, evaluation, update), all at once.
"""

from statistics import median

from tests.bench import bare_https, embedded, records
from tests.bench.bench import Bench
from tests.bench.rows import Row

SITES, ROUNDS, TRIPS = 4, 15, 3


def measure(bench: Bench) -> Row:
    """The row."""
    folder = bench.folder("embedded")
    store = embedded.run(folder, embedded.manifests("tiny:task", SITES, ROUNDS))
    overheads = [each.wall_s - each.training_s for each in records.rounds(store)]
    print("   overheads:", " ".join(f"{value:.3f}" for value in overheads))
    peer = bare_https.median_s(bench.folder("bare-https"), processes=SITES, trips=TRIPS, repeats=ROUNDS)
    return Row("round_overhead_embedded_s", median(overheads), "s", peer)
