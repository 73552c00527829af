"""The log of what is refused: one bounded line each, and a bounded number of lines. Written by http/ and engine/.

Whatever clients send ends up here, so fields are cut, JSON escapes them, and a flood is counted and not written: the
metrics count all of it.
"""

import logging

from fedapi.jsonlog import Budget

log = logging.getLogger("fedaggregator.refusals")
LONGEST = 300  # characters of a field

log.addFilter(Budget())


def note(message: str, **fields: str) -> None:
    """One line."""
    log.info(message, extra={"fields": {name: value[:LONGEST] for name, value in fields.items() if value}})
