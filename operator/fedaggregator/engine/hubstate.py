"""What a strategy remembers at the hub, as an object of the store: read and written span by span beside the model.

A tensor file with one tensor per parameter, named and ordered as in the model: shape (items, memory), of the type that is
computed in. It tells parameters from buffers, too: nothing else does of a model that was folded. Called by folding.py.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from fedaggregator.engine import content
from fedaggregator.engine.sources import Base, Source
from fedaggregator.engine.spans import Span, extents
from fedaggregator.engine.verified import VerifiedReader, verified
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
    reader: VerifiedReader


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
        begins = {tensor.name: tensor.begin for tensor in self.table.tensors}
        found = [extents(span, begins, self._factor(span)) if span.remembered else () for span in parts]
        return Source(self.left.ref, self.left.reader, found)

    def _factor(self, span: Span) -> int:
        """Its bytes per byte of the model."""
        return self.memory * ITEM_BYTES[arithmetic.working_type(span.dtype)] // ITEM_BYTES[span.dtype]


def opened(
    store: ObjectStore, base: Base, model: TensorFile, memory: int, ref: ObjectRef | None, files: ExitStack
) -> HubState:
    """The state of a strategy with so much memory, for as long as `files`. DamagedError when it is not of the model's kind."""
    if ref is None or not memory:
        parameters = (t.name for t in base.table.tensors if t.dtype in FLOATS and t.name not in base.table.buffers)
        return HubState(memory, *_file(model, frozenset(parameters if memory else ()), memory), None)
    reader = files.enter_context(verified(store, ref))
    try:
        header = content.header_of(reader)
        names = frozenset(tensor.name for tensor in tensorfile.parsed(header, reader.size).tensors)
    except MalformedTensorFileError as error:
        raise DamagedError({ref.key: str(error)}) from error
    state = HubState(memory, *_file(model, names, memory), Left(ref, reader))
    if not state.header.endswith(header) or reader.size != state.table.size:
        raise DamagedError({ref.key: "its tensors are not those of the model"})
    return state


def _file(model: TensorFile, names: frozenset[str], memory: int) -> tuple[bytes, TensorFile]:
    """Header and table of the file for those tensors of the model."""
    return tensorfile.header(_kept(tensor, memory) for tensor in model.tensors if tensor.name in names)


def _kept(tensor: Tensor, memory: int) -> Tensor:
    kind = arithmetic.working_type(tensor.dtype)
    items = (tensor.end - tensor.begin) // ITEM_BYTES[tensor.dtype]
    return Tensor(tensor.name, kind, (items, memory), 0, items * memory * ITEM_BYTES[kind])
