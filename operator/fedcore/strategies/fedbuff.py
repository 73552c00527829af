"""FedBuff (Nguyen et al. 2022, arXiv:2106.06639, algorithm 1): a buffer of updates of unlike age. Pure.

There: model <- model + learning_rate * (1 / K) * sum of s(tau) * update, with s(tau) = 1 / sqrt(1 + tau). tau: how many commits
old the model was that an update was trained from. Here the mean is weighted by samples, as everywhere, and the exponent of s is
a number of the job. What is stale makes the step smaller: the weights are not made to add up to one.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

from fedcore.strategies import fedavg
from fedcore.strategies.strategy import Cohort, Parameters, Strategy, Weights

_CONTEXT = Context(prec=30, rounding=ROUND_HALF_EVEN)  # arithmetic of integers: the same on every processor
_DIGITS = Decimal(1).scaleb(-12)


def discount(staleness: int, exponent: float) -> Fraction:
    """s(tau) = (1 + tau) ^ -exponent, to 12 digits; exactly 1 for an update that is not stale."""
    power = _CONTEXT.power(Decimal(1 + staleness), Decimal(-exponent))
    return Fraction(power.quantize(_DIGITS, context=_CONTEXT))


def buffers(cohort: Cohort, parameters: Parameters) -> Weights:
    """s(tau_k) * n_k / n: of float buffers and integers, which no learning rate steps."""
    exponent = parameters["staleness_exponent"]
    shares = zip(cohort.updates, fedavg.weights(cohort, parameters), strict=True)
    return tuple(discount(update.staleness, exponent) * share for update, share in shares)


def weights(cohort: Cohort, parameters: Parameters) -> Weights:
    """The same, times the learning rate."""
    rate = Fraction(parameters["learning_rate"])
    return tuple(rate * share for share in buffers(cohort, parameters))


NUMBERS = frozenset({"buffer_size", "learning_rate", "staleness_exponent"})
STRATEGY = Strategy("FedBuff", weights, NUMBERS, buffers=buffers)
