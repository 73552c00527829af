"""glibc's allocator, told to hand the buffers of transfers back to the kernel. Called once by __main__.

Left alone it raises its threshold to the largest buffer that it saw freed, keeps such buffers in its heap, and the
heap fragments: the more sites upload, the larger the process stays.
"""

import ctypes

_M_MMAP_THRESHOLD = -3  # of <malloc.h>
_BUFFER_BYTES = 128 << 10  # from this size on a buffer is mapped by itself; glibc's own initial value, now fixed


def give_buffers_back() -> None:
    """Fixes the size from which buffers are mapped. Does nothing where the C library has no mallopt."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _BUFFER_BYTES)
