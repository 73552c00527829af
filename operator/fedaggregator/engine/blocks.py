"""The next model, block after block, as it is computed from what is read. Called by folding.py, which writes it.

Of files that are at hand several spans are computed at the same time, each in a thread that also reads and verifies what
it needs; of a store that is far away, where each read is a request, many reads are under way for one span at a time.
Either way a span is computed term after term in the plan's order, in buffers that are used again.
"""

import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from itertools import cycle
from typing import cast

import numpy as np

from fedaggregator.engine import sources, spanwise
from fedaggregator.engine.direct import Direct
from fedaggregator.engine.private import Noise
from fedaggregator.engine.sources import Source
from fedaggregator.engine.spans import Span, widest
from fedaggregator.engine.verified import Request, ahead
from fedaggregator.errors import DamagedError
from fedcore.strategies.coverage import Coverage
from fedcore.strategies.covered import Covered
from fedcore.strategies.folding import Rules, folded
from fedcore.strategies.strategy import Absorb
from fedcore.strategies.weighing import Weight
from fedcore.tensors import arithmetic, kernels
from fedcore.tensors.arithmetic import Accumulator, Array, Summable
from fedcore.tensors.tensorfile import ITEM_BYTES

_THREADS = max(2, min(4, os.cpu_count() or 1))  # each with a few blocks of memory; they decide nothing
_THREADS_FAR, _AHEAD_FAR = 8, 8
Reads = Iterator[Callable[[], memoryview]]  # of the files in their order; one that is not called reads nothing
SumTo = Callable[[Array], int]  # makes a total the sum of what updates have of a span, the first so many


@dataclass(frozen=True)
class Plan:
    """What is read, and how it becomes the result: span by span."""

    rules: Rules
    parts: tuple[Span, ...]
    base: Source
    left: Source | None  # the strategy's memory as the last commit left it; none in the first round
    terms: tuple[tuple[Weight, Source], ...]  # in the order of the plan
    changes: tuple[Source, ...]  # of the memory, by the sites of the terms; none where a strategy absorbs none
    is_far: bool  # where it is read from
    coverage: Coverage | None = None  # where the updates reach; None: all of them everywhere
    noise: Noise | None = None  # that is added to the sums of parameters

    @property
    def sources(self) -> tuple[Source, ...]:
        """All files."""
        left = (self.left,) if self.left is not None else ()
        return (self.base, *left, *(source for _, source in self.terms), *self.changes)

    @cached_property
    def in_turn(self) -> tuple[Source, ...]:
        """Those that are read by one thread at a time."""
        return tuple(source for source in self.sources if source.reader.in_turn)

    @property
    def by_tensor(self) -> bool:
        """Whether an update counts differently from tensor to tensor."""
        return any(weight.tensors is not None for weight, _ in self.terms)

    def remembers(self, span: Span) -> bool:
        """Whether the last commit left numbers of a span's items."""
        return span.remembered and self.left is not None and self.rules.strategy.memory > 0


@dataclass(frozen=True)
class Block:
    """A span of the result; valid until the next is asked for."""

    new: Array
    memory: Array | None
    fault: str  # what has values that are no numbers; empty when nothing has


def blocks(plan: Plan) -> Generator[Block]:
    """The result, span after span. At its end, or when an update tells while it is read that it is damaged: DamagedError.

    It names what the last commit left, or else all updates, that are not what was committed or accepted.
    """
    try:
        yield from _far(plan) if plan.is_far else _near(plan)
    except DamagedError:
        _check(plan)
        raise
    _check(plan)


def _check(plan: Plan) -> None:
    sources.check(source for source in (plan.base, plan.left) if source is not None)
    sources.check([*(source for _, source in plan.terms), *plan.changes])


def _near(plan: Plan) -> Iterator[Block]:
    rooms = [(_Room(plan, 1), _Accumulators(plan)) for _ in range(_THREADS + 1)]  # one is being written
    summed = plan.terms if plan.rules.strategy.sums and not plan.by_tensor else ()
    direct = Direct([source for _, source in summed], [weight for weight, _ in summed])
    try:
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="fold") as threads:
            work = partial(_read_and_computed, plan, direct)
            yield from spanwise.computed(len(plan.parts), work, rooms, threads)
    finally:
        direct.note()


def _read_and_computed(plan: Plan, direct: Direct, index: int, room: "tuple[_Room, _Accumulators]") -> Block:
    buffers, accumulators = room
    try:
        reads = (partial(source.block, index, buffer) for source, buffer in buffers.asked(plan, index))
        span = plan.parts[index]
        sum_to = partial(direct.sum_to, index=index, remembered=span.remembered, room=buffers.theirs)
        return _computed(plan, span, reads, accumulators, sum_to)
    finally:
        for source in plan.in_turn:
            source.turns.done(index)


def _far(plan: Plan) -> Iterator[Block]:
    depth = min(_AHEAD_FAR, 1 + len(plan.terms))
    buffers, accumulators = _Room(plan, depth), _Accumulators(plan)
    asked = (
        (source, index, buffer) for index in range(len(plan.parts)) for source, buffer in buffers.asked(plan, index)
    )
    requests = (Request(source.reader, source.places[index], buffer) for source, index, buffer in asked)
    with ThreadPoolExecutor(_THREADS_FAR, thread_name_prefix="fold") as threads:
        reads = (lambda view=view: view for view in ahead(requests, threads, depth))
        for span in plan.parts:
            yield _computed(plan, span, reads, accumulators, lambda _total: 0)


class _Room:
    """Buffers for what is read of spans, used again and again."""

    def __init__(self, plan: Plan, depth: int) -> None:
        most = widest(plan.parts)
        numbers = 2 * plan.rules.strategy.memory * most  # float32 of a bfloat16
        memory, changes = (numbers if any_ else 0 for any_ in (plan.left is not None, plan.changes))
        all_exchanged = all(span.exchanged for span in plan.parts)
        few = min(depth, 2) if all_exchanged else depth + 1  # where no update is read between two blocks of the base
        self._ours, self._left = _cycle(most, few), _cycle(memory, few)
        self.theirs = memoryview(bytearray(most))
        self._theirs = cycle([self.theirs, *(memoryview(bytearray(most)) for _ in range(depth - 1))])
        self._changes = _cycle(changes, depth)

    def asked(self, plan: Plan, index: int) -> Iterator[tuple[Source, memoryview]]:
        """Which files are read for a span, in the order in which it is computed: base, memory, updates, changes of the memory."""
        yield plan.base, next(self._ours)
        if plan.remembers(plan.parts[index]):
            yield cast(Source, plan.left), next(self._left)
        if not plan.parts[index].exchanged:
            return
        for _, source in plan.terms:
            yield source, next(self._theirs)
        for source in plan.changes if plan.parts[index].remembered else ():
            yield source, next(self._changes)


def _cycle(size: int, count: int) -> Iterator[memoryview]:
    return cycle([memoryview(bytearray(size)) for _ in range(count)])


class _Accumulators:
    """Blocks to compute with, by type."""

    def __init__(self, plan: Plan) -> None:
        self._most, self._made = widest(plan.parts), dict[str, Accumulator]()

    def of(self, dtype: str) -> Accumulator:
        """Room for the widest span."""
        if dtype not in self._made:
            self._made[dtype] = Accumulator.of(dtype, self._most // ITEM_BYTES[dtype])
        return self._made[dtype]


def _computed(plan: Plan, span: Span, reads: Reads, accumulators: _Accumulators, direct: SumTo) -> Block:
    """A span of the result, from what is read of it."""
    old = arithmetic.stored(span.dtype, next(reads)())
    memory = _memory(plan, span, reads, old.size) if span.remembered else None
    if not span.exchanged:
        return Block(old, memory, "")
    terms = _terms(plan, span, reads, direct)
    with np.errstate(all="ignore"):
        reach = _covered(plan.coverage, span) if plan.coverage is not None else None
        noise = plan.noise.of(span) if plan.noise is not None else None
        new, memory = folded(plan.rules, span.dtype, old, terms, accumulators.of(span.dtype), memory, reach, noise)
    for _ in terms:
        pass  # of a rule that does not look at all of them
    if plan.rules.strategy.absorb is not None and plan.changes and memory is not None:
        memory = _absorbed(plan.rules.strategy.absorb, plan, span, reads, memory)
    return Block(new, memory, _fault(span, old, new, memory))


def _absorbed(absorb: Absorb, plan: Plan, span: Span, reads: Reads, memory: Array) -> Array:
    """What the strategy remembers once the sites' changes are in it."""
    kind = arithmetic.working_type(span.dtype)
    changes = (arithmetic.stored(kind, next(reads)()).reshape(memory.shape) for _ in plan.changes)
    with np.errstate(all="ignore"):
        made = absorb(memory, changes, plan.rules.parameters)
    for _ in changes:
        pass
    return made


def _terms(plan: Plan, span: Span, reads: Reads, direct: SumTo) -> Summable:
    """What each update has of a span, and how much it counts there; what counts nothing adds nothing, not even a rounding."""
    shares = [_share(weight, span) for weight, _ in plan.terms]
    left = iter(shares)

    def each() -> Iterator[tuple[Fraction, Array]]:
        for share in left:
            view = next(reads)()
            if share:
                yield share, arithmetic.stored(span.dtype, view)

    def sum_to(total: Array) -> None:
        if not (done := direct(total)):
            total.fill(0)
        for _ in range(done):
            next(left), next(reads)
        for share, block in terms:
            kernels.add_scaled(total, block, float(share), block)

    terms = each()
    return Summable(terms, sum_to)


def _share(weight: Weight, span: Span) -> Fraction:
    if not span.remembered:
        return weight.others
    return weight.parameters if weight.tensors is None else weight.tensors[span.pieces[0].name]


def _covered(coverage: Coverage, span: Span) -> Covered | None:
    """Who has its items; None where all have."""
    item = ITEM_BYTES[span.dtype]
    runs = ((piece.name, piece.start // item, (piece.start + piece.size) // item) for piece in span.pieces)
    return coverage.of(runs, span.remembered)


def _memory(plan: Plan, span: Span, reads: Reads, items: int) -> Array:
    """What the strategy remembers of a span's items: its own first numbers in the first round."""
    kind, memory = arithmetic.working_type(span.dtype), plan.rules.strategy.memory
    if plan.remembers(span):
        return arithmetic.stored(kind, next(reads)()).reshape(items, memory)
    first = np.empty((items, memory), arithmetic.stored(kind, b"").dtype)
    first[...] = plan.rules.strategy.start(plan.rules.parameters)
    return first


def _fault(span: Span, old: Array, new: Array, memory: Array | None) -> str:
    """What has values that are no numbers: a tensor of the model, or what is remembered of it; empty when nothing has."""
    kind = span.dtype
    if name := _first(span, lambda part: arithmetic.as_finite(kind, new[part], old[part])):
        return f"tensor {name!r} of the model"
    if memory is None:
        return ""
    working = arithmetic.working_type(kind)
    name = _first(span, lambda part: arithmetic.finite(working, memory[part]))
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
