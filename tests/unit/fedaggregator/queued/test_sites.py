"""The job's queues over a broker in memory: one that lacks some, loses one, or is away when the job is over."""

import asyncio
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from fedaggregator import accesslog
from fedaggregator.errors import RequestRefusedError
from fedaggregator.queued import sites
from fedaggregator.queued.sites import QueuedSites
from fedapi.wire import broker
from fedapi.wire.queued import QueuedRequest
from fedapi.wire.site import Receipt, Refusal, UploadRequest
from fedapi.wire.tokens import site_token
from fedcore.rounds.state import Phase
from fedqueue.errors import QueueMissingError
from fedqueue.memory import Broker, MemoryQueues
from fedqueue.sealing import Seal

UID, SITES = "uid", [f"site-{number:02}" for number in range(40)]
HUB = broker.hub_queue("fedloom", UID)


class Trouble:
    """What the job's status would say."""

    def __init__(self):
        self.of = {}

    def queues_troubled(self, what, why):
        self.of[what] = why


def queued(queues, phase=Phase.COLLECTING):
    roster = SimpleNamespace(by_name=dict.fromkeys(SITES))
    engine = SimpleNamespace(state=SimpleNamespace(config=SimpleNamespace(uid=UID), roster=roster, phase=phase))
    requests = SimpleNamespace(upload=None, update=None, evaluation=None, failure=None, entrust=None, recall=None)
    return QueuedSites(engine, Trouble(), requests, queues, "fedloom", b"key")


@asynccontextmanager
async def running(hub):
    task = asyncio.create_task(hub.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(fact):
    async with asyncio.timeout(10):
        while not fact():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(sites, "_PAUSE_S", 0.001)
    monkeypatch.setattr(sites, "_POLL_S", 0.001)


def queue_of(site):
    return broker.site_queue("fedloom", UID, site)


def test_sites_whose_queues_are_missing_keep_no_other_from_its_own():
    missing = [queue_of(site) for site in SITES[:20]]

    class Rights(MemoryQueues):
        async def make(self, queue):
            if queue in missing:
                raise QueueMissingError(f"there is no queue {queue!r}, and it may not be made")
            await super().make(queue)

    async def story():
        queues = Rights(where := Broker())
        async with running(hub := queued(queues)):
            await until(lambda: {queue_of(site) for site in SITES[20:]} <= where.queues.keys())
            await until(lambda: "may not be made" in hub._publisher.of.get("queues", ""))
            missing.clear()
            await until(lambda: hub._publisher.of["queues"] == "")
        assert all(len(where.queues[queue_of(site)]) == 1 for site in SITES), "each is told once"

    asyncio.run(story())


def test_the_hubs_queue_that_somebody_deleted_is_made_again():
    async def story():
        async with running(queued(MemoryQueues(where := Broker()))):
            await until(lambda: HUB in where.queues)
            del where.queues[HUB]
            await until(lambda: HUB in where.queues)

    asyncio.run(story())


def test_a_job_that_is_over_ends_although_its_broker_is_away(monkeypatch):
    class Away(MemoryQueues):
        async def remove(self, _queue):
            await asyncio.Event().wait()

    async def story():
        monkeypatch.setattr(sites, "_REMOVING_S", 0.01, raising=False)
        async with asyncio.timeout(5):
            await queued(Away(Broker()), Phase.FINISHED).close()

    asyncio.run(story())


def test_a_job_that_is_over_leaves_no_queue():
    async def story():
        hub = queued(MemoryQueues(where := Broker()), Phase.FINISHED)
        async with running(hub):
            await until(lambda: len(hub._made) == len(SITES))
        await hub.close()
        assert where.queues == {}

    asyncio.run(story())


@pytest.mark.parametrize("deleted", [True, False])
def test_a_job_that_is_deleted_before_its_end_leaves_none_either(deleted):
    async def story():
        queues, other = MemoryQueues(where := Broker()), "fedloom-other-hub"
        for name in (HUB, *map(queue_of, SITES), other):  # by an earlier life of the aggregator
            await queues.make(name)
        before = set(where.queues)
        await queued(queues).close(deleted=deleted)
        assert set(where.queues) == ({other, other + broker.DEAD} if deleted else before)

    asyncio.run(story())


class Requests:
    """Takes an upload of round 1, and refuses those of others."""

    evaluation = failure = entrust = recall = update = None

    async def admit(self, _client, _doubt):
        """Everybody."""

    async def heard(self, _client):
        """Nothing."""

    async def refused(self, _client, _refusal):
        """Nothing."""

    async def upload(self, _client, asked):
        if asked.round != 1:
            raise RequestRefusedError(Refusal(code="StaleRound", message="it is over"))
        return Receipt(accepted=True)


def test_each_call_by_queue_is_in_the_access_log(monkeypatch):
    seal, written = Seal(site_token(b"key", SITES[0]), UID, SITES[0]), []
    monkeypatch.setattr(accesslog, "write", lambda made, _seconds=0.0: written.append(made))

    async def story():
        hub = queued(queues := MemoryQueues(Broker()))
        hub._requests, hub._takes["uploads"] = Requests(), (UploadRequest, Requests().upload)
        session = hub._sessions.offered(SITES[0])
        async with running(hub):
            await until(lambda: len(hub._made) == len(SITES))
            for number, round_, fresh in ((1, 1, True), (2, 9, True), (2, 9, False)):
                body = UploadRequest(round=round_, attempt=1, sha256="0" * 64, size=1).model_dump_json()
                request = QueuedRequest(session=session, number=number, path="uploads", body=body)
                await queues.send(HUB, seal.sealed("to hub", request.model_dump_json().encode()).model_dump_json())
                await until(lambda most=number + (not fresh): len(written) == most)
            await queues.send(HUB, json.dumps({"no": "envelope"}))
            await until(lambda: len(written) == 4)

    asyncio.run(story())
    told = [(each.transport, each.action, each.client, each.identity, each.round, each.outcome) for each in written]
    assert told == [
        ("Queue", "uploads", SITES[0], "Seal", 1, ""),
        ("Queue", "uploads", SITES[0], "Seal", 9, "StaleRound"),
        ("Queue", "uploads", SITES[0], "Seal", None, "Replayed"),
        ("Queue", "", "", "", None, "Unauthorized"),
    ]
