"""The store's word that an object was written: S3 event notifications, as SQS and AMQP deliver them.

A hint and no more: what is named is looked at in the store, as a manifest makes the aggregator look at it, so that a
notification that is doubled, late, foreign or made up changes nothing. What nobody tells is looked at all the same.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_plus

from fedaggregator import metrics
from fedaggregator.engine.engine import Engine
from fedaggregator.ports import Delivery
from fedapi.wire import storekey
from fedapi.wire.location import S3
from fedapi.wire.message import ObjectRef
from fedapi.wire.storekey import UpdateKey
from fedcore.rounds import admission
from fedqueue.errors import QueueUnavailableError
from fedqueue.port import Queues
from fedstore.errors import StoreError
from fedstore.presigning import PresigningStore

_POLL_S, _PAUSE_S = 20.0, 5.0
_MOST_SEEN = 20_000  # two of each site of the largest job
_MOST_RECORDS = 100  # of one notification; S3 sends one


class LookedAt:
    """Delivery of which some objects were looked at when the store told of them: their hand-in does not wait for that."""

    def __init__(self, delivery: Delivery, store: PresigningStore, engine: Engine) -> None:
        self._delivery, self._store, self._engine = delivery, store, engine
        self.offer, self.grant = delivery.offer, delivery.grant
        self._seen: dict[ObjectRef, None] = {}  # in the order in which they were looked at

    def arrived(self, upload: ObjectRef) -> None:
        """As the delivery itself finds it, now or before."""
        if upload not in self._seen:
            self._delivery.arrived(upload)

    async def look(self, key: str) -> bool:
        """Whether the key is that of an update which the open attempt waits for; it is looked at then."""
        state = self._engine.state
        said = storekey.parsed(state.layout, key)
        if not isinstance(said, UpdateKey) or not admission.expected(state, said.client, said.round):
            return False
        with contextlib.suppress(StoreError):  # its hand-in meets the same, and says so
            ref = await self._engine.blocking(self._look, key, said.sha256)
            if ref is not None:
                self._seen[ref] = None
                if len(self._seen) > _MOST_SEEN:
                    del self._seen[next(iter(self._seen))]
        return True

    def _look(self, key: str, sha256: str) -> ObjectRef | None:
        """What is there as its key says. What is not is left: its hand-in deletes it, one at a time and before another comes."""
        size = self._store.size(key)
        ref = None if size is None else ObjectRef(key=key, sha256=sha256, size=size)
        return None if ref is None or self._store.arrived(ref) else ref


class Arrivals:
    """Notifications of one bucket."""

    def __init__(
        self, queues: Queues, queue: str, where: S3, delivery: LookedAt, troubled: Callable[[str, str], None]
    ) -> None:
        self._queues, self._queue, self._where = queues, queue, where
        self._delivery, self._troubled = delivery, troubled

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                deliveries = await self._queues.receive(self._queue, _POLL_S)
                self._troubled("arrivals", "")
                for delivery in deliveries:
                    for key in keys(delivery.body, self._where):
                        taken = await self._delivery.look(key)
                        metrics.ARRIVALS.labels("Looked" if taken else "Foreign").inc()
                    await self._queues.settle(delivery)
            except QueueUnavailableError as error:
                self._troubled(
                    "arrivals",
                    f"notifications of the bucket do not come, updates are looked at when they are handed in: {error}",
                )
                await asyncio.sleep(_PAUSE_S)


def keys(body: str, where: S3) -> tuple[str, ...]:
    """Keys of the store, below its prefix, that a notification says were created; none of what is no such notification."""
    try:
        records = json.loads(body)["Records"][:_MOST_RECORDS]
        said = [_created(record) for record in records]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ()
    prefix = f"{where.prefix}/" if where.prefix else ""
    mine = (key for bucket, key in filter(None, said) if bucket == where.bucket and key.startswith(prefix))
    return tuple(key.removeprefix(prefix) for key in mine)


def _created(record: Any) -> tuple[str, str] | None:
    """Bucket and key. Keys are encoded as in a form."""
    if not record["eventName"].removeprefix("s3:").startswith("ObjectCreated:"):
        return None
    return str(record["s3"]["bucket"]["name"]), unquote_plus(record["s3"]["object"]["key"])
