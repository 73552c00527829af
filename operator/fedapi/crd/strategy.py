"""spec.strategy: which strategy, and its numbers. Part of a FederatedJob; a strategy's arithmetic is in fedcore.strategies.

A strategy with parameters has a field of its own name for them, and a rule that the two go together. The operator hands
on name and numbers without knowing which strategies there are.
"""

from typing import Literal

from pydantic import Field

from fedapi.crd.fields import Part, immutable


class Strategy(Part):
    """How updates become the next model."""

    name: Literal["FedAvg"] = Field(
        "FedAvg",
        description="FedAvg: the mean of the sites' updates weighted by their samples (McMahan et al. 2017).",
        json_schema_extra=immutable("strategy.name"),
    )

    def parameters(self) -> dict[str, float]:
        """The numbers of the strategy, by name."""
        parts = (getattr(self, field) for field in type(self).model_fields)
        numbers = (part.model_dump() for part in parts if isinstance(part, Part))
        return {name: float(value) for each in numbers for name, value in each.items()}
