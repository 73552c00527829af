"""BFloat16: 8 bits of precision over the whole range of float32; 2 times smaller. Pure."""

from fedcore.compression import narrow
from fedcore.tensors import arithmetic
from fedcore.tensors.arithmetic import Array

_MOST = float.fromhex("0x1.ffp127")  # half way from the largest to what would be the next


def narrowed(block: Array) -> Array:
    """Float32 below `_MOST` in size as the bits of bfloat16, half to even."""
    return arithmetic.encoded("BF16", block)


def widened(items: Array, out: Array) -> None:
    """BFloat16 as float32, exactly."""
    arithmetic.decoded("BF16", items, out)


CODEC = narrow.codec("BFloat16", narrow.Narrow("BF16", _MOST, narrowed, widened))
