"""Queues of this process: the port's smallest adapter, for tests of both ends.

Receivers of one Memory are one consumer, as a connection is; `close` gives back what it holds.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from fedapi.wire.broker import DEAD
from fedqueue.errors import QueueMissingError, QueueUnavailableError
from fedqueue.port import AT_ONCE, DELIVERIES, Delivery, check_size


@dataclass
class _Waiting:
    body: str
    deliveries: int = 0


@dataclass
class Broker:
    """What all consumers share. `down`: why it answers nobody."""

    queues: dict[str, deque[_Waiting]] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    down: str = ""

    def queue(self, name: str) -> deque[_Waiting]:
        """QueueMissingError when there is none."""
        if self.down:
            raise QueueUnavailableError(self.down)
        if name not in self.queues:
            raise QueueMissingError(f"there is no queue {name!r}")
        return self.queues[name]


class MemoryQueues:
    """One consumer."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._held: dict[int, tuple[str, _Waiting]] = {}
        self._receipts = itertools.count()

    async def make(self, queue: str) -> None:
        """If absent."""
        self._broker.queues.setdefault(queue, deque())
        self._broker.queues.setdefault(queue + DEAD, deque())

    async def remove(self, queue: str) -> None:
        """Both."""
        self._broker.queues.pop(queue, None)
        self._broker.queues.pop(queue + DEAD, None)

    async def send(self, queue: str, body: str) -> None:
        """Appends."""
        check_size(body)
        async with self._broker.changed:
            self._broker.queue(queue).append(_Waiting(body))
            self._broker.changed.notify_all()

    async def receive(self, queue: str, wait_s: float) -> Sequence[Delivery]:
        """Takes from the front."""
        async with self._broker.changed:
            try:
                async with asyncio.timeout(wait_s):
                    await self._broker.changed.wait_for(lambda: self._broker.queue(queue))
            except TimeoutError:
                return ()
            waiting = self._broker.queue(queue)
            return [self._delivered(queue, waiting.popleft()) for _ in range(min(AT_ONCE, len(waiting)))]

    async def settle(self, delivery: Delivery) -> None:
        """Forgets it."""
        self._held.pop(int(str(delivery.receipt)), None)

    async def close(self) -> None:
        """Gives back."""
        held, self._held = self._held, {}
        async with self._broker.changed:
            for queue, message in held.values():
                name = queue + DEAD if message.deliveries >= DELIVERIES else queue
                self._broker.queues.get(name, deque()).appendleft(message)
            self._broker.changed.notify_all()

    def _delivered(self, queue: str, message: _Waiting) -> Delivery:
        again, receipt = message.deliveries > 0, next(self._receipts)
        message.deliveries += 1
        self._held[receipt] = queue, message
        return Delivery(queue, message.body, again, receipt)
