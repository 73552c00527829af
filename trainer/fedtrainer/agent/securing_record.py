"""How a job hides updates in sums, which attempts this site has left, and of which it has opened a sum: kept for the life of the job.

    <state>/<job uid>/<client>/state/masked-rounds.json

Called by work.py and securing.py. Keys of an attempt that ended badly are gone with its folder. With new ones for the same attempt a hub
could have an update in two sums that nobody but it knows of, and the difference of two sums may be one site's update: so an attempt that is
left is not joined again. A job whose updates this site has been asked to mask gets none without masks, whatever it says later,
also after what a hub calls the end of the job; and one that has asked for encrypted updates gets no others.
"""

import logging
from pathlib import Path

from fedapi.wire.message import DamagedRecordError, Message, Natural, NewerRecordError, Record, Sha256
from fedapi.wire.orders import TrainOrder
from fedapi.wire.secagg import Scheme
from fedapi.wire.secureround import FIELDS, PlannedScheme
from fedtrainer.errors import BadSettingsError, RejectedError
from fedtrainer.training import durable

log = logging.getLogger(__name__)

LEFT, UNMASKED, UNENCRYPTED = "AttemptLeft", "MasksLeftOut", "EncryptionLeftOut"  # codes of the refusals
_KEPT = "masked-rounds.json"
_UPDATES: dict[Scheme | None, str] = {None: "masked updates", "CKKS": "encrypted updates"}


class _Attempt(Message):
    base_sha256: Sha256
    round: Natural
    attempt: Natural

    def __str__(self) -> str:
        return f"round {self.round} attempt {self.attempt}"


class _Rounds(Record):
    scheme: PlannedScheme = None  # as in all records of before there were any
    left: tuple[_Attempt, ...] = ()
    opened: tuple[_Attempt, ...] = ()


class MaskedRounds:
    """Of one site in one job. `folder`: of the site's state."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _KEPT

    def check(self, order: TrainOrder) -> None:
        """RejectedError for an attempt that this site has left, and for one that hides updates otherwise than the job did before."""
        found = self._known()
        if found is None:
            if order.secure is not None:
                self._keep(_begun(order))
            return
        if order.secure is None or order.secure.terms.scheme != found.scheme:
            asked = f"round {order.round} asks for {_updates(order)}, and the job began with {_UPDATES[found.scheme]}"
            way_out = f"a job keeps {FIELDS[found.scheme]} for its life: make a new job"
            raise RejectedError(UNMASKED if found.scheme is None else UNENCRYPTED, f"{asked}: {way_out}")
        if _attempt(order) in found.left:
            text = f"this site has left attempt {order.attempt} of round {order.round}"
            raise RejectedError(LEFT, f"{text}, and joins none twice: it takes part in the next one, with new keys")

    def leave(self, order: TrainOrder) -> None:
        """The site's part in an attempt has ended without a sum of it."""
        found = self._known() or _begun(order)
        if _attempt(order) not in found.left:
            self._keep(found.model_copy(update={"left": (*found.left, _attempt(order))}))

    def open(self, order: TrainOrder) -> None:
        """A sum is about to be opened. More than one from the same model is told: it happens where a hub could not fold the first."""
        found, this = self._known() or _begun(order), _attempt(order)
        if this in found.opened:
            return
        if before := [str(each) for each in found.opened if each.base_sha256 == this.base_sha256]:
            text = "opens a sum of another attempt from the same model: two sums may tell what single sites sent"
            log.warning(text, extra={"fields": {"round": order.round, "attempt": order.attempt, "before": before}})
        self._keep(found.model_copy(update={"opened": (*found.opened, this)}))

    def _known(self) -> _Rounds | None:
        try:
            return _Rounds.stored(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, DamagedRecordError, NewerRecordError) as error:
            raise BadSettingsError(
                f"{self._path} cannot be read ({error}): delete it, once no round of the job is under way"
            ) from error

    def _keep(self, found: _Rounds) -> None:
        durable.write(self._path, found.sealed().canonical())


def _begun(order: TrainOrder) -> _Rounds:
    return _Rounds(scheme=order.secure.terms.scheme if order.secure else None)


def _updates(order: TrainOrder) -> str:
    return "plain updates" if order.secure is None else _UPDATES[order.secure.terms.scheme]


def _attempt(order: TrainOrder) -> _Attempt:
    return _Attempt(base_sha256=order.base_sha256, round=order.round, attempt=order.attempt)
