"""What the judgement of updates costs: a round with `spec.anomalies` as a multiple of one without, the same job otherwise.

A model of 100 MB, embedded, TLS on, three sites whose training adds one to every parameter: fewer would not be compared with each other.
Wall time from commit to commit, median after the first round.
"""

from statistics import median
from typing import Any

from tests.bench import embedded, records
from tests.bench.bench import Bench
from tests.bench.rows import Row

SITES, ROUNDS, PARAMETERS = 3, 6, 25_000_000


def measure(bench: Bench) -> Row:
    """The row."""
    without, judged = _median_s(bench, "without"), _median_s(bench, "judged", anomalies={"action": "Exclude"})
    print(f"   rounds: {judged:.2f} s judged, {without:.2f} s without")
    return Row("anomalies_cost_ratio", judged / without, "x")


def _median_s(bench: Bench, name: str, **spec: Any) -> float:
    documents = embedded.manifests("addone:task", SITES, ROUNDS, parameters=PARAMETERS)
    documents[-1]["spec"] |= spec
    return median(each.wall_s for each in records.rounds(embedded.run(bench.folder(name), documents)))
