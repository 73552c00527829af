"""The aggregator's most memory in rounds with a model of 100 MB through an S3 server; the peer is a model of 1 MB."""

from tests.bench import bucket_rounds
from tests.bench.bench import Bench
from tests.bench.rows import Row
from tests.servers import weed

ROUNDS, LARGE, SMALL = 3, 25_000_000, 250_000


def measure(bench: Bench) -> Row:
    """The row."""
    with weed.serving(bench.folder("weed") / "server") as server:
        small, large = (
            bucket_rounds.run(server, bench.folder(f"bucket-{size}"), parameters=size, rounds=ROUNDS).rss_mib
            for size in (SMALL, LARGE)
        )
    return Row("round_100mb_two_sites_s3_rss_mib", large, "MiB", small)
