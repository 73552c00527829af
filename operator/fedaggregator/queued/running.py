"""Puts the queues of a job together where its settings say that there are some. Called by __main__."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fedaggregator.engine.engine import Engine
from fedaggregator.errors import FatalError
from fedaggregator.ports import Delivery
from fedaggregator.publisher import Publisher
from fedaggregator.queued.arrivals import Arrivals, LookedAt
from fedaggregator.queued.sites import QueuedSites
from fedaggregator.requests.sites import SiteRequests
from fedaggregator.settings import Settings
from fedapi import names
from fedapi.outcome import Exit
from fedapi.wire import location
from fedapi.wire.location import S3
from fedqueue.errors import UnknownQueuesError
from fedqueue.opening import open_queues, parsed
from fedstore.objectstore import ObjectStore
from fedstore.presigning import PresigningStore


def looked_at(settings: Settings, delivery: Delivery, store: ObjectStore, engine: Engine) -> Delivery:
    """The delivery, or one that is told what arrives."""
    if not settings.arrivals_queue:
        return delivery
    if not isinstance(location.parsed(settings.store), S3) or not isinstance(store, PresigningStore):
        message = (
            f"{names.ENV_ARRIVALS_QUEUE}={settings.arrivals_queue!r}: only a bucket of S3 tells what arrives in it"
        )
        raise FatalError(Exit.BAD_SETTINGS, message)
    return LookedAt(delivery, store, engine)


@asynccontextmanager
async def queues(
    settings: Settings, engine: Engine, publisher: Publisher, requests: SiteRequests, delivery: Delivery, job_key: bytes
) -> AsyncIterator[None]:
    """Sites are served by queue too, as long as this lasts; nothing happens where the job has none."""
    if not settings.queues:
        yield
        return
    try:
        place = parsed(settings.queues)
        opened = open_queues(place, settings.queues_credentials_dir)
    except UnknownQueuesError as error:
        raise FatalError(Exit.BAD_SETTINGS, f"{names.ENV_QUEUES}: {error}") from error
    sites = QueuedSites(engine, publisher, requests, opened, place.prefix, job_key)
    running = [asyncio.create_task(sites.run())]
    where = location.parsed(settings.store)
    if isinstance(delivery, LookedAt) and isinstance(where, S3):
        told = Arrivals(opened, settings.arrivals_queue, where, delivery, publisher.queues_troubled)
        running.append(asyncio.create_task(told.run()))
    for task in running:
        task.add_done_callback(lambda done: _ended(engine, done))
    deleted = False
    try:
        yield
        deleted = await publisher.job_deleted()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await sites.close(deleted=deleted)


def _ended(engine: Engine, task: "asyncio.Task[None]") -> None:
    """An error that nobody has foreseen ends the process: what it should have done is done after the restart."""
    if not task.cancelled() and isinstance(error := task.exception(), Exception):
        engine.ended(error)
