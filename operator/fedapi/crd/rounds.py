"""`spec.round` and `spec.stop` of a FederatedJob: when a round ends, and when training does."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from fedapi.crd.fields import (
    INT_OR_STRING,
    Decimal,
    Duration,
    Part,
    rule,
    rules,
)


class Stop(Part):
    """When training ends before `rounds`."""

    metric: Annotated[str, Field(min_length=1, max_length=63)] = Field(
        description="Name of the evaluation metric that is watched."
    )
    goal: Literal["Maximize", "Minimize"] = Field("Maximize", description="Whether more or less of it is better.")
    target: Decimal | None = Field(None, description="Stop when the metric reaches this value; a decimal string.")
    patience: int | None = Field(
        None, ge=1, le=10000, description="Stop when the metric has not improved for this many rounds."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("has(self.target) || has(self.patience)", "stop needs target or patience: set at least one")
        )
    )


class Round(Part):
    """When a round ends."""

    quorum: int | Annotated[str, Field(max_length=8)] = Field(
        "100%",
        description="Updates that a round needs: a count, or a percentage of the selected sites such as 60%.",
        json_schema_extra=rules(
            rule(
                "type(self) == int ? self >= 1 : string(self).matches('^([1-9][0-9]?|100)%$')",
                "quorum must be a count of at least 1 or a percentage from 1% to 100%",
            ),
            rule("type(self) != int || self <= 100000", "quorum must be a count of at most 100000: lower it"),
        )
        | {INT_OR_STRING: True},
    )
    deadline: Duration = Field("1h", description="Time from the plan of a round until it is closed.")
    grace_after_quorum: Duration | None = Field(
        None,
        description="How long a round stays open for the other sites once quorum is reached; absent: until the deadline.",
    )
    over_selection: Decimal | None = Field(
        None,
        description="So many times the sites that `clients` asks for are selected, and the round closes when as many updates "
        "are there as it asks for; from 1 to 10, for example '1.3'.",
        json_schema_extra=rules(
            rule(
                "double(self) >= 1.0 && double(self) <= 10.0",
                "overSelection must be from 1 to 10, for example '1.3'",
            )
        ),
    )
    max_staleness: int | None = Field(
        None,
        ge=0,
        le=10_000,
        description="With strategy FedBuff: how many commits old the model may be, when an update is in a round, that it was "
        "trained from; older ones are refused. 20, where it is not said.",
    )
    max_failures: int = Field(
        3, ge=0, le=1000, description="Failed attempts of one round (deadline without quorum) before the job fails."
    )
