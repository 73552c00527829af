"""Files as compiled code reads them: a function in C and its first argument. Called by disk.py, and by who sums what it reads.

Reading a block, looking at it and computing with it are then one call, in which other threads of Python run.
"""

import ctypes
from functools import cache
from typing import NamedTuple


class Native(NamedTuple):
    """An open file. Valid while its reader is."""

    read: int  # address of a function that does what pread does, of offsets of 64 bits
    file: int  # its first argument


@cache
def pread() -> int:
    """The C library's; where one of 32-bit offsets is beside it, the other."""
    library = ctypes.CDLL(None)
    function = getattr(library, "pread64", None) or library.pread
    return ctypes.cast(function, ctypes.c_void_p).value or 0
