"""What a site keeps of one attempt's secure aggregation, in the order's folder, until the attempt is over. Called by securing.py.

    <order's folder>/secure.json      the state with its seed (fedcore.secagg.site); durable before anything is said that follows from it
    <order's folder>/update.masked    the masked update; made anew, the same to the byte, whenever it is not there

Whoever has the seed can take the masks off: the file is the site's alone, and goes with its folder.
"""

import os
from pathlib import Path

from fedapi.wire.message import DamagedRecordError, NewerRecordError
from fedapi.wire.secagg import Terms
from fedcore.secagg.site import SiteState
from fedcore.tensors.arithmetic import Array
from fedtrainer.errors import RejectedError
from fedtrainer.training import durable

STATE_LOST = "SecureStateLost"  # code of an attempt that cannot be gone on with
_STATE, _MASKED = "secure.json", "update.masked"


class SecureFiles:
    """Of one order."""

    def __init__(self, folder: Path) -> None:
        self._state, self.masked = folder / _STATE, folder / _MASKED

    def begun(self) -> bool:
        """Whether the site has a part in the order's exchange that it can go on with."""
        return self._state.exists()

    def kept(self, terms: Terms) -> SiteState | None:
        """What an earlier process left for these terms. RejectedError where it cannot be read, or is about others."""
        try:
            state = SiteState.stored(self._state.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, DamagedRecordError, NewerRecordError) as error:
            text = f"{self._state} cannot be read ({error}): the site takes part in the next attempt, with new keys"
            raise RejectedError(STATE_LOST, text) from error
        if state.terms != terms:
            text = "the order names other terms than before for the same attempt: sites, thresholds or range"
            raise RejectedError(STATE_LOST, f"{text} are not what they were; the site takes part in the next attempt")
        return state

    def keep(self, state: SiteState) -> None:
        """Makes it durable."""
        durable.write(self._state, state.sealed().canonical())

    def keep_masked(self, vector: Array) -> None:
        """The masked update, to be sent from. It need not be durable."""
        partial = self.masked.with_name(f"{self.masked.name}.partial")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(vector.data)
        partial.replace(self.masked)

    def drop_masked(self) -> None:
        """It is damaged."""
        self.masked.unlink(missing_ok=True)
