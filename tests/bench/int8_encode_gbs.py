"""Int8 with stochastic rounding, from float32 in memory to the bytes of the file, on one core: GB of float32 a second."""

from tests.bench import codec_speed
from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(_bench: Bench) -> Row:
    """The row."""
    return Row("int8_encode_gbs", codec_speed.encode_gbs("Int8"), "GB/s")
