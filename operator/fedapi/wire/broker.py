"""Where a job's queues are, as one line of text: what the operator writes into the environment, and fedqueue.opening reads.

    amqps://HOST:PORT/VHOST?prefix=…     RabbitMQ; amqp: without TLS
    sqs:PREFIX?region=…&endpoint=…       Amazon SQS, or what speaks its protocol
    memory:NAME                          of this process alone

Never a credential: those are files of a folder beside it. What the queues of a job are called is here too. Pure.
"""

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

MOST_BYTES = 256 << 10  # of one message in UTF-8: what SQS takes everywhere
DEFAULT_PREFIX = "fedloom"
PREFIX_PATTERN = "^[A-Za-z0-9_-]{1,20}$"  # with it the longest name has 79 characters; SQS takes 80
DEAD = "-dead"  # beside each queue: what was delivered often and never settled
FORMS = "give amqp://HOST:PORT/VHOST, amqps://HOST:PORT/VHOST, sqs:PREFIX?region=REGION or memory:NAME"


class UnknownBrokerError(ValueError):
    """The text names no place for queues."""


@dataclass(frozen=True)
class RabbitMQ:
    """A broker and a virtual host of it."""

    host: str
    port: int
    vhost: str = "/"
    tls: bool = True
    prefix: str = DEFAULT_PREFIX

    def text(self) -> str:
        """As it is said."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        query = "" if self.prefix == DEFAULT_PREFIX else "?" + urlencode({"prefix": self.prefix})
        return f"amqp{'s' * self.tls}://{host}:{self.port}/{quote(self.vhost, safe='')}{query}"


@dataclass(frozen=True)
class Sqs:
    """An account's queues of one region."""

    region: str
    endpoint: str = ""
    prefix: str = DEFAULT_PREFIX

    def text(self) -> str:
        """As it is said."""
        said = {"region": self.region, "endpoint": self.endpoint}
        return f"sqs:{self.prefix}?{urlencode({name: value for name, value in said.items() if value})}"


@dataclass(frozen=True)
class InMemory:
    """Lost with the process."""

    name: str
    prefix: str = DEFAULT_PREFIX

    def text(self) -> str:
        """As it is said."""
        return f"memory:{self.name}"


Broker = RabbitMQ | Sqs | InMemory


def parsed(text: str) -> Broker:
    """The place that a text names; UnknownBrokerError says what is wrong with it."""
    try:
        parts = urlsplit(text)
        said = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        prefix = said.pop("prefix", DEFAULT_PREFIX)
        match parts.scheme:
            case "amqp" | "amqps" if parts.hostname and parts.username is None and not said:
                port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
                vhost = unquote(parts.path.removeprefix("/")) or "/"
                place: Broker = RabbitMQ(parts.hostname, port, vhost, parts.scheme == "amqps", prefix)
            case "sqs" if said.keys() <= {"region", "endpoint"} and "region" in said:
                place = Sqs(said["region"], said.get("endpoint", ""), parts.path or DEFAULT_PREFIX)
            case "memory" if parts.path and not said:
                place = InMemory(parts.path)
            case _:
                raise UnknownBrokerError(f"{_shown(text)!r} is no place for queues: {FORMS}")
    except ValueError as error:
        if isinstance(error, UnknownBrokerError):
            raise
        raise UnknownBrokerError(f"{_shown(text)!r} is no place for queues ({error}): {FORMS}") from error
    if not re.match(PREFIX_PATTERN, place.prefix):
        raise UnknownBrokerError(f"queue prefix {place.prefix!r}: 1 to 20 letters, digits, '-' or '_'")
    return place


def _shown(text: str) -> str:
    """Without what may be a password."""
    return re.sub(r"//[^/@]*@", "//…@", text)[:200]


def hub_queue(prefix: str, job_uid: str) -> str:
    """Into which a job's sites send."""
    return f"{prefix}-{job_uid}-hub"


def site_queue(prefix: str, job_uid: str, client: str) -> str:
    """Into which a job's aggregator sends for one site: names of sites may be longer than names of queues."""
    return f"{prefix}-{job_uid}-{hashlib.sha256(client.encode()).hexdigest()[:16]}"
