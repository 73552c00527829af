"""All bytes that a site sends for an encrypted sum, as a multiple of its quantized update: see he_speed.py.

Told beside it: seconds of a core for each site, of a million values.
"""

from tests.bench import he_speed
from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(_: Bench) -> Row:
    """The row."""
    found = he_speed.measured()
    print("   " + ", ".join(f"{what} {seconds:.2f} s" for what, seconds in found.seconds.items()))
    return Row("he_upload_ratio", found.upload_ratio, "x")
