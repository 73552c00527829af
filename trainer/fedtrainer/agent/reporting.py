"""What a site tells the hub of an order besides its update: evaluations, and why nothing came of it. Used by work.py."""

import logging

from fedapi.outcome import FATAL, reason
from fedapi.wire.orders import EvaluateOrder, TrainOrder
from fedapi.wire.site import EvaluationReport, FailureReport
from fedtrainer import termination
from fedtrainer.agent.control import Control
from fedtrainer.errors import (
    BudgetSpentError,
    DivergedError,
    DroppedError,
    NotPrivateError,
    RejectedError,
    StopError,
    TrainerError,
)
from fedtrainer.settings import TrainerSettings
from fedtrainer.training.results import EvalResult

log = logging.getLogger(__name__)
_REASONS: dict[type[TrainerError], str] = {  # what the hub is told of an order that came to nothing
    BudgetSpentError: "PrivacyBudgetSpent",
    DivergedError: "TrainingDiverged",
    NotPrivateError: "PrivacyRefused",
    RejectedError: "UpdateRefused",
}


class Reporting:
    """Of one site."""

    def __init__(self, settings: TrainerSettings, control: Control) -> None:
        self._settings, self._control = settings, control

    def came_to_nothing(self, order: TrainOrder, error: TrainerError) -> None:
        """The round goes on without this site's update."""
        self.failed(order, _REASONS[type(error)], error)

    def stopped(self, order: TrainOrder | None, error: StopError) -> None:
        """Ends the wait for this site where running again cannot help; after anything else the next pod gets the order."""
        if order is not None and error.exit in FATAL:
            self.failed(order, reason(error.exit), error)

    def failed(self, order: TrainOrder | EvaluateOrder, why: str, error: TrainerError) -> None:
        """Why there will be no update, or no evaluation."""
        attempt = order.attempt if isinstance(order, TrainOrder) else 0
        log.error("round %d attempt %d: %s: %s", order.round, attempt, why, error)
        report = FailureReport(
            job_uid=self._settings.job_uid,
            round=order.round,
            attempt=attempt,
            client=self._settings.client,
            reason=why,
            message=termination.one_line(str(error)),
        )
        try:
            self._control.failure(report)
        except TrainerError as problem:
            log.warning("the failure could not be reported: %s", problem)

    def evaluated(self, round_: int, model_sha256: str, result: EvalResult | None) -> None:
        """What the model of that round is worth here."""
        result = result or EvalResult(0)  # a site without test data has nothing to say, but must not be waited for
        report = EvaluationReport(
            job_uid=self._settings.job_uid,
            round=round_,
            client=self._settings.client,
            model_sha256=model_sha256,
            samples=result.samples,
            metrics=dict(result.metrics),
        )
        try:
            self._control.evaluation(report)
        except (DroppedError, RejectedError) as error:  # not worth the training that follows
            log.warning("the evaluation of round %d was not taken: %s", round_, error)
