"""DiLoCo (Douillard et al. 2023, arXiv:2311.08105, algorithm 1): many local steps, then one of Nesterov momentum. Pure.

The outer gradient is minus the mean update, so the step is torch.optim.SGD's with nesterov=True: v <- momentum * v + update,
model <- model + rate * (update + momentum * v). Inside, sites run AdamW, whose state stays with them: the trainer's part.
With fragments (Streaming DiLoCo, Douillard et al. 2025, arXiv:2501.18512, algorithm 2) a round steps one of them, with the
momentum of its own last step: v holds a number per item, of which a round changes those of its fragment.
"""

from fedapi.wire.training import Method
from fedcore.strategies import fedavg
from fedcore.strategies.strategy import Parameters, Strategy
from fedcore.tensors.arithmetic import Array


def optimize(base: Array, update: Array, memory: Array, parameters: Parameters) -> tuple[Array, Array]:
    """The model after a step, and v; each product and sum is rounded by itself."""
    number = base.dtype.type
    momentum = number(parameters["momentum"])
    velocity = momentum * memory[:, 0] + update
    return base + number(parameters["learning_rate"]) * (update + momentum * velocity), velocity[:, None]


def site(_parameters: Parameters, _sites: int) -> Method:
    """An optimizer that goes on where it was."""
    return Method(keep_optimizer=True)


STRATEGY = Strategy(
    "DiLoCo",
    fedavg.weights,
    frozenset({"momentum", "learning_rate"}),
    optimize=optimize,
    memory=1,
    site=site,
    divisible=True,
)
