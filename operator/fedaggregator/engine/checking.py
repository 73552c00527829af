"""Whether what orders bring is what was committed: read at the start, and whenever somebody has reason to doubt it. Used by engine.py.

One look at a time, whoever asks for it. What nothing can be built on ends the process.
"""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from fedaggregator.engine import verified
from fedaggregator.errors import DamagedError, StoreDamagedError
from fedcore.rounds import broadcasting, training
from fedcore.rounds.events import BroadcastLost
from fedcore.rounds.state import Phase
from fedstore.objectstore import ObjectStore

if TYPE_CHECKING:
    from fedaggregator.engine.engine import Engine


class ModelCheck:
    """Of one engine's job."""

    def __init__(self, engine: "Engine", store: ObjectStore) -> None:
        self._engine, self._store = engine, store
        self._checking: asyncio.Task[None] | None = None
        self.done = False  # whether it was seen whole since the start

    async def at_start(self) -> None:
        """The first."""
        if self._engine.state.phase is not Phase.FINISHED:  # then its outcome is told whatever became of it
            await self.now()
        self.done = True

    async def now(self) -> None:
        """Reads what is handed out; StoreDamagedError, which ends the process, when it is not what was committed."""
        if self._checking is None:
            self._checking = asyncio.create_task(self._check())
        try:
            await asyncio.shield(self._checking)
        finally:
            if self._checking is not None and self._checking.done():
                self._checking = None

    async def _check(self) -> None:
        engine, tip = self._engine, self._engine.state.tip
        if tip is None:
            return
        try:
            for ref in training.handed_out(engine.state.config, tip):
                await engine.retried(partial(verified.check, self._store, ref))
            await self._check_broadcast()
        except DamagedError as error:
            if engine.state.tip is not tip:
                return  # a newer one was committed meanwhile, and this one may have been deleted
            engine.damaged(error.found)
            raise engine.ended(StoreDamagedError(str(error))) from error

    async def _check_broadcast(self) -> None:
        """What sites of the round under way fetch, where that is encoded. It is made again where it is damaged."""
        engine, attempt = self._engine, self._engine.state.current
        plan = attempt.plan if attempt is not None else None
        what = broadcasting.of_plan(engine.state, plan) if plan is not None else None
        if plan is None or plan.broadcast is None or what is None:
            return
        named = plan.offered
        try:
            for ref in named:
                await engine.retried(partial(verified.check, self._store, ref))
        except DamagedError as error:
            if engine.state.current is None or engine.state.current.plan is not plan:
                return
            engine.damaged(error.found)
            made = await engine.retried(partial(engine.interpreter.encode, what, lambda: False))
            if tuple(ref for ref in (made.object, made.reference) if ref is not None) == named:
                return
            if plan.broadcast.of is None:
                raise
            await engine.handle(BroadcastLost(engine.clock(), plan.round, plan.attempt))
