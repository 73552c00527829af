"""The aggregator's one actor: takes events one after the other, makes their effects durable, then shows the new state.

HTTP handlers read `state` and wait in `polls`, the publisher waits for `news`; intake hands in what sites send; `run` drives time and configuration.
What a site hears about is durable, because a state is shown only after its effects.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from fedaggregator import metrics
from fedaggregator.engine import beginning, observed, recorded, records
from fedaggregator.engine.background import Background
from fedaggregator.engine.checking import ModelCheck
from fedaggregator.engine.configfile import ConfigFile
from fedaggregator.engine.discarding import Discarding
from fedaggregator.engine.folding import strategy_rules
from fedaggregator.engine.hearing import Hearing
from fedaggregator.engine.historyfile import HistoryFile
from fedaggregator.engine.interpreter import Interpreter
from fedaggregator.engine.issues import Issues
from fedaggregator.engine.ledger import Ledger
from fedaggregator.engine.payloads import Payloads
from fedaggregator.engine.polls import Polls
from fedaggregator.engine.retrying import Retrying
from fedaggregator.errors import (
    DamagedError,
    StoreDamagedError,
    SupersededError,
    WorkCancelledError,
)
from fedaggregator.ledgerstatus import Told
from fedaggregator.ports import Clock
from fedapi.wire.commit import CommitRecord
from fedcore.rounds import closing, machine, modes
from fedcore.rounds.effects import Commit, Discard, Effect, Encode, Finding, Fold, Long, WriteEvaluation
from fedcore.rounds.events import Configured, Encoded, Event, Heard, Ticked, UpdatesDamaged
from fedcore.rounds.modes import Mode
from fedcore.rounds.state import Phase, State
from fedstore import many
from fedstore.errors import StoreError
from fedstore.objectstore import ObjectStore

log = logging.getLogger(__name__)
_POLL_S = 0.25  # a new configuration is looked for so often
_HEAD_CHECK_S = 5.0  # another aggregator is looked for so often
_FAR = 3  # times as long, where a look is a request


class Engine:
    """State, effects and time of one job."""

    def __init__(
        self,
        store: ObjectStore,
        payloads: Payloads,
        config: ConfigFile,
        clock: Clock,
        pool: ThreadPoolExecutor,
        store_retry_s: float,
        ledger_seed: bytes,
    ) -> None:
        self._store, self._payloads, self._config, self.clock = store, payloads, config, clock
        self.lock, self._discarding = asyncio.Lock(), Discarding()
        self.interpreter: Interpreter
        self.ledger: Ledger
        self._ledger_seed = ledger_seed
        self._mode: Mode
        self.polls = Polls()
        self.news = asyncio.Event()  # the status may be another one; cleared by who tells it
        self.over = asyncio.Event()  # nothing changes any more that is worth waiting for: the job, or the process, ends
        self._look: asyncio.Task[None] | None = None  # at HEAD
        self._writes: asyncio.Task[None] | None = None  # the ledger, between two commits
        self.state: State
        self._check = ModelCheck(self, store)
        self._counted_to = clock()  # of the time that deadlines take
        self._background = Background()
        self.ended = self._background.ended
        self._work = Retrying(clock, pool, store_retry_s, self._background, self.news)
        self.blocking, self.under_lock, self.retried = self._work.blocking, self._work.under_lock, self._work.retried
        self.store_failed = self._work.failed
        self.heard = Hearing(self).heard
        self.issues = Issues(clock, lambda *issue: recorded.issued(self.ledger, *issue))

    async def start(self, told: Awaitable[Told | None] | None = None) -> None:
        """Takes HEAD and goes on from what the store holds. `told`: of the ledger, as the job's status last said it."""
        config = self._config.first()
        layout = State(config, 0).layout
        head, tag = await self.blocking(records.take_head, self._store, layout)
        self._mode = modes.mode(config.strategy.name)
        load = partial(records.load_log, looks_back=self._mode.looks_back, keys=config.identities)
        stored = await self.blocking(load, self._store, layout, head)
        self.interpreter = Interpreter(self._store, self._payloads, layout, head, tag)
        self.history = HistoryFile(self._store, layout, self.clock)
        self.state, effects = self._mode.recovered(config, stored, self.clock())
        self._counted_to = self.clock()
        if self.state.current is not None:  # before sites train for what could not be folded
            strategy_rules(self.state.current.plan.strategy)
        metrics.EPOCH.set(head.epoch)
        metrics.SITES_CONNECTED.set_function(lambda: observed.connected(self.state, self.clock()))
        metrics.SITES_INCOMPATIBLE.set_function(lambda: observed.incompatible(self.state))
        observed.told(
            "recovered",
            epoch=head.epoch,
            committed=head.round,
            phase=self.state.phase.value,
            manifests=len(stored.manifests),
        )
        ledger = Ledger(self._store, layout, self._ledger_seed, self.clock)
        known = await told if told else None
        begin = partial(beginning.begun, ledger, self.state, head, self._config.sha256, known)
        self.ledger = await self._work.decided(begin)
        for damage in stored.damages:
            self.damaged({damage.key: damage.what})
        await self._perform_all(effects)
        await self.handle(Ticked(self.clock()))
        self._background.spawn(self._check.at_start())

    @property
    def stopping(self) -> bool:
        """Whether the process is about to end."""
        return self._work.stopping

    @property
    def trouble(self) -> str:
        """What holds the job up now; empty when nothing does."""
        return self._work.outage.text

    @property
    def unready(self) -> str:
        """Why sites should not be sent here yet; empty when they may."""
        return "" if self._check.done else "the model is being checked"

    async def check_model(self) -> None:
        """Reads what is handed out; StoreDamagedError, which ends the process, when it is not what was committed."""
        await self._check.now()

    def damaged(self, found: Mapping[str, str]) -> None:
        """Tells of objects that are not what was written."""
        for key, what in found.items():
            metrics.DAMAGED.inc()
            log.warning("damaged object", extra={"fields": {"key": key, "reason": what}})
            self.ledger.append("alert", reason="Damaged", key=key, message=what)

    async def run(self, serving: asyncio.Task[None], publishing: asyncio.Task[None]) -> None:
        """Until the process stops or the server ends; raises what ended a task that nothing goes on without."""
        ticker = asyncio.create_task(self._tick())
        try:
            await asyncio.wait(
                (ticker, self._background.fatal, serving, publishing), return_when=asyncio.FIRST_COMPLETED
            )
            if self._background.fatal.done():
                self._background.fatal.result()
            for task in (ticker, publishing):  # a status that nobody writes would look like a job that stands still
                if task.done():
                    task.result()
        finally:
            ticker.cancel()
            self.stop()

    def close(self) -> None:
        """Ends its threads."""
        self._work.close()

    def stop(self) -> None:
        """Wakes every long poll and ends folds at the next block."""
        self._work.stopping = True
        self.polls.end_all()
        self.over.set()
        self.news.set()

    async def handle(self, event: Event) -> None:
        """Takes one event; returns when everything that follows from it is durable."""
        async with self.lock:
            await self.handle_locked(event)

    async def handle_locked(self, event: Event) -> None:
        """The same, for a caller that holds the lock."""
        before = replace(closing.delayed(self.state, self._lost_s()), ledger=self.ledger.anchor)
        after, effects = self._mode.step(before, event)
        if effects:
            config = await self.under_lock(self._config.changed)
            if config is not None:  # what is planned now follows the newest configuration
                recorded.configured(self.ledger, before.config, config, self._config.sha256)
                before = machine.configured(before, config, event.now)
                after, effects = self._mode.step(before, event)
        recorded.taken(self.ledger, event, before)
        if effects:
            await self._perform_all(effects)
            after = closing.delayed(after, self._lost_s(writing=True))  # nobody has heard of it yet
        self._show(after)
        first_heard = isinstance(event, Heard) and any(observed.new(before, after, client) for client in event.clients)
        if not isinstance(event, Heard | Ticked) or effects or first_heard or after.phase is not before.phase:
            self.news.set()

    def _lost_s(self, *, writing: bool = False) -> float:
        """Seconds since this was asked last in which sites could do nothing: the store failed, or they are not let in yet.

        `writing`: what they wait for was being made durable all the time.
        """
        outage_s, before = self._work.outage.lost_s(), self._counted_to
        self._counted_to = self.clock()
        return outage_s if self._check.done and not writing else self._counted_to - before

    def _show(self, state: State) -> None:
        """The new state becomes visible, and whom it concerns is told."""
        before, self.state = self.state, state
        if state.phase is Phase.FINISHED:
            self.over.set()
        observed.shown(state)
        self.polls.shown(before, state)
        if self.history.due(state):
            self._background.spawn(self.history.written(self.blocking))

    async def _perform_all(self, effects: tuple[Effect, ...]) -> None:
        """In their order; an evaluation beside the commit that binds it, and both are durable before HEAD moves."""
        waiting: tuple[Effect, ...] = ()
        for effect in effects:
            match effect:
                case _ if isinstance(effect, Long):
                    self._background.spawn(self._answered(effect))
                case Discard():
                    self._background.spawn(
                        self._discarding.done(partial(self.blocking, self.interpreter.discard, effect))
                    )
                case WriteEvaluation():
                    waiting = (effect,)
                case Commit():
                    await self._commit(effect, waiting)
                    waiting = ()
                case _:
                    await self._perform(*waiting, effect)
                    waiting = ()
        await self._perform(*waiting)

    async def _commit(self, effect: Commit, beside: tuple[Effect, ...]) -> None:
        writing = self._work.decided(partial(self.interpreter.write_commit, effect.commit))
        others = (self._perform(*beside), self._write_issues(effect.commit), self.ledger.written(self._work.decided))
        key, *_ = await asyncio.gather(writing, *others)
        await self._work.decided(
            partial(self.interpreter.move_head, effect.commit, key, self.ledger.signature(effect.commit))
        )
        observed.durable(effect)
        recorded.committed(self.ledger, effect.commit, effect.commit.sealed().digest())

    async def _write_issues(self, commit: CommitRecord) -> None:
        if issued := self.issues.taken(commit):
            await self._work.decided(partial(self.interpreter.write_issues, issued))
            recorded.omitted(self.ledger, issued)

    async def _perform(self, *effects: Effect) -> None:
        for effect in effects:
            await self._work.decided(partial(self.interpreter.perform, effect))
            observed.durable(effect)
            recorded.durable(self.ledger, effect)
            if recorded.is_urgent(effect):
                await self.ledger.written(self._work.decided)

    async def _answered(self, order: Long) -> None:
        answer = partial(self.interpreter.answer, order, lambda: self.stopping, self.clock)
        if isinstance(order, Finding):
            await self._discarding.over()
        with metrics.FOLD_SECONDS.time() if isinstance(order, Fold) else contextlib.nullcontext():
            try:
                event = await self.retried(answer)
            except WorkCancelledError:
                return
            except DamagedError as error:  # of the model that was to be encoded, or measured
                if isinstance(order, Encode) and self.state.encoding != order.what:
                    return
                self.damaged(error.found)
                raise self.ended(StoreDamagedError(str(error))) from error
        if isinstance(event, UpdatesDamaged):
            self.damaged(event.found)
        if isinstance(event, Encoded):
            observed.encoded(event)
        await self.handle(event)

    async def _tick(self) -> None:
        looked_at = self.clock()
        while not self.stopping:
            config = await self.under_lock(self._config.changed)
            async with self.lock:  # an event before this one may have taken a newer one
                event: Event = Ticked(self.clock()) if config is None else Configured(self.clock(), self._config.newest)
                if config is not None:
                    recorded.configured(self.ledger, self.state.config, config, self._config.sha256)
                await self.handle_locked(event)
            far = _FAR if many.is_far(self._store) and not self.trouble else 1
            if self.clock() - looked_at >= far * _HEAD_CHECK_S and (self._look is None or self._look.done()):
                looked_at = self.clock()
                self._look = self._background.spawn(self._look_at_head())
            if self._work.outage.is_over():
                self.news.set()
            if self.ledger.due and (self._writes is None or self._writes.done()):
                self._writes = self._background.spawn(self.ledger.written(self._work.decided))
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        wakes_at = self._mode.wakes_at(self.state)
        return _POLL_S if wakes_at is None else max(0.001, min(_POLL_S, wakes_at - self.clock()))

    async def _look_at_head(self) -> None:
        """SupersededError when another aggregator took HEAD. Not under the lock: a store may take long to answer."""
        try:
            moved = await self.under_lock(self.interpreter.superseded)
            if moved:  # by this one, perhaps, since the look began
                async with self.lock:
                    moved = await self.under_lock(self.interpreter.superseded)
        except StoreError as error:
            self.store_failed(error)
            return
        self._work.outage.worked()
        if moved:
            raise SupersededError
