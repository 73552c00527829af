"""Looks at the bucket's settings with the aggregator's own rights: at the start, and once a day. Changes nothing and tries nothing.

What it finds is a leaf of the status, from which the operator derives StorageSafe. What may not be asked is told as that. Nothing of
the job waits for it, and nothing that goes wrong here ends anything.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from fedaggregator.ports import Clock
from fedaggregator.timetext import time_text
from fedapi.crd.job_status import StorageFinding, StorageStatus
from fedapi.wire import location
from fedapi.wire.location import S3, Cloud
from fedstore.care.opening import care_of
from fedstore.care.wanted import Finding, Wanted

log = logging.getLogger(__name__)
_DAY_S, _RETRY_S = 86_400.0, 600.0
_STATES = {"missing": "Missing", "cannot": "Cannot", "unknown": "Unknown"}
Look = Callable[[], Iterable[Finding]]  # blocks


class BucketCheck:
    """Of one bucket. `news`: called when there is something new to tell."""

    def __init__(self, look: Look, news: Callable[[], None], clock: Clock) -> None:
        self._look, self._news, self._clock = look, news, clock
        self._looked = asyncio.Event()
        self.found: StorageStatus | None = None

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            wait_s = _DAY_S if await self._look_once() else _RETRY_S
            self._looked.set()
            await asyncio.sleep(wait_s)

    async def first_look(self, within_s: float) -> None:
        """Waits for it: a status without these facts would take back what the process before had found."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._looked.wait(), within_s)

    async def _look_once(self) -> bool:
        try:
            found = facts(await asyncio.to_thread(lambda: tuple(self._look())), self._clock())
        except Exception as error:  # noqa: BLE001 - whatever an SDK or a server comes up with, training goes on
            text = f"{type(error).__name__}: {error}"
            log.warning("the bucket's settings were not looked at", extra={"fields": {"reason": text[:1000]}})
            return False
        log.info("looked at the bucket's settings", extra={"fields": found.dump()})
        self.found = found
        self._news()
        return True


def facts(findings: Iterable[Finding], now: float) -> StorageStatus:
    """As the status has them."""
    found = tuple(findings)
    others = [_finding(each) for each in found if each.state != "kept"]
    return StorageStatus(checked_time=time_text(now), kept=len(found) - len(others), findings=others[:32])


def _finding(found: Finding) -> StorageFinding:
    return StorageFinding.model_validate(
        {
            "requirement": found.what,
            "topic": found.topic,
            "state": _STATES[found.state],
            "message": found.remark[:1024],
        }
    )


def look_at(where: str, credentials: Path | None, regions: tuple[str, ...]) -> Look | None:
    """How the settings of a store are looked at; None: it has none."""
    place = location.parsed(where)
    if not isinstance(place, Cloud):
        return None
    key = place.kms_key if isinstance(place, S3) else ""  # of the others the place says it

    def look() -> Iterable[Finding]:
        return care_of(place, credentials, Wanted.by_whoever_set_it(key, regions)).check(by_writing=False)

    return look
