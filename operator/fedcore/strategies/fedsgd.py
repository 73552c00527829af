"""FedSGD (McMahan et al. 2017, section 2): one gradient of each site per round, and the step is the hub's. Pure.

The topology of a parameter server. A site's update is minus its gradient, so a step is that of SGD over all data together:
w <- w - rate * sum(n_k / n * gradient_k). Buffers come by a forward pass and are averaged as they are, by samples.
"""

from fedapi.wire.training import Method
from fedcore.strategies import fedavg
from fedcore.strategies.strategy import Parameters, Strategy
from fedcore.tensors.arithmetic import Array


def optimize(base: Array, update: Array, memory: Array, parameters: Parameters) -> tuple[Array, Array]:
    """A step along the mean gradient; product and sum are each rounded by itself."""
    return base + base.dtype.type(parameters["learning_rate"]) * update, memory


def site(_parameters: Parameters, _sites: int) -> Method:
    """A gradient in place of steps."""
    return Method(full_gradient=True)


STRATEGY = Strategy("FedSGD", fedavg.weights, frozenset({"learning_rate"}), optimize=optimize, site=site)
