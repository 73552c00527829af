"""The one writer of a store without conditional writes: which fence it has, and from when to when. Called by __main__.py.

With other stores there is none: they decide themselves between two aggregators.
"""

import asyncio
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from fedaggregator.adapters.filelock import FileLock
from fedaggregator.engine.engine import Engine
from fedaggregator.errors import SupersededError
from fedaggregator.lease import JobLease
from fedaggregator.ports import SoleWriter
from fedaggregator.settings import Settings
from fedapi.wire import location
from fedapi.wire.location import S3, UnknownLocationError
from fedstore.errors import UnknownStoreError

LOCK_FILE = "aggregator.lock"  # beside the status file of a run without Kubernetes


def chosen(settings: Settings) -> SoleWriter | None:
    """What the store's place asks for: the job's Lease, or, where the status is a file, a lock beside it."""
    try:
        place = location.parsed(settings.store)
    except UnknownLocationError as error:
        raise UnknownStoreError(str(error)) from error
    if not (isinstance(place, S3) and place.fence):
        return None
    if settings.status.startswith("file:"):
        return FileLock(Path(settings.status.removeprefix("file:")).with_name(LOCK_FILE))
    from fedaggregator.adapters.kubernetes import KubernetesLease  # noqa: PLC0415 - costs 100 MB where it is not used

    me = f"{socket.gethostname()}-{secrets.token_hex(4)}"  # a restarted container is another writer than the one before
    return JobLease(KubernetesLease(settings.namespace, settings.job), me)


async def begun(writer: SoleWriter | None, used: Callable[[], bool], engine: Engine) -> None:
    """Returns when this process may write. The engine ends when it may no longer."""
    if writer is None:
        return
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(writer.take, used=used)

    def lost() -> None:
        loop.call_soon_threadsafe(lambda: engine.ended(SupersededError()))

    writer.keep(lost)
