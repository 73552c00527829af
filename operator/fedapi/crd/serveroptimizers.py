"""Numbers of the strategies that have an optimizer at the hub: parts of spec.strategy. Used by strategy.py."""

from pydantic import ConfigDict, Field

from fedapi.crd.fields import Decimal, Part, rule, rules

_POSITIVE_RATE = rule("double(self.learningRate) > 0.0", "the server's learningRate must be over 0", ".learningRate")


def _below_one(field: str) -> dict[str, str]:
    return rule(
        f"double(self.{field}) >= 0.0 && double(self.{field}) < 1.0",
        f"{field} must be from 0 and below 1, for example '0.9'",
        f".{field}",
    )


_TAU = rule(
    "double(self.tau) >= 1e-9 && double(self.tau) <= 1e9", "tau must be from 1e-9 to 1e9, for example '0.001'", ".tau"
)


class FedAvgM(Part):
    """Numbers of FedAvgM."""

    momentum: Decimal = Field(
        "0.9", description="How much of the last step is in the next, from 0 and below 1; a decimal string."
    )
    learning_rate: Decimal = Field("1", description="How far the model follows a step; a decimal string over 0.")

    model_config = ConfigDict(json_schema_extra=rules(_below_one("momentum"), _POSITIVE_RATE))


class FedAdagrad(Part):
    """Numbers of FedAdagrad."""

    learning_rate: Decimal = Field("0.1", description="Learning rate of the server; a decimal string over 0.")
    beta1: Decimal = Field("0", description="Momentum, from 0 and below 1; a decimal string.")
    tau: Decimal = Field(
        "0.001",
        description="How small a step's denominator may become, and the root of what v begins with; from 1e-9.",
    )

    model_config = ConfigDict(json_schema_extra=rules(_POSITIVE_RATE, _below_one("beta1"), _TAU))


class FedAdam(Part):
    """Numbers of FedAdam."""

    learning_rate: Decimal = Field("0.1", description="Learning rate of the server; a decimal string over 0.")
    beta1: Decimal = Field(
        "0.9", description="How much of the last mean update is in the next, from 0 and below 1; a decimal string."
    )
    beta2: Decimal = Field(
        "0.99", description="How much of the last mean square is in the next, from 0 and below 1; a decimal string."
    )
    tau: Decimal = Field(
        "0.001",
        description="How small a step's denominator may become, and the root of what v begins with; from 1e-9.",
    )

    model_config = ConfigDict(json_schema_extra=rules(_POSITIVE_RATE, _below_one("beta1"), _below_one("beta2"), _TAU))


class FedYogi(FedAdam):
    """Numbers of FedYogi."""


class FedBuff(Part):
    """Numbers of FedBuff."""

    buffer_size: int = Field(
        10,
        ge=1,
        le=10_000,
        description="Updates that make a round, of as many different sites; where fewer take part, all of theirs.",
    )
    learning_rate: Decimal = Field("1", description="How far the model follows a buffer; a decimal string over 0.")
    staleness_exponent: Decimal = Field(
        "0.5",
        description="How much less an update counts whose model was t commits old: by (1 + t) to the power of minus this; a "
        "decimal string from 0, which counts all alike, to 10.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            _POSITIVE_RATE,
            rule(
                "double(self.stalenessExponent) >= 0.0 && double(self.stalenessExponent) <= 10.0",
                "stalenessExponent must be from 0 to 10, for example '0.5'",
                ".stalenessExponent",
            ),
        )
    )
