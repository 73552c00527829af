"""FedNova (Wang et al. 2020, arXiv:2007.07481, section 4): updates divided by how far the steps of their sites reach. Pure.

A site whose optimizer makes more steps moves further, and FedAvg's mean is then that of another objective. With a_i the
weights that a site's gradients have in its update, |a_i| their sum: x <- x + tau_eff * sum(p_i * update_i / |a_i|), where
p_i = n_i / n and tau_eff = sum(p_i * |a_i|). What |a_i| is follows from the optimizer of the plan: SGD, its momentum, and
the proximal term. Buffers and integers, which no step made, are averaged as in FedAvg.
"""

from fractions import Fraction

from fedapi.wire.training import TrainingSettings
from fedcore.strategies import fedavg
from fedcore.strategies.strategy import Cohort, Parameters, Strategy, Weights


def weights(cohort: Cohort, parameters: Parameters) -> Weights:
    """p_i * tau_eff / |a_i|; where all sites make the same number of steps it is p_i exactly."""
    shares = fedavg.weights(cohort, parameters)
    reaches = [Fraction(reach(update.steps or 0, cohort.training)) for update in cohort.updates]
    effective = sum((share * each for share, each in zip(shares, reaches, strict=True)), Fraction(0))
    return tuple(share * effective / each if each else Fraction(0) for share, each in zip(shares, reaches, strict=True))


def reach(steps: int, training: TrainingSettings) -> float:
    """|a_i| of so many steps: products and sums alone, for a library's powers have other bits on another machine."""
    momentum = training.optimizer.momentum
    if not momentum:
        return float(steps)
    rest = 1 - momentum
    return (steps - momentum * (1 - _power(momentum, steps)) / rest) / rest


def _power(number: float, exponent: int) -> float:
    """By squaring."""
    found = 1.0
    while exponent:
        if exponent & 1:
            found *= number
        number *= number
        exponent >>= 1
    return found


STRATEGY = Strategy("FedNova", weights, buffers=fedavg.weights)
