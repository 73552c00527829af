"""The access log: one record of each call of the API, apart from the process's log, on standard output.

Written by http/ and queued/ of the aggregator, and by the registry, for whoever ships it. A call's record is made where the call
comes in; what is known only further in (who, by what, for which round, why not) is noted from there. A path is logged
without its query, headers and bodies are not: nothing that lets its reader speak for somebody may get here.
"""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass

from fedapi.jsonlog import Budget, JsonLines

LOGGER = "fedloom.access"
LONGEST = 300  # characters of a field
DONE, GONE, STOPPED, FAILED = "Done", "Gone", "Stopping", "Error"
log = logging.getLogger(LOGGER)
_of: dict[str, str] = {}  # whose API it is: the same in every record
_HERE: "ContextVar[Call | None]" = ContextVar("call", default=None)
_strangers = Budget()  # who proves nothing may call as often as he likes


@dataclass
class Call:
    """One call, as its record tells it."""

    transport: str  # HTTPS or Queue
    remote: str  # address of the peer; of a queue, nothing
    method: str
    path: str
    action: str = ""  # the route: next, uploads, download, heartbeat, …
    client: str = ""  # who, where that was proven
    identity: str = ""  # by what
    round: int | None = None
    attempt: int | None = None
    outcome: str = ""  # Done, or why not: the code of a refusal
    status: int = 0  # of HTTP; 0: there was no answer
    bytes_in: int = 0
    bytes_out: int = 0


def configure(**of: str) -> None:
    """Sends records to standard output, whatever else is logged; `of` is in each of them."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
    _of.clear()
    _of.update(of)


@contextmanager
def call(made: Call) -> Iterator[Call]:
    """Writes the call's record in the end, whatever that is."""
    token, began = _HERE.set(made), time.perf_counter()
    try:
        yield made
    except Exception:
        made.outcome = made.outcome or FAILED
        raise
    except BaseException:  # cancelled: the process stops
        made.outcome = made.outcome or STOPPED
        raise
    finally:
        _HERE.reset(token)
        write(made, time.perf_counter() - began)


def note(**known: str | int | None) -> None:
    """What came to be known of the call under way. Without one nothing happens."""
    under_way = _HERE.get()
    if under_way is not None:
        for name, value in known.items():
            setattr(under_way, name, value)


def concerns(message: object) -> None:
    """Notes the round and the attempt that a message names."""
    body = getattr(message, "body", message)
    note(round=getattr(body, "round", None), attempt=getattr(body, "attempt", None))


def moved(*, bytes_in: int = 0, bytes_out: int = 0) -> None:
    """Bytes of a body that did not come by way of the request's own."""
    under_way = _HERE.get()
    if under_way is not None:
        under_way.bytes_in += bytes_in
        under_way.bytes_out += bytes_out


def write(made: Call, seconds: float = 0.0) -> None:
    """The record. All of those that were proven; of strangers a burst and a few a second, the next tells how many are missing."""
    record = log.makeRecord(LOGGER, logging.INFO, "", 0, "call", (), None)
    made.outcome = made.outcome or DONE
    told = {name: _cut(value) for name, value in asdict(made).items() if value not in ("", None)}
    record.fields = {**_of, **told, "duration_s": round(seconds, 6)}
    if made.client or _strangers.filter(record):
        log.handle(record)


def _cut(value: str | int) -> str | int:
    return value[:LONGEST] if isinstance(value, str) else value
