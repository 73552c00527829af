"""Makes the next model of a round, and what its strategy remembers: fedcore's steps over files. Blocking; run in a thread.

Memory is a few blocks and what a table of tensors takes, whatever the size of the model and the number of sites: files
are read into reused buffers and written as they are made. Same inputs, same bytes, same digest. What is read is verified
in the same pass, and so is the result: nothing is made of damaged objects, no model and no memory of numbers that are none.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial

from fedaggregator.engine import hubstate, private, scoring
from fedaggregator.engine.blocks import Plan, blocks
from fedaggregator.engine.payloads import Payloads, Sent
from fedaggregator.engine.sources import Base, Updates
from fedaggregator.engine.spans import Span, spans
from fedaggregator.engine.verified import BLOCK_BYTES
from fedaggregator.engine.widths import widths
from fedaggregator.errors import AggregatorError, DamagedError, TooOldError, WorkCancelledError
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.privacy import Mechanism
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.update import CONTROL, UPDATE
from fedcore.rounds.effects import Fold
from fedcore.strategies.coverage import Coverage, coverage
from fedcore.strategies.folding import Rules
from fedcore.strategies.strategy import Cohort, Update
from fedcore.strategies.table import UnknownStrategyError, rules
from fedcore.strategies.weighing import Weight, needs_gram, weighed
from fedcore.tensors import submodels, tensorfile
from fedcore.tensors.arithmetic import Array
from fedcore.tensors.fragments import Turn
from fedcore.tensors.submodels import Widths
from fedcore.tensors.tensorfile import TensorFile
from fedstore import many
from fedstore.objectstore import DIGEST, ObjectStore, Writer

_SUMMED_BYTES = 2 << 20  # of a sum, whose updates are not kept: what a block costs beside its bytes is less per byte
_STACKED_BYTES, _LEAST_BYTES = 8 << 20, 64 << 10  # blocks of all updates together, and one of them


class ModelNotFiniteError(AggregatorError):
    """The result is none: a tensor of the model has values that are NaN or infinite where the base has none, or the memory has."""


@dataclass(frozen=True)
class Result:
    """What a fold made, in the store."""

    model: ObjectRef
    hub_state: ObjectRef | None
    within: float | None = None  # share of the sites whose updates are within the clip norm, where that is asked for


def fold(store: ObjectStore, payloads: Payloads, layout: Layout, order: Fold, cancelled: Callable[[], bool]) -> Result:
    """The next model by the plan's strategy. Where no update counts, all stays what it was.

    DamagedError names what is not what was accepted or committed; ModelNotFiniteError the tensor that cannot be committed;
    TooFewUpdatesError a strategy that is not defined for so few; TooOldError one that this version does not have.
    """
    unchanged = Result(order.base, order.hub_state)
    if order.privacy is None and not any(term.samples for term in order.terms):
        return unchanged
    chosen, far = strategy_rules(order.strategy), many.is_far(store)

    def go_on() -> None:
        if cancelled():
            raise WorkCancelledError(f"fold of round {order.round} stopped")

    with ExitStack() as files:
        base = Base.opened(payloads, order.base, files, Turn(order.round, order.strategy.fragments))
        header, model = tensorfile.canonical_header(base.table.tensors)
        state = hubstate.opened(payloads, base, model, _kept(chosen, order), order.hub_state, files)
        exchanged = frozenset(base.asked.by_name())
        if (done := order.privacy) is not None:
            exchanged &= state.names  # what is no parameter is not told at all: it stays as it is
            looked = partial(_looked, payloads, base, scoring.parts(model, exchanged), go_on, is_far=far)
            noise = None if done.mode == "Distributed" else private.drawn(payloads, layout, order, done, model)
            terms, within = _clipped(order, done, layout.uid, looked, noise)
        else:
            inner = partial(_gram, payloads, base, scoring.parts(model, state.names), go_on, is_far=far)
            (chosen, terms), noise, within = _counted(chosen, order, layout.uid, inner), None, None
        if not terms and noise is None:
            return unchanged
        smaller = _sub_models(payloads, order, terms)
        block_size = block_bytes(chosen, len(terms), is_far=far)
        by_layer = done is not None and done.clipping == "PerLayer"
        parts = spans(model, state.names, block_size, exchanged, apart=by_layer)
        opened = Updates(payloads, base, parts, smaller).opened([each for _, each in terms], files)
        weighted = tuple((weight, source) for (weight, _), source in zip(terms, opened, strict=True))
        changing = [_beside(order, layout.uid, sent) for _, sent in terms] if chosen.strategy.absorb else []
        changes = state.changes(payloads, changing, parts, files)
        reach = _reach(order, model, terms, smaller)
        plan = Plan(chosen, parts, base.source(parts), state.source(parts), weighted, changes, far, reach, noise)

        def begun(key: str, size: int, header: bytes) -> Writer:
            made = payloads.fingerprints.noted(files.enter_context(store.writer(key, size=size)))
            made.write(header)
            return made

        writer = begun(layout.model(order.round, DIGEST), model.size, header)
        kept = layout.hub_state(order.round, DIGEST)
        keeper = begun(kept, state.table.size, state.header) if state.table.tensors else None
        broken = ""
        for block in files.enter_context(closing(blocks(plan))):
            go_on()
            broken = broken or block.fault
            writer.write(block.new.data.cast("B"))
            if keeper is not None and block.memory is not None and block.memory.size:
                keeper.write(block.memory.data.cast("B"))
        if broken:
            raise ModelNotFiniteError(f"{broken} of round {order.round} would have NaN or infinite values")
        return Result(hub_state=keeper.finish() if keeper else None, model=writer.finish(), within=within)


def strategy_rules(settings: StrategySettings) -> Rules:
    """The strategy that a configuration or a plan names; TooOldError where another version's is meant."""
    try:
        return rules(settings)
    except UnknownStrategyError as error:
        raise TooOldError(str(error)) from error


def _counted(
    rules: Rules, order: Fold, job_uid: str, inner: Callable[[Sequence[Sent]], Array]
) -> tuple[Rules, list[tuple[Weight, Sent]]]:
    """The updates and how much each counts, and the rules for just those.

    One of a site that has no samples counts nothing, whatever the strategy.
    """
    trained = [term for term in order.terms if term.samples]
    sent = [Sent(term.payloads[UPDATE], order.place(job_uid, term, UPDATE), term.width) for term in trained]
    updates = tuple(Update(term.samples, term.steps, term.client, order.staleness(term)) for term in trained)
    gram = inner(sent) if needs_gram(rules) else None
    found = weighed(rules, Cohort(updates, gram, order.training, order.seed, order.strategy.root))
    counted = [(weight, each) for weight, each in zip(found.weights, sent, strict=True) if weight.counts]
    return replace(rules, groups=found.groups), counted


def _kept(rules: Rules, order: Fold) -> int | None:
    """Numbers per item in the hub's file. With privacy there always is one: it tells parameters, which alone are released."""
    if order.privacy is None:
        return rules.strategy.kept
    private.check(rules)
    return rules.strategy.kept or 0


def _clipped(
    order: Fold,
    done: Mechanism,
    job_uid: str,
    looked: Callable[[Sequence[Sent]], scoring.Squares],
    noise: private.Noise | None,
) -> tuple[list[tuple[Weight, Sent]], float | None]:
    """The updates and how much of each counts, so that none counts more than its share; and how many did before that.

    `noise`: None with mode Distributed, where sites have clipped.
    """
    if noise is None:
        return private.as_summed(order, job_uid), None
    trained = [term for term in order.terms if term.samples]
    sent = [Sent(term.payloads[UPDATE], order.place(job_uid, term, UPDATE)) for term in trained]
    squares = looked(sent)
    found = private.weights(done, squares, len(sent))
    counted = [(weight, each) for weight, each in zip(found, sent, strict=True) if weight.counts]
    return counted, private.within(done, squares, noise)


def _sub_models(payloads: Payloads, order: Fold, terms: Sequence[tuple[Weight, Sent]]) -> Widths:
    """The sub-models that updates are of; DamagedError where the initial model, by which they were taken, knows no such one."""
    asked = {sent.width for _, sent in terms if sent.width is not None}
    if not asked:
        return {}
    found = widths(payloads, order.initial)
    for width in sorted(asked - found.keys()):
        raise DamagedError({(order.initial or order.base).key: submodels.unknown(found, width)})
    return {width: found[width] for width in sorted(asked)}


def _reach(order: Fold, model: TensorFile, terms: Sequence[tuple[Weight, Sent]], smaller: Widths) -> Coverage | None:
    """Where the updates reach; None where each has the whole model."""
    shapes = {tensor.name: tensor.shape for tensor in model.tensors}
    sent = ((weight, update.width) for weight, update in terms)
    return coverage(shapes, sent, smaller, order.strategy.sub_models == "ZeroPadding")


def _beside(order: Fold, job_uid: str, update: Sent) -> Sent:
    """What the site of an update has sent beside it."""
    term = next(term for term in order.terms if term.client == update.place.client)
    return Sent(term.payloads[CONTROL], order.place(job_uid, term, CONTROL))


def block_bytes(rules: Rules, updates: int, *, is_far: bool) -> int:
    """Of each file at a time: less where a rule needs all updates at once, and there are many. It decides no bits."""
    if rules.strategy.sums:
        return BLOCK_BYTES if is_far else _SUMMED_BYTES
    return max(_LEAST_BYTES, min(BLOCK_BYTES, _STACKED_BYTES // updates & -64))


def _gram(
    payloads: Payloads,
    base: Base,
    parts: tuple[Span, ...],
    go_on: Callable[[], None],
    sent: Sequence[Sent],
    *,
    is_far: bool,
) -> Array:
    """Inner products of the updates, of the tensors that are parameters."""
    with ExitStack() as files:
        return scoring.gram_matrix(Updates(payloads, base, parts).opened(sent, files), parts, go_on, is_far=is_far)


def _looked(
    payloads: Payloads,
    base: Base,
    parts: tuple[Span, ...],
    go_on: Callable[[], None],
    sent: Sequence[Sent],
    *,
    is_far: bool,
) -> scoring.Squares:
    """Squares of the updates, tensor by tensor, of those that are released."""
    with ExitStack() as files:
        return scoring.squares(Updates(payloads, base, parts).opened(sent, files), parts, go_on, is_far=is_far)
