"""FedProx (Li et al. 2020, arXiv:1812.06127, section 3.2): each site minimizes its loss and mu / 2 * |w - base|^2."""

from collections.abc import Mapping

import torch

from fedtrainer.training.methods.part import Made, Step, Tensors


class Proximal:
    """Adds mu * (w - base) to the gradients."""

    def __init__(self, mu: float, base: Mapping[str, torch.Tensor]) -> None:
        self._mu, self._base = mu, dict(base)  # by names of parameters

    def correct(self, step: Step) -> None:
        """A parameter that this batch has not reached is drawn back, too, if an earlier one has moved it.

        One that stays at the site is its own, and is held near nothing.
        """
        held = (each for each in step.parameters.items() if each[0] in self._base)
        for name, parameter in held if self._mu else ():
            away = parameter.detach() - self._of_base(name, parameter)
            gradient = step.gradient(name)
            if gradient is not None:
                parameter.grad = gradient.add_(away, alpha=self._mu)
            elif away.any():
                parameter.grad = away.mul_(self._mu)

    def kept(self) -> Tensors:
        """Nothing: the base is that of the order."""
        return {}

    def restore(self, kept: Tensors) -> None:
        """Nothing."""

    def finish(self, made: Made) -> None:
        """Nothing: the update is what has become of the model."""

    def _of_base(self, name: str, parameter: torch.nn.Parameter) -> torch.Tensor:
        if (base := self._base[name]).device != parameter.device:
            base = self._base[name] = base.to(parameter.device)
        return base
