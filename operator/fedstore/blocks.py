"""An object from its first byte to its last, in blocks that stay in the processor's cache: read once, then hashed, then written.

Called by all that copies or hashes whole objects. Stores that are far away read ahead by themselves (readahead.py).
"""

from collections.abc import Iterator

from fedstore.objectstore import Reader

# With 4 MiB every byte came from memory three times, and a copy with its hash took twice the processor time.
BLOCK_BYTES = 512 << 10


def blocks(reader: Reader) -> Iterator[memoryview]:
    """All of an open object; each block is valid until the next. Fails as the store does."""
    buffer = memoryview(bytearray(min(BLOCK_BYTES, reader.size)))
    for offset in range(0, reader.size, BLOCK_BYTES):
        block = buffer[: min(BLOCK_BYTES, reader.size - offset)]
        reader.read_into(block, offset)
        yield block
