"""The update of a sub-model, read as an update of the whole model: 0 where it does not reach. Called by sources.py.

Above decryption and decoding, so that the fold knows nothing of files but the layout of the base; which of the zeros no site has sent
is known by fedcore.strategies.coverage. What a part of the whole has of a slice is one part of the slice, in the same order: each
byte is read once, front to back. Memory is one block for each thread that reads.
"""

import threading

import numpy as np

from fedaggregator.engine.decoding import Layout
from fedaggregator.engine.verified import Checked
from fedcore.tensors import arithmetic, slices
from fedcore.tensors.tensorfile import ITEM_BYTES, Tensor, TensorFile


class _Scratch(threading.local):
    """Of one thread: room for what is read."""

    def __init__(self) -> None:
        self._room = memoryview(bytearray())

    def room(self, size: int) -> memoryview:
        """What was there before is void."""
        if self._room.nbytes < size:
            self._room = memoryview(bytearray(size))
        return self._room[:size]


_scratch = _Scratch()


class SpreadReader:
    """By the base's layout. `table`: the tensors of the file, by names and types the base's, each a leading slice of its."""

    def __init__(self, reader: Checked, table: TensorFile, layout: Layout) -> None:
        self._reader, self._layout = reader, layout
        self._parts = table.by_name()
        self.in_turn = reader.in_turn

    @property
    def size(self) -> int:
        """Bytes of the whole."""
        return self._layout.table.size

    def trouble(self) -> str:
        """As the protocol says."""
        return self._reader.trouble()

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """As the port says, for whole items."""
        filled = 0
        for tensor, start, stop in self._layout.pieces(offset, buffer.nbytes):
            target = buffer[filled : filled + stop - start]
            part = self._parts[tensor.name]
            if part.shape == tensor.shape:
                self._reader.read_into(target, part.begin + start)
            else:
                item = ITEM_BYTES[tensor.dtype]
                self._spread(tensor, part, start // item, arithmetic.stored(tensor.dtype, target))
            filled += target.nbytes

    def _spread(self, whole: Tensor, part: Tensor, start: int, items: arithmetic.Array) -> None:
        """The whole tensor's items from `start` on."""
        item = ITEM_BYTES[whole.dtype]
        first = slices.before(whole.shape, part.shape, start)
        count = slices.before(whole.shape, part.shape, start + items.size) - first
        items.fill(0)
        if not count:
            return
        room = _scratch.room(count * item)
        self._reader.read_into(room, part.begin + first * item)
        read = arithmetic.stored(whole.dtype, room)
        if count == items.size:
            np.copyto(items, read)
        else:
            items[slices.within(whole.shape, part.shape, start, start + items.size)] = read
