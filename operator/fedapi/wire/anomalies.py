"""What makes an update anomalous, and what is done about it: frozen in plans, recorded in commits. Pure.

Made of spec.anomalies by fedoperator.desired; the judgement itself is in fedcore.anomalies.
"""

from typing import Annotated, Literal

from pydantic import Field

from fedapi.wire.message import Message

Action = Literal["Warn", "Exclude", "Suspend"]
Kind = Literal["NormAboveOthers", "NormAboveOwn", "LayerAboveOthers", "AgainstOthers"]
FACTOR = 10.0  # how many times longer is anomalous, where nobody says otherwise


class Readmission(Message):
    """That a site's anomalies up to a round are settled: it is selected again, and what is usual of it begins anew."""

    client: str
    through_round: int = Field(ge=0)


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

    def readmitted(self, client: str) -> int:
        """The round up to which a site's anomalies are settled; -1: none is."""
        return max((each.through_round for each in self.readmit if each.client == client), default=-1)


class Fact(Message):
    """One thing that is anomalous about an update."""

    kind: Kind
    value: float = Field(description="How many times longer, or the cosine.")
    limit: float
    layer: str = Field("", exclude_if=lambda value: not value, description="Of LayerAboveOthers: the tensor.")

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


class Anomaly(Message):
    """An update that is anomalous, and what was done about it."""

    client: str
    attempt: int = Field(ge=1)
    action: Action
    norm: float = Field(ge=0)
    facts: Annotated[tuple[Fact, ...], Field(min_length=1)]

    @property
    def is_excluded(self) -> bool:
        """Whether the update was left out of the round."""
        return self.action != "Warn"

    @property
    def text(self) -> str:
        """The same for a person."""
        return "; ".join(f"{fact.kind}: {fact.text}" for fact in self.facts)
