"""The files that a fold reads: the base and the updates, opened, of one kind, and where each has its spans.

Called by folding.py. What is not what was accepted or committed is a DamagedError with all that were found.
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from fedaggregator.engine import content, decoding
from fedaggregator.engine.decoding import Layout
from fedaggregator.engine.payloads import Payloads, Sent
from fedaggregator.engine.spans import Span, extents
from fedaggregator.engine.spanwise import Turns
from fedaggregator.engine.spreading import SpreadReader
from fedaggregator.engine.verified import Checked, Extent, gathered
from fedaggregator.errors import DamagedError
from fedapi.wire.message import ObjectRef
from fedcore.compression.codec import MalformedEncodingError
from fedcore.tensors import submodels, tensorfile
from fedcore.tensors.fragments import WHOLE, Turn
from fedcore.tensors.submodels import Widths
from fedcore.tensors.tensorfile import MalformedTensorFileError, TensorFile

Places = Sequence[tuple[Extent, ...]]  # of every span


@dataclass(frozen=True)
class Source:
    """An open file of tensors, and where it has each span."""

    ref: ObjectRef
    reader: Checked
    places: Places
    turns: Turns = field(default_factory=Turns)

    def block(self, index: int, buffer: memoryview) -> memoryview:
        """What it has of a span, in the buffer; called in threads that have other spans under way."""
        if not self.reader.in_turn:
            return gathered(self.reader, self.places[index], buffer)
        self.turns.wait(index)
        block = gathered(self.reader, self.places[index], buffer)
        self.turns.done(index)
        return block


@dataclass(frozen=True)
class Base:
    """The model that a round began with: of the initial one, the tensors that travel."""

    ref: ObjectRef
    reader: Checked
    table: TensorFile
    asked: TensorFile  # the same, of which the round's updates have these tensors: those of its fragment, or all

    @staticmethod
    def opened(payloads: Payloads, ref: ObjectRef, files: ExitStack, turn: Turn = WHOLE) -> "Base":
        """Opens it for as long as `files`."""
        reader = files.enter_context(payloads.committed(ref))
        try:
            table = content.read_header(reader).exchanged
            return Base(ref, reader, table, turn.of(table))
        except MalformedTensorFileError as error:
            raise DamagedError({ref.key: str(error)}) from error

    def source(self, parts: Sequence[Span]) -> Source:
        """The same, as one of the files of a fold."""
        return Source(self.ref, self.reader, places(self.table, parts))


class Updates:
    """Opens updates of a base. Tables of tensors that are the same bytes are read once: sites mostly send the same."""

    def __init__(
        self, payloads: Payloads, base: Base, parts: Sequence[Span], widths: Widths = MappingProxyType({})
    ) -> None:
        self._payloads, self._base, self._parts, self._widths = payloads, base, parts, widths
        self._known: dict[tuple[int, bytes], Places] = {}

    @cached_property
    def _layout(self) -> Layout:
        """In which encoded updates are read."""
        return Layout.of(self._base.asked)

    @cached_property
    def _layout_places(self) -> Places:
        return places(self._layout.table, self._parts)

    @cached_property
    def _sub_models(self) -> dict[float, Layout]:
        """Of the sub-models."""
        tables = {width: submodels.sliced(self._base.asked, shapes) for width, shapes in self._widths.items()}
        return {width: Layout.of(table) for width, table in tables.items()}

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

    def _opened(self, sent: Sent, files: ExitStack) -> Source:
        reader = files.enter_context(self._payloads.accepted(sent))
        codec, sliced = sent.payload.codec, None if sent.width is None else self._sub_models[sent.width]
        try:
            if codec == "None" and sliced is None:
                return Source(sent.ref, reader, self._places(content.header_of(reader), reader.size))
            file, plain = content.read_header(reader), reader
            if codec != "None":
                layout = sliced or self._layout
                plain = decoding.opened(sent.ref.key, reader, file, layout, codec, reader.trouble, reader.in_turn)
                file = plain.table
            if sliced is not None:
                _check_alike(sliced.table, file)
                plain = SpreadReader(plain, file, self._layout)
            return Source(sent.ref, plain, self._layout_places)
        except (MalformedTensorFileError, MalformedEncodingError) as error:
            raise DamagedError({sent.ref.key: str(error)}) from error

    def _places(self, header: bytes, size: int) -> Places:
        if (size, header) not in self._known:
            table = tensorfile.parsed(header, size)
            _check_alike(self._base.asked, table)
            self._known[size, header] = places(table, self._parts)
        return self._known[size, header]


def _check_alike(expected: TensorFile, found: TensorFile) -> None:
    if different := tensorfile.difference(expected, found):
        raise MalformedTensorFileError(different)


def places(table: TensorFile, parts: Sequence[Span]) -> Places:
    """Where a file with these tensors has the spans; nowhere, where an update has not what is not exchanged."""
    begins = {tensor.name: tensor.begin for tensor in table.tensors}
    return [extents(span, begins) if span.exchanged or span.pieces[0].name in begins else () for span in parts]


def check(sources: Iterable[Source]) -> None:
    """Damaged unless all are what their digests say. Reads what was not read."""
    found = {source.ref.key: trouble for source in sources if (trouble := source.reader.trouble())}
    if found:
        raise DamagedError(found)
