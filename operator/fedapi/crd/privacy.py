"""`spec.privacy` of a FederatedJob, the rules of what it goes with, and `status.privacy`. Used by federatedjob.py and job_status.py.

The arithmetic is in fedcore.privacy; docs/privacy.md says what is promised.
"""

from typing import Literal

from pydantic import ConfigDict, Field

from fedapi.crd.dpsgd import DPSGD
from fedapi.crd.fields import Decimal, Part, StatusPart, immutable, rule, rules
from fedapi.crd.homomorphicencryption import HomomorphicEncryption
from fedapi.crd.privacyrules import delta_bounds, epsilon_bounds, noise_bounds
from fedapi.crd.secureaggregation import SecureAggregation
from fedapi.crd.securesums import SUMS
from fedapi.wire import privacy as wire

UNHIDDEN = ("SCAFFOLD", "FedBuff", "Custom")  # whose sites send more than one update of a round's model
_MODE = "has(self.privacy) && has(self.privacy.differentialPrivacy) && self.privacy.differentialPrivacy.mode =="
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


class AdaptiveClipping(Part):
    """A clip norm that follows the updates: each round counts, with noise, how many of them are within it."""

    target_quantile: Decimal = Field(
        "0.5",
        description="The share of the sites whose updates are to be within the clip norm. A decimal string between 0 and 1.",
    )
    learning_rate: Decimal = Field(
        "0.2",
        description="How fast it follows: after a round the clip norm is multiplied by exp(-learningRate x (share - targetQuantile)). A "
        "decimal string over 0, at most 5.",
    )
    count_noise: Decimal | None = Field(
        None,
        description="Standard deviation of the noise of the count, in sites. Absent: a twentieth of the sites, at least noiseMultiplier. "
        "A decimal string.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "double(self.targetQuantile) > 0.0 && double(self.targetQuantile) < 1.0",
                "targetQuantile must be over 0 and under 1, for example '0.5', the median",
                ".targetQuantile",
            ),
            rule(
                "double(self.learningRate) > 0.0 && double(self.learningRate) <= 5.0",
                "learningRate must be over 0 and at most 5, for example '0.2'",
                ".learningRate",
            ),
            rule(
                "!has(self.countNoise) || (double(self.countNoise) > 0.0 && double(self.countNoise) <= 1000000.0)",
                "countNoise must be over 0 and at most 1000000: for example '2', or remove it",
                ".countNoise",
            ),
        )
    )

    def told(self) -> wire.AdaptiveClipping:
        """As the aggregator is told."""
        noise = self.count_noise
        return wire.AdaptiveClipping(
            target_quantile=float(self.target_quantile),
            learning_rate=float(self.learning_rate),
            count_noise=None if noise is None else float(noise),
        )


class DifferentialPrivacy(Part):
    """Noise that hides a site: each update is clipped, and noise is added to their sum, or by each site to its own."""

    mode: Literal["Central", "Local", "Distributed"] = Field(
        description="Who adds the noise. Central: the aggregator, once, to the sum of the clipped updates; it sees the updates, and "
        "what it releases is private. Local: each site, to its own update before anything of it leaves, so that nobody else ever sees "
        "an exact one; whether a site did so, nobody else can verify. Distributed: each site clips its update and adds a share of the noise "
        "before it masks it (with secureAggregation) or encrypts it (with homomorphicEncryption), so that the aggregator itself sees "
        "nothing but a sum with all of the noise.",
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
    adaptive_clipping: AdaptiveClipping | None = Field(
        None,
        description="Present: clipNorm is that of the first round, and later ones follow the lengths of the updates, by counts that are "
        "a part of what is accounted for. Absent: it stays.",
    )
    noise_multiplier: Decimal | None = Field(
        None,
        description="z: the noise of the sum, with mode Local of each update, has the standard deviation z x clipNorm, with mode "
        "Distributed that of the fewest sites which may stay, without the colluding ones. Absent: as little as targetEpsilon allows "
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
                "!has(self.adaptiveClipping) || (self.mode == 'Central' && self.clipping == 'Flat')",
                "adaptiveClipping counts whole updates at the aggregator: it goes with mode Central and clipping Flat, or remove it",
                ".adaptiveClipping",
            ),
            rule(
                "!has(self.adaptiveClipping) || !has(self.adaptiveClipping.countNoise) || (has(self.noiseMultiplier) && "
                "double(self.adaptiveClipping.countNoise) * 2.0 > double(self.noiseMultiplier))",
                "adaptiveClipping.countNoise must be over half of noiseMultiplier, which it goes with: with less, the count alone would tell "
                "more than both may; set noiseMultiplier and a countNoise over half of it, or remove countNoise",
                ".adaptiveClipping",
            ),
            rule(
                "!has(self.adaptiveClipping) || !has(self.matrixFactorization)",
                "matrixFactorization correlates noise of one size, and adaptiveClipping changes the size by the round: remove one of them",
                ".adaptiveClipping",
            ),
            rule(
                "!has(self.matrixFactorization) || self.mode == 'Central'",
                "matrixFactorization correlates the noise that the aggregator adds: set mode to Central, or remove it",
                ".matrixFactorization",
            ),
            rule("double(self.clipNorm) > 0.0", "clipNorm must be over 0, for example '1.0'", ".clipNorm"),
            noise_bounds("noiseMultiplier", "0.01", "1000000"),
            epsilon_bounds("targetEpsilon", "0.001"),
            delta_bounds("1e-15"),
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
            adaptive=self.adaptive_clipping.told() if self.adaptive_clipping else None,
            matrix_factorization=self.matrix_factorization.told() if self.matrix_factorization else None,
        )


class Privacy(Part):
    """What may be told of a site, by what the job releases and to the aggregator itself."""

    differential_privacy: DifferentialPrivacy | None = Field(
        None,
        description="A bound, accounted round by round, on what the models tell of one site; absent: nothing bounds it.",
    )
    secure_aggregation: SecureAggregation | None = Field(
        None,
        description="Sums of updates under masks, of which the aggregator sees no single one; absent: it sees each.",
    )
    homomorphic_encryption: HomomorphicEncryption | None = Field(
        None,
        description="Sums of encrypted updates: the aggregator adds them up without the key, and learns the sum alone. Every selected site "
        "has the key, so that one that works with the aggregator, or reads its store, reads all updates; secureAggregation is for sites "
        "that do not trust each other so far. About 36 bytes a value up, and 32 down for the sum. Absent: the aggregator sees each.",
    )
    dp_sgd: DPSGD | None = Field(
        None,
        alias="dpSGD",
        description="A bound, accounted by each site for itself, on what its updates tell of one record of its data. Beside "
        "differentialPrivacy or without it.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.differentialPrivacy) || has(self.secureAggregation) || has(self.homomorphicEncryption) || has(self.dpSGD)",
                "privacy says nothing: set privacy.differentialPrivacy, privacy.secureAggregation, privacy.homomorphicEncryption or "
                "privacy.dpSGD, or remove privacy",
            ),
            rule(
                "!has(self.secureAggregation) || !has(self.homomorphicEncryption)",
                "secureAggregation and homomorphicEncryption exclude each other, since an update is masked or encrypted: remove one of them",
                ".homomorphicEncryption",
            ),
        )
    )

    @property
    def sum_alone(self) -> SecureAggregation | HomomorphicEncryption | None:
        """How updates are summed so that the aggregator sees no single one; None: it sees each."""
        return self.secure_aggregation or self.homomorphic_encryption


_ASKED = "(has(self.privacy) && has(self.privacy.differentialPrivacy))"
PRIVATE = (  # rules of a FederatedJob's spec
    rule(
        f"{_ASKED} == (has(oldSelf.privacy) && has(oldSelf.privacy.differentialPrivacy))",
        "privacy.differentialPrivacy cannot be added or removed after creation, since rounds without noise have no epsilon: delete "
        "the job and create it anew",
    ),
    rule(
        f"!{CENTRAL} || self.strategy.name in {list(SUMS)}",
        f"privacy.differentialPrivacy with mode Central goes with strategies that add up updates ({', '.join(SUMS)}). Of the others, robust rules choose "
        "among updates and FedNova weighs them by steps, which clipping does not bound, SCAFFOLD's sites send a second result, and "
        "FedBuff's updates are of models that were released meanwhile: set another strategy.name, or remove differentialPrivacy",
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

    mode: Literal["Central", "Local", "Distributed"] = Field(
        description="Who adds the noise. Central: the aggregator. Local: the sites, as they say themselves. Distributed: the sites, each a "
        "share of it."
    )
    unit: Literal["Site"] = Field(
        description="Whose privacy epsilon is: Site, all data of one FLClient; with mode Central by its update being in the sums or not, "
        "with mode Local by whatever its data might have been."
    )
    epsilon: Decimal = Field(
        description="Spent by all committed rounds together, those that were rolled back included; with mode Local by all updates that a "
        "site was asked for, with mode Distributed by attempts, too, whose sum might have been opened. Rounded up, a decimal string."
    )
    delta: Decimal = Field(description="The delta of it; a decimal string.")
    clip_norm: Decimal | None = Field(
        None,
        description="With adaptiveClipping: the clip norm of the round after the last committed one; a decimal string.",
    )
    target_epsilon: Decimal | None = Field(None, description="What may be spent, as spec.privacy says it.")
    noise_multiplier: Decimal | None = Field(
        None, description="z of the last committed round that released something; a decimal string."
    )
