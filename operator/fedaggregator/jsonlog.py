"""What the aggregator's log leaves out, on top of the form that all processes share (fedapi.jsonlog)."""

import logging

from fedaggregator import accesslog
from fedapi import jsonlog


def configure(level: str, **of: str) -> None:
    """Sets up the root logger, and the access log, each record of which has `of`."""
    accesslog.configure(**of)
    jsonlog.configure(level.upper())
    logging.getLogger("uvicorn.error").addFilter(jsonlog.Budget())  # a client may be able to repeat what it tells
    for noisy in ("uvicorn.error", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
