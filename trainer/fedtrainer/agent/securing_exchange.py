"""What a site does in the steps of a sum that the hub cannot take apart, of whatever kind. Driven by securing.py.

securing_masked.py has updates under masks, securing_encrypted.py those that are encrypted with a key of the sites. An exchange makes its state durable before it gives back what follows from it, so that a site
that is killed goes on where it was and says the same to the byte.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fedapi.wire.secagg import Advertisement, Consent, SurvivorSet
from fedapi.wire.secureround import SecureAnswer
from fedcore.secagg.errors import RefusedError
from fedcore.secagg.site import SiteState

Said = dict[str, Any]  # fields of SecureSaid
Sign = Callable[[bytes], bytes]  # by the site's own key
_T = TypeVar("_T")


@dataclass(frozen=True)
class SumFile:
    """What the site hands in of its exchange, as a file."""

    path: Path
    sha256: str
    size: int
    tag: bytes | None = None  # of encrypted values


@dataclass(frozen=True)
class Opened:
    """What is said of a sum, and a file that is to be at the hub before."""

    said: Said
    file: SumFile | None = None


class Exchange(Protocol):
    """One attempt's. All raise RefusedError for what breaks the protocol, and SpentKeysError where the site cannot go on."""

    def resumed(self) -> bool:
        """Goes on as an earlier process left it, where one has begun. RejectedError where it was about something else."""

    def begin(self, state: SiteState) -> None:
        """Begins anew."""

    def advertise(self, sign: Sign) -> Advertisement:
        """The site's keys of this attempt."""

    def share(self, answer: SecureAnswer) -> Said:
        """What the site shares with others."""

    def vector(self, answer: SecureAnswer) -> SumFile:
        """What stands for its update. The same whenever it is asked."""

    def void(self) -> None:
        """The vector's file came to the hub damaged."""

    def consent(self, survivors: SurvivorSet, sign: Sign) -> Consent:
        """Agrees to whose updates are in the sum."""

    def open_(self, answer: SecureAnswer) -> Opened:
        """What the sum needs of this site."""

    def over(self) -> None:
        """Leaves what it takes to say the same again, and no more."""


def brought(value: _T | None, what: str) -> _T:
    """What an answer has to bring. RefusedError where it does not."""
    if value is None:
        raise RefusedError(f"the answer names a step without its {what}")
    return value
