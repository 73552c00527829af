"""`spec.privacy.dpSGD` of a FederatedJob, the rules of what it goes with, and `status.recordPrivacy`. Used by privacy.py, federatedjob.py and job_status.py.

The sites train by it and account for it (fedtrainer.training.dpsgd); docs/dp-sgd.md says what is promised.
"""

from typing import Literal

from pydantic import ConfigDict, Field

from fedapi.crd.fields import Decimal, Name, Part, StatusPart, immutable, rule, rules
from fedapi.crd.privacyrules import delta_bounds, epsilon_bounds, noise_bounds
from fedapi.wire import privacy as wire


class DPSGD(Part):
    """Training that hides each record: gradients are clipped record by record, and each step has noise (Abadi et al. 2016)."""

    max_grad_norm: Decimal = Field(
        description="C: the Euclidean norm that the gradient of one record has at most; longer ones are scaled down. A decimal "
        "string over 0, near the norm that gradients of your task have."
    )
    noise_multiplier: Decimal | None = Field(
        None,
        description="z: the noise of a step's sum of gradients has the standard deviation z x maxGradNorm. Absent: each site takes "
        "as little as targetEpsilon allows it over `rounds`. A decimal string.",
    )
    target_epsilon: Decimal | None = Field(
        None,
        description="The epsilon (of one record, at `delta`) that all updates of a site together may spend. A site trains no "
        "round that would pass it, and says so with PrivacyBudgetSpent: it is selected no more. A decimal string.",
    )
    delta: Decimal = Field(
        description="The delta of every epsilon: over 0 and at most 0.1, well below 1 / records of a site. A decimal string.",
        json_schema_extra=immutable("privacy.dpSGD.delta"),
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.noiseMultiplier) || has(self.targetEpsilon)",
                "dpSGD needs noiseMultiplier or targetEpsilon, without which there is no noise: set one, or both",
            ),
            rule("double(self.maxGradNorm) > 0.0", "maxGradNorm must be over 0, for example '1.0'", ".maxGradNorm"),
            noise_bounds("noiseMultiplier", "0.1", "10000"),
            epsilon_bounds("targetEpsilon", "0.01"),
            delta_bounds("1e-12"),
        )
    )

    def told(self, rounds: int) -> wire.DPSGD:
        """As the sites of a job with so many rounds are told."""
        noise, target = self.noise_multiplier, self.target_epsilon
        return wire.DPSGD(
            max_grad_norm=float(self.max_grad_norm),
            noise_multiplier=None if noise is None else float(noise),
            target_epsilon=None if target is None else float(target),
            delta=float(self.delta),
            rounds=rounds,
        )


_ASKED = "(has(self.privacy) && has(self.privacy.dpSGD))"
HIDING_RECORDS = (  # rules of a FederatedJob's spec
    rule(
        f"{_ASKED} == (has(oldSelf.privacy) && has(oldSelf.privacy.dpSGD))",
        "privacy.dpSGD cannot be added or removed after creation, since rounds without noise have no epsilon: delete the job and "
        "create it anew",
    ),
    rule(
        f"!{_ASKED} || self.strategy.name != 'FedSGD'",
        "privacy.dpSGD makes steps with noise, and FedSGD makes none: set another strategy.name, for example FedAvg with "
        "training.localSteps 1, or remove dpSGD",
        ".strategy",
    ),
    rule(
        f"!{_ASKED} || self.training.mixedPrecision == 'None'",
        "privacy.dpSGD clips gradients in the model's own precision: set training.mixedPrecision to None, or remove dpSGD",
        ".training.mixedPrecision",
    ),
    rule(
        f"!{_ASKED} || !has(self.restoreFrom)",
        "with privacy.dpSGD each site keeps the account of what it has told under the job that it told it in, which a restored job "
        "is not: remove restoreFrom, or dpSGD",
        ".restoreFrom",
    ),
)


class RecordPrivacyStatus(StatusPart):
    """What the updates of a site tell of one record of its data at most, as the sites account for it. Written by the aggregator."""

    unit: Literal["Record"] = Field(
        description="Whose privacy epsilon is: Record, one sample of a site's training data, by its being there or not."
    )
    epsilon: Decimal = Field(
        description="The largest of all sites: spent by all updates that have left it; rounded up, a decimal string."
    )
    delta: Decimal = Field(description="The delta of it; a decimal string.")
    target_epsilon: Decimal | None = Field(None, description="What each site may spend, as spec.privacy says it.")
    site: Name = Field(description="Name of the FLClient whose epsilon it is.")
