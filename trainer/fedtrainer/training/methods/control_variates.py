"""SCAFFOLD (Karimireddy et al. 2020, arXiv:1910.06378, algorithm 1 with option II): steps are corrected by c - c_i.

c_i, the site's control, is in its state: it becomes the mean of the gradients on the site's way through this round, once the
update is committed. Option II writes that mean as c_i - c + (base - w) / (K * rate), which is the same for plain SGD; the mean
itself needs no rate, and does not lose digits in a difference. What is sent is the change of c_i, as the hub keeps its state:
rows of one number. The hub has the sum of all changes, so c is that over the number of sites, and the mean of the c_i.
"""

from collections.abc import Mapping

import torch

from fedapi.wire.update import CONTROL
from fedtrainer.errors import TaskInvalidError
from fedtrainer.training.methods.mean_gradient import MeanGradient, working
from fedtrainer.training.methods.part import Made, Step, Tensors
from fedtrainer.training.site_state import SiteState


class ControlVariates:
    """Of one training. Its controls and the hub's sum are by entries of the model's state; no sum before the first commit."""

    def __init__(
        self,
        sites: int,
        entries: Mapping[str, str],
        base: Mapping[str, torch.Tensor],
        state: SiteState,
        hub_sum: Mapping[str, torch.Tensor] | None,
    ) -> None:
        self._entries = {entry: name for entry, name in entries.items() if base[entry].is_floating_point()}
        self._base, self._state = base, state
        self._own = state.part(CONTROL)
        self._mean = MeanGradient()
        self._corrections = self._differences(None if hub_sum is None else _mean_of_all(hub_sum, self._entries, sites))

    def correct(self, step: Step) -> None:
        """Notes the gradients, then adds c - c_i: to a parameter that this batch has not reached, too; of what travels alone."""
        self._mean.add(step, 1.0 / step.number)
        for name, parameter in step.parameters.items():
            correction = self._corrections.get(name)
            if correction is None:
                continue
            if correction.device != parameter.device or correction.dtype != parameter.dtype:
                correction = self._corrections[name] = correction.to(parameter.device, parameter.dtype)
            gradient = step.gradient(name)
            parameter.grad = correction.clone() if gradient is None else gradient.add_(correction)

    def kept(self) -> Tensors:
        """The mean so far."""
        return dict(self._mean.values)

    def restore(self, kept: Tensors) -> None:
        """Goes on from it."""
        self._mean.values = kept

    def finish(self, made: Made) -> None:
        """The change of the control, and the control that the site has then. What did not train keeps the control that it had."""
        changes, controls = {}, {}
        for entry, name in self._entries.items():
            before = self._control(entry)
            mean = self._mean.values.get(name)
            change = torch.zeros_like(before) if mean is None else mean.cpu() - before
            controls[entry] = before.add_(change)
            changes[entry] = change.reshape(-1, 1)
        made.payloads[CONTROL] = changes
        self._state.keep(CONTROL, controls)

    def _control(self, entry: str) -> torch.Tensor:
        found = self._own.get(entry)
        return torch.zeros_like(self._base[entry], dtype=working(self._base[entry])) if found is None else found.clone()

    def _differences(self, of_all: Tensors | None) -> Tensors:
        """The corrections by names of parameters; none where both are zero, as in a site's first training of a job's first round."""
        if not self._own and of_all is None:
            return {}
        found: Tensors = {}
        for entry, name in self._entries.items():
            own = self._control(entry)
            found[name] = -own if of_all is None else of_all[entry].reshape(own.shape) - own
        return found


def _mean_of_all(hub_sum: Mapping[str, torch.Tensor], entries: Mapping[str, str], sites: int) -> Tensors:
    """What the hub has summed up, over the number of sites: c of the paper."""
    if different := sorted(hub_sum.keys() ^ entries.keys()):
        raise TaskInvalidError(
            f"the hub's controls and the parameters of model() differ in {', '.join(map(repr, different[:5]))}: a changed "
            "model needs a new job"
        )
    return {entry: values / sites for entry, values in hub_sum.items()}
