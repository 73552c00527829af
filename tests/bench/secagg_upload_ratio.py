"""All bytes that a site of those 100 sends, as a multiple of its quantized update: see secagg_speed.py."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    return Row("secagg_upload_ratio", bench.secure_sum_100.upload_ratio, "x")
