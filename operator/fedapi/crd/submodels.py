"""Rules of a FederatedJob's spec for sub-models: which strategies take them, and when widths can change. Used by federatedjob.py."""

from fedapi.crd.fields import rule

# A mean of each number by itself, and at most an optimizer of each number by itself. Of the others, robust rules, norms and inner
# products compare whole updates; FedNova's, SCAFFOLD's, DiLoCo's and FedSGD's sites keep or count what is of one size.
ITEMWISE = ("FedAvg", "FedAvgM", "FedProx", "FedAdagrad", "FedAdam", "FedYogi")
_OVERRIDES = "has(self.clients.overrides) && self.clients.overrides"
_NARROW = "has(each.modelWidth) && double(each.modelWidth) < 1.0"
_OLD = "has(oldSelf.clients.overrides) && oldSelf.clients.overrides"

SUB_MODELS = (
    rule(
        f"!({_OVERRIDES}.exists(each, {_NARROW})) || self.strategy.name in {list(ITEMWISE)}",
        f"sub-models go with strategies that average each number by itself ({', '.join(ITEMWISE)}); the others compare or keep "
        "whole updates, or fold those of other rounds: remove modelWidth from clients.overrides, or set another strategy.name",
        ".clients.overrides",
    ),
    rule(
        f"!has(self.strategy.subModels) || ({_OVERRIDES}.exists(each, {_NARROW}))",
        "strategy.subModels says how sub-models are averaged, and no site trains one: set modelWidth in clients.overrides, or "
        "remove it",
        ".strategy.subModels",
    ),
    rule(
        f"!({_OVERRIDES}.exists(each, {_NARROW} && !({_OLD}.exists(old, has(old.modelWidth) && "
        "double(old.modelWidth) == double(each.modelWidth)))))",
        "a new modelWidth cannot be asked for after creation: delete the job and create it anew, because its initial model says "
        "which tensors are smaller at which width",
        ".clients.overrides",
    ),
)
