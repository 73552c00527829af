"""Seconds to put an object of 256 MiB into an S3 server, beside the best of boto3, boto3 with awscrt, and obstore.

Ours sends the SHA-256 of every part, which the server checks, and writes on the condition that nothing is there.
"""

from tests.bench.bench import Bench
from tests.bench.rows import Row
from tests.bench.store_speed import best_rival


def measure(bench: Bench) -> Row:
    """The row."""
    seconds = bench.store_speed.put
    return Row("store_put_vs_bare", seconds["ours"], "s", best_rival(seconds))
