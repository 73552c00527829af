"""`spec.anomalies.rollBack` of a FederatedJob: how far, how often and for what else a job goes back by itself; and its status.

Used by anomalies.py, whose action RollBack this is. What is gone back to is decided in fedcore.rounds.undoing.
"""

from typing import Annotated, Literal

from pydantic import Field

from fedapi.crd.fields import LIST_TYPE, Decimal, Name, Part, StatusPart, Text, rule, rules
from fedapi.wire.anomalies import LOOKBACK_ROUNDS, MAX_ROLLBACKS, Cause, RollbackSettings
from fedapi.wire.anomalies import MetricCollapse as Told

MAX_TOLD = 20  # decided anomalies in a job's status
_KEPT = "!has(self.storage.history) || !has(self.storage.history.keep) || type(self.storage.history.keep) != int"
_LOOKBACK = f"(has(self.anomalies.rollBack) ? self.anomalies.rollBack.lookbackRounds : {LOOKBACK_ROUNDS})"

ROLLED_BACK = (
    rule(
        "!has(self.anomalies) || !has(self.anomalies.rollBack) || self.anomalies.action == 'RollBack'",
        "anomalies.rollBack says how a job goes back, which anomalies.action does not ask for: set anomalies.action: RollBack, or remove it",
        ".anomalies",
    ),
    rule(
        f"!has(self.anomalies) || self.anomalies.action != 'RollBack' || {_KEPT} || self.storage.history.keep > {_LOOKBACK}",
        "anomalies.action RollBack needs the model before the last lookbackRounds rounds: make storage.history.keep greater than "
        "anomalies.rollBack.lookbackRounds (5 by default), or All",
        ".storage.history",
    ),
)


class MetricCollapse(Part):
    """When a committed model counts as spoilt: its metric is much worse than the best of a round before."""

    metric: Annotated[str, Field(min_length=1, max_length=63)] = Field(
        description="Name of a metric that evaluations of the sites report, as in `status.metrics`."
    )
    goal: Literal["Maximize", "Minimize"] = Field("Maximize", description="Whether more of it is better, or less.")
    tolerance: Decimal = Field(
        description="By how much it may be worse than the best before, in the metric's own unit; a decimal string, for example '0.2'.",
        json_schema_extra=rules(
            rule(
                "double(self) > 0.0",
                "tolerance says by how much a metric may be worse: write more than 0, for example '0.2'",
            )
        ),
    )
    suspect_factor: Decimal = Field(
        "3",
        description="Whose update of the collapsed rounds was the longest, and so many times longer than the median of the others', "
        "is suspended; a decimal string. Where nobody's was, it is told, and nothing is undone.",
        json_schema_extra=rules(
            rule(
                "double(self) > 1.0 && double(self) <= 1000000.0",
                "suspectFactor says how many times longer is suspect: write more than 1 and at most 1000000, for example '3'",
            )
        ),
    )


class RollBack(Part):
    """How far, how often and for what else the job goes back by itself."""

    lookback_rounds: int = Field(
        LOOKBACK_ROUNDS,
        ge=2,
        le=20,
        description="How many of the last rounds an anomalous update casts doubt on: the job goes back to before the first of them "
        "that has an update of the same site.",
    )
    max_rollbacks: int = Field(
        MAX_ROLLBACKS,
        ge=1,
        le=20,
        description="How often in the life of the job; what comes then is told, and its site is suspended all the same.",
    )
    metric_collapse: MetricCollapse | None = Field(
        None, description="That it goes back when a metric has collapsed, too; absent: metrics are not looked at."
    )

    def told(self) -> RollbackSettings:
        """As the configuration and plans say it."""
        fallen = self.metric_collapse
        return RollbackSettings(
            lookback_rounds=self.lookback_rounds,
            max_rollbacks=self.max_rollbacks,
            collapse=fallen
            and Told(
                metric=fallen.metric,
                goal=fallen.goal,
                tolerance=float(fallen.tolerance),
                suspect_factor=float(fallen.suspect_factor),
            ),
        )


class AnomalyRollbackStatus(StatusPart):
    """What became of an anomaly for which rounds were to be undone."""

    result: Literal["Done", "Refused"] = Field(description="Done: training went on from the round before.")
    cause: Cause = Field(description="An anomalous update, or a metric that collapsed.")
    client: Name | None = Field(None, description="The FLClient without which it goes on.")
    round: int = Field(description="Round of the anomaly.", ge=0)
    to: int | None = Field(None, description="The round gone back to.", ge=0)
    undone: int = Field(0, description="How many rounds are in the model no more.", ge=0)
    committed: int = Field(description="Number of the commit that records it.", ge=0)
    message: Text = Field("", description="The same for a person, with the way out.")
    time: str = Field(description="When it was recorded.", json_schema_extra={"format": "date-time"})


AnomalyRollbacks = Annotated[
    list[AnomalyRollbackStatus], Field(max_length=MAX_TOLD, json_schema_extra={LIST_TYPE: "atomic"})
]
