"""TopK of 1 %, from float32 in memory to the bytes of the file, on one core: GB of float32 a second."""

from tests.bench import codec_speed
from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(_bench: Bench) -> Row:
    """The row."""
    return Row("topk_encode_gbs", codec_speed.encode_gbs("TopK", 0.01), "GB/s")
