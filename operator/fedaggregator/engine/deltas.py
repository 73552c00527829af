"""Makes a committed model's delta to the one that sites have, and what they make of both. Blocking; run in a thread.

Two objects: the delta, and the model that comes out, for sites that have not the one before and as the next one's reference.
All that is read is verified; memory is what tensorvalues.py says. Called by broadcast.py.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np

from fedaggregator.engine import content
from fedaggregator.engine.payloads import Payloads
from fedaggregator.engine.tensorvalues import TensorValues, UnheldError
from fedaggregator.engine.verified import Verified
from fedaggregator.errors import DamagedError, WorkCancelledError
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedcore.compression import deltas, fileform, wholemodels
from fedcore.compression.codec import PASS_ITEMS, EncodingError
from fedcore.rounds.outgoing import Outgoing
from fedcore.tensors import arithmetic, tensorfile
from fedcore.tensors.arithmetic import Array
from fedcore.tensors.tensorfile import ITEM_BYTES, MalformedTensorFileError, Tensor, TensorFile
from fedstore.objectstore import DIGEST, ObjectStore


@dataclass(frozen=True)
class Making:
    """Of one delta: `what` to `reference`. `plain`: tensors that are to go as they are."""

    store: ObjectStore
    payloads: Payloads
    layout: Layout
    what: Outgoing
    reference: ObjectRef
    plain: frozenset[str]
    cancelled: Callable[[], bool]

    def made(self) -> tuple[ObjectRef, ObjectRef] | None:
        """The delta and what it makes, in the store; None where it is not smaller, or the reference is none of such a model.

        UnheldError where the codec, or the tensor's type, cannot hold values. DamagedError where an object is none.
        """
        with ExitStack() as files:
            model, before = (
                files.enter_context(self.payloads.committed(ref)) for ref in (self.what.model, self.reference)
            )
            now, own = _table(model, self.what.model), _table(before, self.reference)
            header, table = tensorfile.canonical_header(now.tensors)
            names = wholemodels.chosen(table.tensors, self.what.encoding, self.plain)
            form, file = fileform.header(table.tensors, names, self.what.encoding)
            if tensorfile.difference(now, own) or file.size >= table.size:
                return None
            pairs = [(now.by_name()[each.name], own.by_name()[each.name]) for each in table.tensors]
            delta = self._written(form, file.size, (self._parts(*each, model, before, names) for each in pairs))
            self._check((model, self.what.model), (before, self.reference))
        with ExitStack() as files:
            before, change = (files.enter_context(self.payloads.committed(ref)) for ref in (self.reference, delta))
            sums = deltas.added(
                before.unhashed.read_into, own, change.unhashed.read_into, file, self.what.encoding.codec
            )
            whole = self._written(header, table.size, (_held(*each, each[0].name in names) for each in sums))
            self._check((before, self.reference), (change, delta))
        return delta, whole

    def plain_bytes(self) -> int:
        """Bytes of the tensors that travel, as they are."""
        with self.payloads.committed(self.what.model) as model:
            return sum(tensor.end - tensor.begin for tensor in _table(model, self.what.model).tensors)

    def _parts(
        self, now: Tensor, own: Tensor, model: Verified, before: Verified, names: frozenset[str]
    ) -> Iterator[Array]:
        values, held = TensorValues(model, now, self.what.model.key), TensorValues(before, own, self.reference.key)
        if now.name not in names:
            yield from values.blocks()
            return
        change = partial(_differences, now.dtype, values, held)
        try:
            yield from wholemodels.parts(now, change, self.what.encoding, self.what.seed)
        except EncodingError as error:
            raise UnheldError(frozenset({now.name})) from error

    def _written(self, header: bytes, size: int, tensors: Iterable[Iterator[Array]]) -> ObjectRef:
        """UnheldError names all tensors that cannot be held, so that one more pass will do, however many they are."""
        unheld = frozenset[str]()
        with self.store.writer(self.layout.broadcast(self.what.round, DIGEST), size=size) as writer:
            writer.write(header)
            for parts in tensors:
                try:
                    for part in parts:
                        self._go_on()
                        if not unheld:
                            writer.write(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
                except UnheldError as error:
                    unheld |= error.names
            if unheld:
                raise UnheldError(unheld)
            return writer.finish()

    def _go_on(self) -> None:
        if self.cancelled():
            raise WorkCancelledError(f"the model of round {self.what.round} is encoded anew after the restart")

    def _check(self, *read: tuple[Verified, ObjectRef]) -> None:
        if found := {ref.key: trouble for reader, ref in read if (trouble := reader.trouble())}:
            raise DamagedError(found)


def _differences(dtype: str, values: TensorValues, held: TensorValues) -> Iterator[Array]:
    """A pass over a tensor's change, in float32."""
    size = PASS_ITEMS * ITEM_BYTES[dtype]
    for blocks in zip(values.blocks(size), held.blocks(size), strict=True):
        yield deltas.difference(dtype, *(arithmetic.stored(dtype, each) for each in blocks))


def _held(tensor: Tensor, blocks: Iterator[Array], encoded: bool) -> Iterator[Array]:
    """What was made of a tensor: one that was encoded has no infinities that its type made of a sum."""
    for block in blocks:
        if encoded and not arithmetic.finite(tensor.dtype, arithmetic.stored(tensor.dtype, block)):
            raise UnheldError(frozenset({tensor.name}))
        yield block


def _table(reader: Verified, ref: ObjectRef) -> TensorFile:
    """The tensors that travel."""
    try:
        return content.read_header(reader).exchanged
    except MalformedTensorFileError as error:
        raise DamagedError({ref.key: str(error)}) from error
