"""`spec.training` of a FederatedJob: what a site does in a round, and the pods it does it in.

Used by federatedjob.py and by the operator's rendering. What a round is, is not here.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from fedapi.crd.fields import LIST_TYPE, Decimal, Duration, Part, Quantity, immutable, rule, rules
from fedapi.crd.podfields import PodPatch, Resources

Patterns = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=253)]],
    Field(min_length=1, max_length=32, json_schema_extra={LIST_TYPE: "set"}),
]


class Optimizer(Part):
    """The optimizer at the sites."""

    name: Literal["SGD", "Adam", "AdamW"] = Field("SGD", description="Optimizer of torch.optim.")
    learning_rate: Decimal = Field("0.01", description="Learning rate; a decimal string.")
    momentum: Decimal | None = Field(None, description="Momentum, with SGD; a decimal string.")
    weight_decay: Decimal | None = Field(None, description="Weight decay; a decimal string.")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("double(self.learningRate) > 0.0", "learningRate must be over 0", ".learningRate"),
            rule(
                "!has(self.momentum) || double(self.momentum) >= 0.0",
                "momentum must not be below 0: remove the sign",
                ".momentum",
            ),
            rule(
                "!has(self.weightDecay) || double(self.weightDecay) >= 0.0",
                "weightDecay must not be below 0: remove the sign",
                ".weightDecay",
            ),
            rule(
                "!has(self.momentum) || self.name == 'SGD'", "momentum goes with SGD: remove it or use SGD", ".momentum"
            ),
        )
    )


class Training(Part):
    """What a site does in a round, and the pods it does it in."""

    epochs: int | None = Field(None, ge=1, le=10000, description="Passes over the site's data per round; default 1.")
    local_steps: int | None = Field(
        None, ge=1, le=10_000_000, description="Optimizer steps per round, instead of epochs."
    )
    lifetime: Literal["Job", "Round"] = Field(
        "Job",
        description="How long a site's training Job lives. Job: as long as the FederatedJob. Round: for one round of a "
        "selected site, so that its pool is free between rounds; then at most 1000 sites take part in a round.",
    )
    batch_size: int = Field(32, ge=1, le=1_000_000, description="Samples per optimizer step; see batchPer.")
    batch_per: Literal["Site", "Rank"] = Field(
        "Site",
        description="Whose samples batchSize counts. Site: the ranks of a site share a batch, so the result does not "
        "depend on how many there are. Rank: each rank takes batchSize samples; see learningRateScaling.",
    )
    gradient_accumulation_steps: int = Field(
        1,
        ge=1,
        le=1024,
        description="Parts in which a rank's share of a batch is computed one after the other, to need less memory.",
    )
    mixed_precision: Literal["None", "BFloat16", "Float16"] = Field(
        "None",
        description="Type of the forward and backward computation where that is safe (torch autocast); weights stay "
        "as they are. Float16 scales the loss.",
    )
    learning_rate_scaling: Literal["None", "Linear", "SquareRoot"] = Field(
        "None",
        description="With batchPer Rank: the learning rate grows with the number of ranks, or with its square root "
        "(Goyal et al. 2017).",
    )
    warmup_steps: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Optimizer steps of a site, counted over all rounds, in which the learning rate rises to its value.",
    )
    checkpoint_every: Duration = Field(
        "10s",
        description="Least time between two checkpoints within a round, kept on the site's state volume.",
    )
    determinism: Literal["Strict", "Warn"] = Field(
        "Strict",
        description="What becomes of a torch operation that has no deterministic algorithm on a site's device. Strict: "
        "the site ends with TaskInvalid. Warn: its log says so, and the same seed may give other bits.",
    )
    optimizer: Optimizer = Field(default_factory=Optimizer, description="The optimizer at the sites.")
    exchange: Patterns | None = Field(
        None,
        description="Names of the model's tensors that travel, as in its state_dict(), with `*` and `?`: adapters, for "
        "example. The others are frozen. Absent: all travel that train; parameters with requires_grad false never do.",
        json_schema_extra=immutable("training.exchange"),
    )
    local_parameters: Patterns | None = Field(
        None,
        description="Names of the model's tensors that stay at each site and are trained there, in the same form: its head "
        "(FedPer), or its normalization layers (FedBN). They are kept on the FLClient's state volume.",
        json_schema_extra=immutable("training.localParameters"),
    )
    resources: Resources | None = Field(None, description="Compute resources of a training container.")
    shared_memory: Quantity | None = Field(
        None,
        description="Size of /dev/shm, which workers of a DataLoader and NCCL use. It is memory: what lies there counts "
        "against the container's memory limit. Default: half of that limit, 2Gi without one.",
    )
    pod_template: PodPatch | None = Field(None, description="Additions to the training pods.")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("!(has(self.epochs) && has(self.localSteps))", "epochs and localSteps exclude each other: keep one"),
            rule(
                "self.learningRateScaling == 'None' || self.batchPer == 'Rank'",
                "learningRateScaling goes with batchPer Rank: with batchPer Site the batch does not grow with the ranks",
                ".learningRateScaling",
            ),
            rule(
                "!has(self.exchange) || !has(self.localParameters) || !self.exchange.exists(name, name in self.localParameters)",
                "a name is in exchange and in localParameters: what travels does not stay at the site, take it out of one",
                ".localParameters",
            ),
        )
    )
