"""What ends the aggregator or refuses a site, classed by what to do next.

AggregatorError
├── Fatal              the process ends with an exit code of fedapi.outcome and one line for a person
├── RefusedRequest     the site's request is answered with a wire Refusal
└── StatusUnavailable  retry later: the status could not be written
"""

from pydantic import ValidationError

from fedapi.outcome import Exit
from fedapi.wire.site import Refusal

_SHOWN = 10  # faults in one line


class AggregatorError(Exception):
    """Base of all errors of this package."""


class Fatal(AggregatorError):  # noqa: N818 - names say the fact
    """The process cannot go on."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


class RefusedRequest(AggregatorError):  # noqa: N818
    """A request of a site is not taken."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.code}: {refusal.message}")
        self.refusal = refusal


class StatusUnavailable(AggregatorError):  # noqa: N818
    """The status could not be written; it is written again later. `code`: what was answered, 0 where nothing was."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


def faults(error: ValidationError) -> str:
    """What a message, a setting or a configuration does wrong, in one line: its first fields, each with its fault."""
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:_SHOWN])
