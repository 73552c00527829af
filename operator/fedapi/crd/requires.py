"""`spec.requires` of an FLClient: what a site demands of the jobs that it takes part in. Used by flclient.py.

The operator keeps a site out of jobs that cannot be what it demands; that they are, the site's trainer has proved to itself.
"""

from pydantic import ConfigDict, Field

from fedapi.crd.confidential import ConfidentialDemand
from fedapi.crd.fields import Decimal, Part, rule, rules
from fedapi.crd.privacyrules import delta_bounds, epsilon_bounds, noise_bounds
from fedapi.wire import privacy as wire


class PrivacyDemand(Part):
    """Who may see the site's updates, how much noise must hide them, and how much they may tell in all."""

    secure_aggregation: bool = Field(
        False,
        description="The site takes part only where its updates are summed with those of others, and the aggregator sees no single one, even "
        "if it works with another site: its trainer refuses any other order, that of a job with homomorphicEncryption included, in which "
        "every site has the key. Noise that is demanded beside it is then that of the sum (differentialPrivacy.mode "
        "Distributed), and without it that of the site's own update (mode Local).",
    )
    min_noise_multiplier: Decimal | None = Field(
        None,
        description="Least noiseMultiplier that the site is asked for, of its own update, or with secureAggregation of the sum: its trainer "
        "refuses orders that ask for less. A decimal string.",
    )
    max_epsilon: Decimal | None = Field(
        None,
        description="The epsilon (of this site, at `delta`) that all its updates of one job may tell together, by the site's own record of "
        "what it has sent, or with secureAggregation of the sums that it has handed its masked update in for: its trainer refuses orders "
        "beyond it, whoever asks and however often. A decimal string.",
    )
    delta: Decimal | None = Field(
        None, description="The delta of maxEpsilon: over 0 and at most 0.1. A decimal string, for example '1e-5'."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.secureAggregation || has(self.minNoiseMultiplier) || has(self.maxEpsilon)",
                "requires.privacy needs secureAggregation: true, minNoiseMultiplier or maxEpsilon, without which it demands nothing: set "
                "one, or more",
            ),
            rule(
                "!self.secureAggregation || !has(self.minNoiseMultiplier) || double(self.minNoiseMultiplier) <= 1000.0",
                "with secureAggregation minNoiseMultiplier must be at most 1000, which is all that a job with mode Distributed may ask for: "
                "lower it",
                ".minNoiseMultiplier",
            ),
            rule(
                "has(self.maxEpsilon) == has(self.delta)",
                "maxEpsilon needs delta (for example '1e-5'), and nothing else takes it: set both, or none",
                ".maxEpsilon",
            ),
            noise_bounds("minNoiseMultiplier", "0.01", "1000000"),
            epsilon_bounds("maxEpsilon", "0.001"),
            delta_bounds("1e-15", optional=True),
        )
    )

    def told(self) -> wire.PrivacyDemand:
        """As the site's trainer is told."""
        least, most, delta = self.min_noise_multiplier, self.max_epsilon, self.delta
        return wire.PrivacyDemand(
            secure_aggregation=self.secure_aggregation,
            min_noise_multiplier=None if least is None else float(least),
            max_epsilon=None if most is None else float(most),
            delta=None if delta is None else float(delta),
        )


class Requires(Part):
    """What the site demands of the jobs that it takes part in."""

    confidential: ConfidentialDemand | None = Field(
        None,
        description="Present: the site takes part in jobs with aggregator.confidential alone, and its trainer works for an "
        "aggregator that has proved, to it, that it is what is said here. Absent: it asks for no proof.",
    )
    privacy: PrivacyDemand | None = Field(
        None,
        description="Present: the site takes part only in jobs that hide its updates as is said here, and its trainer sends none that tells "
        "more. Absent: it adds the noise, and masks its updates, as a job asks.",
    )


REMEMBERS_RELEASES = rule(  # of an FLClient's spec
    "!has(self.requires) || !has(self.requires.privacy) || !has(self.requires.privacy.maxEpsilon) || has(self.state)",
    "requires.privacy.maxEpsilon is held against what the site remembers of its updates, which without a volume is lost with its pod: set "
    "state.persistentVolumeClaim",
    ".requires.privacy",
)
