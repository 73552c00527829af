"""Orders that come again because they came to nothing, and when the hub is told that they cannot be followed. Used by work.py."""

import time

from fedtrainer.agent.patience import pause_s
from fedtrainer.errors import GoneError, LinkExpiredError

BAD_ORDERS = 3  # orders in a row whose object is not in the store before the site says so


class Repeating:
    """Of one site's orders."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._last = ""  # last order, how often it came in a row, and since when
        self._repeats, self._since = 0, 0.0

    def pause(self, order: str) -> None:
        """The same order again means that it came to nothing: do not ask in a hot loop."""
        self._repeats = self._repeats + 1 if order == self._last else 0
        self._last = order
        if self._repeats:
            time.sleep(pause_s(self._repeats))
        else:
            self._since = time.monotonic()

    def is_lost(self, error: LinkExpiredError) -> bool:
        """Whether to tell the hub that its store does not give what it orders: a first order may be of a round that is over.

        A store without the right to list says of what is gone what it says of a URL that is over.
        """
        gone = isinstance(error, GoneError) and self._repeats + 1 >= BAD_ORDERS
        return gone or (self._repeats > 0 and time.monotonic() - self._since > self._patience_s)
