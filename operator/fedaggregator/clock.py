"""The process's clock: wall time at the start, monotonic from there, so that a step of the system clock closes no round."""

import time


def steady_clock() -> "SteadyClock":
    """A clock that begins now."""
    return SteadyClock(time.time() - time.monotonic())


class SteadyClock:
    """Seconds since the epoch that never go back."""

    def __init__(self, offset_s: float) -> None:
        self._offset_s = offset_s

    def __call__(self) -> float:
        """Now."""
        return self._offset_s + time.monotonic()
