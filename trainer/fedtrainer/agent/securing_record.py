"""Which attempts at a round this site has left, and of which it has opened a sum: kept for the life of the job. Called by work.py and securing.py.

    <state>/<job uid>/<client>/masked-rounds.json

Keys of an attempt that ended badly are gone with its folder. With new ones for the same attempt a hub could have an update in two sums
that nobody but it knows of, and the difference of two sums may be one site's update: so an attempt that is left is not joined again.
"""

import logging
from pathlib import Path

from fedapi.wire.message import DamagedRecordError, Natural, NewerRecordError, Record, Sha256
from fedapi.wire.site import TrainOrder
from fedtrainer.agent.peers import write_durably
from fedtrainer.errors import BadSettingsError, RejectedError

log = logging.getLogger(__name__)

LEFT = "AttemptLeft"  # code of the refusal
_KEPT = "masked-rounds.json"


class _Rounds(Record):
    """Of the model that is trained on now: attempts, as (round, attempt)."""

    base_sha256: Sha256
    left: tuple[tuple[Natural, Natural], ...] = ()
    opened: tuple[tuple[Natural, Natural], ...] = ()


class MaskedRounds:
    """Of one site in one job."""

    def __init__(self, root: Path) -> None:
        self._path = root / _KEPT

    def check(self, order: TrainOrder) -> None:
        """RejectedError for an attempt that this site has left."""
        if (order.round, order.attempt) in self._of(order).left:
            text = f"this site has left attempt {order.attempt} of round {order.round}"
            raise RejectedError(LEFT, f"{text}, and joins none twice: it takes part in the next one, with new keys")

    def leave(self, order: TrainOrder) -> None:
        """The site's part in an attempt has ended without a sum of it."""
        found = self._of(order)
        self._keep(found.model_copy(update={"left": _with(found.left, order)}))

    def open(self, order: TrainOrder) -> None:
        """A sum is about to be opened. More than one from the same model is told: it happens where a hub could not fold the first."""
        found = self._of(order)
        opened = _with(found.opened, order)
        if opened == found.opened:
            return
        if found.opened:
            text = "opens a sum of another attempt from the same model: two sums may tell what single sites sent"
            log.warning(
                text, extra={"fields": {"round": order.round, "attempt": order.attempt, "before": found.opened}}
            )
        self._keep(found.model_copy(update={"opened": opened}))

    def _of(self, order: TrainOrder) -> _Rounds:
        try:
            found = _Rounds.stored(self._path.read_bytes())
        except FileNotFoundError:
            return _Rounds(base_sha256=order.base_sha256)
        except (OSError, DamagedRecordError, NewerRecordError) as error:
            raise BadSettingsError(
                f"{self._path} cannot be read ({error}): delete it, once no round of the job is under way"
            ) from error
        return found if found.base_sha256 == order.base_sha256 else _Rounds(base_sha256=order.base_sha256)

    def _keep(self, found: _Rounds) -> None:
        write_durably(self._path, found.sealed().canonical())


def _with(known: tuple[tuple[int, int], ...], order: TrainOrder) -> tuple[tuple[int, int], ...]:
    return tuple(sorted({*known, (order.round, order.attempt)}))
