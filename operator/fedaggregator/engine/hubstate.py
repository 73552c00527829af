"""What a strategy remembers at the hub, as an object of the store: read and written span by span beside the model.

A tensor file with one tensor per parameter, named and ordered as in the model: shape (items, memory), of the type that is
computed in. It tells parameters from buffers, too: nothing else does of a model that was folded. So a strategy that treats
the two differently has one even where it remembers nothing: shape (items, 0). What sites send to change it has its form, too.
Called by folding.py, and by intake.py for that form.
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from fedaggregator.engine import content
from fedaggregator.engine.payloads import Payloads, Sent
from fedaggregator.engine.sources import Base, Places, Source
from fedaggregator.engine.spans import Span, extents
from fedaggregator.engine.verified import Checked
from fedaggregator.errors import DamagedError
from fedapi.wire.message import ObjectRef
from fedcore.tensors import arithmetic, tensorfile
from fedcore.tensors.arithmetic import FLOATS
from fedcore.tensors.tensorfile import ITEM_BYTES, MalformedTensorFileError, Tensor, TensorFile
from fedstore.objectstore import ObjectStore


@dataclass(frozen=True)
class Left:
    """The file that the last commit left, open."""

    ref: ObjectRef
    reader: Checked


@dataclass(frozen=True)
class HubState:
    """The file that a fold makes, and the one before it."""

    memory: int  # numbers per item of a parameter
    header: bytes  # prefix and all
    table: TensorFile
    left: Left | None

    @property
    def names(self) -> frozenset[str]:
        """The parameters that are remembered."""
        return frozenset(tensor.name for tensor in self.table.tensors)

    def source(self, parts: Sequence[Span]) -> Source | None:
        """What was left, as one of the files of a fold; None in the first round."""
        if self.left is None:
            return None
        return Source(self.left.ref, self.left.reader, self._places(self.table, parts))

    def changes(
        self, payloads: Payloads, sent: Iterable[Sent], parts: Sequence[Span], files: ExitStack
    ) -> tuple[Source, ...]:
        """Payloads of its form, opened; DamagedError names each that is missing or is not of that form any more."""
        sources: list[Source] = []
        found: dict[str, str] = {}
        for each in sent:
            try:
                sources.append(self._change(payloads, each, parts, files))
            except DamagedError as error:
                found.update(error.found)
        if found:
            raise DamagedError(found)
        return tuple(sources)

    def _change(self, payloads: Payloads, sent: Sent, parts: Sequence[Span], files: ExitStack) -> Source:
        reader = files.enter_context(payloads.accepted(sent))
        try:
            table = content.read_header(reader)
        except MalformedTensorFileError as error:
            raise DamagedError({sent.ref.key: str(error)}) from error
        if different := tensorfile.difference(self.table, table):
            raise DamagedError({sent.ref.key: different})
        return Source(sent.ref, reader, self._places(table, parts))

    def _places(self, table: TensorFile, parts: Sequence[Span]) -> Places:
        begins = {tensor.name: tensor.begin for tensor in table.tensors}
        return [extents(span, begins, self._factor(span)) if span.remembered else () for span in parts]

    def _factor(self, span: Span) -> int:
        """Its bytes per byte of the model."""
        return self.memory * ITEM_BYTES[arithmetic.working_type(span.dtype)] // ITEM_BYTES[span.dtype]


def opened(
    payloads: Payloads, base: Base, model: TensorFile, kept: int | None, ref: ObjectRef | None, files: ExitStack
) -> HubState:
    """The state of a strategy that keeps so many numbers per item, for as long as `files`; None: no state, no names.

    DamagedError when it is not of the model's kind.
    """
    if kept is None:
        return HubState(0, *_file(model, frozenset(), 0), None)
    if ref is None:
        return HubState(kept, *_file(model, _parameters(base.table), kept), None)
    reader = files.enter_context(payloads.committed(ref))
    try:
        header = content.header_of(reader)
        names = frozenset(tensor.name for tensor in tensorfile.parsed(header, reader.size).tensors)
    except MalformedTensorFileError as error:
        raise DamagedError({ref.key: str(error)}) from error
    state = HubState(kept, *_file(model, names, kept), Left(ref, reader))
    if not state.header.endswith(header) or reader.size != state.table.size:
        raise DamagedError({ref.key: "its tensors are not those of the model"})
    return state


def form(store: ObjectStore, base: TensorFile, kept: int, ref: ObjectRef | None) -> TensorFile:
    """The tensors of such a file: beside the model `base`, and what the last commit left, if anything.

    MissingError and MalformedTensorFileError, where that cannot be read.
    """
    _, model = tensorfile.canonical_header(base.tensors)
    names = _parameters(base) if ref is None else frozenset(content.read_table(store, ref.key).by_name())
    return _file(model, names, kept)[1]


def _parameters(base: TensorFile) -> frozenset[str]:
    """Of an initial model, as who made it says."""
    return frozenset(t.name for t in base.tensors if t.dtype in FLOATS and t.name not in base.buffers)


def _file(model: TensorFile, names: frozenset[str], memory: int) -> tuple[bytes, TensorFile]:
    """Header and table of the file for those tensors of the model."""
    return tensorfile.header(_kept(tensor, memory) for tensor in model.tensors if tensor.name in names)


def _kept(tensor: Tensor, memory: int) -> Tensor:
    kind = arithmetic.working_type(tensor.dtype)
    items = (tensor.end - tensor.begin) // ITEM_BYTES[tensor.dtype]
    return Tensor(tensor.name, kind, (items, memory), 0, items * memory * ITEM_BYTES[kind])
