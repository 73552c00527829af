"""A site's questions by queue, of which the newest for work is the one that is answered."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from queue import SimpleQueue

import pytest
from pydantic import SecretStr

from fedapi.wire.queued import QueuedAnswer, QueuedRequest
from fedqueue import sealing
from fedqueue.port import Delivery
from fedqueue.sealing import Seal
from fedtrainer.agent import queued
from fedtrainer.agent.patience import SupersededError
from fedtrainer.settings import TrainerSettings
from tests.waiting import PATIENCE_S


class Hub:
    """Queues that take what the site sends, and deliver to it what the test says."""

    def __init__(self):
        self.sent, self.answers = SimpleQueue(), asyncio.Queue()
        self.seal = Seal("token", "uid", "oslo")

    async def send(self, queue, body):
        self.sent.put(sealing.envelope(body))

    async def receive(self, queue, wait_s):
        return [await self.answers.get()]

    async def settle(self, delivery):
        pass

    async def close(self):
        pass

    def request(self):
        """The next one of the site: its envelope's nonce and what was sealed."""
        envelope = self.sent.get(timeout=PATIENCE_S)
        return envelope.nonce, QueuedRequest.told(self.seal.opened("to hub", envelope))

    def answer(self, transport, **values):
        sealed = self.seal.sealed("to site", QueuedAnswer(**values).model_dump_json().encode())
        delivery = Delivery("own", sealed.model_dump_json(), False, None)
        transport._loop.call_soon_threadsafe(self.answers.put_nowait, delivery)


@pytest.fixture
def hub(monkeypatch):
    queues = Hub()
    monkeypatch.setattr(queued, "open_queues", lambda place, credentials: queues)
    return queues


@pytest.fixture
def transport(hub):
    settings = TrainerSettings.model_construct(
        queues="memory:any", queues_credentials_dir=None, job_uid="uid", client="oslo"
    )
    with closing(queued.QueuedTransport(settings, SecretStr("token"))) as made:
        yield made


@pytest.fixture
def pool(transport):
    with ThreadPoolExecutor(3) as made:
        yield made
        transport._loop.call_soon_threadsafe(transport._fail_all, "the test is over")


def test_a_later_question_for_work_ends_the_one_before_and_no_other(hub, transport, pool):
    asked = []
    for path in ("updates", "next", "next"):
        asked.append(pool.submit(transport.post, path, b"{}", 2 * PATIENCE_S))
        hub.request()
    with pytest.raises(SupersededError):
        asked[1].result(PATIENCE_S)
    assert [each.done() for each in asked] == [False, True, False]


def test_a_hub_that_begins_anew_right_after_it_offered_a_session_is_asked_again(hub, transport, pool):
    asked = pool.submit(transport.post, "next", b"{}", 2 * PATIENCE_S)
    first, request = hub.request()
    assert request.session == ""
    hub.answer(transport, kind="Session", to=first, session="1.a")
    _, request = hub.request()
    assert (request.session, request.number) == ("1.a", 1)
    hub.answer(transport, kind="Restarted")
    hub.answer(transport, kind="Restarted")  # said twice, it is asked once
    last, request = hub.request()
    assert (request.session, request.number, request.path) == ("1.a", 2, "next")
    hub.answer(transport, to=last, body="{}")
    assert asked.result(PATIENCE_S) == (200, b"{}")
    assert hub.sent.empty()
