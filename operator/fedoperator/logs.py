"""JSON lines on standard error: time, level, logger, message, the job at hand, and what is passed as `extra`.

Set up by __main__. Nothing secret is logged: keys and tokens live in types that show none of it, and no request or
answer is logged as a whole.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_JOB: ContextVar[str] = ContextVar("job", default="")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PLAIN = (str, int, float, bool)


class JsonLines(logging.Formatter):
    """One JSON object per record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if job := _JOB.get():
            line["job"] = job
        line |= {k: v for k, v in vars(record).items() if k not in _STANDARD and isinstance(v, _PLAIN)}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


@contextmanager
def job_in_log(job: str) -> Iterator[None]:
    """Every line inside names the job (namespace/name of the FederatedJob or FLClient)."""
    token = _JOB.set(job)
    try:
        yield
    finally:
        _JOB.reset(token)


def set_up(level: str) -> None:
    """Sends everything to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns of every connection that it opens anew
