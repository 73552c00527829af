"""RabbitMQ by aio-pika: durable queues, publisher confirms, messages settled by hand, own reconnection.

A connection that broke takes everything with it: what was received is delivered again by the broker, and the next call
connects anew, with the credentials that are there then. One connection has a channel to send and one to receive.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aio_pika import Connection, DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, AuthenticationError, DeliveryError, ProbableAuthenticationError
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity, ChannelPreconditionFailed
from pamqp.base import BasicProperties
from pamqp.commands import Basic
from yarl import URL

from fedapi import names
from fedapi.wire.broker import DEAD, RabbitMQ
from fedqueue.errors import QueueDeniedError, QueueMissingError, QueueUnavailableError
from fedqueue.pacing import pause_s
from fedqueue.port import AT_ONCE, DELIVERIES, KEPT_S, UNUSED_S, Delivery, check_size

logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # a lost connection with its traceback: callers say it in a line

CONNECT_S, ANSWER_S, HEARTBEAT_S = 15.0, 10.0, 20
PREFETCHED = 64  # messages that this process holds and has not settled
_DELIVERIES = "x-fedloom-deliveries"
_FAILED = (AMQPError, OSError, RuntimeError, ssl.SSLError)  # a channel that is closed meanwhile is a RuntimeError
_read_properties = Basic.Properties.unmarshal


def _read_what_can_be(properties: BasicProperties, flags: int, data: bytes) -> None:
    """In the place of pamqp's, which breaks the connection over a time or a name that nobody can read.

    The broker does not look at these and would deliver the message again to whoever connects.
    """
    with contextlib.suppress(Exception):
        _read_properties(properties, flags, data)


Basic.Properties.unmarshal = _read_what_can_be  # type: ignore[assignment, method-assign]


@dataclass
class _Connected:
    """All that lives as long as one connection."""

    connection: Connection
    sending: AbstractChannel
    receiving: AbstractChannel
    arrived: dict[str, asyncio.Queue[AbstractIncomingMessage]] = field(default_factory=dict)  # by queue
    consumers: dict[str, str] = field(default_factory=dict)  # queues by the tags of their consumers

    async def cancelled(self, frame: Basic.Cancel) -> None:
        """The queue was deleted, or its node is gone: it is looked for again at the next receive."""
        self.arrived.pop(self.consumers.pop(str(frame.consumer_tag), ""), None)


class RabbitQueues:
    """One process's connection to a broker."""

    def __init__(self, place: RabbitMQ, credentials: Path | None) -> None:
        self._place, self._credentials = place, credentials
        self._now: _Connected | None = None
        self._connecting = asyncio.Lock()
        self._failures, self._next_at = 0, 0.0

    async def make(self, queue: str) -> None:
        """A durable queue of the type that the virtual host has for such, and one for its dead letters.

        One of that name that others made, otherwise, is taken as it is.
        """
        dead = queue + DEAD
        lasting: dict[str, str | int] = {"x-expires": UNUSED_S * 1000}
        letters: dict[str, str | int] = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
        await self._made(dead, lasting)
        await self._made(queue, lasting | letters | {"x-message-ttl": KEPT_S * 1000})

    async def remove(self, queue: str) -> None:
        """Both; AMQP has no error for what is absent."""
        for name in (queue, queue + DEAD):
            async with self._connected(name) as now, asyncio.timeout(ANSWER_S):
                channel = await now.connection.channel()
                await channel.queue_delete(name)
                await channel.close()

    async def send(self, queue: str, body: str) -> None:
        """By the default exchange, confirmed; a broker that has no such queue gives the message back."""
        check_size(body)
        async with self._connected(queue) as now, asyncio.timeout(ANSWER_S):
            message = Message(body.encode(), delivery_mode=DeliveryMode.PERSISTENT)
            await now.sending.default_exchange.publish(message, queue, mandatory=True)

    async def receive(self, queue: str, wait_s: float) -> Sequence[Delivery]:
        """From what the broker pushes."""
        loop, got = asyncio.get_running_loop(), list[Delivery]()
        until = loop.time() + wait_s
        async with self._connected(queue) as now:
            if queue not in now.arrived:
                async with asyncio.timeout(ANSWER_S):  # a queue that is being recovered answers nobody
                    await self._consumed(now, queue)
            pushed = now.arrived[queue]
            while not got and (first := await self._first(now, pushed, max(0.0, until - loop.time()))):
                messages = [first, *(pushed.get_nowait() for _ in range(min(AT_ONCE - 1, pushed.qsize())))]
                got = [delivery for each in messages if (delivery := await self._delivery(now, queue, each))]
        return got

    async def settle(self, delivery: Delivery) -> None:
        """Of a connection that is gone: the broker delivers it again."""
        message = delivery.receipt
        if isinstance(message, AbstractIncomingMessage):
            try:
                async with asyncio.timeout(ANSWER_S):
                    await message.ack()
            except (*_FAILED, TimeoutError) as error:
                raise QueueUnavailableError(f"{delivery.queue}: {error!r}") from error

    async def close(self) -> None:
        """Hangs up."""
        now, self._now = self._now, None
        if now is not None:
            await _hung_up(now.connection)

    async def _made(self, queue: str, arguments: dict[str, str | int]) -> None:
        async with self._connected(queue) as now, asyncio.timeout(ANSWER_S):
            channel = await now.connection.channel()
            try:
                await channel.declare_queue(queue, durable=True, arguments=dict(arguments))
            except (ChannelAccessRefused, ChannelPreconditionFailed):  # the channel is closed by that
                channel = await now.connection.channel()
                await channel.declare_queue(queue, passive=True)
            finally:
                await channel.close()

    async def _delivery(self, now: _Connected, queue: str, message: AbstractIncomingMessage) -> Delivery | None:
        """What is delivered again goes to the end first, with a count of how often, which not all queues keep; at last it is dead."""
        said = message.headers.get(_DELIVERIES)
        deliveries = said if isinstance(said, int) else 0  # who may write into the queue may say anything
        if not message.redelivered:
            return Delivery(queue, message.body.decode(errors="replace"), deliveries > 0, message)
        async with asyncio.timeout(ANSWER_S):
            headers = {_DELIVERIES: deliveries + 1}
            copy = Message(message.body, headers=dict(headers), delivery_mode=DeliveryMode.PERSISTENT)
            where = queue if deliveries + 1 < DELIVERIES else queue + DEAD
            await now.sending.default_exchange.publish(copy, where, mandatory=True)
            await message.ack()
        return None

    async def _consumed(self, now: _Connected, queue: str) -> None:
        """From now on the broker pushes the queue's messages. On a channel of its own: a refusal closes it."""
        asking = await now.connection.channel()
        await asking.declare_queue(queue, passive=True)
        await asking.close()
        pushed: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        found = await now.receiving.get_queue(queue, ensure=False)
        now.consumers[await found.consume(pushed.put)] = queue
        now.arrived[queue] = pushed

    async def _first(
        self, now: _Connected, pushed: "asyncio.Queue[AbstractIncomingMessage]", wait_s: float
    ) -> AbstractIncomingMessage | None:
        """Of the messages that are there, or come; ConnectionError when the connection ends meanwhile."""
        if not pushed.empty():
            return pushed.get_nowait()
        coming = asyncio.ensure_future(pushed.get())
        ends = [asyncio.ensure_future(end) for end in (now.connection.closed(), now.receiving.closed())]
        try:
            await asyncio.wait((coming, *ends), timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                return coming.result()
            if any(end.done() for end in ends):
                raise ConnectionError("the broker closed the connection")
            return None
        finally:
            for future in (coming, *ends):
                future.cancel()

    @asynccontextmanager
    async def _connected(self, queue: str) -> AsyncIterator[_Connected]:
        """The connection, made anew where it broke; what fails with it is told by class."""
        now = await self._connection()
        try:
            yield now
        except ChannelNotFoundEntity as error:
            raise QueueMissingError(f"there is no queue {queue!r}") from error
        except DeliveryError as error:
            if error.frame is not None and type(error.frame).__name__ == "Return":
                raise QueueMissingError(f"there is no queue {queue!r}") from error
            raise QueueUnavailableError(f"{queue}: the broker did not take the message") from error
        except ChannelAccessRefused as error:
            await self._lost(now)
            raise QueueDeniedError(f"{queue}: {error}") from error
        except (*_FAILED, TimeoutError) as error:
            await self._lost(now)
            raise QueueUnavailableError(f"{self._place.text()}: {error!r}") from error

    async def _connection(self) -> _Connected:
        async with self._connecting:
            if self._now is not None and not self._now.connection.is_closed:
                return self._now
            loop = asyncio.get_running_loop()
            await asyncio.sleep(max(0.0, self._next_at - loop.time()))
            try:
                async with asyncio.timeout(CONNECT_S):
                    self._now = await self._opened()
            except (AuthenticationError, ProbableAuthenticationError) as error:
                self._failed(loop.time())
                raise QueueDeniedError(f"{self._place.text()} refuses the user: see its Secret ({error})") from error
            except (*_FAILED, TimeoutError) as error:
                self._failed(loop.time())
                raise QueueUnavailableError(f"{self._place.text()}: {error!r}") from error
            self._failures = 0
            return self._now

    async def _opened(self) -> _Connected:
        place = self._place
        url = URL.build(
            scheme="amqps" if place.tls else "amqp",
            host=place.host,
            port=place.port,
            user=self._said(names.FILE_USERNAME, "guest"),
            password=self._said(names.FILE_PASSWORD, "guest"),
            path="/" + ("" if place.vhost == "/" else place.vhost),
            query={"heartbeat": str(HEARTBEAT_S)},
        )
        connection = Connection(url, ssl_context=self._trust() if place.tls else None)
        try:
            await connection.connect()
            sending = await connection.channel(publisher_confirms=True, on_return_raises=True)
            receiving = await connection.channel(publisher_confirms=False)
            await receiving.set_qos(prefetch_count=PREFETCHED)
            connected = _Connected(connection, sending, receiving)
            (await receiving.get_underlay_channel()).on_consumer_cancel_callbacks.add(connected.cancelled)
        except BaseException:
            await _hung_up(connection)
            raise
        return connected

    def _trust(self) -> ssl.SSLContext:
        ca = self._credentials / names.FILE_STORE_CA if self._credentials else None
        return ssl.create_default_context(cafile=str(ca) if ca is not None and ca.exists() else None)

    def _said(self, name: str, default: str) -> str:
        """Of a credentials folder that names no user: the broker's own default, which it takes from its machine alone."""
        path = self._credentials / name if self._credentials else None
        return path.read_text().strip() if path is not None and path.exists() else default

    def _failed(self, now: float) -> None:
        self._failures += 1
        self._next_at = now + pause_s(self._failures)

    async def _lost(self, now: _Connected) -> None:
        if self._now is now:
            self._now = None
            self._failed(asyncio.get_running_loop().time())
        await _hung_up(now.connection)


async def _hung_up(connection: Connection) -> None:
    """Ends a connection. Of a broker that does not answer it is forgotten: the second call finds nothing to close any more."""
    for limit_s in (1.0, None):
        with contextlib.suppress(*_FAILED, TimeoutError):
            async with asyncio.timeout(limit_s):
                await connection.close()
