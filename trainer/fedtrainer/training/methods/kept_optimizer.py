"""DiLoCo's inner optimizer (Douillard et al. 2023, arXiv:2311.08105, algorithm 1): its state lives on at the site.

Moments and step counts of the site's last committed update are put into the optimizer before the first step of a round, and
kept with the update. They are never sent. Where they are lost they begin anew: training is slower until they are back.
"""

from typing import Any

import torch

from fedtrainer.errors import TaskInvalidError
from fedtrainer.training.methods.part import Made, Step, Tensors
from fedtrainer.training.site_state import SiteState

OPTIMIZER = "optimizer"
_NUMBER = "number-"  # before the key of what is a number of Python's in the optimizer's state


class KeptOptimizer:
    """Of one training. In the site's state as `KEY.NAME`: the key in the optimizer's state, the parameter's name."""

    def __init__(self, state: SiteState) -> None:
        self._state, self._last = state, dict[str, torch.Tensor]()
        self._before = state.part(OPTIMIZER, renewable=True)
        self._optimizer: torch.optim.Optimizer | None = None
        self._names: list[str] = []

    def correct(self, step: Step) -> None:
        """Before the first step of the round; a training that goes on from a checkpoint has its optimizer from there."""
        if self._optimizer is None:
            self._optimizer, self._names = step.optimizer, _names(step)
            if step.number == 1 and self._before:
                self._put(step.optimizer)
        elif step.optimizer is not self._optimizer:
            raise TaskInvalidError(
                "train() calls ctx.correct with two optimizers: the strategy keeps the state of one; use one optimizer"
            )

    def kept(self) -> Tensors:
        """Nothing: checkpoints hold the optimizer."""
        return {}

    def restore(self, kept: Tensors) -> None:
        """Nothing."""

    def finish(self, made: Made) -> None:  # noqa: ARG002 - nothing of it is sent
        """Where no step was made, the state stays what it was."""
        if self._optimizer is None:
            return
        found: Tensors = {}
        for index, values in self._optimizer.state_dict()["state"].items():
            for key, value in values.items():
                if value is not None:
                    found |= _entry(key, self._names[index], value)
        self._state.keep(OPTIMIZER, found, renewable=True)

    def _put(self, optimizer: torch.optim.Optimizer) -> None:
        places = {name: index for index, name in enumerate(self._names)}
        state: dict[int, dict[str, Any]] = {}
        for entry, tensor in self._before.items():
            key, _, name = entry.partition(".")
            if name in places:
                value = tensor.item() if key.startswith(_NUMBER) else tensor.clone()
                state.setdefault(places[name], {})[key.removeprefix(_NUMBER)] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _names(step: Step) -> list[str]:
    """Of the optimizer's parameters in its own order; by their number where the model has none of that name."""
    named = {id(parameter): name for name, parameter in step.parameters.items()}
    order = [parameter for group in step.optimizer.param_groups for parameter in group["params"]]
    return [named.get(id(parameter), str(index)) for index, parameter in enumerate(order)]


def _entry(key: str, name: str, value: Any) -> Tensors:
    if isinstance(value, torch.Tensor):
        return {f"{key}.{name}": value}
    if isinstance(value, int | float):
        return {f"{_NUMBER}{key}.{name}": torch.tensor(float(value), dtype=torch.float64)}
    raise TaskInvalidError(
        f"the optimizer keeps {key!r}, a {type(value).__name__}, which cannot stay at the site: use one that keeps tensors "
        "and numbers, such as AdamW, or another strategy"
    )
