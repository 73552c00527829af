"""What the job's status last said of the ledger: what an aggregator compares its store with at the start. Called by __main__.py.

Where nobody can say, the ledger is taken as it is, and the log tells so: training does not wait for the API server.
"""

import asyncio
import logging

from pydantic import ValidationError

from fedaggregator.errors import StatusUnavailableError
from fedaggregator.ports import StatusSink
from fedapi.wire.store import Anchor

log = logging.getLogger(__name__)
_TRIES, _PAUSE_S = 5, 1.0


async def told(sink: StatusSink) -> Anchor | None:
    """Entries and root; None where the status does not have them."""
    for tried in range(_TRIES):
        try:
            said = (await asyncio.to_thread(sink.last)).get("ledger")
        except StatusUnavailableError as error:
            reason = str(error)
            await asyncio.sleep(_PAUSE_S * (tried + 1 < _TRIES))
            continue
        return _anchor(said)
    log.warning("the ledger is not compared with the status", extra={"fields": {"reason": reason}})
    return None


def _anchor(said: object) -> Anchor | None:
    if not isinstance(said, dict):
        return None
    try:
        return Anchor(size=said.get("size"), root=said.get("root"))
    except ValidationError as error:
        log.warning("status.ledger is not read", extra={"fields": {"reason": str(error)}})
        return None
