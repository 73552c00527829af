"""How updates become the next model, as a job's configuration and a plan say it."""

from typing import Literal

from pydantic import Field

from fedapi.wire.message import Message

CUSTOM = "custom:"  # before the name of a strategy that is an entry point of an installed package
SubModels = Literal["Overlap", "ZeroPadding"]


class PreAggregation(Message):
    """What is made of the updates before the strategy sees them: means over groups of them."""

    name: Literal["NearestNeighbourMixing", "Bucketing"]
    byzantine: int = Field(0, ge=0, description="Sites that may send anything; of NearestNeighbourMixing.")
    bucket_size: int = Field(1, ge=1, description="Updates of a mean; of Bucketing.")


class StrategySettings(Message):
    """How updates become the next model: an entry of fedcore.strategies, and its numbers."""

    name: str = "FedAvg"
    parameters: dict[str, float] = {}
    pre_aggregation: PreAggregation | None = Field(None, exclude_if=lambda value: value is None)
    root: str = Field(
        "",
        exclude_if=lambda value: not value,
        description="The client without whose update no round is made (FLTrust).",
    )
    sub_models: SubModels | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="How the mean is taken where some sites train sub-models; absent: none does.",
    )
    fragments: int | None = Field(
        None,
        ge=2,
        exclude_if=lambda value: value is None,
        description="So many parts of the model take turns: a round steps one of them (DiLoCo).",
    )
