"""Int8 updates in memory decoded and added up by weight, span by span, on one core: GB of float32 a second."""

from tests.bench import codec_speed
from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(_bench: Bench) -> Row:
    """The row."""
    return Row("int8_fold_gbs", codec_speed.fold_gbs("Int8"), "GB/s")
