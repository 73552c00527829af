"""From where queues are said to be to the queues: the one place that knows which adapters there are.

Used by both ends. An adapter is loaded when it is asked for: whoever speaks to RabbitMQ loads nothing of a cloud, and a
site without queues loads none of it.
"""

from functools import cache
from pathlib import Path

from fedapi.wire import broker
from fedapi.wire.broker import InMemory, RabbitMQ, Sqs, UnknownBrokerError
from fedqueue.errors import UnknownQueuesError
from fedqueue.memory import Broker, MemoryQueues
from fedqueue.port import Queues


def parsed(where: str) -> broker.Broker:
    """The place that a text names; UnknownQueuesError when it names none."""
    try:
        return broker.parsed(where)
    except UnknownBrokerError as error:
        raise UnknownQueuesError(str(error)) from error


def open_queues(place: broker.Broker, credentials: Path | None = None) -> Queues:
    """The queues of a place; UnknownQueuesError names the extra that is not installed. Connects at the first call."""
    try:
        match place:
            case RabbitMQ():
                from fedqueue.rabbitmq import RabbitQueues  # noqa: PLC0415 - of the extra `rabbitmq`

                return RabbitQueues(place, credentials)
            case Sqs():
                from fedqueue.sqs import SqsQueues  # noqa: PLC0415 - of the extra `sqs`

                return SqsQueues(place, credentials)
            case InMemory(name):
                return MemoryQueues(_in_memory(name))
    except ImportError as error:
        extra = "rabbitmq" if isinstance(place, RabbitMQ) else "sqs"
        raise UnknownQueuesError(f"{place.text()}: install the extra `fedloom[{extra}]` ({error})") from error


@cache
def _in_memory(_name: str) -> Broker:
    """The same name is the same broker."""
    return Broker()
