"""GB of masks a second that one core makes and adds to an update of 25 M values: see secagg_speed.py."""

from tests.bench import secagg_speed
from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(_bench: Bench) -> Row:
    """The row."""
    return Row("secagg_mask_gbs", secagg_speed.mask_gbs(), "GB/s")
