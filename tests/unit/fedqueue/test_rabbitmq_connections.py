"""What becomes of connections that come to nothing: they are ended, by whom they were begun."""

import asyncio
import gc
import socket
import threading

import pytest

from fedapi.wire.broker import RabbitMQ
from fedqueue import rabbitmq
from fedqueue.errors import QueueUnavailableError
from fedqueue.rabbitmq import RabbitQueues


def test_a_connection_to_a_broker_that_says_nothing_is_ended(monkeypatch):
    """Collected as it is, it would try to close itself, in whatever thread the collector runs: a warning, which is an error here."""
    monkeypatch.setattr(rabbitmq, "CONNECT_S", 0.1)
    loop = asyncio.new_event_loop()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        queues = RabbitQueues(RabbitMQ("127.0.0.1", silent.getsockname()[1], "/", False), None)
        with pytest.raises(QueueUnavailableError):
            loop.run_until_complete(queues.send("q", "body"))
        collecting = threading.Thread(target=gc.collect)
        collecting.start()
        collecting.join()
    loop.close()
