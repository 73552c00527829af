"""A round with a model of 100 MB through a real S3 server with TLS: two sites, encrypted updates, training adds one.

Wall time from commit to commit, median after the first round. The peer moves the same bytes by bare boto3 through the
same server: two models and two updates out and in, what the hub reads of it, and the next model; measured before and after.
"""

from statistics import median

from tests.bench import bare_s3, bucket_rounds
from tests.bench.bench import Bench
from tests.bench.rows import Row
from tests.servers import weed

ROUNDS, PARAMETERS = 6, 25_000_000


def measure(bench: Bench) -> Row:
    """The row; the aggregator's memory is told beside it."""
    with weed.serving(bench.folder("weed") / "server") as server:
        before = bare_s3.median_s(server, size=4 * PARAMETERS, repeats=3)
        found = bucket_rounds.run(server, bench.folder("bucket"), parameters=PARAMETERS, rounds=ROUNDS)
        after = bare_s3.median_s(server, size=4 * PARAMETERS, repeats=3)
    print(
        "   rounds:",
        " ".join(f"{value:.2f}" for value in found.walls_s),
        f"bare: {before:.2f} before, {after:.2f} after",
    )
    print(f"   the aggregator's most memory: {found.rss_mib:.0f} MiB")
    return Row("round_100mb_two_sites_s3_s", median(found.walls_s), "s", (before + after) / 2)
