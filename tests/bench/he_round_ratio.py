"""A round whose updates are encrypted and summed so, as a multiple of the masked one: embedded, 10 sites with 1 M values each.

Wall time from commit to commit, median after the first round, of `fedloom run` with privacy.homomorphicEncryption and with privacy.secureAggregation.
All sites encrypt and open on the same cores, which sites of a federation each have of their own.
"""

from tests.bench import summed_rounds
from tests.bench.bench import Bench
from tests.bench.rows import Row

PARAMETERS = 1_000_000


def measure(bench: Bench) -> Row:
    """The row."""
    documents = summed_rounds.documents(PARAMETERS)
    masked = summed_rounds.round_s(bench, "masked", documents, {"secureAggregation": {"colluding": 0}})
    encrypted = summed_rounds.round_s(bench, "encrypted", documents, {"homomorphicEncryption": {}})
    print(f"   a masked round {masked:.2f} s, an encrypted one {encrypted:.2f} s")
    return Row("he_round_ratio", encrypted / masked, "ratio")
