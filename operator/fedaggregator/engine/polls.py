"""Long polls that are held, and who of them is woken: a site whose answer is no longer Wait, and nobody else.

Filled by the site routes; looked through by the engine whenever it shows a new state. A site waits for work, or in an exchange
of secure aggregation for its next step.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fedcore.rounds import assignment
from fedcore.rounds.state import State

Waits = Callable[[State], bool]  # whether there is still nothing to answer


@dataclass(eq=False)
class _Poll:
    """One that is held."""

    waits: Waits
    over: "asyncio.Future[None]"

    def end(self, *_: object) -> None:
        """The site is answered now."""
        if not self.over.done():
            self.over.set_result(None)


class Polls:
    """All that are held, by site."""

    def __init__(self) -> None:
        self._held: dict[str, set[_Poll]] = {}

    async def hold(self, client: str, waits: Waits, gone: "asyncio.Future[None]", timeout_s: float) -> None:
        """Until there is something to tell, the client is gone, or the time is over."""
        loop = asyncio.get_running_loop()
        poll = _Poll(waits, loop.create_future())
        held = self._held.setdefault(client, set())
        held.add(poll)
        timer = loop.call_later(timeout_s, poll.end)
        gone.add_done_callback(poll.end)
        try:
            await poll.over
        finally:
            gone.remove_done_callback(poll.end)
            timer.cancel()
            held.discard(poll)
            if not held and self._held.get(client) is held:
                del self._held[client]

    def shown(self, before: State, after: State) -> None:
        """Ends those whose answer the new state changed."""
        if before is after or not self._held:
            return
        for poll in self._of(assignment.concerned(before, after)):
            if not poll.waits(after):
                poll.end()

    def end_all(self) -> None:
        """The process stops: everybody is answered."""
        for poll in self._of(None):
            poll.end()

    def _of(self, clients: frozenset[str] | None) -> Iterator[_Poll]:
        names = self._held if clients is None else self._held.keys() & clients
        return (poll for client in names for poll in self._held[client])
