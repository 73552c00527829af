"""Makes what sites fetch in place of a committed model: the same tensors, encoded, or a delta (deltas.py). Blocking; run in a thread.

What is read is verified in the same pass. Memory is what tensorvalues.py says. Called by the interpreter.
"""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from fedaggregator.engine import content, deltas
from fedaggregator.engine.payloads import Payloads
from fedaggregator.engine.tensorvalues import TensorValues, UnheldError
from fedaggregator.engine.verified import Verified
from fedaggregator.errors import DamagedError, WorkCancelledError
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedcore.compression import fileform, wholemodels
from fedcore.compression.codec import EncodingError
from fedcore.rounds.outgoing import Outgoing
from fedcore.tensors.tensorfile import MalformedTensorFileError, TensorFile
from fedstore.objectstore import DIGEST, ObjectStore, Writer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """What was made, in the store, and the bytes of the same tensors as they are."""

    object: ObjectRef | None  # None: it goes as it is
    plain_bytes: int
    reference: ObjectRef | None = None  # what a delta makes


def encode(
    store: ObjectStore, payloads: Payloads, layout: Layout, what: Outgoing, cancelled: Callable[[], bool]
) -> Result:
    """The encoded model, in the store: of the initial one the tensors that travel. DamagedError where the model is none.

    A tensor whose values the codec cannot hold goes as it is. So does a whole model of which a delta is wanted, and is not smaller
    or has nothing to be taken from: a lost reference costs bytes, and nothing else.
    """
    plain: frozenset[str] = frozenset()
    while True:
        try:
            if what.reference is None:
                return _encoded(store, payloads, layout, what, plain, cancelled)
            making = deltas.Making(store, payloads, layout, what, what.reference, plain, cancelled)
            return _delta(making, what.reference)
        except UnheldError as error:
            plain |= error.names


def _delta(making: deltas.Making, reference: ObjectRef) -> Result:
    try:
        made = making.made()
    except DamagedError as error:
        if set(error.found) != {reference.key} or reference == making.what.model:
            raise
        log.warning("what sites have cannot be read, so that the next model goes to them as it is: %s", error)
        made = None
    plain_bytes = making.plain_bytes()
    return Result(None, plain_bytes) if made is None else Result(made[0], plain_bytes, made[1])


def _encoded(
    store: ObjectStore,
    payloads: Payloads,
    layout: Layout,
    what: Outgoing,
    plain: frozenset[str],
    cancelled: Callable[[], bool],
) -> Result:
    with ExitStack() as files:
        reader = files.enter_context(payloads.committed(what.model))
        try:
            table = content.read_header(reader).exchanged
        except MalformedTensorFileError as error:
            raise DamagedError({what.model.key: str(error)}) from error
        names = wholemodels.chosen(table.tensors, what.encoding, plain)
        header, made = fileform.header(table.tensors, names, what.encoding)
        key = layout.broadcast(what.round, DIGEST)
        writer = files.enter_context(store.writer(key, size=made.size))
        writer.write(header)
        _write(writer, reader, table, names, what, cancelled)
        if trouble := reader.trouble():
            raise DamagedError({what.model.key: trouble})
        return Result(writer.finish(), sum(tensor.end - tensor.begin for tensor in table.tensors))


def _write(
    writer: Writer,
    reader: Verified,
    table: TensorFile,
    names: frozenset[str],
    what: Outgoing,
    cancelled: Callable[[], bool],
) -> None:
    """UnheldError names all tensors that the codec cannot hold, so that one more pass will do, however many they are."""
    unheld = frozenset[str]()
    for tensor in table.tensors:
        if unheld and tensor.name not in names:
            continue
        values = TensorValues(reader, tensor, what.model.key)
        content_of = (
            wholemodels.parts(tensor, values.floats, what.encoding, what.seed) if tensor.name in names else None
        )
        try:
            for part in content_of if content_of is not None else values.blocks():
                if cancelled():
                    raise WorkCancelledError(f"the model of round {what.round} is encoded anew after the restart")
                if not unheld:
                    writer.write(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        except EncodingError:
            unheld |= {tensor.name}
    if unheld:
        raise UnheldError(unheld)
