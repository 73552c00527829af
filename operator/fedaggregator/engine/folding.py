"""Makes the next model of a round, and what its strategy remembers: fedcore's steps over files. Blocking; run in a thread.

Memory is a few blocks and what a table of tensors takes, whatever the size of the model and the number of sites: files
are read into reused buffers and written as they are made. Same inputs, same bytes, same digest. What is read is verified
in the same pass, and so is the result: nothing is made of damaged objects, no model and no memory of numbers that are none.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import cycle

import numpy as np

from fedaggregator.engine import hubstate
from fedaggregator.engine.payloads import Payloads, Sent
from fedaggregator.engine.sources import Base, Source, Updates, check
from fedaggregator.engine.spans import Span, spans, widest
from fedaggregator.engine.verified import Request, ahead
from fedaggregator.errors import AggregatorError, DamagedError, TooOldError
from fedapi.wire.job import StrategySettings
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import UPDATE
from fedapi.wire.store import Layout
from fedcore.rounds.effects import Fold
from fedcore.strategies.folding import Rules, folded
from fedcore.strategies.strategy import Update
from fedcore.strategies.table import UnknownStrategyError, rules
from fedcore.tensors import arithmetic, tensorfile
from fedcore.tensors.arithmetic import Accumulator, Array
from fedcore.tensors.tensorfile import ITEM_BYTES
from fedstore import many
from fedstore.objectstore import DIGEST, ObjectStore

_THREADS, _AHEAD = 2, 3  # beside the one that computes: they read and hash; and blocks
_THREADS_FAR, _AHEAD_FAR = 8, 8  # where each block is a request


class FoldCancelledError(AggregatorError):
    """The process is stopping; the fold is made anew after the restart."""


class ModelNotFiniteError(AggregatorError):
    """The result is none: a tensor of the model has values that are NaN or infinite where the base has none, or the memory has."""


@dataclass(frozen=True)
class Result:
    """What a fold made, in the store."""

    model: ObjectRef
    hub_state: ObjectRef | None


@dataclass(frozen=True)
class _Plan:
    """What is read, and how it becomes the result: span by span."""

    rules: Rules
    parts: tuple[Span, ...]
    base: Source
    left: Source | None  # the strategy's memory as the last commit left it; none in the first round
    terms: tuple[tuple[Fraction, Source], ...]  # in the order of the plan
    is_far: bool  # where it is read from

    @property
    def ahead(self) -> int:
        """Blocks that are read before they are needed; each of another file."""
        return min(_AHEAD_FAR if self.is_far else _AHEAD, 1 + len(self.terms))


@dataclass(frozen=True)
class _Block:
    """A span of the result; valid until the next is asked for."""

    span: Span
    old: Array
    new: Array
    memory: Array | None


def fold(store: ObjectStore, payloads: Payloads, layout: Layout, order: Fold, cancelled: Callable[[], bool]) -> Result:
    """The next model by the plan's strategy. Where no update counts, all stays what it was.

    DamagedError names what is not what was accepted or committed; ModelNotFiniteError the tensor that cannot be committed;
    TooOldError a strategy that this version does not have.
    """
    unchanged = Result(order.base, order.hub_state)
    if not any(term.samples for term in order.terms):
        return unchanged
    chosen = strategy_rules(order.strategy)
    with ExitStack() as files:
        base = Base.opened(store, order.base, files)
        header, model = tensorfile.canonical_header(base.table.tensors)
        state = hubstate.opened(store, base, model, chosen.strategy.memory, order.hub_state, files)
        parts = spans(model, state.names)
        updates = Updates(payloads, base, parts)
        terms = tuple(_counted(chosen, order, layout.uid, updates))
        if not terms:
            return unchanged
        opened = updates.opened([sent for _, sent in terms], files)
        weighted = tuple((weight, source) for (weight, _), source in zip(terms, opened, strict=True))
        plan = _Plan(chosen, parts, base.source(parts), state.source(parts), weighted, many.is_far(store))
        writer = files.enter_context(store.writer(layout.model(order.round, DIGEST), size=model.size))
        writer.write(header)
        keeper = None
        if state.table.tensors:
            keeper = files.enter_context(store.writer(layout.hub_state(order.round, DIGEST), size=state.table.size))
            keeper.write(state.header)
        broken = ""
        for block in _sound(plan, _blocks(plan, files)):
            if cancelled():
                raise FoldCancelledError(f"fold of round {order.round} stopped")
            broken = broken or _fault(block)
            writer.write(block.new.data.cast("B"))
            if keeper is not None and block.memory is not None:
                keeper.write(block.memory.data.cast("B"))
        _check(plan)
        if broken:
            raise ModelNotFiniteError(f"{broken} of round {order.round} would have NaN or infinite values")
        return Result(hub_state=keeper.finish() if keeper else None, model=writer.finish())


def strategy_rules(settings: StrategySettings) -> Rules:
    """The strategy that a configuration or a plan names; TooOldError where another version's is meant."""
    try:
        return rules(settings)
    except UnknownStrategyError as error:
        raise TooOldError(str(error)) from error


def _counted(rules: Rules, order: Fold, job_uid: str, updates: Updates) -> Iterator[tuple[Fraction, Sent]]:
    """The updates and how much each counts; what counts nothing adds nothing, not even a rounding."""
    sent = [Sent(term.payloads[UPDATE], order.place(job_uid, term, UPDATE)) for term in order.terms]
    weighed = [
        Update(term.samples, term.steps, partial(updates.blocks, each))
        for term, each in zip(order.terms, sent, strict=True)
    ]
    weights = rules.strategy.weights(weighed, rules.parameters)
    return ((weight, each) for weight, each in zip(weights, sent, strict=True) if weight)


def _sound(plan: _Plan, blocks: Iterator[_Block]) -> Iterator[_Block]:
    """The same. An encrypted update tells while it is read that it is damaged: then the others are looked at, too."""
    try:
        yield from blocks
    except DamagedError:
        _check(plan)
        raise


def _blocks(plan: _Plan, files: ExitStack) -> Iterator[_Block]:
    """The result, span after span."""
    threads = files.enter_context(
        ThreadPoolExecutor(_THREADS_FAR if plan.is_far else _THREADS, thread_name_prefix="fold")
    )
    views = ahead(_requests(plan), threads, plan.ahead)
    accumulators: dict[str, Accumulator] = {}
    most = widest(plan.parts)
    for span in plan.parts:
        accumulator = accumulators.get(span.dtype)
        if accumulator is None:
            accumulator = accumulators[span.dtype] = Accumulator.of(span.dtype, most // ITEM_BYTES[span.dtype])
        old = arithmetic.stored(span.dtype, next(views))
        memory = _memory(plan, span, views, old.size) if span.remembered else None
        terms = ((weight, arithmetic.stored(span.dtype, next(views))) for weight, _ in plan.terms)
        with np.errstate(all="ignore"):
            new, memory = folded(plan.rules, span.dtype, old, terms, accumulator, memory)
        for _ in terms:
            pass  # of a rule that does not look at all of them
        yield _Block(span, old, new, memory)


def _memory(plan: _Plan, span: Span, views: Iterator[memoryview], items: int) -> Array:
    """What the strategy remembers of a span's items: zeros in the first round."""
    kind, memory = arithmetic.working_type(span.dtype), plan.rules.strategy.memory
    if plan.left is None:
        return np.zeros((items, memory), arithmetic.stored(kind, b"").dtype)
    return arithmetic.stored(kind, next(views)).reshape(items, memory)


def _requests(plan: _Plan) -> Iterator[Request]:
    """What `_blocks` takes, in its order: of each span the base, the memory, the updates."""
    most = widest(plan.parts)
    memory = 2 * plan.rules.strategy.memory * most  # float32 of a bfloat16
    ours, left = (cycle([memoryview(bytearray(size)) for _ in range(2)]) for size in (most, memory))
    theirs = cycle([memoryview(bytearray(most)) for _ in range(plan.ahead)])
    for index, span in enumerate(plan.parts):
        yield Request(plan.base.reader, plan.base.places[index], next(ours))
        if span.remembered and plan.left is not None:
            yield Request(plan.left.reader, plan.left.places[index], next(left))
        for _, source in plan.terms:
            yield Request(source.reader, source.places[index], next(theirs))


def _fault(block: _Block) -> str:
    """What has values that are no numbers: a tensor of the model, or what is remembered of it; empty when nothing has."""
    kind, new, old, memory = block.span.dtype, block.new, block.old, block.memory
    if name := _first(block.span, lambda part: arithmetic.as_finite(kind, new[part], old[part])):
        return f"tensor {name!r} of the model"
    if memory is None:
        return ""
    working = arithmetic.working_type(kind)
    name = _first(block.span, lambda part: arithmetic.finite(working, memory[part]))
    return f"what the strategy remembers of tensor {name!r} of the model" if name else ""


def _first(span: Span, finite: Callable[[slice], bool]) -> str:
    """The name of the first of a span's tensors that is not finite; empty when all are."""
    if finite(slice(None)):
        return ""
    start = 0
    for piece in span.pieces:
        end = start + piece.size // ITEM_BYTES[span.dtype]
        if not finite(slice(start, end)):
            return piece.name
        start = end
    return ""


def _check(plan: _Plan) -> None:
    """Damaged names what the last commit left, or else all updates, that are not what was committed or accepted."""
    committed = [source for source in (plan.base, plan.left) if source is not None]
    check(committed)
    check(source for _, source in plan.terms)
