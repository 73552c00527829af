"""Stands between an order and the site's work, where the site demands proof of who gives it. Called by work.py.

How proof is asked for is in attesting.py, which is loaded where a site demands some.
"""

from collections.abc import Callable

from fedapi.outcome import reason
from fedapi.wire.orders import EvaluateOrder, TrainOrder
from fedapi.wire.site import Assignment
from fedtrainer.errors import NotAttestedError, TrainerError
from fedtrainer.settings import TrainerSettings

Report = Callable[[TrainOrder | EvaluateOrder, str, TrainerError], None]


class Guard:
    """Of one process."""

    def __init__(self, settings: TrainerSettings, report: Report) -> None:
        self._report, self._attested = report, None
        if settings.requires_confidential is not None:
            from fedtrainer.agent.attesting import Attested  # noqa: PLC0415 - 10 MB where nobody asks for it

            self._attested = Attested(settings, settings.requires_confidential)

    def check(self, answer: Assignment) -> None:
        """NotAttestedError unless whoever gives an order is what the site demands; the round is told not to wait for it."""
        order = {"Train": answer.train, "Evaluate": answer.evaluate}.get(answer.kind)
        if self._attested is None or order is None:
            return
        try:
            self._attested.check(order)
        except NotAttestedError as error:
            self._report(order, reason(error.exit), error)
            raise
