"""The sum of updates that nobody sees one of, made one plain update: freed of what is left of masks, or as sites have read it, and divided.

Blocking. Called by interpreter.py before a fold, which then goes on as with an update that one site has sent.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from fedaggregator.engine import adding
from fedaggregator.engine.payloads import Payloads, Sent
from fedaggregator.engine.sources import Base
from fedaggregator.engine.spans import spans
from fedaggregator.errors import DamagedError, WorkCancelledError
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.update import UPDATE, Payload
from fedcore.homomorphic import hub as encrypted
from fedcore.homomorphic.hub import EncryptedState
from fedcore.privacy.distributed import lattice
from fedcore.privacy.distributed.lattice import Lattice
from fedcore.rounds.effects import Fold, Term
from fedcore.secagg import hub, vector
from fedcore.secagg.errors import AttemptFailedError
from fedcore.secagg.grouping import Group
from fedcore.secagg.hub import HubState
from fedcore.secagg.masking import Mask, Streams
from fedcore.secagg.quantization import Scale
from fedcore.tensors import arithmetic, tensorfile
from fedcore.tensors.arithmetic import Array
from fedcore.tensors.fragments import Turn
from fedcore.tensors.tensorfile import ITEM_BYTES
from fedstore.objectstore import DIGEST, ObjectStore

SUM = "sum"  # in the place of a site's name


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


@dataclass(frozen=True)
class OneSum:
    """Terms of a fold that are in one sum, and what it is called."""

    order: Fold
    name: str
    sites: tuple[str, ...]  # of a group


def summed(store: ObjectStore, payloads: Payloads, layout: Layout, order: Fold, cancelled: Callable[[], bool]) -> Fold:
    """The fold of the one update that the terms' hidden ones are together, or of one of each group; of none without samples.

    AttemptFailedError where the openings do not give the secrets, or sites read different sums; DamagedError names what is not what was
    accepted.
    """
    state = order.secure
    if state is None:
        return order
    made = _Making(store, payloads, layout, cancelled)
    if isinstance(state, EncryptedState):
        term = _read(made, order, state)
        return replace(order, secure=None, terms=(term,) if term is not None else ())
    found = hub.summed(state)
    _check_whole(state, order, found)
    terms = [
        term
        for number, sites in found.items()
        if (term := _unmasked(made, _of(order, number, sites), state)) is not None
    ]
    return replace(order, secure=None, terms=tuple(terms))


@dataclass(frozen=True)
class _Making:
    """What a sum is made with."""

    store: ObjectStore
    payloads: Payloads
    layout: Layout
    cancelled: Callable[[], bool]

    def go_on(self, round_: int) -> None:
        """WorkCancelledError when nobody waits for it any more."""
        if self.cancelled():
            raise WorkCancelledError(f"sum of round {round_} stopped")


def _unmasked(made: _Making, what: OneSum, state: HubState) -> Term | None:
    """Of masked updates."""
    order = what.order
    sent = [Sent(term.payloads[UPDATE], order.place(made.layout.uid, term, UPDATE)) for term in order.terms]
    return _sum(made, what, state, sent, hub.masks(state, [term.client for term in order.terms]))


def _read(made: _Making, order: Fold, state: EncryptedState) -> Term | None:
    """Of encrypted updates, as sites have read it: by the first of them whose numbers are whole in the store."""
    survivors = state.survivors.survivors if state.survivors else {}
    _check_whole(state, order, {0: tuple(survivors)})
    sha256, damaged = encrypted.agreed(state), dict[str, str]()
    for term in (each for each in order.terms if each.client in state.numbers):
        key = made.layout.update(term.client, order.round, sha256)
        numbers = Payload(object=ObjectRef(key=key, sha256=sha256, size=adding.RING.size * state.terms.items))
        sent = Sent(numbers, order.place(made.layout.uid, term, UPDATE))
        try:
            return _sum(made, OneSum(order, SUM, ()), state, [sent], [])
        except DamagedError as error:
            if error.found.keys() != {key}:
                raise
            damaged.update(error.found)
    raise DamagedError(damaged)


def _of(order: Fold, number: int, sites: Collection[str]) -> OneSum:
    """One sum of a fold."""
    state = order.secure
    grouped = state is not None and state.terms.groups is not None
    terms = tuple(term for term in order.terms if term.client in sites)
    name = Group(number, ()).name if grouped else SUM
    return OneSum(replace(order, terms=terms), name, tuple(term.client for term in terms) if grouped else ())


def _sum(made: _Making, what: OneSum, state: HubState, sent: Sequence[Sent], masks: Sequence[Mask]) -> Term | None:
    """The update that the integers in some files are together, once masks are off; None where it has no samples."""
    order, store, payloads = what.order, made.store, made.payloads
    samples = sum(term.samples for term in order.terms)
    if order.privacy is None and not samples:
        return None
    how = _mean(state, order)
    with ExitStack() as files:
        base = Base.opened(payloads, order.base, files, Turn(order.round, order.strategy.fragments))
        header, table = tensorfile.canonical_header(base.asked.tensors)
        names = frozenset(tensor.name for tensor in vector.carried(base.asked, order.tensors))
        parts = spans(table, frozenset(), adding.block_bytes(len(sent)), names)
        readers = [files.enter_context(payloads.accepted(each)) for each in sent]
        key = made.layout.sum_of_updates(order.round, DIGEST)
        writer = payloads.fingerprints.noted(files.enter_context(store.writer(key, size=table.size)))
        writer.write(header)
        counts = [part.size // ITEM_BYTES[part.dtype] for part in parts if part.exchanged]
        totals, streams = adding.totals(readers, counts, adding.RING), Streams(masks)
        for part in parts:
            made.go_on(order.round)
            if not part.exchanged:
                writer.write(bytes(part.size))
                continue
            total = next(totals)
            streams.apply(total)
            writer.write(how.decoded(total, part.dtype).data.cast("B"))
        adding.check(sent, readers)
        ref = writer.finish()
    return Term(what.name, {UPDATE: Payload(object=ref)}, max(1, samples), None, sites=what.sites)


def _check_whole(state: HubState, order: Fold, sums: Mapping[int, Collection[str]]) -> None:
    """AttemptFailedError unless the terms are the updates that its sums are of."""
    survivors = state.survivors.survivors if state.survivors else {}
    counted = {name: survivors[name] for sites in sums.values() for name in sites}
    if {term.client: term.payloads[UPDATE].object.sha256 for term in order.terms} != counted:
        raise AttemptFailedError("the updates are not those of the survivor set that sites have signed")


def _mean(state: HubState, order: Fold) -> _Mean:
    """With noise of the sites the divisor is fixed, since how many have sent is no secret that the noise hides."""
    terms, done = state.terms, order.privacy
    if done is not None:
        return _Mean(lattice.of(terms, done.clip_norm, done.noise_multiplier), done.denominator)
    whole = state.participants.whole_samples if state.participants else None
    weight = vector.total_weight([term.samples for term in order.terms], whole)
    return _Mean(Scale(terms.limit, len(terms.roster)), weight)
