"""FedAvgM (Hsu, Qi and Brown 2019, arXiv:1909.06335): FedAvg with momentum at the server. Pure.

There, with the update taken the other way round: v <- momentum * v + update, model <- model + learning_rate * v.
"""

from fedcore.strategies import fedavg
from fedcore.strategies.strategy import Parameters, Strategy
from fedcore.tensors.arithmetic import Array


def optimize(base: Array, update: Array, memory: Array, parameters: Parameters) -> tuple[Array, Array]:
    """The model after a step, and v; each product and sum is rounded by itself, so that bits depend on no processor."""
    number = base.dtype.type
    velocity = number(parameters["momentum"]) * memory[:, 0] + update
    return base + number(parameters["learning_rate"]) * velocity, velocity[:, None]


STRATEGY = Strategy(
    "FedAvgM", fedavg.weights, frozenset({"momentum", "learning_rate"}), optimize=optimize, memory=1, itemwise=True
)
