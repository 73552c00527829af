"""What the job's status last said of the ledger: what an aggregator compares its store with at the start. Called by __main__.py.

It is asked for while the store is read. Where nobody can say in time, the ledger is taken as it is, and the log tells so:
training does not wait for the API server.
"""

import asyncio
import contextlib
import logging
from typing import NamedTuple

from pydantic import ValidationError

from fedaggregator.errors import StatusUnavailableError
from fedaggregator.ports import StatusSink
from fedapi.wire.ledger import Anchor

log = logging.getLogger(__name__)
_PAUSE_S = 1.0
_PATIENCE_S = 5.0  # from when it was asked for, whatever a call takes


class Told(NamedTuple):
    """What it says: of which origin the checkpoint was, how many entries it had, and the root."""

    origin: str
    anchor: Anchor


async def told(sink: StatusSink, origin: str) -> Told | None:
    """None where the status does not say it, or says it of another job of that name. `origin`: of the job's first ledger."""
    reason = f"no answer within {_PATIENCE_S:g} s"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                try:
                    return _told((await asyncio.to_thread(sink.last)).get("ledger"), origin)
                except StatusUnavailableError as error:
                    reason = str(error)
                await asyncio.sleep(_PAUSE_S)
    log.warning("the ledger is not compared with the status", extra={"fields": {"reason": reason}})
    return None


def _told(said: object, origin: str) -> Told | None:
    name = str(said.get("publicKey")).partition("+")[0] if isinstance(said, dict) else ""
    if not isinstance(said, dict) or not (name == origin or name.startswith(f"{origin}/")):
        return None
    try:
        return Told(name, Anchor(size=said.get("size"), root=said.get("root")))
    except ValidationError as error:
        log.warning("status.ledger is not read", extra={"fields": {"reason": str(error)}})
        return None
