"""What sites sent under masks, made one plain update: summed in the ring, freed of what is left of masks, and divided. Blocking.

Called by interpreter.py before a fold, which then goes on as with an update that one site has sent. Memory is one block of each masked file
and a few of the sum; integers are added, so no order and no block size decides a bit. What is read is verified in the same pass.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from fedaggregator.engine.payloads import Payloads, Sent
from fedaggregator.engine.sources import Base
from fedaggregator.engine.spans import Span, spans
from fedaggregator.engine.verified import BLOCK_BYTES, Checked, Request, ahead
from fedaggregator.errors import DamagedError, WorkCancelledError
from fedapi.wire.layout import Layout
from fedapi.wire.update import UPDATE, Payload
from fedcore.privacy.distributed import lattice
from fedcore.privacy.distributed.lattice import Lattice
from fedcore.rounds.effects import Fold, Term
from fedcore.secagg import hub, masking, vector
from fedcore.secagg.errors import AttemptFailedError
from fedcore.secagg.hub import HubState
from fedcore.secagg.masking import Streams
from fedcore.secagg.quantization import Scale
from fedcore.tensors import arithmetic, tensorfile
from fedcore.tensors.arithmetic import Array
from fedcore.tensors.fragments import Turn
from fedcore.tensors.tensorfile import ITEM_BYTES
from fedstore.objectstore import DIGEST, ObjectStore

SUM = "sum"  # in the place of a site's name
_ROOM_BYTES, _LEAST_BYTES = 64 << 20, 64 << 10  # blocks of all masked files together, and one of them
_READERS = max(2, min(8, os.cpu_count() or 1))


@dataclass(frozen=True)
class _Mean:
    """How a sum of the ring becomes numbers: steps of `scale`, over what updates count together."""

    scale: Scale | Lattice
    divisor: float

    def decoded(self, total: Array, dtype: str) -> Array:
        """Items of a tensor type."""
        mean = self.scale.decoded(total) / self.divisor
        if arithmetic.working_type(dtype) == "F64":
            return mean
        with np.errstate(over="ignore"):  # an infinite value of a narrow type is found by the fold
            return arithmetic.encoded(dtype, mean.astype("<f4"))


def summed(store: ObjectStore, payloads: Payloads, layout: Layout, order: Fold, cancelled: Callable[[], bool]) -> Fold:
    """The fold of the one update that the terms' masked ones are together; of none, where none has samples.

    AttemptFailedError where the openings do not give the secrets; DamagedError names masked updates that are not what was accepted.
    """
    state = order.secure
    if state is None:
        return order
    made = replace(order, secure=None, terms=())
    masks, samples = hub.masks(_whole(state, order)), sum(term.samples for term in order.terms)
    if order.privacy is None and not samples:
        return made
    how = _mean(state, order)

    def go_on() -> None:
        if cancelled():
            raise WorkCancelledError(f"sum of round {order.round} stopped")

    with ExitStack() as files:
        base = Base.opened(payloads, order.base, files, Turn(order.round, order.strategy.fragments))
        header, table = tensorfile.canonical_header(base.asked.tensors)
        names = frozenset(tensor.name for tensor in vector.carried(base.asked, order.tensors))
        parts = spans(table, frozenset(), _block_bytes(len(order.terms)), names)
        sent = [Sent(term.payloads[UPDATE], order.place(layout.uid, term, UPDATE)) for term in order.terms]
        readers = [files.enter_context(payloads.accepted(each)) for each in sent]
        key = layout.sum_of_updates(order.round, DIGEST)
        writer = payloads.fingerprints.noted(files.enter_context(store.writer(key, size=table.size)))
        writer.write(header)
        totals, streams = _totals(readers, parts), Streams(masks)
        for part in parts:
            go_on()
            if not part.exchanged:
                writer.write(bytes(part.size))
                continue
            total = next(totals)
            streams.apply(total)
            writer.write(how.decoded(total, part.dtype).data.cast("B"))
        _check(sent, readers)
        ref = writer.finish()
    return replace(made, terms=(Term(SUM, {UPDATE: Payload(object=ref)}, max(1, samples), None),))


def _block_bytes(updates: int) -> int:
    return max(_LEAST_BYTES, min(BLOCK_BYTES, _ROOM_BYTES // updates & -64))


def _whole(state: HubState, order: Fold) -> HubState:
    """The state, once the terms are seen to be the updates that it is about."""
    survivors = state.survivors.survivors if state.survivors else {}
    if {term.client: term.payloads[UPDATE].object.sha256 for term in order.terms} != survivors:
        raise AttemptFailedError("the updates are not those of the survivor set that sites have signed")
    return state


def _mean(state: HubState, order: Fold) -> _Mean:
    """With noise of the sites the divisor is fixed, since how many have sent is no secret that the noise hides."""
    terms, done = state.terms, order.privacy
    if done is not None:
        return _Mean(lattice.of(terms, done.clip_norm, done.noise_multiplier), done.denominator)
    whole = state.participants.whole_samples if state.participants else None
    weight = vector.total_weight([term.samples for term in order.terms], whole)
    return _Mean(Scale(terms.limit, len(terms.roster)), weight)


def _totals(readers: Sequence[Checked], parts: Sequence[Span]) -> Iterator[Array]:
    """The sums of the masked files' parts, in the ring; each valid until the next is asked for."""
    sizes = [part.size // ITEM_BYTES[part.dtype] for part in parts if part.exchanged]
    room = [memoryview(bytearray(vector.VALUE_BYTES * max(sizes, default=0))) for _ in readers]

    def requests() -> Iterator[Request]:
        offset = 0
        for size in sizes:
            extent = (offset, vector.VALUE_BYTES * size)
            for reader, buffer in zip(readers, room, strict=True):
                yield Request(reader, (extent,), buffer)
            offset += vector.VALUE_BYTES * size

    total = np.empty(max(sizes, default=0), "<u4")
    with ThreadPoolExecutor(_READERS, thread_name_prefix="masked") as threads:
        blocks = ahead(requests(), threads, len(readers))
        for size in sizes:
            found = total[:size]
            found[:] = 0
            for _ in readers:
                masking.add(found, np.frombuffer(next(blocks), "<u4"))
            yield found


def _check(sent: Sequence[Sent], readers: Sequence[Checked]) -> None:
    damaged = {
        each.ref.key: trouble for each, reader in zip(sent, readers, strict=True) if (trouble := reader.trouble())
    }
    if damaged:
        raise DamagedError(damaged)
