"""The judgement of a round's updates before they are folded: reads them once, and asks fedcore.anomalies. Blocking.

Called by the interpreter. What is read is verified, as in the fold itself; the same updates give the same judgement.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

import numpy as np

from fedaggregator.engine import scoring
from fedaggregator.engine.payloads import Payloads, Sent
from fedaggregator.engine.sources import Base, Source, Updates, check
from fedaggregator.engine.spans import Span, spans
from fedaggregator.errors import DamagedError, WorkCancelledError
from fedapi.wire.anomalies import Anomaly
from fedapi.wire.layout import Layout
from fedapi.wire.update import UPDATE
from fedcore.anomalies import directions
from fedcore.anomalies.judging import Measured, anomalous
from fedcore.anomalies.lengths import Lengths
from fedcore.anomalies.record import UNJUDGED, Judged
from fedcore.rounds.effects import Fold, Judging
from fedcore.tensors import arithmetic, tensorfile
from fedcore.tensors.arithmetic import FLOATS, Array
from fedcore.tensors.fragments import Turn
from fedcore.tensors.tensorfile import ITEM_BYTES
from fedstore import many
from fedstore.objectstore import ObjectStore

_BLOCK_BYTES = 2 << 20  # of an update; it decides bits of lengths beyond the 12 digits that are kept


def judged(
    store: ObjectStore, payloads: Payloads, layout: Layout, order: Fold, cancelled: Callable[[], bool]
) -> Judged:
    """The lengths of the updates, and which are anomalous. DamagedError names those that are not what was accepted."""
    terms = [term for term in order.terms if term.samples]
    if order.judging is None or not terms:
        return UNJUDGED

    def go_on() -> None:
        if cancelled():
            raise WorkCancelledError(f"judgement of round {order.round} stopped")

    sent = [Sent(term.payloads[UPDATE], order.place(layout.uid, term, UPDATE), term.width) for term in terms]
    far = many.is_far(store)
    with _opened(payloads, order, sent, _BLOCK_BYTES) as (sources, parts):
        lengths = _lengths(sources, parts, go_on, is_far=far)
    gram = None
    if order.judging.settings.min_cosine is not None:
        with _opened(payloads, order, sent, scoring.BLOCK_BYTES) as (sources, parts):
            gram = scoring.gram_matrix(sources, parts, go_on, is_far=far)
    clients = tuple(term.client for term in terms)
    measured = Measured(clients, lengths, order.judging.usual, gram, order.strategy.root)
    return _judged(order, order.judging, measured)


def _judged(order: Fold, judging: Judging, measured: Measured) -> Judged:
    norms = dict(zip(measured.clients, measured.lengths.norms, strict=True))
    settings = judging.settings
    found = anomalous(settings, measured)
    return Judged(
        norms,
        tuple(
            Anomaly(client=client, attempt=order.attempt, action=settings.action, norm=norms[client], facts=facts)
            for client, facts in found.items()
        ),
        _cosines(measured, found),
    )


def _cosines(measured: Measured, found: Collection[str]) -> dict[str, float]:
    """Where inner products were made."""
    if measured.gram is None:
        return {}
    out = [at for at, client in enumerate(measured.clients) if client in found]
    told = zip(measured.clients, directions.to_others(measured.gram, out), strict=True)
    return {client: cosine for client, cosine in told if cosine is not None}


@contextmanager
def _opened(
    payloads: Payloads, order: Fold, sent: Sequence[Sent], block_bytes: int
) -> Iterator[tuple[list[Source], tuple[Span, ...]]]:
    """The updates, and in which pieces their floats are gone through."""
    with ExitStack() as files:
        base = Base.opened(payloads, order.base, files, Turn(order.round, order.strategy.fragments))
        _, model = tensorfile.canonical_header(base.asked.tensors)
        floats = frozenset(tensor.name for tensor in model.tensors if tensor.dtype in FLOATS)
        parts = tuple(span for span in spans(model, floats, block_bytes) if span.remembered)
        yield Updates(payloads, base, parts).opened(sent, files), parts


def _lengths(sources: Sequence[Source], parts: Sequence[Span], go_on: Callable[[], None], *, is_far: bool) -> Lengths:
    """Of the updates and of each of their tensors."""
    found = Lengths.of(list(dict.fromkeys(piece.name for span in parts for piece in span.pieces)), len(sources))
    room = np.empty(max((span.size for span in parts), default=0) // 2, np.float32)  # of a float16 two bytes
    try:
        with closing(scoring.views(sources, parts, is_far=is_far)) as views:
            for span in parts:
                go_on()
                runs = [(piece.name, piece.size // ITEM_BYTES[span.dtype]) for piece in span.pieces]
                for update in range(len(sources)):
                    found.add(update, runs, _floats(span, next(views), room))
    except DamagedError:
        check(sources)  # as in scoring.py
        raise
    check(sources)
    return found


def _floats(span: Span, view: memoryview, room: Array) -> Array:
    block = arithmetic.stored(span.dtype, view)
    return block if span.dtype in ("F32", "F64") else arithmetic.decoded(span.dtype, block, room[: block.size])
