"""The log of what is refused: one bounded line each, and a bounded number of lines. Written by http/ and engine/.

Whatever clients send ends up here, so fields are cut, JSON escapes them, and a flood is counted and not written: the
metrics count all of it.
"""

import logging
import time

log = logging.getLogger("fedaggregator.refusals")
LONGEST = 300  # characters of a field
_BURST, _PER_S = 200.0, 5.0


class Budget(logging.Filter):
    """Lets a burst through and a few lines a second after it; the next line that passes says how many did not."""

    def __init__(self, burst: float = _BURST, per_s: float = _PER_S) -> None:
        super().__init__()
        self._burst, self._per_s = burst, per_s
        self._left, self._at, self._left_out = burst, time.monotonic(), 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line may be written."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            self._left_out += 1
            return False
        self._left -= 1
        if self._left_out:
            record.fields = {**getattr(record, "fields", {}), "left_out": self._left_out}
            self._left_out = 0
        return True


log.addFilter(Budget())


def note(message: str, **fields: str) -> None:
    """One line."""
    log.info(message, extra={"fields": {name: value[:LONGEST] for name, value in fields.items() if value}})
