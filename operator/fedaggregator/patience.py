"""How long the API server has refused what the aggregator reports. Asked by the publisher.

A job whose status nobody may write looks healthy while it runs to its end: with a token that is void, or rights that
are gone, the process ends, which the operator sees. A server that cannot be reached is waited for without an end.
"""

import asyncio
from collections.abc import Callable

from fedaggregator.errors import FatalError, StatusUnavailableError
from fedapi.outcome import Exit

PATIENCE_S = 60.0  # rights and tokens that are being remade are back by then
_UNAUTHORIZED = 401
_PASSING = frozenset({408, 409, 425, 429})  # refused now, but not for good


class Patience:
    """Since when reports have been refused without one that was taken."""

    def __init__(self, clock: Callable[[], float], patience_s: float = PATIENCE_S) -> None:
        self._clock, self._patience_s = clock, patience_s
        self._since: float | None = None
        self.final: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def taken(self) -> None:
        """A report was taken."""
        self._since = None

    def status(self, error: StatusUnavailableError) -> None:
        """The status was not taken."""
        if 400 <= error.code < 500 and error.code not in _PASSING:
            self._refused(error)

    def heartbeat(self, error: StatusUnavailableError) -> None:
        """A heartbeat was not taken. Only a void token counts: rights to a Lease go when its site leaves the job."""
        if error.code == _UNAUTHORIZED:
            self._refused(error)

    def _refused(self, error: StatusUnavailableError) -> None:
        now = self._clock()
        self._since = now if self._since is None else self._since
        if now - self._since >= self._patience_s and not self.final.done():
            message = f"the job's status may not be written, for {self._patience_s:.0f} s: {error}"
            self.final.set_exception(FatalError(Exit.STATUS_REFUSED, message))
