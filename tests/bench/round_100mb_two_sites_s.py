"""A round with a model of 100 MB: embedded, TLS on, two sites whose training adds one to every parameter.

Wall time from commit to commit, median after the first round. The peer moves the same bytes over bare TLS on the same
cores, in as many processes: each of two sites fetches 100 MB and sends 100 MB, and both ends hash what passes; measured before and after.
"""

from statistics import median

from tests.bench import bare_tls, embedded, records
from tests.bench.bench import Bench
from tests.bench.rows import Row

SITES, ROUNDS, PARAMETERS = 2, 6, 25_000_000


def measure(bench: Bench) -> Row:
    """The row."""
    before = _bare(bench)
    store = embedded.run(bench.folder("big"), embedded.manifests("addone:task", SITES, ROUNDS, parameters=PARAMETERS))
    walls = [each.wall_s for each in records.rounds(store)]
    after = _bare(bench)
    print("   rounds:", " ".join(f"{value:.2f}" for value in walls), f"bare: {before:.2f} before, {after:.2f} after")
    return Row("round_100mb_two_sites_s", median(walls), "s", (before + after) / 2)


def _bare(bench: Bench) -> float:
    return bare_tls.median_s(bench.folder("bare-tls"), sites=SITES, size=4 * PARAMETERS, repeats=5)
