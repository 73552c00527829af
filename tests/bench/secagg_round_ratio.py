"""A round whose updates are summed under masks, as a multiple of the plain one: embedded, 10 sites with 25 M values each.

Wall time from commit to commit, median after the first round, of `fedloom run` with and without privacy.secureAggregation; every site has a key
and signs in both. All sites' masks and the hub's sum are made on the same cores, which sites of a federation each have of their own.
"""

from tests.bench import summed_rounds
from tests.bench.bench import Bench
from tests.bench.rows import Row

PARAMETERS = 25_000_000


def measure(bench: Bench) -> Row:
    """The row."""
    documents = summed_rounds.documents(PARAMETERS)
    plain = summed_rounds.round_s(bench, "plain", documents)
    masked = summed_rounds.round_s(bench, "masked", documents, {"secureAggregation": {}})
    print(f"   a plain round {plain:.2f} s, a masked one {masked:.2f} s")
    return Row("secagg_round_ratio", masked / plain, "ratio")
