"""How many times as long the masks of one site take by the functions of Flower's SecAgg+: 10 masks of 25 M values, medians.

Ours are AES-256 in counter mode, added in place. Theirs are numpy's Mersenne twister with a seed of 32 bits, which is no generator
for secrets, in arrays of int64: the comparison is of what both offer, not of equal protection.
"""

from statistics import median

from tests.bench import flower, secagg_speed
from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(_bench: Bench) -> Row:
    """The row."""
    theirs = median(flower.masks(secagg_speed.MASKS, secagg_speed.ITEMS, 3))
    ours = median(secagg_speed.mask_s())
    return Row("secagg_vs_flower", theirs / ours, "x")
