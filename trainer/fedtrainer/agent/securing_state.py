"""What a site keeps of one attempt's exchange, in the order's folder, until the attempt is over. Called by securing.py and its exchanges.

    <order's folder>/secure.json       the state with its seed; durable before anything is said that follows from it
    <order's folder>/update.masked     the masked update; made anew, the same to the byte, whenever it is not there
    <order's folder>/update.encrypted  or the encrypted one; durable before the state that names it, and never made anew after that
    <order's folder>/sum.encrypted     the sum to decrypt, as the hub has it
    <order's folder>/sum.numbers       what it is

Whoever has the seed can take the masks off, or has the key: the files are the site's alone, and go with their folder.
"""

import os
from pathlib import Path
from typing import TypeVar

from fedapi.wire.message import DamagedRecordError, NewerRecordError, Record
from fedapi.wire.secagg import Terms
from fedtrainer.errors import RejectedError
from fedtrainer.training import durable

STATE_LOST = "SecureStateLost"  # code of an attempt that cannot be gone on with
_STATE = "secure.json"
_R = TypeVar("_R", bound=Record)


class SecureFiles:
    """Of one order."""

    def __init__(self, folder: Path) -> None:
        self._state = folder / _STATE
        self.masked, self.encrypted = folder / "update.masked", folder / "update.encrypted"
        self.sum, self.numbers = folder / "sum.encrypted", folder / "sum.numbers"

    def begun(self) -> bool:
        """Whether the site has a part in the order's exchange that it can go on with."""
        return self._state.exists()

    def kept(self, kind: type[_R]) -> _R | None:
        """What an earlier process left. RejectedError where it cannot be read."""
        try:
            return kind.stored(self._state.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, DamagedRecordError, NewerRecordError) as error:
            text = f"{self._state} cannot be read ({error}): the site takes part in the next attempt, with new keys"
            raise RejectedError(STATE_LOST, text) from error

    def keep(self, state: Record) -> None:
        """Makes it durable."""
        durable.write(self._state, state.sealed().canonical())

    def write(self, path: Path, content: memoryview) -> None:
        """One of its files, whole or not at all. It is not durable."""
        partial = path.with_name(f"{path.name}.partial")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
        partial.replace(path)


def check_terms(known: Terms, asked: Terms) -> None:
    """RejectedError where an attempt's terms are not what they were."""
    if known != asked:
        text = "the order names other terms than before for the same attempt: sites, thresholds or range"
        raise RejectedError(STATE_LOST, f"{text} are not what they were; the site takes part in the next attempt")
