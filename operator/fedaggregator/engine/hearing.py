"""Sites that make themselves known, taken in together: each step of the state looks at all of them. Used by the engine."""

import asyncio
from typing import TYPE_CHECKING

from fedaggregator.errors import RequestRefusedError
from fedapi.wire.site import Refusal
from fedcore.rounds import planning
from fedcore.rounds.compatibility import Speech
from fedcore.rounds.events import Heard

if TYPE_CHECKING:
    from fedaggregator.engine.engine import Engine

_HEARD_S = 1.0  # a site that asks one thing after the other is taken note of so often


class Hearing:
    """Of one engine's sites."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._waiting: dict[str, Speech | None] = {}  # in the order in which they made themselves known
        self._taking: asyncio.Task[None] | None = None  # takes them in

    async def heard(self, client: str, speech: Speech | None = None) -> None:
        """A site made itself known. Those that do so at the same time are taken in together; who just did, not again."""
        if self._just_heard(client, speech):
            return
        if (
            self._engine.trouble and self._engine.lock.locked()
        ):  # for as long as that lasts: sites would wait in ever longer rows
            message = "the store is not at hand, and the round waits for it: ask again"
            raise RequestRefusedError(Refusal(code="StoreFull", message=message))
        self._waiting[client] = speech or self._waiting.get(client)
        if self._taking is None:
            self._taking = asyncio.create_task(self._take())
        await asyncio.shield(self._taking)

    def _just_heard(self, client: str, speech: Speech | None) -> bool:
        """Whether the state says so already."""
        engine = self._engine
        known = engine.state.site(client)
        recent = known.heard_at is not None and engine.clock() - known.heard_at <= _HEARD_S
        if not recent or planning.unheard(engine.state, client):
            return False
        return speech is None or speech == known.speech

    async def _take(self) -> None:
        async with self._engine.lock:
            heard, self._waiting, self._taking = self._waiting, {}, None
            speeches = {client: speech for client, speech in heard.items() if speech}
            await self._engine.handle_locked(Heard(self._engine.clock(), tuple(heard), speeches))
