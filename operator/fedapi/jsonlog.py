"""The one form of log lines, for hub and sites: a JSON object a line on standard error.

`time` (UTC), `level`, `logger`, `message`, then the fields of the line (`extra={"fields": {...}}`) and those of where it
was said (`in_log`, `always`), and `error` with the traceback if there is one. Set up once by each process; the one module
of this package that knows `logging`. Never give it tokens, keys or signed URLs.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType

from fedapi.jsonvalue import Json, JsonView

# They log each of their requests, some with what they sign.
_TALKATIVE = ("urllib3", "kubernetes", "boto3", "botocore", "azure", "google", "msal")
_ALWAYS: Json = {}  # of the process
_HERE: ContextVar[JsonView] = ContextVar("fields", default=MappingProxyType({}))  # of a task or thread


class JsonLines(logging.Formatter):
    """One JSON object per record. What the form itself says is not overwritten by a field of that name."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        line: Json = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = {**_ALWAYS, **_HERE.get(), **getattr(record, "fields", {})}
        line |= {key: value for key, value in fields.items() if key not in line}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class Budget(logging.Filter):
    """Lets a burst through and a few lines a second after it; the next line that passes says how many did not."""

    def __init__(self, burst: float = 200.0, per_s: float = 5.0) -> None:
        super().__init__()
        self._burst, self._per_s = burst, per_s
        self._left, self._at, self._left_out = burst, 0.0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line may be written."""
        passed_s = max(0.0, record.created - self._at)  # a clock that is set back gives no credit
        self._left = min(self._burst, self._left + passed_s * self._per_s)
        self._at = record.created
        if self._left < 1:
            self._left_out += 1
            return False
        self._left -= 1
        if self._left_out:
            record.fields = {**getattr(record, "fields", {}), "left_out": self._left_out}
            self._left_out = 0
        return True


@contextmanager
def in_log(**fields: object) -> Iterator[None]:
    """Every line inside has these fields."""
    token = _HERE.set({**_HERE.get(), **fields})
    try:
        yield
    finally:
        _HERE.reset(token)


def always(**fields: object) -> None:
    """Every line of the process has these fields, from here on."""
    _ALWAYS.update(fields)


def configure(level: str | int) -> None:
    """Sends everything from that level on to standard error; of libraries that log their requests, warnings alone."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], force=True)
    set_level("", level)
    for each in _TALKATIVE:
        set_level(each, logging.WARNING)


def set_level(logger: str, level: str | int) -> None:
    """The least level that a logger takes; "" is the root. Setting it anew makes all loggers forget what they have worked out."""
    found = logging.getLogger(logger)
    if logging.getLevelName(found.level) != level and found.level != level:
        found.setLevel(level)
