"""What both kinds of sums whose updates nobody sees have in common: their fields, and the rules of what they go with. Pure.

Used by secureaggregation.py (sums under masks) and homomorphicencryption.py (encrypted sums). A rule is written once, over the kind's
field, and its message names that field.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from fedapi.crd.fields import DURATION_RULE, INT_OR_STRING, Decimal, Duration, rule, rules
from fedapi.duration import PATTERN as DURATION_PATTERN

# Weighted sums of updates, whatever the hub's optimizer makes of them: nothing else can be told of what nobody sees.
SUMS = ("FedAvg", "FedAvgM", "FedProx", "FedSGD", "DiLoCo", "FedAdagrad", "FedAdam", "FedYogi")
DEFAULT_RANGE = "16"

Threshold = Annotated[
    int | Annotated[str, Field(max_length=8)] | None,
    Field(
        json_schema_extra=rules(
            rule(
                "type(self) == int ? self >= 2 : string(self).matches('^([1-9][0-9]?|100)%$')",
                "threshold must be a count of at least 2 or a percentage from 1% to 100%",
            ),
            rule("type(self) != int || self <= 1024", "threshold must be a count of at most 1024: lower it"),
        )
        | {INT_OR_STRING: True},
    ),
]
ValueRange = Annotated[
    Decimal | None,
    Field(
        description="The largest size that a value of an update has, in the model's own units. The sum has 2^31 steps for this range of "
        "all sites: a smaller range is finer. A decimal string over 0; absent: 16.",
        json_schema_extra=rules(
            rule(
                "double(self) >= 1e-9 && double(self) <= 1e9",
                "valueRange must be from 1e-9 to 1e9: for example '16', or what your updates' values have at most",
            )
        ),
    ),
]
ExchangeTimeout = Annotated[
    Duration,
    Field(
        json_schema_extra=rules(
            DURATION_RULE,
            rule(
                f"!self.matches('{DURATION_PATTERN}') || duration(self) >= duration('1s')",
                "exchangeTimeout must be at least 1s, or no site can answer in time: for example 30s or 2m",
            ),
        )
    ),
]
Overflow = Annotated[
    Literal["Fail", "Clip"] | None,
    Field(
        description="What a site does with values beyond valueRange. Fail (where it is not said): it does not take part in the round, and says how many there "
        "are. Clip: it sets them to the end of the range, and tells how many.",
    ),
]


@dataclass(frozen=True)
class Kind:
    """A kind of sum: its field of `spec.privacy`, and the words in which its rules differ."""

    field: str
    updates: str  # what its updates are
    noise: str  # what of them looks like noise
    sum: str
    dropped: str  # what an update that comes too late costs it
    least: str  # CEL: the fewest sites of a sum
    least_said: str
    more: str = ""  # what else than clients.perRound mends that
    robust: tuple[str, ...] = ()  # strategies that go with its `groups`; none: it has no groups

    @property
    def asked(self) -> str:
        """CEL of a job's spec: whether it asks for this kind."""
        return f"has(self.privacy) && has({self.path})"

    @property
    def path(self) -> str:
        """CEL of a job's spec: the field."""
        return f"self.privacy.{self.field}"


NOISY = "has(self.privacy) && has(self.privacy.differentialPrivacy)"
_BY_SITES = f"{NOISY} && self.privacy.differentialPrivacy.mode == 'Distributed'"


def summed(kind: Kind) -> tuple[dict[str, str], ...]:
    """Rules of the spec of a FederatedJob that asks for such a sum."""
    asked, field, path, robust = kind.asked, kind.field, kind.path, kind.robust
    in_groups = f" || has({path}.groups)" if robust else ""
    robust_too = f"{in_groups} && self.strategy.name in {list(robust)}" if robust else ""
    robust_said = f", and with {field}.groups also with {', '.join(robust)}" if robust else ""
    return (
        rule(
            f"({asked}) == ({asked.replace('self', 'oldSelf')})",
            f"privacy.{field} cannot be added or removed after creation, since sites have trained on its promise: delete the job "
            "and create it anew",
        ),
        rule(
            f"!({asked}) || self.strategy.name in {list(SUMS)}{robust_too}",
            f"privacy.{field} goes with strategies that add up updates ({', '.join(SUMS)}), since the aggregator sees no single one"
            f"{robust_said}: set another strategy.name{' or groups' if robust else ''}, or remove {field}",
            ".strategy",
        ),
        rule(
            f"!({asked}) || !has(self.strategy.diLoCo) || self.strategy.diLoCo.fragments == 1",
            f"{field} sums the whole model in every round: set strategy.diLoCo.fragments to 1, or remove {field}",
            ".strategy",
        ),
        rule(
            f"!({asked}) || !has(self.anomalies){in_groups}",
            f"anomalies are looked for in single updates, which {field} hides from the aggregator: "
            + (f"set {field}.groups, whose means are then judged, or " if robust else "")
            + f"remove anomalies, or {field}",
            ".anomalies",
        ),
        rule(
            f"!({asked}) || !has(self.compression) || self.compression.codec == 'None'",
            f"{kind.updates} updates cannot be compressed, since {kind.noise} look like noise: set compression.codec to None "
            f"(compression.download may stay), or remove {field}",
            ".compression",
        ),
        rule(
            f"!({asked}) || !has(self.clients.overrides) || "
            "self.clients.overrides.all(each, !has(each.modelWidth) || double(each.modelWidth) >= 1.0)",
            f"sub-models are averaged over the sites that have a number, and {kind.sum} is of all numbers of all sites: remove "
            f"modelWidth from clients.overrides, or {field}",
            ".clients.overrides",
        ),
        rule(
            f"!({asked}) || !has(self.round.overSelection) || double(self.round.overSelection) <= 1.0",
            f"with overSelection updates that come late are dropped, and each dropped one costs {field} {kind.dropped}: "
            f"remove round.overSelection (threshold and grace already let sites be slow), or {field}",
            ".round.overSelection",
        ),
        rule(
            f"!({asked}) || !has(self.storage.clientEncryption) || !has(self.storage.clientEncryption.enabled) || "
            "!self.storage.clientEncryption.enabled",
            f"{kind.updates} updates tell nothing to who reads the store, so that they are not encrypted again: remove "
            f"storage.clientEncryption (and aggregator.confidential, which needs it), or {field}",
            ".storage.clientEncryption",
        ),
        rule(
            f"!({asked}) || !has(self.clients.perRound) || self.clients.perRound >= {kind.least}",
            f"clients.perRound is below {kind.least_said}, so no sum could hide one site's update: raise perRound{kind.more}",
            ".clients.perRound",
        ),
        rule(
            f"!({asked}) || !has(self.clients.perRound) || !has({path}.threshold) || "
            f"type({path}.threshold) != int || {path}.threshold <= self.clients.perRound",
            f"{field}.threshold is above clients.perRound, so no sum could be opened: lower threshold, make it a percentage, or "
            "raise clients.perRound",
            ".clients.perRound",
        ),
        rule(
            f"!({asked}) || !has(self.events)",
            f"the steps of {field} do not travel by queue: remove events, so that sites speak over HTTPS, or {field}",
            ".events",
        ),
        rule(
            f"!({asked}) || self.rounds > 0",
            f"rounds 0 trains nothing, so that there are no updates to sum: raise rounds, or remove privacy.{field}",
            ".rounds",
        ),
        rule(
            f"!({_BY_SITES}) || !({asked}) || !has({path}.valueRange) && !has({path}.overflow)",
            f"with mode Distributed updates are clipped to clipNorm, which bounds every value: remove {field}.valueRange and overflow",
            ".privacy",
        ),
    )


NOISE_OF_SITES = (  # rules of a FederatedJob's spec, of either kind
    rule(
        f"!({NOISY}) || (self.privacy.differentialPrivacy.mode == 'Distributed') == "
        "(has(self.privacy.secureAggregation) || has(self.privacy.homomorphicEncryption))",
        "with differentialPrivacy, mode Distributed needs secureAggregation or homomorphicEncryption, and each of these needs it: sites add "
        "shares of noise that hide nothing alone, and what is masked or encrypted the aggregator cannot clip. Set mode to Distributed with "
        "one of them, or to Central or Local without",
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
)
