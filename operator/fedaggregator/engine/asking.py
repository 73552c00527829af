"""What updates of the round under way have to be: read once a round from the base, which may be large. Used by intake.py."""

import asyncio

from fedaggregator.engine import content, hubstate
from fedaggregator.engine.content import Asked
from fedaggregator.engine.engine import Engine
from fedaggregator.engine.folding import strategy_rules
from fedaggregator.engine.payloads import Payloads
from fedaggregator.engine.widths import widths
from fedaggregator.errors import DamagedError, RequestRefusedError
from fedapi.wire.compression import Compression
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Refusal
from fedapi.wire.update import CONTROL, UPDATE
from fedcore.rounds import admission
from fedcore.rounds.state import State
from fedcore.tensors import submodels
from fedcore.tensors.fragments import TooManyFragmentsError, Turn
from fedcore.tensors.tensorfile import MalformedTensorFileError
from fedstore.errors import MissingError
from fedstore.objectstore import ObjectStore

_Kind = tuple[str, Compression | None, Turn]  # of a round: what decides what its updates have to be


class Asking:
    """Of one engine's rounds."""

    def __init__(self, engine: Engine, store: ObjectStore, payloads: Payloads) -> None:
        self._engine, self._store, self._payloads = engine, store, payloads
        self._asked: tuple[_Kind, dict[str, Asked]] | None = None
        self._sub_models: dict[float, Asked] = {}  # of the same: what an update of a sub-model has to be
        self._reading = asyncio.Lock()

    async def of(self, client: str) -> dict[str, Asked]:
        """What each payload of a site in the round under way has to be: its tensors, read once a round, encoded as planned."""
        state = self._engine.state
        base, width = admission.asked_of(state), admission.width(state, client)
        if base is None:
            raise RequestRefusedError(Refusal(code="StaleRound", message="no round takes updates now: ask next"))
        kind = (base.sha256, admission.compression(state), admission.turn(state))
        async with self._reading:
            if self._asked is None or self._asked[0] != kind or (width is not None and width not in self._sub_models):
                try:
                    await self._engine.blocking(self._read_all, state, base, kind, width)
                except (MissingError, MalformedTensorFileError, DamagedError) as error:
                    await self._engine.check_model()
                    refusal = Refusal(code="Stopping", message="the base cannot be read: ask again")
                    raise RequestRefusedError(refusal) from error
                except TooManyFragmentsError as error:
                    raise RequestRefusedError(Refusal(code="Malformed", message=str(error))) from error
            asked = self._asked[1] if self._asked else {}
            return asked if width is None else asked | {UPDATE: self._sub_models[width]}

    def _read_all(self, state: State, base: ObjectRef, kind: _Kind, width: float | None) -> None:
        if self._asked is None or self._asked[0] != kind:
            tip = state.tip
            self._asked, self._sub_models = (kind, self._read(state, base, tip.hub_state if tip else None)), {}
        if width is not None:
            plan = state.current.plan if state.current else None
            known, whole = widths(self._payloads, plan.initial if plan else None), self._asked[1][UPDATE]
            if width not in known:
                raise RequestRefusedError(Refusal(code="WrongShape", message=submodels.unknown(known, width)))
            self._sub_models[width] = Asked(submodels.sliced(whole.base, known[width]), whole.compression, width)

    def _read(self, state: State, model: ObjectRef, hub_state: ObjectRef | None) -> dict[str, Asked]:
        base = content.read_table(self._store, model.key).exchanged
        asked = {UPDATE: Asked(admission.turn(state).of(base), admission.compression(state))}
        if CONTROL in admission.wanted(state):
            plan = state.current.plan if state.current else None
            kept = strategy_rules(plan.strategy if plan else state.config.strategy).strategy.kept or 0
            asked[CONTROL] = Asked(hubstate.form(self._store, base, kept, hub_state))
        return asked
