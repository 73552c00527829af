"""What the job's status last said of the ledger: what an aggregator compares its store with at the start. Called by __main__.py.

It is asked for while the store is read. Where nobody can say in time, the ledger is taken as it is, and the log tells so:
training does not wait for the API server.
"""

import asyncio
import contextlib
import logging

from pydantic import ValidationError

from fedaggregator.errors import StatusUnavailableError
from fedaggregator.ports import StatusSink
from fedapi.wire.store import Anchor

log = logging.getLogger(__name__)
_PAUSE_S = 1.0
_PATIENCE_S = 5.0  # from when it was asked for, whatever a call takes


async def told(sink: StatusSink, origin: str) -> Anchor | None:
    """Entries and root; None where the status does not have them, or has those of another job of that name."""
    reason = f"no answer within {_PATIENCE_S:g} s"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                try:
                    return _anchor((await asyncio.to_thread(sink.last)).get("ledger"), origin)
                except StatusUnavailableError as error:
                    reason = str(error)
                await asyncio.sleep(_PAUSE_S)
    log.warning("the ledger is not compared with the status", extra={"fields": {"reason": reason}})
    return None


def _anchor(said: object, origin: str) -> Anchor | None:
    if not isinstance(said, dict) or not str(said.get("publicKey")).startswith(f"{origin}+"):
        return None
    try:
        return Anchor(size=said.get("size"), root=said.get("root"))
    except ValidationError as error:
        log.warning("status.ledger is not read", extra={"fields": {"reason": str(error)}})
        return None
