"""Numbers of robust rules, and what may come before them: parts of spec.strategy. Used by strategy.py and federatedjob.py.

f, `byzantine`, is how many sites may send whatever they like. How many updates a rule then needs is in fedapi.wire.fewest.
"""

from typing import Literal

from pydantic import ConfigDict, Field

from fedapi.crd.fields import Decimal, Name, Part, rule, rules
from fedapi.wire.fewest import FEWEST

MOST = 1000  # f
_BYZANTINE = "f: how many sites may send whatever they like; a round needs at least {} updates."
MIXABLE = ("Median", "TrimmedMean", "Krum", "MultiKrum", "GeometricMedian", "Bulyan")


class TrimmedMean(Part):
    """Numbers of TrimmedMean."""

    byzantine: int = Field(ge=1, le=MOST, description=_BYZANTINE.format("2f + 1"))


class Krum(Part):
    """Numbers of Krum."""

    byzantine: int = Field(ge=1, le=MOST, description=_BYZANTINE.format("2f + 3"))


class MultiKrum(Part):
    """Numbers of MultiKrum."""

    byzantine: int = Field(ge=1, le=MOST, description=_BYZANTINE.format("2f + 3"))


class Bulyan(Part):
    """Numbers of Bulyan."""

    byzantine: int = Field(ge=1, le=MOST, description=_BYZANTINE.format("4f + 3"))


class GeometricMedian(Part):
    """Numbers of GeometricMedian."""

    iterations: int = Field(8, ge=1, le=100, description="Weiszfeld steps.")
    smoothing: Decimal = Field(
        "0.000001", description="A distance below this counts as this; a decimal string from 1e-30 to 1e30."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "double(self.smoothing) >= 1e-30 && double(self.smoothing) <= 1e30",
                "smoothing must be from 1e-30 to 1e30, for example '1e-6'",
                ".smoothing",
            )
        )
    )


class NormClipping(Part):
    """Numbers of NormClipping."""

    max_norm: Decimal = Field(
        description="Euclidean length of an update's parameters above which it is cut to that length; a decimal string."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "double(self.maxNorm) >= 1e-30 && double(self.maxNorm) <= 1e30",
                "maxNorm must be from 1e-30 to 1e30, for example '1'",
                ".maxNorm",
            )
        )
    )


class FLTrust(Part):
    """What FLTrust trusts."""

    root_client: Name = Field(
        description="FLClient with the clean root data set: its update is the anchor, and is not averaged. It takes part in "
        "every round beside those that are drawn, and no round is made without it."
    )


class PreAggregation(Part):
    """What is made of the updates before a robust rule sees them."""

    name: Literal["NearestNeighbourMixing", "Bucketing"] = Field(
        description="NearestNeighbourMixing: each update becomes the mean of the n - f that are nearest to it, itself "
        "included (Allouah et al. 2023). Bucketing: means of groups drawn by seed (Karimireddy et al. 2022)."
    )
    byzantine: int | None = Field(
        None, ge=1, le=MOST, description="f, with NearestNeighbourMixing; a round needs at least 2f + 1 updates."
    )
    bucket_size: int | None = Field(None, ge=2, le=MOST, description="Updates in a group, with Bucketing.")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "(self.name == 'NearestNeighbourMixing') == has(self.byzantine)",
                "NearestNeighbourMixing needs byzantine, and Bucketing does not take it: write byzantine: 1, or remove it",
                ".byzantine",
            ),
            rule(
                "(self.name == 'Bucketing') == has(self.bucketSize)",
                "Bucketing needs bucketSize, and NearestNeighbourMixing does not take it: write bucketSize: 2, or remove it",
                ".bucketSize",
            ),
        )
    )


def _drawn(strategy: str, field: str, factor: int, more: int) -> dict[str, str]:
    """The rule that a draw is not below what a rule is defined for."""
    size = (
        "(has(self.strategy.preAggregation) && has(self.strategy.preAggregation.bucketSize) "
        "? self.strategy.preAggregation.bucketSize : 1)"
    )
    needed = f"({factor} * self.strategy.{field}.byzantine + {more - 1}) * {size} + 1"
    return rule(
        f"!has(self.clients.perRound) || !has(self.strategy.{field}) || self.clients.perRound >= {needed}",
        f"clients.perRound draws fewer sites than strategy {strategy} needs, {factor}f + {more} with f = {field}.byzantine "
        f"(of buckets, where preAggregation makes them): raise clients.perRound, or lower {field}.byzantine",
        ".clients.perRound",
    )


ENOUGH_DRAWN = (  # rules of a FederatedJob's spec
    *(_drawn(name, name[0].lower() + name[1:], *numbers) for name, numbers in FEWEST.items()),
    rule(
        "!has(self.clients.perRound) || !has(self.strategy.preAggregation) || !has(self.strategy.preAggregation.byzantine) "
        "|| self.clients.perRound >= 2 * self.strategy.preAggregation.byzantine + 1",
        "clients.perRound draws fewer sites than NearestNeighbourMixing needs, 2f + 1 with f = preAggregation.byzantine: "
        "raise clients.perRound, or lower preAggregation.byzantine",
        ".clients.perRound",
    ),
)
