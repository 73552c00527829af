"""Tells decisions on the release in the ledger of a job that has ended, as the operator hands them over in a file. Beside the engine.

Run by __main__.py as a task. The operator brings the aggregator of a finished job back for this alone, and stops it when
the status says what the ledger tells; where it still runs the file is read as it changes.
"""

import asyncio
import logging
from pathlib import Path

from pydantic import ValidationError

from fedaggregator.engine import approvals
from fedaggregator.engine.approvals import Final
from fedaggregator.engine.engine import Engine
from fedaggregator.errors import FatalError, faults
from fedapi.crd.release import Release, ReleaseStatus
from fedcore.rounds.state import Phase
from fedstore.errors import StoreError

log = logging.getLogger(__name__)
_POLL_S = 0.5


class Telling:
    """Of one job, in this process."""

    def __init__(self, engine: Engine, file: Path) -> None:
        self._engine, self._file = engine, file
        self._seen: bytes | None = None
        self.status: ReleaseStatus | None = None  # what is durable

    async def run(self) -> None:
        """Until the engine stops. What goes wrong for good ends the process."""
        try:
            while not self._engine.stopping:
                await self._look()
                await asyncio.sleep(_POLL_S)
        except FatalError as error:
            self._engine.ended(error)

    async def _look(self) -> None:
        state = self._engine.state
        if state.phase is not Phase.FINISHED or state.tip is None:
            return
        data = await self._engine.under_lock(self._read)
        if data is None or data == self._seen:
            return
        self._seen = data
        try:
            asked = Release.model_validate_json(data)
        except ValidationError as error:
            log.warning("decisions on the release are not usable", extra={"fields": {"reason": faults(error)}})
            return
        try:
            await self._tell(asked, Final(state.config.uid, state.tip.model.sha256), state.tip.previous_sha256)
        except (
            StoreError
        ) as error:  # a tile is read that was replaced meanwhile; what has to end the process has ended it
            log.info("decisions on the release are told later", extra={"fields": {"reason": str(error)}})
            self._seen = None

    def _read(self) -> bytes | None:
        try:
            return self._file.read_bytes()
        except OSError:  # nobody has decided
            return None

    async def _tell(self, asked: Release, final: Final, before: str | None) -> None:
        ledger, retried = self._engine.ledger, self._engine.retried
        await ledger.written(retried)
        entries = await self._engine.under_lock(ledger.since, before)
        status = approvals.told(ledger, asked, final, entries)
        await ledger.written(retried)
        self.status = status
        self._engine.news.set()
