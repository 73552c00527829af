"""The files that a fold reads: the base and the updates, opened, of one kind, and where each has every span.

Called by folding.py. What is not what was accepted or committed is a DamagedError with all that were found.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from fedaggregator.engine import content
from fedaggregator.engine.payloads import Payloads, Sent
from fedaggregator.engine.spans import Span, extents, widest
from fedaggregator.engine.verified import Checked, Extent, gathered, verified
from fedaggregator.errors import DamagedError
from fedapi.wire.message import ObjectRef
from fedcore.tensors import arithmetic, tensorfile
from fedcore.tensors.arithmetic import FLOATS, Array
from fedcore.tensors.tensorfile import MalformedTensorFileError, TensorFile
from fedstore.objectstore import ObjectStore

Places = Sequence[tuple[Extent, ...]]  # of every span


@dataclass(frozen=True)
class Source:
    """An open file of tensors, and where it has each span."""

    ref: ObjectRef
    reader: Checked
    places: Places


@dataclass(frozen=True)
class Base:
    """The model that a round began with."""

    ref: ObjectRef
    reader: Checked
    table: TensorFile

    @staticmethod
    def opened(store: ObjectStore, ref: ObjectRef, files: ExitStack) -> "Base":
        """Opens it for as long as `files`."""
        reader = files.enter_context(verified(store, ref))
        try:
            return Base(ref, reader, content.read_header(reader))
        except MalformedTensorFileError as error:
            raise DamagedError({ref.key: str(error)}) from error

    def source(self, parts: Sequence[Span]) -> Source:
        """The same, as one of the files of a fold."""
        return Source(self.ref, self.reader, places(self.table, parts))


class Updates:
    """Opens updates of a base. Tables of tensors that are the same bytes are read once: sites mostly send the same."""

    def __init__(self, payloads: Payloads, base: Base, parts: Sequence[Span]) -> None:
        self._payloads, self._base, self._parts = payloads, base, parts
        self._known: dict[tuple[int, bytes], Places] = {}

    def opened(self, updates: Iterable[Sent], files: ExitStack) -> list[Source]:
        """All of them; DamagedError names each that is missing or is not of the base's kind any more."""
        sources: list[Source] = []
        found: dict[str, str] = {}
        for sent in updates:
            try:
                sources.append(self._opened(sent, files))
            except DamagedError as error:
                found.update(error.found)
        if found:
            check([self._base.source(self._parts)])  # else the updates may be blamed for what the base lacks
            raise DamagedError(found)
        return sources

    def blocks(self, sent: Sent) -> Iterator[Array]:
        """A pass over the float tensors of one, as strategies weigh it; DamagedError at its end, when it is not whole."""
        with ExitStack() as files:
            source = self._opened(sent, files)
            most = widest(self._parts)
            buffer, wide = memoryview(bytearray(most)), arithmetic.Accumulator.of("F32", most // 2)
            for span, place in zip(self._parts, source.places, strict=True):
                if span.dtype in FLOATS:
                    items = arithmetic.stored(span.dtype, gathered(source.reader, place, buffer))
                    yield arithmetic.decoded(span.dtype, items, wide.product[: items.size])
            check([source])

    def _opened(self, sent: Sent, files: ExitStack) -> Source:
        reader = files.enter_context(self._payloads.accepted(sent))
        try:
            return Source(sent.ref, reader, self._places(content.header_of(reader), reader.size))
        except MalformedTensorFileError as error:
            raise DamagedError({sent.ref.key: str(error)}) from error

    def _places(self, header: bytes, size: int) -> Places:
        if (size, header) not in self._known:
            table = tensorfile.parsed(header, size)
            if different := tensorfile.difference(self._base.table, table):
                raise MalformedTensorFileError(different)
            self._known[size, header] = places(table, self._parts)
        return self._known[size, header]


def places(table: TensorFile, parts: Sequence[Span]) -> Places:
    """Where a file with these tensors has the spans."""
    begins = {tensor.name: tensor.begin for tensor in table.tensors}
    return [extents(span, begins) for span in parts]


def check(sources: Iterable[Source]) -> None:
    """Damaged unless all are what their digests say. Reads what was not read."""
    found = {source.ref.key: trouble for source in sources if (trouble := source.reader.trouble())}
    if found:
        raise DamagedError(found)
