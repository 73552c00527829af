"""`spec.privacy` of a FederatedJob, the rules of what it goes with, and `status.privacy`. Used by federatedjob.py and job_status.py.

The arithmetic is in fedcore.privacy; docs/privacy.md says what is promised.
"""

from typing import Literal

from pydantic import ConfigDict, Field

from fedapi.crd.fields import Decimal, Part, StatusPart, immutable, rule, rules
from fedapi.wire import privacy as wire

# Sums of updates, whatever the hub's optimizer makes of them: then the bound of one update bounds what all that follows tells.
SUMS = ("FedAvg", "FedAvgM", "FedProx", "FedSGD", "DiLoCo", "FedAdagrad", "FedAdam", "FedYogi")
UNHIDDEN = ("SCAFFOLD", "FedBuff", "Custom")  # whose sites send more than one update of a round's model
_MODE = "has(self.privacy) && self.privacy.differentialPrivacy.mode =="
CENTRAL, _LOCAL = f"({_MODE} 'Central')", f"({_MODE} 'Local')"
_MOST_BANDS = 64


class MatrixFactorization(Part):
    """Noise that later rounds take back a part of, where sites are away for some rounds each time they took part (DP-FTRL)."""

    min_separation: int = Field(
        ge=2,
        le=1000,
        description="b: a site takes part at most every b-th round; others are not chosen, whatever clients.policy says. Choose "
        "clients.perRound so that perRound x minSeparation is at most the number of sites.",
    )
    bands: int | None = Field(
        None,
        ge=2,
        le=_MOST_BANDS,
        description="So many rounds share a round's noise, itself included; each costs the fold one more draw. Absent: "
        "minSeparation, at most 64.",
    )

    def told(self) -> wire.MatrixFactorization:
        """As the aggregator is told."""
        bands = self.bands or min(self.min_separation, _MOST_BANDS)
        return wire.MatrixFactorization(bands=bands, min_separation=self.min_separation)


class DifferentialPrivacy(Part):
    """Noise that hides a site: each update is clipped, and noise is added to their sum, or by each site to its own."""

    mode: Literal["Central", "Local"] = Field(
        description="Who adds the noise. Central: the aggregator, once, to the sum of the clipped updates; it sees the updates, and "
        "what it releases is private. Local: each site, to its own update before anything of it leaves, so that nobody else ever sees "
        "an exact one; whether a site did so, nobody else can verify.",
        json_schema_extra=immutable("privacy.differentialPrivacy.mode"),
    )
    clip_norm: Decimal = Field(
        description="C: the Euclidean norm that a site's update has at most; longer ones are scaled down. A decimal string over 0, "
        "near the norm that updates of your task have."
    )
    clipping: Literal["Flat", "PerLayer"] = Field(
        "Flat",
        description="Flat: the update as a whole is scaled to clipNorm. PerLayer: each tensor by itself, to clipNorm / "
        "sqrt(number of tensors), so that one large tensor does not take the room of the others.",
    )
    noise_multiplier: Decimal | None = Field(
        None,
        description="z: the noise of the sum, with mode Local of each update, has the standard deviation z x clipNorm. Absent: as little as targetEpsilon allows "
        "for over `rounds`. A decimal string over 0.",
    )
    target_epsilon: Decimal | None = Field(
        None,
        description="The epsilon (of one site, at `delta`) that all rounds together may spend. A round that would pass it is not "
        "run: the job ends with PrivacyBudgetSpent. A decimal string over 0.",
    )
    matrix_factorization: MatrixFactorization | None = Field(
        None,
        description="Correlates the noise of the rounds, so that models have less of it at the same epsilon, where sites do not take "
        "part in every round; absent: each round has independent Gaussian noise.",
    )
    delta: Decimal = Field(
        description="The delta of every epsilon: over 0 and at most 0.1, well below 1 / number of sites. A decimal string.",
        json_schema_extra=immutable("privacy.differentialPrivacy.delta"),
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.noiseMultiplier) || has(self.targetEpsilon)",
                "differentialPrivacy needs noiseMultiplier or targetEpsilon, without which there is no noise: set one, or both",
            ),
            rule(
                "!has(self.matrixFactorization) || self.mode == 'Central'",
                "matrixFactorization correlates the noise that the aggregator adds: set mode to Central, or remove it",
                ".matrixFactorization",
            ),
            rule("double(self.clipNorm) > 0.0", "clipNorm must be over 0, for example '1.0'", ".clipNorm"),
            rule(
                "!has(self.noiseMultiplier) || (double(self.noiseMultiplier) >= 0.01 && double(self.noiseMultiplier) <= 1000000.0)",
                "noiseMultiplier must be from 0.01, which hides next to nothing, to 1000000: for example '1.0'",
                ".noiseMultiplier",
            ),
            rule(
                "!has(self.targetEpsilon) || (double(self.targetEpsilon) >= 0.001 && double(self.targetEpsilon) <= 1000.0)",
                "targetEpsilon must be from 0.001 to 1000, above which nothing is promised: for example '8'",
                ".targetEpsilon",
            ),
            rule(
                "double(self.delta) >= 1e-15 && double(self.delta) <= 0.1",
                "delta must be from 1e-15 to 0.1, for example '1e-5'",
                ".delta",
            ),
        )
    )

    def told(self) -> wire.Privacy:
        """As the aggregator is told."""
        noise, target = self.noise_multiplier, self.target_epsilon
        return wire.Privacy(
            mode=self.mode,
            clip_norm=float(self.clip_norm),
            clipping=self.clipping,
            noise_multiplier=None if noise is None else float(noise),
            target_epsilon=None if target is None else float(target),
            delta=float(self.delta),
            matrix_factorization=self.matrix_factorization.told() if self.matrix_factorization else None,
        )


class Privacy(Part):
    """What may be told of a site by what the job releases."""

    differential_privacy: DifferentialPrivacy = Field(
        description="A bound, accounted round by round, on what the models tell of one site."
    )


PRIVATE = (  # rules of a FederatedJob's spec
    rule(
        "has(self.privacy) == has(oldSelf.privacy)",
        "privacy cannot be added or removed after creation, since rounds without noise have no epsilon: delete the job and create "
        "it anew",
    ),
    rule(
        f"!{CENTRAL} || self.strategy.name in {list(SUMS)}",
        f"privacy.differentialPrivacy with mode Central goes with strategies that add up updates ({', '.join(SUMS)}). Of the others, robust rules choose "
        "among updates and FedNova weighs them by steps, which clipping does not bound, SCAFFOLD's sites send a second result, and "
        "FedBuff's updates are of models that were released meanwhile: set another strategy.name, or remove privacy",
        ".strategy",
    ),
    rule(
        f"!{_LOCAL} || !(self.strategy.name in {list(UNHIDDEN)})",
        "with mode Local a site hides the one update that it sends in a round, and accounts for it: SCAFFOLD's sites send a second result, "
        "FedBuff's send as often as they are fast, and what Custom asks of them is not known: set another strategy.name, or remove privacy",
        ".strategy",
    ),
    rule(
        f"!{CENTRAL} || !has(self.clients.overrides) || "
        "self.clients.overrides.all(each, !has(each.modelWidth) || double(each.modelWidth) >= 1.0)",
        "sub-models are averaged over the sites that have a number, and how many have it tells who took part: with mode Central remove "
        "modelWidth from clients.overrides",
        ".clients.overrides",
    ),
    rule(
        f"!{CENTRAL} || !has(self.round.overSelection) || double(self.round.overSelection) <= 1.0",
        "with overSelection another site's update counts where one stays away, so that who takes part moves the sum by two updates "
        "and not by one: with mode Central remove round.overSelection",
        ".round.overSelection",
    ),
)
_MATRIX = (
    "!has(self.privacy) || !has(self.privacy.differentialPrivacy) || "
    "!has(self.privacy.differentialPrivacy.matrixFactorization) || "
)
CORRELATED = (  # rules of a FederatedJob's spec
    rule(
        _MATRIX + "self.clients.policy != 'All'",
        "matrixFactorization keeps a site that took part away from the next rounds, and policy All leaves nobody for those: set another "
        "clients.policy, with perRound at most number of sites / minSeparation, or remove matrixFactorization",
        ".clients.policy",
    ),
    rule(
        _MATRIX + "!has(self.strategy.diLoCo) || self.strategy.diLoCo.fragments == 1",
        "matrixFactorization takes noise back in the next round, in which another fragment travels: remove it, or strategy.diLoCo.fragments",
        ".strategy",
    ),
    rule(
        _MATRIX + "!has(self.aggregator.confidential)",
        "matrixFactorization makes the noise of earlier rounds again, whose key a confidential aggregator takes with it when it ends: "
        "remove it, or aggregator.confidential",
        ".aggregator",
    ),
)


class PrivacyStatus(StatusPart):
    """What the committed models tell of one site at most. Written by the aggregator."""

    mode: Literal["Central", "Local"] = Field(
        description="Who adds the noise. Central: the aggregator. Local: the sites, as they say themselves."
    )
    unit: Literal["Site"] = Field(
        description="Whose privacy epsilon is: Site, all data of one FLClient; with mode Central by its update being in the sums or not, "
        "with mode Local by whatever its data might have been."
    )
    epsilon: Decimal = Field(
        description="Spent by all committed rounds together, those that were rolled back included; with mode Local by all updates that a "
        "site was asked for. Rounded up, a decimal string."
    )
    delta: Decimal = Field(description="The delta of it; a decimal string.")
    target_epsilon: Decimal | None = Field(None, description="What may be spent, as spec.privacy says it.")
    noise_multiplier: Decimal | None = Field(
        None, description="z of the last committed round that released something; a decimal string."
    )
