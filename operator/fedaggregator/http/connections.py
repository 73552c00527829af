"""All open connections, and who gives way when there are too many. Fed by tls.py and by whoever proves a site.

A connection belongs to its peer's address until a request on it shows a site's token or a signed URL; then it belongs
to that site. Who holds most gives way first, its oldest connection before the others: idle or hostile connections can
use up their own share and nobody else's. The newest is never the victim, so a site always gets in.
"""

from typing import Literal, Protocol

from fedaggregator import metrics, refusallog
from fedaggregator.limits import Limits

Holder = tuple[Literal["address", "site"], str]


class Connection(Protocol):
    """What the table needs of a connection."""

    holder: Holder

    def abort(self) -> None:
        """Ends it at once."""

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken."""

    def check(self, now: float) -> str:
        """Why it has to end now; empty when it may go on."""


class Connections:
    """The table."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held: dict[Holder, dict[Connection, None]] = {}
        self._count = self._unauthenticated = 0

    def opened(self, connection: Connection) -> None:
        """A new one, with its peer's address as holder. Another one may have to go."""
        self._add(connection)
        if self._unauthenticated > self._limits.unauthenticated:
            self.end(self._oldest("address"), "Crowded")
        elif self._count > self._limits.connections:
            self.end(self._oldest("address" if self._unauthenticated > 1 else "site"), "Crowded")

    def closed(self, connection: Connection) -> None:
        """It is no more. One that was ended by the table is not in it any longer."""
        held = self._held.get(connection.holder, {})
        if connection not in held:
            return
        del held[connection]
        if not held:
            del self._held[connection.holder]
        self._count -= 1
        self._unauthenticated -= connection.holder[0] == "address"

    def proved(self, connection: Connection, site: str) -> None:
        """It belongs to a site from now on. A site that holds too many loses its oldest."""
        holder: Holder = ("site", site)
        if connection.holder == holder or connection not in self._held.get(connection.holder, {}):
            return
        self.closed(connection)
        connection.holder = holder
        self._add(connection)
        if len(self._held[holder]) > self._limits.connections_per_site:
            self.end(next(iter(self._held[holder])), "Crowded")

    def end(self, connection: Connection, reason: str) -> None:
        """Ends one at once, and says why."""
        self.ended(connection, reason)
        connection.abort()

    def ended(self, connection: Connection, reason: str, detail: str = "") -> None:
        """Takes note that one was ended, and why."""
        self.closed(connection)
        metrics.CONNECTIONS_ENDED.labels(reason).inc()
        if reason not in ("Idle", "Lingering"):  # usual ends
            kind, name = connection.holder
            refusallog.note("connection ended", code=reason, reason=detail, **{kind: name})

    def unsent(self) -> bool:
        """Whether the kernel has still to take something."""
        return any(connection.get_write_buffer_size() for held in self._held.values() for connection in held)

    def abort(self) -> None:
        """Ends all: the process stops."""
        for connection in [each for held in self._held.values() for each in held]:
            connection.abort()

    def sweep(self, now: float) -> None:
        """Ends what is over its time."""
        for connection in [each for held in self._held.values() for each in held]:
            reason = connection.check(now)
            if reason:
                self.end(connection, reason)
        metrics.CONNECTIONS.set(self._count)

    def _add(self, connection: Connection) -> None:
        self._held.setdefault(connection.holder, {})[connection] = None
        self._count += 1
        self._unauthenticated += connection.holder[0] == "address"

    def _oldest(self, kind: str) -> Connection:
        """The oldest connection of the largest holder of that kind."""
        largest = max((held for (of, _), held in self._held.items() if of == kind), key=len)
        return next(iter(largest))
