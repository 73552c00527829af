"""FedAvg by half steps, or by whatever part of a step a job says."""

from fedcore.strategies import fedavg
from fedcore.strategies.strategy import Strategy


def optimize(base, update, memory, parameters):
    return base + base.dtype.type(parameters["rate"]) * update, memory


HALVED = Strategy("Halved", fedavg.weights, frozenset({"rate"}), optimize=optimize)
