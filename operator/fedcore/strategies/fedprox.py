"""FedProx (Li et al. 2020, arXiv:1812.06127, algorithm 2): FedAvg of sites that are held near the model they began with. Pure.

What holds them, mu / 2 * |w - base|^2 in each site's loss, is the trainer's part.
"""

from fedapi.wire.training import Method
from fedcore.strategies import fedavg
from fedcore.strategies.strategy import Parameters, Strategy


def site(parameters: Parameters, _sites: int) -> Method:
    """The proximal term."""
    return Method(proximal=parameters["mu"])


STRATEGY = Strategy("FedProx", fedavg.weights, frozenset({"mu"}), site=site, itemwise=True)
