"""`spec.clients` of a FederatedJob: which sites belong to it, which of them take part in a round, and what some do otherwise.

Used by federatedjob.py and by the operator, which resolves selectors, strata and overrides to sites; policies are in
fedcore.selection.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from fedapi.crd.fields import LIST_TYPE, Decimal, Labels, Part, Short, rule, rules
from fedapi.wire.job import DEFAULT_MAX_SAMPLES, ClientCertificates, Policy
from fedapi.wire.metrics import MAX_SAMPLES
from fedapi.wire.training import MAX_OVERRIDES


class Requirement(Part):
    """One requirement of a label selector."""

    key: Annotated[str, Field(min_length=1, max_length=316)] = Field(description="Label key.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="Relation of key and values.")
    values: Annotated[list[Short], Field(max_length=32, json_schema_extra={LIST_TYPE: "set"})] | None = Field(
        None, description="Values for In and NotIn."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
                "values are required with In and NotIn, and must be absent with Exists and DoesNotExist",
            )
        )
    )


class Selector(Part):
    """A label selector over the FLClients of the job's namespace. An empty selector selects all."""

    match_labels: Labels | None = Field(None, description="Labels that must all be equal.")
    match_expressions: (
        Annotated[list[Requirement], Field(max_length=16, json_schema_extra={LIST_TYPE: "atomic"})] | None
    ) = Field(None, description="Requirements that must all hold.")


class Strata(Part):
    """What makes two sites alike: those with the same values are one stratum."""

    fields: (
        Annotated[
            list[Literal["Provider", "Region", "Organization", "Accelerator"]],
            Field(max_length=4, json_schema_extra={LIST_TYPE: "set"}),
        ]
        | None
    ) = Field(None, description="Fields of the FLClient; Accelerator is its `pool.accelerator`.")
    labels: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=316)]],
            Field(max_length=4, json_schema_extra={LIST_TYPE: "set"}),
        ]
        | None
    ) = Field(None, description="Keys of labels of the FLClient.")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "(has(self.fields) && size(self.fields) > 0) || (has(self.labels) && size(self.labels) > 0)",
                "stratified needs fields or labels that tell the strata, for example fields: [Region]",
            )
        )
    )


class Override(Part):
    """What some sites do otherwise than `training` says."""

    selector: Selector = Field(description="Labels of the FLClients that it is for.")
    batch_size: int | None = Field(None, ge=1, le=1_000_000, description="In the place of `training.batchSize`.")
    epochs: int | None = Field(
        None, ge=1, le=10000, description="In the place of `training.epochs` or `training.localSteps`."
    )
    local_steps: int | None = Field(
        None, ge=1, le=10_000_000, description="In the place of `training.localSteps` or `training.epochs`."
    )
    model_width: Decimal | None = Field(
        None,
        description="What the task's `model(width)` is called with: the share of the whole model's width, or of its adapters' "
        "rank, that these sites train, as a sub-model. Over 0 and at most 1, which is the whole model; a decimal string.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.batchSize) || has(self.epochs) || has(self.localSteps) || has(self.modelWidth)",
                "an override needs batchSize, epochs, localSteps or modelWidth: set what is to be otherwise",
            ),
            rule(
                "!has(self.modelWidth) || (double(self.modelWidth) > 0.0 && double(self.modelWidth) <= 1.0)",
                "modelWidth must be over 0 and at most 1, for example '0.5'",
                ".modelWidth",
            ),
            rule("!(has(self.epochs) && has(self.localSteps))", "epochs and localSteps exclude each other: keep one"),
        )
    )

    @property
    def width(self) -> float | None:
        """Of the sub-model; None: the whole model."""
        width = 1.0 if self.model_width is None else float(self.model_width)
        return width if width < 1 else None


class Clients(Part):
    """Which sites take part."""

    selector: Selector = Field(
        default_factory=Selector, description="Labels of the FLClients that belong to the job; empty selects all."
    )
    policy: Policy = Field(
        "All",
        description="Which eligible sites take part in a round. All: every one. Random: `perRound` or `fraction` of them, drawn "
        "by seed. Stratified: so many of each stratum as its share is. ResourceAware: those whose measured training fits the "
        "deadline. Fair: those whose turn is longest ago. Poisson: each by itself, with probability `fraction`.",
    )
    per_round: int | None = Field(
        None, ge=1, le=100000, description="Sites per round; with policy Random, Stratified, ResourceAware or Fair."
    )
    fraction: Decimal | None = Field(
        None,
        description="Share of the eligible sites per round, over 0 and at most 1, in the place of perRound; with policy Poisson "
        "the probability of each.",
    )
    stratified: Strata | None = Field(None, description="What tells the strata; with policy Stratified.")
    overrides: (
        Annotated[list[Override], Field(max_length=MAX_OVERRIDES, json_schema_extra={LIST_TYPE: "atomic"})] | None
    ) = Field(None, description="What some sites do otherwise; of several that select a site the first holds.")
    min_available: int = Field(
        1,
        ge=1,
        le=100000,
        description="Sites that must be connected and fit to take part before the first round begins.",
    )
    max_samples: int = Field(
        DEFAULT_MAX_SAMPLES,
        ge=1,
        le=MAX_SAMPLES,
        description="Samples that a site may claim for an update or an evaluation; more is refused. Updates and metrics "
        "are weighted by them, and nobody can check them: set it near what your largest site has.",
    )

    certificates: ClientCertificates = Field(
        "Optional",
        description="Whether a site shows its certificate to the aggregator (mutual TLS). Optional: its token is enough; a "
        "certificate that is shown must be of the same site in this job. Required: every connection needs it, so that a stolen "
        "token alone opens nothing. The operator makes them for a day and renews them. Messages of queues and an object store's "
        "URLs have no such connection.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(self.policy in ['Random', 'Stratified', 'Fair']) || has(self.perRound) != has(self.fraction)",
                "policy Random needs perRound or fraction, one of them, and so do Stratified and Fair",
            ),
            rule(
                "self.policy != 'All' || (!has(self.perRound) && !has(self.fraction))",
                "policy All takes neither perRound nor fraction: remove them, or set policy: Random",
            ),
            rule(
                "self.policy != 'ResourceAware' || !has(self.perRound) || !has(self.fraction)",
                "perRound and fraction exclude each other: keep one",
            ),
            rule(
                "self.policy != 'Poisson' || (has(self.fraction) && !has(self.perRound))",
                "policy Poisson draws each site by itself: it needs fraction, the probability, and takes no perRound",
            ),
            rule(
                "(self.policy == 'Stratified') == has(self.stratified)",
                "policy Stratified needs stratified, and no other takes it: say what tells the strata, or remove it",
                ".stratified",
            ),
            rule(
                "!has(self.fraction) || (double(self.fraction) > 0.0 && double(self.fraction) <= 1.0)",
                "fraction must be over 0 and at most 1, for example '0.5'",
                ".fraction",
            ),
            rule(
                "!has(self.perRound) || self.perRound >= self.minAvailable",
                "perRound is below minAvailable: raise perRound or lower minAvailable",
                ".perRound",
            ),
        )
    )

    @property
    def widths(self) -> tuple[float, ...]:
        """Of all sub-models that sites may be asked to train."""
        return tuple(sorted({each.width for each in self.overrides or () if each.width is not None}))
