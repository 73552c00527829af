"""`spec.anomalies` of a FederatedJob: which updates are anomalous, and what is done about them; and where status tells of it.

The judgement is in fedcore.anomalies. Used by federatedjob.py, job_status.py and flclient.py.
"""

from typing import Annotated

from pydantic import Field

from fedapi.crd.anomaly_rollback import ROLLED_BACK, AnomalyRollbacks, RollBack
from fedapi.crd.fields import LIST_TYPE, Decimal, Name, Part, Short, StatusPart, Text, listed_by, rule, rules
from fedapi.crd.privacy import CENTRAL
from fedapi.jsonvalue import Json
from fedapi.wire.anomalies import Action, AnomalySettings, Kind, RollbackSettings
from fedapi.wire.anomalies import Readmission as Told

MAX_READMITTED = 100
MAX_RECENT = 20  # anomalies in a job's status
MAX_OF_SITE = 10  # in an FLClient's
MAX_SUSPENDED = 100  # in a job's status
_NARROW = "has(each.modelWidth) && double(each.modelWidth) < 1.0"

ANOMALIES = (
    rule(
        "!has(self.anomalies) || self.strategy.name != 'FedBuff'",
        "anomalies compares the updates of a round, and those of a buffer start from models of unlike age: remove it, or set another "
        "strategy.name",
        ".anomalies",
    ),
    rule(
        f"!has(self.anomalies) || !has(self.clients.overrides) || !self.clients.overrides.exists(each, {_NARROW})",
        "anomalies compares lengths, and an update of a sub-model is shorter because it has fewer numbers: remove it, or modelWidth from "
        "clients.overrides",
        ".anomalies",
    ),
    rule(
        "!has(self.anomalies) || !has(self.strategy.diLoCo) || self.strategy.diLoCo.fragments == 1",
        "anomalies compares updates with those of the rounds before, which are of other fragments: remove it, or strategy.diLoCo.fragments",
        ".anomalies",
    ),
    rule(
        f"!has(self.anomalies) || !{CENTRAL}",
        "anomalies records the length of each site's update and leaves some out by what they are, which no epsilon accounts for: remove it, "
        "or privacy; clipNorm bounds what an update can do",
        ".anomalies",
    ),
    rule(
        "!has(self.anomalies) || self.rounds > 0",
        "rounds 0 trains nothing, so that there is no update to judge: remove anomalies",
        ".anomalies",
    ),
    *ROLLED_BACK,
)


class Readmission(Part):
    """A site whose anomalies up to a round are settled."""

    client: Name = Field(description="Name of the FLClient.")
    through_round: int = Field(
        ge=0,
        le=2**31 - 1,
        description="Its anomalies up to this round suspend it no more, and its updates up to it say no more what is usual of it. "
        "An anomaly in a later round suspends it again.",
    )


def _factor(name: str) -> Json:
    return rules(
        rule(
            "double(self) > 1.0 && double(self) <= 1000000.0",
            f"{name} says how many times longer is anomalous: write more than 1 and at most 1000000, for example '10'",
        )
    )


class Anomalies(Part):
    """When an update is anomalous, and what is done about it. Lengths are Euclidean norms over all floats of an update."""

    action: Action = Field(
        "Warn",
        description="Warn: it is told and counts all the same. Exclude: it is left out of its round, as if it had been refused; quorum is "
        "judged by those that are left. Suspend: also, its site is selected no more until `readmit` names it. RollBack: also, rounds that have "
        "earlier updates of it are undone, as `rollBack` says.",
    )
    norm_factor: Decimal = Field(
        "10",
        description="Anomalous is an update so many times longer than the median of the others of its round, where three or more came; a "
        "decimal string.",
        json_schema_extra=_factor("normFactor"),
    )
    own_factor: Decimal = Field(
        "10",
        description="And one so many times longer than the median of the site's last 20, where it has three, and by as much longer than "
        "the others have grown in the same round; a decimal string.",
        json_schema_extra=_factor("ownFactor"),
    )
    layer_factor: Decimal = Field(
        "10",
        description="And one with a tensor so many times longer than the median of the others' same tensor, where three or more came; a "
        "decimal string. A tensor that the others hardly move is compared with 5% of their whole length.",
        json_schema_extra=_factor("layerFactor"),
    )
    min_cosine: Decimal | None = Field(
        None,
        description="And one whose cosine to the mean direction of the others is below this, for example '-0.5'; a decimal string. Absent: "
        "directions are not looked at, because near the optimum those of honest sites with unlike data are opposed.",
        json_schema_extra=rules(
            rule("double(self) >= -1.0 && double(self) <= 1.0", "minCosine must be from -1 to 1, for example '-0.5'")
        ),
    )
    roll_back: RollBack | None = Field(
        None, description="With action RollBack: how far, how often and for what else the job goes back by itself."
    )
    readmit: Annotated[list[Readmission], Field(max_length=MAX_READMITTED, json_schema_extra=listed_by("client"))] = (
        Field(default_factory=list, description="Sites whose anomalies are settled, each up to a round.")
    )

    def told(self) -> AnomalySettings:
        """As the configuration and plans say it."""
        return AnomalySettings(
            action=self.action,
            norm_factor=float(self.norm_factor),
            own_factor=float(self.own_factor),
            layer_factor=float(self.layer_factor),
            min_cosine=None if self.min_cosine is None else float(self.min_cosine),
            readmit=tuple(Told(client=each.client, through_round=each.through_round) for each in self.readmit),
            rollback=self._rollback() if self.action == "RollBack" else None,
        )

    def _rollback(self) -> RollbackSettings:
        return self.roll_back.told() if self.roll_back else RollbackSettings()


Reasons = Annotated[list[Kind], Field(max_length=5, json_schema_extra={LIST_TYPE: "atomic"})]


class AnomalyStatus(StatusPart):
    """An anomalous update."""

    client: Name = Field(description="Name of the FLClient.")
    round: int = Field(description="Its round.", ge=0)
    attempt: int = Field(1, description="And attempt.", ge=1)
    action: Action = Field(
        description="What was done: Warn counts, the others do not. One with MetricCollapsed counted until it was undone."
    )
    reasons: Reasons = Field(default_factory=list, description="What is anomalous about it.")
    message: Text = Field("", description="The same with its numbers.")
    time: str = Field(description="When it was recorded.", json_schema_extra={"format": "date-time"})


class SuspendedSite(StatusPart):
    """A site that is selected no more."""

    name: Name = Field(description="Name of the FLClient.")
    round: int = Field(description="Round of its last anomaly: what `readmit` has to name.", ge=0)


class AnomaliesStatus(StatusPart):
    """Anomalous updates of this job, by the records of its rounds."""

    total: int = Field(0, description="How many there were.", ge=0)
    recent: Annotated[list[AnomalyStatus], Field(max_length=MAX_RECENT, json_schema_extra={LIST_TYPE: "atomic"})] = (
        Field(default_factory=list, description="The last of them (at most 20), newest first.")
    )
    suspended: Annotated[list[SuspendedSite], Field(max_length=MAX_SUSPENDED, json_schema_extra=listed_by("name"))] = (
        Field(default_factory=list, description="Sites that are suspended (at most 100).")
    )
    suspended_total: int = Field(0, description="How many are.", ge=0)
    rollbacks: AnomalyRollbacks = Field(
        default_factory=list, description="Anomalies for which rounds were to be undone (at most 20), newest first."
    )
    message: Text = Field(
        "",
        description="What could not be judged: that too few updates came to compare them with each other, for example.",
    )


class SiteAnomaly(StatusPart):
    """An anomalous update of this site."""

    job: Short = Field(description="Name of the FederatedJob.")
    uid: Short = Field(description="Its metadata.uid.")
    round: int = Field(description="The round.", ge=0)
    attempt: int = Field(1, description="And attempt.", ge=1)
    action: Action = Field(description="What was done about it.")
    reasons: Reasons = Field(default_factory=list, description="What is anomalous about it.")
    message: Text = Field("", description="The same with its numbers.")
    time: str = Field(description="When it was recorded.", json_schema_extra={"format": "date-time"})


SiteAnomalies = Annotated[list[SiteAnomaly], Field(max_length=MAX_OF_SITE, json_schema_extra={LIST_TYPE: "atomic"})]
