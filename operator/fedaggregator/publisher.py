"""Writes the status when the state changes: at most a few times a second, the last state always. Runs beside the engine.

Of many sites a status takes longer to make, so it is made less often: what it costs does not grow with their square. How
it ends is told at once.
"""

import asyncio
import contextlib
import json
import logging
import time

from fedaggregator import metrics
from fedaggregator.bucketcheck import BucketCheck
from fedaggregator.engine.engine import Engine
from fedaggregator.engine.telling import Telling
from fedaggregator.errors import StatusUnavailableError
from fedaggregator.heartbeats import Heartbeats
from fedaggregator.patience import Patience
from fedaggregator.ports import StatusSink
from fedaggregator.status import status
from fedapi.crd.job_status import AttestationStatus
from fedapi.jsonvalue import JsonView

log = logging.getLogger(__name__)
_INTERVAL_S = 0.25  # between two writes
_SHARE = 50.0  # and at least so many times what one took to make
_RETRY_S = 2.0
_FIRST_LOOK_S = 10.0  # at the bucket's settings, which took as long as the recovery already


class Publisher:
    """Keeps a sink up to date."""

    def __init__(
        self,
        engine: Engine,
        sink: StatusSink,
        bucket: BucketCheck | None = None,
        attestation: AttestationStatus | None = None,
        telling: Telling | None = None,
    ) -> None:
        self._attestation, self._telling = attestation, telling
        self._engine, self._sink, self._bucket = engine, sink, bucket
        self._written, self._took_s = "", 0.0
        self._queue_troubles: dict[str, str] = {}
        self._patience = Patience(engine.clock)
        self._heartbeats = Heartbeats(engine.clock, sink, self._patience)

    def queues_troubled(self, what: str, trouble: str) -> None:
        """What is wrong with a part of the queues now; empty when nothing is. Rounds go on over HTTPS."""
        if trouble != self._queue_troubles.get(what, ""):
            self._queue_troubles[what] = trouble
            self._engine.news.set()

    def heard(self, client: str) -> None:
        """A site said something: its heartbeat is renewed before long."""
        self._heartbeats.heard(client)

    async def job_deleted(self) -> bool:
        """Whether nobody goes on with the job, asked when this process is stopped."""
        return await asyncio.to_thread(self._sink.job_deleted)

    async def run(self) -> None:
        """Until the engine stops; the last state is written before it returns. FatalError when reports stay refused."""
        if self._bucket is not None:
            await self._bucket.first_look(_FIRST_LOOK_S)
        while True:
            self._engine.news.clear()
            last = self._engine.stopping
            done = await self.publish()
            if last:
                return
            await asyncio.sleep(_INTERVAL_S if done else _RETRY_S)
            if done:
                await self._pause(_SHARE * self._took_s - _INTERVAL_S)
            await self._news(wait=done)

    async def _pause(self, seconds: float) -> None:
        """Or until what comes is the end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._engine.over.wait()

    async def _news(self, *, wait: bool) -> None:
        """Waits for a change of the state, if that is what a write waits for; raises when reports stay refused."""
        if wait:
            waiting = asyncio.ensure_future(self._engine.news.wait())
            await asyncio.wait((waiting, self._patience.final), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
        if self._patience.final.done():
            self._patience.final.result()

    async def publish(self) -> bool:
        """Writes the status if it differs from the last one written; whether the sink has it now."""
        began_s = time.thread_time()
        queues = "; ".join(filter(None, self._queue_troubles.values()))
        storage = self._bucket.found if self._bucket else None
        ledger = self._engine.ledger.status()
        release = self._telling.status if self._telling else None
        now = status(self._engine.state, self._engine.trouble, queues, storage, ledger, self._attestation, release)
        text = json.dumps(now, sort_keys=True)
        self._took_s = time.thread_time() - began_s
        if text == self._written:
            return True
        return await self._write(now, text)

    async def _write(self, now: JsonView, text: str) -> bool:
        try:
            await asyncio.to_thread(self._sink.publish, now)
        except StatusUnavailableError as error:
            metrics.STATUS_FAILURES.inc()
            self._patience.status(error)
            log.warning("status was not written", extra={"fields": {"reason": str(error)}})
            return False
        self._written = text
        self._patience.taken()
        return True
