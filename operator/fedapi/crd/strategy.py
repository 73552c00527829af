"""spec.strategy: which strategy, and its numbers. Part of a FederatedJob; a strategy's arithmetic is in fedcore.strategies.

A strategy with parameters has a field of its own name for them, and a rule that the two go together. The operator hands
on name and numbers without knowing which strategies there are.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from fedapi.crd import robust
from fedapi.crd.fields import Decimal, Part, Short, immutable, rule, rules
from fedapi.crd.serveroptimizers import FedAdagrad, FedAdam, FedAvgM, FedBuff, FedYogi
from fedapi.crd.sitestrategies import SCAFFOLD, DiLoCo, FedProx, FedSGD
from fedapi.wire.fewest import before_mixing, fewest
from fedapi.wire.strategy import CUSTOM, SubModels


def _own(name: str, field: str, example: str = "{}") -> dict[str, str]:
    """The rule that a strategy and its numbers go together."""
    which = f"{field}: {example}" + (" for the defaults" if example == "{}" else "")
    return rule(
        f"(self.name == '{name}') == has(self.{field})",
        f"strategy {name} needs {field}, and no other takes it: write {which}, or remove it",
        f".{field}",
    )


_WITHOUT_NUMBERS = ("pre_aggregation", "fl_trust")
_NO_NUMBER = {"fragments"}  # beside the numbers that steps are computed with


class Custom(Part):
    """A strategy of an installed Python package: an entry point of the group `fedloom.strategies`."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$")] = Field(
        description="Name of the entry point.", json_schema_extra=immutable("strategy.custom.name")
    )
    parameters: Annotated[
        dict[Short, Decimal],
        Field(max_length=32),
    ] = Field(default_factory=dict, description="Its numbers by name, just those that it takes; decimal strings.")


class Strategy(Part):
    """How updates become the next model."""

    name: Literal[
        "FedAvg",
        "FedAvgM",
        "FedProx",
        "FedSGD",
        "SCAFFOLD",
        "DiLoCo",
        "FedAdagrad",
        "FedAdam",
        "FedYogi",
        "FedNova",
        "Median",
        "TrimmedMean",
        "Krum",
        "MultiKrum",
        "GeometricMedian",
        "Bulyan",
        "NormClipping",
        "FedBuff",
        "FLTrust",
        "Custom",
    ] = Field(
        "FedAvg",
        description="FedAvg: the mean of the sites' updates weighted by their samples (McMahan et al. 2017). FedAvgM: the "
        "same with momentum at the server (Hsu et al. 2019). FedAdagrad, FedAdam, FedYogi: with an adaptive optimizer there "
        "(Reddi et al. 2021). FedNova: updates divided by how far their optimizer steps reach (Wang et al. 2020). Median, "
        "TrimmedMean, Krum, MultiKrum, GeometricMedian, Bulyan, NormClipping: robust against some sites that send anything. "
        "FLTrust: against most of them, by a client that is trusted (Cao et al. 2021). FedSGD: one gradient of each site per "
        "round. FedProx: sites are held near the model (Li et al. 2020). SCAFFOLD: sites correct their drift (Karimireddy et "
        "al. 2020). DiLoCo: many local steps, then one with Nesterov momentum. FedBuff: asynchronous rounds; a round is a "
        "buffer of so many updates, whose sites need not have begun with the same model (Nguyen et al. 2022). "
        "Custom: one of your own.",
        json_schema_extra=immutable("strategy.name"),
    )
    fed_avg_m: FedAvgM | None = Field(None, description="Numbers of FedAvgM; {} takes the defaults.")
    fed_adagrad: FedAdagrad | None = Field(None, description="Numbers of FedAdagrad; {} takes the defaults.")
    fed_adam: FedAdam | None = Field(None, description="Numbers of FedAdam; {} takes the defaults.")
    fed_yogi: FedYogi | None = Field(None, description="Numbers of FedYogi; {} takes the defaults.")
    fed_buff: FedBuff | None = Field(None, description="Numbers of FedBuff; {} takes the defaults.")
    fed_sgd: FedSGD | None = Field(None, alias="fedSGD", description="Numbers of FedSGD; {} takes the defaults.")
    fed_prox: FedProx | None = Field(None, description="Numbers of FedProx; {} takes the defaults.")
    scaffold: SCAFFOLD | None = Field(None, description="Numbers of SCAFFOLD; {} takes the defaults.")
    di_lo_co: DiLoCo | None = Field(None, description="Numbers of DiLoCo; {} takes the defaults.")
    trimmed_mean: robust.TrimmedMean | None = Field(None, description="Numbers of TrimmedMean.")
    krum: robust.Krum | None = Field(None, description="Numbers of Krum.")
    multi_krum: robust.MultiKrum | None = Field(None, description="Numbers of MultiKrum.")
    geometric_median: robust.GeometricMedian | None = Field(
        None, description="Numbers of GeometricMedian; {} takes the defaults."
    )
    bulyan: robust.Bulyan | None = Field(None, description="Numbers of Bulyan.")
    norm_clipping: robust.NormClipping | None = Field(None, description="Numbers of NormClipping.")
    fl_trust: robust.FLTrust | None = Field(None, description="What FLTrust trusts.")
    custom: Custom | None = Field(None, description="Which strategy of your own, and its numbers.")
    pre_aggregation: robust.PreAggregation | None = Field(
        None,
        description="What is made of the updates before the robust rule sees them: where sites' data differ much, the rule "
        "takes an honest unlike site for an attacker without it.",
    )
    sub_models: SubModels | None = Field(
        None,
        description="How the mean is taken where some sites train sub-models (`clients.overrides[].modelWidth`). Overlap, the "
        "default: each number over the sites that have it. ZeroPadding: over all, as if those that lack it had sent the value 0.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            _own("FedAvgM", "fedAvgM"),
            _own("FedAdagrad", "fedAdagrad"),
            _own("FedAdam", "fedAdam"),
            _own("FedYogi", "fedYogi"),
            _own("FedBuff", "fedBuff"),
            _own("FedSGD", "fedSGD"),
            _own("FedProx", "fedProx"),
            _own("SCAFFOLD", "scaffold"),
            _own("DiLoCo", "diLoCo"),
            _own("TrimmedMean", "trimmedMean", "{byzantine: 1}"),
            _own("Krum", "krum", "{byzantine: 1}"),
            _own("MultiKrum", "multiKrum", "{byzantine: 1}"),
            _own("GeometricMedian", "geometricMedian"),
            _own("Bulyan", "bulyan", "{byzantine: 1}"),
            _own("NormClipping", "normClipping", "{maxNorm: '1'}"),
            _own("FLTrust", "flTrust", "{rootClient: …}"),
            _own("Custom", "custom", "{name: …}"),
            rule(
                f"!has(self.preAggregation) || self.name in {[*robust.MIXABLE, 'Custom']}",
                f"preAggregation goes with {', '.join(robust.MIXABLE)}, and with Custom where that is one of them: remove "
                "it, or choose one of them",
                ".preAggregation",
            ),
        )
    )

    @property
    def entry(self) -> str:
        """The name by which the aggregator knows the strategy."""
        return f"{CUSTOM}{self.custom.name}" if self.custom else self.name

    @property
    def root(self) -> str:
        """The client that the strategy trusts; empty where it trusts none."""
        return self.fl_trust.root_client if self.fl_trust else ""

    @property
    def fragments(self) -> int | None:
        """Into how many parts the model is divided; None: it is exchanged as a whole."""
        return self.di_lo_co.fragments if self.di_lo_co and self.di_lo_co.fragments > 1 else None

    def parameters(self) -> dict[str, float]:
        """The numbers of the strategy, by name."""
        if self.custom:
            return {name: float(value) for name, value in self.custom.parameters.items()}
        fields = (getattr(self, field) for field in type(self).model_fields if field not in _WITHOUT_NUMBERS)
        numbers = (part.model_dump(exclude=_NO_NUMBER) for part in fields if isinstance(part, Part))
        return {name: float(value) for each in numbers for name, value in each.items()}

    def fewest(self) -> int:
        """Updates that a round needs for the strategy to be defined."""
        least = fewest(self.name, int(self.parameters().get("byzantine", 0)))
        pre = self.pre_aggregation
        return before_mixing(least, pre.bucket_size or 1, pre.byzantine or 0) if pre else least


FED_NOVA_TRAINING = rule(  # of a FederatedJob's spec
    "self.strategy.name != 'FedNova' || (self.training.optimizer.name == 'SGD' && (!has(self.training.optimizer.momentum) "
    "|| double(self.training.optimizer.momentum) < 1.0) && self.training.warmupSteps == 0 && "
    "self.training.learningRateScaling == 'None')",
    "strategy FedNova knows how far steps of SGD with one learning rate and a momentum below 1 reach: set "
    "training.optimizer.name to SGD, and remove warmupSteps and learningRateScaling",
    ".training.optimizer",
)
