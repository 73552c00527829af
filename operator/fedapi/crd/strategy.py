"""spec.strategy: which strategy, and its numbers. Part of a FederatedJob; a strategy's arithmetic is in fedcore.strategies.

A strategy with parameters has a field of its own name for them, and a rule that the two go together. The operator hands
on name and numbers without knowing which strategies there are.
"""

from typing import Literal

from pydantic import ConfigDict, Field

from fedapi.crd.fields import Decimal, Part, immutable, rule, rules


class FedAvgM(Part):
    """Numbers of FedAvgM."""

    momentum: Decimal = Field(
        "0.9", description="How much of the last step is in the next, from 0 and below 1; a decimal string."
    )
    learning_rate: Decimal = Field("1", description="How far the model follows a step; a decimal string over 0.")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "double(self.momentum) >= 0.0 && double(self.momentum) < 1.0",
                "momentum must be from 0 and below 1, for example '0.9'",
                ".momentum",
            ),
            rule("double(self.learningRate) > 0.0", "the server's learningRate must be over 0", ".learningRate"),
        )
    )


class Strategy(Part):
    """How updates become the next model."""

    name: Literal["FedAvg", "FedAvgM"] = Field(
        "FedAvg",
        description="FedAvg: the mean of the sites' updates weighted by their samples (McMahan et al. 2017). FedAvgM: the "
        "same with momentum at the server (Hsu et al. 2019).",
        json_schema_extra=immutable("strategy.name"),
    )
    fed_avg_m: FedAvgM | None = Field(None, description="Numbers of FedAvgM; {} takes the defaults.")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "(self.name == 'FedAvgM') == has(self.fedAvgM)",
                "strategy FedAvgM needs fedAvgM, and no other takes it: write fedAvgM: {} for the defaults, or remove it",
                ".fedAvgM",
            )
        )
    )

    def parameters(self) -> dict[str, float]:
        """The numbers of the strategy, by name."""
        parts = (getattr(self, field) for field in type(self).model_fields)
        numbers = (part.model_dump() for part in parts if isinstance(part, Part))
        return {name: float(value) for each in numbers for name, value in each.items()}
