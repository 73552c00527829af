"""The contract of queues: one suite over memory, moto's SQS and a real RabbitMQ."""

import asyncio
import signal
import subprocess
import sys
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiormq
import pytest
from pamqp import encode
from pamqp.commands import Basic

from fedapi.wire import broker
from fedapi.wire.broker import DEAD, MOST_BYTES, InMemory, Sqs
from fedqueue.errors import MessageTooLargeError, QueueDeniedError, QueueMissingError, QueueUnavailableError
from fedqueue.memory import Broker, MemoryQueues
from fedqueue.opening import open_queues
from fedqueue.port import DELIVERIES
from fedqueue.sqs import SqsQueues
from tests.servers import rabbitmq
from tests.waiting import PATIENCE_S

DEAD_AFTER_S = 2  # from the death of an SQS receiver to the next delivery
HELD_S = 15  # within a third of it SQS hears of a living receiver: another two thirds are for a slow machine


@dataclass
class Place:
    """Where the queues of one test are, and a consumer's way to them."""

    where: broker.Broker
    credentials: Path | None
    memory: Broker

    def open(self):
        match self.where:
            case InMemory():
                return MemoryQueues(self.memory)
        return open_queues(self.where, self.credentials)

    @asynccontextmanager
    async def consumer(self):
        queues = self.open()
        try:
            yield queues
        finally:
            await queues.close()


def rabbit_place(server):
    return broker.parsed(server.url.replace("guest:guest@", ""))


@pytest.fixture(params=["memory", "sqs", "rabbitmq"])
def place(request, tmp_path):
    if request.param == "memory":
        return Place(InMemory("x"), None, Broker())
    if request.param == "sqs":
        server = request.getfixturevalue("moto")
        return Place(Sqs("us-east-1", server.endpoint), server.credentials(tmp_path / "keys"), Broker())
    return Place(rabbit_place(request.getfixturevalue("rabbitmq")), None, Broker())


@pytest.fixture
def name():
    return f"fedloom-{uuid.uuid4()}-hub"


async def received(queues, queue, count):
    """So many messages, settled."""
    got = []
    async with asyncio.timeout(PATIENCE_S):
        while len(got) < count:
            for delivery in await queues.receive(queue, 1.0):
                await queues.settle(delivery)
                got.append(delivery.body)
    return got


async def received_all(queues, queue):
    """What is buffered comes first."""
    while await queues.receive(queue, 1.0):
        pass


def test_what_is_sent_is_received_once_it_is_settled(place, name):
    async def story():
        async with place.consumer() as queues:
            await queues.make(name)
            await queues.make(name)  # nothing happens to what is there
            bodies = [f'{{"number": {number}, "text": "Grüße\\n"}}' for number in range(25)]
            for body in bodies:
                await queues.send(name, body)
            assert sorted(await received(queues, name, 25)) == sorted(bodies)
            assert list(await queues.receive(name, 0.0)) == []

    asyncio.run(story())


def test_a_receiver_waits_until_there_is_something(place, name):
    async def story():
        async with place.consumer() as queues, place.consumer() as sender:
            await queues.make(name)
            waiting = asyncio.create_task(received(queues, name, 1))
            await asyncio.sleep(0)
            await sender.send(name, "news")
            assert await waiting == ["news"]

    asyncio.run(story())


def test_what_is_not_settled_is_delivered_again(place, name):
    async def story():
        async with place.consumer() as first:
            await first.make(name)
            await first.send(name, "again")
            (delivery,) = await first.receive(name, PATIENCE_S)
            assert (delivery.body, delivery.again) == ("again", False)
        async with place.consumer() as second:
            async with asyncio.timeout(PATIENCE_S):
                while not (got := await second.receive(name, 1.0)):
                    pass
            assert [(one.body, one.again) for one in got] == [("again", True)]
            await second.settle(got[0])

    asyncio.run(story())


async def dead_letter(queues, queue):
    """The dead letter, settled; None when the message itself is delivered, which is not."""
    async with asyncio.timeout(PATIENCE_S):
        while not await queues.receive(queue, 1.0):
            for delivery in await queues.receive(queue + DEAD, 0.0):
                await queues.settle(delivery)
                return delivery.body
    return None


def test_what_never_is_settled_ends_among_the_dead_letters(place, name):
    async def story():
        async with place.consumer() as queues:
            await queues.make(name)
            await queues.send(name, "poison")
        dead, deliveries = None, -1
        while dead is None and deliveries <= DELIVERIES:
            deliveries += 1
            async with place.consumer() as queues:
                dead = await dead_letter(queues, name)
        assert (dead, deliveries) == ("poison", DELIVERIES)
        async with place.consumer() as queues:
            for each in (name, name + DEAD):
                assert list(await queues.receive(each, 0.0)) == []

    asyncio.run(story())


def test_a_message_that_is_too_large_is_refused_and_the_largest_is_not(place, name):
    async def story():
        async with place.consumer() as queues:
            await queues.make(name)
            with pytest.raises(MessageTooLargeError, match=str(MOST_BYTES)):
                await queues.send(name, "ü" * (MOST_BYTES // 2) + "x")
            await queues.send(name, "x" * MOST_BYTES)
            assert [len(body) for body in await received(queues, name, 1)] == [MOST_BYTES]

    asyncio.run(story())


def test_a_queue_that_nobody_made_is_missing(place, name):
    async def story():
        async with place.consumer() as queues:
            with pytest.raises(QueueMissingError, match=name):
                await queues.send(name, "lost")
            with pytest.raises(QueueMissingError, match=name):
                await queues.receive(name, 0.0)
            await queues.make(name)
            await queues.send(name, "there")
            assert await received(queues, name, 1) == ["there"]

    asyncio.run(story())


def test_a_removed_queue_is_gone_with_its_dead_letters(place, name):
    async def story():
        async with place.consumer() as queues:
            await queues.make(name)
            await queues.remove(name)
            await queues.remove(name)
        async with place.consumer() as queues:  # SQS: whoever knew the queue learns it at the next call
            for gone in (name, name + DEAD):
                with pytest.raises(QueueMissingError):
                    await queues.send(gone, "lost")

    asyncio.run(story())


_RECEIVER = """
import asyncio, sys
from pathlib import Path
from fedapi.wire import broker
from fedqueue.opening import open_queues
from fedqueue.sqs import SqsQueues

async def main(where, name, credentials, hidden_s):
    place = broker.parsed(where)
    folder = Path(credentials) if credentials else None
    queues = SqsQueues(place, folder, hidden_s) if where.startswith("sqs") else open_queues(place, folder)
    while not (got := await queues.receive(name, 1.0)):
        pass
    print(got[0].body, flush=True)
    await asyncio.sleep(600)

asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
"""


def test_a_killed_receiver_loses_nothing(place, name):
    if isinstance(place.where, InMemory):
        pytest.skip("memory has no other process")

    async def sent():
        async with place.consumer() as queues:
            await queues.make(name)
            await queues.send(name, "precious")

    async def again():
        async with place.consumer() as queues:
            return await received(queues, name, 1)

    asyncio.run(sent())
    arguments = [place.where.text(), name, str(place.credentials or ""), str(DEAD_AFTER_S)]
    receiver = subprocess.Popen([sys.executable, "-c", _RECEIVER, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == "precious\n"
    finally:
        receiver.send_signal(signal.SIGKILL)
        receiver.wait(PATIENCE_S)
        receiver.stdout.close()
    assert asyncio.run(again()) == ["precious"]


def test_an_endpoint_or_a_secret_that_is_none_is_told_by_its_place(moto, tmp_path, name):
    async def told(endpoint, credentials):
        async with Place(Sqs("us-east-1", endpoint), credentials, Broker()).consumer() as queues:
            with pytest.raises(QueueUnavailableError, match="sqs:fedloom"):
                await queues.receive(name, 0.0)

    credentials = moto.credentials(tmp_path / "keys")
    asyncio.run(told("https://sqs..example:8443", credentials))
    (credentials / "AWS_SECRET_ACCESS_KEY").write_bytes(b"\xff\xfe")
    asyncio.run(told(moto.endpoint, credentials))


def test_a_held_sqs_message_stays_hidden_as_long_as_its_receiver_lives(moto, tmp_path, name):
    async def story():
        where, keys = Sqs("us-east-1", moto.endpoint), moto.credentials(tmp_path / "keys")
        holder, other = (SqsQueues(where, keys, HELD_S) for _ in range(2))
        async with AsyncExitStack() as open_ones:
            for each in (holder, other):
                open_ones.push_async_callback(each.close)
            await holder.make(name)
            await holder.send(name, "held")
            (delivery,) = await holder.receive(name, PATIENCE_S)
            loop = asyncio.get_running_loop()
            until = loop.time() + HELD_S + 1
            while loop.time() < until:
                assert list(await other.receive(name, 1.0)) == []
            await holder.settle(delivery)

    asyncio.run(story())


def test_what_reaches_a_poll_that_was_cancelled_is_delivered_to_others(moto, tmp_path, name):
    """Its thread waits on: an aggregator that hands over to another would hide the first question from it."""
    where, keys = Sqs("us-east-1", moto.endpoint), moto.credentials(tmp_path / "keys")

    async def story():
        first, second = (SqsQueues(where, keys, hidden_s=12 * 3600) for _ in range(2))
        await first.make(name)
        polling = asyncio.create_task(first.receive(name, 20.0))
        await asyncio.sleep(
            0.5
        )  # the poll most likely is at the broker by now; if not, the message is the second's anyway
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        await second.send(name, "news")
        assert await received(second, name, 1) == ["news"]
        await first.close()
        await second.close()

    asyncio.run(story())


def test_confirmed_messages_survive_a_killed_broker_and_both_ends_go_on(tmp_path, name):
    async def story(server):
        place = Place(rabbit_place(server), None, Broker())
        async with place.consumer() as receiver, place.consumer() as sender:
            await receiver.make(name)
            for number in range(200):
                await sender.send(name, f"before {number}")
            (held, *_) = await receiver.receive(name, PATIENCE_S)
            await asyncio.to_thread(server.process.end, signal.SIGKILL)
            with pytest.raises(QueueUnavailableError):
                await sender.send(name, "into the void")
            with pytest.raises(QueueUnavailableError):
                await received_all(receiver, name)
            with pytest.raises(QueueUnavailableError):
                await receiver.settle(held)
            await asyncio.to_thread(server.process.start)
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    try:
                        await sender.send(name, "after")
                        break
                    except QueueUnavailableError:
                        pass
                got = set()
                while "after" not in got or len(got) < 201:
                    try:
                        for delivery in await receiver.receive(name, 1.0):
                            await receiver.settle(delivery)
                            got.add(delivery.body)
                    except QueueUnavailableError:
                        pass
            assert {f"before {number}" for number in range(200)} <= got

    with rabbitmq.serving(tmp_path / "rabbit") as server:
        asyncio.run(story(server))


def test_messages_that_nobody_can_read_stop_no_other(rabbitmq, name, monkeypatch):
    """Any site may write into the hub's queue, by programs of its own."""

    async def story():
        queues = open_queues(rabbit_place(rabbitmq), None)
        await queues.make(name)
        attacker = await aiormq.connect(rabbitmq.url)
        channel = await attacker.channel()
        for properties in (
            Basic.Properties(headers={"x-fedloom-deliveries": "many"}),
            Basic.Properties(headers={"x-fedloom-deliveries": -(2**62)}),
            Basic.Properties(timestamp=datetime.now(UTC)),
        ):
            await channel.basic_publish(b"bad", routing_key=name, properties=properties)
        await queues.send(name, "good")
        assert sorted(await received(queues, name, 4)) == ["bad", "bad", "bad", "good"]
        await attacker.close()
        await queues.close()

    monkeypatch.setitem(encode.METHODS, "timestamp", lambda _: b"\xff" * 8)  # a year that no datetime has
    asyncio.run(story())


def test_a_queue_that_is_deleted_and_made_again_is_received_from(rabbitmq, name):
    async def story():
        receiver, other = (open_queues(rabbit_place(rabbitmq), None) for _ in range(2))
        await receiver.make(name)
        await receiver.send(name, "before")
        assert await received(receiver, name, 1) == ["before"]
        await other.remove(name)
        with pytest.raises(QueueMissingError):
            await received(receiver, name, 1)
        await receiver.make(name)
        await other.send(name, "after")
        assert await received(receiver, name, 1) == ["after"]
        await receiver.close()
        await other.close()

    asyncio.run(story())


def test_a_broker_that_refuses_the_user_says_so(rabbitmq, tmp_path, name):
    (tmp_path / "username").write_text("nobody\n")
    (tmp_path / "password").write_text("wrong\n")

    async def story():
        queues = open_queues(rabbit_place(rabbitmq), tmp_path)
        with pytest.raises(QueueDeniedError, match="Secret"):
            await queues.send(name, "x")
        (tmp_path / "username").write_text("guest\n")  # the Secret was mended
        (tmp_path / "password").write_text("guest\n")
        await queues.make(name)
        await queues.close()

    asyncio.run(story())
