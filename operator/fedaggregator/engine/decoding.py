"""An encoded update, read as the plain file that its base's tensors make: any part of it, decoded. Called by content.py and sources.py.

The layout is the canonical one of the base; the header, which nobody asks for, is left out. A file is compared with the base
before anything of it is decoded (fileform.py), and what a codec checks of its numbers is checked wherever they are read. Memory
is that of a few blocks for each thread that reads, and what is known of the tensors that were read last (codec.index).
"""

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedaggregator.errors import UndecodableError
from fedapi.wire.compression import Codec, Encoding
from fedcore.compression import fileform
from fedcore.compression.codec import MalformedEncodingError, Read
from fedcore.compression.fileform import Coded, Form
from fedcore.tensors import arithmetic, tensorfile
from fedcore.tensors.arithmetic import Array
from fedcore.tensors.tensorfile import ITEM_BYTES, Tensor, TensorFile
from fedstore.blocks import blocks
from fedstore.errors import StoreFailedError
from fedstore.objectstore import Reader

_STEP_ITEMS = 1 << 16  # decoded at once: what is read and what is made of it stay in the processor's cache
_HELD_ITEMS = 1 << 24  # of tensors of which an index is held, which are those that threads of a fold are at …
_LARGE_ITEMS = 1 << 22  # … where a larger tensor, of which there are few at a time, counts as so many


class _Scratch(threading.local):
    """Of one thread: room for what is read of each part, and for floats that are no float32 in the model."""

    def __init__(self) -> None:
        self.parts: dict[int, memoryview] = {}
        self.floats = np.empty(_STEP_ITEMS, np.float32)

    def room(self, part: int, size: int) -> memoryview:
        """Of that part; what was there before is void."""
        if part not in self.parts or self.parts[part].nbytes < size:
            self.parts[part] = memoryview(bytearray(size))
        return self.parts[part][:size]


_scratch = _Scratch()


@dataclass(frozen=True)
class Layout:
    """The plain file that the tensors of a base make."""

    table: TensorFile
    begins: tuple[int, ...]

    @staticmethod
    def of(base: TensorFile) -> "Layout":
        """Of that base."""
        table = tensorfile.canonical_header(base.tensors)[1]
        return Layout(table, tuple(tensor.begin for tensor in table.tensors))

    def pieces(self, offset: int, size: int) -> Iterator[tuple[Tensor, int, int]]:
        """The tensors in that part of the file, and from where to where they are in it, counted from their own beginning."""
        index, end = bisect_right(self.begins, offset) - 1, offset + size
        while offset < end:
            tensor = self.table.tensors[index]
            stop = min(end, tensor.end)
            if offset < stop:
                yield tensor, offset - tensor.begin, stop - tensor.begin
            offset, index = max(offset, stop), index + 1


class DecodedReader:
    """The plain bytes; UndecodableError where the file's numbers are none that an encoder makes."""

    def __init__(
        self,
        key: str,
        reader: Reader,
        layout: Layout,
        encoding: Encoding,
        form: Form,
        trouble: Callable[[], str],
        in_turn: bool,
    ) -> None:
        self._key, self._reader, self._layout, self.encoding, self._form = key, reader, layout, encoding, form
        self._codec = fileform.codec_of(encoding)
        self._known: OrderedDict[str, tuple[int, Any]] = OrderedDict()  # of tensors: how many items, and the index
        self._lock = threading.Lock()
        self._trouble, self.in_turn = trouble, in_turn  # of the file as it is kept

    @property
    def size(self) -> int:
        """Plain bytes."""
        return self._layout.table.size

    @property
    def table(self) -> TensorFile:
        """The tensors, and where they are in the plain file."""
        return self._layout.table

    def trouble(self) -> str:
        """As the protocol says. Who takes note of what is read, once, is not to be led astray by what was read twice."""
        if not (self._codec.once or self.in_turn):
            for _ in blocks(self._reader):
                pass
        return self._trouble()

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """As the port says, for whole items."""
        if offset < min(self._layout.begins, default=0) or offset + buffer.nbytes > self.size:
            raise StoreFailedError(f"{self._key}: the tensors end at {self.size}, more was expected")
        filled = 0
        for tensor, start, stop in self._layout.pieces(offset, buffer.nbytes):
            part = buffer[filled : filled + stop - start]
            where = self._form[tensor.name]
            if isinstance(where, Tensor):
                self._reader.read_into(part, where.begin + start)
            else:
                item = ITEM_BYTES[tensor.dtype]
                self._decoded(
                    tensor, where, start // item, np.frombuffer(part, arithmetic.stored(tensor.dtype, b"").dtype)
                )
            filled += part.nbytes

    def _decoded(self, tensor: Tensor, where: Coded, start: int, items: Array) -> None:
        """The tensor's items from `start` on."""
        read = self._reading(where)
        try:
            known = self._index(tensor.name, where, read)
            for at in range(0, items.size, _STEP_ITEMS):
                out = items[at : at + _STEP_ITEMS]
                if tensor.dtype == "F32":
                    self._codec.decode(read, known, start + at, out)
                    continue
                floats = _scratch.floats[: out.size]
                self._codec.decode(read, known, start + at, floats)
                with np.errstate(over="ignore"):
                    out[:] = arithmetic.encoded(tensor.dtype, floats)
        except MalformedEncodingError as error:
            raise UndecodableError({self._key: f"tensor {tensor.name!r}: {error}"}) from error

    def _index(self, name: str, where: Coded, read: Read) -> Any:
        """Read once, as all of a file is to be, whichever threads ask for it."""
        with self._lock:
            if name not in self._known:
                self._known[name] = (
                    min(where.kind.items, _LARGE_ITEMS),
                    self._codec.index(read, where.kind, self.encoding),
                )
            self._known.move_to_end(name)
            while sum(items for items, _ in self._known.values()) > _HELD_ITEMS:
                self._known.popitem(last=False)
            return self._known[name][1]

    def _reading(self, where: Coded) -> Read:
        def read(index: int, first: int, items: int) -> Array:
            part = where.parts[index]
            item = ITEM_BYTES[part.dtype]
            room = _scratch.room(index, items * item)
            self._reader.read_into(room, part.begin + first * item)
            return arithmetic.stored(part.dtype, room)

        return read


def opened(
    key: str,
    reader: Reader,
    file: TensorFile,
    layout: Layout,
    codec: Codec,
    trouble: Callable[[], str],
    in_turn: bool = True,
) -> DecodedReader:
    """The reader of a file with these tensors; MalformedEncodingError where they are not those of the base, encoded."""
    encoding, form = fileform.formed(layout.table, file, codec)
    return DecodedReader(key, reader, layout, encoding, form, trouble, in_turn)
