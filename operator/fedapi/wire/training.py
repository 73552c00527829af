"""What a site does in a round: training settings, as plans and orders bring them, and what some sites do otherwise."""

from typing import Annotated, Literal

from pydantic import Field

from fedapi.wire.message import Message
from fedapi.wire.privacy import DPSGD

MAX_OVERRIDES = 10  # of one job


class OptimizerSettings(Message):
    """The optimizer at the sites."""

    name: Literal["SGD", "Adam", "AdamW"] = "SGD"
    learning_rate: float = Field(0.01, gt=0)
    momentum: float = 0.0
    weight_decay: float = 0.0


class Method(Message):
    """What a strategy asks of a training beside the optimizer's steps. Each part needs a feature (wire.protocol)."""

    proximal: float | None = Field(
        None, ge=0, description="mu: gradients are those of the loss and mu / 2 * |w - base|^2 (FedProx)."
    )
    full_gradient: bool = Field(
        False, description="No step is made: the update is minus the gradient of the mean loss over all data (FedSGD)."
    )
    control_variates: int | None = Field(
        None,
        ge=1,
        description="Gradients are corrected by the site's control variate and that of all sites (SCAFFOLD): the hub's "
        "state is the sum of the sites' controls, and this is the number of sites that it is divided by.",
    )
    keep_optimizer: bool = Field(
        False, description="The optimizer's state stays at the site from one of its updates to the next (DiLoCo)."
    )
    fragments: int | None = Field(
        None,
        ge=2,
        exclude_if=lambda value: value is None,
        description="So many parts of the model take turns (fedcore.tensors.fragments): the update is that of the round's, and "
        "of the others the site goes on from its own values (DiLoCo).",
    )


Width = Annotated[
    float | None,
    Field(
        gt=0,
        lt=1,
        exclude_if=lambda value: value is None,
        description="The sub-model that a site trains, of those that the initial model names; absent: the whole model.",
    ),
]


class TrainingSettings(Message):
    """What a site does in a round; delivered with every plan."""

    epochs: int | None = 1
    local_steps: int | None = None
    batch_size: int = Field(32, ge=1)
    batch_per: Literal["Site", "Rank"] = "Site"
    gradient_accumulation_steps: int = Field(1, ge=1)
    mixed_precision: Literal["None", "BFloat16", "Float16"] = "None"
    learning_rate_scaling: Literal["None", "Linear", "SquareRoot"] = "None"
    warmup_steps: int = Field(0, ge=0)
    checkpoint_every_s: float = Field(10.0, ge=0)
    # Newer than version 0.1, whose trainers refuse orders with fields that they do not know: only said where it says more.
    determinism: Literal["Strict", "Warn"] = Field("Strict", exclude_if=lambda value: value == "Strict")
    optimizer: OptimizerSettings = OptimizerSettings()
    exchange: tuple[str, ...] = Field(
        (),
        exclude_if=lambda value: not value,
        description="Patterns of the tensors that travel; empty: all, but for frozen parameters.",
    )
    local_parameters: tuple[str, ...] = Field(
        (), exclude_if=lambda value: not value, description="Patterns of the tensors that stay at the site."
    )
    method: Method | None = Field(
        None, exclude_if=lambda value: value is None, description="Of the plan's strategy; absent: steps and no more."
    )
    model_width: Width = None
    dp_sgd: DPSGD | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="As spec.privacy.dpSGD; absent: records are not hidden. Needs a feature (wire.protocol).",
    )


class TrainingOverride(Message):
    """What some sites do otherwise than `training` says, as `clients.overrides` has it."""

    batch_size: int | None = Field(None, ge=1)
    epochs: int | None = Field(None, ge=1)
    local_steps: int | None = Field(None, ge=1)
    model_width: Width = None

    def of(self, training: TrainingSettings) -> TrainingSettings:
        """The settings of such a site. Epochs and steps exclude each other: who is given the one is not given the other."""
        said = self.model_dump(exclude_none=True)
        if self.epochs is not None or self.local_steps is not None:
            said = {"epochs": None, "local_steps": None} | said
        return training.model_copy(update=said)
