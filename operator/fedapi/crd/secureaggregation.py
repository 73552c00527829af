"""`spec.privacy.secureAggregation` of a FederatedJob, and the rules of its groups. Used by privacy.py and federatedjob.py.

The protocol is in fedcore.secagg; docs/secure-aggregation.md says what is promised.
"""

from pydantic import Field

from fedapi.crd.fields import Part, rule
from fedapi.crd.securesums import DEFAULT_RANGE, NOISY, ExchangeTimeout, Kind, Overflow, Threshold, ValueRange, summed
from fedapi.duration import seconds
from fedapi.wire import secagg
from fedapi.wire import secureround as wire
from fedapi.wire.secagg import LEAST_GROUPS, MAX_SITES

# What combines updates one by one, and takes the means of groups in their place.
ROBUST = ("Median", "TrimmedMean", "GeometricMedian", "Krum", "MultiKrum", "Bulyan", "NormClipping")
_MOST_COLLUDING = 1000


class Groups(Part):
    """Sites are summed in random groups, whose means a robust strategy combines."""

    size: int = Field(
        ge=2,
        le=MAX_SITES,
        description="Sites of a group at least; groups are as many as there can be. At least colluding + 2, so that no sum is one honest "
        "site's update.",
    )
    minimum: int = Field(
        LEAST_GROUPS,
        ge=LEAST_GROUPS,
        le=MAX_SITES,
        description="Groups that must stay to the end. One that loses too many of its sites falls alone, and is in no model.",
    )


class SecureAggregation(Part):
    """Sites mask their updates, so that the aggregator learns the sum of all and no single one."""

    threshold: Threshold = Field(
        None,
        description="Sites that must stay until the sum is opened: a count, or a percentage of the selected sites such as 60%. Fewer "
        "than half of the sites and of `colluding` together are not sound, so that it is raised to more than that. Absent: round.quorum.",
    )
    colluding: int = Field(
        1,
        ge=0,
        le=_MOST_COLLUDING,
        description="Sites that may work together with the aggregator and still learn no other site's update. A sum has the updates of "
        "at least two sites more.",
    )
    value_range: ValueRange = None
    overflow: Overflow = None
    exchange_timeout: ExchangeTimeout = Field(
        "2m",
        description="How long each step after training (sharing keys, sending the masked update, agreeing on who is in the sum, opening it) "
        "waits for sites that are silent. The round goes on without them where threshold allows.",
    )

    groups: Groups | None = Field(
        None,
        description="The participants of a round are dealt into random groups, each with a sum of its own, so that a malicious site spoils "
        "one of many: for strategies that combine single updates (Median, Krum and their kin) and for `anomalies`. The aggregator learns "
        "the sum of each group.",
    )

    def told(self) -> wire.SecureSettings:
        """As the aggregator is told."""
        return wire.SecureSettings(
            threshold=self.threshold,
            colluding=self.colluding,
            value_range=float(self.value_range or DEFAULT_RANGE),
            overflow=self.overflow or "Fail",
            exchange_timeout_s=seconds(self.exchange_timeout),
            groups=secagg.Groups(size=self.groups.size, minimum=self.groups.minimum) if self.groups else None,
        )


_MASKS = Kind(
    field="secureAggregation",
    updates="masked",
    noise="masks",
    sum="a sum under masks",
    dropped="a recovery of its masks",
    least="self.privacy.secureAggregation.colluding + 2",
    least_said="secureAggregation.colluding + 2",
    more=", or lower colluding",
    robust=ROBUST,
)
_ASKED = _MASKS.path
_GROUPED = f"{_MASKS.asked} && has({_ASKED}.groups)"
MASKED = (  # rules of a FederatedJob's spec
    *summed(_MASKS),
    rule(
        f"!({_GROUPED}) || !has(self.anomalies) || self.anomalies.action in ['Warn', 'Exclude']",
        "with secureAggregation.groups nobody can tell which site of a group is anomalous, so that none can be suspended and no round undone "
        "for it: set anomalies.action to Warn or Exclude, which leaves the group out",
        ".anomalies",
    ),
    rule(
        f"!({_GROUPED}) || {_ASKED}.groups.size >= {_ASKED}.colluding + 2",
        "secureAggregation.groups.size is below colluding + 2, so that the sum of a group could be one site's update: raise size, or lower "
        "colluding",
        ".privacy",
    ),
    rule(
        f"!({_GROUPED}) || !has(self.clients.perRound) || "
        f"self.clients.perRound >= {_ASKED}.groups.size * {_ASKED}.groups.minimum",
        "clients.perRound is below secureAggregation.groups.size times groups.minimum, so that no round has groups enough: raise perRound, or "
        "lower these",
        ".clients.perRound",
    ),
    rule(
        f"!({_GROUPED}) || !({NOISY})",
        "secureAggregation.groups does not go with differentialPrivacy: each group's sum would need all the noise that one sum of all sites "
        "needs, and what a robust strategy makes of so noisy means has no fixed denominator. Remove groups, or differentialPrivacy",
        ".privacy",
    ),
)
