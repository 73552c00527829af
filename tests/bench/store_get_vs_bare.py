"""Seconds to get an object of 256 MiB from an S3 server, beside the best of boto3, boto3 with awscrt, and obstore."""

from tests.bench.bench import Bench
from tests.bench.rows import Row
from tests.bench.store_speed import best_rival


def measure(bench: Bench) -> Row:
    """The row."""
    seconds = bench.store_speed.get
    return Row("store_get_vs_bare", seconds["ours"], "s", best_rival(seconds))
