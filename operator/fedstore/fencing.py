"""What keeps other writers off where an object store cannot: a port. The aggregator has its adapters, opening.py passes one on.

A store without conditional writes takes any write, so who writes must be alone. A fence says whether this process is, for a
bounded time from now on; a write that was begun within that time must not arrive after it. s3.py sees to that.
"""

from typing import Protocol

WRITE_S = 10.0  # a write arrives within this many seconds after the fence was asked, or never


class Fence(Protocol):
    """Of one job's objects."""

    def check(self) -> None:
        """Returns if nobody else writes for the next WRITE_S seconds, whatever becomes of this process.

        FencedOffError: somebody else may, now or soon, and this process never again. StoreFailedError: it is not
        known; try again later.
        """
