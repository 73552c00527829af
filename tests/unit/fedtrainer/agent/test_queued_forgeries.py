"""What others put into a site's queue: it is dropped, and said a bounded number of times."""

import logging
from collections import deque
from types import SimpleNamespace

from pydantic import SecretStr

from fedapi.wire import broker
from fedqueue.memory import _Waiting
from fedqueue.opening import _in_memory
from fedtrainer.agent.queued import QueuedTransport
from tests.waiting import until


def test_a_flood_of_forged_messages_does_not_flood_the_log(caplog):
    settings = SimpleNamespace(queues="memory:forged", queues_credentials_dir=None, job_uid="uid", client="berlin")
    queue = broker.site_queue("fedloom", "uid", "berlin")
    there = _in_memory("forged").queues
    there[queue] = deque(_Waiting("{}") for _ in range(300))
    with caplog.at_level(logging.INFO):
        transport = QueuedTransport(settings, SecretStr("token"))
        try:
            until(lambda: not there[queue] and not transport._queues._held)
        finally:
            transport.close()
    assert len([each for each in caplog.records if "is dropped" in each.getMessage()]) == 20
