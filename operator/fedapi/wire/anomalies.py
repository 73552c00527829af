"""What makes an update anomalous, and what is done about it: frozen in plans, recorded in commits. Pure.

Made of spec.anomalies by fedoperator.desired; the judgement itself is in fedcore.anomalies.
"""

from typing import Annotated, Literal

from pydantic import Field

from fedapi.wire.message import Message

Action = Literal["Warn", "Exclude", "Suspend", "RollBack"]
Kind = Literal["NormAboveOthers", "NormAboveOwn", "LayerAboveOthers", "AgainstOthers", "MetricCollapsed"]
Cause = Literal["AnomalousUpdate", "MetricCollapsed"]
FACTOR = 10.0  # how many times longer is anomalous, where nobody says otherwise
SUSPECT_FACTOR = 3.0  # and how many times longer makes a site the suspect of a collapse
LOOKBACK_ROUNDS, MAX_ROLLBACKS = 5, 3


class Readmission(Message):
    """That a site's anomalies up to a round are settled: it is selected again, and what is usual of it begins anew."""

    client: str
    through_round: int = Field(ge=0)


class MetricCollapse(Message):
    """When the metric of a committed model has collapsed."""

    metric: str
    goal: Literal["Maximize", "Minimize"] = "Maximize"
    tolerance: float = Field(gt=0, description="By how much it may be worse than the best before.")
    suspect_factor: float = Field(SUSPECT_FACTOR, gt=1)


class RollbackSettings(Message):
    """How far, how often and for what else a job goes back."""

    lookback_rounds: int = Field(LOOKBACK_ROUNDS, ge=2)
    max_rollbacks: int = Field(MAX_ROLLBACKS, ge=1)
    collapse: MetricCollapse | None = Field(None, exclude_if=lambda value: value is None)


class AnomalySettings(Message):
    """When an update is anomalous. Factors are of Euclidean norms."""

    action: Action = "Warn"
    norm_factor: float = Field(FACTOR, gt=1, description="Times the median of the others'.")
    own_factor: float = Field(FACTOR, gt=1, description="Times the median of the site's own before.")
    layer_factor: float = Field(FACTOR, gt=1, description="Times the median of the others', of one tensor.")
    min_cosine: float | None = Field(
        None, ge=-1, le=1, description="To the mean direction of the others; absent: directions are not looked at."
    )
    readmit: tuple[Readmission, ...] = ()
    rollback: RollbackSettings | None = Field(
        None, exclude_if=lambda value: value is None, description="Of action RollBack, and of no other."
    )

    def readmitted(self, client: str) -> int:
        """The round up to which a site's anomalies are settled; -1: none is."""
        return max((each.through_round for each in self.readmit if each.client == client), default=-1)


class Fact(Message):
    """One thing that is anomalous about an update."""

    kind: Kind
    value: float = Field(description="How many times longer, or the cosine.")
    limit: float
    layer: str = Field("", exclude_if=lambda value: not value, description="Of LayerAboveOthers: the tensor.")
    metric: str = Field("", exclude_if=lambda value: not value, description="Of MetricCollapsed: which.")

    @property
    def text(self) -> str:
        """The same for a person."""
        match self.kind:
            case "NormAboveOthers":
                return f"its norm is {self.value:.4g} times the median of the others' (limit {self.limit:.4g})"
            case "NormAboveOwn":
                return f"its norm is {self.value:.4g} times what is usual of the site (limit {self.limit:.4g})"
            case "LayerAboveOthers":
                times = f"{self.value:.4g} times the median of the others' (limit {self.limit:.4g})"
                return f"its part {self.layer!r} is {times}"
            case "AgainstOthers":
                return f"its cosine to the others is {self.value:.4g} (limit {self.limit:.4g})"
            case "MetricCollapsed":
                return f"with it {self.metric} became {self.value:.4g} (limit {self.limit:.4g})"


class Anomaly(Message):
    """An update that is anomalous, or the mean of a group's, and what was done about it."""

    client: str
    sites: tuple[str, ...] = Field(
        (),
        exclude_if=lambda value: not value,
        description="Of the group, one of whom it was; `client` names the group.",
    )
    attempt: int = Field(ge=1)
    action: Action
    norm: float = Field(ge=0)
    facts: Annotated[tuple[Fact, ...], Field(min_length=1)]

    @property
    def owners(self) -> tuple[str, ...]:
        """The site, or those of the group."""
        return self.sites or (self.client,)

    @property
    def is_excluded(self) -> bool:
        """Whether the update was left out of the round."""
        return self.action != "Warn" and not self.is_suspect

    @property
    def is_suspect(self) -> bool:
        """Whether nothing was wrong with the update when it was judged, and its model has collapsed since."""
        return any(fact.kind == "MetricCollapsed" for fact in self.facts)

    @property
    def suspends(self) -> bool:
        """Whether its site is selected no more."""
        return self.action in ("Suspend", "RollBack")

    @property
    def text(self) -> str:
        """The same for a person."""
        text = "; ".join(f"{fact.kind}: {fact.text}" for fact in self.facts)
        return f"mean of {self.client} ({', '.join(self.sites)}): {text}" if self.sites else text


class Undoing(Message):
    """What became of an anomaly that rounds are to be undone for. It is decided once, whatever else happens."""

    cause: Cause
    round: int = Field(ge=0, description="Of AnomalousUpdate that of the update; of MetricCollapsed that of the model.")
    client: str = Field("", description="Without whom the job goes on; empty: nobody was found.")
    to: int | None = Field(None, ge=0, description="The last round before it.")
    rounds: tuple[int, ...] = Field((), description="Those whose updates are in the model no more.")
    refused: str = Field("", exclude_if=lambda value: not value, description="Why nothing was done.")

    @property
    def key(self) -> tuple[str, int, str]:
        """What tells it from all others."""
        return self.cause, self.round, self.client if self.cause == "AnomalousUpdate" else ""
