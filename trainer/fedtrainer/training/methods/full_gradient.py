"""FedSGD (McMahan et al. 2017, section 2): one gradient of the mean loss over all of the site's data, and no step.

What is sent is minus the gradient as it was computed, not the difference of a model that was stepped: nothing is rounded away.
"""

from collections.abc import Mapping

from fedtrainer.training.methods.mean_gradient import MeanGradient
from fedtrainer.training.methods.part import Made, Step, Tensors


class FullGradient:
    """Takes the gradients away, so that the optimizer's step that follows moves nothing."""

    def __init__(self, entries: Mapping[str, str]) -> None:
        self._entries = entries
        self._mean = MeanGradient()

    def correct(self, step: Step) -> None:
        """Batches count by their samples."""
        self._mean.add(step, step.samples / step.so_far)
        for parameter in step.parameters.values():
            parameter.grad = None

    def kept(self) -> Tensors:
        """The mean so far."""
        return dict(self._mean.values)

    def restore(self, kept: Tensors) -> None:
        """Goes on from it."""
        self._mean.values = kept

    def finish(self, made: Made) -> None:
        """Parameters that did not train have no gradient, and are as they were."""
        found = self._mean.values
        made.instead |= {entry: -found[name] for entry, name in self._entries.items() if name in found}
