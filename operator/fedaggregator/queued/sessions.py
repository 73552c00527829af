"""In which session a site's request is taken, and that each is taken once, without a clock.

A session's name is this process's word to one site, which alone can read it: a request in it was made after it was
given. Its requests are numbered; which numbers came is a window, so that they may overtake each other. Pure but for the key.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from enum import Enum

WINDOW = 1024  # numbers below the highest that may still come
SESSIONS = 16  # of one site at once: its processes, of which an older one may not have ended


class Verdict(Enum):
    """What a request's session and number say."""

    FRESH = "Fresh"
    TAKEN = "Taken"
    UNKNOWN = "Unknown"


@dataclass
class _Seen:
    """Bit n of `before`: highest - n came."""

    highest: int = 0
    before: int = 1

    def is_fresh(self, number: int) -> bool:
        """Notes a number that had not come."""
        if number > self.highest:
            self.before = ((self.before << min(number - self.highest, WINDOW)) | 1) & ((1 << WINDOW) - 1)
            self.highest = number
            return True
        behind = self.highest - number
        if behind >= WINDOW or self.before >> behind & 1:
            return False
        self.before |= 1 << behind
        return True


@dataclass
class Sessions:
    """Of one life of an aggregator. `key`: random, never told."""

    key: bytes = field(repr=False)
    _last: int = 0
    _of: dict[str, dict[int, _Seen]] = field(
        default_factory=dict
    )  # by site and serial number; only those that were used
    _ended: dict[str, int] = field(default_factory=dict)  # by site: sessions up to this one are over

    def offered(self, client: str) -> str:
        """A new session for a site. Costs nothing until it is used."""
        self._last += 1
        return f"{self._last}.{self._mark(client, self._last)}"

    def verdict(self, client: str, session: str, number: int) -> Verdict:
        """Of a request whose seal is the site's. FRESH once for each number, which begin at 1."""
        serial_text, _, mark = session.partition(".")
        serial = int(serial_text) if serial_text.isdecimal() and len(serial_text) < 20 else 0
        if not hmac.compare_digest(mark.encode(), self._mark(client, serial).encode()):
            return Verdict.UNKNOWN
        if serial <= self._ended.get(client, 0):
            return Verdict.UNKNOWN
        used = self._of.setdefault(client, {})
        seen = used.setdefault(serial, _Seen())
        if len(used) > SESSIONS:
            self._ended[client] = min(used)
            del used[min(used)]
        return Verdict.FRESH if seen.is_fresh(number) else Verdict.TAKEN

    def _mark(self, client: str, serial: int) -> str:
        return hmac.digest(self.key, f"{serial}\0{client}".encode(), hashlib.sha256).hex()
