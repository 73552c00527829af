"""What is wrong with the store now, and for how long the job has stood still because of it. Used by the engine.

An outage begins with a failure and ends with a success after which nothing fails for a while. Deadlines do not run
meanwhile: it is the hub's trouble, of which no site can do anything.
"""

from collections.abc import Callable

from fedstore.errors import StoreDeniedError, StoreError, StoreFailedError, StoreFullError

_QUIET_S = 10.0  # without a failure: longer than the pause between two tries


class Outage:
    """Of one store."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.text = ""  # for a person; empty: there is none
        self._failed_at = self._worked_at = self._counted_to = 0.0

    def failed(self, error: StoreError) -> None:
        """The store could not do something that may be tried again; anything else is no outage."""
        if not isinstance(error, StoreFullError | StoreFailedError):
            return
        self._failed_at = self._now()
        if not self.text:
            self._counted_to = self._failed_at
        what = "denies access" if isinstance(error, StoreDeniedError) else "cannot be written"
        self.text = f"the store {what}, it is tried again: {error}"

    def worked(self) -> None:
        """The store did something."""
        self._worked_at = self._now()

    def is_over(self) -> bool:
        """Ends it, if it is over; whether it ended just now."""
        quiet = self._worked_at > self._failed_at and self._now() - self._failed_at > _QUIET_S
        if not self.text or not quiet:
            return False
        self.text = ""
        return True

    def lost_s(self) -> float:
        """Seconds of it since the last time this was asked; 0 when there is none."""
        if not self.text:
            return 0.0
        before, self._counted_to = self._counted_to, self._now()
        return self._counted_to - before
