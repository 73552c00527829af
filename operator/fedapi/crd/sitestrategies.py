"""Numbers of the strategies that have a part at the sites, and what they ask of `spec.training`. Parts of a FederatedJob.

Their arithmetic at the hub is in fedcore.strategies, what sites do in fedtrainer.training.methods.
"""

from pydantic import ConfigDict, Field

from fedapi.crd.fields import Decimal, Part, rule, rules
from fedapi.jsonvalue import Json

MAX_FRAGMENTS = 128  # a fragment waits so many rounds for its turn

_RATE = rule("double(self.learningRate) > 0.0", "the server's learningRate must be over 0", ".learningRate")


class FedProx(Part):
    """Numbers of FedProx."""

    mu: Decimal = Field(
        "0.01",
        description="How strongly a site is held near the model that it began with, from 0, which is FedAvg; a decimal string.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("double(self.mu) >= 0.0", "mu must not be below 0: remove the sign, for example '0.01'", ".mu")
        )
    )


class FedSGD(Part):
    """Numbers of FedSGD."""

    learning_rate: Decimal = Field(
        "0.1",
        description="How far the model goes along the mean gradient, the only step of a round; a decimal string over 0.",
    )

    model_config = ConfigDict(json_schema_extra=rules(_RATE))


class SCAFFOLD(Part):
    """Numbers of SCAFFOLD."""

    learning_rate: Decimal = Field(
        "1", description="How far the model follows the mean of the updates; a decimal string over 0."
    )

    model_config = ConfigDict(json_schema_extra=rules(_RATE))


class DiLoCo(Part):
    """Numbers of DiLoCo's outer optimizer, which is SGD with Nesterov momentum."""

    momentum: Decimal = Field(
        "0.9", description="How much of the last outer step is in the next, from 0 and below 1; a decimal string."
    )
    learning_rate: Decimal = Field(
        "0.7", description="How far the model follows an outer step; a decimal string over 0."
    )
    fragments: int = Field(
        1,
        ge=1,
        le=MAX_FRAGMENTS,
        description="Parts that the model is divided into, which take turns: a round exchanges one of them, and sites go on "
        "training the others. At most as many as the model has layers.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "double(self.momentum) >= 0.0 && double(self.momentum) < 1.0",
                "momentum must be from 0 and below 1, for example '0.9'",
                ".momentum",
            ),
            _RATE,
        )
    )


def _of(strategy: str, cel: str, message: str, field: str) -> Json:
    return rule(f"self.strategy.name != '{strategy}' || ({cel})", message, f".training.{field}")


_TRAINING, _OPTIMIZER = "self.training", "self.training.optimizer"
_WHOLE = f"{_TRAINING}.mixedPrecision != 'Float16'"
TRAINING_RULES = (  # of a FederatedJob's spec
    _of(
        "FedSGD",
        f"!has({_TRAINING}.localSteps) && (!has({_TRAINING}.epochs) || {_TRAINING}.epochs == 1)",
        "strategy FedSGD takes one gradient over all of a site's data per round: remove training.localSteps and epochs",
        "localSteps",
    ),
    _of(
        "FedSGD",
        f"{_OPTIMIZER}.name == 'SGD' && !has({_OPTIMIZER}.momentum) && !has({_OPTIMIZER}.weightDecay) "
        f"&& {_TRAINING}.warmupSteps == 0 && {_TRAINING}.learningRateScaling == 'None'",
        "strategy FedSGD makes no step at the sites: remove optimizer, warmupSteps and learningRateScaling from training; "
        "the rate is strategy.fedSGD.learningRate",
        "optimizer",
    ),
    _of(
        "FedSGD",
        _WHOLE,
        "strategy FedSGD needs every gradient, and Float16 leaves steps out: set training.mixedPrecision to BFloat16 or None",
        "mixedPrecision",
    ),
    _of(
        "FedSGD",
        f"!has({_TRAINING}.localParameters)",
        "strategy FedSGD trains nothing at the sites, so what stays there would never change: remove training.localParameters",
        "localParameters",
    ),
    rule(
        "self.strategy.name != 'FedSGD' || !has(self.clients.overrides) || "
        "self.clients.overrides.all(each, !has(each.localSteps) && (!has(each.epochs) || each.epochs == 1))",
        "strategy FedSGD takes one gradient over all of a site's data per round: remove localSteps and epochs from overrides",
        ".clients.overrides",
    ),
    _of(
        "SCAFFOLD",
        f"{_OPTIMIZER}.name == 'SGD' && (!has({_OPTIMIZER}.momentum) || double({_OPTIMIZER}.momentum) == 0.0)",
        "strategy SCAFFOLD corrects steps of SGD without momentum: set training.optimizer.name to SGD and remove momentum",
        "optimizer",
    ),
    _of(
        "SCAFFOLD",
        f"{_TRAINING}.warmupSteps == 0",
        "strategy SCAFFOLD needs one learning rate in all steps of a round: remove training.warmupSteps",
        "warmupSteps",
    ),
    _of(
        "SCAFFOLD",
        _WHOLE,
        "strategy SCAFFOLD needs every gradient, and Float16 leaves steps out: set training.mixedPrecision to BFloat16 or None",
        "mixedPrecision",
    ),
    _of(
        "DiLoCo",
        f"{_OPTIMIZER}.name == 'AdamW' && has({_TRAINING}.localSteps)",
        "strategy DiLoCo runs AdamW for a number of steps at each site: set training.optimizer.name to AdamW, and "
        "training.localSteps, for example 500",
        "optimizer",
    ),
)
