"""`spec.privacy.secureAggregation` of a FederatedJob, and the rules of what it goes with. Used by privacy.py and federatedjob.py.

The protocol is in fedcore.secagg; docs/secure-aggregation.md says what is promised.
"""

from typing import Annotated, Literal

from pydantic import Field

from fedapi.crd.fields import INT_OR_STRING, Decimal, Duration, Part, rule, rules
from fedapi.duration import seconds
from fedapi.wire import secagg
from fedapi.wire import secureround as wire
from fedapi.wire.secagg import LEAST_GROUPS, MAX_SITES

# Weighted sums of updates, whatever the hub's optimizer makes of them: nothing else can be told of what was masked.
SUMS = ("FedAvg", "FedAvgM", "FedProx", "FedSGD", "DiLoCo", "FedAdagrad", "FedAdam", "FedYogi")
# What combines updates one by one, and takes the means of groups in their place.
ROBUST = ("Median", "TrimmedMean", "GeometricMedian", "Krum", "MultiKrum", "Bulyan", "NormClipping")
_MOST_COLLUDING = 1000
DEFAULT_RANGE = "16"


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

    threshold: int | Annotated[str, Field(max_length=8)] | None = Field(
        None,
        description="Sites that must stay until the sum is opened: a count, or a percentage of the selected sites such as 60%. Fewer "
        "than half of the sites and of `colluding` together are not sound, so that it is raised to more than that. Absent: round.quorum.",
        json_schema_extra=rules(
            rule(
                "type(self) == int ? self >= 2 : string(self).matches('^([1-9][0-9]?|100)%$')",
                "threshold must be a count of at least 2 or a percentage from 1% to 100%",
            ),
            rule("type(self) != int || self <= 1024", "threshold must be a count of at most 1024: lower it"),
        )
        | {INT_OR_STRING: True},
    )
    colluding: int = Field(
        1,
        ge=0,
        le=_MOST_COLLUDING,
        description="Sites that may work together with the aggregator and still learn no other site's update. A sum has the updates of "
        "at least two sites more.",
    )
    value_range: Decimal | None = Field(
        None,
        description="The largest size that a value of an update has, in the model's own units. The sum has 2^31 steps for this range of "
        "all sites: a smaller range is finer. A decimal string over 0; absent: 16.",
        json_schema_extra=rules(
            rule(
                "double(self) >= 1e-9 && double(self) <= 1e9",
                "valueRange must be from 1e-9 to 1e9: for example '16', or what your updates' values have at most",
            )
        ),
    )
    overflow: Literal["Fail", "Clip"] | None = Field(
        None,
        description="What a site does with values beyond valueRange. Fail (where it is not said): it does not take part in the round, and says how many there "
        "are. Clip: it sets them to the end of the range, and tells how many.",
    )
    exchange_timeout: Duration = Field(
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


_MASKED = "has(self.privacy) && has(self.privacy.secureAggregation)"
_ASKED = "self.privacy.secureAggregation"
_GROUPED = f"{_MASKED} && has({_ASKED}.groups)"
_NOISY = "has(self.privacy) && has(self.privacy.differentialPrivacy)"
_BY_SITES = f"{_NOISY} && self.privacy.differentialPrivacy.mode == 'Distributed'"
SECURE = (  # rules of a FederatedJob's spec
    rule(
        f"({_MASKED}) == (has(oldSelf.privacy) && has(oldSelf.privacy.secureAggregation))",
        "privacy.secureAggregation cannot be added or removed after creation, since sites have trained on its promise: delete the job "
        "and create it anew",
    ),
    rule(
        f"!({_MASKED}) || self.strategy.name in {list(SUMS)} || has({_ASKED}.groups) && self.strategy.name in {list(ROBUST)}",
        f"privacy.secureAggregation goes with strategies that add up updates ({', '.join(SUMS)}), since the aggregator sees no single one, "
        f"and with secureAggregation.groups also with {', '.join(ROBUST)}: set another strategy.name or groups, or remove secureAggregation",
        ".strategy",
    ),
    rule(
        f"!({_MASKED}) || !has(self.strategy.diLoCo) || self.strategy.diLoCo.fragments == 1",
        "secureAggregation sums the whole model in every round: set strategy.diLoCo.fragments to 1, or remove secureAggregation",
        ".strategy",
    ),
    rule(
        f"!({_MASKED}) || !has(self.anomalies) || has({_ASKED}.groups)",
        "anomalies are looked for in single updates, which secureAggregation hides from the aggregator: set secureAggregation.groups, whose "
        "means are then judged, or remove anomalies, or secureAggregation",
        ".anomalies",
    ),
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
        f"!({_GROUPED}) || !({_NOISY})",
        "secureAggregation.groups does not go with differentialPrivacy: each group's sum would need all the noise that one sum of all sites "
        "needs, and what a robust strategy makes of so noisy means has no fixed denominator. Remove groups, or differentialPrivacy",
        ".privacy",
    ),
    rule(
        f"!({_MASKED}) || !has(self.compression) || self.compression.codec == 'None'",
        "masked updates cannot be compressed, since masks look like noise: set compression.codec to None (compression.download may stay), "
        "or remove secureAggregation",
        ".compression",
    ),
    rule(
        f"!({_MASKED}) || !has(self.clients.overrides) || "
        "self.clients.overrides.all(each, !has(each.modelWidth) || double(each.modelWidth) >= 1.0)",
        "sub-models are averaged over the sites that have a number, and a sum under masks is of all numbers of all sites: remove "
        "modelWidth from clients.overrides, or secureAggregation",
        ".clients.overrides",
    ),
    rule(
        f"!({_MASKED}) || !has(self.round.overSelection) || double(self.round.overSelection) <= 1.0",
        "with overSelection updates that come late are dropped, and each dropped one costs secureAggregation a recovery of its masks: "
        "remove round.overSelection (threshold and grace already let sites be slow), or secureAggregation",
        ".round.overSelection",
    ),
    rule(
        f"!({_MASKED}) || !has(self.storage.clientEncryption) || !has(self.storage.clientEncryption.enabled) || "
        "!self.storage.clientEncryption.enabled",
        "masked updates tell nothing to who reads the store, so that they are not encrypted again: remove storage.clientEncryption (and "
        "aggregator.confidential, which needs it), or secureAggregation",
        ".storage.clientEncryption",
    ),
    rule(
        f"!({_MASKED}) || !has(self.clients.perRound) || self.clients.perRound >= {_ASKED}.colluding + 2",
        "clients.perRound is below secureAggregation.colluding + 2, so no sum could hide one site's update: raise perRound, or lower "
        "colluding",
        ".clients.perRound",
    ),
    rule(
        f"!({_MASKED}) || !has(self.clients.perRound) || !has({_ASKED}.threshold) || "
        f"type({_ASKED}.threshold) != int || {_ASKED}.threshold <= self.clients.perRound",
        "secureAggregation.threshold is above clients.perRound, so no sum could be opened: lower threshold, make it a percentage, or "
        "raise clients.perRound",
        ".clients.perRound",
    ),
    rule(
        f"!({_MASKED}) || !has(self.events)",
        "the steps of secureAggregation do not travel by queue: remove events, so that sites speak over HTTPS, or secureAggregation",
        ".events",
    ),
    rule(
        f"!({_MASKED}) || self.rounds > 0",
        "rounds 0 trains nothing, so that there are no updates to sum: raise rounds, or remove privacy.secureAggregation",
        ".rounds",
    ),
    rule(
        f"!({_NOISY}) || (self.privacy.differentialPrivacy.mode == 'Distributed') == has(self.privacy.secureAggregation)",
        "with differentialPrivacy, its mode Distributed and secureAggregation need each other: sites add shares of noise that "
        "hide nothing alone, and what is masked the aggregator cannot clip. Set mode to Distributed with secureAggregation, or to Central or Local "
        "without",
        ".privacy",
    ),
    rule(
        f"!({_BY_SITES}) || self.privacy.differentialPrivacy.clipping == 'Flat'",
        "mode Distributed bounds the length of the whole update: set differentialPrivacy.clipping to Flat",
        ".privacy",
    ),
    rule(
        f"!({_BY_SITES}) || !has(self.privacy.differentialPrivacy.noiseMultiplier) || "
        "double(self.privacy.differentialPrivacy.noiseMultiplier) <= 1000.0",
        "with mode Distributed noiseMultiplier must be at most 1000: sums of 32 bits hold no more noise",
        ".privacy",
    ),
    rule(
        f"!({_BY_SITES}) || !({_MASKED}) || !has({_ASKED}.valueRange) && !has({_ASKED}.overflow)",
        "with mode Distributed updates are clipped to clipNorm, which bounds every value: remove secureAggregation.valueRange and overflow",
        ".privacy",
    ),
)
