"""An evaluation leaves no trace: what it changes in the model beside its state, and in the generators, is put back.

Used by session.py around evaluate(). Parameters come from the base model before every training; here is the rest:
buffers, attributes that forward sets (a cached table, perhaps an inference tensor), modes, gradients, hooks, and the
random numbers that come next.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def preserved(model: torch.nn.Module) -> Iterator[None]:
    """Inside, a model may be evaluated in any way."""
    modules = [(module, _Attributes(module)) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers() if not buffer.is_inference()]
    parameters = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    generators = random.getstate(), np.random.get_state()  # noqa: NPY002 - tasks use the global generator
    for parameter, _, _ in parameters:
        parameter.grad = None
    with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_initialized() else []):
        try:
            yield
        finally:
            for module, attributes in modules:
                attributes.restore(module)
            with torch.no_grad():
                for buffer, values in buffers:
                    buffer.copy_(values)
            for parameter, trains, gradient in parameters:
                parameter.requires_grad_(trains).grad = gradient
            random.setstate(generators[0])
            np.random.set_state(generators[1])  # noqa: NPY002


class _Attributes:
    """A module's attributes; of those that are plain containers (torch's own tables of buffers and hooks) the content."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._values = dict(vars(module))
        self._contents = [(v, v.copy()) for v in self._values.values() if isinstance(v, dict | list | set)]

    def restore(self, module: torch.nn.Module) -> None:
        """Puts them back, at their places."""
        own = vars(module)
        own.clear()
        own.update(self._values)
        for container, content in self._contents:
            _refill(container, content)


def _refill(container: Any, content: Any) -> None:
    container.clear()
    if isinstance(container, list):
        container.extend(content)
    else:
        container.update(content)
