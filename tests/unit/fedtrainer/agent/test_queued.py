"""A site's questions by queue, of which the newest for work is the one that is answered."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from pydantic import SecretStr

from fedtrainer.agent import queued
from fedtrainer.agent.patience import SupersededError
from fedtrainer.settings import TrainerSettings
from tests.waiting import PATIENCE_S


class Unanswered:
    """Queues that take what is sent; nobody answers."""

    def __init__(self):
        self.sent = threading.Semaphore(0)

    async def send(self, queue, body):
        self.sent.release()

    async def receive(self, queue, wait_s):
        await asyncio.Event().wait()

    async def close(self):
        pass


def test_a_later_question_for_work_ends_the_one_before_and_no_other(monkeypatch):
    queues = Unanswered()
    monkeypatch.setattr(queued, "open_queues", lambda place, credentials: queues)
    settings = TrainerSettings.model_construct(
        queues="memory:any", queues_credentials_dir=None, job_uid="uid", client="oslo"
    )
    with closing(queued.QueuedTransport(settings, SecretStr("token"))) as transport, ThreadPoolExecutor(3) as pool:
        asked = []
        for path in ("updates", "next", "next"):
            asked.append(pool.submit(transport.post, path, b"{}", 2 * PATIENCE_S))
            assert queues.sent.acquire(timeout=PATIENCE_S)
        with pytest.raises(SupersededError):
            asked[1].result(PATIENCE_S)
        assert [each.done() for each in asked] == [False, True, False]
        transport._fail_all("the test is over")
