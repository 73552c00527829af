"""What the two ends need of a broker: named queues of bounded texts, at least once each, in no promised order.

A message that was sent is durable. One that was received stays the receiver's, and hidden from others, until it is
settled or the receiver is gone; then it is delivered again. What is delivered often and never settled ends in the
queue's dead-letter queue, where the broker has one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fedapi.wire.broker import MOST_BYTES
from fedqueue.errors import MessageTooLargeError

AT_ONCE = 10  # messages of one receive, at most
HIDDEN_S = 30  # from a receiver's death until its messages are delivered again, where the broker does not see it die
DELIVERIES = 20  # of one message; then it is dead
KEPT_S = 4 * 3600  # that a message waits for a receiver: its sender has asked again long before
UNUSED_S = 14 * 24 * 3600  # after which a queue that nobody uses is gone, where the broker has that


@dataclass(frozen=True)
class Delivery:
    """A message that was received and is to be settled. `again`: the broker knows that it was delivered before."""

    queue: str
    body: str
    again: bool
    receipt: object = field(repr=False)


class Queues(Protocol):
    """All calls: QueueUnavailableError when the broker does not answer; the next call connects again, ever more slowly."""

    async def make(self, queue: str) -> None:
        """Makes the queue, and its dead-letter queue, if it is absent and may be made. QueueMissingError: neither."""

    async def remove(self, queue: str) -> None:
        """Deletes both, with what is in them; nothing when they are gone already."""

    async def send(self, queue: str, body: str) -> None:
        """Returns when the message is durable. MessageTooLargeError: over MOST_BYTES of UTF-8."""

    async def receive(self, queue: str, wait_s: float) -> Sequence[Delivery]:
        """Up to AT_ONCE messages: as soon as there are any, or none after about `wait_s`."""

    async def settle(self, delivery: Delivery) -> None:
        """The message is dealt with. When this fails it is delivered again."""

    async def close(self) -> None:
        """What was received and not settled is delivered to others."""


def check_size(body: str) -> None:
    """MessageTooLargeError says how much is too much."""
    if (size := len(body.encode())) > MOST_BYTES:
        raise MessageTooLargeError(f"a message of {size} bytes: queues take {MOST_BYTES}, more goes by URL or HTTPS")
